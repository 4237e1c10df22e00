# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out what a SavedModel's signatures and operations mean for serving."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import compatibility
from ansible_collections.tfserving.fleet.plugins.module_utils._model import statefulness, tensorrt_ops, tflite
from ansible_collections.tfserving.fleet.plugins.module_utils._model.meta_graph import SavedModel
from ansible_collections.tfserving.fleet.plugins.module_utils._model.statefulness import Likelihood
from ansible_collections.tfserving.fleet.plugins.module_utils._model.tensorflow_ops import NAMES
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature as signatures
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Shape, Signature

_EXAMPLE_PARSERS = frozenset(
    "DecodeProtoV2 ParseExample ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample".split()
)
_TABLES = frozenset(
    "HashTable HashTableV2 LookupTableFind LookupTableFindV2 LookupTableSizeV2 MutableDenseHashTableV2 MutableHashTableV2".split()
)
# They crashed a server that computes with oneDNN when the input had too few dimensions.
_CONVOLUTIONS = frozenset("Conv2D Conv3D DepthwiseConv2dNative _FusedConv2D".split())


class Batching(TypedDict):
    """Whether a signature can be batched. first_dimensions: "any", a number, "none" or "unknown" of each input. shared: whether all of them are "any"."""

    legal: bool
    first_dimensions: dict[str, str | int]
    shared: bool
    reasons: list[str]
    warnings: list[str]


class MalformedRequest(TypedDict):
    """Whether one request with a wrong shape can crash a server that has the model."""

    can_kill: bool
    reasons: list[str]


class Analysis(TypedDict):
    """The meaning of a signature for serving. Lists are sorted, and reasons are sentences."""

    string_inputs: list[str]
    parses_examples: bool
    tables: list[str]
    custom_ops: list[str]
    state_ops: list[str]
    random_ops: list[str]
    file_ops: list[str]
    batching: Batching
    tensorflow_lite: Likelihood
    tensorrt: Likelihood
    malformed_request: MalformedRequest


def of_model(described: SavedModel, server_release: str | None) -> dict[str, Any]:
    """Return {analysis: {signature: Analysis}, warnings}. server_release: as in warnings()."""
    found = {
        name: analyse(
            name,
            signature,
            described["ops"][name],
            described["optional_inputs"].get(name, ()),
            described["uncertain_ops"].get(name, ()),
        )
        for name, signature in described["signatures"].items()
    }
    return {"analysis": found, "warnings": warnings(described, server_release)}


def analyse(
    name: str,
    signature: Signature,
    ops: Iterable[str],
    optional_inputs: Collection[str] = (),
    uncertain_ops: Iterable[str] = (),
) -> Analysis:
    """Return the Analysis of a signature.

    ops: names of the operations that run for the signature. optional_inputs: its inputs with a default. uncertain_ops:
    operations that run only if a value that is not known before selects them.
    """
    sure, ops = ops, {*ops, *uncertain_ops}
    tables, custom = sorted(_TABLES & set(ops)), custom_ops(ops)
    return {
        "string_inputs": sorted(key for key, tensor in signature["inputs"].items() if tensor["dtype"] == "string"),
        "parses_examples": bool(_EXAMPLE_PARSERS & set(ops)),
        "tables": tables,
        "custom_ops": custom,
        "state_ops": statefulness.state_ops(sure),
        "random_ops": statefulness.random_ops(sure),
        "file_ops": statefulness.file_ops(ops),
        "batching": batching(name, signature),
        "tensorflow_lite": tflite.likelihood(signature, sure, optional_inputs, uncertain_ops),
        "tensorrt": tensorrt_ops.likelihood(signature, ops),
        "malformed_request": malformed_request(ops),
    }


def custom_ops(ops: Iterable[str]) -> list[str]:
    """Return the operations that TensorFlow does not have."""
    return sorted(op for op in ops if op not in NAMES and not op.startswith("_"))


def batching(name: str, signature: Signature) -> Batching:
    """Return whether a signature can be batched."""
    first = {key: _first(tensor["shape"]) for key, tensor in sorted(signature["inputs"].items())}
    faults, found = compatibility.judge({name: signature})
    return {
        "legal": not faults,
        "first_dimensions": first,
        "shared": bool(first) and set(first.values()) == {"any"},
        "reasons": [str(fault) for fault in faults],
        "warnings": found,
    }


def malformed_request(ops: Iterable[str]) -> MalformedRequest:
    """Find out whether one request with a wrong shape can crash a server that has a model with these operations."""
    if not _CONVOLUTIONS & set(ops):
        return {"can_kill": False, "reasons": []}
    return {
        "can_kill": True,
        "reasons": [
            "With oneDNN enabled, one request whose input has too few dimensions crashes the whole server: check ranks before requests reach it, or set "
            "TF_ENABLE_ONEDNN_OPTS=0 (trap 41).",
            "As TensorFlow Lite, one request with 0 rows can crash the whole server: check the number of rows before requests reach it (trap 42).",
        ],
    }


def warnings(described: SavedModel, server_release: str | None = None) -> list[str]:
    """Return warnings about the whole model. server_release: the server that will load it, or None."""
    every = {op for ops in described["ops"].values() for op in ops}
    perhaps = {op for ops in described.get("uncertain_ops", {}).values() for op in ops}
    custom, python, state = (
        custom_ops({*every, *perhaps, *described.get("foreign_ops", ())}),
        statefulness.python_ops(every),
        statefulness.state_ops(every),
    )
    found = signatures.faults(described.get("signatures"))
    if custom:
        found.append(
            f"{', '.join(custom)}: not operations of TensorFlow. Only a server built with them can load this model; TensorFlow Serving's official "
            "images contain those of TensorFlow Text and, in later releases, of TensorFlow Decision Forests."
        )
    if python:
        found.append(
            f"{', '.join(python)}: the model calls Python code of the process that exported it. Servers do not have this code: export the model without it."
        )
    if state:
        found.append(
            f"{', '.join(state)}: the model keeps state between requests. All clients of a server share this state, but different servers do not."
        )
    found += perhaps_warnings(perhaps)
    found += _outside_warnings(every | perhaps, {op for ops in described.get("fed_ops", {}).values() for op in ops})
    hidden = sorted({*described.get("untrusted_ops", ())} - every - perhaps)
    if hidden:
        found.append(
            f"{', '.join(hidden)}: no signature runs these operations, but loading the model may run them. Load it only if you trust its author with the "
            "files that the account can access."
        )
    written = described["tensorflow_version"]
    if server_release and written and _minor(written) > _minor(server_release):
        found.append(
            f"TensorFlow {written} wrote the model, but the server is {server_release}: an older server rejects operations and attributes that it does not "
            "know. Export the model with the server's release, or verify that it loads there."
        )
    if described["exporter"] == "tensorflow1":
        found.append(
            "The model is a graph of TensorFlow 1: TF-TRT and some tools accept it only after TensorFlow 2 exported it again."
        )
    if described["warmup"]:
        found += [f"Its warm-up file: {fault}." for fault in described["warmup"]["faults"]]
    return found


def perhaps_warnings(ops: Iterable[str]) -> list[str]:
    """Return warnings about operations that run only if a value that is not known before selects them. ops: their names."""
    found = sorted({*statefulness.random_ops(ops), *statefulness.state_ops(ops), *statefulness.python_ops(ops)})
    if not found:
        return []
    return [
        f"{', '.join(found)}: in a branch that runs only if a computed value or the request selects it. If it runs, answers are random, depend on earlier "
        "requests, or need Python: check the answers, or export the model without this branch."
    ]


def _outside_warnings(ops: Iterable[str], fed: Collection[str]) -> list[str]:
    """Return warnings about operations that use the server's files, its process, or other processes. fed: those that take data from clients."""
    files, outside = statefulness.file_ops(ops), statefulness.outside_ops(ops)
    found = []
    chosen = [op for op in files if op in fed]
    if chosen:
        writes = statefulness.WRITES_FILES & set(chosen)
        found.append(
            f"{', '.join(chosen)}: data from clients decides which files of the server are {'written' if writes else 'read'}, or their content. "
            "Serve the model only to clients that you trust with the server's files, or export the signature without these operations."
        )
    rest = [op for op in files if op not in fed]
    if rest:
        found.append(
            f"{', '.join(rest)}: each request uses files of the server. These files must exist, and a container sees only its own files."
        )
    if outside:
        found.append(
            f"{', '.join(outside)}: a request affects the whole server process or other processes. Export the signature without these operations."
        )
    return found


def _first(shape: Shape) -> str | int:
    if shape is None:
        return "unknown"
    return "none" if not shape else "any" if shape[0] is None else shape[0]


def _minor(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])
