# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One model has one version number on all hosts of a play, and where that cannot be, nothing changes on any of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration

HOSTS = ("one", "two")
PUBLISH = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {
                "tfserving.fleet.model_version": {
                    "path": "{{ tfserving_model_directory }}/{{ folder }}",
                    "source": "{{ source }}",
                }
            }
        ],
    }
]


class Hosts:
    """Two names of this machine, each with a folder of models."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "publish.yml").write_text(json.dumps(PUBLISH), encoding="utf-8")

    def play(self, *words, converters=(), **variables):
        """(exit status, {host: changed tasks}, output) of a run. converters: hosts that convert for the others."""
        variables.setdefault("folder", "m")
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        common = dict(local, tfserving_python=sys.executable, **variables)
        hosts = {name: {"tfserving_model_directory": str(self.directory / name)} for name in HOSTS}
        group = {"tfserving_converters": {"hosts": dict.fromkeys(converters, {})}}
        groups = {"children": group} if converters else {}
        (self.directory / "inventory.json").write_text(
            json.dumps({"all": {"vars": common, "hosts": hosts, **groups}}), encoding="utf-8"
        )
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", self.directory / "inventory.json", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            cwd=self.directory,
            env=dict(os.environ, XDG_CACHE_HOME=str(self.directory / "cache")),
        )
        changed = {host: int(count) for host, count in re.findall(r"^(\w+) +: ok=.*changed=(\d+)", done.stdout, re.M)}
        return done.returncode, changed, re.sub(r"\s+", " ", done.stdout + done.stderr)

    def versions(self, folder="m"):
        """{host: the names of the versions it has}."""
        return {name: sorted(path.name for path in (self.directory / name / folder).glob("[0-9]*")) for name in HOSTS}


@pytest.fixture
def hosts(tmp_path):
    return Hosts(tmp_path)


def source(zoo, folder, name="dense"):
    """A source of its own for a test, in a folder of this name."""
    shutil.copytree(zoo / name, folder)
    return str(folder)


def test_a_version_has_the_number_of_its_folder_on_every_host(zoo, hosts, tmp_path):
    shutil.copytree(zoo / "strings", tmp_path / "one" / "m" / "1")
    unnumbered = source(zoo, tmp_path / "dense")
    code, _changed, said = hosts.play("publish.yml", source=unnumbered)
    assert code != 0 and "2 hosts of this play would each choose their own number for it" in said, said[-3000:]
    assert hosts.versions() == {"one": ["1"], "two": []}

    numbered = source(zoo, tmp_path / "sources" / "3")
    code, _changed, said = hosts.play("publish.yml", source=numbered)
    assert code == 0, said[-3000:]
    assert hosts.versions() == {"one": ["1", "3"], "two": ["3"]}
    code, changed, said = hosts.play("publish.yml", source=numbered)
    assert (code, changed) == (0, {"one": 0, "two": 0}), said[-3000:]


def test_the_role_publishes_one_number_on_all_hosts(zoo, hosts, tmp_path):
    model = {"name": "m", "source": source(zoo, tmp_path / "dense"), "optimize": "none"}
    shutil.copytree(zoo / "strings", tmp_path / "one" / "m" / "saved_model" / "1")
    code, _changed, said = hosts.play("tfserving.fleet.convert", tfserving_models=[model])
    assert code == 0, said[-3000:]
    assert hosts.versions("m/saved_model") == {"one": ["1", "2"], "two": ["2"]}
    code, changed, said = hosts.play("tfserving.fleet.convert", tfserving_models=[model])
    assert (code, changed) == (0, {"one": 0, "two": 0}), said[-3000:]

    model["source"] = source(zoo, tmp_path / "sources" / "7", "float64")
    code, _changed, said = hosts.play("tfserving.fleet.convert", tfserving_models=[model])
    assert code == 0, said[-3000:]
    assert hosts.versions("m/saved_model") == {"one": ["1", "2", "7"], "two": ["2", "7"]}

    (tmp_path / "two" / "m" / "saved_model" / "7" / "manifest.json").unlink()
    code, changed, said = hosts.play("tfserving.fleet.convert", tfserving_models=[model])
    assert (code, changed) == (0, {"one": 0, "two": 1}), "the model decides, with or without a manifest"
    assert hosts.versions("m/saved_model") == {"one": ["1", "2", "7"], "two": ["2", "7"]}


def test_a_variant_that_the_converter_refuses_keeps_nothing_else_from_the_hosts(zoo, hosts, tmp_path):
    """Without samples or a metric, nothing judges TensorFlow Lite. A policy of one host chose it."""
    unnumbered = source(zoo, tmp_path / "dense")
    chosen = {"when": "cpu.threads > `0`", "choose": {"optimize": "tflite_dynamic_range"}}
    models = [{"name": "m", "source": unnumbered}, {"name": "good", "source": unnumbered, "optimize": "none"}]
    given = {"tfserving_models": models, "tfserving_policies": [chosen], "tfserving_backend": "embedded"}
    code, _changed, said = hosts.play("tfserving.fleet.detect", "tfserving.fleet.convert", converters=["one"], **given)
    assert code != 0 and "m: tflite_dynamic_range is refused: its accuracy was not judged" in said, said[-3000:]
    assert hosts.versions("good/saved_model")["two"] == hosts.versions("m/saved_model")["two"] == ["1"], said[-3000:]
    assert "remove the file of the tuning" in said
    code, _changed, said = hosts.play("tfserving.fleet.plan", "tfserving.fleet.convert", converters=["one"], **given)
    assert code != 0 and re.search(r"\bone : ok=\d+ [^:]*failed=1", said), said[-3000:]


class Numbers:
    """The sources 41 and 42 of one model, where each host has both versions."""

    def __init__(self, hosts, zoo, directory):
        self._hosts = hosts
        self.sources = {
            41: source(zoo, directory / "sources" / "41"),
            42: source(zoo, directory / "sources" / "42", "float64"),
        }
        for number in self.sources:
            code, _changed, said = self.convert(number)
            assert code == 0 and "is newer" not in said, said[-3000:]

    def convert(self, number, model=(), **variables):
        models = [{"name": "m", "source": self.sources[number], "optimize": "none", **dict(model)}]
        return self._hosts.play("tfserving.fleet.convert", tfserving_models=models, **variables)


@pytest.fixture
def numbers(hosts, zoo, tmp_path):
    return Numbers(hosts, zoo, tmp_path)


def test_a_lower_number_fails_where_the_newest_version_would_be_served_instead(numbers, hosts, tmp_path):
    """A server without version_policy serves the highest number (docs/model-updates.md), so it would ignore that the source went back."""
    code, changed, said = numbers.convert(41)
    assert code != 0 and set(changed.values()) == {0}, said[-3000:]
    for name in HOSTS:
        assert f"{tmp_path / name}/m/saved_model: version 42 is newer" in said, said[-3000:]
    assert "serves it instead of 41" in said and "Set version: 43" in said

    shutil.rmtree(tmp_path / "one" / "m" / "saved_model" / "42")
    code, changed, said = numbers.convert(41)
    assert code != 0 and f"{tmp_path}/one" not in said.partition("is newer")[0][-200:], said[-3000:]
    assert "fatal: [two]" in said and "fatal: [one]" not in said

    assert numbers.convert(41, {"version": 43})[0] == 0
    assert hosts.versions("m/saved_model") == {"one": ["41", "43"], "two": ["41", "42", "43"]}
    code, changed, said = numbers.convert(41, {"version": 43})
    assert (code, changed) == (0, {"one": 0, "two": 0}) and "is newer" not in said


def test_a_lower_number_is_right_where_a_version_policy_names_it(numbers, tmp_path):
    for policy, fails in (({"specific": [41]}, False), ({"latest": 1}, True), (None, True)):
        served = [
            {
                "name": "m",
                "base_path": "{{ tfserving_model_directory }}/m/saved_model/",
                "version_policy": policy,
                "labels": {"stable": 41},
            }
        ]
        code, _changed, said = numbers.convert(41, tfs_server_models=served)
        assert bool(code) == fails, said[-3000:]

    # Nothing but a server knows of a version that model_version lists.
    for name in HOSTS:
        model = ModelConfiguration(
            "m", f"{tmp_path}/{name}/m/saved_model", version_policy={"specific": [41, 42]}, labels={"canary": 42}
        )
        server = ServingConfiguration("m", models=(model,), backend="embedded", address="127.0.0.1", grpc_port=1)
        (tmp_path / "state" / "servers" / name).mkdir(parents=True)
        (tmp_path / "state" / "servers" / name / "server.json").write_text(
            json.dumps(server.to_dict()), encoding="utf-8"
        )
    assert numbers.convert(41, tfserving_state_directory=f"{tmp_path}/state")[0] == 0


def test_a_lower_number_that_is_shipped_fails_on_the_host_with_the_newer_one(numbers, tmp_path):
    code, _changed, said = numbers.convert(41, converters=["one"])
    assert code != 0 and "fatal: [two]" in said and "fatal: [one]" not in said, said[-3000:]
    assert f"{tmp_path}/two/m/saved_model: version 42 is newer" in said

    shutil.rmtree(tmp_path / "two" / "m" / "saved_model" / "42")
    code, _changed, said = numbers.convert(41, converters=["one"])
    assert code == 0, "what the converter has is not served"


def test_model_version_warns_of_a_newer_version(numbers, hosts):
    code, changed, said = hosts.play("publish.yml", source=numbers.sources[41], folder="m/saved_model")
    assert code == 0 and set(changed.values()) == {0}, said[-3000:]
    assert "version 42 is newer" in said
    code, _changed, said = hosts.play("publish.yml", source=numbers.sources[42], folder="m/saved_model")
    assert code == 0 and "is newer" not in said


def test_other_content_under_the_number_stops_the_run_before_anything_changes(zoo, hosts, tmp_path):
    shutil.copytree(zoo / "strings", tmp_path / "two" / "m" / "saved_model" / "3")
    model = {"name": "m", "source": source(zoo, tmp_path / "sources" / "3"), "optimize": "none"}
    before = {"name": "a", "source": model["source"], "optimize": "none"}
    code, changed, said = hosts.play("tfserving.fleet.convert", tfserving_models=[before, model])
    assert code != 0 and set(changed.values()) == {0}, said[-3000:]
    assert "version 3 already exists with other content: files without a manifest" in said
    assert re.search(rf"; the source is {re.escape(model['source'])} \(sha256 [0-9a-f]{{12}}\)", said), said[-3000:]
    assert hosts.versions("m/saved_model") == {"one": [], "two": ["3"]}
    assert hosts.versions("a/saved_model") == {"one": [], "two": []}
