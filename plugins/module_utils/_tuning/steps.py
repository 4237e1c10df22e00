# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tuning as pure decisions: configurations, changes to them, and whether a measured change is kept.

A configuration is a mapping {protocol: grpc|rest, form: saved_model|tflite_dynamic_range, batching: parameters or None,
environment: {name: text}, flags: {name: value}}; the flag that makes a server look for a TensorFlow Lite file follows from the form.
A change is a mapping over the same keys; environment and flags are merged into what is there (None takes a name away), the others
are replaced.
"""

from __future__ import annotations

import hashlib
import json

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import specification
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics

KEYS = ("protocol", "form", "batching", "environment", "flags")
CANDIDATE_KEYS = ("name", "change", "reason", "model")
PROTOCOLS = ("grpc", "rest")
_MERGED = ("environment", "flags")
_LITE_FLAG, _GRPC_THREADS = "prefer_tflite_model", "grpc_max_threads"
_BATCHING_FLAGS = ("enable_batching", "enable_per_model_batching_parameters")
_PLAIN = {"protocol": "grpc", "form": "saved_model", "batching": None, "environment": {}, "flags": {}}


def configuration(values, where="start"):
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
    complete = {key: dict(whole[key] or {}) if key in _MERGED else whole[key] for key in KEYS}
    complete["flags"].pop(_LITE_FLAG, None)
    if complete["form"].startswith("tflite"):
        complete["flags"][_LITE_FLAG] = True
    return complete


def planned(plan, model, start=None):
    """The configuration that a plan (docs/architecture.md, "Plan") gives a model. start: part of a configuration that changes it, or None."""
    if not (isinstance(plan, dict) and {"models", "server"} <= set(plan)):
        raise FleetError("this is no plan, which has models and server", where="plan", remedy="Let tfserving.fleet.tfs_capabilities make it.")
    made = next((entry for entry in plan["models"] if entry["name"] == model), None)
    if made is None:
        raise FleetError(f"the plan has no model {model!r}", where="plan", remedy="Name it in tfserving_models, and plan again.")
    server = plan["server"]
    of_plan = {"form": made["form"], "batching": made["batching"], "environment": server["environment"], "flags": {
        name: value for name, value in server["flags"].items() if name not in specification.BY_ROLE}}
    return changed(configuration(of_plan, "plan"), start or {}, "start")


def of_server(plan, names, tunings=()):
    """What a server of these models is served with: {forms: {model: form}, batching: parameters for all or None, per_model: {model: parameters or None}, where
    they differ (else empty), environment, flags}.

    Form and batching of a model are those that its tuning proved, else the plan's. Environment and flags belong to the whole server: they are those of the
    first model that was tuned, else the plan's. tunings: tuning results; of several of a model the last counts.
    """
    found = {model: configuration(of_tuning, "tuning") for model, of_tuning in _proved(tunings) if model in names}
    each = {name: found.get(name) or planned(plan, name) for name in names}
    leading = each[next((name for name in names if name in found), names[0])]
    forms, batching = ({name: of[key] for name, of in each.items()} for key in ("form", "batching"))
    flags = {name: value for name, value in leading["flags"].items() if name not in (_LITE_FLAG, *_BATCHING_FLAGS)}
    threads = [of["flags"][_GRPC_THREADS] for of in each.values() if of["flags"].get(_GRPC_THREADS)]
    if threads:
        flags[_GRPC_THREADS] = max(threads)
    if any(form.startswith("tflite") for form in forms.values()):
        flags[_LITE_FLAG] = True
    differ = any(parameters != batching[names[0]] for parameters in batching.values())
    if differ:
        flags.update(dict.fromkeys(_BATCHING_FLAGS, True))
    return {"forms": forms, "batching": None if differ else batching[names[0]], "per_model": batching if differ else {},
            "environment": leading["environment"], "flags": flags}


def _proved(tunings):
    """The (model, configuration) pairs of tuning results; those of models that were not tuned are empty. Raises FleetError for what is none."""
    for number, tuning in enumerate(tunings or ()):
        if not tuning:
            continue
        if not isinstance(tuning, dict) or not isinstance(tuning.get("model"), str) or "configuration" not in tuning:
            raise FleetError("needs a model, a text, and a configuration, as the module tuning returns them", where=f"tunings[{number}]")
        yield tuning["model"], tuning["configuration"]


def changed(before, change, where="change"):
    """The configuration after a change. Raises FleetError for an unknown key or protocol, and for what is out of form."""
    after = configuration(before)
    configuration(change, where)
    for key, value in change.items():
        if key in _MERGED:
            merged = {**after[key], **(value or {})}
            after[key] = {name: item for name, item in merged.items() if item is not None}
        else:
            after[key] = value
    return configuration(after, where)


def candidates(given, model, start):
    """The candidates for a model, each {name, change, reason, model}; reason and model may be None. Raises FleetError for the first one that is out of form."""
    found = []
    for number, candidate in enumerate(given):
        where = f"candidates[{number}]"
        for key in candidate:
            one_of(where, key, CANDIDATE_KEYS)
        if not isinstance(candidate.get("name"), str) or not isinstance(candidate.get("change"), dict):
            raise FleetError("needs a name, a text, and a change, a mapping such as {protocol: grpc}", where=where)
        changed(start, candidate["change"], f"{where} ({candidate['name']})")
        found.append({key: candidate.get(key) for key in CANDIDATE_KEYS})
    return [candidate for candidate in found if candidate["model"] in (None, model)]


def server_key(of):
    """Names the server that a configuration needs: two configurations that differ only in protocol share one."""
    needs = {key: of[key] for key in KEYS if key != "protocol"}
    return hashlib.sha256(json.dumps(needs, sort_keys=True).encode()).hexdigest()[:8]


def cpu_sets(usable):
    """Divide the usable CPU numbers (a sequence of int) between server and generator: (server, generator, note).

    Each gets CPUs of its own where there are two or more: the generator the first quarter (at least one), the server the rest.
    With one CPU both are None (shared) and the note says so.
    """
    usable = sorted(usable)
    if len(usable) < 2:
        return None, None, "Server and generator shared the only CPU, so the figures are lower than the server's own."
    share = max(1, len(usable) // 4)
    return usable[share:], usable[:share], None


def judge(comparison, accuracy, allowed_loss, latency, objective_p99_ms, metric="accuracy", goal=None):
    """(kept, reason) of a candidate. Accuracy first, then the latency objective, then the gain against the noise.

    comparison: _tuning.comparison.Comparison, or None where nothing could be measured. accuracy: {before, after}, of the metric, or None.
    goal: "higher" or "lower", where the metric's name does not say which is better. latency: {before, after}: p99 in ms or None. A candidate that misses
    the objective passes only where the baseline misses it by as much or more.
    """
    before, after = accuracy["before"], accuracy["after"]
    if before is not None and after is not None and task_metrics.loss(metric, before, after, goal) > allowed_loss:
        return False, f"{metric} {'fell' if after < before else 'rose'} from {before:.4f} to {after:.4f}, more than the allowed {allowed_loss:g}"
    if comparison is None:
        return False, "no round was free of void windows, so nothing was measured"
    was, now = latency["before"], latency["after"]
    if objective_p99_ms is not None and now is not None and now > objective_p99_ms and (was is None or now > was):
        return False, f"p99 of {now:.1f} ms misses the objective of {objective_p99_ms:g} ms"
    return comparison.verdict == "gain", comparison.reason


def step(name, change, kept, reason, comparison, measured, accuracy, **more):
    """One entry of the report's steps, with the keys of docs/architecture.md. measured: merged figures of the candidate's windows, or None."""
    figures = measured or {"goodput_rps": None, "p50_ms": None, "p99_ms": None, "requests": 0}
    return dict(
        {key: figures[key] for key in ("goodput_rps", "p50_ms", "p99_ms", "requests")},
        name=name, change=change, kept=kept, reason=reason, accuracy=accuracy,
        gain=comparison.gain if comparison else None,
        gain_interval=list(comparison.interval) if comparison else None,
        noise_floor=comparison.noise_floor if comparison else None, **more)
