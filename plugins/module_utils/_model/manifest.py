# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write the manifest of a published version: where it comes from, how it was made, and how it was accepted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Gates, Judged
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import VARIANTS

SCHEMA = 1
LARGEST_NUMBER = 2**63 - 1
_Value = TypeVar("_Value")
_COPY = "none"
# A file next to a converted variant for the hosts that will serve it: some inputs, the source's answers, and how much
# the variant differed from them.
ANSWERS = "assets.extra/tfserving_fleet_answers.npz"
# A version's own batching parameters. TensorFlow Serving looks for this name.
BATCHING = "batching_params.pbtxt"
# Requests that a server replays when it loads a version.
WARMUP = "assets.extra/tf_serving_warmup_requests"
# Files of a published version that may change while it stays the same version.
RENEWED = (WARMUP, ANSWERS)
# Options of a conversion that affect how it is checked and warmed up, but not its content.
_NOT_CONTENT = (
    "accept_unjudged",
    "allowed_loss",
    "batch_sizes",
    "maximum_difference",
    "metric",
    "metric_function",
    "metric_goal",
    "metric_output",
    "through_server",
)


class FileEntry(TypedDict):
    """A file of a version: SHA-256 in hexadecimal, and its size."""

    sha256: str
    bytes: int


Content = Mapping[str, FileEntry]  # A version's files by their relative paths.


class Source(TypedDict):
    """The SavedModel from which a version was made. digest: of its files, as digest() returns it."""

    path: str
    digest: str
    tensorflow_version: str | None


class Manifest(TypedDict):
    """A manifest.

    options: those that determine the content. converter: {tensorflow: release}. lowest_runtime: the lowest release of
    TensorFlow Lite that can run it. warmup_batch_sizes: of its warm-up file.
    """

    schema: int
    key: str
    source: Source
    options: dict[str, Any]
    converter: dict[str, str] | None
    gates: Gates | None
    files: dict[str, FileEntry]
    lowest_runtime: str | None
    warmup_batch_sizes: list[int]


def number_of(name: str) -> int | None:
    """Return the number of the version in a folder of this name, as servers read it, or None for a name that they ignore."""
    return int(name) if name.isascii() and name.isdigit() and int(name) <= LARGEST_NUMBER else None


def key(source_digest: str, options: Mapping[str, Any], converter: Mapping[str, str] | None) -> str:
    """Return the SHA-256 of everything that determines a conversion's content: the source's digest, the options and the converter's release."""
    return hashlib.sha256(json.dumps([SCHEMA, source_digest, options, converter], sort_keys=True).encode()).hexdigest()


def content_key(source_digest: str, options: Mapping[str, Any]) -> str:
    """Return what decides only the model's files. A copy has the files of its source. Another release of the converter does not make another version."""
    if options.get("form", _COPY) == _COPY:
        return key(source_digest, {"tags": options.get("tags")}, None)
    form = VARIANTS.get(options["form"])
    only_judged = form is not None and form.lite and not form.calibrated  # TensorRT builds its engines on the samples.
    ignored = (*_NOT_CONTENT, "samples") if only_judged else _NOT_CONTENT
    return key(source_digest, {name: one for name, one in options.items() if name not in ignored}, None)


def content_of(files: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the files of a version, {relative path: …}, without those that may change: warm-up requests, answers and batching parameters."""
    return {name: one for name, one in files.items() if name not in (*RENEWED, BATCHING)}


def build(
    source: Source,
    options: Mapping[str, Any],
    converter: Mapping[str, str] | None,
    judged: Judged,
    files: Mapping[str, FileEntry],
) -> Manifest:
    """Return the manifest of a version."""
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
    """Return the manifest as JSON that people can read."""
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def parse(content: bytes) -> Manifest | None:
    """Return the manifest in a text (bytes), or None if this collection did not write it."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return (
        cast("Manifest", found)
        if isinstance(found, dict)
        and found.get("schema") == SCHEMA
        and isinstance(found.get("files"), dict)
        and all(isinstance(one, dict) and {"sha256", "bytes"} <= set(one) for one in found["files"].values())
        and "key" in found
        else None
    )


def judged(manifest: Manifest | None) -> Gates | None:
    """Return how a version was checked, {examples, outputs, metric, …}.

    Return None without a manifest, or if it only lists files, as those of model_version do.
    """
    return manifest.get("gates") if manifest else None


def holding(held: Mapping[int, Manifest | None], wanted: str) -> set[int]:
    """Return the numbers of the versions with the wanted content_key. held: {number: manifest}; None for a version without a valid manifest."""
    return {number for number, manifest in held.items() if manifest is not None and held_key(manifest) == wanted}


def held_key(manifest: Manifest) -> str | None:
    """Return the content_key in the manifest of a version, or None if no conversion made it."""
    source, options = manifest.get("source"), manifest.get("options")
    return None if source is None or options is None else content_key(source["digest"], options)


def is_of_another_model(variant: Manifest | None, saved_model: Manifest | None) -> bool:
    """Return whether a converted version was not made from the model of a SavedModel. Without both manifests, it is not known to be."""
    source = variant.get("source") if variant else None
    return bool(source and saved_model and source["digest"] != digest(saved_model["files"]))


def origin(manifest: Manifest | None) -> str:
    """Return what a version contains, for people."""
    if manifest is None:
        return "files without a manifest of this collection, or files that differ from their manifest"
    every: Mapping[str, Any] = manifest
    where = every.get("fetched_from") or (every.get("source") or {}).get("path") or "an unknown source"
    return shown(where, manifest["files"])


def shown(where: str, files: Content) -> str:
    """Return a source or a version as a short text: where it comes from, and a short digest of its model."""
    return f"{where} (sha256 {digest(files)[:12]})"


def digest(files: Content) -> str:
    """Return the SHA-256 of the names and contents of the model's files, {relative path: {sha256, bytes}}, in hexadecimal."""
    total = hashlib.sha256()
    for name, one in sorted(content_of(files).items()):
        total.update(f"{name}\0{one['sha256']}\n".encode())
    return total.hexdigest()
