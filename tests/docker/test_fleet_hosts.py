# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The testbed is what it claims to be: hosts that share nothing and are reached as users reach theirs, and a client whose log tells a failed request."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import RestClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

CPUINFO = Path(__file__).resolve().parent.parent / "fixtures" / "capability" / "cpuinfo"
MODEL, INPUTS, ANSWER = "half_plus_two", {"x": [[1.0]]}, {"y": [[2.5]]}


@pytest.fixture(scope="module")
def serving(fleet, models, serving_reference):
    """Three hosts that serve the model, started by hand."""
    hosts = fleet(3)
    for host in hosts:
        host.reset()
        host.put(models / MODEL, f"/srv/{MODEL}")
        start(host, serving_reference)
    yield hosts
    for host in hosts:
        host.reset(f"/srv/{MODEL}")


def start(host, reference):
    host.docker("run", "--detach", "--init", "--name=server", "--restart=unless-stopped", f"--env=MODEL_NAME={MODEL}",
                f"--volume=/srv/{MODEL}:/models/{MODEL}:ro", "--publish=8500:8500", "--publish=8501:8501", reference)


def wait_until_served(host):
    end = time.monotonic() + 120
    while True:
        try:
            with RestClient(host.address, 8501) as client:
                return client.status(MODEL)
        except ServerFault:
            assert time.monotonic() < end, host.docker("logs", "--tail=30", "server")
            time.sleep(0.2)


def test_hosts_are_reached_over_ssh_and_share_nothing(fleet, play, tmp_path):
    playbook = tmp_path / "who.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [
        {"ansible.builtin.command": "sh -c 'echo $SUDO_USER is $(id -un) on $(hostname)'", "register": "who", "changed_when": False},
        {"ansible.builtin.debug": {"var": "who.stdout"}},
        {"tfserving.fleet.capability_facts": {}},
        {"ansible.builtin.debug": {"msg": "engine {{ ansible_facts.tfserving_capabilities.container.version }}"}}]}]))
    hosts = fleet(2)
    run = play(playbook, hosts).succeed()
    assert all(f"deploy is root on {host.name}" in run.output for host in hosts)
    assert run.output.count("engine 20.10") == 2
    hosts[0].docker("volume", "create", "of-the-first")
    assert "of-the-first" not in hosts[1].docker("volume", "ls", "--quiet")
    hosts[0].docker("volume", "rm", "of-the-first")


def test_a_server_taken_out_first_costs_no_request_and_one_that_dies_costs_some(serving, haproxy, asking_client):
    first, second, third = serving
    balancer = haproxy(serving, MODEL)
    balancer.wait_until_up(serving, 120)
    client = asking_client(f"{balancer.address}:{balancer.port}", MODEL, INPUTS)
    balancer.take_out(first)
    first.docker("stop", "--time=1", "server")
    first.docker("start", "server")
    wait_until_served(first)
    balancer.put_back(first)
    balancer.wait_until_up([first])
    time.sleep(1)
    log = client.stop()
    assert log.verdict() is None
    assert log.answers() == [ANSWER]

    client = asking_client(f"{balancer.address}:{balancer.port}", MODEL, INPUTS, rate_rps=200)
    time.sleep(1)
    third.docker("kill", "server")
    second.cut_off()
    try:
        time.sleep(5)
        assert "failed" in client.stop().verdict()
        assert balancer.states()[second.name].startswith("DOWN")
    finally:
        second.reconnect()
    balancer.wait_until_up([second])


@pytest.mark.parametrize("live_restore", [False, True])
def test_an_engine_that_stops_takes_its_containers_with_it_unless_told_otherwise(serving, live_restore):
    host = serving[0]
    host.reload_engine(live_restore=live_restore)
    began = host.run("pgrep", "-f", "python3.*model_server")
    host.stop_engine()
    try:
        assert host.run("pgrep", "-f", "python3.*model_server", check=False) == (began if live_restore else "")
    finally:
        host.start_engine()
        host.reload_engine(live_restore=False)
    wait_until_served(host)


def test_a_host_shows_another_machine_s_cpu_and_a_wrong_clock(testbed):
    (host,) = testbed.hosts({"tomorrow": {"cpuinfo": CPUINFO / "amd_zen4.txt", "runs_engine": False}})
    assert host.run("cat", "/proc/cpuinfo") == (CPUINFO / "amd_zen4.txt").read_text()
    ahead_s = float(host.run("python3-tomorrow", "-c", "import time; print(time.time())")) - time.time()
    assert 86000 < ahead_s < 86500
