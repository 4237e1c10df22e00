# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Determine what a session runs for a signature: the operations between its outputs and its inputs, without branches that constants switch off.

As in TensorFlow, a node runs if an output needs it and none of its inputs is dead (tensorflow/core/graph/subgraph.cc,
common_runtime/executor.cc). In a function, nodes with side effects also run (common_runtime/function.cc).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._model import graph, graph_values, statefulness
from ansible_collections.tfserving.fleet.plugins.module_utils._model.graph_values import (
    DEAD,
    REQUEST,
    Constant,
    Guarded,
    Resource,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.graph_walked import Walked, either
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Fields

# Operations that return an element of their first input unchanged.
_PASSING = frozenset(
    """
    CheckNumerics CheckNumericsV2 DebugIdentity DeepCopy EnsureShape Enter Exit ExpandDims Identity LoopCond NextIteration PlaceholderWithDefault
    PreventGradient RefEnter RefExit RefIdentity RefNextIteration Reshape Snapshot Squeeze StopGradient
""".split()
)
_SWITCHES = frozenset("RefSwitch Switch _SwitchN".split())
_MERGES = frozenset("Merge RefMerge".split())
_TURNS = frozenset("NextIteration RefNextIteration".split())
_CALLS = frozenset("PartitionedCall StatefulPartitionedCall TPUPartitionedCall".split())
_IFS = frozenset("If StatelessIf".split())
_CASES = frozenset("Case StatelessCase".split())
LOOPS = frozenset("StatelessWhile While".split())
_PLACEHOLDERS = frozenset("Placeholder PlaceholderV2 PlaceholderWithDefault".split())
_VARIABLES = frozenset("VarHandleOp Variable VariableV2".split())
_TABLES = frozenset("HashTable HashTableV2".split())
_FILLS = frozenset(
    """
    Assign AssignVariableOp InitializeTable InitializeTableFromTextFile InitializeTableFromTextFileV2 InitializeTableV2 LookupTableImport LookupTableImportV2
""".split()
)
_HARMLESS_TO_UNSET = frozenset("DestroyResourceOp IsVariableInitialized NoOp VarIsInitializedOp".split())
_HANDING_ON = _PASSING | _SWITCHES | _MERGES | _HARMLESS_TO_UNSET | {"IdentityN"}
_CALLING = _CALLS | _IFS | _CASES | LOOPS
_XLA = frozenset("XlaCallModule XlaClusterOutput XlaLaunch XlaLaunchV2".split())
_COMPILED = ("_XlaMustCompile", "_XlaCompile")  # set by jit_compile=True, and by tf.xla.experimental.jit_scope
_FALSE_TRUE = {"output_false": 0, "output_true": 1}


class Graph:
    """A GraphDef. Raises protobuf.Malformed if the definition is not valid."""

    def __init__(self, definition: Fields) -> None:
        """Read a GraphDef. definition: its {field number: [values]}."""
        self._body, self._functions = graph.read(definition)
        self._known: dict[Any, Walked] = {}
        self._entered: list[str] = []

    @property
    def ops(self) -> frozenset[str]:
        """Return the names of the graph's own operations, without those of functions. A server must know them before it loads any signature."""
        return frozenset(node.op for node in self._body.nodes.values()) - frozenset(self._functions)

    @property
    def bodies(self) -> dict[str, graph.Body]:
        """Return {name: Body} of the functions, and of the graph itself under the empty name."""
        return {**self._functions, "": self._body}

    def walk(self, fetched: Iterable[str], fed: Iterable[str] = ()) -> Walked:
        """Return Walked for the fetched tensors or nodes. fetched, fed: names as "node:0"; a node that only runs is "node" or "^node"."""
        body = self._body
        roots = [graph.reference(name.lstrip("^")) for name in fetched]
        return _Run(self, body, (), {graph.reference(name) for name in fed}, roots).walked()

    def call(self, name: str, arguments: tuple[object, ...], ports: frozenset[int] | None) -> Walked:
        """Return Walked for a function. arguments: values. ports: positions of the needed returns, or None for all."""
        key = (name, arguments, ports)
        if key not in self._known:
            body = self._functions.get(name)
            if body is None or name in self._entered:  # A function that is missing, or calls itself.
                return Walked(
                    values=(None,) * (len(body.returns) if body else 0), listens=frozenset(range(len(arguments)))
                )
            self._entered.append(name)
            returns = list(body.returns.values())
            roots = [one for position, one in enumerate(returns) if ports is None or position in ports]
            run = _Run(self, body, arguments, frozenset(), roots, [*body.controls, *_with_effects(body)])
            walked = run.walked()
            self._entered.pop()
            self._known[key] = replace(
                walked, values=tuple(run.value(one) for one in returns), compiled=walked.compiled or body.compiled
            )
        return self._known[key]

    def is_function(self, name: str) -> bool:
        """Return whether an operation calls a function by its name."""
        return name in self._functions

    def count_arguments(self, name: str) -> int:
        """Return how many arguments a function takes."""
        return len(self._functions[name].arguments) if name in self._functions else 0

    def port(self, node: graph.Node, port: graph.Port) -> int:
        """Return a port as a whole number."""
        if isinstance(port, int):
            return port
        output, place = port or ("", 0)
        if node.op in _SWITCHES and output in _FALSE_TRUE:
            return _FALSE_TRUE[output]
        if node.op in self._functions:
            names = list(self._functions[node.op].returns)
            return names.index(output) + place if output in names else place
        return 1 if output == "value_index" else place

    def passes_on(self, name: str, position: int) -> bool:
        """Return whether a function returns the argument at a position at the same position."""
        body = self._functions.get(name)
        if body is None or position >= len(body.arguments) or position >= len(body.returns):
            return False
        at = list(body.returns.values())[position][0]
        for _step in range(len(body.nodes) + 1):
            if at == body.arguments[position]:
                return True
            node = body.nodes.get(at)
            if node is None or node.op != "Identity" or not node.inputs:
                return False
            at = node.inputs[0][0]
        return False


class _Run:
    """A walk over one body with given arguments: first the nodes in the order in which they run, then their values, then what each of them depends on."""

    def __init__(
        self,
        whole: Graph,
        body: graph.Body,
        arguments: tuple[object, ...],
        fed: Set[graph.Reference],
        roots: list[graph.Reference],
        controls: Iterable[str] = (),
    ) -> None:
        self._graph, self._body, self._fed, self._roots = whole, body, fed, roots
        self._arguments = dict(zip(body.arguments, arguments))
        self._places = {name: position for position, name in enumerate(body.arguments)}
        self._ports: dict[str, set[int]] = {}
        self._guards: dict[str, Any] = {}
        self._values: dict[str, tuple[object, ...]] = {}
        self._others: dict[str, object] = {}
        self._calls: dict[str, Walked] = {}
        self._closing: set[str] = set()
        self._order = self._needed([*roots, *((name, None) for name in controls)])
        self._turns: set[str] = set()
        more: set[str] | None = None
        while more is None or more:  # First without repeated iterations of loops, and then with those that repeat.
            self._guards.clear()
            for name in self._order:
                self._run(body.nodes[name])
            more = {name for name in self._closing if self._guards.get(name, DEAD) is not DEAD} - self._turns
            self._turns |= more

    def walked(self) -> Walked:
        """Return Walked for everything that runs."""
        heard, listens = self._heard()
        found = Walked(listens=frozenset(listens))
        for name in self._order:
            guard = self._guards[name]
            if guard is DEAD:
                continue
            node, call = self._body.nodes[name], self._calls.get(name)
            counts = not self._graph.is_function(node.op) and (node.op not in statefulness.RANDOM or name in heard)
            own = Walked(
                frozenset([node.op] if counts else []), compiled=node.op in _XLA or any(map(node.is_true, _COMPILED))
            )
            own.read, own.filled = self._touched(node)
            if node.op == "RestoreV2" and len(node.inputs) > 1 and node.inputs[1][0] in self._body.nodes:
                own.restored = frozenset(self._body.nodes[node.inputs[1][0]].texts())
            if node.op in statefulness.OUTSIDE and any(self.value(one) is REQUEST for one in node.inputs):
                own.fed_ops = own.ops
            if call:
                own = own.then(call)
                own.ops -= frozenset() if name in heard else statefulness.RANDOM
            by_request = all(decided for _decision, _port, decided in guard)
            if not by_request:
                own = replace(own, read=frozenset())
            found = found.then(
                own, frozenset() if not guard else own.ops & statefulness.RANDOM if by_request else own.ops
            )
        return found

    def value(self, reference: graph.Reference) -> object:
        """Return the value of a tensor: a Constant, a Resource, DEAD or None."""
        return self._look(reference)[0]

    def _inputs(self, node: graph.Node) -> Iterator[graph.Reference]:
        for name, port in node.inputs:
            if (name, port) not in self._fed:
                yield name, port
        for name in node.controls:
            # As in subgraph.cc: feeding a placeholder replaces the whole node, and feeding another node replaces only
            # that tensor.
            if not any(name == fed for fed, _port in self._fed) or self._body.nodes[name].op not in _PLACEHOLDERS:
                yield name, None

    def _needed(self, roots: list[graph.Reference]) -> list[str]:
        """Return the nodes that roots depend on, each after its inputs. The nodes that close a loop are last."""
        order, seen, nodes, later = [], set(), self._body.nodes, list(roots)
        for root, port in later:
            if (root, port) in self._fed:
                continue
            self._need(root, port)
            waiting: list[tuple[str, Iterator[graph.Reference] | None]] = [(root, None)]
            while waiting:
                name, inputs = waiting.pop()
                if name not in nodes:
                    continue
                if inputs is None:
                    if name in seen:
                        continue
                    seen.add(name)
                    inputs = self._inputs(nodes[name])
                for other, used in inputs:
                    self._need(other, used)
                    if nodes[name].op in _MERGES and other in nodes and nodes[other].op in _TURNS:
                        later.append((other, used))
                        continue
                    if other in nodes and other not in seen:
                        waiting += [(name, inputs), (other, None)]
                        break
                else:
                    order.append(name)
        return order

    def _need(self, name: str, port: graph.Port) -> None:
        node = self._body.nodes.get(name)
        if node is not None and port is not None:
            self._ports.setdefault(name, set()).add(self._graph.port(node, port))

    def _look(self, reference: graph.Reference) -> tuple[object, Any]:
        """Return (value, guard) of a tensor.

        A guard is the set of branches, unknown before, that must be taken. The value is DEAD if the tensor never gets
        one.
        """
        name, port = reference
        if reference in self._fed:
            return REQUEST, frozenset()
        if name in self._arguments:
            return self._arguments[name], frozenset()
        if name not in self._guards:
            return None, frozenset()  # A missing node, or the end of a loop.
        if self._guards[name] is DEAD:
            return DEAD, DEAD
        if port is None:
            return None, self._guards[name]
        values = self._values[name]
        number = self._graph.port(self._body.nodes[name], port)
        value = values[number] if number < len(values) else self._others[name]
        if value is DEAD:
            return DEAD, DEAD
        guard = self._guards[name]
        if isinstance(value, Guarded):
            return value.value, guard | {value.branch}
        return value, guard

    def _run(self, node: graph.Node) -> None:
        looked = [self._look(one) for one in node.inputs]
        values = [value for value, _guard in looked]
        if node.op in _MERGES:
            self._merge(node, looked)
            return
        guards = [guard for _value, guard in looked] + [
            self._look(one)[1] for one in self._inputs(node) if one[1] is None
        ]
        if any(guard is DEAD for guard in guards):
            self._guards[node.name] = DEAD
            return
        self._guards[node.name] = frozenset().union(*guards)
        self._others[node.name] = other = REQUEST if REQUEST in values else None
        computed = self._compute(node, values)
        self._values[node.name] = (
            computed if node.name in self._calls else tuple(other if value is None else value for value in computed)
        )

    def _merge(self, node: graph.Node, looked: list[tuple[object, Any]]) -> None:
        alive: list[object] = []
        guards = []
        for one, (value, guard) in zip(node.inputs, looked):
            if (
                one not in self._fed and one[0] in self._body.nodes and one[0] not in self._guards
            ):  # The input that closes a loop.
                self._closing.add(one[0])
                alive += [None] if one[0] in self._turns else []
            elif guard is not DEAD:
                alive.append(value)
                guards.append(guard)
        self._guards[node.name] = frozenset.intersection(*guards) if guards else DEAD
        self._values[node.name], self._others[node.name] = (graph_values.either(alive) if alive else None,), None

    def _compute(self, node: graph.Node, values: list[object]) -> tuple[object, ...]:
        """Return the value of each output, as far as it is known."""
        op = node.op
        if op == "Const":
            constant = node.constant()
            return (None if constant is None else Constant(constant),)
        if op in _VARIABLES or op in _TABLES:
            return (Resource(node.text("shared_name") or node.name, op in ("Variable", "VariableV2", "HashTable")),)
        if op in _SWITCHES:
            return self._switch(node, values)
        if op in _PASSING:
            value = values[0] if values else None
            return (None if isinstance(value, Resource) and value.reference and op == "Identity" else value,)
        if op == "IdentityN":
            return tuple(values)
        if op == "Cast":
            return (graph_values.cast(values[0], node.dtype("DstT")),)
        if op == "RandomUniform":
            return (graph_values.Range(0.0, 1.0),)
        if op in graph_values.COMPUTED:
            return (graph_values.computed(op, values, node.dtype("T")),)
        if op in ("Select", "SelectV2") and values and isinstance(values[0], Constant):
            return (values[1 if values[0].value else 2],)
        call = self._call(node, tuple(values))
        if call is None:
            return ()
        self._calls[node.name] = call
        return call.values

    def _switch(self, node: graph.Node, values: list[object]) -> tuple[object, ...]:
        data, decision = values
        ports = range(2) if node.op != "_SwitchN" else range(max(self._ports.get(node.name, {0})) + 1)
        if isinstance(decision, Constant):
            return tuple(data if port == int(decision.value) else DEAD for port in ports)
        decided_by = self._body.nodes.get(node.inputs[1][0])
        if (
            decided_by is not None and decided_by.op == "LoopCond"
        ):  # The body of a loop runs under the same conditions as the loop.
            return tuple(data for _port in ports)
        return tuple(Guarded(data, (node.inputs[1], port, decision is REQUEST)) for port in ports)

    def _call(self, node: graph.Node, values: tuple[object, ...]) -> Walked | None:
        """Return Walked for what a node calls, or None if it calls nothing. Its listens are positions among the node's inputs."""
        op, call, functions = node.op, self._graph.call, node.functions()
        ports = frozenset(self._ports.get(node.name, ()))
        if self._graph.is_function(op):
            return call(op, values, ports)
        if op in _CALLS and functions.get("f"):
            return call(functions["f"][0], values, ports)
        if op in _IFS or op in _CASES:
            branches = (
                functions.get("branches", [])
                if op in _CASES
                else [*functions.get("else_branch", []), *functions.get("then_branch", [])]
            )
            return self._branch(node, branches, values, ports)
        if op in LOOPS and functions.get("cond") and functions.get("body"):
            return self._loop(functions["cond"][0], functions["body"][0], values)
        called = [name for names in functions.values() for name in names]
        if not called:
            return None
        found = Walked(listens=frozenset(range(len(values))))
        for name in called:  # Which arguments it passes to them, and in which order, is unknown.
            found = found.then(
                call(name, (REQUEST if REQUEST in values else None,) * self._graph.count_arguments(name), None)
            )
        return found

    def _branch(
        self, node: graph.Node, branches: list[str], values: tuple[object, ...], ports: frozenset[int]
    ) -> Walked | None:
        if not branches:
            return None
        decision = values[0]
        if isinstance(decision, Constant):
            number = decision.value if node.op in _CASES else int(bool(decision.value))
            if not 0 <= number < len(branches):
                number = len(branches) - 1
            taken = self._graph.call(branches[number], values[1:], ports)
            own: frozenset[int] = frozenset()
        else:
            taken = either([self._graph.call(name, values[1:], ports) for name in branches], decision is REQUEST)
            own = frozenset([0])
        return replace(taken, listens=own | {one + 1 for one in taken.listens})

    def _loop(self, condition: str, body: str, values: tuple[object, ...]) -> Walked:
        begun = self._graph.call(condition, values, None)
        if begun.values and isinstance(begun.values[0], Constant) and not begun.values[0].value:
            return replace(begun, values=values, listens=frozenset(range(len(values))))
        changing = REQUEST if REQUEST in values else None
        kept = tuple(
            value if self._graph.passes_on(body, position) else changing for position, value in enumerate(values)
        )
        ran = self._graph.call(condition, kept, None).then(self._graph.call(body, kept, None))
        return replace(ran, values=kept, listens=frozenset(range(len(values))))

    def _touched(self, node: graph.Node) -> tuple[frozenset[str], frozenset[str]]:
        """Return (read, filled): names of the variables and tables that a node itself uses."""
        resources = [value for value in (self.value(one) for one in node.inputs) if isinstance(value, Resource)]
        reads = node.op == "Identity" and any(one.reference for one in resources)
        calls = node.name in self._calls and (node.op in _CALLING or self._graph.is_function(node.op))
        if not resources or calls or node.op in _HANDING_ON and not reads:
            return frozenset(), frozenset()
        if node.op in _FILLS:
            return frozenset(one.name for one in resources[1:]), frozenset([resources[0].name])
        return frozenset(one.name for one in resources), frozenset()

    def _heard(self) -> tuple[set[str], set[int]]:
        """Return (names of the nodes, positions of the arguments) on which the returns depend."""
        heard, listens, waiting = set(), set(), [one for one in self._roots if one not in self._fed]
        while waiting:
            name, _port = waiting.pop()
            if name in self._places:
                listens.add(self._places[name])
            if name in heard or self._guards.get(name, DEAD) is DEAD:
                continue
            heard.add(name)
            node, call = self._body.nodes[name], self._calls.get(name)
            if all(isinstance(value, Constant) for value in self._values[name]) and self._values[name]:
                continue
            for position, one in enumerate(node.inputs):
                if (
                    one not in self._fed
                    and self._look(one)[1] is not DEAD
                    and (call is None or position in call.listens)
                ):
                    waiting.append(one)
        return heard, listens


def given(node: graph.Node) -> tuple[graph.Reference, ...] | None:
    """Return the inputs of a node that become the arguments of each function that it calls, or None if that is unknown."""
    if node.op in _IFS or node.op in _CASES:
        return node.inputs[1:]
    return node.inputs if node.op in _CALLING or not node.functions() else None


def _with_effects(body: graph.Body) -> list[str]:
    return [node.name for node in body.nodes.values() if node.op in statefulness.EFFECTS]
