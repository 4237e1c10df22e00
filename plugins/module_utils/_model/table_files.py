# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find tables that are filled from other files than the model's assets, because a server's answers could contain the lines of such a file.

Exporters pass the path of an asset unchanged: through a variable that gets no other value, and as an argument of
functions. Every other path counts as one of another file, computed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils._model import graph_walk, statefulness
from ansible_collections.tfserving.fleet.plugins.module_utils._model.graph import Node, Reference
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Buffer

# Field numbers of tensorflow/core/protobuf/saved_object_graph.proto.
_OBJECTS, _CONCRETE_FUNCTIONS, _BOUND_INPUTS = 1, 2, 2
_ASSET, _KINDS = 5, frozenset([4, 5, 6, 7, 8, 9, 10, 12])
_FIRST = (0, None)
# Exporters need a few. More would let a hostile graph take minutes.
_MOST_STEPS = 100


class _Given(NamedTuple):
    """What a node passes to a function. value: None if it is unknown."""

    caller: str
    value: Reference | None
    function: str
    argument: str


def filled(nodes: graph_walk.Graph, assets: Set[str], objects: Buffer) -> list[str]:
    """Return the operations that fill tables from other files.

    assets: the nodes of the graph that get the paths of assets. objects: the SavedObjectGraph, or an empty message.
    """
    bodies = nodes.bodies
    found = [
        (name, node)
        for name, body in bodies.items()
        for node in body.nodes.values()
        if node.op in statefulness.TABLES_OF_FILES
    ]
    if not found:
        return []
    paths = _Paths(nodes, assets, _bound(nodes, objects))
    return [
        node.op
        for name, node in found
        if not node.inputs[1:] or not all(paths.of_asset(name, one) for one in node.inputs[1:])
    ]


class _Paths:
    """Which tensors are paths of assets. other: {function: its arguments that are given something else}."""

    def __init__(self, nodes: graph_walk.Graph, assets: Set[str], other: Mapping[str, set[str]]) -> None:
        self._bodies, self._assets, self._other = nodes.bodies, assets, other
        self._variables: dict[str, bool] = {}
        given = list(_all_given(nodes))
        for step in range(_MOST_STEPS + 1):
            wrong = [one for one in given if step == _MOST_STEPS or not self._is_given_asset(one)]
            if not wrong:
                break
            for one in wrong:
                other[one.function].add(one.argument)
            given = [one for one in given if one.argument not in other[one.function]]

    def _is_given_asset(self, one: _Given) -> bool:
        return one.value is not None and self.of_asset(one.caller, one.value)

    def of_asset(self, name: str, reference: Reference) -> bool:
        """Return whether a tensor in a function, or in the graph (""), is always the path of an asset."""
        body = self._bodies[name]
        for _step in range(_MOST_STEPS):
            at, port = reference
            if at in body.arguments or not name and at in self._assets:
                return port in _FIRST and at not in self._other[name]
            node = body.nodes.get(at)
            if node is None or not node.inputs:
                return False
            reference = node.inputs[0]
            if node.op == "ReadVariableOp" and not name:
                return self._holds_asset(reference[0])
            if node.op != "Identity":
                return False
        return False

    def _holds_asset(self, variable: str) -> bool:
        """Return whether a variable of the graph is only assigned paths of assets, and handed to nothing else."""
        if variable not in self._variables:
            self._variables[variable] = self._is_assigned_assets(variable)
        return self._variables[variable]

    def _is_assigned_assets(self, variable: str) -> bool:
        every = [node for body in self._bodies.values() for node in body.nodes.values()]
        name = _variable_name(self._bodies[""].nodes.get(variable))
        if not name or sum(_variable_name(node) == name or node.op == "_VarHandlesOp" for node in every) != 1:
            return False
        users = [node for node in self._bodies[""].nodes.values() if (variable, 0) in node.inputs]
        return all(
            node.op in ("ReadVariableOp", "VarIsInitializedOp")
            or node.op == "AssignVariableOp"
            and all(at in self._assets and port in _FIRST for at, port in node.inputs[1:])
            for node in users
        )


def _variable_name(node: Node | None) -> str:
    return (node.text("shared_name") or node.name) if node is not None and node.op == "VarHandleOp" else ""


def _all_given(nodes: graph_walk.Graph) -> Iterator[_Given]:
    bodies = nodes.bodies
    for caller, body in bodies.items():
        for node in body.nodes.values():
            functions = {"": [node.op]} if nodes.is_function(node.op) else node.functions()
            for name in (one for names in functions.values() for one in names if nodes.is_function(one)):
                arguments, given = bodies[name].arguments, graph_walk.given(node)
                for position, argument in enumerate(arguments):
                    kept = node.op not in graph_walk.LOOPS or _is_kept(nodes, functions.get("body", []), position)
                    value = given[position] if kept and given is not None and len(given) == len(arguments) else None
                    yield _Given(caller, value, name, argument)


def _is_kept(nodes: graph_walk.Graph, bodies: Iterable[str], position: int) -> bool:
    return all(nodes.passes_on(name, position) for name in bodies)


def _bound(nodes: graph_walk.Graph, objects: Buffer) -> dict[str, set[str]]:
    """Return {function: its arguments} that TensorFlow's loader in Python binds to other objects than assets. Bound arguments are the last ones."""
    parts = protobuf.grouped(objects)
    assets = [set(protobuf.grouped(one)) & _KINDS == {_ASSET} for one in parts.get(_OBJECTS, [])]
    found: dict[str, set[str]] = {name: set() for name in nodes.bodies}
    for name, concrete in protobuf.entries(parts.get(_CONCRETE_FUNCTIONS, [])).items():
        if nodes.is_function(name):
            values = protobuf.grouped(concrete).get(_BOUND_INPUTS, [])
            numbers = [
                one for value in values for one in ([value] if isinstance(value, int) else protobuf.varints(value))
            ]
            for argument, number in zip(reversed(nodes.bodies[name].arguments), reversed(numbers)):
                if not (0 <= number < len(assets) and assets[number]):
                    found[name].add(argument)
    return found
