# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress callback in real runs of ansible-playbook."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Wait {{ 'long' }}
      ansible.builtin.raw: sleep {{ 6 if inventory_hostname == 'slow' else 0 }}
    - name: Speak
      ansible.builtin.raw: for step in 1 2 3 4; do echo "step $step of 4" >> {{ playbook_dir }}/one.progress; sleep 1; done
      run_once: true
    - name: Fail
      ansible.builtin.raw: "false"
      ignore_errors: true
"""


def start(directory, errors=subprocess.STDOUT, **environment):
    (directory / "play.yml").write_text(PLAYBOOK)
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "slow,quick,other,", "play.yml"]
    environment = dict(os.environ, ANSIBLE_CALLBACKS_ENABLED="tfserving.fleet.progress", **environment)
    return subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # Shells ignore it in what they run in the background.


def lines_of(output):
    return re.findall(r"^still running: .*$", output, re.MULTILINE)


def test_names_task_hosts_time_and_last_words(tmp_path):
    process = start(tmp_path, TFSERVING_PROGRESS_INTERVAL_S="1", TFSERVING_PROGRESS_DIRECTORY=str(tmp_path))
    output, _none = process.communicate(timeout=240)
    assert process.returncode == 0, output
    waited = [line for line in lines_of(output) if "Wait long" in line]
    assert len(waited) >= 3
    assert re.fullmatch(r"still running: Wait long \(slow, \d+ s\)", waited[-1])
    seconds = [int(re.search(r"(\d+) s\)", line)[1]) for line in waited]
    assert seconds == sorted(set(seconds))
    spoken = [line.partition(" | ")[2] for line in lines_of(output) if "Speak" in line]
    assert spoken and all(re.fullmatch(r"(step [1-4] of 4)?", words) for words in spoken)
    assert len(set(filter(None, spoken))) >= 2
    assert "Traceback" not in output and "WARNING" not in output


def test_is_quiet_while_tasks_are_short(tmp_path):
    process = start(
        tmp_path, TFSERVING_PROGRESS_INTERVAL_S="30", TFSERVING_PROGRESS_DIRECTORY=str(tmp_path / "missing")
    )
    output, _none = process.communicate(timeout=240)
    assert process.returncode == 0 and lines_of(output) == []


def test_an_interrupted_play_ends(tmp_path):
    process = start(tmp_path, TFSERVING_PROGRESS_INTERVAL_S="1")
    assert any(lines_of(line) for line in process.stdout), "it never spoke"
    os.killpg(process.pid, signal.SIGINT)
    output, _none = process.communicate(timeout=300)
    assert process.returncode != 0 and "Traceback" not in output


def test_an_impossible_interval_turns_it_off_in_words(tmp_path):
    process = start(tmp_path, TFSERVING_PROGRESS_INTERVAL_S="0")
    output, _none = process.communicate(timeout=240)
    assert process.returncode == 0 and lines_of(output) == []
    assert "interval_s: 0 is out of range; allowed: more than 0" in " ".join(output.split())


def test_the_lines_leave_standard_output_to_a_program_that_reads_it(tmp_path):
    """With a stdout callback that writes JSON the lines go to standard error, as Ansible's own warnings do."""
    (tmp_path / "dump_json.py").write_text(
        "from ansible.plugins.callback import CallbackBase\n\nclass CallbackModule(CallbackBase):\n"
        "    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'stdout', 'dump_json'\n\n"
        "    def v2_playbook_on_stats(self, stats):\n        self._display.display('{}')\n"
    )
    process = start(
        tmp_path,
        TFSERVING_PROGRESS_INTERVAL_S="1",
        ANSIBLE_CALLBACK_PLUGINS=str(tmp_path),
        ANSIBLE_STDOUT_CALLBACK="dump_json",
        errors=subprocess.PIPE,
    )
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0 and output == "{}\n" and lines_of(errors)
