# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write the published versions of one variant of a model: <model directory>/<name>/<form>/<version>/."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest, model_files
from ansible_collections.tfserving.fleet.plugins.module_utils._model.digests import Digests
from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Gates
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Content, FileEntry, Manifest


class Refusal(TypedDict):
    """The reason why a variant was refused. key: manifest.key of what was tried."""

    key: str
    reason: str
    gates: Gates | None


def numbered(folder: str) -> dict[int, str]:
    """Return {number: folder's name} of the versions in a model's folder, as servers see them. Raise OSError if it cannot be read."""
    names = [
        name
        for name in sorted(os.listdir(folder))
        if manifest.number_of(name) is not None and os.path.isdir(os.path.join(folder, name))
    ]
    return {int(name): name for name in names}


def held(destination: str, wanted: str | None, digests: Digests) -> dict[int, Manifest | None]:
    """Return {number: manifest} below destination.

    The manifest is None if this collection did not write it, or if it has the wanted content_key but a file has
    changed.
    """
    found: dict[int, Manifest | None] = {}
    for number, name in numbered(destination).items() if os.path.isdir(destination) else ():
        directory = os.path.join(destination, name)
        known = manifest_of(directory)
        broken = (
            known is None or manifest.held_key(known) == wanted and not is_sound(directory, known["files"], digests)
        )
        found[number] = None if broken else known
    return found


def inventory(directory: str, digests: Digests) -> dict[str, FileEntry]:
    """Return the files of a version by their relative paths."""
    return {
        name: {
            "sha256": digests.of(os.path.join(directory, name)),
            "bytes": os.path.getsize(os.path.join(directory, name)),
        }
        for name in model_files.files(directory)
    }


def is_sound(directory: str, files: Content, digests: Digests) -> bool:
    """Return whether a version contains the model that its manifest lists. Sizes show most differences at no cost."""
    try:
        sizes = {name: os.path.getsize(os.path.join(directory, name)) for name in model_files.files(directory)}
        return manifest.content_of(sizes) == {
            name: one["bytes"] for name, one in manifest.content_of(files).items()
        } and manifest.content_of(inventory(directory, digests)) == manifest.content_of(files)
    except FleetError:
        return False


def carry_batching(staged: str, destination: str) -> None:
    """Copy the batching parameters of the newest version, if any, into a staged one. A server reads them once, when it loads the version."""
    there = numbered(destination)
    newest = os.path.join(destination, there[max(there)], manifest.BATCHING) if there else None
    if newest and os.path.isfile(newest) and not os.path.exists(os.path.join(staged, manifest.BATCHING)):
        shared_folders.copy_inside(os.path.dirname(newest), manifest.BATCHING, os.path.join(staged, manifest.BATCHING))


def stage(destination: str) -> str:
    """Return an empty directory below destination, after removing what killed runs left there."""
    shared_folders.refuse_foreign(destination)
    atomic_files.sweep(destination)
    return atomic_files.staging_directory(destination)


def copy(source: str, staged: str, only: str | None = None) -> None:
    """Put all files of a source, or only one, into a staged version; links become what they point to."""
    for name in model_files.files(source):
        if only not in (None, name):
            continue
        path = os.path.join(staged, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shared_folders.copy_inside(source, name, path)


def finish(staged: str, destination: str, version: int, content: Mapping[str, Any]) -> str:
    """Publish a staged version with its manifest (content, a dict). Raise FleetError if another run published it first."""
    carry_batching(staged, destination)
    atomic_files.write_file(os.path.join(staged, model_files.MANIFEST), manifest.text(content).encode())
    final = os.path.join(destination, str(version))
    try:
        atomic_files.publish_directory(staged, final)
    except OSError as fault:
        raise FleetError(f"cannot be published: {fault.strerror}", where=final) from fault
    return final


def renew(staged: str, final: str, content: Mapping[str, Any]) -> None:
    """Copy the warm-up requests and answers of a staged version of the same model, and then its manifest, to a published one. Servers read them on loading."""
    for name in manifest.RENEWED:
        there, new = os.path.join(final, name), os.path.join(staged, name)
        if os.path.exists(new):
            os.makedirs(os.path.dirname(there), exist_ok=True)
            os.replace(new, there)
        elif os.path.exists(there):
            os.unlink(there)
    atomic_files.write_file(os.path.join(final, model_files.MANIFEST), manifest.text(content).encode())


def remember_refusal(destination: str, refused: Refusal | None) -> None:
    """Store why a variant was refused, so that it is not tried again. None removes the stored refusal."""
    if refused:
        atomic_files.write_file(
            _refusal_file(destination), json.dumps(refused, indent=1, sort_keys=True).encode() + b"\n"
        )
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_refusal_file(destination))


def refusal(destination: str, key: str) -> Refusal | None:
    """Return what remember_refusal stored under the key, or None."""
    try:
        refused = json.loads(shared_folders.read(_refusal_file(destination)))
        return refused if refused["key"] == key and refused["reason"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _refusal_file(destination: str) -> str:
    """Return a path alongside the variant's folder, which does not exist before its first version."""
    folder, name = os.path.split(destination)
    return os.path.join(folder, f".{name}.refused.json")


def abandon(staged: str, destination: str) -> None:
    """Remove a staged version unless it was published, and a destination that is empty."""
    shutil.rmtree(staged, ignore_errors=True)
    if not os.listdir(destination):
        os.rmdir(destination)


def manifest_of(directory: str) -> Manifest | None:
    """Return the manifest of a version, or None if this collection did not write one."""
    try:
        return manifest.parse(model_files.read_file(os.path.join(directory, model_files.MANIFEST)))
    except FleetError:
        return None
