# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes and functions of a GraphDef, read from its bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Buffer, Fields

# Field numbers of tensorflow/core/framework/{graph,function,node_def,attr_value,op_def,tensor}.proto.
_NODES, _LIBRARY = 1, 2
_FUNCTION, _SIGNATURE, _BODY, _RETURNS, _FUNCTION_ATTRIBUTES, _CONTROL_RETURNS = 1, 1, 3, 4, 5, 6
_NAME, _ARGUMENTS, _OUTPUTS = 1, 2, 3
_NODE_NAME, _NODE_OP, _NODE_INPUTS, _NODE_ATTRIBUTES = 1, 2, 3, 5
_LIST, _TEXT, _BOOL, _TYPE, _TENSOR, _FUNC, _LIST_FUNCTIONS = 1, 2, 5, 6, 8, 10, 9
_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8
# dtype -> (struct's letter, the TensorProto's field of values), of the types of values that select branches.
NUMBERS = {
    one.number: (one.letter, one.field_number) for one in dtypes.DTYPES.values() if one.letter not in ("", "e", "H")
}
_STRING = 7
_LITERAL = {"f": "<f", "d": "<d"}

# Of a node: a whole number, or inside functions (output, index in it); None for a node that only runs.
Port = Union[int, tuple[str, int], None]
Reference = tuple[str, Port]
Scalar = Union[bool, int, float, bytes]


@dataclass(frozen=True)
class Node:
    """A node. inputs: of data. controls: names of nodes. attributes: {name: bytes of an AttrValue}."""

    name: str
    op: str
    inputs: tuple[Reference, ...]
    controls: tuple[str, ...]
    attributes: dict[str, Any]

    def functions(self) -> dict[str, list[str]]:
        """Return {attribute: [name of a function]} of the attributes that contain functions."""
        found: dict[str, list[str]] = {}
        for key, value in self.attributes.items():
            for number, part in protobuf.fields(value):
                if number == _FUNC:
                    found.setdefault(key, []).append(_named(part))
                elif number == _LIST:
                    names = [_named(item) for inner, item in protobuf.fields(part) if inner == _LIST_FUNCTIONS]
                    if names:
                        found.setdefault(key, []).extend(names)
        return found

    def text(self, attribute: str) -> str:
        """Return a text attribute, or "" if it is missing."""
        return protobuf.text(protobuf.last(protobuf.grouped(self.attributes.get(attribute, b"")), _TEXT))

    def dtype(self, attribute: str) -> int:
        """Return the number of a type, or 0 if the attribute is missing."""
        return int(protobuf.last(protobuf.grouped(self.attributes.get(attribute, b"")), _TYPE, 0))

    def is_true(self, attribute: str) -> bool:
        """Return whether an attribute is the bool true."""
        return _is_true(self.attributes, attribute)

    def texts(self) -> list[str]:
        """Return the elements of a Const of texts."""
        tensor = protobuf.last(protobuf.grouped(self.attributes.get("value", b"")), _TENSOR)
        return [protobuf.text(text) for text in protobuf.grouped(tensor).get(_STRINGS, [])]

    def constant(self) -> Scalar | None:
        """Return the value of a Const with one element: a bool, a number or bytes. Return None for other numbers of elements and unsupported types."""
        tensor = protobuf.last(protobuf.grouped(self.attributes.get("value", b"")), _TENSOR)
        return _single(tensor)


@dataclass(frozen=True)
class Body:
    """A graph or a function. returns: {output: (node, port)} in order. controls: nodes that always run. compiled: XLA must compile it."""

    nodes: dict[str, Node]
    arguments: tuple[str, ...] = ()
    returns: dict[str, Reference] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    compiled: bool = False


def read(definition: Fields) -> tuple[Body, dict[str, Body]]:
    """Return (Body, {name: Body}): the graph and the functions of a GraphDef, given its fields. Raise protobuf.Malformed."""
    functions = {}
    for number, function in protobuf.fields(protobuf.last(definition, _LIBRARY)):
        if number == _FUNCTION:
            name, body = _function(protobuf.grouped(function))
            functions[name] = body
    return Body(_nodes(definition.get(_NODES, []))), functions


def reference(text: str) -> Reference:
    """Return the Reference in an input's text."""
    node, _colon, port = text.partition(":")
    output, colon, place = port.partition(":")
    return node, (output, _whole(place)) if colon else _whole(port)


def _nodes(messages: Iterable[Buffer]) -> dict[str, Node]:
    found = {}
    for message in messages:
        parts = protobuf.grouped(message)
        inputs = [protobuf.text(name) for name in parts.get(_NODE_INPUTS, [])]
        name = protobuf.text(protobuf.last(parts, _NODE_NAME))
        found[name] = Node(
            name,
            protobuf.text(protobuf.last(parts, _NODE_OP)),
            tuple(reference(one) for one in inputs if not one.startswith("^")),
            tuple(one[1:] for one in inputs if one.startswith("^")),
            protobuf.entries(parts.get(_NODE_ATTRIBUTES, [])),
        )
    return found


def _function(parts: Fields) -> tuple[str, Body]:
    signature = protobuf.grouped(protobuf.last(parts, _SIGNATURE))
    arguments, outputs = (
        [protobuf.text(protobuf.last(protobuf.grouped(one), _NAME)) for one in signature.get(number, [])]
        for number in (_ARGUMENTS, _OUTPUTS)
    )
    returned = {
        key: reference(protobuf.text(value)) for key, value in protobuf.entries(parts.get(_RETURNS, [])).items()
    }
    controls = {protobuf.text(value) for value in protobuf.entries(parts.get(_CONTROL_RETURNS, [])).values()}
    return protobuf.text(protobuf.last(signature, _NAME)), Body(
        _nodes(parts.get(_BODY, [])),
        tuple(arguments),
        {name: returned[name] for name in outputs if name in returned},
        tuple(sorted(controls)),
        _is_true(protobuf.entries(parts.get(_FUNCTION_ATTRIBUTES, [])), "_XlaMustCompile"),
    )


def _is_true(attributes: Mapping[str, Buffer], name: str) -> bool:
    return bool(protobuf.last(protobuf.grouped(attributes.get(name, b"")), _BOOL, 0))


def _single(tensor: Buffer) -> Scalar | None:
    parts = protobuf.grouped(tensor)
    dtype, sizes = (
        protobuf.last(parts, _DTYPE, 0),
        [
            protobuf.last(protobuf.grouped(dim), 1, 0)
            for dim in protobuf.grouped(protobuf.last(parts, _SHAPE)).get(2, [])
        ],
    )
    if math.prod(sizes) != 1:
        return None
    if dtype == _STRING:
        return bytes(protobuf.last(parts, _STRINGS))
    if dtype not in NUMBERS:
        return None
    letter, number = NUMBERS[dtype]
    content = bytes(protobuf.last(parts, _CONTENT))
    if content:
        return struct.unpack(f"<{letter}", content)[0] if len(content) == struct.calcsize(f"<{letter}") else None
    value = protobuf.last(parts, number, 0)
    if letter in _LITERAL:
        # A float_val or double_val is packed, or a fixed32 or fixed64 that protobuf.fields read as a whole number.
        raw = (
            bytes(value) if not isinstance(value, int) else value.to_bytes(struct.calcsize(_LITERAL[letter]), "little")
        )
        return struct.unpack(_LITERAL[letter], raw[: struct.calcsize(_LITERAL[letter])])[0] if raw else 0.0
    if not isinstance(value, int):
        packed = protobuf.varints(value)
        value = packed[0] if packed else 0
    return bool(value) if letter == "?" else protobuf.signed(value)


def _named(message: Buffer) -> str:
    return protobuf.text(protobuf.last(protobuf.grouped(message), _NAME))


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0
