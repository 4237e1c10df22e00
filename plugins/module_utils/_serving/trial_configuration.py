# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe how a trial server of the tuning serves one model, and apply changes to it.

A change is a mapping with the same keys. Its environment and flags are merged into the current ones, and the value None
removes a name. Other keys are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import served_models
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    GRPC_THREADS,
    ServingConfiguration,
)


class Configuration(TypedDict):
    """How a server of one model serves, and which protocol its clients use."""

    protocol: str  # one of PROTOCOLS
    form: str  # saved_model or tflite_dynamic_range
    batching: dict[str, Any] | None  # parameters by name
    environment: dict[str, str]
    flags: dict[str, Any]


KEYS = ("protocol", "form", "batching", "environment", "flags")
PROTOCOLS = ("grpc", "rest")
_MERGED = ("environment", "flags")
_PLAIN: dict[str, Any] = {"protocol": "grpc", "form": "saved_model", "batching": None, "environment": {}, "flags": {}}


def complete(values: Any, where: str = "start") -> Configuration:
    """Return a complete configuration from the given part. Raise FleetError for an unknown key or protocol, or a malformed value."""
    if not isinstance(values, dict):
        raise FleetError(f"{values!r} is not a mapping; allowed: some of {', '.join(KEYS)}", where=where)
    for key, value in values.items():
        one_of(where, key, KEYS)
        if key == "form" and not isinstance(value, str):
            raise FleetError(f"{value!r} is not a text, such as saved_model", where=f"{where}.form")
        if key in ("batching", *_MERGED) and not (value is None or isinstance(value, dict)):
            raise FleetError(f"{value!r} is neither a mapping nor null", where=f"{where}.{key}")
    whole = dict(_PLAIN, **values)
    one_of(f"{where}.protocol", whole["protocol"], PROTOCOLS)
    return cast(Configuration, {key: dict(whole[key] or {}) if key in _MERGED else whole[key] for key in KEYS})


def planned(plan: Any, model: str, start: Any = None) -> Configuration:
    """Return the configuration that a plan (docs/architecture.md, "Plan") gives a model.

    start: part of a configuration that changes it, or None.
    """
    if not (isinstance(plan, dict) and {"models", "server"} <= set(plan)):
        raise FleetError(
            "it is not a plan, which has models and server",
            where="plan",
            remedy="Use the plan that the role tfserving.fleet.tfs_capabilities computes.",
        )
    made = next((entry for entry in plan["models"] if entry["name"] == model), None)
    if made is None:
        raise FleetError(
            f"the plan does not contain the model {model!r}",
            where="plan",
            remedy="Add it to tfserving_models, and plan again.",
        )
    of_plan = {
        "form": made["form"],
        "batching": made["batching"],
        "environment": plan["server"]["environment"],
        "flags": served_models.planned(plan).flags,
    }
    return changed(complete(of_plan, "plan"), start or {}, "start")


def with_results(configuration: ServingConfiguration, results: Any) -> ServingConfiguration:
    """Return the configuration with the results of tunings.

    results: of the module tuning; if a model occurs several times, its last one applies. Environment and flags belong
    to the whole server: they are those of the first of its models that was tuned.
    """
    names = [model.name for model in configuration.models]
    found = {model: complete(of, "tuning") for model, of in _with_configuration(results) if model in names}
    leading = next((found[name] for name in names if name in found), None)
    if leading:
        threads = configuration.flags.get(GRPC_THREADS)
        needed = {GRPC_THREADS: threads} if threads and len(names) > 1 else {}
        configuration = replace(configuration, environment=leading["environment"], flags=needed)
        configuration = configuration.tuned(names[0], {"flags": leading["flags"]})
    for model, of in found.items():
        threads = of["flags"].get(GRPC_THREADS)
        change = {"form": of["form"], "batching": of["batching"], "flags": {GRPC_THREADS: threads} if threads else {}}
        configuration = configuration.tuned(model, change)
    return configuration


def _with_configuration(tunings: Any) -> Iterator[tuple[str, Any]]:
    """Return the (model, configuration) pairs of tuning results. Raise FleetError for an invalid result.

    The configuration of a model without a tuning is empty.
    """
    for number, tuning in enumerate(tunings or ()):
        if not tuning:
            continue
        if not isinstance(tuning, dict) or not isinstance(tuning.get("model"), str) or "configuration" not in tuning:
            raise FleetError(
                "it is not a result of the module tuning, which has model and configuration",
                where=f"tunings[{number}]",
            )
        yield tuning["model"], tuning["configuration"]


def changed(before: Any, change: Any, where: str = "change") -> Configuration:
    """Return the configuration after a change. Raise FleetError for an unknown key or protocol, or a malformed value."""
    after: dict[str, Any] = {**complete(before)}
    complete(change, where)
    for key, value in change.items():
        if key in _MERGED:
            merged = {**after[key], **(value or {})}
            after[key] = {name: item for name, item in merged.items() if item is not None}
        else:
            after[key] = value
    return complete(after, where)


def difference(before: Configuration, after: Configuration) -> dict[str, Any]:
    """Return the change that turns one configuration into another."""
    change: dict[str, Any] = {}
    for key in KEYS:
        one, other = before[key], after[key]  # type: ignore[literal-required]
        if one != other:
            change[key] = _different(one, other) if key in _MERGED else other
    return change


def _different(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted({*before, *after})
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}
