# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host serves: the plan of what the inventory asks for, with the variables of the role tfs_server and with tunings, from one pure function.

The playbook `plan` and the roles call the same function, so a plan predicts what a deployment does, and no role needs another play to have run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import changes, flags, plan, request, server
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    configuration,
    description,
    model_names,
    served_models,
    server_options,
    tunings,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.tunings import Tuning

# Variables of tfs_server, without their prefix, that the plan gives where the user does not.
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
# Variables of tfs_server that the resolution reads besides.
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
# Keys of the request that plan something besides the models, and what they are where the user asks for nothing.
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
class Wishes:
    """What the user asks for on one host.

    request: the mapping of docs/architecture.md, "Request"; its policies carry `holds`. role: the variables of tfs_server that the user set, without their
    prefix. tunings: results of the module tuning. records: what tunings of the host's class keep; stale_tunings: keep, ignore or fail where they were
    measured with another release, image or backend. directory: where models are published. has_samples: whether the samples of tfserving_models are on the
    host. converts: whether the host converts models for itself. serves: False where the server is stopped, removed or rolled back.
    """

    request: Mapping[str, Any]
    role: Mapping[str, Any]
    tunings: Sequence[Mapping[str, Any]] = ()
    records: Sequence[Tuning] = ()
    stale_tunings: str = "keep"
    directory: str = "/srv/tfserving/models"
    has_samples: bool = True
    converts: bool = True
    serves: bool = True


def needs_plan(wishes: Wishes) -> bool:
    """Whether the inventory asks for something that depends on the host. Variables that say everything need no plan, and so no capabilities."""
    given = wishes.request
    asks = bool(given.get("models")) or any(
        given.get(key) is not None and given[key] not in nothing for key, nothing in _NOTHING.items()
    )
    return asks and wishes.serves and not set(PLANNED) <= set(wishes.role)


def resolve(
    capabilities: Mapping[str, Any] | None, wishes: Wishes, microarchitectures: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """{plan, server}: the host's plan (None without capabilities), and what tfs_server gives to model_server.

    server: {name, backend, image, release, models, flags, environment, cpu_set, devices, copies, batching, per_model, ready_timeout_s, checks, refusals}.
    Raises FleetError for a request out of form; what cannot be had is a refusal.
    """
    _check(wishes)
    asked = _with_role(request.with_texts_as_keys(dict(wishes.request)), wishes.role)
    if not wishes.serves:
        found = _server(None, asked, wishes)
        name = wishes.role.get("name") or _name_in_start_lines(asked) or found["name"]
        return {"plan": None, "server": dict(found, name=name, backend=asked.get("backend") or "auto")}
    planned = needs_plan(wishes)
    made = (
        plan.plan(capabilities, asked if planned else dict(wishes.request, models=[]), microarchitectures)
        if planned or capabilities
        else None
    )
    if made and made["refusals"]:
        return {
            "plan": made,
            "server": dict(_server(None, asked, wishes), refusals=[spoken(refusal) for refusal in made["refusals"]]),
        }
    draft = Draft()
    tuned = _tuned(draft, made, asked, wishes) if made and planned else []
    found = _server(made if planned else None, asked, replace(wishes, tunings=[*tuned, *wishes.tunings]))
    _refuse_flags(draft, wishes.role, found["backend"], found["release"])
    refused = draft.refusals
    whole = _whole(made, found, wishes, draft) if made else None
    return {"plan": whole, "server": dict(found, refusals=[spoken(refusal) for refusal in refused])}


def _check(wishes: Wishes) -> None:
    """Raise FleetError for the first variable of tfs_server, or tuning, of which nothing can be made."""
    for name, value in wishes.role.items():
        where = f"tfs_server_{name}"
        if name in _MAPPINGS and not (isinstance(value, dict) or (name == "batching" and value is None)):
            raise FleetError(f"{value!r} is not a mapping", where=where)
        if name in _LISTS and not (isinstance(value, (list, tuple)) and all(isinstance(one, dict) for one in value)):
            raise FleetError(f"{value!r} is not a list of mappings", where=where)
        for number, one in enumerate(value if name in _NAMED else ()):
            model_names.check(one.get("name"), f"{where}[{number}].name")
        if name not in (*_MAPPINGS, *_LISTS) and isinstance(value, (dict, list, tuple)):
            raise FleetError(f"{value!r} is not a single value", where=where)
    if not isinstance(wishes.tunings, (list, tuple)) or not all(isinstance(one, dict) for one in wishes.tunings):
        raise FleetError(
            f"{wishes.tunings!r} is not a list of what the module tuning returns", where="tfs_server_tunings"
        )


def _with_role(given: dict[str, Any], role: Mapping[str, Any]) -> dict[str, Any]:
    """The request with what variables of tfs_server say instead."""
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


def _server(made: Mapping[str, Any] | None, asked: Mapping[str, Any], wishes: Wishes) -> dict[str, Any]:
    """What tfs_server gives to model_server; made: the plan, or None where there is none."""
    role, of_plan = wishes.role, (made or {}).get("server") or {}
    backend = (made or {}).get("backend") or _backend(asked)
    metric_functions = role.get("metric_functions")
    found = served_models.description(
        made or {},
        asked.get("models") or [],
        "",
        wishes.tunings,
        wishes.directory,
        {
            **{key: role.get(key) for key in ("samples", "reference", "metric")},
            "base_path": role.get("model_base_path"),
            "has_samples": wishes.has_samples,
            "metric_functions": backend == "embedded" and wishes.converts
            if metric_functions is None
            else metric_functions,
        },
    )
    per_model = (
        role["batching_per_model"] if "batching_per_model" in role else [] if "batching" in role else found["per_model"]
    )
    batching = role["batching"] if "batching" in role else None if per_model else found["batching"]
    chosen = role["flags"] if "flags" in role else configuration.without_batching_flags(found["flags"])
    return {
        "name": role.get("name") or found["name"],
        "backend": backend,
        "image": (made or {}).get("image") or asked.get("image"),
        "release": (made or {}).get("release") or asked.get("version"),
        "models": role.get("models") or found["models"],
        "flags": {**configuration.batching_flags(per_model), **chosen},
        "environment": role.get("environment", found["environment"]),
        "cpu_set": role["cpu_set"] if "cpu_set" in role else of_plan.get("cpu_set"),
        "devices": role.get("devices", of_plan.get("devices") or []),
        "copies": role.get("copies", of_plan.get("per_gpu") or []),
        "batching": batching,
        "per_model": per_model,
        "ready_timeout_s": role.get("ready_timeout_s") or of_plan.get("start_timeout_s") or READY_TIMEOUT_S,
        "checks": found["checks"],
        "refusals": [],
    }


def _name_in_start_lines(asked: Mapping[str, Any]) -> str | None:
    """The name that a start line gives to the server's container. What is wrong with the request is no matter of a server that is stopped or goes back."""
    try:
        return request.complete(asked)[0].get("serve", {}).get("name")
    except FleetError:
        return None


def _backend(asked: Mapping[str, Any]) -> str:
    """The backend where no plan chooses it: the embedded server only by name, or where nothing names TensorFlow Serving."""
    named = asked.get("backend") or "auto"
    if named != "auto":
        return str(named)
    return "docker" if any(asked.get(key) for key in server.OF_TENSORFLOW_SERVING) else "embedded"


def _tuned(draft: Draft, made: Mapping[str, Any], asked: Mapping[str, Any], wishes: Wishes) -> list[dict[str, Any]]:
    """Configurations of the models by what their tunings keep, as the module tuning returns them: {model, configuration}."""
    models = {model["name"]: model for model in asked["models"]}
    found = {}
    for record in (record for record in wishes.records if record.model in models):
        now = tunings.stale(record, made)
        subject = f"model {record.model}: tuning"
        if now and wishes.stale_tunings == "fail":
            draft.refuse(
                subject,
                f"it was measured elsewhere: {', '.join(now)}",
                "Tune again: ansible-playbook tfserving.fleet.tune, or set tfserving_stale_tunings: keep",
                {},
            )
            continue
        if now:
            draft.warn(
                f"{subject} was measured elsewhere ({', '.join(now)}) and is {'kept' if wishes.stale_tunings == 'keep' else 'ignored'}; "
                "measure again with: ansible-playbook tfserving.fleet.tune"
            )
            if wishes.stale_tunings == "ignore":
                continue
        found[record.model] = tunings.without_settings(
            tunings.legal(record.change, made["release"]), asked, models[record.model]
        )
        draft.decide(
            subject,
            changes.shown(found[record.model]) if found[record.model] else "as planned",
            f"measured on {record.measured.get('host')} at {record.measured.get('at')}",
        )
    for key, names in tunings.conflicts(found).items():
        if key not in wishes.role:
            name, wanted = next(iter(names.items()))
            spelt = ", ".join(f"{model}: {changes.shown(value)}" for model, value in sorted(wanted.items()))
            draft.refuse(
                "tunings",
                f"the tunings of the models want different {key} of their one server: {name} ({spelt})",
                f"Say which holds in tfserving_{key}, or serve the models by two servers (tfs_server_model_name)",
                {},
            )
    return [
        {"model": model, "configuration": configuration.changed(configuration.planned(made, model), change)}
        for model, change in found.items()
    ]


def _refuse_flags(draft: Draft, role: Mapping[str, Any], backend: str, release: str | None) -> None:
    """Refuse flags in tfs_server_flags that model_server refuses."""
    given = role.get("flags")
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
    left = {name: value for name, value in given.items() if name not in own}
    if backend == "embedded":
        left = flags.without_own_options(draft, left, backend, "tfs_server_flags")
    for problem in questions.check_flags(release, left):
        draft.refuse(
            f"flag {problem['flag']}",
            problem["reason"],
            problem["remedy"].replace("tfserving_flags", "tfs_server_flags"),
            {},
        )


def _whole(made: Mapping[str, Any], found: Mapping[str, Any], wishes: Wishes, more: Draft) -> dict[str, Any]:
    """The plan with everything that the server gets. more: what was decided after the plan."""
    if not found["models"]:
        return dict(made)
    per_model = {one["name"]: one.get("batching") for one in found["per_model"]}
    forms = {model["name"]: model["form"] for model in made["models"]}
    models = [
        {
            "name": one["name"],
            "form": description.form_of(one.get("base_path") or "") or forms.get(one["name"], "saved_model"),
            "batching": per_model.get(one["name"]) if per_model else found["batching"],
        }
        for one in found["models"]
    ]
    draft = Draft([*made["decisions"], *more.decisions], [*made["warnings"], *more.warnings])
    for name in sorted(set(wishes.role) & set(PLANNED)):
        value = wishes.role[name]
        draft.decide(
            f"tfs_server_{name}",
            "as given" if isinstance(value, (dict, list)) else changes.shown(value),
            "set for this host's server",
        )
    for tuning in wishes.tunings:
        if tuning and tuning.get("model") in forms:
            draft.decide(
                f"model {tuning['model']}: tuning", changes.shown(tuning["configuration"]), "tfs_server_tunings"
            )
    named = wishes.role.get("image") or wishes.request.get("image")
    if found["backend"] == "docker" and named and "@" not in named and wishes.role.get("pull") != "always":
        draft.warn(
            f"the tag of {named} can move, and then hosts serve different images under one name: name it by digest, or set tfs_server_pull: always"
        )
    if wishes.role.get("ssl_config_file"):
        draft.warn(flags.TLS)
    return dict(
        made,
        backend=found["backend"],
        image=found["image"] if found["backend"] == "docker" else None,
        models=models,
        server=dict(
            made["server"],
            **{key: found[key] for key in ("environment", "cpu_set", "devices")},
            per_gpu=found["copies"],
            flags={
                **{name: value for name, value in made["server"]["flags"].items() if name in server_options.BY_ROLE},
                **({"enable_batching": True} if any(model["batching"] for model in models) else {}),
                **found["flags"],
            },
        ),
        decisions=draft.decisions,
        warnings=draft.warnings,
        refusals=more.refusals,
    )


def spoken(refusal: Mapping[str, Any]) -> str:
    """A refusal as one sentence for people."""
    return f"{refusal['reason']}. {refusal['remedy']}."
