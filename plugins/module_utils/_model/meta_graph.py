# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a saved_model.pb: signatures, the operations behind each of them, assets, and who wrote it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    graph_walk,
    index_limits,
    statefulness,
    structure,
    table_files,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.graph_walked import Walked
from ansible_collections.tfserving.fleet.plugins.module_utils._model.tensorflow_ops import NAMES
from ansible_collections.tfserving.fleet.plugins.module_utils._model.warmup import WarmUp
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Buffer, Fields
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import (
    INTERNAL,
    Signature,
    TensorInfo,
    shape_of,
)

SERVED_TAGS = ("serve",)

# Field numbers of tensorflow/core/protobuf/{saved_model,meta_graph}.proto and tensorflow/core/framework/{graph,function,node_def,attr_value,op_def}.proto.
_META_GRAPHS, _INFO, _GRAPH, _SAVER, _COLLECTIONS, _SIGNATURES, _ASSETS, _OBJECTS = 2, 1, 2, 3, 4, 5, 6, 7
_RESTORE = 3
_TAGS, _VERSION = 4, 5
_DEFAULTS = 4
_NODES, _VERSIONS = 1, 4
_PRODUCER = 1
_NODE_OP, _NODE_ATTRIBUTES = 2, 5
_ATTRIBUTE_TYPE, _ATTRIBUTE_SHAPE = 6, 7
_OBJECT_NODES, _CHILDREN, _LOCAL_NAME = 1, 1, 2
_SPARSE, _COMPOSITE = 4, 5
_KINDS = {1: "SparseTensor", 2: "IndexedSlices", 3: "RaggedTensor"}  # TypeSpecProto.TypeSpecClass
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
# Attributes of the root object in an archive of Keras 3, in addition to its endpoints.
_KERAS3 = {"variables", "trainable_variables", "non_trainable_variables", "_misc_assets"}


class _Variables(TypedDict):
    count: int
    parameters: int | None
    dtypes: dict[str, int]


class Variables(_Variables, total=False):
    """The variables of a model. parameters: None if a variable's shape is unknown. dtypes: the number of variables of each. bytes: of their files."""

    bytes: int


class MetaGraph(TypedDict):
    """The graph of a SavedModel that TensorFlow Serving loads.

    exporter: keras3, tensorflow2 or tensorflow1. optional_inputs: the inputs with a default, of the signatures with
    such inputs. ops: the operations that run for each signature. uncertain_ops: those that run only if a value that is
    not known before selects them. fed_ops: those that use files or processes and something from the request.
    untrusted_ops: those that require trust in the model. foreign_ops: operations of the graph that TensorFlow does not
    have. restored: tensors that loading reads from the variables' files. Lists are sorted.
    """

    tags: list[str]
    tensorflow_version: str | None
    graph_version: int | None
    exporter: str
    signatures: dict[str, Signature]
    structure: dict[str, str]  # structure.py: digests of signatures and graph, without weights
    optional_inputs: dict[str, list[str]]
    ops: dict[str, list[str]]
    uncertain_ops: dict[str, list[str]]
    fed_ops: dict[str, list[str]]
    untrusted_ops: list[str]
    foreign_ops: list[str]
    assets: list[str]
    variables: Variables
    restored: list[str]


class SavedModel(MetaGraph):
    """A version directory. warmup: None without a warm-up file."""

    path: str
    size_bytes: int
    asset_bytes: int
    warmup: WarmUp | None


def parse(content: bytes, where: str, tags: Sequence[str] = SERVED_TAGS) -> MetaGraph:
    """Describe the meta graph that TensorFlow Serving loads: the one with exactly these tags.

    content: bytes of saved_model.pb. Raises FleetError if the bytes are not a SavedModel, or no graph has the tags.
    """
    try:
        graphs = [protobuf.grouped(graph) for number, graph in protobuf.fields(content) if number == _META_GRAPHS]
        tagged = [(_tags(graph), graph) for graph in graphs]
        found = next((graph for found_tags, graph in tagged if found_tags == sorted(set(tags))), None)
        if found is not None:
            return _describe(found)
    except (ValueError, TypeError, AttributeError, IndexError, struct.error) as fault:
        raise FleetError(f"not a SavedModel: {fault}", where=where, remedy="Export or copy the model again.") from fault
    if not tagged:
        raise FleetError(
            f"it contains no graph: it is truncated after {len(content)} bytes, or is not a SavedModel",
            where=where,
            remedy="Export or copy the whole model again.",
        )
    there = "; ".join(", ".join(one) or "no tags" for one, _graph in tagged)
    usable = next(
        (",".join(one) for one, _graph in tagged if one), None
    )  # No value of the flag selects a graph without tags.
    raise FleetError(
        f"no graph has the tags {','.join(tags)!r} (available: {there})",
        where=where,
        remedy="Export the model for serving"
        + (
            f", or set its tags, for example saved_model_tags: {usable} in tfserving_flags (in modules, the option tags)."
            if usable
            else "."
        ),
    )


def _describe(graph: Fields) -> MetaGraph:
    info = protobuf.grouped(protobuf.last(graph, _INFO))
    definition = protobuf.grouped(protobuf.last(graph, _GRAPH))
    every = dict(sorted(protobuf.entries(graph.get(_SIGNATURES, [])).items()))
    messages = {key: value for key, value in every.items() if key not in INTERNAL}
    signatures = {key: _signature(value) for key, value in messages.items()}
    defaults = {
        key: sorted(protobuf.entries(protobuf.grouped(value).get(_DEFAULTS, []))) for key, value in messages.items()
    }
    nodes = graph_walk.Graph(definition)
    runs = {
        key: nodes.walk(_tensors(signature["outputs"]), _tensors(signature["inputs"]))
        for key, signature in signatures.items()
    }
    loading = nodes.walk(_restoring(graph, every))
    for key, run in runs.items():
        unset = sorted(run.read - run.filled - loading.filled)
        if unset:
            signatures[key]["unset_variables"] = unset
        if run.compiled:
            signatures[key]["needs_xla"] = True
        for tensor in signatures[key]["inputs"].values():
            limit = index_limits.below(nodes.bodies, tensor["tensor"]) if "int" in tensor["dtype"] else None
            if limit:
                tensor["values_below"] = limit
    return {
        "tags": _tags(graph),
        "tensorflow_version": protobuf.text(protobuf.last(info, _VERSION)) or None,
        "graph_version": protobuf.last(protobuf.grouped(protobuf.last(definition, _VERSIONS)), _PRODUCER, None),
        "exporter": _exporter(graph),
        "signatures": signatures,
        "structure": {"signatures": structure.of_signatures(signatures), "graph": structure.of_graph(nodes.bodies)},
        "optional_inputs": {key: names for key, names in defaults.items() if names},
        "ops": {key: sorted(run.ops) for key, run in runs.items()},
        "uncertain_ops": {key: sorted(run.uncertain_ops) for key, run in runs.items() if run.uncertain_ops},
        "fed_ops": {key: sorted(run.fed_ops) for key, run in runs.items() if run.fed_ops},
        "untrusted_ops": _untrusted(nodes, graph, loading, list(runs.values())),
        "foreign_ops": sorted(op for op in nodes.ops if op not in NAMES and not op.startswith("_")),
        "assets": sorted(
            {protobuf.text(protobuf.last(protobuf.grouped(asset), 2)) for asset in graph.get(_ASSETS, [])}
        ),
        "variables": _variables(definition.get(_NODES, [])),
        "restored": sorted(loading.restored),
    }


def _untrusted(nodes: graph_walk.Graph, graph: Fields, loading: Walked, runs: Iterable[Walked]) -> list[str]:
    """Return the operations that may run and require trust.

    Objects of TensorFlow 2 may have any function as their initializer. Other nodes run only if something fetches them.
    """
    requested = {op for run in runs for op in run.ops | run.uncertain_ops}
    functions = [body for name, body in nodes.bodies.items() if name and _OBJECTS in graph]
    found = statefulness.untrusted_ops(
        (node.op for body in functions for node in body.nodes.values()),
        requested | loading.ops | loading.uncertain_ops,
        requested,
    )
    assets = {_node_of(asset) for asset in graph.get(_ASSETS, [])}
    found += table_files.filled(nodes, assets, protobuf.last(graph, _OBJECTS))
    prints = any(
        node.op == "PrintV2" and node.text("output_stream").startswith("file:")
        for body in nodes.bodies.values()
        for node in body.nodes.values()
    )
    return sorted({*found, *(["PrintV2"] if prints else [])})


def _node_of(asset: Buffer) -> str:
    """Return the node that gets the path of an asset."""
    return _tensor(protobuf.last(protobuf.grouped(asset), 1))["tensor"].partition(":")[0]


def _tensors(side: Mapping[str, TensorInfo]) -> list[str]:
    """Return the names of the tensors of a signature's inputs or outputs."""
    return [name for tensor in side.values() for name in tensor.get("components") or [tensor["tensor"]]]


def _restoring(graph: Fields, signatures: Mapping[str, Buffer]) -> list[str]:
    """Return what a server runs when it loads the model: the restore operation, then the initializer (tensorflow/cc/saved_model/loader.cc)."""
    names = [protobuf.text(protobuf.last(protobuf.grouped(protobuf.last(graph, _SAVER)), _RESTORE))]
    if INTERNAL[0] in signatures:
        names += _tensors(_signature(signatures[INTERNAL[0]])["outputs"])
    collections = protobuf.entries(graph.get(_COLLECTIONS, []))
    for name in ("saved_model_main_op", "legacy_init_op"):
        names += [
            protobuf.text(node)
            for node in protobuf.grouped(protobuf.last(protobuf.grouped(collections.get(name, b"")), 1)).get(1, [])
        ]
    return [name for name in names if name]


def _exporter(graph: Fields) -> str:
    if _OBJECTS not in graph:
        return "tensorflow1"
    root = protobuf.grouped(protobuf.last(graph, _OBJECTS)).get(_OBJECT_NODES, [b""])[0]
    children = {
        protobuf.text(protobuf.last(protobuf.grouped(child), _LOCAL_NAME))
        for child in protobuf.grouped(root).get(_CHILDREN, [])
    }
    return "keras3" if _KERAS3 <= children else "tensorflow2"


def _variables(nodes: Iterable[Buffer]) -> Variables:
    """Return the number and kinds of variables. Each part of a large variable counts."""
    found: Variables = {"count": 0, "parameters": 0, "dtypes": {}}
    for node in nodes:
        parts = protobuf.grouped(node)
        if protobuf.text(protobuf.last(parts, _NODE_OP)) in _VARIABLES:
            attributes = protobuf.entries(parts.get(_NODE_ATTRIBUTES, []))
            dtype = dtypes.name_of(protobuf.last(protobuf.grouped(attributes.get("dtype", b"")), _ATTRIBUTE_TYPE, 0))
            sizes = shape_of(protobuf.last(protobuf.grouped(attributes.get("shape", b"")), _ATTRIBUTE_SHAPE))
            found["count"] += 1
            found["dtypes"][dtype] = found["dtypes"].get(dtype, 0) + 1
            known = [size for size in sizes or () if size is not None]
            if sizes is None or len(known) < len(sizes) or found["parameters"] is None:
                found["parameters"] = None
            else:
                found["parameters"] += math.prod(known)
    return found


def _tags(graph: Fields) -> list[str]:
    return sorted(protobuf.text(tag) for tag in protobuf.grouped(protobuf.last(graph, _INFO)).get(_TAGS, []))


def _signature(message: Buffer) -> Signature:
    parts = protobuf.grouped(message)
    tensors = {
        field: {name: _tensor(value) for name, value in sorted(protobuf.entries(parts.get(field, [])).items())}
        for field in (1, 2)
    }
    return {"method_name": protobuf.text(protobuf.last(parts, 3)), "inputs": tensors[1], "outputs": tensors[2]}


def _tensor(message: Buffer) -> TensorInfo:
    """Return one input or output. components: the names of a composite tensor's own tensors, which no server supports."""
    parts = protobuf.grouped(message)
    found: TensorInfo = {
        "dtype": dtypes.name_of(protobuf.last(parts, 2, 0)),
        "tensor": protobuf.text(protobuf.last(parts, 1)),
        "shape": shape_of(protobuf.last(parts, 3)),
    }
    if _SPARSE in parts:
        sparse = protobuf.grouped(protobuf.last(parts, _SPARSE))
        names = [protobuf.text(protobuf.last(sparse, number)) for number in (1, 2, 3)]
        return {**found, "composite": "SparseTensor", "components": names}
    if _COMPOSITE in parts:
        composite = protobuf.grouped(protobuf.last(parts, _COMPOSITE))
        inner = {str(number): _tensor(one) for number, one in enumerate(composite.get(2, []))}
        kind = protobuf.last(protobuf.grouped(protobuf.last(composite, 1)), 1, 0)
        return {**found, "composite": _KINDS.get(kind, "composite tensor"), "components": _tensors(inner)}
    return found
