# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zoo of models, and real servers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.tfserving.fleet.tests.support import made

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def zoo():
    """Below it NAME for each model of model_zoo.EXPECTED and odd_models.EXPECTED, and NAME.npz for some. It is shared: copy what a test changes."""
    return made.by_program(HERE / "model_zoo.py", HERE / "odd_models.py", *made.versions("keras"))


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """serve({name: base path}, *flags) starts the embedded server and waits until it answers; all are stopped at the end."""
    from ansible_collections.tfserving.fleet.plugins.module_utils.common import program
    directory, started = tmp_path_factory.mktemp("server"), []
    packed = program.install("server.embedded.main", str(directory))

    def start(models, *flags):
        config, log = directory / f"{len(started)}.config", directory / f"{len(started)}.log"
        listed = "".join(f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}\n' for name, path in models.items())
        config.write_text(f"model_config_list {{\n{listed}}}\n", encoding="utf-8")
        running = SimpleNamespace(grpc_port=free_port(), rest_port=free_port(), log=log)
        with open(log, "wb") as stream:
            running.process = subprocess.Popen(
                [sys.executable, packed, f"--port={running.grpc_port}", f"--rest_api_port={running.rest_port}", f"--model_config_file={config}", *flags],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, env=dict(os.environ, CUDA_VISIBLE_DEVICES="-1"))
        started.append(running)
        end = time.monotonic() + 120
        while "Entering the event loop" not in log.read_text(encoding="utf-8", errors="replace"):
            assert running.process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8", errors="replace")[-3000:]
            time.sleep(0.1)
        return running

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


def free_port():
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
