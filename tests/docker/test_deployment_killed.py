# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments that are killed and that run at once, on a real engine."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost, doubles
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


@pytest.mark.parametrize(
    "moment",
    [pytest.param(moment, marks=[pytest.mark.slice] if moment == "the new one runs" else []) for moment in MOMENTS],
)
def test_a_killed_run_is_finished_or_undone_by_the_next(killed, moment):
    host, server = killed
    number = 2 + list(MOMENTS).index(moment)
    options = {"flags": {"num_load_threads": number}}
    process = host.start(**options)
    until(lambda: MOMENTS[moment] <= set(host.roles()) or not process.runs, pause_s=0.002)
    process.kill()
    left = host.roles()
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


@pytest.mark.slice
def test_two_runs_at_once(host):
    results = [run.result() for run in [host.start() for _run in range(2)]]
    assert sorted(result["changed"] for result in results) == [False, True], results
    assert doubles(results[0]["server"]) and host.roles() == {"serving": True}
