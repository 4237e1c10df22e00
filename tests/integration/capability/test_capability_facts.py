# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection in real runs of ansible-playbook: the module, the role, the playbook and the filter."""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "capability"
PYTHON = "/usr/bin/python3"
ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user or mount over /proc")


def ansible(program, directory, *arguments, wrap=(), environment=None):
    """Run ansible or ansible-playbook in directory over this host, with nobody's own settings."""
    command = [*wrap, str(Path(sys.executable).parent / program), "-i", "localhost,", "-c", "local", *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    variables.update({"ANSIBLE_PYTHON_INTERPRETER": PYTHON, "ANSIBLE_NOCOLOR": "1"}, **(environment or {}))
    return subprocess.run(
        command,
        cwd=directory,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
    )


def detected(directory, *arguments, options="", **how):
    """The facts of this host, by one call of the module."""
    done = ansible(
        "ansible",
        directory,
        "localhost",
        "-m",
        "tfserving.fleet.capability_facts",
        "-a",
        options,
        "--tree",
        "results",
        *arguments,
        **how,
    )
    assert done.returncode == 0, done.stdout
    return json.loads((directory / "results" / "localhost").read_text())["ansible_facts"]["tfserving_capabilities"]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """The facts of this host as it is."""
    return detected(tmp_path_factory.mktemp("facts"))


@pytest.fixture
def detect(tmp_path):
    """detect(*arguments, options="", wrap=(), environment={}): the facts of another run."""
    return functools.partial(detected, tmp_path)


@pytest.fixture
def play(tmp_path):
    """play(text, *arguments, wrap=()): run tasks, or a playbook by its name, on this host."""

    def run(text, *arguments, **how):
        if "\n" in text:
            (tmp_path / "play.yml").write_text(
                "- hosts: all\n  gather_facts: false\n  tasks:\n"
                + "".join(f"    {line}\n" for line in text.splitlines())
            )
            text = "play.yml"
        return ansible("ansible-playbook", tmp_path, text, *arguments, **how)

    return run


def test_facts_are_small_complete_and_the_same_from_run_to_run(facts, detect):
    assert detect() == detect("--check", "--diff") == facts
    assert len(json.dumps(facts)) <= 4096
    assert sorted(facts) == sorted(
        ["schema", "architecture", "cpu", "memory", "gpus", "container", "os", "virtualization", "python", "classes"]
    )
    assert sorted(facts["cpu"]) == sorted(
        "vendor family model stepping brand level flags ai sockets cores threads numa_nodes caches usable affinity cpuset "
        "quota".split()
    )
    assert set(facts["classes"]) == {"image", "tuning"} and facts["classes"]["tuning"].startswith(
        facts["classes"]["image"]
    )
    assert facts["python"]["executable"] == PYTHON


def test_py_cpuinfo_is_of_the_same_opinion(facts):
    """It runs the CPUID instruction where it can, so it is a witness of its own."""
    library = pytest.importorskip("cpuinfo")
    info, cpu = library.get_cpu_info(), facts["cpu"]
    assert set(cpu["flags"]) <= set(info["flags"])
    assert (cpu["vendor"], cpu["family"], cpu["model"], cpu["stepping"], cpu["threads"]) == (
        info["vendor_id_raw"],
        info["family"],
        info["model"],
        info["stepping"],
        info["count"],
    )
    assert cpu["brand"] == " ".join(info["brand_raw"].split())


@ROOT_ONLY
def test_an_ordinary_user_gets_the_same_facts(facts, detect):
    become = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_SU_FLAGS": "-s /bin/sh"}
    found = detect("--become", "--become-user=nobody", "--become-method=su", environment=become)
    # Whether an engine's socket may be asked is a matter of each user's own.
    told, known = found.pop("container"), dict(facts)
    assert told["engine"] == known.pop("container")["engine"]
    assert found == known


@ROOT_ONLY
def test_an_affinity_set_from_outside_is_seen(detect):
    cpu = min(os.sched_getaffinity(0))
    found = detect(wrap=["taskset", "-c", str(cpu)])
    assert (found["cpu"]["usable"], found["cpu"]["affinity"]) == (1.0, str(cpu))
    assert "-1c-" in found["classes"]["tuning"]


@ROOT_ONLY
@pytest.mark.parametrize(
    "name, level, ai", [("intel_sapphirerapids", "x86-64-v4", ["amx_tile"]), ("vm_nehalem", "x86-64-v1", [])]
)
def test_host_with_another_cpu(detect, name, level, ai):
    """The text of another machine is mounted over this one's, for this run alone."""
    if os.uname().machine != "x86_64" or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs x86-64 and a mount namespace")
    text = FIXTURES / "cpuinfo" / f"{name}.txt"
    found = detect(wrap=["unshare", "-m", "sh", "-c", f'mount --bind {text} /proc/cpuinfo && exec "$@"', "sh"])
    assert found["cpu"]["level"] == level and found["classes"]["image"] == level
    assert set(ai) <= set(found["cpu"]["ai"])


@ROOT_ONLY
def test_controller_without_proc_cpuinfo_asks_py_cpuinfo(play):
    """As on macOS: a local connection, and no /proc/cpuinfo, because a bare /proc hides it for this run."""
    pytest.importorskip("cpuinfo")
    hide = (
        "mkdir real && mount --rbind /proc real && mount -t tmpfs none /proc && ln -s $PWD/real/self /proc/self && ln -s $PWD/real/sys /proc/sys && "
        'ln -s $PWD/real/meminfo /proc/meminfo && exec "$@"'
    )
    done = play(
        "- tfserving.fleet.capability_facts:\n"
        "- ansible.builtin.debug:\n    msg: 'seen {{ ansible_facts.tfserving_capabilities.cpu.flags | join(\" \") }}'\n",
        wrap=["unshare", "-m", "sh", "-c", hide, "sh"],
    )
    assert done.returncode == 0, done.stdout
    real = json.loads(
        subprocess.run(
            [sys.executable, "-c", "import cpuinfo, json; print(json.dumps(cpuinfo.get_cpu_info()['flags']))"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    seen = done.stdout.partition("seen ")[2].partition('"')[0].split()
    assert "sse2" in seen and set(seen) <= set(real)


def test_a_container_engine_is_asked_over_its_socket(detect):
    replies = {
        "/version": {"Components": [{"Name": "Engine"}], "Version": "27.1.1", "ApiVersion": "1.46"},
        "/info": {"Runtimes": {"runc": {}}, "CDISpecDirs": ["/etc/cdi"]},
    }
    directory = tempfile.mkdtemp(prefix="cap", dir="/tmp")
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{directory}/engine.sock")
    server.listen()

    def serve():
        for _request in replies:
            connection, _address = server.accept()
            with connection:
                what = connection.recv(4096).decode().split(" ")[1]
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(replies[what]).encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        found = detect(options=f"engine_socket={directory}/engine.sock")["container"]
    finally:
        server.close()
        shutil.rmtree(directory)
    found.pop("sdk")
    assert found == {
        "engine": "docker",
        "version": "27.1.1",
        "api_version": "1.46",
        "socket": f"{directory}/engine.sock",
        "answers": True,
        "reason": None,
        "runtimes": ["runc"],
        "cdi_directories": ["/etc/cdi"],
        "nvidia": None,
    }


def test_whether_the_interpreter_can_import_the_docker_sdk_is_a_fact(detect, tmp_path):
    asked = subprocess.run(
        [PYTHON, "-c", "import docker; print(docker.__version__)"], capture_output=True, text=True, check=False
    )
    sdk = detect()["container"]["sdk"]
    assert sdk["version"] == (asked.stdout.strip() or None)
    assert bool(sdk["problem"]) == bool(asked.returncode) and (sdk["problem"] or "") in asked.stderr
    other = tmp_path / "lib" / "docker" / "__init__.py"  # an empty package of that name is not the SDK
    other.parent.mkdir(parents=True)
    other.write_text("__version__ = '9.9'\n")
    sdk = detect(environment={"PYTHONPATH": str(tmp_path / "lib")})["container"]["sdk"]
    assert sdk["version"] is None and "DockerClient" in sdk["problem"]


def test_a_host_whose_python_lacks_the_sdk_says_that_servers_in_containers_are_unseen(tmp_path):
    replies = {
        "/version": {"Components": [{"Name": "Engine"}], "Version": "27.1.1", "ApiVersion": "1.46"},
        "/info": {"Runtimes": {"runc": {}}},
    }
    broken = tmp_path / "lib" / "docker" / "__init__.py"
    broken.parent.mkdir(parents=True)
    broken.write_text("raise ImportError('none here')\n")
    directory = tempfile.mkdtemp(prefix="cap", dir="/tmp")
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{directory}/engine.sock")
    server.listen()

    def serve():
        for _request in replies:
            connection, _address = server.accept()
            with connection:
                what = connection.recv(4096).decode().split(" ")[1]
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(replies[what]).encode())

    threading.Thread(target=serve, daemon=True).start()
    try:
        done = ansible(
            "ansible",
            tmp_path,
            "localhost",
            "-m",
            "tfserving.fleet.model_server_info",
            "-a",
            f"engine_socket={directory}/engine.sock state_directory={tmp_path}",
            environment={"PYTHONPATH": str(tmp_path / "lib")},
        )
    finally:
        server.close()
        shutil.rmtree(directory)
    assert "cannot see servers in containers" in done.stdout and "python3-docker" in done.stdout, done.stdout


def test_unknown_option_is_refused(play):
    done = play("- tfserving.fleet.capability_facts:\n    engine_sockt: /x\n")
    assert done.returncode == 2 and "engine_sockt" in done.stdout


def test_playbook_detect_prints_and_changes_nothing(play):
    done = play("tfserving.fleet.detect", "--check", "--diff")
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout
    assert "class      " in done.stdout and "usable of" in done.stdout


def test_role_works_in_another_playbook_and_refuses_misspelt_variables(play):
    text = (
        "- ansible.builtin.include_role: {name: tfserving.fleet.tfs_capabilities}\n"
        "- ansible.builtin.assert: {that: ansible_facts.tfserving_capabilities.classes.image is string}\n"
    )
    done = play(text)
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout
    done = play(text, "-e", "tfs_capabilities_engine_sockt=/x")
    assert done.returncode == 2 and "did you mean tfs_capabilities_engine_socket?" in done.stdout


def test_filter_tells_the_same_of_this_machine_as_the_module(facts, play):
    text = "lookup('ansible.builtin.file', '/proc/cpuinfo')"
    done = play(
        f'- ansible.builtin.debug:\n    msg: "seen {{{{ {text} | tfserving.fleet.cpu_capability | to_json | b64encode }}}} ."\n'
    )
    found = json.loads(base64.b64decode(done.stdout.partition("seen ")[2].partition(" ")[0]))
    same = ("vendor", "family", "model", "stepping", "brand", "level", "flags", "ai")
    assert {key: found["cpu"][key] for key in same} == {key: facts["cpu"][key] for key in same}
    assert found["classes"] == {"image": facts["cpu"]["level"]} and found["warnings"] == []


def test_filter_refuses_in_one_clear_line(play):
    text = f"lookup('ansible.builtin.file', '{FIXTURES}/cpuinfo/%s.txt')"
    refused = {
        text % "foreign_power9" + " | tfserving.fleet.cpu_capability": "the text is from ppc64",
        text % "graviton3" + " | tfserving.fleet.cpu_capability('x86_64')": "the text is from aarch64, not from x86_64",
        text % "graviton3" + " | tfserving.fleet.cpu_capability('arm')": "allowed: aarch64, x86_64",
        "'' | tfserving.fleet.cpu_capability": "the text is empty",
        "[1] | tfserving.fleet.cpu_capability": "the input is not a string",
    }
    done = play(
        "".join(
            f'- ansible.builtin.debug:\n    msg: "{{{{ {expression} }}}}"\n  ignore_errors: true\n'
            for expression in refused
        )
    )
    assert done.returncode == 0 and f"ignored={len(refused)}" in done.stdout, done.stdout
    for words in refused.values():
        assert [line for line in done.stdout.splitlines() if words in line], done.stdout
