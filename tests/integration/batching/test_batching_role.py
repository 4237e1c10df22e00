# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role tfs_batching in real runs of ansible-playbook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    tfserving_state_directory: "{{ playbook_dir }}/state"
    tfserving_model_directory: "{{ playbook_dir }}/models"
  roles:
    - tfserving.fleet.tfs_batching
  tasks:
    - name: Keep the result
      ansible.builtin.copy:
        content: "{{ tfs_batching_result }}"
        dest: "{{ playbook_dir }}/result.json"
        mode: "0644"
      check_mode: false
      changed_when: false
"""
HOST = {"cpu": {"usable": 2.0}, "gpus": [], "memory": {"usable_mib": 8000}}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    return tmp_path


def play(directory, *arguments, **variables):
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-i",
        "localhost,",
        "play.yml",
        "-e",
        json.dumps(variables),
        *arguments,
    ]
    return subprocess.run(
        command, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300
    )


def publish(directory, name, form="saved_model", version="1"):
    place = directory / "models" / name / form / version
    place.mkdir(parents=True)
    (place / "model.tflite").write_bytes(b"TFL3")
    return place


def test_checks_writes_and_then_changes_nothing(project):
    shown = play(project, "--check", "--diff", tfs_batching_capabilities=HOST)
    assert (
        shown.returncode == 0 and "+num_batch_threads { value: 2 }" in shown.stdout and not (project / "state").exists()
    ), shown.stdout
    first = play(project, tfs_batching_capabilities=HOST)
    assert first.returncode == 0 and "changed=1" in first.stdout, first.stdout
    result = json.loads((project / "result.json").read_text())
    assert (
        Path(result["path"]) == project / "state/batching.pbtxt"
        and result["text"] == (project / "state/batching.pbtxt").read_text()
    )
    assert result["parameters"]["num_batch_threads"] == 2 and "CPU" in result["reasons"]["num_batch_threads"]
    second = play(project, tfs_batching_capabilities=HOST)
    assert second.returncode == 0 and "changed=0" in second.stdout, second.stdout


def test_the_users_values_and_nothing_else_where_the_host_is_unknown(project):
    done = play(project, tfs_batching_max_batch_size=16, tfs_batching_allowed_batch_sizes=[4, 16])
    assert done.returncode == 0, done.stdout
    written = (project / "state/batching.pbtxt").read_text().splitlines()
    assert written[1:] == ["max_batch_size { value: 16 }", "allowed_batch_sizes: 4", "allowed_batch_sizes: 16"]


def test_a_plan_with_unlike_models_gives_each_its_file(project):
    """Shapes as the filter serving_plan returns them."""
    digits, words = publish(project, "digits", "tflite_dynamic_range", "3"), publish(project, "words")
    plan = {
        "models": [
            {
                "name": "digits",
                "form": "tflite_dynamic_range",
                "batching": {"max_batch_size": 8, "num_batch_threads": 2},
            },
            {"name": "words", "form": "saved_model", "batching": None},
        ],
        "server": {"flags": {"enable_batching": True, "enable_per_model_batching_parameters": True}},
    }
    done = play(project, tfs_capabilities_plan_result={"plan": plan})
    assert done.returncode == 0, done.stdout
    assert (digits / "batching_params.pbtxt").read_text().splitlines()[1:] == ["max_batch_size { value: 8 }"]
    assert (project / "state/batching.pbtxt").read_text().splitlines()[1:] == ["num_batch_threads { value: 2 }"]
    assert not (words / "batching_params.pbtxt").exists()


def test_the_inventorys_models_are_judged(project):
    signatures = {"serving_default": {"inputs": {"x": {"dtype": "float32", "shape": []}}, "outputs": {}}}
    models = [{"name": "digits", "source": "/somewhere", "optimize": "auto", "signatures": signatures}]
    done = play(project, tfserving_models=models)
    assert done.returncode == 2 and "models: digits: signature serving_default, input x: it is a scalar" in done.stdout
    assert not (project / "state").exists()
    done = play(project, tfserving_models=[dict(models[0], batching="none")])
    assert done.returncode == 0 and not (project / "state").exists()


BAD = [
    ({"tfs_batching_max_bach_size": 8}, "tfs_batching_max_bach_size (did you mean tfs_batching_max_batch_size?)"),
    ({"tfs_batching_max_batch_size": 0}, "max_batch_size: 0 is out of range; allowed: 1 to 2147483647 rows."),
    (
        {"tfs_batching_batch_timeout_micros": 3600000001},
        "batch_timeout_micros: 3600000001 is out of range; allowed: 0 to 3600000000 microseconds.",
    ),
    (
        {"tfs_batching_batch_timeout_micros": -1},
        "tfs_batching_batch_timeout_micros: -1 is below 0; allowed: a whole number, 0 or more.",
    ),
    ({"tfs_batching_goal": "fast"}, "tfs_batching_goal: 'fast' is not known; allowed: online, bulk."),
    (
        {"tfs_batching_max_batch_size": "many"},
        "tfs_batching_max_batch_size: 'many' is a text; allowed: a whole number.",
    ),
    ({"tfs_batching_models": [{"form": "saved_model"}]}, "models[0].name: '' is not a valid name for a model"),
    ({"tfs_batching_models": [{"name": None}]}, "models[0].name: '' is not a valid name for a model"),
    ({"tfs_batching_models": [{"name": [5]}]}, "models[0].name: [5] is not a text"),
    (
        {"tfs_batching_models": [{"name": "m", "batching": False}]},
        "models: m: batching: False is not known; allowed: none, auto, or a mapping of parameters.",
    ),
    ({"tfs_batching_mode": "rwx"}, "mode: 'rwx' is not a valid file mode"),
]


def test_bad_input_fails_and_nothing_is_written(project):
    """All in one play, each include of the role in a block that remembers how it failed."""
    (playbook,) = yaml.safe_load(PLAYBOOK)
    playbook.pop("roles")
    playbook["tasks"] = [
        *(
            {
                "block": [
                    {"ansible.builtin.include_role": {"name": "tfserving.fleet.tfs_batching"}, "vars": variables}
                ],
                "rescue": [{"ansible.builtin.set_fact": {f"failed_{number}": "{{ ansible_failed_result.msg }}"}}],
            }
            for number, (variables, _words) in enumerate(BAD)
        ),
        {
            "ansible.builtin.copy": {
                "content": "{{ vars | dict2items | selectattr('key', 'match', 'failed_') | items2dict | to_json }}",
                "dest": str(project / "failed.json"),
                "mode": "0600",
            }
        },
    ]
    (project / "play.yml").write_text(yaml.safe_dump([playbook]), encoding="utf-8")
    done = play(project)
    assert done.returncode == 0, done.stdout
    failed = json.loads((project / "failed.json").read_text(encoding="utf-8"))
    assert len(failed) == len(BAD)
    for number, (variables, words) in enumerate(BAD):
        assert words in failed[f"failed_{number}"] and "\n" not in failed[f"failed_{number}"], (variables, failed)
    assert not (project / "state").exists()


def test_absent_removes_the_file(project):
    play(project)
    assert (project / "state/batching.pbtxt").exists()
    done = play(project, tfs_batching_state="absent")
    assert done.returncode == 0 and not (project / "state/batching.pbtxt").exists()
