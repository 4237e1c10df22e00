# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognize models that are not SavedModels, and explain how to convert them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf

Known = tuple[str, str]  # What it is, and what to do.
HEAD = 1 << 16  # The number of bytes of a file that are enough to recognize it.
_KERAS_FILE = ("it is a Keras file", "Load it with keras.models.load_model and export it: model.export(directory).")
_ARCHIVE = ("it is an archive", "Unpack it, and set the directory that contains saved_model.pb.")
_TORCH = ("it is a PyTorch file", "TensorFlow Serving cannot load PyTorch models: convert it to a SavedModel first.")
_OF_TORCH = (".pt", ".pth", ".safetensors", "pytorch_model.bin")
_OF_PYTHON = (".pkl", ".pickle", ".joblib")
_PICKLED = (
    "it is a pickled Python object",
    "TensorFlow Serving loads only SavedModels: save the model again with TensorFlow, or use another server.",
)
_CHECKPOINT = (
    "it is a checkpoint (variables without a graph)",
    "Restore it into the model's code (tf.train.Checkpoint, model.load_weights), then call model.export(directory) or tf.saved_model.save.",
)
_META_GRAPH = (
    "it is a checkpoint of TensorFlow 1",
    "Load it with tf.compat.v1.train.import_meta_graph and saver.restore, and save it with tf.compat.v1.saved_model.Builder.",
)
FROZEN = (
    "it is a frozen GraphDef",
    "Load it with tf.compat.v1.import_graph_def, and save it with tf.compat.v1.saved_model.Builder and a signature.",
)
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", _KERAS_FILE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ\0", _ARCHIVE),
    (b"\x28\xb5\x2f\xfd", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (b"Rar!", _ARCHIVE),
)
_SHARD = re.compile(r"(.+)\.(index|data-\d{5}-of-\d{5}|meta)$")


def of_file(name: str, head: bytes) -> Known | None:
    """Return what a file is, or None. name: its path. head: its first HEAD bytes."""
    base = posixpath.basename(name)
    if base == "saved_model.pb":
        return (
            "it is a file; a SavedModel is the directory that contains it",
            f"Set the directory: {posixpath.dirname(name) or '.'}.",
        )
    if base.endswith(".weights.h5"):
        return (
            "it contains only the weights of a Keras model",
            "Build the model, then call model.load_weights and model.export(directory).",
        )
    if base.endswith(_OF_TORCH):
        return _TORCH
    if base.endswith(_OF_PYTHON):
        return _PICKLED
    if head.startswith(b"PK\x03\x04"):
        return (
            _TORCH
            if b"/data.pkl" in head
            else _KERAS_FILE
            if base.endswith(".keras") or b"model.weights.h5" in head or b"config.json" in head
            else _ARCHIVE
        )
    if head[257:262] == b"ustar":
        return _ARCHIVE
    if head[4:8] == b"TFL3":
        return (
            "it is a TensorFlow Lite file",
            "Put it into <base path>/<version>/model.tflite, and set prefer_tflite_model: true in tfserving_flags.",
        )
    if base.endswith(".onnx"):
        return ("it is an ONNX file", "Convert it to a SavedModel first, for example with onnx2tf.")
    shard = _SHARD.match(base)
    if shard:
        return _META_GRAPH if shard.group(2) == "meta" else _CHECKPOINT
    found = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    return found or (FROZEN if is_graph(head) else None)


def of_names(names: Collection[str]) -> Known | None:
    """Return what a directory or an archive without saved_model.pb is, or None. names: paths of its files."""
    bases = {posixpath.basename(name) for name in names}
    if any("\\" in name for name in names):
        return (
            "its files have backslashes in their names, as in an archive made on Windows",
            "Pack it again with / in the names (tar -czf, or Python's zipfile), or rename the files.",
        )
    if "config.json" in bases and ("model.weights.h5" in bases or "metadata.json" in bases):
        return (
            "it contains the unpacked parts of a .keras file",
            "Load the .keras file itself with keras.models.load_model, export the model with model.export(directory), and set this directory.",
        )
    if "model.json" in bases and any(name.endswith(".bin") for name in bases):
        return ("it is a TensorFlow.js model", "Export the original model with model.export(directory).")
    shards = [found for found in map(_SHARD.match, bases) if found]
    if any(found.group(1) == "variables" for found in shards):
        return "it has variables but no saved_model.pb", "Copy the whole model again."
    if shards or "checkpoint" in bases:
        return _META_GRAPH if any(found.group(2) == "meta" for found in shards) else _CHECKPOINT
    return None


def is_graph(head: bytes) -> bool:
    """Return whether bytes begin as a GraphDef does: with a node that has a name and an operation. A SavedModel begins with a number."""
    try:
        number, node = next(protobuf.fields(head))
        parts = protobuf.grouped(node)
        return number == 1 and all(protobuf.text(parts[key][-1]).isprintable() and parts[key][-1] for key in (1, 2))
    except (StopIteration, ValueError, TypeError, KeyError, AttributeError):
        return False
