# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Embedded servers for tests: the program as it is packed for a host, started from a process that has imported TensorFlow, or as a host starts it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.tests.support import ports

PROGRAM = "_embedded.server.main"
PARENT = Path(__file__).with_name("server_parent.py")
QUIET = {"CUDA_VISIBLE_DEVICES": "-1"}


class Servers:
    """A context in which servers are started; its end kills those that are left. directory: for the program, logs and configurations."""

    def __init__(self, directory):
        self.directory, self.program = directory, program.install(PROGRAM, str(directory))
        self._parent, self._started = None, []

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for server in self._started:
            server.stop(signal.SIGKILL)
        if self._parent:
            self._parent.close()

    def start(self, *flags, models=None, as_a_host_does=False, **environment):
        """Start a server and return its Server without waiting for it. models: {name: base path}, for a configuration file.

        TensorFlow reads some of its variables while it is imported; a server that is given one is always started as a host does.
        """
        log = self.directory / f"{len(self._started)}.log"
        grpc_port, rest_port = ports.free(), ports.free()
        if models:
            flags = (configuration(log.with_suffix(".config"), models), *flags)
        command = [self.program, f"--port={grpc_port}", f"--rest_api_port={rest_port}", *flags]
        if as_a_host_does or any(name.startswith("TF_") for name in environment):
            with open(log, "wb") as stream:
                process = subprocess.Popen(
                    [sys.executable, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=dict(os.environ, **QUIET, **environment),
                )
        else:
            self._parent = self._parent or Parent()
            process = self._parent.fork(command, dict(os.environ, **QUIET, **environment), log)
        self._started.append(Server(process, grpc_port, rest_port, log))
        return self._started[-1]


def configuration(path, models):
    """Write a configuration of {name: base path}; return the flag that names it."""
    listed = "".join(
        f'  config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}\n'
        for name, base in models.items()
    )
    path.write_text(f"model_config_list {{\n{listed}}}\n", encoding="utf-8")
    return f"--model_config_file={path}"


class Server:
    """A server process with its ports and its log."""

    def __init__(self, process, grpc_port, rest_port, log):
        self.process, self.grpc_port, self.rest_port, self.log = process, grpc_port, rest_port, log

    def words(self):
        """Return the log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def wait_for(self, pattern, timeout_s=240):
        """Wait until the log matches, and return this server. Fails if the server ends before."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            ended = self.process.poll()
            if re.search(pattern, self.words()):
                return self
            assert ended is None, f"ended with {ended}:\n{self.words()}"
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} never came:\n{self.words()}")

    def ready(self):
        """Wait until the server answers, and return it."""
        return self.wait_for("Entering the event loop")

    def ended(self, timeout_s=240):
        """Return the exit status of a server that ends by itself."""
        return self.process.wait(timeout_s)

    def stop(self, number=signal.SIGTERM):
        """Send a signal unless the server has ended, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


class Parent:
    """The process that forks servers; see server_parent.py."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        with theirs:
            # The library that NumPy calculates with would start threads.
            self._process = subprocess.Popen(
                [sys.executable, PARENT, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                text=True,
                env=dict(os.environ, **QUIET, TF_CPP_MIN_LOG_LEVEL="3", OPENBLAS_NUM_THREADS="1"),
            )
        self._socket, self._answers = ours, ours.makefile("r", encoding="utf-8")
        assert self._answers.readline() == "ready\n", self._process.communicate()[1]

    def fork(self, command, environment, log):
        """Return the Forked process that runs a command, the path of a Python program and its arguments."""
        request = {
            "argv": list(map(str, command)),
            "environment": environment,
            "directory": os.getcwd(),
            "log": str(log),
        }
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return Forked(int(self._answers.readline()), log.with_name(f"{log.name}.status"))

    def close(self):
        """End it, and with it what it forked."""
        self._answers.close()
        self._socket.close()
        self._process.communicate(timeout=60)


class Forked:
    """A process of a Parent, with the methods of subprocess.Popen that tests use."""

    def __init__(self, pid, status):
        self.pid, self.returncode, self._status = pid, None, status

    def poll(self):
        """See subprocess.Popen."""
        if self.returncode is None:
            gone = not Path(f"/proc/{self.pid}").exists()
            if self._status.exists():
                self.returncode = int(self._status.read_text(encoding="utf-8"))
            elif gone:
                self.returncode = -signal.SIGKILL  # With its parent, which therefore left no status.
        return self.returncode

    def wait(self, timeout=None):
        """See subprocess.Popen."""
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        """See subprocess.Popen."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
