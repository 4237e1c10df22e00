# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
short_description: Print which tasks are still running
version_added: "0.1.0"
description:
  - While a task takes long, prints a line every few seconds with the name of the task, the hosts that still run it, and how long it has been running.
  - With O(directory), the line ends with the last line that a program of the task wrote to a file there, if that line is new.
  - Prints nothing while no task runs.
author:
  - The tfserving.fleet contributors (@tfserving)
options:
  interval_s:
    description: Time between two lines in seconds, more than 0.
    type: float
    default: 10
    env:
      - name: TFSERVING_PROGRESS_INTERVAL_S
    ini:
      - section: callback_tfserving_progress
        key: interval_s
  directory:
    description:
      - Directory on the controller in which programs report their progress. Each program appends lines to its own file C(*.progress).
      - The callback shows the last line of the file that changed most recently since its last line.
    type: path
    env:
      - name: TFSERVING_PROGRESS_DIRECTORY
    ini:
      - section: callback_tfserving_progress
        key: directory
requirements:
  - enabled with C(callbacks_enabled = tfserving.fleet.progress) in ansible.cfg or C(ANSIBLE_CALLBACKS_ENABLED=tfserving.fleet.progress)
"""

import os
import sys
import threading
import time

from ansible.plugins.callback import CallbackBase
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _output

TICK_S = 0.5
NAMED_HOSTS = 3
LAST_LINE_BYTES = 4096
LAST_LINE_CHARACTERS = 120


class CallbackModule(CallbackBase):
    """Record which tasks run on which hosts, and print them in a thread of the main process."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "tfserving.fleet.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._guard = threading.Lock()
        self._running = {}
        self._stop = threading.Event()
        self._thread = None

    def set_options(self, task_keys=None, var_options=None, direct=None):
        """Set the options. An interval that is not positive disables the callback with a warning."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self._interval_s = self.get_option("interval_s")
        if self._interval_s <= 0:
            self._display.warning(
                f"progress: interval_s: {self._interval_s:g} is out of range; allowed: more than 0. No progress will be shown."
            )
            self.disabled = True
        self._last_lines = LastLines(self.get_option("directory"))

    def v2_playbook_on_play_start(self, play):
        """Start the thread unless it runs."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, name="tfserving progress", daemon=True)
            self._thread.start()

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Record the task with its displayed name, and remove tasks that no host runs."""
        with self._guard:
            self._running = {key: running for key, running in self._running.items() if running.hosts}
            self._running.setdefault(task._uuid, Running(task.get_name(), time.monotonic()))

    def v2_playbook_on_handler_task_start(self, task):
        """Record a handler like any task."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host, task):
        """Record that the host started the task."""
        with self._guard:
            self._running.setdefault(task._uuid, Running(task.get_name(), time.monotonic())).hosts.add(host.get_name())

    def v2_runner_on_ok(self, result):
        """Record that the host finished the task."""
        self._ended(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Record that the host finished the task."""
        self._ended(result)

    def v2_runner_on_skipped(self, result):
        """Record that the host finished the task."""
        self._ended(result)

    def v2_runner_on_unreachable(self, result):
        """Record that the host finished the task."""
        self._ended(result)

    def v2_playbook_on_stats(self, stats):
        """Stop the thread."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None

    def _ended(self, result):
        with self._guard:
            if result.task._uuid in self._running:
                self._running[result.task._uuid].hosts.discard(result.host.get_name())

    def _watch(self):
        """Print a line whenever the oldest running task and the previous line are interval_s old, until the thread stops."""
        printed = time.monotonic()
        while not self._stop.wait(min(TICK_S, self._interval_s)):
            now = time.monotonic()
            with self._guard:
                busy = [running for running in self._running.values() if running.hosts]
                line = "; ".join(running.text(now) for running in busy)
            if busy and now - max(printed, min(running.started for running in busy)) >= self._interval_s:
                words = self._last_lines.fresh()
                _output.say(f"still running: {line}{f' | {words}' if words else ''}")
                sys.stdout.flush()  # Ansible does not flush, and the system buffers pages if the output is a pipe
                printed = now


class Running:
    """A task, the time of its start (monotonic seconds), and the names of the hosts that still run it."""

    def __init__(self, name, started):
        self.name = name
        self.started = started
        self.hosts = set()

    def text(self, now):
        """Return a text such as 'measure (12 hosts, 40 s)'. A few hosts are listed by name."""
        hosts = ", ".join(sorted(self.hosts)) if len(self.hosts) <= NAMED_HOSTS else f"{len(self.hosts)} hosts"
        return f"{self.name} ({hosts}, {now - self.started:.0f} s)"


class LastLines:
    """The last lines of the files *.progress in a directory (or None) that changed since the previous call."""

    def __init__(self, directory):
        self._directory = directory
        self._seen = 0

    def fresh(self):
        """Return the last line of the newest changed file, or an empty string, also for unreadable files."""
        if not self._directory:
            return ""
        try:
            files = [
                (entry.stat().st_mtime_ns, entry.path)
                for entry in os.scandir(self._directory)
                if entry.name.endswith(".progress")
            ]
            changed, path = max(files, default=(0, ""))
            if changed <= self._seen:
                return ""
            self._seen = changed
            return last_line(path)
        except OSError:
            return ""


def last_line(path):
    """Return the last line of a text file that is not blank, shortened to fit after a task's name."""
    with open(path, "rb") as stream:
        stream.seek(max(os.path.getsize(path) - LAST_LINE_BYTES, 0))
        lines = stream.read().decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return "".join(character if character.isprintable() else " " for character in last).strip()[:LAST_LINE_CHARACTERS]
