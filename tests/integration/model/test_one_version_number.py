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

HOSTS = ("one", "two")
PUBLISH = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [{"tfserving.fleet.model_version": {"path": "{{ folder }}", "source": "{{ source }}"}}],
    }
]


class Hosts:
    """Two names of this machine, each with a folder of models."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "publish.yml").write_text(json.dumps(PUBLISH), encoding="utf-8")

    def play(self, *words, **variables):
        """(exit status, {host: changed tasks}, output) of a run."""
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        common = dict(local, tfserving_python=sys.executable, **variables)
        hosts = {
            name: {"folder": str(self.directory / name / "m"), "tfserving_model_directory": str(self.directory / name)}
            for name in HOSTS
        }
        (self.directory / "inventory.json").write_text(
            json.dumps({"all": {"vars": common, "hosts": hosts}}), encoding="utf-8"
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
