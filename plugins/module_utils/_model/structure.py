# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute digests of a model without its weights: its interface and its computation. Training it again does not change them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._model.graph import Body, Node
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf

# Fields of AttrValue and TensorProto (tensorflow/core/framework/{attr_value,tensor}.proto).
_LIST, _TENSOR, _FUNC, _LIST_FUNCTIONS = 1, 8, 10, 9
_DTYPE, _SHAPE = 1, 2
# Names that an exporter numbers.
_NAMES = ("shared_name", "container")


def of_signatures(signatures: Mapping[str, Any]) -> str:
    """Return a digest of signatures: names, dtypes and shapes of their inputs and outputs."""
    described = {
        key: [
            {name: [tensor["dtype"], tensor["shape"]] for name, tensor in one[side].items()}
            for side in ("inputs", "outputs")
        ]
        for key, one in signatures.items()
    }
    return _digest(described)


def of_graph(bodies: Mapping[str, Body]) -> str:
    """Return a digest of a graph and its functions, {name: Body}.

    It covers how many nodes of each operation have the same attributes, but not their names and values.
    """
    return _digest(sorted(_described(node, bodies) for body in bodies.values() for node in body.nodes.values()))


def _described(node: Node, functions: Collection[str]) -> str:
    attributes = {
        name: _attribute(value)
        for name, value in node.attributes.items()
        if not name.startswith("_") and name not in _NAMES
    }
    return json.dumps(["" if node.op in functions else node.op, len(node.inputs), attributes], sort_keys=True)


def _attribute(value: bytes) -> str:
    """Return an attribute as text, without names of functions and without the values of tensors."""
    parts = protobuf.grouped(value)
    if _FUNC in parts or _LIST_FUNCTIONS in protobuf.grouped(protobuf.last(parts, _LIST)):
        return ""
    if _TENSOR in parts:
        tensor = protobuf.grouped(protobuf.last(parts, _TENSOR))
        return f"{protobuf.last(tensor, _DTYPE, 0)}:{protobuf.last(tensor, _SHAPE).hex()}"
    return value.hex()


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
