# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role tfs_tuning where there is nothing that it could measure: what is missing is said, and nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: tfserving.fleet.tfs_capabilities, tasks_from: "{{ item }}"}
      loop: "{{ before }}"
    - ansible.builtin.include_role: {name: tfserving.fleet.tfs_tuning}
"""


def play(directory, **variables):
    """(exit status, what a play over this machine says)."""
    (directory / "play.yml").write_text(PLAY, encoding="utf-8")
    given = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "tfserving_state_directory": str(directory / "state"),
             "tfserving_models": [{"name": "unasked", "source": "/srv/sources/unasked"}], "before": [], **variables}
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {"here": given}}}), encoding="utf-8")
    command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", "inventory.json", "play.yml"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120,
                          env=dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=str(directory / "home")))
    return done.returncode, done.stdout + done.stderr


def test_a_host_without_a_plan_is_told_where_plans_come_from(tmp_path):
    for before in ([], ["plan"]):
        status, said = play(tmp_path, before=before)
        assert status == 2 and "tfs_tuning_plan: this host has no plan; let tfserving.fleet.tfs_capabilities detect and plan before, or set it" in said, said


def test_a_model_without_samples_is_named_and_passed_over(tmp_path):
    status, said = play(tmp_path, before=["main", "plan"])
    assert status == 0 and "unasked: without samples nothing can be measured, and what the plan chose is kept." in said, said
    assert not (tmp_path / "state").exists()
