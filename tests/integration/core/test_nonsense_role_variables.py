# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in a variable of a role, in real runs in check mode: what cannot be meant is one line that names it and the value, and nothing ends in
the words of a template."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import yaml
from ansible_collections.tfserving.fleet.tests.support import made

ROOT = Path(__file__).resolve().parents[3]
SECRET = {"tfs_server_registry_login", "tfs_server_secret_environment"}
# By type: values that are surely wrong, and values that a role may take or refuse.
WRONG = {
    "int": ["many", -7],
    "float": [float("inf")],
    "bool": ["maybe"],
    "list": [{"x": 1}],
    "dict": ["a=b"],
    "str": [["a"]],
    "path": [7],
    "raw": [],
}
ODD = {
    "int": [],
    "float": [1e15],
    "bool": [],
    "list": [],
    "dict": [{"x": {"y": [1]}}],
    "str": [],
    "path": [],
    "raw": [3, "x", {"x": 1}],
}
# As the command line (-e name=value) gives them.
TEXTS = [
    ("tfs_image", "main", "tfs_image_prune", "no"),
    ("tfs_model", "main", "tfs_model_through_server", "false"),
    ("tfs_model", "main", "tfs_model_memory_mib", "0"),
    ("tfs_server", "main", "tfs_server_memory_mib", "0"),
    ("tfs_server", "main", "tfs_server_idle_exit_s", "0"),
    ("tfs_server", "main", "tfs_server_metric_functions", "no"),
    ("tfs_tuning", "main", "tfs_tuning_window_s", "0.5"),
]
# What says that a value got as far as an expression of ours.
OF_TEMPLATES = re.compile(
    r"Traceback|has no attribute|object of type|is not iterable|argument of type|undefined|was derived from"
)


def cases():
    """(role, entry point, variable, value, whether it is surely wrong): wrong ones for the first variable of each type in each role, odd ones for all."""
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        role, types = path.parts[-3], set()
        for entry, specification in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            for name, option in (specification.get("options") or {}).items() if role != "tfs_variables" else ():
                kind, elements, choices = option.get("type", "str"), option.get("elements"), "choices" in option
                if (entry, kind, elements, choices) not in types:
                    types.add((entry, kind, elements, choices))
                    yield from [
                        (role, entry, name, value, True)
                        for value in (["nonsense"] if choices else [[3]] if elements == "dict" else WRONG[kind])
                    ]
                yield from [(role, entry, name, value, False) for value in ODD[kind]]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """[(variable, value, whether it is surely wrong, message or None)] of one play that tries them all."""
    place = tmp_path_factory.mktemp("roles")
    model = made.by_program(ROOT / "tests" / "integration" / "make_models.py") / "half_plus_two"
    shutil.copytree(model, place / "published" / "m" / "saved_model")
    numpy.savez(place / "samples.npz", **{"inputs.x": numpy.ones((4, 1), "float32")})
    tried = [*cases(), *((*one, False) for one in TEXTS)]
    role = "ansible.builtin.include_role"
    plan = [
        {role: {"name": "tfserving.fleet.tfs_capabilities"}},
        {role: {"name": "tfserving.fleet.tfs_capabilities", "tasks_from": "plan"}},
    ]
    tries = [
        {
            "block": [{role: {"name": f"tfserving.fleet.{name}", "tasks_from": entry}, "vars": {variable: value}}],
            "rescue": [
                {
                    "ansible.builtin.set_fact": {
                        f"said_{number}": "{{ [ansible_failed_result.msg | default('')] + (ansible_failed_result.results "
                        "| default([]) | selectattr('failed', 'defined') | selectattr('failed') "
                        "| map(attribute='msg', default='')) }}"
                    }
                }
            ],
        }
        for number, (name, entry, variable, value, _wrong) in enumerate(tried)
    ]
    write = {
        "ansible.builtin.copy": {
            "content": "{{ vars | dict2items | selectattr('key', 'match', 'said_') | items2dict | to_json }}",
            "dest": str(place / "said.json"),
            "mode": "0600",
        },
        "check_mode": False,
    }
    variables = {
        "ansible_python_interpreter": sys.executable,
        "tfserving_backend": "embedded",
        "tfserving_embedded_allow_root": True,
        "tfserving_state_directory": str(place / "state"),
        "tfs_server_grpc_port": 0,
        "tfs_server_rest_port": 0,
        "tfserving_model_directory": str(place / "published"),
        "tfserving_tunings_directory": str(place / "tunings"),
        "tfserving_models": [
            {"name": "m", "source": str(model / "1"), "samples": str(place / "samples.npz"), "accept_unjudged": True}
        ],
    }
    (place / "play.yml").write_text(
        yaml.safe_dump(
            [{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": [*plan, *tries, write]}],
            allow_unicode=True,
        )
    )
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", "--check", "play.yml"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = json.loads((place / "said.json").read_text(encoding="utf-8"))
    assert not (place / "state").exists(), "check mode writes nothing"
    return [
        (variable, value, wrong, found.get(f"said_{number}"))
        for number, (_role, _entry, variable, value, wrong) in enumerate(tried)
    ]


def test_what_cannot_be_meant_is_one_line_with_the_variable_and_the_value(said):
    tried = [(name, value, lines) for name, value, wrong, lines in said if wrong]
    assert len(tried) > 40
    for name, value, lines in tried:
        assert lines and len(lines) == 1 and "\n" not in lines[0] and lines[0].startswith(name), (name, value, lines)
        inner = value[0] if isinstance(value, list) and f"{name}[0]" in lines[0] else value
        assert (repr(inner) in lines[0]) == (name not in SECRET), (name, value, lines)


def test_numbers_and_truths_as_texts_are_taken(said):
    for name, value, _wrong, lines in said[-len(TEXTS) :]:
        assert lines is None, (name, value, lines)


def test_nothing_ends_in_the_words_of_a_template(said):
    for name, value, _wrong, lines in said:
        assert not [line for line in lines or () if "\n" in line or OF_TEMPLATES.search(line)], (name, value, lines)
