# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check and apply policies: choices for hosts with certain capabilities. Conditions are JMESPath over the capabilities; the caller evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import (
    did_you_mean,
    one_of,
    secret_variables,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft

# What a policy may choose: keys of the request. optimize and batching apply to every model that does not set them.
CHOICES = (
    "version",
    "backend",
    "gpu",
    "gpu_servers",
    "cpus",
    "image",
    "build",
    "build_options",
    "goal",
    "flags",
    "environment",
    "optimize",
    "batching",
)

# The fields of the capabilities (_capability/facts.py): a mapping of names, [mapping] for a list of mappings, None for a value or a list of values.
FIELDS = {
    "schema": None,
    "architecture": None,
    "cpu": {
        "vendor": None,
        "family": None,
        "model": None,
        "stepping": None,
        "brand": None,
        "level": None,
        "flags": None,
        "ai": None,
        "sockets": None,
        "cores": None,
        "threads": None,
        "numa_nodes": None,
        "caches": {"l1d_kib": None, "l1i_kib": None, "l2_kib": None, "l3_kib": None},
        "usable": None,
        "affinity": None,
        "cpuset": None,
        "quota": None,
    },
    "memory": {"total_mib": None, "limit_mib": None, "usable_mib": None},
    "gpus": [
        {
            "product": None,
            "family": None,
            "compute": {"major": None, "minor": None},
            "memory_mib": None,
            "count": None,
            "device_id": None,
            "driver": None,
            "driver_version": None,
            "cuda_version": None,
            "ecc": None,
            "mig": [{"profile": None, "memory_mib": None}],
            "problem": None,
            "devices": [
                {
                    "pci_bus_id": None,
                    "uuid": None,
                    "index": None,
                    "numa_node": None,
                    "cpu_affinity": None,
                    "mig_uuids": None,
                }
            ],
        }
    ],
    "container": {
        "engine": None,
        "version": None,
        "api_version": None,
        "socket": None,
        "answers": None,
        "reason": None,
        "runtimes": None,
        "cdi_directories": None,
        "nvidia": {"toolkit": None, "hook": None, "cdi": {"names": None, "problem": None}},
    },
    "os": {"distribution": None, "version": None, "kernel": None, "init": None, "libc": None},
    "virtualization": {"kind": None, "container": None},
    "python": {"version": None, "executable": None},
    "classes": {"image": None, "tuning": None},
}
_ORDERING = ("lt", "lte", "gt", "gte")


def check(policies: Any) -> None:
    """Raise FleetError for malformed policies. check_condition checks the conditions."""
    for number, policy in enumerate(policies):
        where = f"tfserving_policies[{number}]"
        whole = isinstance(policy, dict) and set(policy) - {"holds"} == {"when", "choose"}
        if not whole or not isinstance(policy["when"], str) or not isinstance(policy["choose"], dict):
            raise FleetError(
                "a policy has exactly two keys: when (a JMESPath condition) and choose (a mapping)", where=where
            )
        for key in policy["choose"]:
            one_of(f"{where}.choose", key, CHOICES)


def refuse_secrets(policies: Any, is_vaulted: Callable[[Any], bool] = lambda value: False) -> None:
    """Raise FleetError for the first environment variable of a policy that the plan must not show. Malformed policies do not count."""
    for number, policy in enumerate(policies if isinstance(policies, list) else ()):
        chosen = policy.get("choose") if isinstance(policy, dict) else None
        environment = chosen.get("environment") if isinstance(chosen, dict) else None
        for name in secret_variables(environment, is_vaulted) if isinstance(environment, dict) else ():
            raise FleetError(
                f"{name} looks like a secret, and the plan would show its value",
                where=f"tfserving_policies[{number}].choose.environment",
                remedy="Set it in tfs_server_secret_environment, from a vault.",
            )


def check_condition(number: int, condition: str, tree: Any, tokens: Any) -> None:
    """Raise FleetError if a compiled condition contains a field that capabilities do not have, or orders anything except numbers.

    tree: JMESPath's syntax tree, {type, value, children}. tokens: its tokens, [{type, value, start}], for the
    positions.
    """
    names = [
        token
        for token, following in zip(tokens, tokens[1:])
        if token["type"] in ("unquoted_identifier", "quoted_identifier")
        and following["type"] not in ("lparen", "colon")
    ]
    literals = [token for token in tokens if token["type"] == "literal"]
    _Walk(number, condition, iter(names), iter(literals)).visit(tree, FIELDS)


class _Walk:
    """A walk over a syntax tree and the capabilities' fields at once. Positions come from the tokens, which have fields and literals in the same order."""

    def __init__(self, number: int, condition: str, names: Any, literals: Any) -> None:
        self.number, self.condition, self.names, self.literals = number, condition, names, literals
        self.last_literal = 0

    def visit(self, node: Any, fields: Any) -> Any:
        """Return the fields of the node's value: a mapping, [mapping], or None for a plain or unknown value."""
        return getattr(self, f"_{node['type']}", self._other)(node, fields)

    def _field(self, node: Any, fields: Any) -> Any:
        token = next(self.names, None)
        position = token["start"] if token else 0
        if not isinstance(fields, dict):
            return None
        if node["value"] not in fields:
            self._fail(
                position,
                f"{node['value']!r} is not a field here; allowed: {', '.join(sorted(fields))}{did_you_mean(node['value'], list(fields))}",
            )
        return fields[node["value"]]

    def _subexpression(self, node: Any, fields: Any) -> Any:
        for child in node["children"]:
            fields = self.visit(child, fields)
        return fields

    def _index_expression(self, node: Any, fields: Any) -> Any:
        fields = self.visit(node["children"][0], fields)
        return fields[0] if isinstance(fields, list) else None

    def _flatten(self, node: Any, fields: Any) -> Any:
        return self.visit(node["children"][0], fields)

    def _projection(self, node: Any, fields: Any) -> Any:
        fields = self.visit(node["children"][0], fields)
        inner = self.visit(node["children"][1], fields[0] if isinstance(fields, list) else fields)
        return [inner] if isinstance(inner, dict) else inner

    def _filter_projection(self, node: Any, fields: Any) -> Any:
        fields = self.visit(node["children"][0], fields)
        element = fields[0] if isinstance(fields, list) else None
        self.visit(node["children"][2], element)
        inner = self.visit(node["children"][1], element)
        return [inner] if isinstance(inner, dict) else inner

    def _value_projection(self, node: Any, fields: Any) -> None:
        self.visit(node["children"][0], fields)
        self.visit(node["children"][1], None)

    def _pipe(self, node: Any, fields: Any) -> Any:
        return self._subexpression(node, fields)

    def _identity(self, node: Any, fields: Any) -> Any:
        return fields

    _current = _identity

    def _comparator(self, node: Any, fields: Any) -> None:
        for child in node["children"]:
            self.visit(child, fields)
            if (
                node["value"] in _ORDERING
                and child["type"] == "literal"
                and (isinstance(child["value"], bool) or not isinstance(child["value"], (int, float)))
            ):
                self._fail(
                    self.last_literal,
                    f"JMESPath compares only numbers, and {child['value']!r} is not a number: the condition would never be true; "
                    f"list the values: contains(['x86-64-v3', 'x86-64-v4'], cpu.level)",
                )

    def _literal(self, node: Any, fields: Any) -> None:
        self.last_literal = next(self.literals, {"start": 0})["start"]

    def _function_expression(self, node: Any, fields: Any) -> None:
        element = None
        for child in node["children"]:
            if child["type"] == "expref":
                self.visit(child["children"][0], element)
            else:
                argument = self.visit(child, fields)
                element = argument[0] if isinstance(argument, list) else None

    def _other(self, node: Any, fields: Any) -> None:
        for child in node.get("children") or ():
            if isinstance(child, dict):
                self.visit(child, fields)

    def _fail(self, position: Any, what: str) -> None:
        raise FleetError(
            f"{what}, at character {position + 1} of {self.condition!r}",
            where=f"tfserving_policies[{self.number}].when",
        )


def choose(draft: Draft, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the request with the first policy that applies here. Report others that apply but have no effect.

    asked["policies"] contain `holds`. A policy overrides defaults and group-wide values; a model's own optimize and
    batching override a policy.
    """
    policies = (asked.get("policies") if isinstance(asked, dict) else None) or []
    if not isinstance(policies, list):
        raise FleetError(f"{policies!r} is not a list", where="tfserving_policies")
    check(policies)
    holding = [number for number, policy in enumerate(policies) if policy.get("holds")]
    if not holding:
        return asked
    refuse_secrets(policies)
    first, shadowed = holding[0], holding[1:]
    chosen = policies[first]["choose"]
    spelt = ", ".join(f"{key}: {value}" for key, value in sorted(chosen.items()))
    draft.decide(f"policy {first + 1}", spelt, f"its condition is true on this host: {policies[first]['when']}")
    for number in shadowed:
        draft.warn(
            f"policy {number + 1} ({policies[number]['when']}) is also true on this host, but has no effect: policy {first + 1} comes first"
        )
    return _with(asked, chosen)


def _with(asked: Mapping[str, Any], chosen: Any) -> dict[str, Any]:
    changed = dict(asked)
    for key, value in chosen.items():
        if key in ("flags", "environment") and isinstance(value, dict):
            changed[key] = {**(asked.get(key) or {}), **value}
        elif key in ("optimize", "batching"):
            changed["models"] = [_with_model(model, key, value) for model in changed.get("models") or []]
        else:
            changed[key] = value
    return changed


def _with_model(model: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    return dict(model, **{key: value}) if isinstance(model, dict) and model.get(key) in (None, "auto") else model
