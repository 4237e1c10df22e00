# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine of this machine, what the testbed makes in it, and who it belongs to."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import tempfile

import docker
from docker.errors import APIError, DockerException, NotFound

PREFIX = "tfserving-testbed"
OWNER = f"{PREFIX}.owner"
DIRECTORY = f"{PREFIX}.directory"
SERVER = "tfserving.fleet.server"  # the label of the servers that modules start; those of tests have names that begin with server_name("")
_TIMEOUT_S = 600
_LONGEST_NAME = 58  # of a server, which may have replicas with a suffix


class NoEngine(Exception):
    """No container engine answers; the text says why."""


def connect():
    """A client of the engine that DOCKER_HOST names, else of this machine's. Raises NoEngine."""
    try:
        engine = docker.from_env(timeout=_TIMEOUT_S)
        engine.ping()
    except (DockerException, OSError) as fault:
        raise NoEngine(f"no container engine answers: {fault}") from fault
    return engine


def key_of(*inputs):
    """A short name for what is made of these inputs: texts, bytes and paths of files or folders."""
    digest = hashlib.sha256()
    for one in inputs:
        for part in _parts(one):
            digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(name):
    """One at a time on this machine: two sessions that both lack an image make it once."""
    with open(
        os.path.join(tempfile.gettempdir(), f"{PREFIX}-{os.getuid()}-{name}.lock"), "w", encoding="utf-8"
    ) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def sweep(engine, owner=None):
    """Remove the containers and networks of owner; without one, those whose owner was a process that ended or whose directory was removed."""
    servers = engine.containers.list(all=True, ignore_removed=True, filters={"label": SERVER})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for container in engine.containers.list(all=True, ignore_removed=True, filters={"label": OWNER}):
            if _is_swept(container.labels, owner):
                pool.submit(_remove, container)
        for container in servers:
            named = re.match(f"{PREFIX}-(process-[0-9]+-[0-9]+)-", container.name)
            if named and _is_swept({OWNER: named[1]}, owner):
                pool.submit(_remove, container)
    for network in engine.networks.list(filters={"label": OWNER}):
        if _is_swept(network.attrs["Labels"], owner):
            _remove_network(network)


def this_process():
    """The owner that stands for this process."""
    return f"process-{os.getpid()}-{_birth_of(os.getpid())}"


def server_name(name):
    """A name for a server that a module is to start for this process; what is too long is cut off."""
    return f"{PREFIX}-{this_process()}-{name}"[:_LONGEST_NAME]


def _remove(container):
    with contextlib.suppress(NotFound):
        try:
            container.remove(force=True, v=True)
        except APIError as fault:
            if "already in progress" not in str(fault):
                raise
            container.wait(condition="removed")


def _remove_network(network):
    """Remove a network without containers. The engine can keep the endpoint of a container that it removed; it then keeps the network until it restarts."""
    with contextlib.suppress(NotFound):
        try:
            network.remove()
        except APIError:
            network.reload()
            if network.containers:
                raise


def _is_swept(labels, owner):
    found = labels[OWNER]
    if owner is not None:
        return found == owner
    if found.startswith("process-"):
        pid, birth = found.split("-")[1:]
        return _birth_of(pid) != birth
    return DIRECTORY in labels and not os.path.isdir(labels[DIRECTORY])


def _birth_of(pid):
    try:
        return (
            pathlib.Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[19]
        )
    except OSError:
        return None


def _parts(one):
    if not isinstance(one, pathlib.Path):
        return [one if isinstance(one, bytes) else str(one).encode()]
    files = [one] if one.is_file() else sorted(path for path in one.rglob("*") if path.is_file())
    return [part for path in files for part in (path.name.encode(), path.read_bytes())]
