# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that starts, watches and stops an embedded server on this host. Its folder below the state directory holds:

server.json  the specification that was last started
server.pid   which process that is (written by the process itself)
unverified   while the checks of that server have not ended: what it replaced
server.log   its output, also before it was restarted; candidate.log: that of the last candidate
models.pbtxt its models; candidate.pbtxt: the last candidate's
batching.*   its batching parameters, by their digest
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core import (
    account,
    atomic_files,
    pid_file,
    program,
    shared_folders,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    container_files,
    failure_diagnosis,
    host_resources,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import specification as specifications
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings, model_config
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING_FILE,
    MODELS_FILE,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration

ENTRY = "_embedded.server.main"  # not imported: it loads NumPy and gRPC, and Ansible would send it to hosts with a container engine
_STOP_GRACE_S = 10.0
_POLL_S = 0.05
_BATCHING = "batching."
_KEPT_LOG_BYTES = _READ_LOG_BYTES = 4 << 20
_TELLING = re.compile(
    r"^Failed to start server|^unknown argument:|^Couldn't interpret|: [EW] \S+\] |^\w*(Error|Exception)\b|^Fatal|Check failed|^terminate called"
)


# The exit status of an ended process, "?" if it is unknown, None while it lives.
_Ended = Callable[[], Optional[Any]]


def packed(path: str | None) -> bytes:
    """Return the embedded server's program. path: the file that the action plugin sent, or None where its sources are at hand."""
    if path is not None:
        return pathlib.Path(path).read_bytes()
    if program.source(f"{program.PACKAGE}.{ENTRY}") is None:
        raise FleetError(
            "Ansible did not send the embedded server's program to this host",
            where="embedded_program",
            remedy="Run model_server as a task or with the command ansible, so that its action plugin runs.",
        )
    return program.pack(ENTRY)


@dataclass(frozen=True)
class Replaced:
    """What served before a server whose checks have not ended. specification: None if nothing did. models: as it served them."""

    specification: ServingConfiguration | None = None
    models: tuple[ModelConfiguration, ...] = ()


class Home(ServerFolder):
    """The folder of an embedded server. Use it inside `with home.locked():`. packed: the server's program."""

    def __init__(self, state_directory: str, name: str, packed: bytes = b"") -> None:
        super().__init__(state_directory, name)
        self._packed = packed
        self.log, self.models_file = self.path("server.log"), self.path(MODELS_FILE)

    def last_started(self) -> ServingConfiguration | None:
        """Return the ServingConfiguration that was last started, or None, also for a file that cannot be read."""
        try:
            return ServingConfiguration.from_dict(json.loads(shared_folders.read(self.path("server.json"))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def start(self, wanted: ServingConfiguration, models: Sequence[ModelConfiguration], ready_timeout_s: float) -> None:
        """Start a server. Return when it listens, which it does once its model is loaded. Raise FleetError with its last output.

        models: with all labels that it starts with; wanted contains only those that the user named.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("server.pid"))
        before = self.last_started()
        self._remember(wanted)
        try:
            log = _Log(self.log)
            started = self._launch(replace(wanted, models=tuple(models)), log, self.models_file, self._begin)
            self._wait_until_ready(wanted, started.poll, log, ready_timeout_s)
        except FleetError:
            self._remember(before)  # A server that never served has no ports that the next one should keep.
            raise

    def begin(self, replaced: Replaced) -> None:
        """Record what serves before it is stopped for a server that is not verified. set_unverified(None) ends that."""
        before = replaced.specification and replaced.specification.to_dict()
        self.set_unverified(json.dumps([before, [one.to_dict() for one in replaced.models]]))

    def interrupted(self) -> Replaced | None:
        """Return what served before a killed run started a server whose checks did not end, or None if all servers were verified."""
        record = self.unverified()
        if record is None:
            return None
        try:
            before, models = json.loads(record)
            return Replaced(
                before and ServingConfiguration.from_dict(before),
                tuple(ModelConfiguration.from_dict(one) for one in models),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Replaced()

    def _remember(self, specification: ServingConfiguration | None) -> None:
        if specification:
            atomic_files.write_file(
                self.path("server.json"), json.dumps(specification.to_dict(), indent=1, sort_keys=True).encode() + b"\n"
            )
        else:
            os.unlink(self.path("server.json"))

    @contextlib.contextmanager
    def candidate(
        self, wanted: ServingConfiguration, ready_timeout_s: float
    ) -> Iterator[tuple[ServingConfiguration, Callable[[], Any]]]:
        """Run another server of a specification alongside the current one, on a free port. It ends with the block, and with this process.

        Yield its specification and a function that returns the failure_diagnosis.Words of its end, or None. Raise
        FleetError as start() does.
        """
        tried = wanted.with_ports(host_resources.free_port(wanted.address), None)
        log = _Log(self.path("candidate.log"))
        started = self._launch(tried, log, self.path("candidate.pbtxt"), None)
        try:
            self._wait_until_ready(tried, started.poll, log, ready_timeout_s)
            yield (
                tried,
                lambda: (
                    None if started.poll() is None else failure_diagnosis.Words(_how(started.poll()), log.words(), None)
                ),
            )
        finally:
            started.kill()
            started.wait()

    def ended(self) -> Any:
        """Return the failure_diagnosis.Words of the server that was last started, or None while it lives."""
        return None if self.process() else failure_diagnosis.Words(_how("?"), _Log(self.log, 0).words(), None)

    def wait_until_ready(self, wanted: ServingConfiguration, ready_timeout_s: float) -> None:
        """Return when the current server listens."""
        self._wait_until_ready(wanted, lambda: None if self.process() else "?", _Log(self.log, 0), ready_timeout_s)

    def stop(self) -> None:
        """End the server if it lives, forcibly after a grace period."""
        pid = self.process()
        for number, grace_s in ((signal.SIGTERM, _STOP_GRACE_S), (signal.SIGKILL, _STOP_GRACE_S)):
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            end = time.monotonic() + grace_s
            while self.process() == pid and time.monotonic() < end:
                time.sleep(_POLL_S)
            pid = self.process()
        if pid is not None:
            raise FleetError(f"process {pid} does not exit, even after SIGKILL", where=self.name)

    def _launch(
        self,
        wanted: ServingConfiguration,
        log: _Log,
        models_path: str,
        begin: Callable[[], object] | None,
    ) -> subprocess.Popen[bytes]:
        """Return the Popen of a server.

        begin: called in the new process before it becomes the server. Without it, the server ends with this process.
        """
        path = program.install(ENTRY, os.path.join(self.state_directory, "programs"), self._packed)
        atomic_files.write_file(models_path, model_config.text(wanted.models).encode())
        cpus = limits.parse_cpu_list(wanted.cpu_set) if wanted.cpu_set else None

        def become_server() -> None:
            if begin:
                begin()
            account.become(wanted.user)  # First, because a change of the account clears the binding to the caller.
            program.bind_to_caller(cpus, ends_with_caller=begin is None)

        with os.fdopen(shared_folders.open_file(log.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as stream:
            try:
                return subprocess.Popen(
                    specifications.command(wanted, path, models_path, self._batching_of(wanted)),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    start_new_session=True,
                    env=dict(os.environ, **specifications.environment(wanted)),
                    preexec_fn=become_server,
                )
            except OSError as fault:
                raise FleetError(
                    f"cannot run {wanted.python!r}: {fault.strerror}",
                    where="python",
                    remedy="Set python to a Python interpreter that exists.",
                ) from fault

    def _batching_of(self, wanted: ServingConfiguration) -> str | None:
        """Return the path of a copy of a server's batching parameters. A later run may change the file, and then start this server again."""
        digest = wanted.files.get(BATCHING_FILE)
        if not digest or not wanted.batching_parameters_file:
            return None
        copy = self.path(f"{_BATCHING}{digest}")
        if not os.path.exists(copy):
            with contextlib.suppress(OSError):
                content = shared_folders.read(wanted.batching_parameters_file, lent=True)
                if container_files.digests({BATCHING_FILE: content})[BATCHING_FILE] == digest:
                    atomic_files.write_file(copy, content)
        return copy if os.path.exists(copy) else None

    def forget_others(self, wanted: ServingConfiguration) -> None:
        """Remove the batching parameters of other servers than this one, which is verified."""
        for name in os.listdir(self.directory):
            if name.startswith(_BATCHING) and name != f"{_BATCHING}{wanted.files.get(BATCHING_FILE)}":
                with contextlib.suppress(OSError):
                    os.unlink(self.path(name))

    def _begin(self) -> None:
        """Record the process id in the new process before it becomes the server, so that later runs find it even if its starter is killed."""
        handle = shared_folders.open_file(self.path("server.pid"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump([os.getpid(), pid_file.birth_of(os.getpid())], stream)

    def _wait_until_ready(self, wanted: ServingConfiguration, ended: _Ended, log: _Log, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            code = ended()
            if code is not None:
                raise FleetError(
                    f"the server ended before it was ready ({_how(code)}); its log says: {log.words()}",
                    where=self.name,
                    remedy=f"The whole log is {log.path}.",
                )
            if host_resources.listens(wanted.address, wanted.grpc_port):
                return
            time.sleep(_POLL_S)
        raise FleetError(
            f"the server was not ready after {timeout_s:g} s; its log says: {log.words()}",
            where=self.name,
            remedy=f"Allow more time (ready_timeout_s), or see {log.path}.",
        )


class _Log:
    """The output of a server in a log from the current end on, or from a position."""

    def __init__(self, path: str, position: int | None = None) -> None:
        self.path = path
        if position is None and os.path.exists(path) and os.path.getsize(path) > _KEPT_LOG_BYTES:
            os.replace(path, path + ".1")
        self._position = (os.path.getsize(path) if os.path.exists(path) else 0) if position is None else position

    def words(self) -> str:
        """Return the lines that explain a failure, or else the last ones."""
        with open(self.path, "rb") as stream:
            stream.seek(max(self._position, os.path.getsize(self.path) - _READ_LOG_BYTES))
            text = stream.read(_READ_LOG_BYTES).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = list(dict.fromkeys(line for line in lines if _TELLING.search(line)))
        return " | ".join((telling or lines)[-4:]) or "nothing"


def _how(code: Any) -> str:
    if code == "?":
        return "exit status unknown"
    if code >= 0:
        return f"exit status {code}"
    ending = endings.by_signal(-code)
    return f"by {ending.cause}" if ending else f"by {signal.Signals(-code).name}"
