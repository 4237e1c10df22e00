# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models a host's server has, where they lie, and how they are served: of the inventory, the plan and what tunings proved."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import configuration

_OF_A_SERVER = ("name", "base_path", "samples", "reference", "signature")
_FUNCTION = "function"
_SAID = ("base_path", "samples", "reference", "metric")
# Rows of a request with samples: a server that batches refuses more than a batch.
_BATCH = 32
_PLAIN = {"forms": {}, "batching": None, "per_model": {}, "environment": {}, "flags": {}}


def description(plan, known, model, tunings, directory, given):
    """{name, models, batching, per_model, environment, flags, forms, checks}.

    models: as model_server takes them. per_model: as batching_parameters takes models; empty where one batching holds for all. checks: [{name, samples,
    metric, batch}] of the models that have samples.
    plan: the host's, empty without one or where it refuses. known: tfserving_models. model: the one to serve, empty for all of known. directory: where models
    are published. given: {base_path, samples, reference, metric} that the user said for the only model; empty values are not said. And of the host:
    has_samples, whether it holds the samples that known names; metric_functions, whether functions of the user's own judge converted forms there, too.
    """
    _check_known(known)
    names = [model] if model else [one["name"] for one in known]
    found = configuration.of_server(plan, names, tunings) if plan and names else _PLAIN
    said = {key: given[key] for key in _SAID if given.get(key)} if len(names) == 1 else {}
    keys = (*_OF_A_SERVER, "metric_function") if given.get("metric_functions") else _OF_A_SERVER
    known = (
        known
        if given.get("has_samples", True)
        else [{key: one[key] for key in one if key != "samples"} for one in known]
    )
    whole = [
        _whole(name, next((one for one in known if one["name"] == name), {}), found, directory, said) for name in names
    ]
    return dict(
        found,
        name=names[0] if names else "",
        models=[{key: one[key] for key in keys if one.get(key) and _is_asked(key, one, said)} for one in whole],
        per_model=[
            {"name": one["name"], "directory": one["base_path"], "batching": one["batching"]}
            for one in whole
            if found["per_model"]
        ],
        # A function of the user's own has judged at the gates, if anywhere.
        checks=[
            {
                "name": one["name"],
                "samples": one["samples"],
                "metric": one.get("metric") if one.get("metric") not in (None, _FUNCTION) else "",
                "batch": min(_BATCH, (one["batching"] or {}).get("max_batch_size") or _BATCH),
            }
            for one in whole
            if one.get("samples")
        ],
    )


def _check_known(known):
    """Raise FleetError for the first of tfserving_models that is none."""
    if not isinstance(known, (list, tuple)):
        raise FleetError(f"{known!r} is not a list of mappings, each with name and source", where="tfserving_models")
    for number, one in enumerate(known):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise FleetError(f"{one!r} is no mapping with a name, which is a text", where=f"tfserving_models[{number}]")


def _whole(name, known, found, directory, said):
    """A model with all that is known of it."""
    batching = found["per_model"].get(name) if found["per_model"] else found["batching"]
    return {
        **known,
        "base_path": f"{directory}/{name}/{found['forms'].get(name, 'saved_model')}",
        **said,
        "name": name,
        "batching": batching,
    }


def _is_asked(key, model, said):
    """False for samples that a server's gates cannot read, as a host needs no NumPy; those that the user named for them are."""
    return key != "samples" or key in said or model[key].endswith(".npz")
