# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process of this host listens on a port, from the kernel's files."""

from __future__ import annotations

import os

_LISTENS = "0A"     # TCP_LISTEN of include/net/tcp_states.h


def process_on(port):
    """'process PID (NAME)' of the first that listens on a TCP port, or None where none does or this user may not see it."""
    wanted = {f"socket:[{inode}]" for inode in _listening(port)}
    for pid in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int) if wanted else ():
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{number}") in wanted for number in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    return f"process {pid} ({stream.read().strip()})"
        except OSError:     # it ended, or belongs to somebody else
            continue
    return None


def _listening(port):
    """The inodes of the sockets that listen on a port."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(name, encoding="ascii") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        yield from (row[9] for row in rows if row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port)
