# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how a host serves, from the plan for its inventory, the variables of the role tfs_server, and tunings, in one pure function.

The playbook `plan` and the roles call the same function. Therefore a plan predicts what a deployment does, and no role
depends on another play.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import (
    changes,
    flags,
    plan,
    policies,
    request,
    server,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    model_names,
    served_models,
    server_options,
    trial_configuration,
    tunings,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING,
    PER_MODEL_BATCHING,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import (
    UNKNOWN,
    ModelConfiguration,
    variant_of,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.tunings import Tuning
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL

# Variables of tfs_server, without their prefix, whose defaults come from the plan.
PLANNED = (
    "backend",
    "batching",
    "batching_per_model",
    "copies",
    "cpu_set",
    "devices",
    "environment",
    "flags",
    "image",
    "models",
    "ready_timeout_s",
    "release",
)
# Further variables of tfs_server that affect the result.
READ = (
    "engine_socket",
    "metric",
    "metric_functions",
    "model_base_path",
    "model_name",
    "name",
    "pull",
    "reference",
    "samples",
    "ssl_config_file",
)
READY_TIMEOUT_S = 120
_RETRIES = "max_num_load_retries"
# Keys of the request, apart from the models, that need a plan, and their values if the user sets nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "build": (False,),
    "cpus": (),
    "environment": ({},),
    "flags": ({},),
    "gpu": ("auto", "none"),
    "gpu_servers": ("one",),
    "options": ([], ()),
    "policies": ([], ()),
}
_MAPPINGS, _LISTS, _NAMED = (
    ("batching", "environment", "flags"),
    ("batching_per_model", "copies", "devices", "models"),
    ("batching_per_model", "models"),
)
_REQUESTED = {"backend": "backend", "image": "image", "release": "version", "engine_socket": "engine_socket"}


@dataclass(frozen=True)
class HostRequest:
    """The user's request for one host.

    request: the mapping of docs/architecture.md, "Request"; its policies contain `holds`. role: the variables of
    tfs_server that the user set, without their prefix. tunings: results of the module tuning. records: stored tunings
    of the host's class. stale_tunings: keep, ignore or fail if they were measured with another release, image or
    backend. directory: of published models. has_samples: whether the samples of tfserving_models are on the host.
    structures: {model: structure of its SavedModel on the host, as saved_model_info returns it}, as far as known.
    converts: whether the host converts its models itself. serves: False if the server is stopped, removed or rolled
    back.
    """

    request: Mapping[str, Any]
    role: Mapping[str, Any]
    tunings: Sequence[Mapping[str, Any]] = ()
    records: Sequence[Tuning] = ()
    stale_tunings: str = "keep"
    structures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    directory: str = "/srv/tfserving/models"
    has_samples: bool = True
    converts: bool = True
    serves: bool = True


def needs_plan(desired: HostRequest) -> bool:
    """Return whether the inventory sets something that depends on the host. If not, neither a plan nor capabilities are needed."""
    given = desired.request
    asks = bool(given.get("models")) or any(
        given.get(key) is not None and given[key] not in nothing for key, nothing in _NOTHING.items()
    )
    return asks and desired.serves and not set(PLANNED) <= set(desired.role)


def resolve(
    capabilities: Mapping[str, Any] | None, desired: HostRequest, microarchitectures: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return {plan, server}: the host's plan (None without capabilities), and what tfs_server passes to model_server.

    server: {name, backend, image, release, models, flags, environment, cpu_set, devices, copies, batching, per_model,
    ready_timeout_s, checks, refusals}. Raise FleetError for a malformed request. A request that cannot be satisfied is
    a refusal.
    """
    _check(desired)
    asked = _with_role(request.with_texts_as_keys(dict(desired.request)), desired.role)
    if not desired.serves:
        found = _server(None, asked, desired)[1]
        name = desired.role.get("name") or _name_in_start_lines(asked) or found["name"]
        return {"plan": None, "server": dict(found, name=name, backend=asked.get("backend") or "auto")}
    planned = needs_plan(desired)
    made = (
        plan.plan(capabilities, asked if planned else dict(desired.request, models=[]), microarchitectures)
        if planned or capabilities
        else None
    )
    if made and made["refusals"]:
        return {
            "plan": made,
            "server": dict(
                _server(None, asked, desired)[1], refusals=[spoken(refusal) for refusal in made["refusals"]]
            ),
        }
    draft = Draft()
    records = _records(draft, made, asked, desired) if made and planned else {}
    configuration, found = _server(made if planned else None, asked, desired, records)
    _refuse_flags(draft, desired.role, configuration)
    _refuse_name(draft, ((made or {}).get("serve") or {}).get("name") or found["name"])
    whole = _whole(made, configuration, found, desired, draft) if made else None
    return {
        "plan": whole,
        "server": dict(found, refusals=[spoken(refusal) for refusal in draft.refusals], warnings=list(draft.warnings)),
    }


def _check(desired: HostRequest) -> None:
    """Raise FleetError for the first invalid variable of tfs_server, or tuning."""
    for name, value in desired.role.items():
        where = f"tfs_server_{name}"
        if name in _MAPPINGS and not (isinstance(value, dict) or (name == "batching" and value is None)):
            raise FleetError(f"{value!r} is not a mapping", where=where)
        if name in _LISTS and not (isinstance(value, (list, tuple)) and all(isinstance(one, dict) for one in value)):
            raise FleetError(f"{value!r} is not a list of mappings", where=where)
        for number, one in enumerate(value if name in _NAMED else ()):
            model_names.check(one.get("name"), f"{where}[{number}].name")
        if name not in (*_MAPPINGS, *_LISTS) and isinstance(value, (dict, list, tuple)):
            raise FleetError(f"{value!r} is not a single value", where=where)
    if not isinstance(desired.tunings, (list, tuple)) or not all(isinstance(one, dict) for one in desired.tunings):
        raise FleetError(
            f"{desired.tunings!r} is not a list of results of the module tuning", where="tfs_server_tunings"
        )


def _with_role(given: dict[str, Any], role: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with the variables of tfs_server that override it."""
    known = given.get("models") or []
    names = (
        [role["model_name"]]
        if role.get("model_name")
        else [
            one["name"]
            for one in role.get("models") or ()
            if isinstance(one, dict) and isinstance(one.get("name"), str)
        ]
    )
    if names and isinstance(known, (list, tuple)):
        given["models"] = [
            next((one for one in known if isinstance(one, dict) and one.get("name") == name), {"name": name})
            for name in names
        ]
    given.update({key: role[name] for name, key in _REQUESTED.items() if role.get(name)})
    return given


def _server(
    made: Mapping[str, Any] | None,
    asked: Mapping[str, Any],
    desired: HostRequest,
    records: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[ServingConfiguration, dict[str, Any]]:
    """Return the host's configuration, and what tfs_server passes to model_server.

    made: the plan, or None without one. records: the changes of stored tunings, by model.
    """
    role = desired.role
    served_models.check_known(asked.get("models") or [])
    if made:
        found = served_models.planned(made)
        for model, change in (records or {}).items():
            found = found.tuned(model, change)
        found = trial_configuration.with_results(found, desired.tunings)
    else:
        models = tuple(ModelConfiguration(one["name"], form=SAVED_MODEL) for one in asked.get("models") or [])
        found = ServingConfiguration(models=models)
    found = replace(
        _batched(found, role),
        backend=(made or {}).get("backend") or _backend(asked),
        image=(made or {}).get("image") or asked.get("image"),
        release=(made or {}).get("release") or asked.get("version"),
        **{key: role[key] for key in ("flags", "environment", "cpu_set") if key in role},
    )
    metric_functions = role.get("metric_functions")
    described = served_models.description(
        found,
        asked.get("models") or [],
        desired.directory,
        {
            **{key: role.get(key) for key in ("samples", "reference", "metric")},
            "base_path": role.get("model_base_path"),
            "has_samples": desired.has_samples,
            "metric_functions": found.backend == "embedded" and desired.converts
            if metric_functions is None
            else metric_functions,
        },
    )
    per_model = (_own_batching(role) or described["per_model"]) if found.batched_per_model else []
    own = {one["name"]: one.get("batching") for one in per_model}
    of_plan = (made or {}).get("server") or {}
    return found, {
        "name": role.get("name") or (found.models[0].name if found.models else ""),
        **{key: getattr(found, key) for key in ("backend", "image", "release", "environment", "cpu_set")},
        "flags": {**_flags_without_parameters(found), **found.flags},
        "models": [
            {**one, "batching": own[one["name"]]} if own.get(one["name"]) else one
            for one in role.get("models") or described["models"]
        ],
        "devices": role.get("devices", of_plan.get("devices") or []),
        "copies": role.get("copies", of_plan.get("per_gpu") or []),
        "batching": None if found.batched_per_model or not found.models else found.models[0].batching,
        "per_model": per_model,
        "ready_timeout_s": role.get("ready_timeout_s") or of_plan.get("start_timeout_s") or READY_TIMEOUT_S,
        "checks": described["checks"],
        "refusals": [],
        "warnings": [],
    }


def _flags_without_parameters(found: ServingConfiguration) -> dict[str, Any]:
    """Return flags that turn on batching without parameters in the inventory: the server uses its defaults, or files that the user put into the versions."""
    batching = [model.batching for model in found.models]
    if found.batched_per_model and UNKNOWN in batching:
        return {BATCHING: True, PER_MODEL_BATCHING: True}
    return {BATCHING: True} if {} in batching else {}


def _name_in_start_lines(asked: Mapping[str, Any]) -> str | None:
    """Return the name of the server's container in a start line. Other problems of the request do not matter for a server that is stopped or rolled back."""
    try:
        name: str | None = request.complete(asked)[0].get("serve", {}).get("name")
    except FleetError:
        return None
    return name


def _batched(found: ServingConfiguration, role: Mapping[str, Any]) -> ServingConfiguration:
    """Return the configuration with the batching of the variables of tfs_server."""
    if _own_batching(role):
        own = {one["name"]: one.get("batching") for one in _own_batching(role)}
        models = tuple(replace(model, batching=own.get(model.name)) for model in found.models)
        return replace(found, models=models, batched_per_model=True)
    if "batching" in role or "batching_per_model" in role and found.batched_per_model:
        batching = role.get("batching") or None
        models = tuple(replace(model, batching=batching) for model in found.models)
        return replace(found, models=models, batched_per_model=False)
    return found


def _own_batching(role: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the batching of each model in the variables of tfs_server, as batching_parameters takes models."""
    return list(role.get("batching_per_model") or ()) or [
        {"name": one["name"], "directory": one.get("base_path"), "batching": one["batching"]}
        for one in role.get("models") or ()
        if one.get("batching")
    ]


def _backend(asked: Mapping[str, Any]) -> str:
    """Return the backend without a plan: the embedded server only if it is named, or if nothing names TensorFlow Serving."""
    named = asked.get("backend") or "auto"
    if named != "auto":
        return str(named)
    return "docker" if any(asked.get(key) for key in server.OF_TENSORFLOW_SERVING) else "embedded"


def _records(
    draft: Draft, made: Mapping[str, Any], asked: Mapping[str, Any], desired: HostRequest
) -> dict[str, dict[str, Any]]:
    """Return {model: the change of its stored tuning}."""
    models = {model["name"]: model for model in asked["models"]}
    batched = request.complete(policies.choose(Draft(), asked))[0]["batched"]  # also by a start line or a policy
    settings = {**asked, "flags": {**(asked.get("flags") or {}), "enable_batching": batched}}
    found = {}
    for record in (record for record in desired.records if record.model in models):
        now = tunings.stale(record, made, desired.structures.get(record.model))
        subject = f"model {record.model}: tuning"
        if now and desired.stale_tunings == "fail":
            draft.refuse(
                subject,
                f"the tuning does not match the plan: {', '.join(now)}",
                "Tune again: ansible-playbook tfserving.fleet.tune, or set tfserving_stale_tunings: keep",
                {},
            )
            continue
        if now:
            draft.warn(
                f"{subject} does not match the plan ({', '.join(now)}) and is {'kept' if desired.stale_tunings == 'keep' else 'ignored'}; "
                "measure again with: ansible-playbook tfserving.fleet.tune"
            )
            if desired.stale_tunings == "ignore":
                continue
        accepted = tunings.legal(record.change, made["release"])
        lost = sorted({*(record.change.get("flags") or {})} - {*(accepted.get("flags") or {})})
        if lost:
            draft.warn(f"{subject} sets {', '.join(lost)}, which {made['release']} does not accept: not applied")
        found[record.model] = tunings.without_settings(accepted, settings, models[record.model])
        draft.decide(
            subject,
            changes.shown(found[record.model]) if found[record.model] else "as planned",
            tunings.evidence(record),
        )
    for key, names in tunings.conflicts(found).items():
        if key not in desired.role:
            name, wanted = next(iter(names.items()))
            spelt = ", ".join(f"{model}: {changes.shown(value)}" for model, value in sorted(wanted.items()))
            draft.refuse(
                "tunings",
                f"the models share one server, but their tunings set {name} in {key} to different values ({spelt})",
                f"Set the value in tfserving_{key}, or serve the models with two servers (tfs_server_model_name)",
                {},
            )
    return found


def _refuse_name(draft: Draft, name: str) -> None:
    """Refuse a name that model_server refuses, such as that of a model with other letters than those of a server."""
    try:
        server_options.check_name(name or "unnamed")
    except FleetError as fault:
        draft.refuse("name of the server", fault.what, "Set tfs_server_name", {})


def _refuse_flags(draft: Draft, role: Mapping[str, Any], found: ServingConfiguration) -> None:
    """Refuse flags in tfs_server_flags that model_server refuses."""
    given, backend, release = role.get("flags"), found.backend, found.release
    if not (isinstance(given, dict) and release in questions.releases()):
        return
    own = server_options.DOCKER_OWN_FLAGS if backend == "docker" else server_options.EMBEDDED_OWN_FLAGS
    for name in sorted(set(given) & set(own)):
        draft.refuse(
            f"flag {name}",
            "an option of the server sets this flag",
            f"Leave it out of tfs_server_flags and set tfs_server_{own[name]}",
            {},
        )
    if found.is_batched and given.get(BATCHING) is False:
        draft.refuse(
            f"flag {BATCHING}",
            "it contradicts the batching parameters of the models",
            "Leave it out of tfs_server_flags, or set batching: none for the models",
            {},
        )
    left = {name: value for name, value in given.items() if name not in own}
    if backend == "embedded":
        left = flags.without_own_options(draft, left, backend, "tfs_server_flags")
    for problem in questions.check_flags(release, left):
        draft.refuse(
            f"flag {problem['flag']}",
            problem["reason"],
            problem["remedy"],
            {},
        )


def _whole(
    made: Mapping[str, Any],
    configuration: ServingConfiguration,
    found: Mapping[str, Any],
    desired: HostRequest,
    more: Draft,
) -> dict[str, Any]:
    """Return the plan with everything that the server gets. more: what was decided after the plan."""
    if not found["models"]:
        return dict(made)
    known = {model.name: model for model in configuration.models}
    whole = [
        replace(known[one["name"]], form=variant_of(one.get("base_path") or "") or known[one["name"]].form)
        for one in found["models"]
    ]
    configuration = replace(configuration, models=tuple(whole))
    models = [
        {"name": one.name, "form": one.form, "batching": None if one.batching is UNKNOWN else one.batching}
        for one in whole
    ]
    draft = Draft([*made["decisions"], *more.decisions], [*made["warnings"], *more.warnings])
    for name in sorted(set(desired.role) & set(PLANNED)):
        value = desired.role[name]
        draft.decide(
            f"tfs_server_{name}",
            "as given" if isinstance(value, (dict, list)) else changes.shown(value),
            "set for this host's server",
        )
    for tuning in desired.tunings:
        if tuning and tuning.get("model") in known:
            draft.decide(
                f"model {tuning['model']}: tuning", changes.shown(tuning["configuration"]), "tfs_server_tunings"
            )
    named = desired.role.get("image") or desired.request.get("image")
    if found["backend"] == "docker" and named and "@" not in named and desired.role.get("pull") != "always":
        draft.warn(
            f"the tag of {named} can change, and then hosts serve different images under the same name: use a digest, or set tfs_server_pull: always"
        )
    if desired.role.get("ssl_config_file"):
        draft.warn(flags.TLS)
    if not found["flags"].get(_RETRIES):
        _say_of_restarts(draft, found["models"], desired.directory)
    return dict(
        made,
        backend=found["backend"],
        image=configuration.image if configuration.backend == "docker" else None,
        models=models,
        server=dict(
            made["server"],
            **{key: found[key] for key in ("environment", "cpu_set", "devices")},
            per_gpu=found["copies"],
            flags={
                **{name: value for name, value in made["server"]["flags"].items() if name in server_options.BY_ROLE},
                **derived_flags.all_flags(configuration),
            },
        ),
        decisions=draft.decisions,
        warnings=draft.warnings,
        refusals=more.refusals,
    )


def _say_of_restarts(draft: Draft, models: Sequence[Mapping[str, Any]], directory: str) -> None:
    """Warn of model folders outside of the directory of published models, because others fill them."""
    own = [one for one in models if one.get("base_path") and not one["base_path"].startswith(f"{directory}/")]
    several = [one["name"] for one in own if (one.get("version_policy") or {"latest": 1}) != {"latest": 1}]
    retries = f", or set {_RETRIES}: 1 (tfserving_flags): {', '.join(several)} then starts a minute later, with the versions that load"
    if own:
        draft.warn(
            f"{', '.join(one['name'] for one in own)}: a version that does not load ends the server at its next start, such as a reboot. Publish with "
            f"tfserving.fleet.model_version, which withdraws such a version{retries if several else ''}"
        )


def spoken(refusal: Mapping[str, Any]) -> str:
    """Return a refusal as one sentence."""
    return f"{refusal['subject']}: {refusal['reason']}. {refusal['remedy']}."
