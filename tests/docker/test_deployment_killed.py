# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that are killed and that run at once, on a real engine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import signal
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import attempts
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.engine import Engine
from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost, doubles, pids
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import SERVER
from ansible_collections.tfserving.fleet.tests.docker.waiting import until


@pytest.fixture(scope="module")
def killed(tmp_path_factory, engine, serving_image, models):
    """A Host whose runs are killed."""
    host = LocalHost("killed", tmp_path_factory.mktemp("killed"), engine, serving_image, models)
    yield host, host.good()["server"]
    host.remove()


# Which containers are there when a run is killed.
MOMENTS = {
    "a candidate is verified": {"candidate"},
    "the candidate is verified": {"proven"},
    "the next one is made": {"next"},
    "the old one is replaced": {"replaced"},
    "the new one runs": {"replaced", "serving"},
}


def unchanging(look, for_s=2):
    """What look() returns once it returned the same for for_s seconds: the engine finishes what a killed run asked it last, such as a removal."""
    seen, since = look(), time.monotonic()
    while time.monotonic() - since < for_s:
        now = look()
        seen, since = (seen, since) if now == seen else (now, time.monotonic())
        time.sleep(0.1)
    return seen


@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, marks=[pytest.mark.slice] if moment == "the new one runs" else []) for moment in MOMENTS],
)
def test_a_killed_run_is_finished_or_undone_by_the_next(killed, moment):
    host, server = killed
    number = 3 + list(MOMENTS).index(moment)
    deployment = {"id": moment.replace(" ", "-"), "at": "2026-03-01T10:00:00Z"}
    options = {"flags": {"num_load_threads": number}, "deployment": deployment}
    process = host.start(**options)
    until(lambda: MOMENTS[moment] <= set(host.roles()) or not process.runs, pause_s=0.002)
    process.kill()
    left = unchanging(host.roles)
    assert attempts.last(str(host.state)) == deployment, "also for a rollback that comes next"
    # A run that cannot work comes first: it, too, begins with bringing back what served.
    if "replaced" in left:
        assert "enable_baching" in host.refused(flags={"enable_baching": True})
    planned = host.good(check_mode=True, **options)
    result = host.good(**options)
    print(f"left {left}; then {result['actions']}")
    assert planned["actions"] == result["actions"] or "replaced" in left
    assert doubles(server) and host.roles() == {"serving": True, "previous": False}
    assert f"--num_load_threads={number}" in host.container()["Config"]["Cmd"]
    assert not host.good(**options)["changed"]


def test_a_server_whose_checks_did_not_end_is_not_taken_for_a_verified_one(host):
    """The checks wait for a server whose model takes a while; it answers nothing while it is stopped."""

    def killed(roles, **options):
        process = host.start(**options)
        until(lambda: roles <= set(host.roles()) and host.roles()["serving"] or not process.runs, pause_s=0.002)
        process.kill()
        assert unchanging(host.roles).keys() == roles, "killed before the end of its checks"

    host.publish("wrong")
    killed({"serving"})
    assert "agrees with the reference" in host.refused(check_mode=False) and host.roles() == {}
    host.publish("right")
    server = host.good()["server"]
    update = {"flags": {"num_load_threads": 4}, "side_by_side": False}
    wrong = host.publish("wrong", folder="others")
    killed({"serving", "replaced"}, model_base_path=wrong, **update)
    assert host.good(check_mode=True, model_base_path=wrong, **update)["changed"]
    said = host.refused(model_base_path=wrong, **update)
    assert "agrees with the reference" in said and "The earlier server was started again" in said
    assert doubles(server) and host.roles() == {"serving": True}
    killed({"serving", "replaced"}, **update)
    assert not host.good()["changed"] or doubles(server)
    assert host.roles() == {"serving": True} and "--num_load_threads=4" not in host.container()["Config"]["Cmd"]


@pytest.mark.slice
def test_two_runs_at_once(host):
    results = [run.result() for run in [host.start() for _run in range(2)]]
    assert sorted(result["changed"] for result in results) == [False, True], results
    assert doubles(results[0]["server"]) and host.roles() == {"serving": True}


def test_a_container_that_another_run_removes_already(engine, serving_image):
    """The engine answers all but one of several such requests with "removal of container … is already in progress"."""
    container = engine.containers.run(serving_image, ["100"], entrypoint=["sleep"], detach=True).id
    fleets = Engine()
    with concurrent.futures.ThreadPoolExecutor(4) as several:
        for done in [several.submit(fleets.remove_container, container) for _run in range(4)]:
            done.result()
    assert container not in [one["Id"] for one in engine.api.containers(all=True)]


@contextlib.contextmanager
def another_run(host):
    """Hold the server's lock, as a run that changes it does."""
    with open(host.state / "servers" / f".{host.name}.lock", "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def test_a_run_that_changes_nothing_does_not_wait_for_a_candidate_of_another(host):
    host.good()
    host.engine.containers.create(host.options["image"], name=f"{host.name}.candidate", labels={SERVER: host.name})
    with another_run(host):
        assert not host.good(ready_timeout_s=1)["changed"]
        assert not host.good(ready_timeout_s=1, check_mode=True)["changed"]
    # Nobody proves it any more.
    assert host.good(check_mode=True)["actions"] == ["remove the candidate of an interrupted run"]
    assert host.good()["changed"] and host.roles() == {"serving": True}


def test_a_run_that_changes_nothing_survives_the_swap_of_another(host):
    host.good()
    serving, processes = host.engine.containers.get(host.name), pids(host.container()["State"]["Pid"])

    def send(number):
        for process in processes:
            os.kill(process, number)

    send(signal.SIGSTOP)
    try:
        with another_run(host):
            run = host.start()
            time.sleep(8)  # It waits for an answer now. Where it does not yet, it looks later, and the test shows less.
            serving.rename(f"{host.name}.replaced")
            send(signal.SIGCONT)
            time.sleep(3)
            serving.rename(host.name)
    finally:
        send(signal.SIGCONT)
    result = run.result()
    assert not result.get("failed") and not result["changed"], result
