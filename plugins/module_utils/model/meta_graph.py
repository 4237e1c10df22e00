# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a saved_model.pb says: signatures, the operations behind each of them, assets, and who wrote it."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.model import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils.model.signature import INTERNAL, dtype_name

SERVED_TAGS = ["serve"]

# Field numbers of tensorflow/core/protobuf/{saved_model,meta_graph}.proto and tensorflow/core/framework/{graph,function,node_def,attr_value,op_def}.proto.
_META_GRAPHS, _INFO, _GRAPH, _SIGNATURES, _ASSETS, _OBJECTS = 2, 1, 2, 5, 6, 7
_TAGS, _VERSION = 4, 5
_NODES, _LIBRARY = 1, 2
_FUNCTION, _FUNCTION_SIGNATURE, _FUNCTION_NODES = 1, 1, 3
_NODE_NAME, _NODE_OP, _NODE_INPUTS, _NODE_ATTRIBUTES = 1, 2, 3, 5
_ATTRIBUTE_LIST, _ATTRIBUTE_FUNCTION, _LIST_FUNCTIONS = 1, 10, 9


def parse(content, where):
    """Describe the meta graph that TensorFlow Serving loads (tags: serve).

    content: bytes of saved_model.pb. Returns {tags, tensorflow_version, format: functions|graph, signatures: {key: the contract's signature},
    ops: {key: sorted names of all operations behind that signature}, assets: [file names], variables: bool}.
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
    signatures = {key: _signature(value) for key, value in sorted(protobuf.entries(graph.get(_SIGNATURES, [])).items()) if key not in INTERNAL}
    everywhere = {node[0] for node in nodes.values()} | {op for body in library.values() for op, _functions in body}
    return {
        "tags": _tags(graph), "tensorflow_version": protobuf.text(_last(info, _VERSION)) or None, "format": "functions" if _OBJECTS in graph else "graph",
        "signatures": signatures, "ops": {key: _reachable(signature, nodes, library) for key, signature in signatures.items()},
        "assets": sorted({protobuf.text(_last(protobuf.grouped(asset), 2)) for asset in graph.get(_ASSETS, [])}),
        "variables": bool(everywhere & {"VarHandleOp", "VariableV2", "Variable"}),
    }


def _tags(graph):
    return sorted(protobuf.text(tag) for tag in protobuf.grouped(_last(graph, _INFO)).get(_TAGS, []))


def _signature(message):
    parts = protobuf.grouped(message)
    tensors = {field: {name: _tensor(value) for name, value in sorted(protobuf.entries(parts.get(field, [])).items())} for field in (1, 2)}
    return {"method_name": protobuf.text(_last(parts, 3)), "inputs": tensors[1], "outputs": tensors[2]}


def _tensor(message):
    parts = protobuf.grouped(message)
    shape = protobuf.grouped(_last(parts, 3))
    sizes = [protobuf.signed(_last(protobuf.grouped(dim), 1, 0)) for dim in shape.get(2, [])]
    return {"dtype": dtype_name(_last(parts, 2, 0)), "tensor": protobuf.text(_last(parts, 1)),
            "shape": None if _last(shape, 3, 0) else [None if size < 0 else size for size in sizes]}


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
