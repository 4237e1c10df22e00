# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of hosts behind HAProxy. Whatever happens during an update, a client that never stops asking gets its answers, and the next run converges.

tools/molecule fleet has the rolling update that succeeds, and the rollback.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.docker.testbed.playbook import Run
from ansible_collections.tfserving.fleet.tests.docker.waiting import until

ROOT = Path(__file__).resolve().parents[2]
HAPROXY, DEPLOY = ROOT / "docs" / "examples" / "haproxy", ROOT / "playbooks" / "deploy.yml"
CPUINFO = ROOT / "tests" / "fixtures" / "capability" / "cpuinfo"
MODEL, INPUTS, ANSWER = "doubled", {"x": [[1.0, 2.0, 3.0, 4.0]]}, {"y": [[2.0, 4.0, 6.0, 8.0]]}
FOLDER = f"/srv/models/{MODEL}"
PYTHON = "/usr/bin/python3"
# The second where the module only begins to use the engine: what the killed controller had started had the server's lock until then.
ENGINE_GONE = re.compile("no longer answers|nothing listens at /var/run/docker.sock: start the engine")
# These hosts share the CPUs of one machine: a server that waits for them a moment is to queue requests, not to refuse the ninth.
PATIENT = {"grpc_max_threads": 64}


class Update:
    """Updates of the first host of a fleet, which serves. Each differs from those before."""

    _numbers = itertools.count(3)

    def __init__(self, hosts, balancer, play, reference):
        self.hosts, self.balancer, self.host, self._play, self._reference = hosts, balancer, hosts[0], play, reference
        self.number = next(self._numbers)

    def deploy(self, *arguments, hosts=None, again=False, **variables):
        """Start a run; again: the update before once more."""
        if not again:
            self.number = next(self._numbers)
        given = dict(self.variables(), **variables)
        return self.play(DEPLOY, "-e", json.dumps(given), *arguments, hosts=hosts)

    def converge(self, **variables):
        """Run the update before once more, which must lead to what it describes."""
        run = self.deploy(again=True, **variables).succeed()
        flags = self.host.docker("inspect", '--format={{join .Config.Cmd " "}}', MODEL)
        assert f"--num_load_threads={self.number}" in flags.split()
        assert self.containers() in ({MODEL: "running"}, {MODEL: "running", f"{MODEL}.previous": "exited"})
        return run

    def play(self, playbook, *arguments, hosts=None):
        """Start a playbook."""
        return self._play(playbook, hosts or [self.host], *arguments, balancers=[self.balancer.host])

    def variables(self):
        """What the last update was made with."""
        return dict(
            variables(self._reference, self.number),
            tfs_server_leave_tasks=str(HAPROXY / "leave.yml"),
            tfs_server_return_tasks=str(HAPROXY / "return.yml"),
            tfs_server_drain_s=0,
            haproxy_backend="serving",
            haproxy_socket="/run/haproxy/admin.sock",
        )

    def containers(self):
        """{name: state} on the host; {} while its engine does not answer."""
        lines = self.host.docker("ps", "--all", "--format={{.Names}} {{.State}}", check=False).splitlines()
        return dict(line.split() for line in lines if line.startswith(MODEL))

    def began(self):
        """When the server started."""
        return self.host.docker("inspect", "--format={{.State.StartedAt}}", MODEL)

    def processes(self):
        """The processes of servers on the host."""
        return self.host.run("pgrep", "-f", "python3.*model_server", check=False).split()


def variables(reference, number):
    """What a run of deploy is made with; another number is another server."""
    return {
        "tfserving_hosts": "serving",
        "tfserving_backend": "docker",
        "tfs_server_image": reference,
        "tfs_server_model_name": MODEL,
        "tfs_server_model_base_path": FOLDER,
        "tfs_server_samples": "/srv/models/samples.npz",
        "tfs_server_reference": "/srv/models/samples.npz",
        "tfs_server_address": "0.0.0.0",
        "tfs_server_ready_timeout_s": 600,
        "tfs_server_flags": {"num_load_threads": number, **PATIENT},
    }


@pytest.fixture(scope="module")
def fleet_hosts(fleet, models, testbed, serving_reference, tmp_path_factory):
    """Three hosts that serve the model; the first has a small disk for its models."""
    hosts = fleet(3)
    hosts[0].small_disk("/srv/models", 3)
    for host in hosts:
        host.put(models / "right", FOLDER)
        host.put(models / "samples.npz", "/srv/models/samples.npz")
    given = dict(variables(serving_reference, 1), tfserving_serial=3)
    Run(DEPLOY, testbed.inventory(hosts), tmp_path_factory.mktemp("deploy"), "-e", json.dumps(given)).succeed()
    return hosts


@pytest.fixture()
def watched(fleet_hosts, haproxy, play, serving_reference, asking_client):
    """watched() is an Update of a fleet that is served and asked; the client's log is judged when the test has passed.
    retries: HAProxy asks another server where one breaks off."""
    clients = []

    def start(retries=False):
        update = Update(fleet_hosts, haproxy(fleet_hosts, MODEL, retries=retries), play, serving_reference)
        update.balancer.wait_until_up(fleet_hosts)
        clients.append(asking_client(f"{update.balancer.address}:{update.balancer.port}", MODEL, INPUTS))
        return update

    yield start
    time.sleep(1)
    for client in clients:
        log = client.stop()
        assert log.verdict() is None
        assert log.answers() == [ANSWER]


@pytest.fixture()
def update(watched):
    """An Update whose client sees each request that a server did not answer."""
    return watched()


def test_hosts_are_reached_over_ssh_and_share_nothing(fleet, play, tmp_path):
    playbook = tmp_path / "who.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "ansible.builtin.command": "sh -c 'echo $SUDO_USER is $(id -un) on $(hostname)'",
                            "register": "who",
                            "changed_when": False,
                        },
                        {"ansible.builtin.debug": {"var": "who.stdout"}},
                        {"tfserving.fleet.capability_facts": {}},
                        {
                            "ansible.builtin.debug": {
                                "msg": "engine {{ ansible_facts.tfserving_capabilities.container.version }}"
                            }
                        },
                    ],
                }
            ]
        )
    )
    hosts = fleet(3)[:2]
    run = play(playbook, hosts).succeed()
    assert all(f"deploy is root on {host.name}" in run.output for host in hosts)
    assert run.output.count("engine 20.10") == 2
    hosts[0].docker("volume", "create", "of-the-first")
    assert "of-the-first" not in hosts[1].docker("volume", "ls", "--quiet")
    hosts[0].docker("volume", "rm", "of-the-first")


def test_a_host_shows_another_machine_s_cpu_and_a_wrong_clock(testbed):
    (host,) = testbed.hosts({"tomorrow": {"cpuinfo": CPUINFO / "amd_zen4.txt", "runs_engine": False}})
    assert host.run("cat", "/proc/cpuinfo") == (CPUINFO / "amd_zen4.txt").read_text()
    ahead_s = float(host.run("python3-tomorrow", "-c", "import time; print(time.time())")) - time.time()
    assert 80_000 < ahead_s < 90_000


MOMENTS = {
    "a candidate is verified": lambda update: f"{MODEL}.candidate" in update.containers(),
    "the candidate is verified": lambda update: f"{MODEL}.proven" in update.containers(),
    "the host is out of the balancer": lambda update: update.balancer.states()[update.host.name].startswith("DRAIN"),
    "the old server is replaced": lambda update: f"{MODEL}.replaced" in update.containers(),
    "the new server runs and is not verified": lambda update: (
        {MODEL: "running", f"{MODEL}.replaced": "exited"}.items() <= update.containers().items()
    ),
}
# What of these differs for a playbook; test_deployment_killed.py kills the module at each of its own moments.
OF_A_PLAYBOOK = ("a candidate is verified", "the host is out of the balancer", "the old server is replaced")


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=[] if moment in OF_A_PLAYBOOK else [pytest.mark.soak]) for moment in MOMENTS]
)
def test_the_controller_is_killed(update, moment):
    """And what it runs on the host with it."""
    run = update.deploy()
    until(lambda: MOMENTS[moment](update) or run.process.poll() is not None)
    run.kill()
    update.host.run("pkill", "-KILL", "-f", f"^{PYTHON}$", check=False)
    update.converge()


REFUSED = {
    "a model that answers wrongly": ({"model_base_path": "/srv/other/wrong"}, "agrees with the reference"),
    "an image that is not there": ({"image": "registry.test:5000/no/such:1"}, "cannot pull"),
    "a misspelt flag": ({"flags": {"enable_baching": True}}, "did you mean enable_batching?"),
}


def test_what_is_refused_never_leaves_the_balancer(update, models, tmp_path):
    """One playbook that includes the role with one fault after the other. test_deployment.py has all faults."""
    update.host.put(models / "wrong", "/srv/other/wrong")
    before, began = update.containers(), update.began()
    tasks = []
    for fault, (options, words) in REFUSED.items():
        given = {f"tfs_server_{option}": value for option, value in options.items()}
        tasks.append(
            {
                "name": fault,
                "block": [
                    {"ansible.builtin.include_role": {"name": "tfserving.fleet.tfs_server"}, "vars": given},
                    {"ansible.builtin.meta": "end_play"},
                ],
                "rescue": [
                    {
                        "ansible.builtin.assert": {
                            "that": ["words in ansible_failed_result.msg"],
                            "fail_msg": "{{ ansible_failed_result.msg }}",
                        },
                        "vars": {"words": words},
                    },
                    {"ansible.builtin.debug": {"msg": "refused as it should be"}},
                ],
            }
        )
    playbook = tmp_path / "faults.yml"
    playbook.write_text(
        json.dumps([{"hosts": "serving", "gather_facts": False, "vars": update.variables(), "tasks": tasks}]),
        encoding="utf-8",
    )
    run = update.play(playbook).succeed()
    assert run.output.count("refused as it should be") == len(REFUSED), run.output[-3000:]
    assert "Take the host out of the load balancer" not in run.output
    assert update.containers() == before and update.began() == began


def test_a_rolling_update_ends_at_the_first_host_that_refuses_it(update, models):
    """In check mode it shows what it would change, and changes nothing."""
    for host in update.hosts:
        host.put(models / "wrong", "/srv/other/wrong")
    before, began = update.containers(), update.began()
    wrong = {"tfs_server_model_base_path": "/srv/other/wrong"}
    planned = update.deploy("--check", "--diff", hosts=update.hosts, **wrong).succeed()
    assert (
        re.search(rf'^\+ +"?num_load_threads"?: {update.number}', planned.output, re.MULTILINE)
        and "/srv/other/wrong" in planned.output
    )
    assert [counts["changed"] for counts in planned.recap.values()] == [1, 1, 1], planned.output[-3000:]
    assert update.containers() == before and update.began() == began

    bad = update.deploy(hosts=update.hosts, **wrong).fail()
    assert "agrees with the reference" in bad.output and "The current server keeps serving." in bad.output
    assert list(bad.recap) == [update.host.name], "the other hosts are not touched"
    assert update.containers() == before and update.began() == began


def test_the_host_s_disk_is_full(update, play, models, tmp_path):
    large = tmp_path / "large"
    subprocess.run(["cp", "-r", str(models / "right" / "1"), str(large)], check=True)
    (large / "assets.extra").mkdir()
    (large / "assets.extra" / "ballast").write_bytes(os.urandom(4 << 20))  # a server does not read it
    playbook = tmp_path / "publish.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "serving",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "tfserving.fleet.model_version": {
                                "path": FOLDER,
                                "source": str(large),
                                "version": 2,
                                "samples": "/srv/models/samples.npz",
                                "ready_timeout_s": 600,
                                "server": {"port": 8500, "model": MODEL},
                            }
                        }
                    ],
                }
            ]
        ),
        encoding="utf-8",
    )
    failed = play(playbook, [update.host]).fail()
    assert "MiB are free. Make room" in failed.output
    assert update.host.run("ls", FOLDER).split() == ["1"]
    update.host.run("mount", "-o", "remount,size=32m", "/srv/models")
    play(playbook, [update.host]).succeed()
    assert update.host.run("ls", FOLDER).split() == ["1", "2"]


def test_the_engine_dies_and_what_serves_lives_on(update):
    """With live-restore, while a candidate is verified."""
    update.host.reload_engine(live_restore=True)
    until(lambda: "true" in update.host.docker("info", "--format={{.LiveRestoreEnabled}}"))
    serving, run = update.processes(), update.deploy()
    until(lambda: MOMENTS["a candidate is verified"](update))
    update.host.stop_engine(kill=True)
    assert ENGINE_GONE.search(run.fail().output)
    assert set(serving) <= set(update.processes())
    update.host.start_engine()
    update.converge()
    update.host.reload_engine(live_restore=False)
    until(lambda: "false" in update.host.docker("info", "--format={{.LiveRestoreEnabled}}"))


def test_the_engine_ends_with_its_containers_while_a_server_is_replaced(update):
    """The host is out of the balancer then, and stays out. The run that recovers it has a clock that is wrong by a day."""
    run = update.deploy()
    until(lambda: MOMENTS["the old server is replaced"](update))
    update.host.stop_engine()
    assert ENGINE_GONE.search(run.fail().output)
    assert update.processes() == [] and update.balancer.states()[update.host.name] != "UP"
    update.host.start_engine()
    update.converge(ansible_python_interpreter="/usr/local/sbin/python3-tomorrow")
    counts = update.converge().recap[update.host.name]
    assert counts["changed"] == 0 and counts["ok"] + counts["skipped"] <= 10
    update.balancer.wait_until_up(update.hosts)


def test_the_engine_is_stopped_and_what_serves_with_it(watched):
    """While a candidate is verified. With the engine, the server starts again."""
    update = watched(retries=True)
    run = update.deploy()
    until(lambda: MOMENTS["a candidate is verified"](update))
    update.host.stop_engine()
    assert "engine" in run.fail().output
    update.host.start_engine()
    update.balancer.wait_until_up([update.host])
    update.converge()


def test_the_host_is_cut_off(watched):
    update = watched(retries=True)
    run = update.deploy()
    until(lambda: MOMENTS["a candidate is verified"](update))
    update.host.cut_off()
    try:
        assert run.fail().recap[update.host.name]["unreachable"] == 1
    finally:
        update.host.reconnect()
    update.balancer.wait_until_up([update.host])
    update.converge()


def test_a_client_reports_requests_that_failed(fleet_hosts, haproxy, asking_client):
    """The judge of all these tests: without retries, servers that die cost requests."""
    balancer = haproxy(fleet_hosts, MODEL)
    balancer.wait_until_up(fleet_hosts)
    client = asking_client(f"{balancer.address}:{balancer.port}", MODEL, INPUTS, rate_rps=200, deadline_s=5)
    _first, second, third = fleet_hosts
    third.docker("kill", MODEL)
    second.cut_off()
    try:
        until(lambda: balancer.states()[second.name].startswith("DOWN"))
        assert "failed" in client.stop().verdict()
    finally:
        second.reconnect()
        third.docker("start", MODEL)
    balancer.wait_until_up(fleet_hosts)
