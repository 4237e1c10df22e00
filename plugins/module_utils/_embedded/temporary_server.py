# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that serves one version briefly on a free loopback port, to check it with real requests."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ansible_collections.tfserving.fleet.plugins.module_utils._core import (
    account,
    atomic_files,
    program,
    shared_folders,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.host_resources import free_port
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import process
from ansible_collections.tfserving.fleet.plugins.module_utils._model import refused

if TYPE_CHECKING:  # So that Ansible brings the program along; it loads NumPy and gRPC, which its starter does not need.
    from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import main  # noqa: F401

_READY = "Entering the event loop"
_FAULT = re.compile(r"failed: ([A-Z_]+: [^\n]+)")
_POLL_S = 0.05


@contextlib.contextmanager
def version(
    staged: str, model: str, python: str, user: str | None, timeout_s: float, environment: Mapping[str, str]
) -> Iterator[int]:
    """Serve the version in the directory staged, and yield the port. A TensorFlow Lite file is preferred.

    user: UID:GID that root changes to for it, or None. The server ends with this process. Raise FleetError with the
    server's output if it does not start, and Refused if it does not load the version.
    """
    with atomic_files.scratch_directory() as directory:
        if user:
            shared_folders.set_mode(directory, 0o755)
            shared_folders.set_mode(staged, 0o755)
        os.makedirs(os.path.join(directory, model))
        os.symlink(staged, os.path.join(directory, model, "1"))
        path, log = program.install(process.ENTRY, directory), os.path.join(directory, "log")
        port = free_port("127.0.0.1")
        command = [
            python,
            path,
            f"--port={port}",
            f"--model_name={model}",
            f"--model_base_path={os.path.join(directory, model)}",
            "--prefer_tflite_model=true",
            "--max_num_load_retries=0",
        ]

        def become_server() -> None:
            account.become(user)
            program.bind_to_caller()

        with open(log, "wb") as stream:
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, **environment, TFSERVING_EMBEDDED_RELOAD_BELOW=json.dumps([directory])),
                preexec_fn=become_server,
            )
        try:
            _wait(server, log, time.monotonic() + timeout_s)
            yield port
        finally:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], log: str, end: float) -> None:
    while True:
        words = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
        if _READY in words:
            return
        if server.poll() is not None or time.monotonic() > end:
            found = _FAULT.search(words)
            if found:
                raise refused.Refused(f"the server does not load it: {found.group(1).strip()}")
            lines = [line.strip() for line in words.splitlines() if line.strip()]
            raise FleetError(
                f"the server does not load it: {' | '.join(lines[-4:]) or 'no output'}", where="through_server"
            )
        time.sleep(_POLL_S)
