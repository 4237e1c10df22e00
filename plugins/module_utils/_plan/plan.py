# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute the plan from what a host can do, the user's request, and the release table, in a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import validation
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import (
    candidates,
    flags,
    gpus,
    image,
    models,
    policies,
    request,
    server,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host


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
    return dict(
        made,
        decisions=draft.decisions,
        warnings=draft.warnings,
        refusals=[server.corrected(refusal, wanted) for refusal in draft.refusals],
    )


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
        "candidates": candidates.found(
            candidates.Served(host, wanted, release, backend, planned, given.devices, cpus, chosen, environment)
        ),
    }
