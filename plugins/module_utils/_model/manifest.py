# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest beside every published version: where it comes from, how it was made, and how it was judged."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

SCHEMA = 1
# Beside a converted form, for the host that is to serve it: some inputs, the source's answers, how far the form was from them.
ANSWERS = "assets.extra/tfserving_fleet_answers.npz"
# Beside a version: its own batching parameters, which TensorFlow Serving looks for by this name.
BATCHING = "batching_params.pbtxt"


def key(source_digest, options, converter):
    """What decides a conversion's content: SHA-256 over the source's digest, the options and the converter's release."""
    return hashlib.sha256(json.dumps([SCHEMA, source_digest, options, converter], sort_keys=True).encode()).hexdigest()


def build(source, options, converter, gates, files, lowest_runtime=None, warmup_batch_sizes=()):
    """The manifest as a dict.

    source: {path, digest, tensorflow_version}. options: those that decide the content. converter: {tensorflow: release} or None.
    gates: {examples, synthetic, outputs, metric, served}. files: {relative path: {sha256, bytes}}. lowest_runtime: the lowest release of TensorFlow Lite
    that runs it, or None. warmup_batch_sizes: those that its warm-up file warms.
    """
    return {"schema": SCHEMA, "key": key(source["digest"], options, converter), "source": source, "options": options, "converter": converter,
            "gates": gates, "files": files, "lowest_runtime": lowest_runtime, "warmup_batch_sizes": list(warmup_batch_sizes)}


def text(manifest):
    """The manifest as it is written: JSON that people read."""
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def parse(content):
    """The manifest of its text (bytes), or None where it is not one of ours."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA and isinstance(found.get("files"), dict) and "key" in found else None


def judged(manifest):
    """How a version was judged, {examples, outputs, metric, …}; None without a manifest, and where that tells only of files, as model_version's own do."""
    return (manifest or {}).get("gates")


def place(published, wanted, version=None, where="version"):
    """(version number, its manifest where what is wanted is there already, else None).

    published: {number: manifest}; None for a version without a sound manifest of ours. wanted: a key. version: the user's number; None means the
    newest version if it is the wanted one, else the next number. Raises FleetError where the user's number holds something else: servers do not
    notice a version that is replaced.
    """
    if version is None:
        version = max(published, default=0)
        if not _is(published.get(version), wanted):
            return version + 1, None
    elif version in published and not _is(published[version], wanted):
        raise FleetError(f"version {version} is there already and was made from another source or other options, or it is damaged", where=where,
                         remedy="Give a new number, or leave version out to get the next one; a server does not notice a replaced version.")
    return version, published.get(version)


def _is(manifest, wanted):
    return manifest is not None and manifest["key"] == wanted
