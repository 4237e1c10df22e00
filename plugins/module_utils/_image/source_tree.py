# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute git's id of a tree of files: a checksum of sources that does not depend on where they come from and how they are packed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def blob_id(content: bytes) -> str:
    """Return git's id of a file's content."""
    return blob_id_of([content], len(content))


def blob_id_of(blocks: Iterable[bytes], size: int) -> str:
    """Return git's id of a file's content, given in blocks. size: their bytes together."""
    total = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for block in blocks:
        total.update(block)
    return total.hexdigest()


def tree_id(files: Mapping[str, tuple[str, str]]) -> str:
    """Return git's id of a tree. Empty directories do not count.

    files: {path with '/': (mode as git writes it: '100644', '100755' or '120000', blob id)}.
    """
    below: dict[str, dict[str, tuple[str, str]]] = {}
    entries = {}
    for path, entry in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        else:
            entries[name.encode("utf-8", "surrogateescape")] = entry
    entries.update(
        {name.encode("utf-8", "surrogateescape") + b"/": ("40000", tree_id(inner)) for name, inner in below.items()}
    )
    rows = (
        mode.encode() + b" " + name.rstrip(b"/") + b"\0" + bytes.fromhex(identity)
        for name, (mode, identity) in sorted(entries.items())
    )
    content = b"".join(rows)
    return hashlib.sha1(b"tree %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
