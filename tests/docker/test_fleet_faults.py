# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that come from outside while the host gets requests, in the middle of an update: the client behind the balancer notices none, since HAProxy asks
another server where one broke off, and the next good run converges."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.docker.testbed import images

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HAPROXY = ROOT / "docs" / "examples" / "haproxy"
MODEL, INPUTS, ANSWER = "doubled", {"x": [[1.0, 2.0, 3.0, 4.0]]}, {"y": [[2.0, 4.0, 6.0, 8.0]]}
FOLDER = f"/srv/models/{MODEL}"
PYTHON = "/usr/bin/python3"


# These hosts share the CPUs of one machine: a server that waits for them a moment is to hold requests, not to refuse the ninth.
PATIENT = {"grpc_max_threads": 64}


class Update:
    """Updates of one host of a fleet that serves. Each is another one than those before."""

    _numbers = itertools.count(2)

    def __init__(self, hosts, balancer, play, reference):
        self.hosts, self.balancer, self.host, self._play, self._reference = hosts, balancer, hosts[0], play, reference
        self.number = None

    def deploy(self, hosts=None, again=False, **variables):
        """Start a run; again: the update before once more."""
        if not again:
            self.number = next(self._numbers)
        given = dict(self.variables(), **variables)
        return self.play(ROOT / "playbooks" / "deploy.yml", "-e", json.dumps(given), hosts=hosts)

    def play(self, playbook, *arguments, hosts=None):
        """Start a playbook."""
        return self._play(playbook, hosts or [self.host], *arguments, balancers=[self.balancer.host])

    def variables(self):
        """What the last update was made with."""
        return {
            "tfserving_hosts": "serving", "tfs_server_image": self._reference, "tfs_server_model_name": MODEL, "tfs_server_model_base_path": FOLDER,
            "tfs_server_address": "0.0.0.0", "tfs_server_samples": "/srv/models/samples.npz", "tfs_server_reference": "/srv/models/samples.npz",
            "tfs_server_leave_tasks": str(HAPROXY / "leave.yml"), "tfs_server_return_tasks": str(HAPROXY / "return.yml"), "tfs_server_drain_s": 0,
            "haproxy_backend": "serving", "haproxy_socket": "/run/haproxy/admin.sock", "tfs_server_flags": {"num_load_threads": self.number, **PATIENT}}

    def containers(self):
        """{name: state} on the host; {} while its engine does not answer."""
        lines = self.host.docker("ps", "--all", "--format={{.Names}} {{.State}}", check=False).splitlines()
        return dict(line.split() for line in lines if line.startswith(MODEL))

    def is_served(self):
        """Whether the last update is what the host serves, and nothing is left over."""
        flags = self.host.docker("inspect", "--format={{join .Config.Cmd \" \"}}", MODEL)
        return f"--num_load_threads={self.number}" in flags.split() and self.containers() in (
            {MODEL: "running"}, {MODEL: "running", f"{MODEL}.previous": "exited"})


def until(holds, timeout_s=120):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The models of make_deployment_models.py, and right once more with four mebibytes that a server does not read."""
    directory = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, str(HERE / "make_deployment_models.py"), str(directory)], check=True, capture_output=True, timeout=300)
    subprocess.run(["cp", "-r", str(directory / "right"), str(directory / "large")], check=True)
    (directory / "large" / "1" / "assets.extra").mkdir()
    (directory / "large" / "1" / "assets.extra" / "ballast").write_bytes(os.urandom(4 << 20))
    return directory


@pytest.fixture(scope="module")
def fleet_hosts(fleet, made):
    hosts = fleet(3)
    for host in hosts:
        host.reset("/srv/models", "/var/lib/tfserving")
    hosts[0].small_disk("/srv/models", 3)
    for host in hosts:
        host.put(made / "right", FOLDER)
        host.put(made / "samples.npz", "/srv/models/samples.npz")
    yield hosts
    for host in hosts:
        host.reset()
    hosts[0].forget_disk("/srv/models")


@pytest.fixture()
def update(fleet_hosts, haproxy, play, serving_reference, asking_client):
    """An Update of a fleet that is served and asked; the client's log is judged when the test has passed."""
    balancer = haproxy(fleet_hosts, MODEL, retries=True)
    update = Update(fleet_hosts, balancer, play, serving_reference)
    if any(state != "UP" for state in balancer.settled_states().values()):
        update.deploy(hosts=fleet_hosts, tfserving_serial=3).succeed()
    balancer.wait_until_up(fleet_hosts, 60)
    client = asking_client(f"{balancer.address}:{balancer.port}", MODEL, INPUTS)
    yield update
    time.sleep(1)
    log = client.stop()
    assert log.verdict() is None
    assert log.answers() == [ANSWER]


POINTS = {
    "a candidate is being proven": lambda update: f"{MODEL}.candidate" in update.containers(),
    "the candidate is proven": lambda update: f"{MODEL}.proven" in update.containers(),
    "the host is out of the balancer": lambda update: update.balancer.states()[update.host.name].startswith("DRAIN"),
    "the old server has stepped aside": lambda update: f"{MODEL}.replaced" in update.containers(),
    "the new server runs and is not verified": lambda update: {MODEL: "running", f"{MODEL}.replaced": "exited"}.items() <= update.containers().items(),
}


@pytest.mark.parametrize("point", POINTS)
def test_the_controller_is_killed(update, point):
    """And what it ran on the host with it."""
    run = update.deploy()
    until(lambda: POINTS[point](update) or run.process.poll() is not None)
    run.kill()
    update.host.run("pkill", "-KILL", "-f", f"^{PYTHON}$", check=False)
    update.deploy(again=True).succeed()
    assert update.is_served()


REFUSED = {
    "a model that cannot load": ({"model_base_path": "/srv/other/broken"}, "a model cannot be loaded"),
    "a model that answers wrongly": ({"model_base_path": "/srv/other/wrong"}, "agrees with the reference"),
    "another signature": ({"model_base_path": "/srv/other/renamed"}, "same signature"),
    "a model that one request kills": ({"model_base_path": "/srv/other/fatal"}, "survives careless requests"),
    "an image that is not there": ({"image": "registry.test:5000/no/such:1"}, "cannot be pulled"),
    "an image for another level": ({"image": "labelled"}, "compatible with this host"),
    "an image that dies of SIGILL": ({"image": "illegal"}, "SIGILL"),
    "a port that is taken": ({"grpc_port": 22}, "port 22 of 0.0.0.0 cannot be used"),
    "a batching file that the server refuses": ({"batching_parameters_file": "/srv/other/batching.pbtxt"}, "batching"),
    "a misspelt flag": ({"flags": {"enable_baching": True}}, "did you mean enable_batching?"),
    "too little memory": ({"memory_mib": 96}, "want of memory"),
}


def test_what_is_refused_never_leaves_the_balancer(update, made, engine, serving_image, registry, tmp_path):
    """One playbook that includes the role with one fault after the other, while the host gets requests."""
    label = "LABEL org.tfserving.fleet.recipe=1 org.tfserving.fleet.level=x86-64-v9 org.tfserving.fleet.cpu_flags=avx10_9"
    others = {"labelled": label, "illegal": 'ENTRYPOINT ["/bin/sh", "-c", "kill -ILL $$"]'}
    others = {name: registry.publish(images.derived(engine, serving_image, instruction)) for name, instruction in others.items()}
    for model in ("broken", "wrong", "renamed", "fatal"):
        update.host.put(made / model, f"/srv/other/{model}")
    update.host.run("sh", "-c", "echo 'max_batch_size { value: oops }' >/srv/other/batching.pbtxt")
    before, began = update.containers(), update.host.docker("inspect", "--format={{.State.StartedAt}}", MODEL)
    update.number = update.number or 1
    tasks = []
    for fault, (options, words) in REFUSED.items():
        given = {f"tfs_server_{option}": others.get(value, value) if option == "image" else value for option, value in options.items()}
        tasks.append({"name": fault, "block": [
            {"ansible.builtin.include_role": {"name": "tfserving.fleet.tfs_server"}, "vars": given}, {"ansible.builtin.meta": "end_play"}], "rescue": [
            {"ansible.builtin.assert": {"that": ["said in ansible_failed_result.msg"], "fail_msg": "{{ ansible_failed_result.msg }}"}, "vars": {"said": words}},
            {"ansible.builtin.debug": {"msg": "refused as it should be"}}]})
    playbook = tmp_path / "faults.yml"
    playbook.write_text(json.dumps([{"hosts": "serving", "gather_facts": False, "vars": update.variables(), "tasks": tasks}]), encoding="utf-8")
    run = update.play(playbook).succeed()
    assert run.output.count("refused as it should be") == len(REFUSED), run.output[-3000:]
    assert "Take the host out of the balancer" not in run.output
    assert update.containers() == before and update.host.docker("inspect", "--format={{.State.StartedAt}}", MODEL) == began
    update.deploy().succeed()
    assert update.is_served()


def test_the_host_s_disk_is_full(update, play, made, tmp_path):
    playbook = tmp_path / "publish.yml"
    playbook.write_text(json.dumps([{"hosts": "serving", "gather_facts": False, "tasks": [{"tfserving.fleet.model_version": {
        "path": FOLDER, "source": str(made / "large" / "1"), "version": 2, "samples": "/srv/models/samples.npz",
        "server": {"port": 8500, "model": MODEL}}}]}]), encoding="utf-8")
    failed = play(playbook, [update.host]).fail()
    assert "MiB are free. Make room" in failed.output
    assert update.host.run("ls", FOLDER).split() == ["1"]
    update.host.run("mount", "-o", "remount,size=32m", "/srv/models")
    play(playbook, [update.host]).succeed()
    assert update.host.run("ls", FOLDER).split() == ["1", "2"]


def test_the_engine_is_stopped_and_what_serves_with_it(update):
    run = update.deploy()
    until(lambda: POINTS["a candidate is being proven"](update))
    update.host.stop_engine()
    assert "engine" in run.fail().output
    update.host.start_engine()
    update.balancer.wait_until_up([update.host], 120)
    update.deploy(again=True).succeed()
    assert update.is_served()


def test_the_host_is_cut_off(update):
    run = update.deploy()
    until(lambda: POINTS["a candidate is being proven"](update))
    update.host.cut_off()
    try:
        assert run.fail().recap[update.host.name]["unreachable"] == 1
    finally:
        update.host.reconnect()
    update.balancer.wait_until_up([update.host], 120)
    update.deploy(again=True).succeed()
    assert update.is_served()
