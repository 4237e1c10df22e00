# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest beside every published version: where it comes from, how it was made, and how it was judged."""

from __future__ import annotations

import hashlib
import json

SCHEMA = 1


def key(source_digest, options, converter):
    """What decides a conversion's content: SHA-256 over the source's digest, the options and the converter's release."""
    return hashlib.sha256(json.dumps([SCHEMA, source_digest, options, converter], sort_keys=True).encode()).hexdigest()


def build(source, options, converter, gates, files):
    """The manifest as a dict.

    source: {path, digest, tensorflow_version}. options: those that decide the content. converter: {tensorflow: release} or None.
    gates: {examples, synthetic, outputs, metric}. files: {relative path: {sha256, bytes}}.
    """
    return {"schema": SCHEMA, "key": key(source["digest"], options, converter), "source": source, "options": options, "converter": converter,
            "gates": gates, "files": files}


def text(manifest):
    """The manifest as it is written: JSON that people read."""
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def parse(content):
    """The manifest of its text (bytes), or None where it is not one of ours."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA and isinstance(found.get("files"), dict) else None
