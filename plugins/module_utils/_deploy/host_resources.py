# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the ports and CPUs of this host: which are free, who uses them, and which are not allowed."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import socket
import time
from collections.abc import Callable, Collection, Iterator

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

_LISTENS = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_PORT_GRACE_S = 2.0
_BIND_POLL_S = 0.05


def process_on(port: int) -> str | None:
    """Return 'process PID (NAME)' of the first one that listens on a TCP port, or None if there is none or this user may not see it."""
    wanted = {f"socket:[{inode}]" for inode in _listening(port)}
    for pid in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int) if wanted else ():
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{number}") in wanted for number in os.listdir(f"/proc/{pid}/fd")):
                name = pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
                return f"process {pid} ({name.strip()})"
        except OSError:  # it ended, or belongs to another user
            continue
    return None


def _listening(port: int) -> Iterator[str]:
    """Return the inodes of the sockets that listen on a port."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in pathlib.Path(name).read_text(encoding="ascii").splitlines()[1:]]
        except OSError:
            continue
        yield from (row[9] for row in rows if row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port)


def listens(address: str, port: int) -> bool:
    """Return whether a program accepts connections there."""
    with contextlib.suppress(OSError):
        with socket.create_connection((address, port), timeout=1.0):
            return True
    return False


def choose_ports(wanted: ServingConfiguration, before: ServingConfiguration | None) -> ServingConfiguration:
    """Return the specification with chosen ports: those of before if there are any, or else free ones. Raise FleetError for a used port."""
    kept = (before.grpc_port, before.rest_port) if before else (None, None)
    grpc_port = wanted.grpc_port or kept[0] or free_port(wanted.address)
    rest_port = wanted.rest_port
    if rest_port == 0:
        rest_port = kept[1] or free_port(wanted.address, grpc_port)
    return wanted.with_ports(grpc_port, rest_port)


def refuse_used_ports(
    wanted: ServingConfiguration,
    own: Collection[int | None],
    container_on: Callable[[int], str | None] = lambda port: None,
    server_on: Callable[[str, int], str | None] = lambda address, port: None,
) -> None:
    """Raise FleetError if another process listens on one of the ports.

    own: the ports of the server that is replaced. container_on(port): returns 'container NAME' of the one that
    publishes it, or None. server_on(address, port): returns the name of the server that serves there, or None.
    """
    for option, port in (("grpc_port", wanted.grpc_port), ("rest_port", wanted.rest_port)):
        if port and port not in own:
            fault = _bind_fault(wanted.address, port)
            if fault:
                is_used = fault.errno == errno.EADDRINUSE
                holder = (container_on(port) or process_on(port)) if is_used else None
                server = server_on(wanted.address, port) if is_used else None
                raise FleetError(
                    f"port {port} of {wanted.address} cannot be used: {fault.strerror}"
                    + (f" by {holder}" if holder else ""),
                    where=option,
                    remedy=f"Set name: {server} (tfs_server_name of the role) to update that server, or remove it (state: absent); "
                    "another server needs other ports."
                    if server not in (None, wanted.name)
                    else "Choose another port, or 0 for a free one.",
                ) from fault


def _bind_fault(address: str, port: int) -> OSError | None:
    """Return why no program can listen on the port, or None. The threads of a killed server may keep its port a moment longer than it is listed."""
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
        time.sleep(_BIND_POLL_S)


def refuse_foreign_cpus(wanted: ServingConfiguration) -> None:
    """Raise FleetError if the specification contains CPUs that this process may not use."""
    if wanted.cpu_set:
        foreign = limits.parse_cpu_list(wanted.cpu_set) - os.sched_getaffinity(0)
        if foreign:
            usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
            raise FleetError(
                f"CPU {', '.join(map(str, sorted(foreign)))} cannot be used here; usable: {usable}", where="cpu_set"
            )


def free_port(address: str, other: int | None = None) -> int:
    """Return a free port of the address except other. Raise FleetError for an address that does not belong to this host."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as fault:
            raise FleetError(
                f"a server cannot listen on {address!r}: {fault.strerror}",
                where="address",
                remedy="Set an address of this host.",
            ) from fault
        port = probe.getsockname()[1]
    return port if port != other else free_port(address, other)
