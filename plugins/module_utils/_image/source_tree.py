# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Git's id of a tree of files, computed from the files: the checksum of sources wherever they come from and however they were packed."""

from __future__ import annotations

import hashlib


def blob_id(content):
    """Git's id of a file's content (bytes)."""
    return _object(b"blob", content)


def tree_id(files):
    """Git's id of a tree. files: {path with '/': (mode as git writes it: '100644', '100755' or '120000', blob id)}; empty directories do not count."""
    below = {}
    for path, entry in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        else:
            below[name] = entry
    rows = []
    for name, entry in below.items():
        is_tree = isinstance(entry, dict)
        mode, identity = ("40000", tree_id(entry)) if is_tree else entry
        rows.append(
            (
                name.encode() + (b"/" if is_tree else b""),
                mode.encode() + b" " + name.encode() + b"\0" + bytes.fromhex(identity),
            )
        )
    return _object(b"tree", b"".join(row for _key, row in sorted(rows)))


def _object(kind, content):
    return hashlib.sha1(kind + b" %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
