# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that reads the files of a host below a root directory, so that a recorded tree can stand for a host."""

from __future__ import annotations

import os
import re

_LONGEST_NAME = 128


class Files:
    """The files below a root directory; what cannot be read is as good as absent."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def path(self, name: str) -> str:
        """Where a file of the host is here."""
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name: str) -> str:
        """The content, or the empty string."""
        try:
            with open(self.path(name), "rb") as stream:
                return stream.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def memory_kib(self, field: str) -> int | None:
        """A field of /proc/meminfo, or None."""
        found = re.search(rf"^{field}:\s*(\d{{1,15}}) kB", self.text("proc/meminfo"), re.MULTILINE | re.ASCII)
        return int(found[1]) if found else None

    def line(self, name: str) -> str:
        """The content without the line's end."""
        return self.text(name).strip()

    def name(self, name: str) -> str | None:
        """The content of a file that holds a name, as long as one may be (facts are short), or None."""
        return self.line(name)[:_LONGEST_NAME] or None

    def names(self, directory: str) -> list[str]:
        """The names in a directory, sorted."""
        try:
            return sorted(os.listdir(self.path(directory)))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return os.path.exists(self.path(name))

    def link_name(self, name: str) -> str | None:
        """The last part of what a symbolic link points to, or None."""
        try:
            return os.path.basename(os.readlink(self.path(name)))
        except OSError:
            return None
