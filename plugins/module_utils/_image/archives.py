# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that ships an image without a registry, as parts with checksums. Parts that arrived are not sent again; an image is complete or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files

MANIFEST = "manifest.json"
_PART_BYTES = 16 << 20  # of which a controller holds one in memory for each host it serves at a time
_READ_BYTES = 1 << 20


class Described(TypedDict):
    """What an archive says about its image. started: whether it was started once."""

    image: str
    id: str
    labels: dict[str, str]
    started: bool


class Part(TypedDict):
    """A file of an archive."""

    name: str
    bytes: int
    sha256: str


class Manifest(Described):
    """The manifest of an archive."""

    parts: list[Part]


def write(directory: str, image: Described, stream: Iterable[bytes]) -> Manifest:
    """Write an image as an archive. stream: its bytes."""
    parent = os.path.dirname(os.path.abspath(directory))
    atomic_files.sweep(parent) if os.path.isdir(parent) else None
    staged = atomic_files.staging_directory(parent)
    try:
        parts: list[Part] = []
        for number, content in enumerate(_parts(stream)):
            name = _part(number)
            pathlib.Path(staged, name).write_bytes(content)
            parts.append({"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
        manifest: Manifest = {**image, "parts": parts}
        atomic_files.write_file(os.path.join(staged, MANIFEST), json.dumps(manifest, indent=1).encode())
        atomic_files.publish_directory(staged, directory)
    except BaseException as fault:
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(fault, OSError):
            raise FleetError(
                f"cannot write the archive: {fault.strerror or fault}",
                where=directory,
                remedy="Free disk space there and run again.",
            ) from fault
        raise
    return manifest


def read(directory: str) -> Manifest | None:
    """Return an archive's manifest, or None if there is no archive."""
    try:
        with open(os.path.join(directory, MANIFEST), encoding="utf-8") as stream:
            found: Manifest = json.load(stream)
            if [part["name"] for part in found["parts"]] != [_part(number) for number in range(len(found["parts"]))]:
                raise ValueError  # It came from a builder, and does not list the parts of an archive.
            return found
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as fault:
        raise FleetError(
            "the manifest is damaged",
            where=os.path.join(directory, MANIFEST),
            remedy="Remove the directory and ship the image again.",
        ) from fault


def _part(number: int) -> str:
    return f"part-{number:05d}"


def names(parent: str) -> list[str]:
    """Return the names of the images whose archives are below a directory, without the damaged ones."""
    found: list[str] = []
    for entry in sorted(os.listdir(parent)) if os.path.isdir(parent) else []:
        with contextlib.suppress(FleetError, NotADirectoryError):
            manifest = read(os.path.join(parent, entry))
            found += [manifest["image"]] if manifest else []
    return sorted(found)


def stream(directory: str, manifest: Manifest) -> Iterator[bytes]:
    """Return the archive's bytes once all its parts are checked. Raise FleetError for the first part that is missing or damaged."""
    for path, digest in _damaged(directory, manifest):
        raise FleetError(
            f"this part of the image is {'damaged' if digest else 'missing'}",
            where=path,
            remedy="Ship the image again. Its undamaged parts are kept.",
        )
    return _chunks(directory, manifest)


def is_whole(directory: str, manifest: Manifest) -> bool:
    """Return whether all parts of an archive are present and undamaged."""
    return not any(_damaged(directory, manifest))


def _damaged(directory: str, manifest: Manifest) -> Iterator[tuple[str, str | None]]:
    """Yield (path, its checksum or None if it is missing) of each part that does not match the manifest."""
    for part in manifest["parts"]:
        path = os.path.join(directory, part["name"])
        found = model_files.file_digest(path) if os.path.lexists(path) else None
        if found != part["sha256"]:
            yield path, found


def _chunks(directory: str, manifest: Manifest) -> Iterator[bytes]:
    for part in manifest["parts"]:
        with open(os.path.join(directory, part["name"]), "rb") as file:
            yield from iter(lambda: file.read(_READ_BYTES), b"")


def _parts(stream: Iterable[bytes]) -> Iterator[bytes]:
    buffered = bytearray()
    for content in stream:
        buffered += content
        while len(buffered) >= _PART_BYTES:
            yield bytes(buffered[:_PART_BYTES])
            del buffered[:_PART_BYTES]
    if buffered:
        yield bytes(buffered)
