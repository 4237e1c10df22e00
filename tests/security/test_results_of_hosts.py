# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that answer as an attacker wants: ansible-playbook with the roles' own task files, whose results come from this file, and filters alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.filter.model_conversions import model_conversions
from ansible_collections.tfserving.fleet.plugins.filter.model_results import model_results
from ansible_collections.tfserving.fleet.plugins.filter.serving_image_parts import serving_image_parts
from ansible_collections.tfserving.fleet.plugins.filter.serving_image_work import serving_image_work
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import fleet_plans
from ansible_collections.tfserving.fleet.tests.unit.plan import test_golden_plans as golden

yaml = pytest.importorskip("yaml")
AnsibleFilterError = pytest.importorskip("ansible.errors").AnsibleFilterError

ROLES = Path(__file__).resolve().parents[2] / "roles"


def play(directory, tasks, **variables):
    """(exit status, output) of a play on this machine."""
    variables["ansible_python_interpreter"] = sys.executable
    (directory / "play.yml").write_text(
        json.dumps(
            [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", directory / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=dict(os.environ, ANSIBLE_HOME=str(directory / "ansible")),
    )
    return done.returncode, done.stdout + done.stderr


def test_files_that_a_builder_names(tmp_path):
    """Parts of another class's archive, and files of the builder that are no archive at all."""
    archives, controller = tmp_path / "images" / "images", tmp_path / "controller"
    for digest in ("a" * 12, "b" * 12):
        (archives / digest).mkdir(parents=True)
        (archives / digest / "part-00000").write_text("from the builder")
        (controller / digest).mkdir(parents=True)
        (controller / digest / "part-00000").write_text("before")
    (archives / ("a" * 12) / "site.yml").write_text("- hosts: all")

    def ship(*names):
        built = {
            "results": [
                {
                    "item": {"digest": "a" * 64, "image": "i"},
                    "files": [f"{archives}/{'a' * 12}/{name}" for name in names],
                }
            ]
        }
        return play(
            tmp_path,
            [{"ansible.builtin.include_tasks": str(ROLES / "tfs_image" / "tasks" / "archives.yml")}],
            __tfs_image_built=built,
            __tfs_image_here={"recipe": None, "present": True},
            tfs_image_directory=str(tmp_path / "images"),
            tfs_image_controller_directory=str(controller),
            tfs_image_recipe={"digest": "a" * 64},
        )

    for names in ((f"../{'b' * 12}/part-00000",), ("site.yml",), ("part-00000\n",), ("part-00000/../../x/part-00000",)):
        code, said = ship("part-00000", *names)
        assert code != 0 and "which is not a file of the archive" in said, said
        assert (controller / ("b" * 12) / "part-00000").read_text() == "before"
        assert not list(controller.rglob("site.yml"))
    code, said = ship("part-00000")
    assert code == 0 and (controller / ("a" * 12) / "part-00000").read_text() == "from the builder", said


GOOD = {
    "model": "digits",
    "form": "saved_model",
    "version": 3,
    "path": "/srv/models/digits/saved_model/3",
    "accepted": True,
}


@pytest.mark.parametrize(
    "told",
    [
        {"form": "../../../etc"},
        {"model": "../digits"},
        {"model": "other", "path": "/srv/models/other/saved_model/3"},
        {"path": "/../../../../etc/ansible"},
        {"path": "/srv/models/digits/saved_model/3/../../../.."},
        {"version": "../3", "path": "/srv/models/digits/saved_model/../3"},
        {"version": True, "path": "/srv/models/digits/saved_model/True"},
        {"version": None},
    ],
)
def test_what_a_converter_says_that_it_published(tmp_path, told):
    (task,) = [
        one
        for one in _tasks(ROLES / "tfs_model" / "tasks" / "main.yml")
        if "ansible.builtin.set_fact" in one and "tfs_model_result" in one["ansible.builtin.set_fact"]
    ]
    shown = {"ansible.builtin.debug": {"msg": "kept {{ tfs_model_result.results | to_json }}"}}

    def leave(result):
        made = {"results": [{**result, "__tfs_model_item": {"model": {"name": "digits"}, "published": "saved_model"}}]}
        return play(tmp_path, [task, shown], __tfs_model_made=made, tfs_model_directory="/srv/models")

    code, said = leave({**GOOD, **told})
    assert code != 0 and "but the request was digits, saved_model" in said and "kept" not in said, said
    code, said = leave(GOOD)
    assert code == 0 and "kept" in said, said


STRANGE = [None, True, -1, 1e999, 10**5000, "", "\x1b[2J", [], {}, [[]], ["x"], {"a": {}}, "\ud800", "a\nb"]
CONVERTED = {**GOOD, "one": {"model": {"name": "digits"}, "published": "saved_model"}}
BUILT = {"files": ["/b/images/aaaaaaaaaaaa/part-00000"], "item": {"digest": "a" * 64, "image": "i"}}
RECIPE = {"image": "i", "level": "x86-64-v3", "digest": "d" * 64}
HOSTS = {"b": {"level": "x86-64-v3", "images": ["other"], "recipe": RECIPE, "present": False}}
FILTERS = {
    "converter's results": (lambda one: model_results([one], "/srv/models", "one"), CONVERTED),
    "results as a whole": (
        lambda one: model_results(one.get("results"), "/srv/models", "one"),
        {"results": [CONVERTED]},
    ),
    "results before a conversion": (lambda one: model_conversions([{"name": "digits"}], (), [one]), GOOD),
    "builder's files": (lambda one: serving_image_parts([one], "/b/images"), BUILT),
    "images of hosts": (lambda one: serving_image_work({"b": one}, ["b"]), HOSTS["b"]),
}


@pytest.mark.parametrize("name", FILTERS)
def test_results_of_another_form(name):
    """Each key missing, and with each strange value: used, or refused in one line, so that it is known which host to look at."""
    call, result = FILTERS[name]
    call(result)
    own = {"one", "item"}  # Of the controller.
    for key in result.keys() - own:
        for changed in [{}, *({key: value} for value in STRANGE)]:
            try:
                call({**{other: value for other, value in result.items() if other != key}, **changed})
            except AnsibleFilterError as fault:
                assert str(fault).isprintable() and len(str(fault)) < 10_000, (key, changed)


@pytest.mark.parametrize("fault", [KeyError("level"), TypeError("x\ny"), RecursionError()])
def test_facts_of_another_form(fault):
    """The plan of a fleet names the host."""

    def plan(_variables):
        raise fault

    with pytest.raises(FleetError, match=r"this is not the data .* \(on web1\)") as caught:
        fleet_plans.plan_all({"web1": {}}, plan)
    assert str(caught.value).isprintable()


CAPABILITIES = golden.machine(**golden.CASES["machines"]["t4"])
GARBLED_FACTS = {
    "text": "x86_64",
    "list": [CAPABILITIES],
    "nothing": None,
    "cpu": {**CAPABILITIES, "cpu": "many\n"},
    "flags": {**CAPABILITIES, "cpu": {**CAPABILITIES["cpu"], "ai": [["amx"]]}},
    "gpus": {**CAPABILITIES, "gpus": [{"count": "two"}]},
    "missing": {key: value for key, value in CAPABILITIES.items() if key != "architecture"},
}
GARBLED_RESULTS = [
    {"ansible_facts": [1]},
    {"ansible_facts": {}},
    *({"ansible_facts": {"tfserving_capabilities": one}} for one in GARBLED_FACTS.values()),
]


def test_modules_that_return_garbled_results(tmp_path):
    """Each host has an interpreter of its own, which prints what the attacker wants instead of running the module."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "saved_model.pb").write_bytes(b"")
    version = {"path": "/nonexistent/m", "source": str(tmp_path / "folder"), "version": 1}
    tasks = {
        "tfserving.fleet.capability_facts": ({}, GARBLED_RESULTS),
        "tfserving.fleet.host_plan": ({}, GARBLED_RESULTS[:1]),
        "tfserving.fleet.model_version": (version, [{"missing": 5}, {"missing": [["saved_model.pb", "0", None]]}]),
    }
    hosts, common = {}, {"tfserving_models": [{"name": "digits"}], "ansible_connection": "local"}
    for name, (_arguments, results) in tasks.items():
        for number, result in enumerate(results):
            interpreter = tmp_path / f"{name}-{number}"
            interpreter.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(result)}\nEND\n", encoding="utf-8")
            interpreter.chmod(0o755)
            hosts[interpreter.name] = {"ansible_python_interpreter": str(interpreter), "module": name}
    calls = [{name: arguments, "when": f"module == '{name}'"} for name, (arguments, _results) in tasks.items()]
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}), encoding="utf-8")
    plays = [{"hosts": "all", "gather_facts": False, "tasks": calls}]
    (tmp_path / "play.yml").write_text(json.dumps(plays), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts.json", tmp_path / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, ANSIBLE_HOME=str(tmp_path / "ansible")),
    )
    said = done.stdout + done.stderr
    failed = dict(re.findall(r"^fatal: \[(.+)\]: FAILED! => (.*)$", said, re.MULTILINE))
    assert failed.keys() == hosts.keys() and "exception" not in said, said
    for result in failed.values():
        assert "this is not the data that the collection expects here" in result, result


def test_names_that_control_a_terminal(tmp_path):
    """What Ansible prints itself is JSON; the plan is text."""
    capabilities = golden.machine(**golden.CASES["machines"]["t4"])
    capabilities["gpus"][0]["driver"] = "vfio\x1b]0;owned\x07\x1b[2J\u2028"
    code, said = play(
        tmp_path,
        [
            {"ansible.builtin.set_fact": {"tfserving_capabilities": capabilities, "cacheable": True}},
            {"ansible.builtin.set_fact": {"tfserving_models": [{"name": "digits"}], "tfserving_version": "2.20.0"}},
            {"tfserving.fleet.plan_report": {"hosts": ["localhost"]}},
        ],
    )
    assert code == 0 and "the driver vfio" in said and "owned" in said, said
    assert all(line.isprintable() for line in said.split("\n")), said


def _tasks(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))
