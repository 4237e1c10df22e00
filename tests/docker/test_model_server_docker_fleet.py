# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy and rollback over three hosts behind HAProxy, under the eyes of a client that never stops asking; its log is the verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HAPROXY = ROOT / "docs" / "examples" / "haproxy"
MODEL, INPUTS = "m", {"x": [[1.0, 1.0, 1.0, 1.0]]}
TWICE = {"y": [[2.0] * 4]}
# The second where the module only comes to ask for the engine: what the killed controller had started held the server's lock until then.
ENGINE_GONE = re.compile("does not answer any more|nothing listens at /var/run/docker.sock: start the engine")


# These hosts share the CPUs of one machine: a server that waits for them a moment is to hold requests, not to refuse the ninth.
PATIENT = {"grpc_max_threads": 64}


class Rollout:
    """Runs of the playbooks over the hosts, and what the hosts have."""

    def __init__(self, hosts, balancer, play, reference):
        self.hosts, self.balancer, self._play = hosts, balancer, play
        self.variables = {
            "tfserving_hosts": "serving", "tfserving_backend": "docker", "tfserving_image": reference, "tfserving_state_directory": "/var/lib/tfserving",
            "tfs_server_name": "doubles",
            "tfs_server_model_name": MODEL, "tfs_server_model_base_path": "/srv/m", "tfs_server_address": "0.0.0.0", "tfs_server_ready_timeout_s": 120,
            "tfs_server_leave_tasks": str(HAPROXY / "leave.yml"), "tfs_server_return_tasks": str(HAPROXY / "return.yml"), "tfs_server_drain_s": 0,
            "tfs_server_samples": "/srv/samples.npz", "tfs_server_reference": "/srv/samples.npz", "tfs_server_flags": PATIENT,
            "haproxy_backend": "serving", "haproxy_socket": "/run/haproxy/admin.sock"}

    def start(self, playbook="deploy", *arguments, **variables):
        given = {key: value for key, value in dict(self.variables, **variables).items() if value is not None}
        return self._play(ROOT / "playbooks" / f"{playbook}.yml", self.hosts, "-e", json.dumps(given), *arguments, balancers=[self.balancer.host])

    def first(self):
        """The first deployment, before anything balances."""
        return self.start(tfs_server_leave_tasks="", tfs_server_return_tasks="").succeed()

    def count(self, run, word):
        return [run.recap[host.name][word] for host in self.hosts]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    directory = tmp_path_factory.mktemp("published")
    subprocess.run([sys.executable, str(Path(__file__).with_name("make_deployment_models.py")), str(directory)], check=True, capture_output=True, timeout=300)
    return directory


@pytest.fixture(name="rollout")
def a_rollout(fleet, haproxy, play, serving_reference, published):
    hosts = fleet(3)
    for host in hosts:
        host.reset("/srv/m", "/srv/other", "/var/lib/tfserving")
        host.put(published / "right", "/srv/m")
        host.put(published / "samples.npz", "/srv/samples.npz")
    rollout = Rollout(hosts, haproxy(hosts, MODEL), play, serving_reference)
    rollout.first()
    rollout.balancer.wait_until_up(hosts, 120)
    yield rollout
    for host in hosts:
        host.reset()


def test_a_rolling_update_costs_no_request(rollout, asking_client, published):
    balancer = rollout.balancer
    client = asking_client(f"{balancer.address}:{balancer.port}", MODEL, INPUTS)
    for host in rollout.hosts:
        host.put(published / "again", "/srv/other")
    update = {"tfs_server_model_base_path": "/srv/other", "tfs_server_flags": {**PATIENT, "num_load_threads": 2},
              "tfs_server_batching": {"max_batch_size": 16, "batch_timeout_micros": 0}}
    planned = rollout.start("deploy", "--check", "--diff", **update).succeed()
    assert re.search(r'^\+ +"?num_load_threads"?: 2', planned.output, re.MULTILINE) and "/srv/other" in planned.output
    rollout.start(**update).succeed()
    again = rollout.start(**update).succeed()
    assert rollout.count(again, "changed") == [0, 0, 0]
    assert max(ok + skipped for ok, skipped in zip(rollout.count(again, "ok"), rollout.count(again, "skipped"))) <= 10, again.output[-2000:]

    # A model that answers wrongly: the first host says so and goes on serving, the others are not touched.
    for host in rollout.hosts:
        host.put(published / "wrong", "/srv/wrong")
    bad = rollout.start(**dict(update, tfs_server_model_base_path="/srv/wrong")).fail()
    assert "agrees with the reference" in bad.output and "The server before it goes on serving." in bad.output
    assert list(bad.recap) == [rollout.hosts[0].name], "nobody else was begun"

    back = rollout.start("rollback").succeed()
    assert rollout.count(back, "changed") and "failed=0" in back.output
    time.sleep(1)
    log = client.stop()
    assert log.verdict() is None
    assert log.answers() == [TWICE]
    print(f"{len(log.requests)} requests at {log.rate_rps:.1f} a second, none failed; slowest {max(one.took_ms for one in log.requests):.0f} ms")


def test_faults_in_the_middle_cost_no_request(rollout, asking_client):
    first, balancer = rollout.hosts[0], rollout.balancer
    first.stop_engine()
    first.start_engine(live_restore=True)
    first.docker("start", "doubles")
    balancer.wait_until_up(rollout.hosts, 120)
    client = asking_client(f"{balancer.address}:{balancer.port}", MODEL, INPUTS)

    # The controller dies while the first host proves a candidate.
    run = rollout.start(tfs_server_flags={**PATIENT, "num_load_threads": 3})
    _until(lambda: _has(first, "doubles.candidate"))
    run.kill()

    # The engine dies while a candidate is proven; with live-restore what serves does not notice.
    change = {"tfs_server_flags": {**PATIENT, "num_load_threads": 4}}
    _until(lambda: not _has(first, "doubles.candidate"))
    run = rollout.start(**change)
    _until(lambda: _has(first, "doubles.candidate"))
    first.stop_engine(kill=True)
    assert ENGINE_GONE.search(run.fail().output)
    assert list(run.recap) == [first.name], "nobody else was begun"
    first.start_engine()

    # The engine, without live-restore, takes all its containers with it in the middle of the swap; the host is out of the balancer then, and stays out.
    first.configure_engine(live_restore=False)
    first.run("sh", "-c", "kill -HUP $(cat /var/run/docker.pid)")
    run = rollout.start(**change)
    _until(lambda: "doubles.replaced" in first.docker("ps", "--all", "--format={{.Names}}").split())
    first.stop_engine()
    assert ENGINE_GONE.search(run.fail().output)
    assert balancer.states()[first.name] != "UP"
    first.start_engine()

    # The next run mends that. Nobody reaches the host any more while it works.
    run = rollout.start(**change)
    _until(lambda: _has(first, "doubles.candidate"))
    blocked = ("INPUT", "-p", "tcp", "--dport", "22", "-j", "REJECT", "--reject-with", "tcp-reset")
    first.run("iptables", "-I", *blocked)
    try:
        assert "UNREACHABLE" in run.fail().output
    finally:
        first.run("iptables", "-D", *blocked)

    # A clock that is wrong by a day is no fault at all.
    rollout.start(ansible_python_interpreter="/usr/local/sbin/python3-tomorrow", **change).succeed()
    healed = rollout.start(**change).succeed()
    assert rollout.count(healed, "changed") == [0, 0, 0]
    assert first.docker("ps", "--all", "--format={{.Names}}").split() == ["doubles", "doubles.previous"]
    balancer.wait_until_up(rollout.hosts)
    log = client.stop()
    assert log.verdict() is None and log.answers() == [TWICE]
    print(f"{len(log.requests)} requests at {log.rate_rps:.1f} a second, none failed")


def _has(host, name):
    return name in host.docker("ps", "--format={{.Names}}").split()


def _until(holds, timeout_s=120):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
