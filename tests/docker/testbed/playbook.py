# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook as processes of their own, so that a test can also kill one."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)


class Run:
    """One run. inventory: data as Fleet.inventory gives it. directory: a folder of its own for the inventory and the output."""

    def __init__(self, playbook, inventory, directory, *arguments):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        hosts = directory / "inventory.json"
        hosts.write_text(json.dumps(inventory), encoding="utf-8")
        self._output = directory / "output"
        with open(self._output, "wb") as stream:
            self.process = subprocess.Popen(
                [_program("ansible-playbook"), "-i", str(hosts), str(playbook), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(directory),
            )

    @property
    def output(self):
        """What it said so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def recap(self):
        """{host: {ok: n, changed: n, unreachable: n, failed: n, …}}"""
        return {
            host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", counts)}
            for host, counts in _RECAP.findall(self.output)
        }

    def wait(self, timeout_s=600):
        """Its exit status once it has ended."""
        return self.process.wait(timeout_s)

    def wait_for(self, pattern, timeout_s=300):
        """Return when the output matches; raises AssertionError when the run ends before."""
        end = time.monotonic() + timeout_s
        while not re.search(pattern, self.output):
            ended = self.process.poll() is not None and not re.search(pattern, self.output)
            assert not ended and time.monotonic() < end, f"{pattern!r} never came:\n{self.output[-5000:]}"
            time.sleep(0.02)

    def succeed(self, timeout_s=600):
        """Wait for it and require that it went well; returns itself."""
        status = self.wait(timeout_s)
        assert status == 0, f"ended with {status}:\n{self.output[-8000:]}"
        return self

    def fail(self, timeout_s=600):
        """Wait for it and require that it failed; returns itself."""
        assert self.wait(timeout_s) != 0, f"went well:\n{self.output[-8000:]}"
        return self

    def kill(self):
        """SIGKILL to the run and all its workers, as when the controller dies."""
        for pid in _family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class AdHoc:
    """One module on one host, as the command ansible runs it. result: the module's; output: all that was said, with -vvv."""

    def __init__(self, inventory, directory, host, module, options, *arguments):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        hosts = directory / "inventory.json"
        hosts.write_text(json.dumps(inventory), encoding="utf-8")
        given = ["-a", json.dumps(options)] if options else []
        done = subprocess.run(
            [_program("ansible"), "-i", str(hosts), "-vvv", "--one-line", host, "-m", module, *given, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(directory),
            check=False,
        )
        self.output = done.stdout
        found = re.search(rf"^{re.escape(host)} \| (SUCCESS|CHANGED|FAILED!) => (?={{)", self.output, re.MULTILINE)
        assert found, self.output[-5000:]
        # What ansible shows is without the module's own word for it.
        self.result = dict(json.JSONDecoder().raw_decode(self.output, found.end())[0], failed=found[1] == "FAILED!")


def _program(name):
    return shutil.which(os.path.join(os.path.dirname(sys.executable), name)) or name


def _environment(directory):
    return dict(
        os.environ,
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_CALLBACK_RESULT_FORMAT="yaml",
        ANSIBLE_HOST_KEY_CHECKING="False",
        ANSIBLE_HOME=str(directory / "home"),
        ANSIBLE_SSH_CONTROL_PATH_DIR=f"/tmp/tfs-{os.getpid()}",
        ANSIBLE_STDOUT_CALLBACK="default",
    )


def _family(pid):
    """A process and all that descend from it; Ansible's workers have sessions of their own."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        children = []
    return [pid, *(found for child in children for found in _family(int(child)))]
