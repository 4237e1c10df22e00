# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook tune: which hosts of a class measure, and which of them only repeat the final comparison."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

PLAYBOOK = Path(__file__).resolve().parents[3] / "playbooks" / "tune.yml"
CLASS = "x86-64-v3-intel-2c-1n"
CAPABILITIES = {
    "architecture": "x86_64",
    "cpu": {"level": "x86-64-v3", "flags": ["avx", "sse4_2"], "threads": 2, "usable": 2.0, "affinity": "0-1"},
    "memory": {"usable_mib": 16000},
    "gpus": [],
    "container": None,
}
KNOWN = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {tfserving_capabilities: "{{ known }}", cacheable: true}
"""
KEPT = {
    "model": "m",
    "tuning_class": CLASS,
    "change": {"flags": {"tensorflow_intra_op_parallelism": 1}},
    "gain": {"fraction": 0.5, "interval": [0.4, 0.6], "confidence": 0.95},
    "measured": {"at": "2026-01-02 03:04 UTC", "host": "web-1", "protocol": "grpc", "in_flight": 8, "examples": None},
    "valid_for": {"backend": "embedded", "image": None, "release": "2.20.0"},
}


def tune(directory, *options, classes, **more):
    """(exit status, output) of the playbook in check mode over hosts of these classes, detected before. more: variables of single hosts."""
    (directory / "models" / "m" / "saved_model" / "1").mkdir(parents=True, exist_ok=True)
    (directory / "known.yml").write_text(KNOWN, encoding="utf-8")
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tfserving_backend": "embedded",
        "tfserving_model_directory": str(directory / "models"),
        "tfserving_state_directory": str(directory / "state"),
        "tfserving_models": [{"name": "m", "source": "/srv/sources/m", "samples": "/srv/samples.npz"}],
    }
    hosts = {
        host: {**common, "known": dict(CAPABILITIES, classes={"image": "i", "tuning": of}), **more.get(host, {})}
        for host, of in classes.items()
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "inventory.json"]
    done = subprocess.run(
        [*command, "known.yml", str(PLAYBOOK), "--check", "-v", *options],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=str(directory / "home")),
    )
    return done.returncode, done.stdout + done.stderr


def measuring(output):
    """{play: the hosts on which it would measure something}."""
    plays = dict(re.findall(r"^PLAY \[(.+?)\][ *]*\n(.*?)(?=^PLAY)", output, re.MULTILINE | re.DOTALL))
    task = r"TASK \[tfserving.fleet.tfs_tuning : Measure the candidates one by one\].*?(?=^TASK|\Z)"
    return {
        name: sorted(
            set(re.findall(r"^ok: \[([^\]]+)\] => \(item=", "".join(re.findall(task, text, re.M | re.DOTALL)), re.M))
        )
        for name, text in plays.items()
    }


def measured_models(output, play):
    """{(host, model)} that a play would measure."""
    text = output.partition(f"PLAY [{play}]")[2].partition("PLAY [")[0]
    return set(re.findall(r"^ok: \[(\S+)\] => \(item=(\S+)\)", text, re.M))


TUNE, REPEAT = "Tune one host of each class", "Repeat the final comparison on a second host of each class"


def test_the_first_host_of_a_class_is_tuned_and_the_second_one_repeats(tmp_path):
    classes = {"web-2": CLASS, "web-3": CLASS, "web-1": CLASS, "lone": "other"}
    status, output = tune(tmp_path, classes=classes)
    assert status == 0, output
    found = measuring(output)
    assert found[TUNE] == ["lone", "web-1"] and found[REPEAT] == ["web-2"], output
    assert "Repeat the final comparison of another host of the class, if it keeps a change" in output, output
    status, output = tune(tmp_path, "--limit", "web-3,lone", classes=classes)
    found = measuring(output)
    assert status == 0 and found[TUNE] == ["lone", "web-3"] and not found.get(REPEAT), output


def test_each_model_of_a_class_is_measured_although_its_hosts_serve_different_models(tmp_path):
    def serves(*names):
        return {"tfserving_models": [{"name": name, "samples": "/srv/samples.npz"} for name in names]}

    for name in ("n", "p"):
        (tmp_path / "models" / name / "saved_model" / "1").mkdir(parents=True)
    of = {
        "web-1": serves("m"),
        "web-2": serves("m", "n"),
        "web-3": serves("n", "p"),
        "web-4": serves("p", "m"),
        "no": serves(),
    }
    of["far"] = dict(serves("m"), tfserving_tunings_directory=str(tmp_path / "far"))
    status, output = tune(tmp_path, classes=dict.fromkeys(of, CLASS), **of)
    assert status == 0, output
    assert measured_models(output, TUNE) == {("web-1", "m"), ("web-2", "n"), ("web-3", "p"), ("far", "m")}, output
    assert measured_models(output, REPEAT) == {("web-2", "m"), ("web-3", "n"), ("web-4", "p")}, output


def test_a_second_host_that_cannot_be_reached_leaves_the_tuning_as_it_is(tmp_path):
    (tmp_path / "tunings" / CLASS).mkdir(parents=True)
    file = tmp_path / "tunings" / CLASS / "m.yml"
    file.write_text(json.dumps(KEPT), encoding="utf-8")
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    status, output = tune(tmp_path, classes={"web-1": CLASS, "web-2": CLASS}, **{"web-2": gone})
    assert status == 0 and "m cannot be measured, so the tuning of another host stays: Task failed: Failed to" in output
    assert "PLAY [Name the tunings that no second host repeated]" in output, "the run goes on"
    assert json.loads(file.read_text(encoding="utf-8")) == KEPT
    status, output = tune(tmp_path, "-e", "tfs_tuning_repeat=true", "--limit", "web-2", classes={"web-2": CLASS})
    assert status == 0 and "Measure total: to confirm for the class what web-1 keeps" in output, output


def test_tunings_that_no_second_host_repeated_are_named(tmp_path):
    """The last play of the playbook, after a play that leaves the results of the plays before it."""

    def found(*names, repeats=None):
        return [{"item": {"name": name}, "tuning": {"total": {"kept": True}, "repeats": repeats}} for name in names]

    def first(*names, second, measured=None):
        return {"__tune_seconds": dict.fromkeys(names, second), "__tune_measured": measured or found(*names)}

    hosts = {
        "web-1": first("m", second="web-2"),
        "web-2": {"found": found("n") + found("m", repeats="web-1"), **first("n", second="web-4")},
        "web-3": first("m", second="web-4"),
        "web-4": {"found": found("n", repeats="web-2")},
        "web-5": first("m", second="web-6"),
        "web-6": {},
        "lone": first("m", second=""),
        "none": {"__tune_seconds": {"m": ""}, "__tune_measured": []},
        "late": first("m", second="", measured=found("m", repeats="web-1")),
    }
    known = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.set_fact": {"tfs_tuning_result": {"results": "{{ found }}"}}, "when": "found is defined"},
        ],
    }
    last = yaml.safe_load(PLAYBOOK.read_text(encoding="utf-8"))[-1]
    (tmp_path / "play.yml").write_text(yaml.safe_dump([known, last]), encoding="utf-8")
    measuring = {name: {} for name, given in hosts.items() if "__tune_measured" in given}
    groups = {"hosts": hosts, "children": {"tfserving_tuning_representatives": {"hosts": measuring}}}
    (tmp_path / "inventory.json").write_text(json.dumps({"all": groups}), encoding="utf-8")
    command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "inventory.json", "play.yml"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, ANSIBLE_NOCOLOR="1"),
    )
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    for first_host, second in (("web-3", "web-4"), ("web-5", "web-6")):
        assert (
            f"m: only {first_host} measured this tuning, because {second} could not repeat the final comparison."
            in said
        )
        assert f"ansible-playbook tfserving.fleet.tune --limit {second} -e tfs_tuning_repeat=true" in said
    assert (
        "m: only lone measured this tuning, because this run has no second host of its class that serves the model."
        in said
    )
    assert said.count("measured this tuning") == 3, said
