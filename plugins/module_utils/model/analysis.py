# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a SavedModel's signatures and operations mean for serving."""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.module_utils.model import legality, lite, purity, tensorrt_ops
from ansible_collections.tfserving.fleet.plugins.module_utils.model.tensorflow_ops import NAMES

_EXAMPLE_PARSERS = frozenset(
    "DecodeProtoV2 ParseExample ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample".split()
)
_TABLES = frozenset("HashTable HashTableV2 LookupTableFind LookupTableFindV2 LookupTableSizeV2 MutableDenseHashTableV2 MutableHashTableV2".split())
# Those seen to end a server that computes with oneDNN where the input has too few dimensions.
_CONVOLUTIONS = frozenset("Conv2D Conv3D DepthwiseConv2dNative _FusedConv2D".split())


def analyse(name, signature, ops, optional_inputs=()):
    """What a signature means for serving: {string_inputs, parses_examples, tables, custom_ops, state_ops, random_ops, batching,
    tensorflow_lite, tensorrt, careless_request}.

    ops: names of the operations behind the signature. optional_inputs: its inputs with a default. Lists are sorted; reasons are sentences.
    """
    tables, custom = sorted(_TABLES & set(ops)), custom_ops(ops)
    return {
        "string_inputs": sorted(key for key, tensor in signature["inputs"].items() if tensor["dtype"] == "string"),
        "parses_examples": bool(_EXAMPLE_PARSERS & set(ops)), "tables": tables, "custom_ops": custom,
        "state_ops": purity.state_ops(ops), "random_ops": purity.random_ops(ops), "batching": batching(name, signature),
        "tensorflow_lite": lite.likelihood(signature, ops, optional_inputs), "tensorrt": tensorrt_ops.likelihood(signature, ops),
        "careless_request": careless_request(ops)}


def custom_ops(ops):
    """The operations that are none of TensorFlow's own."""
    return sorted(op for op in ops if op not in NAMES and not op.startswith("_"))


def batching(name, signature):
    """{legal, first_dimensions: {input: "any", a number, "none" or "unknown"}, shared, reasons, doubts} of a signature.

    shared: whether all inputs have a first dimension that can be the batch's.
    """
    first = {key: _first(tensor["shape"]) for key, tensor in sorted(signature["inputs"].items())}
    faults, doubts = legality.judge({name: signature})
    return {"legal": not faults, "first_dimensions": first, "shared": bool(first) and set(first.values()) == {"any"},
            "reasons": [str(fault) for fault in faults], "doubts": doubts}


def careless_request(ops):
    """{can_kill, reasons}: whether one request of a wrong shape can end a server that has this model."""
    if not _CONVOLUTIONS & set(ops):
        return {"can_kill": False, "reasons": []}
    return {"can_kill": True, "reasons": [
        "With oneDNN on, one request whose input has too few dimensions ends the whole server: check ranks in front of it, or set "
        "TF_ENABLE_ONEDNN_OPTS=0 (trap 41).",
        "As TensorFlow Lite, one request of 0 rows can end the whole server: check rows in front of it (trap 42)."]}


def warnings(described, server_release=None):
    """Sentences about the whole model. described: the result of saved_model.read. server_release: the server that is to load it, or None."""
    every = {op for ops in described["ops"].values() for op in ops}
    custom, python, state = custom_ops(every), purity.python_ops(every), purity.state_ops(every)
    found = []
    if custom:
        found.append(f"{', '.join(custom)}: not TensorFlow's own. Only a server that was built with them loads this model; TensorFlow Serving's own "
                     "images bring those of TensorFlow Text and, in later releases, of TensorFlow Decision Forests.")
    if python:
        found.append(f"{', '.join(python)}: it calls Python code of the process that exported it. No server has that: export the model without.")
    if state:
        found.append(f"{', '.join(state)}: it keeps something from one request for the next. All clients of a server share that, and no two servers do.")
    written = described["tensorflow_version"]
    if server_release and written and _minor(written) > _minor(server_release):
        found.append(f"TensorFlow {written} wrote it, the server is {server_release}: an older server refuses operations and attributes that it does not know. "
                     "Export it with the server's release, or prove that it loads there.")
    if described["exporter"] == "tensorflow1":
        found.append("It is a graph of TensorFlow 1: TF-TRT and some tools take it only after it was exported again by TensorFlow 2.")
    if described["warmup"]:
        found += [f"Its warm-up file: {fault}." for fault in described["warmup"]["faults"]]
    return found


def _first(shape):
    if shape is None:
        return "unknown"
    return "none" if not shape else "any" if shape[0] is None else shape[0]


def _minor(release):
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])
