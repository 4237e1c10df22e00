# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host serves, as a configuration.

The flag that makes a server look for a TensorFlow Lite file follows from the form.
A change is a mapping over the same keys; environment and flags are merged into what is there (None takes a name away), the others
are replaced.
"""

from __future__ import annotations

from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options


class Configuration(TypedDict):
    """How a host serves one model."""

    protocol: str  # one of PROTOCOLS
    form: str  # saved_model or tflite_dynamic_range
    batching: dict[str, Any] | None  # parameters by name
    environment: dict[str, str]
    flags: dict[str, Any]


KEYS = ("protocol", "form", "batching", "environment", "flags")
PROTOCOLS = ("grpc", "rest")
_MERGED = ("environment", "flags")
_LITE_FLAG, _GRPC_THREADS = "prefer_tflite_model", "grpc_max_threads"
_BATCHING_FLAGS = ("enable_batching", "enable_per_model_batching_parameters")
_PLAIN = {"protocol": "grpc", "form": "saved_model", "batching": None, "environment": {}, "flags": {}}


def complete(values, where="start"):
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
    made = {key: dict(whole[key] or {}) if key in _MERGED else whole[key] for key in KEYS}
    made["flags"].pop(_LITE_FLAG, None)
    if made["form"].startswith("tflite"):
        made["flags"][_LITE_FLAG] = True
    return made


def planned(plan, model, start=None):
    """The configuration that a plan (docs/architecture.md, "Plan") gives a model. start: part of a configuration that changes it, or None."""
    if not (isinstance(plan, dict) and {"models", "server"} <= set(plan)):
        raise FleetError(
            "this is no plan, which has models and server",
            where="plan",
            remedy="Let tfserving.fleet.tfs_capabilities make it.",
        )
    made = next((entry for entry in plan["models"] if entry["name"] == model), None)
    if made is None:
        raise FleetError(
            f"the plan has no model {model!r}", where="plan", remedy="Name it in tfserving_models, and plan again."
        )
    server = plan["server"]
    of_plan = {
        "form": made["form"],
        "batching": made["batching"],
        "environment": server["environment"],
        "flags": {name: value for name, value in server["flags"].items() if name not in server_options.BY_ROLE},
    }
    return changed(complete(of_plan, "plan"), start or {}, "start")


def of_server(plan, names, tunings=()):
    """What a server of these models is served with: {forms: {model: form}, batching: parameters for all or None, per_model: {model: parameters or None}, where
    they differ (else empty), environment, flags}.

    Form and batching of a model are those that its tuning proved, else the plan's. Environment and flags belong to the whole server: they are those of the
    first model that was tuned, else the plan's. tunings: tuning results; of several of a model the last counts.
    """
    found = {model: complete(of_tuning, "tuning") for model, of_tuning in _proved(tunings) if model in names}
    each = {name: found.get(name) or planned(plan, name) for name in names}
    leading = each[next((name for name in names if name in found), names[0])]
    forms, batching = ({name: of[key] for name, of in each.items()} for key in ("form", "batching"))
    flags = {name: value for name, value in without_batching_flags(leading["flags"]).items() if name != _LITE_FLAG}
    threads = [of["flags"][_GRPC_THREADS] for of in each.values() if of["flags"].get(_GRPC_THREADS)]
    if threads:
        flags[_GRPC_THREADS] = max(threads)
    if any(form.startswith("tflite") for form in forms.values()):
        flags[_LITE_FLAG] = True
    differ = any(parameters != batching[names[0]] for parameters in batching.values())
    flags.update(batching_flags(differ))
    return {
        "forms": forms,
        "batching": None if differ else batching[names[0]],
        "per_model": batching if differ else {},
        "environment": leading["environment"],
        "flags": flags,
    }


def batching_flags(per_model):
    """The flags that make a server batch each model by a file of its own; none where per_model is false or empty."""
    return dict.fromkeys(_BATCHING_FLAGS, True) if per_model else {}


def without_batching_flags(flags):
    """The flags without those that follow from the batching parameters."""
    return {name: value for name, value in flags.items() if name not in _BATCHING_FLAGS}


def _proved(tunings):
    """The (model, configuration) pairs of tuning results; those of models that were not tuned are empty. Raises FleetError for what is none."""
    for number, tuning in enumerate(tunings or ()):
        if not tuning:
            continue
        if not isinstance(tuning, dict) or not isinstance(tuning.get("model"), str) or "configuration" not in tuning:
            raise FleetError(
                "needs a model, a text, and a configuration, as the module tuning returns them",
                where=f"tunings[{number}]",
            )
        yield tuning["model"], tuning["configuration"]


def changed(before, change, where="change"):
    """The configuration after a change. Raises FleetError for an unknown key or protocol, and for what is out of form."""
    after = complete(before)
    complete(change, where)
    for key, value in change.items():
        if key in _MERGED:
            merged = {**after[key], **(value or {})}
            after[key] = {name: item for name, item in merged.items() if item is not None}
        else:
            after[key] = value
    return complete(after, where)
