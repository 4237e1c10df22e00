# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of batching parameters on a host: that of the server, and those alongside the versions of its models."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import files
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import NAMES, given_of
from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders, text_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import absolute_path, bounded, file_mode
from ansible_collections.tfserving.fleet.plugins.module_utils._core.text_files import Texts
from ansible_collections.tfserving.fleet.plugins.module_utils._model import batched_versions, manifest, saved_model

Difference = dict[str, dict[str, Any]]  # {before: {attribute: value}, after: {…}}
_NOTHING = {"text": None, "parameters": None, "reasons": None}


def run(
    options: Mapping[str, Any], check_mode: bool, set_attributes: Callable[[str], Difference | None]
) -> dict[str, Any]:
    """Return the result of batching_parameters: read the current files, decide, and apply the decision unless in check mode.

    set_attributes: a function that sets the mode, owner and group of the options on the file at a path, and returns
    what it changed, if anything.
    """
    shared_folders.accept(options["folder_owner"])
    _check_attributes(options, check_mode)
    desired, returned, warnings = _plan(options, check_mode)
    before, decision = text_files.put(desired, check_mode, warnings)
    differences = {
        path: set_attributes(path) for path, text in desired.items() if text is not None and os.path.exists(path)
    }
    return _with_attributes(
        decision.result(**returned),
        {path: found for path, found in differences.items() if found and before[path] is not None},
    )


def _plan(options: Mapping[str, Any], check_mode: bool) -> tuple[Texts, dict[str, Any], list[str]]:
    """Return (the desired files, what the module returns, warnings)."""
    path = options["path"]
    if path is None and not options["per_model"]:
        raise FleetError(
            "not set, but one file for all models needs a path",
            where="path",
            remedy="Set path, or set per_model to true.",
        )
    absolute_path("path", path)
    if path is not None and path.endswith("/"):
        raise FleetError(f"{path!r} is the name of a directory, not of a file", where="path")
    for number, model in enumerate(options["models"]):
        absolute_path(f"models[{number}].directory", model["directory"])
        if model["version"] is not None:
            bounded(f"models[{number}].version", model["version"], 0, manifest.LARGEST_NUMBER)
    chosen = {model["name"]: batched_versions.directories(model) for model in options["models"]}
    # The files of each model, with that of its highest version first.
    places = (
        {
            name: [os.path.join(version, manifest.BATCHING) for version in found]
            for name, found in chosen.items()
            if found
        }
        if options["per_model"]
        else {}
    )
    if options["state"] == "absent":
        shown = [dict(_NOTHING, name=name, path=of_model[0]) for name, of_model in places.items()]
        return (
            dict.fromkeys(filter(None, [path, *chain.from_iterable(places.values())])),
            {"path": path, "models": shown},
            [],
        )
    models: list[Any] = [
        dict(model, signatures=_signatures_of(model, chosen[model["name"]][:1], options["saved_model_tags"]))
        for model in options["models"]
    ]
    request = files.Request(
        given_of({name: options[name] for name in NAMES}), tuple(models), options["capabilities"], options["goal"]
    )
    if not options["per_model"]:
        server, warnings = files.for_server(request)
        returned = dict(server.as_dict(path) if server else dict(_NOTHING, path=path))
        return {path: returned["text"]}, dict(returned, models=[]), warnings
    _refuse_shared_places(path, places)
    warnings = [_unpublished(model, check_mode) for model in models if not chosen[model["name"]]]
    server, of_models, more = files.per_model(request, path is not None)
    made = {file.model: file.as_dict(places[file.model][0]) for file in of_models if file.model in places}
    described = [dict(made.get(name, dict(_NOTHING, path=found[0])), name=name) for name, found in places.items()]
    desired = dict(
        {path: server.text} if server else {},
        **{place: file["text"] for file in described for place in places[file["name"]]},
    )
    returned = dict(server.as_dict(path) if server else dict(_NOTHING, path=None), models=described)
    return desired, returned, warnings + more


def _refuse_shared_places(path: str | None, places: Mapping[str, Sequence[str]]) -> None:
    """Raise FleetError if two models ({name: paths}), or a model and the server, would have the same file."""
    owners = {} if path is None else {os.path.realpath(path): "the server"}
    for name, place in ((name, place) for name, found in places.items() for place in found):
        owner = owners.setdefault(os.path.realpath(place), f"the model {name}")
        if owner != f"the model {name}":
            raise FleetError(
                f"the file {place} of the model {name} is also the file of {owner}",
                where="models",
                remedy="Set a different directory for each model, and not a link to another one.",
            )


def _check_attributes(options: Mapping[str, Any], check_mode: bool) -> None:
    """Raise FleetError for a mode, owner or group that files cannot get, before anything is written. In check mode an earlier task may create the account."""
    file_mode("mode", options["mode"])
    own = {"owner": {os.geteuid()}, "group": {os.getegid(), *os.getgroups()}}
    numbers: dict[str, Callable[[str], int]] = {
        "owner": lambda name: pwd.getpwnam(name).pw_uid,
        "group": lambda name: grp.getgrnam(name).gr_gid,
    }
    for option, number_of in numbers.items():
        name = options[option]
        if name is None or check_mode:
            continue
        try:
            number = int(name) if name.isdecimal() else number_of(name)
        except KeyError as fault:
            raise FleetError(f"{name!r} does not exist on this host", where=option) from fault
        if os.geteuid() and number not in own[option]:
            raise FleetError(f"this account cannot give files to {name!r}", where=option, remedy="Use become.")


def _signatures_of(model: Mapping[str, Any], versions: Sequence[str], tags: Sequence[str]) -> Any:
    """Return the signatures that the user set for a model, or those of the SavedModel in versions; None without one."""
    for version in versions if model["signatures"] is None else ():
        if os.path.exists(os.path.join(version, "saved_model.pb")):
            return saved_model.read(version, tags)["signatures"]
    return model["signatures"]


def _unpublished(model: Mapping[str, Any], check_mode: bool) -> str:
    """Return a warning in check mode that a model has no version to write for; raise FleetError otherwise."""
    where = f"models: {model['name']}"
    if model["directory"] is None:
        raise FleetError(
            "directory is not set, but per_model needs the directory of each model",
            where=where,
            remedy="Set directory to the folder of the model's versions.",
        )
    there = ", ".join(map(str, sorted(batched_versions.numbered(model["directory"])))) or "none"
    what = f"{'a version' if model['version'] is None else 'version ' + str(model['version'])} is missing in {model['directory']}; present: {there}"
    if not check_mode:
        raise FleetError(what, where=where, remedy="Publish the model first.")
    return f"{where}: {what}. A run that publishes it will also write its file."


def _with_attributes(result: dict[str, Any], differences: Mapping[str, Difference]) -> dict[str, Any]:
    """Return the module's result with what set_attributes changed on existing files: {path: difference}."""
    if not differences:
        return result
    shown = [result["diff"]] if result["changed"] else []
    for path, difference in differences.items():
        texts = {
            side: "".join(f"{name}: {value}\n" for name, value in sorted(difference[side].items()))
            for side in ("before", "after")
        }
        shown.append(dict(texts, before_header=path, after_header=path))
        result["actions"] += [f"set {name} of {path} to {value}" for name, value in sorted(difference["after"].items())]
    return dict(result, changed=True, diff=shown[0] if len(shown) == 1 else shown)
