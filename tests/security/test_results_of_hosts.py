# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A converter and a builder that answer as an attacker wants: ansible-playbook with the roles' own task files, whose results come from this file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def _tasks(path):
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))
