# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a saved_model.pb says: signatures, the operations behind each of them, assets, and who wrote it."""

from __future__ import annotations

import math

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.model import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils.model.signature import INTERNAL, dtype_name

SERVED_TAGS = ["serve"]

# Field numbers of tensorflow/core/protobuf/{saved_model,meta_graph}.proto and tensorflow/core/framework/{graph,function,node_def,attr_value,op_def}.proto.
_META_GRAPHS, _INFO, _GRAPH, _SIGNATURES, _ASSETS, _OBJECTS = 2, 1, 2, 5, 6, 7
_TAGS, _VERSION = 4, 5
_DEFAULTS = 4
_NODES, _LIBRARY, _VERSIONS = 1, 2, 4
_PRODUCER = 1
_FUNCTION, _FUNCTION_SIGNATURE, _FUNCTION_NODES = 1, 1, 3
_NODE_NAME, _NODE_OP, _NODE_INPUTS, _NODE_ATTRIBUTES = 1, 2, 3, 5
_ATTRIBUTE_LIST, _ATTRIBUTE_FUNCTION, _LIST_FUNCTIONS = 1, 10, 9
_ATTRIBUTE_TYPE, _ATTRIBUTE_SHAPE = 6, 7
_OBJECT_NODES, _CHILDREN, _LOCAL_NAME = 1, 1, 2
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
# What the root object of an archive of Keras 3 holds, beside its endpoints.
_KERAS3 = {"variables", "trainable_variables", "non_trainable_variables", "_misc_assets"}


def parse(content, where):
    """Describe the meta graph that TensorFlow Serving loads (tags: serve).

    content: bytes of saved_model.pb. Returns {tags, tensorflow_version, graph_version, exporter: keras3|tensorflow2|tensorflow1, signatures: {key: the
    contract's signature}, optional_inputs: {key: sorted names of the inputs with a default, where there are any}, ops: {key: sorted names of
    all operations behind that signature}, assets: [file names],
    variables: {count, parameters, dtypes: {dtype: count}}}; parameters is null where a variable's shape is not known.
    Raises FleetError when the bytes are no SavedModel or none of its graphs is tagged for serving.
    """
    try:
        graphs = [protobuf.grouped(graph) for number, graph in protobuf.fields(content) if number == _META_GRAPHS]
        tagged = [(_tags(graph), graph) for graph in graphs]
        found = next((graph for tags, graph in tagged if tags == SERVED_TAGS), None)
        if found is not None:
            return _describe(found)
    except (protobuf.Malformed, TypeError, AttributeError) as fault:
        raise FleetError(f"not a SavedModel: {fault}", where=where, remedy="Export or copy the model again.") from fault
    tags = "; ".join(", ".join(tags) or "no tag" for tags, _graph in tagged)
    raise FleetError(f"no graph is tagged 'serve' (there {'are: ' + tags if tagged else 'is none'})", where=where, remedy="Export the model for serving.")


def _describe(graph):
    info = protobuf.grouped(_last(graph, _INFO))
    definition = protobuf.grouped(_last(graph, _GRAPH))
    nodes = dict(_node(node) for node in definition.get(_NODES, []))
    library = _library(_last(definition, _LIBRARY))
    messages = {key: value for key, value in sorted(protobuf.entries(graph.get(_SIGNATURES, [])).items()) if key not in INTERNAL}
    signatures = {key: _signature(value) for key, value in messages.items()}
    defaults = {key: sorted(protobuf.entries(protobuf.grouped(value).get(_DEFAULTS, []))) for key, value in messages.items()}
    return {
        "tags": _tags(graph), "tensorflow_version": protobuf.text(_last(info, _VERSION)) or None,
        "graph_version": _last(protobuf.grouped(_last(definition, _VERSIONS)), _PRODUCER, None), "exporter": _exporter(graph), "signatures": signatures,
        "optional_inputs": {key: names for key, names in defaults.items() if names},
        "ops": {key: _reachable(signature, nodes, library) for key, signature in signatures.items()},
        "assets": sorted({protobuf.text(_last(protobuf.grouped(asset), 2)) for asset in graph.get(_ASSETS, [])}),
        "variables": _variables(definition.get(_NODES, [])),
    }


def _exporter(graph):
    if _OBJECTS not in graph:
        return "tensorflow1"
    root = protobuf.grouped(_last(graph, _OBJECTS)).get(_OBJECT_NODES, [b""])[0]
    children = {protobuf.text(_last(protobuf.grouped(child), _LOCAL_NAME)) for child in protobuf.grouped(root).get(_CHILDREN, [])}
    return "keras3" if _KERAS3 <= children else "tensorflow2"


def _variables(nodes):
    """How many variables there are, and of what; parts of one large variable count one by one."""
    found = {"count": 0, "parameters": 0, "dtypes": {}}
    for node in nodes:
        parts = protobuf.grouped(node)
        if protobuf.text(_last(parts, _NODE_OP)) in _VARIABLES:
            attributes = protobuf.entries(parts.get(_NODE_ATTRIBUTES, []))
            dtype = dtype_name(_last(protobuf.grouped(attributes.get("dtype", b"")), _ATTRIBUTE_TYPE, 0))
            sizes = _sizes(_last(protobuf.grouped(attributes.get("shape", b"")), _ATTRIBUTE_SHAPE))
            found["count"] += 1
            found["dtypes"][dtype] = found["dtypes"].get(dtype, 0) + 1
            known = found["parameters"] is not None and sizes is not None and None not in sizes
            found["parameters"] = found["parameters"] + math.prod(sizes) if known else None
    return found


def _tags(graph):
    return sorted(protobuf.text(tag) for tag in protobuf.grouped(_last(graph, _INFO)).get(_TAGS, []))


def _signature(message):
    parts = protobuf.grouped(message)
    tensors = {field: {name: _tensor(value) for name, value in sorted(protobuf.entries(parts.get(field, [])).items())} for field in (1, 2)}
    return {"method_name": protobuf.text(_last(parts, 3)), "inputs": tensors[1], "outputs": tensors[2]}


def _tensor(message):
    parts = protobuf.grouped(message)
    return {"dtype": dtype_name(_last(parts, 2, 0)), "tensor": protobuf.text(_last(parts, 1)), "shape": _sizes(_last(parts, 3))}


def _sizes(message):
    """A TensorShapeProto: None for an unknown rank, else its sizes with None for an unknown one."""
    shape = protobuf.grouped(message)
    sizes = [protobuf.signed(_last(protobuf.grouped(dim), 1, 0)) for dim in shape.get(2, [])]
    return None if _last(shape, 3, 0) else [None if size < 0 else size for size in sizes]


def _node(message):
    """(name, (op, names of the nodes it reads, names of the functions it calls))."""
    parts = protobuf.grouped(message)
    inputs = [_node_of(protobuf.text(name)) for name in parts.get(_NODE_INPUTS, [])]
    functions = []
    for value in protobuf.entries(parts.get(_NODE_ATTRIBUTES, [])).values():
        for number, held in protobuf.fields(value):
            if number == _ATTRIBUTE_FUNCTION:
                functions.append(_function_name(held))
            elif number == _ATTRIBUTE_LIST:
                functions += [_function_name(item) for field, item in protobuf.fields(held) if field == _LIST_FUNCTIONS]
    return protobuf.text(_last(parts, _NODE_NAME)), (protobuf.text(_last(parts, _NODE_OP)), inputs, functions)


def _library(message):
    """{function: [(op, names of the functions it calls)]}."""
    found = {}
    for number, function in protobuf.fields(message):
        if number == _FUNCTION:
            parts = protobuf.grouped(function)
            name = protobuf.text(_last(protobuf.grouped(_last(parts, _FUNCTION_SIGNATURE)), 1))
            found[name] = [(op, functions) for _name, (op, _inputs, functions) in map(_node, parts.get(_FUNCTION_NODES, []))]
    return found


def _reachable(signature, nodes, library):
    ops, seen, called = set(), set(), []
    waiting = [_node_of(tensor["tensor"]) for tensor in signature["outputs"].values()]
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            op, inputs, functions = nodes[name]
            ops.add(op)
            waiting += inputs
            called += functions
    entered = set()
    while called:
        function = called.pop()
        if function in entered:
            continue
        entered.add(function)
        for op, functions in library.get(function, ()):
            ops.add(op)
            called += functions
    return sorted(ops - set(library))


def _node_of(tensor):
    return tensor.lstrip("^").partition(":")[0]


def _function_name(message):
    return protobuf.text(_last(protobuf.grouped(message), 1))


def _last(parts, number, default=b""):
    return parts[number][-1] if number in parts else default
