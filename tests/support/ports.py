# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for the servers of tests. No two processes of this machine get the same one, and the kernel does not give it to a client's connection."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

LOWEST, HIGHEST = 20000, 65535
_reservations = []  # As long as this process lives.


def free():
    """Return a TCP port that nothing listens on and that this process alone may use."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="utf-8").split())
    for port in itertools.chain(range(LOWEST, first), range(max(last + 1, LOWEST), HIGHEST)):
        if _reserve(port):
            return port
    raise RuntimeError(f"all ports of {LOWEST} to {HIGHEST} outside of {first} to {last}, which clients get, are taken")


def _reserve(port):
    """Return whether the port is ours now. A name among the kernel's abstract sockets marks it; the kernel removes it with the process."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0tfserving-fleet-test-port-{port}")
        with socket.socket() as probe:
            probe.bind(("", port))
    except OSError:
        mark.close()
        return False
    _reservations.append(mark)
    return True
