# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Determine which integers an input takes that selects rows of a table, such as the words of an embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils._model import graph
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import shape_of

# Operations that return values of the inputs at these positions unchanged.
_PASSING = {
    **dict.fromkeys(("Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "StridedSlice", "Transpose"), (0,)),
    **dict.fromkeys(("Select", "SelectV2"), (1, 2)),
}
_READING = ("Cast", "Identity", "ReadVariableOp")
_VARIABLES = ("VarHandleOp", "VariableV2")
_GATHERS = ("Gather", "GatherV2", "ResourceGather")  # (table, indices, axis)
_SHAPE, _TENSOR, _TENSOR_SHAPE = 7, 8, 2  # AttrValue, TensorProto


class _Place(NamedTuple):
    """A value: a body, the node or argument in it, and the call that gave the body its arguments."""

    body: graph.Body
    name: str
    call: tuple[graph.Node, _Place] | None


def below(bodies: Mapping[str, graph.Body], tensor: str) -> int | None:
    """Return the number of rows of the smallest table of which a tensor selects rows, or None. bodies: functions by name, and the graph under ""."""
    start = _Place(bodies[""], graph.reference(tensor)[0], None)
    return min((rows for rows in map(_rows, _tables(bodies, start)) if rows), default=None)


def _tables(bodies: Mapping[str, graph.Body], start: _Place) -> Iterator[_Place]:
    """Yield the tables of which a value selects rows."""
    waiting, seen = [start], set[tuple[int, str]]()
    while waiting:
        place = waiting.pop()
        key = (id(place.body), place.name)
        if key in seen:
            continue
        seen.add(key)
        for node in place.body.nodes.values():
            for position, (name, _port) in enumerate(node.inputs):
                if name != place.name:
                    continue
                if node.op in _GATHERS and position == 1 and _first_axis(place.body, node):
                    yield _Place(place.body, node.inputs[0][0], place.call)
                elif position in _PASSING.get(node.op, ()):
                    waiting.append(place._replace(name=node.name))
                for called in (node.op, *node.functions().get("f", ())):
                    if called in bodies and position < len(bodies[called].arguments):
                        waiting.append(_Place(bodies[called], bodies[called].arguments[position], (node, place)))


def _first_axis(body: graph.Body, node: graph.Node) -> bool:
    if len(node.inputs) < 3:
        return True
    axis = body.nodes.get(node.inputs[2][0])
    return axis is not None and axis.op == "Const" and axis.constant() == 0


def _rows(table: _Place) -> int | None:
    """Return the first dimension of a table, or None if it is not known."""
    seen = set[tuple[int, str]]()
    while (key := (id(table.call), table.name)) not in seen:
        seen.add(key)
        node = table.body.nodes.get(table.name)
        if node is None:
            if table.call is None or table.name not in table.body.arguments:
                return None
            caller, outside = table.call
            table = outside._replace(name=caller.inputs[table.body.arguments.index(table.name)][0])
        elif node.op in _READING and node.inputs:
            table = table._replace(name=node.inputs[0][0])
        else:
            return _first_dimension(node)
    return None


def _first_dimension(node: graph.Node) -> int | None:
    if node.op in _VARIABLES:
        shape = protobuf.last(protobuf.grouped(node.attributes.get("shape", b"")), _SHAPE)
    elif node.op == "Const":
        tensor = protobuf.grouped(protobuf.last(protobuf.grouped(node.attributes.get("value", b"")), _TENSOR))
        shape = protobuf.last(tensor, _TENSOR_SHAPE)
    else:
        return None
    return (shape_of(shape) or [None])[0]
