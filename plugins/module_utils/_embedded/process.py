# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that start, watch and stop a server on this host. Below the state directory each server has a folder of its own:

server.json  the specification that was last started
server.pid   which process that is (written by the process itself)
server.log   what it said, also before it was restarted; candidate.log: what the last candidate said
models.pbtxt its models, where it has several; candidate.pbtxt: the last candidate's

Beside the folder lies a lock, which is held while somebody changes the server.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, pid_file, program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import failure_diagnosis, port_holder
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import specification as specifications
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import main as embedded
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings, model_config

ENTRY = embedded.__name__.partition(".module_utils.")[2]
_STOP_GRACE_S = 10.0
_POLL_S = 0.05
_PORT_GRACE_S = 2.0
_KEPT_LOG_BYTES = 4 << 20
_TELLING = re.compile(
    r"^Failed to start server|^unknown argument:|^Couldn't interpret|: [EW] \S+\] |^\w*(Error|Exception)\b|^Fatal|Check failed|^terminate called")


class Home:
    """A server's folder. Use it inside `with home.locked():`."""

    def __init__(self, state_directory, name):
        self.name, self._state_directory = name, state_directory
        self.directory = os.path.join(state_directory, "servers", name)
        self.log = os.path.join(self.directory, "server.log")

    @contextlib.contextmanager
    def locked(self, timeout_s=60.0, create=True):
        """Hold the server's lock. create: make it, and the server's folder; without it a server that never was needs none."""
        lock = os.path.join(os.path.dirname(self.directory), f".{self.name}.lock")
        if not create and not os.path.exists(lock):
            yield
            return
        os.makedirs(os.path.dirname(lock), mode=0o755, exist_ok=True)
        with open(lock, "w", encoding="utf-8") as stream:
            atomic_files.lock(stream, timeout_s, "server", self.name)
            if create:
                os.makedirs(self.directory, mode=0o755, exist_ok=True)
            yield

    def last_started(self):
        """The Specification that was last started, or None; a file that cannot be read counts as none."""
        try:
            with open(self._path("server.json"), encoding="utf-8") as stream:
                return specifications.Specification.from_dict(json.load(stream))
        except (OSError, ValueError, TypeError):
            return None

    def process(self):
        """The process id of the server that was last started, or None when it does not live."""
        return pid_file.process_of(self._path("server.pid"))

    def start(self, wanted, ready_timeout_s):
        """Start a server and return when it listens, which it does once its model is loaded. Raises FleetError with its last words."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("server.pid"))
        before = self.last_started()
        self._remember(wanted)
        try:
            log = _Log(self.log)
            started = self._launch(wanted, log, self._path("models.pbtxt"), self._begin)
            self._wait_until_ready(wanted, started.poll, log, ready_timeout_s)
        except FleetError:
            self._remember(before)  # What never served has no ports that the next one should keep.
            raise

    def _remember(self, specification):
        if specification:
            atomic_files.write_file(self._path("server.json"), json.dumps(specification.as_dict(), indent=1, sort_keys=True).encode() + b"\n")
        else:
            os.unlink(self._path("server.json"))

    @contextlib.contextmanager
    def candidate(self, wanted, ready_timeout_s):
        """Run another server of a specification beside the one that serves, on a free port. The value is its specification and a function that tells
        the failure_diagnosis.Words of its end, or None. It ends with the block, and with this process however that dies. Raises FleetError as start() does."""
        tried = wanted.with_ports(_free_port(wanted.address), None)
        log = _Log(self._path("candidate.log"))
        started = self._launch(tried, log, self._path("candidate.pbtxt"), program.bind_to_caller)
        try:
            self._wait_until_ready(tried, started.poll, log, ready_timeout_s)
            yield tried, lambda: None if started.poll() is None else failure_diagnosis.Words(_how(started.poll()), log.words(), None)
        finally:
            started.kill()
            started.wait()

    def ended(self):
        """The failure_diagnosis.Words of the server that was last started, or None while it lives."""
        return None if self.process() else failure_diagnosis.Words(_how("?"), _Log(self.log, 0).words(), None)

    def wait_until_ready(self, wanted, ready_timeout_s):
        """Return when a server that runs already listens."""
        self._wait_until_ready(wanted, lambda: None if self.process() else "?", _Log(self.log, 0), ready_timeout_s)

    def stop(self):
        """End the server, forcibly after a grace period; without one that lives nothing happens."""
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
            raise FleetError(f"process {pid} does not end, not even when killed", where=self.name)

    def remove(self):
        """Forget the server, which must have ended; its log goes with it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _launch(self, wanted, log, models_path, begin):
        """The Popen of a server. begin: called in the new process with the numbers of its CPUs, before it becomes the server."""
        path = program.install(ENTRY, os.path.join(self._state_directory, "programs"))
        if wanted.models:
            atomic_files.write_file(models_path, model_config.text(wanted.models).encode())
        cpus = limits.parse_cpu_list(wanted.cpu_set) if wanted.cpu_set else None
        with open(log.path, "ab") as stream:
            try:
                return subprocess.Popen(
                    specifications.command(wanted, path, models_path), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd="/",
                    start_new_session=True, env=dict(os.environ, **specifications.environment(wanted)), preexec_fn=lambda: begin(cpus))
            except OSError as fault:
                raise FleetError(f"cannot run {wanted.python!r}: {fault.strerror}", where="python", remedy="Name a Python interpreter that exists.") from fault

    def _begin(self, cpus):
        """In the new process, before it becomes the server: whoever comes later finds it even if its starter is killed now."""
        if cpus:
            os.sched_setaffinity(0, cpus)
        with open(self._path("server.pid"), "w", encoding="utf-8") as stream:
            json.dump([os.getpid(), pid_file.birth_of(os.getpid())], stream)

    def _wait_until_ready(self, wanted, ended, log, timeout_s):
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            code = ended()
            if code is not None:
                raise FleetError(f"the server ended before it was ready ({_how(code)}); its log says: {log.words()}", where=self.name,
                                 remedy=f"The whole log is {log.path}.")
            if _listens(wanted.address, wanted.grpc_port):
                return
            time.sleep(_POLL_S)
        raise FleetError(f"the server was not ready after {timeout_s:g} s; its log says: {log.words()}", where=self.name,
                         remedy=f"Allow more time (ready_timeout_s), or see {log.path}.")


class _Log:
    """What a server that starts now adds to a log, or with position all from there."""

    def __init__(self, path, position=None):
        self.path = path
        if position is None and os.path.exists(path) and os.path.getsize(path) > _KEPT_LOG_BYTES:
            os.replace(path, path + ".1")
        self._position = (os.path.getsize(path) if os.path.exists(path) else 0) if position is None else position

    def words(self):
        """The lines that tell what went wrong, else the last ones."""
        with open(self.path, encoding="utf-8", errors="replace") as stream:
            stream.seek(self._position)
            lines = [line.strip() for line in stream.read().splitlines() if line.strip()]
        telling = list(dict.fromkeys(line for line in lines if _TELLING.search(line)))
        return " | ".join((telling or lines)[-4:]) or "nothing"


def program_digest():
    """What tells this collection's server program from another's."""
    return hashlib.sha256(program.pack(ENTRY)).hexdigest()[:16]


def digest_of_file(path, option):
    """A digest of what a file holds. option: the option that named it. Raises FleetError."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()[:16]
    except OSError as fault:
        raise FleetError(f"cannot read {path}: {fault.strerror}", where=option) from fault


def choose_ports(wanted, before):
    """The specification with its ports chosen: those of before where there are any, else free ones. Raises FleetError for one that is in use."""
    kept = (before.grpc_port, before.rest_port) if before else (None, None)
    grpc_port = wanted.grpc_port or kept[0] or _free_port(wanted.address)
    rest_port = wanted.rest_port
    if rest_port == 0:
        rest_port = kept[1] or _free_port(wanted.address, grpc_port)
    return wanted.with_ports(grpc_port, rest_port)


def refuse_used_ports(wanted, own, container_on=lambda port: None):
    """Raise FleetError when another process listens on one of the ports; own: the ports that the server to be replaced has. container_on(port): 'container
    NAME' of the one that publishes it, or None."""
    for option, port in (("grpc_port", wanted.grpc_port), ("rest_port", wanted.rest_port)):
        if port and port not in own:
            fault = _bind_fault(wanted.address, port)
            if fault:
                holder = (container_on(port) or port_holder.process_on(port)) if fault.errno == errno.EADDRINUSE else None
                raise FleetError(f"port {port} of {wanted.address} cannot be used: {fault.strerror}" + (f" by {holder}" if holder else ""), where=option,
                                 remedy="Choose another, or 0 for a free one.") from fault


def _bind_fault(address, port):
    """Why nobody can listen on the port, or None. The threads of a server that was just killed may hold its port a moment longer than it is listed."""
    end = time.monotonic() + _PORT_GRACE_S
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                return None
            except OSError as fault:
                if time.monotonic() > end:
                    return fault
        time.sleep(_POLL_S)


def refuse_foreign_cpus(wanted):
    """Raise FleetError when the specification names CPUs that this process may not use."""
    if wanted.cpu_set:
        foreign = limits.parse_cpu_list(wanted.cpu_set) - os.sched_getaffinity(0)
        if foreign:
            usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
            raise FleetError(f"CPU {', '.join(map(str, sorted(foreign)))} cannot be used here; usable: {usable}", where="cpu_set")


def _free_port(address, other=None):
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as fault:
            raise FleetError(f"no server can listen on {address!r}: {fault.strerror}", where="address", remedy="Give an address of this host.") from fault
        port = probe.getsockname()[1]
    return port if port != other else _free_port(address, other)


def _listens(address, port):
    with contextlib.suppress(OSError):
        with socket.create_connection((address, port), timeout=1.0):
            return True
    return False


def _how(code):
    if code == "?":
        return "nobody saw how"
    if code >= 0:
        return f"exit status {code}"
    ending = endings.by_signal(-code)
    return f"by {ending.cause}" if ending else f"by {signal.Signals(-code).name}"
