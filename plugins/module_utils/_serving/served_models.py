# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the models of a host's server, their folders and how they are served, from the inventory, the plan and the tunings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import derived_flags, server_options
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import UNKNOWN, ModelConfiguration

_OF_A_SERVER = ("name", "base_path", "samples", "reference", "signature")
_FUNCTION = "function"
_SAID = ("base_path", "samples", "reference", "metric")
# Rows of a request with samples. A server with batching refuses requests that are larger than a batch.
_BATCH = 32


def planned(plan: Mapping[str, Any]) -> ServingConfiguration:
    """Return the ServingConfiguration that a plan (docs/architecture.md, "Plan") gives a host."""
    server = plan["server"]
    made = replace(
        _of_models(plan["models"], plan.get("release")),
        backend=plan.get("backend") or "docker",
        image=plan.get("image"),
        environment=server["environment"],
        cpu_set=server.get("cpu_set"),
        devices=tuple(server.get("devices") or ()),
    )
    flags = {name: value for name, value in server["flags"].items() if name not in server_options.BY_ROLE}
    return replace(made, flags=derived_flags.chosen_flags(replace(made, flags=flags))).normalized()


def flags_of_models(models: Iterable[Mapping[str, Any]], release: str | None) -> dict[str, Any]:
    """Return the flags that follow from the models of a plan."""
    return derived_flags.of(_of_models(models, release))


def _of_models(models: Iterable[Mapping[str, Any]], release: str | None) -> ServingConfiguration:
    return ServingConfiguration(
        release=release,
        models=tuple(
            ModelConfiguration(model["name"], form=model["form"], batching=model["batching"]) for model in models
        ),
    ).per_model_where_needed()


def description(
    configuration: ServingConfiguration, known: Any, directory: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return {models, per_model, checks}.

    models: as model_server takes them. per_model: as batching_parameters takes models; empty if all models share one
    batching. checks: [{name, samples, metric, batch}] of the models with samples.

    known: tfserving_models. directory: of published models. given: {base_path, samples, reference, metric} that the
    user set for the only model; empty values are not set. It also describes the host: has_samples, whether the samples
    that known names exist there; metric_functions, whether the user's own functions evaluate converted variants there.
    """
    said = {key: given[key] for key in _SAID if given.get(key)} if len(configuration.models) == 1 else {}
    keys = (*_OF_A_SERVER, "metric_function") if given.get("metric_functions") else _OF_A_SERVER
    known = (
        known
        if given.get("has_samples", True)
        else [{key: one[key] for key in one if key != "samples"} for one in known]
    )
    whole = [
        {
            **next((one for one in known if one["name"] == model.name), {}),
            "base_path": f"{directory}/{model.name}/{model.form or 'saved_model'}",
            **said,
            "name": model.name,
            "batching": model.batching,
        }
        for model in configuration.models
    ]
    return {
        "models": [{key: one[key] for key in keys if one.get(key) and _is_asked(key, one, said)} for one in whole],
        "per_model": [
            {"name": one["name"], "directory": one["base_path"], "batching": one["batching"]}
            for one in whole
            if configuration.batched_per_model and one["batching"] is not UNKNOWN
        ],
        # A metric function of the user was evaluated at the checks, if anywhere.
        "checks": [
            {
                "name": one["name"],
                "samples": one["samples"],
                "metric": one.get("metric") if one.get("metric") not in (None, _FUNCTION) else "",
                "batch": min(_BATCH, _largest_batch(one["batching"])),
            }
            for one in whole
            if one.get("samples")
        ],
    }


def _largest_batch(batching: Any) -> int:
    parameters = {} if batching is UNKNOWN else batching or {}
    return int(parameters.get("max_batch_size") or _BATCH)


def check_known(known: Any) -> None:
    """Raise FleetError for the first entry of tfserving_models that is not valid."""
    if not isinstance(known, (list, tuple)):
        raise FleetError(f"{known!r} is not a list of mappings, each with name and source", where="tfserving_models")
    for number, one in enumerate(known):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise FleetError(
                f"{one!r} is not a mapping with a name that is a text", where=f"tfserving_models[{number}]"
            )


def _is_asked(key: str, model: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Return whether a check uses a value.

    It does not use samples that the server's checks cannot read (hosts need no NumPy), unless the user set them for it.
    """
    return key != "samples" or key in said or model[key].endswith(".npz")
