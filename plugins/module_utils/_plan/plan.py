# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute the plan from what a host can do, the user's request, and the release table, in a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import validation
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import (
    flags,
    gpus,
    image,
    model_batching,
    models,
    policies,
    request,
    server,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions


def plan(
    capabilities: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    microarchitectures: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the host gets, and why: the mapping of docs/architecture.md, "Plan".

    capabilities: Capabilities of _capability/facts.py. asked: the mapping of "Request"; its policies contain `holds`,
    whether their condition applies here. microarchitectures: of _image/microarchitectures.known(), for a request with
    one. Raise FleetError for a malformed request. A request that cannot be satisfied is a refusal in the plan, with its
    remedy.
    """
    draft, host = Draft(), Host(validation.check(capabilities or {}))
    wanted, answers, not_understood, warnings = request.complete(
        policies.choose(draft, request.with_texts_as_keys(asked))
    )
    wanted["microarchitectures"] = microarchitectures
    for answer in answers:
        draft.decide(f"option {answer['given']}", answer["today"], answer["reason"])
    for text in warnings:
        draft.warn(text)
    for refusal in not_understood:
        draft.refuse(**refusal)
    made = {
        "host_class": host.tuning_class,
        "release": None,
        "backend": None,
        "image": None,
        "build": None,
        "models": [],
        "server": {
            "flags": {},
            "environment": {},
            "cpu_set": None,
            "devices": [],
            "per_gpu": [],
            "start_timeout_s": None,
        },
        "candidates": [],
    }
    if wanted["models"]:
        made.update(_serve(draft, host, wanted))
    else:
        draft.decide("models", "none", "tfserving_models is empty: nothing to serve on this host")
    return dict(made, decisions=draft.decisions, warnings=draft.warnings, refusals=draft.refusals)


def _serve(draft: Draft, host: Host, wanted: dict[str, Any]) -> dict[str, Any]:
    release = server.choose_release(draft, wanted)
    backend = server.choose_backend(draft, host, wanted, release) if release else None
    if backend is None:
        return {"release": release}
    given = gpus.choose(draft, host, wanted, release, backend)
    if given is None:
        return {"release": release, "backend": backend}
    name, recipe = (
        image.choose_image(draft, host, wanted, release, bool(given)) if backend == "docker" else (None, None)
    )
    if backend == "docker" and name is None:
        return {"release": release, "backend": backend}
    cpu_set, cpus = flags.choose_cpus(draft, host, wanted)
    planned = models.choose_models(draft, host, wanted, release, given.devices, cpus)
    environment = flags.choose_environment(
        draft, host, wanted, release, gpus.environment(draft, wanted, given) if given else {}
    )
    gpus.say_memory(draft, wanted, planned, given)
    one_each = gpus.one_each(draft, host, wanted, given)
    wanted = dict(wanted, flags=flags.without_own_options(draft, wanted["flags"], backend))
    chosen = flags.choose_flags(draft, host, wanted, release, planned, cpus, environment)
    return {
        "release": release,
        "backend": backend,
        "image": name,
        "build": recipe,
        "models": planned,
        "server": {
            "flags": chosen,
            "environment": environment,
            "cpu_set": cpu_set,
            "devices": one_each[0]["devices"] if one_each else given.as_planned,
            "per_gpu": one_each,
            "start_timeout_s": given.start_timeout_s,
            **server.of_start_lines(draft, wanted["serve"], backend),
        },
        "candidates": _candidates(host, wanted, release, planned, given.devices, cpus, chosen, environment),
    }


def _candidates(
    host: Host,
    wanted: dict[str, Any],
    release: str,
    planned: Any,
    devices: Any,
    cpus: int,
    chosen: Any,
    environment: dict[str, str],
) -> list[dict[str, Any]]:
    """What the tuning may try, in the order in which it is worth trying: [{name, model, change, reason}]; model is null for what concerns the whole server."""
    found = [
        _candidate(
            "REST to gRPC",
            {"protocol": "grpc"},
            "JSON is slow for lists of numbers; how slow depends on the size of the tensors",
        )
    ]
    for model, made in zip(wanted["models"], planned):
        parameters = model_batching.start_values(host, wanted["goal"], bool(devices), model, cpus)
        if (
            made["batching"] is None
            and model["batching"] != "none"
            and model_batching.problem(parameters, model, release) is None
        ):
            found.append(
                _candidate(
                    "batching",
                    _with_threads(parameters, cpus, chosen),
                    "more throughput with several clients at once; a single client waits longer",
                    model,
                    planned,
                )
            )
    for model, made in zip(wanted["models"], planned):
        if made["form"] == "saved_model" and models.may_try_lite(model, release, devices):
            found.append(
                _candidate(
                    "TensorFlow Lite",
                    {"form": "tflite_dynamic_range"},
                    "8-bit weights are often faster on CPUs; kept only if the accuracy is still good enough",
                    model,
                    planned,
                )
            )
    if (
        questions.cell("onednn_available", release)
        and "TF_ENABLE_ONEDNN_OPTS" not in wanted["environment"]
        and host.architecture == "x86_64"
        and not devices
    ):
        on = flags.onednn_is_on(host, release, environment)
        found.append(
            _candidate(
                f"oneDNN {'off' if on else 'on'}",
                {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0" if on else "1"}},
                "slower or up to several times faster, depending on the model and the CPU",
            )
        )
    threads = {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": cpus}
    if not any(name in wanted["flags"] for name in threads) and any(
        chosen.get(name) != value for name, value in threads.items()
    ):
        found.append(
            _candidate(
                "threads",
                {"flags": threads},
                "one thread for each operation, and as many operations at once as CPUs, suits a busy server",
            )
        )
    return found


def _with_threads(parameters: dict[str, Any], cpus: int, chosen: Any) -> dict[str, Any]:
    """The change to batching, and the gRPC threads that it needs beyond the planned ones."""
    needed = flags.grpc_threads([parameters], cpus)
    enough = needed <= chosen.get("grpc_max_threads", needed)
    return {"batching": parameters} if enough else {"batching": parameters, "flags": {"grpc_max_threads": needed}}


def _candidate(
    name: str, change: Mapping[str, Any], reason: str, model: dict[str, Any] | None = None, planned: Any = ()
) -> dict[str, Any]:
    return {
        "name": f"{name} ({model['name']})" if len(planned) > 1 and model else name,
        "model": model["name"] if model else None,
        "change": change,
        "reason": reason,
    }
