# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest beside every published version: where it comes from, how it was made, and how it was judged."""

from __future__ import annotations

import hashlib
import json

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
    return {
        "schema": SCHEMA,
        "key": key(source["digest"], options, converter),
        "source": source,
        "options": options,
        "converter": converter,
        "gates": gates,
        "files": files,
        "lowest_runtime": lowest_runtime,
        "warmup_batch_sizes": list(warmup_batch_sizes),
    }


def text(manifest):
    """The manifest as it is written: JSON that people read."""
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def parse(content):
    """The manifest of its text (bytes), or None where it is not one of ours."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return (
        found
        if isinstance(found, dict)
        and found.get("schema") == SCHEMA
        and isinstance(found.get("files"), dict)
        and "key" in found
        else None
    )


def judged(manifest):
    """How a version was judged, {examples, outputs, metric, …}; None without a manifest, and where that tells only of files, as model_version's own do."""
    return (manifest or {}).get("gates")


def holding(held, wanted):
    """The numbers of the versions that are what is wanted, a key. held: {number: manifest}; None for a version without a sound manifest of ours."""
    return {number for number, manifest in held.items() if manifest is not None and manifest["key"] == wanted}
