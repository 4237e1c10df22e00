# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action role_variables in real runs of ansible-playbook, with roles made on the spot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SPECIFICATION = """
argument_specs:
  main:
    short_description: Demonstration
    options:
      demo_port: {type: int, description: Port.}
  other:
    short_description: Another entry point
    options:
      demo_batch_size: {type: int, description: Size.}
  bare:
    short_description: No options
"""


@pytest.fixture
def project(tmp_path):
    for name in ("roles/demo/meta", "roles/demo/tasks", "roles/demo_extra/tasks"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "roles/demo/meta/argument_specs.yml").write_text(SPECIFICATION)
    (tmp_path / "roles/demo/tasks/main.yml").write_text(
        '- tfserving.fleet.role_variables:\n    role_path: "{{ role_path }}"\n'
    )
    (tmp_path / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [demo]\n")
    return tmp_path


def play(directory, *arguments):
    """Runs over hosts that no connection could reach: the action needs none."""
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "nowhere.invalid,", "play.yml", *arguments]
    return subprocess.run(
        command, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300
    )


def test_known_internal_and_foreign_names_pass(project):
    names = {
        "demo_port": 1,
        "demo_batch_size": 2,
        "demo_result": "x",
        "demo_other_result": "y",
        "__demo_state": 3,
        "demo_extra_port": 4,
        "demonstration": 5,
        "demo": 6,
    }
    for mode in ([], ["--check"]):
        done = play(project, *mode, *[f"-e{name}={value}" for name, value in names.items()])
        assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout


def test_misspelt_names_fail_in_one_line_with_the_closest_spelling(project):
    done = play(project, "-edemo_bach_size=2", "-edemo_zzz=1")
    assert done.returncode == 2
    fatal = [line for line in done.stdout.splitlines() if line.startswith("fatal")]
    assert len(fatal) == 1
    assert (
        "demo: not a variable of this role: demo_bach_size (did you mean demo_batch_size?), demo_zzz. "
        "See the role's variables with: ansible-doc -t role demo"
    ) in fatal[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"demo_title": ["a"]}', "demo_title: ['a'] is a list; allowed: a text."),
        ('{"demo_hosts": "build-1"}', "demo_hosts: 'build-1' is a text; allowed: a list of texts."),
        (
            '{"demo_hosts": null}',
            "demo_hosts: null is not a valid value; allowed: a list of texts; omit it for the default.",
        ),
    ],
)
def test_values_that_ansible_lets_pass_fail_in_one_line(project, given, words):
    (project / "roles/demo/defaults").mkdir()
    (project / "roles/demo/defaults/main.yml").write_text("demo_title: ''\ndemo_hosts: []\n")
    (project / "roles/demo/meta/argument_specs.yml").write_text(
        SPECIFICATION
        + """    options:
      demo_title: {type: str}
      demo_hosts: {type: list, elements: str}
"""
    )
    done = play(project, "-e", given)
    fatal = [line for line in done.stdout.splitlines() if line.startswith("fatal")]
    assert done.returncode == 2 and len(fatal) == 1 and words in fatal[0], done.stdout
    assert play(project, "-e", '{"demo_title": null}').returncode == 0, "null is as good as the empty default"


def test_a_wrong_value_of_a_collection_wide_variable_is_told_with_that_name(project):
    (project / "roles/demo/defaults").mkdir()
    (project / "roles/demo/defaults/main.yml").write_text(
        "demo_port: 1\ndemo_title: '{{ tfserving_title | default(1) }}'\ndemo_late: '{{ unknown }}'\n"
    )
    (project / "roles/demo/meta/argument_specs.yml").write_text(
        SPECIFICATION + "    options:\n      demo_title: {type: str}\n      demo_late: {type: str}\n"
    )
    said = play(project, "-e", '{"tfserving_title": ["a"]}').stdout
    assert "demo_title: ['a'] is a list; allowed: a text. It comes from tfserving_title." in said
    said = play(project, "-e", '{"tfserving_title": "a", "demo_title": ["b"]}').stdout
    assert "demo_title: ['b'] is a list; allowed: a text." in said and "It comes from" not in said
    assert play(project, "-etfserving_title=a").returncode == 0, "what cannot be evaluated is left to who uses it"


def test_a_role_without_a_readable_list_fails_and_says_where(project):
    for content in (None, "argument_specs: [", "argument_specs: 3", ""):
        specification = project / "roles/demo/meta/argument_specs.yml"
        specification.unlink(missing_ok=True)
        if content is not None:
            specification.write_text(content)
            (project / "play.yml").write_text(
                "- hosts: all\n  gather_facts: false\n  tasks:\n"
                "    - tfserving.fleet.role_variables:\n        role_path: roles/demo/\n"
            )
        done = play(project)
        assert done.returncode == 2
        assert "meta/argument_specs.yml: cannot read the list of the role's variables" in done.stdout


def test_the_option_is_required_and_alone(project):
    for arguments in ("{}", "{path: x}"):
        (project / "play.yml").write_text(
            f"- hosts: all\n  gather_facts: false\n  tasks:\n    - tfserving.fleet.role_variables: {arguments}\n"
        )
        done = play(project)
        assert done.returncode == 2 and ("role_path" in done.stdout)
