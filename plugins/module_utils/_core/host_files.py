# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that reads the files of a host below a root directory. A recorded tree can replace the host."""

from __future__ import annotations

import os
import pathlib
import re

_LONGEST_NAME = 128


class Files:
    """The files below a root directory. Unreadable files count as absent."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def path(self, name: str) -> str:
        """Return the path of a file of the host."""
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name: str) -> str:
        """Return the content, or the empty string."""
        try:
            return pathlib.Path(self.path(name)).read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""

    def memory_kib(self, field: str) -> int | None:
        """Return a field of /proc/meminfo, or None."""
        found = re.search(rf"^{field}:\s*(\d{{1,15}}) kB", self.text("proc/meminfo"), re.MULTILINE | re.ASCII)
        return int(found[1]) if found else None

    def cpu_flags(self) -> frozenset[str]:
        """Return the flags that all CPUs have, as the kernel spells them."""
        lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", self.text("proc/cpuinfo"), re.MULTILINE)
        return frozenset.intersection(*(frozenset(line.split()) for line in lines or [""]))

    def line(self, name: str) -> str:
        """Return the content without surrounding whitespace."""
        return self.text(name).strip()

    def name(self, name: str) -> str | None:
        """Return the content of a file that contains a name, limited in length for facts, or None."""
        return self.line(name)[:_LONGEST_NAME] or None

    def names(self, directory: str) -> list[str]:
        """Return the sorted names in a directory."""
        try:
            return sorted(os.listdir(self.path(directory)))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Return whether the file exists."""
        return os.path.exists(self.path(name))

    def link_name(self, name: str) -> str | None:
        """Return the last part of the target of a symbolic link, or None."""
        try:
            return os.path.basename(os.readlink(self.path(name)))
        except OSError:
            return None
