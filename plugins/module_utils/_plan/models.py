# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the variant of each model, and its batching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._model import tflite
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import host_view as hosts
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import model_batching
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature as signatures
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import INTERNAL
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions


def choose_models(
    draft: Draft, host: Host, wanted: dict[str, Any], release: str, gpus: Any, cpus: int
) -> list[dict[str, Any]]:
    """Return [{name, form, batching}] in the order of the request.

    gpus: the capabilities of the GPUs that the server gets. cpus: the whole CPUs.
    """
    for model in wanted["models"]:
        _judge_signatures(draft, wanted, model, release)
    planned = [
        {
            "name": model["name"],
            "form": _form(draft, model, release, gpus),
            "batching": _batching(draft, host, wanted, model, release, gpus, cpus),
        }
        for model in wanted["models"]
    ]
    return _one_batching_for_all(draft, planned, release)


def _judge_signatures(draft: Draft, wanted: dict[str, Any], model: dict[str, Any], release: str) -> None:
    """Refuse a model whose signatures show that no request can succeed; warn if some requests fail."""
    known = {name: one for name, one in (model["signatures"] or {}).items() if model["signature"] in (None, name)}
    for name, broken in ((name, signatures.unset(one)) for name, one in sorted(known.items())):
        if broken:
            draft.refuse(
                f"model {model['name']}: source",
                f"signature {name}: {broken[: -len(signatures.UNSET_REMEDY)].rstrip(' .')}",
                f"{signatures.UNSET_REMEDY[:-1]}, and read its signatures again (tfserving.fleet.saved_model_info)",
                {"models": {model["name"]: {"signatures": None}}},
            )
    has_flag = signatures.XLA_FLAG in questions.flags(release)
    if any(wanted["flags"].get(flag) for flag in (signatures.XLA_FLAG, "xla_gpu_compilation_enabled")):
        known = {name: {key: value for key, value in one.items() if key != "needs_xla"} for name, one in known.items()}
    remedy = (
        signatures.XLA_REMEDY
        if has_flag
        else f"Export it without jit_compile: {release} has no flag that switches XLA on."
    )
    for problem in signatures.problems(None if model["signatures"] is None else known, remedy):
        draft.warn(f"{model['name']}: {problem}")


def lite_problem(model: dict[str, Any], release: str) -> str | None:
    """Return why TensorFlow Lite cannot serve this model, or None. An unknown signature is accepted: conversion and parity decide."""
    if questions.tflite_flag(release) is None:
        return f"{release} has no flag for TensorFlow Lite"
    named = {
        name: signature
        for name, signature in sorted((model["signatures"] or {}).items())
        if name not in INTERNAL and model["signature"] in (None, name)
    }
    problems = [(name, tflite.refusal(signature)) for name, signature in named.items()]
    return next((f"signature {name}: {problem}" for name, problem in problems if problem), None)


def _form(draft: Draft, model: dict[str, Any], release: str, gpus: Any) -> str:
    subject = f"model {model['name']}: variant"
    if model["optimize"].startswith("tflite_"):
        problem = lite_problem(model, release)
        if problem:
            _refuse(draft, subject, model, problem, "Serve the SavedModel: optimize: none")
        else:
            draft.warn(
                f"{model['name']}: TensorFlow Lite runs on the CPU with one thread for each interpreter, and is experimental upstream; "
                "over gRPC, an input of another dtype returns wrong numbers, "
                "and a string instead of a number, or a request with 0 rows, can crash the server"
            )
            return draft.decide(
                subject,
                str(model["optimize"]),
                "requested; published only if its outputs agree with those of the source model",
            )
    if model["optimize"] == "tensorrt":
        support = questions.tensorrt_support(release, hosts.compute_capability(gpus[0]) if gpus else None)
        if support["supported"]:
            return draft.decide(
                subject, "tensorrt", f"{support['reason']}; engines are built on this GPU model and run on no other"
            )
        change = {"version": support["releases"][-1]} if support["releases"] else None
        _refuse(
            draft,
            subject,
            model,
            support["reason"] if gpus else "TF-TRT needs a GPU, but this server has none",
            str(support["remedy"]),
            change,
        )
    reason = (
        "not converted; TensorFlow Lite is a candidate for tuning"
        if may_try_lite(model, release, gpus)
        else "not converted"
    )
    return draft.decide(subject, "saved_model", reason)


def may_try_lite(model: dict[str, Any], release: str, gpus: Any) -> bool:
    """Return whether TensorFlow Lite is a candidate: the user left it open, the server uses the CPU, and it is not known to fail."""
    return model["optimize"] == "auto" and not gpus and lite_problem(model, release) is None


def _refuse(
    draft: Draft,
    subject: str,
    model: dict[str, Any],
    reason: str,
    remedy: str,
    change: Mapping[str, Any] | None = None,
) -> None:
    draft.refuse(
        subject,
        reason,
        remedy if "optimize" in remedy else f"{remedy} (optimize: none)",
        change or {"models": {model["name"]: {"optimize": "none"}}},
    )


def _batching(
    draft: Draft, host: Host, wanted: dict[str, Any], model: dict[str, Any], release: str, gpus: Any, cpus: int
) -> dict[str, Any] | None:
    subject = f"model {model['name']}: batching"
    asked = model["batching"]
    if asked in (None, "none"):
        draft.decide(
            subject,
            "off",
            "requested"
            if asked
            else "batching helps some models, but makes each request of a single client wait for the batch timeout; tuning measures whether it helps",
        )
        return None
    parameters = (
        model_batching.start_values(host, wanted["goal"], bool(gpus), model, cpus) if asked == "auto" else asked
    )
    problem = model_batching.problem(parameters, model, release)
    if problem:
        of_a_parameter = problem.where in (None, "parameter", *model_batching.NAMES)
        remedy = f"{(problem.remedy or f'Correct {problem.where}').rstrip('.')}, or serve the model without batching (batching: none)"
        draft.refuse(
            subject,
            f"{problem.where}: {problem.what}" if of_a_parameter and problem.where else str(problem),
            remedy if of_a_parameter else "Serve it without batching (batching: none)",
            {"models": {model["name"]: {"batching": "none"}}},
        )
        return None
    for text in model_batching.warnings(parameters, model, cpus, wanted["objective_p99_ms"], host.has_quota):
        draft.warn(f"{model['name']}: {text}")
    draft.decide(
        subject,
        "on",
        f"start values for {wanted['goal']} on the {'GPU' if gpus else 'CPU'}"
        if asked == "auto"
        else "set by the user",
    )
    return parameters


def _one_batching_for_all(draft: Draft, planned: list[dict[str, Any]], release: str) -> list[dict[str, Any]]:
    """Refuse different batching of models if the release has no per-model files."""
    distinct = {repr(sorted((model["batching"] or {}).items())) for model in planned}
    if len(distinct) > 1 and "enable_per_model_batching_parameters" not in questions.flags(release):
        first = questions.first_release_with_flag("enable_per_model_batching_parameters")
        draft.refuse(
            "batching",
            f"the models have different batching, but {release} has only one batching file for all models (files for each model came with {first})",
            f"Use release {first} or later (tfserving_version: {questions.releases()[-1]}), or set the same batching for all",
            {"version": questions.releases()[-1]},
        )
        return [dict(model, batching=None) for model in planned]
    return planned
