# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a trial of the tuning serves one model, and what changes it.

A change is a mapping over the same keys; environment and flags are merged into what is there (None takes a name away), the others
are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    """How a server of one model serves, and how its clients ask."""

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
    """A whole configuration from the given part of one. Raises FleetError for an unknown key or protocol, and for what is out of form."""
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
    """The configuration that a plan (docs/architecture.md, "Plan") gives a model. start: part of a configuration that changes it, or None."""
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
    """Return the configuration with the results of tunings. results: of the module tuning; of several of a model the last counts. Environment and flags, which
    belong to the whole server, are those of its first model that was tuned."""
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
    """The (model, configuration) pairs of tuning results; those of models that were not tuned are empty. Raises FleetError for what is none."""
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
    """The configuration after a change. Raises FleetError for an unknown key or protocol, and for what is out of form."""
    after: dict[str, Any] = {**complete(before)}
    complete(change, where)
    for key, value in change.items():
        if key in _MERGED:
            merged = {**after[key], **(value or {})}
            after[key] = {name: item for name, item in merged.items() if item is not None}
        else:
            after[key] = value
    return complete(after, where)
