# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real models and real servers for the tests of this folder."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.tfserving.fleet.tests.support import made

HERE = Path(__file__).resolve().parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def model_directory():
    """Below it NAME/1 for each model of make_models.py. It is shared: copy what a test changes."""
    return made.by_program(HERE / "make_models.py")


@pytest.fixture(scope="session")
def server_program(tmp_path_factory):
    """Path of the embedded server, packed as it is for a host."""
    from ansible_collections.tfserving.fleet.plugins.module_utils.common import program
    return program.install("server.embedded.main", str(tmp_path_factory.mktemp("program")))


class Running:
    """A server process with its ports and what it said."""

    def __init__(self, program, directory, flags, environment):
        self.grpc_port, self.rest_port, self.log = free_port(), free_port(), directory / f"{time.monotonic_ns()}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, program, f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}", *flags], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=dict(os.environ, CUDA_VISIBLE_DEVICES="-1", **environment))

    def words(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern, timeout_s=240):
        """Wait until the log matches; fails when the server ends before."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if re.search(pattern, self.words()):
                return self
            if self.process.poll() is not None:
                assert re.search(pattern, self.words()), f"ended with {self.process.returncode}:\n{self.words()}"
                return self
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} never came:\n{self.words()}")

    def ready(self):
        return self.wait_for("Entering the event loop")

    def ended(self, timeout_s=240):
        """The exit status, after the server ended by itself."""
        return self.process.wait(timeout_s)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="session")
def serve(server_program, tmp_path_factory):
    """serve(*flags, **environment) starts a server and does not wait for it; all are stopped at the end."""
    directory, started = tmp_path_factory.mktemp("logs"), []

    def start(*flags, **environment):
        started.append(Running(server_program, directory, flags, environment))
        return started[-1]

    yield start
    for running in started:
        running.stop(signal.SIGKILL)
