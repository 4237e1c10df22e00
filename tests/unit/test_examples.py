# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the documentation are right: Ansible takes them as playbooks, their options are documented ones, and samples are of their types."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
validation = pytest.importorskip("ansible.module_utils.common.arg_spec")

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "plugins" / "modules").glob("*.py"))
FILTERS = sorted((ROOT / "plugins" / "filter").glob("*.yml"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "roles").glob("*/README.md")),
    *sorted((ROOT / "inventories").glob("*/README.md")),
]
PREFIX = "tfserving.fleet."
KINDS = {
    "str": str,
    "path": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
    "raw": object,
}
# What stands for an expression whose value only a run knows.
STANDS_FOR = {"str": "x", "path": "/x", "int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}, "raw": "x"}


def texts_of(path):
    """{DOCUMENTATION, EXAMPLES, RETURN: text} of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and node.targets[0].id in ("DOCUMENTATION", "EXAMPLES", "RETURN")
    }


def tasks_in(plays_or_tasks):
    """All tasks of a list of plays or tasks, those inside of blocks too."""
    for entry in plays_or_tasks:
        inner = [
            task
            for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
            for task in entry.get(key) or ()
        ]
        yield from tasks_in(inner) if inner else [entry]


def blocks_of(page):
    """The YAML blocks of a page."""
    return [
        yaml.safe_load(block)
        for block in re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]


def examples():
    """[(where, plays or tasks)] of all examples that are such."""
    found = [(path.name, yaml.safe_load(texts_of(path)["EXAMPLES"])) for path in MODULES]
    found += [
        (path.name, yaml.safe_load(yaml.safe_load(path.read_text(encoding="utf-8"))["EXAMPLES"])) for path in FILTERS
    ]
    found += [(str(page.relative_to(ROOT)), block) for page in PAGES for block in blocks_of(page)]
    return [
        (where, block)
        for where, block in found
        if isinstance(block, list) and all(isinstance(entry, dict) for entry in block)
    ]


OPTIONS = {path.stem: yaml.safe_load(texts_of(path)["DOCUMENTATION"]).get("options") or {} for path in MODULES}
EXAMPLES = examples()
CALLS = [
    pytest.param(key[len(PREFIX) :], task[key] or {}, id=f"{where}-{key[len(PREFIX) :]}-{number}")
    for where, block in EXAMPLES
    for number, task in enumerate(tasks_in(block))
    for key in task
    if key.startswith(PREFIX) and key[len(PREFIX) :] in OPTIONS
]


def specification(options):
    """Ansible's argument spec from documented options."""
    made = {}
    for name, option in options.items():
        made[name] = {
            key: option[key] for key in ("type", "elements", "choices", "required", "aliases") if key in option
        }
        if option.get("suboptions"):
            made[name]["options"] = specification(option["suboptions"])
    return made


def evaluated(value, option):
    """The value with something of the right type where an expression stands."""
    kind = option.get("type", "str")
    if isinstance(value, str) and "{{" in value:
        return option["choices"][0] if option.get("choices") else STANDS_FOR[kind]
    if isinstance(value, dict) and option.get("suboptions"):
        return {name: evaluated(inner, option["suboptions"].get(name, {})) for name, inner in value.items()}
    if isinstance(value, list):
        return [evaluated(inner, dict(option, type=option.get("elements", "raw"))) for inner in value]
    return value


def test_every_module_has_an_example_with_a_name():
    shown = {param.values[0] for param in CALLS}
    assert shown == set(OPTIONS)
    assert all(task.get("name") for path in MODULES for task in tasks_in(yaml.safe_load(texts_of(path)["EXAMPLES"])))


@pytest.mark.parametrize(("module", "given"), CALLS)
def test_the_options_of_an_example_are_documented_ones(module, given):
    options = {
        **OPTIONS[module],
        **({"mode": {"type": "raw"}, "owner": {}, "group": {}} if module == "batching_parameters" else {}),
    }
    assert isinstance(given, dict)
    found = validation.ArgumentSpecValidator(specification(options)).validate(
        {name: evaluated(value, options.get(name, {})) for name, value in given.items()}
    )
    assert not found.error_messages, found.error_messages
    assert not found.unsupported_parameters


def test_ansible_takes_every_example_as_a_playbook(tmp_path):
    plays = []
    for where, block in EXAMPLES:
        whole = all(
            "hosts" in entry or "import_playbook" in entry or "ansible.builtin.import_playbook" in entry
            for entry in block
        )
        plays += (
            block
            if whole
            else [{"name": f"Examples of {where}", "hosts": "localhost", "gather_facts": False, "tasks": block}]
        )
    assert len(plays) > len(MODULES)
    (tmp_path / "examples.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--syntax-check", "-i", "localhost,", "examples.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wrong_samples(fields, where="", shown=False):
    """Descriptions of samples that are not of the type that is documented, and of fields that no sample shows. shown: whether a field around them has one."""
    found = []
    for name, field in (fields or {}).items():
        place = f"{where}{name}"
        sample, kind = field.get("sample"), field["type"]
        if (
            "sample" in field
            and sample is not None
            and (not isinstance(sample, KINDS[kind]) or kind != "bool" and isinstance(sample, bool))
        ):
            found.append(f"{place}: {sample!r} is no {kind}")
        if "sample" not in field and "contains" not in field and not shown:
            found.append(f"{place}: no sample")
        if kind == "list" and "elements" in field:
            found += [
                f"{place}: {one!r} is no {field['elements']}"
                for one in sample or ()
                if not isinstance(one, KINDS[field["elements"]])
            ]
        if isinstance(sample, (dict, list)) and field.get("contains"):
            unknown = {key for one in (sample if isinstance(sample, list) else [sample]) for key in one} - set(
                field["contains"]
            )
            found += [f"{place}: {key} is not documented" for key in sorted(unknown)]
        found += wrong_samples(field.get("contains"), f"{place}.", shown or "sample" in field)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_samples_are_of_the_documented_types(path):
    assert not wrong_samples(yaml.safe_load(texts_of(path)["RETURN"]))
