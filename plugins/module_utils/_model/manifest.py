# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest beside every published version: where it comes from, how it was made, and how it was judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._model.acceptance import Gates, Judged

SCHEMA = 1
# Beside a converted form, for the host that is to serve it: some inputs, the source's answers, how far the form was from them.
ANSWERS = "assets.extra/tfserving_fleet_answers.npz"
# Beside a version: its own batching parameters, which TensorFlow Serving looks for by this name.
BATCHING = "batching_params.pbtxt"


class FileEntry(TypedDict):
    """A file of a version: SHA-256 in hexadecimal, and its size."""

    sha256: str
    bytes: int


Content = Mapping[str, FileEntry]  # Of a version, by the files' relative paths.


class Source(TypedDict):
    """The SavedModel that a version was made of. digest: model_files.digest."""

    path: str
    digest: str
    tensorflow_version: str | None


class Manifest(TypedDict):
    """options: those that decide the content. converter: {tensorflow: release}. lowest_runtime: the lowest release of TensorFlow Lite that runs it.
    warmup_batch_sizes: those that its warm-up file warms."""

    schema: int
    key: str
    source: Source
    options: dict[str, Any]
    converter: dict[str, str] | None
    gates: Gates | None
    files: dict[str, FileEntry]
    lowest_runtime: str | None
    warmup_batch_sizes: list[int]


def key(source_digest: str, options: Mapping[str, Any], converter: Mapping[str, str] | None) -> str:
    """What decides a conversion's content: SHA-256 over the source's digest, the options and the converter's release."""
    return hashlib.sha256(json.dumps([SCHEMA, source_digest, options, converter], sort_keys=True).encode()).hexdigest()


def build(
    source: Source,
    options: Mapping[str, Any],
    converter: Mapping[str, str] | None,
    judged: Judged,
    files: Mapping[str, FileEntry],
) -> Manifest:
    """The manifest of a version."""
    return {
        "schema": SCHEMA,
        "key": key(source["digest"], options, converter),
        "source": source,
        "options": dict(options),
        "converter": dict(converter) if converter else None,
        "gates": judged["gates"],
        "files": dict(files),
        "lowest_runtime": judged["lowest_runtime"],
        "warmup_batch_sizes": judged["warmup_batch_sizes"],
    }


def text(manifest: Mapping[str, Any]) -> str:
    """The manifest as it is written: JSON that people read."""
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def parse(content: bytes) -> Manifest | None:
    """The manifest of its text (bytes), or None where it is not one of ours."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return (
        cast("Manifest", found)
        if isinstance(found, dict)
        and found.get("schema") == SCHEMA
        and isinstance(found.get("files"), dict)
        and "key" in found
        else None
    )


def judged(manifest: Manifest | None) -> Gates | None:
    """How a version was judged, {examples, outputs, metric, …}; None without a manifest, and where that tells only of files, as model_version's own do."""
    return manifest.get("gates") if manifest else None


def holding(held: Mapping[int, Manifest | None], wanted: str) -> set[int]:
    """The numbers of the versions that are what is wanted, a key. held: {number: manifest}; None for a version without a sound manifest of ours."""
    return {number for number, manifest in held.items() if manifest is not None and manifest["key"] == wanted}
