# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a SavedModel's files without TensorFlow and without any library."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    checkpoint,
    manifest,
    meta_graph,
    model_files,
    other_files,
    warmup,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.meta_graph import SavedModel
from ansible_collections.tfserving.fleet.plugins.module_utils._model.other_files import Known

_A_FILE = (
    "it is a file; a SavedModel is a directory",
    "Export the model: a Keras model with model.export(directory), any other with tf.saved_model.save.",
)
_SHARD = re.compile(r"variables\.data-\d{5}-of-(\d{5})$")


def read(directory: str, tags: Sequence[str] = meta_graph.SERVED_TAGS) -> SavedModel:
    """Return the description of a version directory. Raise FleetError for missing or damaged files."""
    content = _content(directory)
    described = meta_graph.parse(content, os.path.join(directory, "saved_model.pb"), tags)
    described["variables"]["bytes"] = _variables_bytes(
        directory, described["variables"]["count"], described["restored"]
    )
    for name in described["assets"]:
        if not shared_folders.is_inside(os.path.normpath(os.path.join("/", "assets", name)), "/assets"):
            raise FleetError(
                f"the asset {name!r} is a file outside of the folder",
                where=os.path.join(directory, "assets"),
                remedy="Do not use this model.",
            )
        if not os.path.isfile(os.path.join(directory, "assets", name)):
            raise FleetError(
                f"the asset {name!r} is missing",
                where=os.path.join(directory, "assets"),
                remedy="Export or copy the whole model again.",
            )
        path = os.path.join(directory, "assets", name)
        checkpoint.refuse_pointer(path, model_files.read_file(path, 64))
    size = sum(os.path.getsize(os.path.join(directory, name)) for name in model_files.files(directory, leaving=True))
    assets = sum(os.path.getsize(os.path.join(directory, "assets", name)) for name in described["assets"])
    requests = warmup_requests(directory)
    return {
        **described,
        "path": directory,
        "size_bytes": size,
        "asset_bytes": assets,
        "warmup": None
        if requests is None
        else warmup.look(requests, described["signatures"], described["optional_inputs"]),
    }


def warmup_requests(directory: str) -> bytes | None:
    """Return the bytes of a version's warm-up file, or None if it has none."""
    path = os.path.join(directory, manifest.WARMUP)
    return model_files.read_file(path) if os.path.isfile(path) else None


def _content(directory: str) -> bytes:
    path = os.path.join(directory, "saved_model.pb")
    if os.path.exists(directory) and not os.path.isdir(directory):
        what, remedy = (
            os.path.isfile(directory)
            and other_files.of_file(directory, model_files.read_file(directory, other_files.HEAD))
        ) or _A_FILE
        raise FleetError(what, where=directory, remedy=remedy)
    if not os.path.isdir(directory):
        raise FleetError(
            "this directory does not exist", where=directory, remedy="Set the directory of one version of a SavedModel."
        )
    if not os.path.isfile(path):
        versions = sorted(
            (name for name in os.listdir(directory) if os.path.isfile(os.path.join(directory, name, "saved_model.pb"))),
            key=lambda name: (len(name), name),
        )
        what = "it contains no saved_model.pb"
        if versions:
            remedy = f"Set one version: {os.path.join(directory, versions[-1])}."
        elif os.path.isfile(path + "txt"):
            remedy = "Save it in binary form: saved_model.pbtxt is not supported."
        elif os.path.isfile(path[: -len("pb")] + "cpb"):
            remedy = "It is in parts (saved_model.cpb), which is not supported: export it without tf.saved_model.SaveOptions(experimental_image_format=True)."
        else:
            what, remedy = _other(directory) or (what, "Set the directory of one version of a SavedModel.")
        raise FleetError(what, where=directory, remedy=remedy)
    content = model_files.read_file(path)
    checkpoint.refuse_pointer(path, content[:64])
    if not content:
        raise FleetError("it is empty", where=path, remedy="Export or copy the whole model again.")
    if other_files.is_graph(content):
        raise FleetError(other_files.FROZEN[0], where=path, remedy=other_files.FROZEN[1])
    return content


def _other(directory: str) -> Known | None:
    """Return (what it is, what to do) for a directory without a SavedModel, by its files and those one level below, or None."""
    names = []
    for parent, folders, found in os.walk(directory):
        names += [os.path.relpath(os.path.join(parent, name), directory) for name in sorted(found)]
        folders[:] = sorted(folders) if parent == directory else []
    known = other_files.of_names(names)
    paths = [] if known else [os.path.join(directory, name) for name in names]
    for path in filter(os.path.isfile, paths):
        known = other_files.of_file(path, model_files.read_file(path, other_files.HEAD))
        if known:
            return f"it contains no saved_model.pb; {os.path.relpath(path, directory)!r}: {known[0]}", known[1]
    return known


def _variables_bytes(directory: str, needed: int, restored: Sequence[str]) -> int:
    """Return the size of the variables' files in bytes.

    Raise FleetError if the graph has variables, and one of their files or a tensor in them is missing.
    """
    folder = os.path.join(directory, "variables")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    lost = [name for name in sorted(names) if not os.path.exists(os.path.join(folder, name))]
    if lost:
        raise FleetError(
            f"{lost[0]} is a link to a file that does not exist",
            where=folder,
            remedy="Get the file where the model comes from (git annex get, dvc pull), and copy it instead of the link (cp -L).",
        )
    sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in names}
    shards = [match for match in map(_SHARD.match, names) if match]
    is_whole = checkpoint.INDEX in names and shards and all(len(shards) == int(match.group(1)) for match in shards)
    if needed and not is_whole:
        raise FleetError(
            f"files of its variables are missing; present: {', '.join(sorted(names)) or 'none'}",
            where=folder,
            remedy="Export or copy the whole model again.",
        )
    for path in filter(os.path.isfile, (os.path.join(folder, name) for name in names)):
        checkpoint.refuse_pointer(path, model_files.read_file(path, 64))
    if checkpoint.INDEX in names:
        checkpoint.check(folder, model_files.read_file(os.path.join(folder, checkpoint.INDEX)), sizes, restored)
    return sum(sizes.values())
