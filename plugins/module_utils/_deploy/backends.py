# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that chooses the backend of model_server, and holds the server's lock while the backend works."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import text_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, absolute_path, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    attempts,
    replicas,
    requested,
    server_containers,
    transaction,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import OF_CONTAINERS, ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine, sockets
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Engine
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL

# Options that the embedded server does not support, and their defaults.
_OF_CONTAINERS: dict[str, Any] = {
    "monitoring": False,
    "session_config_file": None,
    "ssl_config_file": None,
    "memory_mib": None,
    "devices": [],
    "copies": [],
    "grpc_socket_directory": None,
    "pull": "missing",
}


def work(options: Mapping[str, Any], check_mode: bool, embedded: Callable[[], Any]) -> dict[str, Any]:
    """Return the module's result, and record a deployment that fails. embedded: a function that returns the module with the embedded server's Backend,
    which is on a higher floor.
    """
    try:
        return _work(options, check_mode, embedded)
    except Exception:
        if options["state"] in server_options.SERVING and os.path.isabs(options["state_directory"]) and not check_mode:
            with contextlib.suppress(OSError, FleetError):
                attempts.remember(options)
        raise


def _work(options: Mapping[str, Any], check_mode: bool, embedded: Callable[[], Any]) -> dict[str, Any]:
    """Return the module's result.

    Only the backend in use is imported, because a run that changes nothing would spend most of its time on the import
    of the other one.
    """
    absolute_path("state_directory", options["state_directory"])
    bounded("ready_timeout_s", options["ready_timeout_s"], 1, LONGEST_S, "s")
    bounded("drain_s", options["drain_s"], 0, 3600, unit="s")
    bounded("tolerance", options["tolerance"], 0)
    bounded("log_max_mib", options["log_max_mib"], 1, unit="MiB")
    bounded("log_files", options["log_files"], 1)
    if options["release"]:
        questions.parse(options["release"], "release")
    options = dict(options, models=_models(options), copy_of=None)
    serves = options["state"] in server_options.SERVING
    names = [options["name"]] if serves or options["name"] else _names(options)
    options["name"] = names[0]
    home = ServerFolder(options["state_directory"], server_options.check_name(options["name"]))
    if serves and not options["models"]:
        raise FleetError(
            "there is no model to serve", where="models", remedy="Set models, or model_name and model_base_path."
        )
    if options["backend"] == "embedded" or server_options.starts_embedded(options):
        options["engine_socket"] = options["engine"] = None
        name = "embedded"
    else:
        found = sockets.find(Files(), options["engine_socket"], sockets.PATIENT_S)
        options["engine_socket"], options["engine"] = found["socket"] or options["engine_socket"], found["engine"]
        name = _chosen(options, found, home)
    if name == "embedded":
        _refuse_options_of_containers(options)
        _refuse_contained(home, serves)
    batching = requested.batching_text(options) if serves else None
    written = (
        None if batching is None else text_files.put({options["batching_parameters_file"]: batching}, check_mode)[1]
    )
    if name == "embedded":
        results = [_one(embedded(), options, check_mode)]
    else:
        results = _in_containers(options, check_mode) if serves else _no_more(options, names, check_mode)
    result = replicas.whole(results)
    if written and written.changed:
        diffs = result["diff"] if isinstance(result["diff"], list) else [result["diff"]]
        result.update(
            changed=True, diff=[written.result()["diff"], *diffs], actions=[*written.actions, *result["actions"]]
        )
    if serves:
        result["warnings"] = [*result["warnings"], *_of_earlier_versions(options)]
    return dict(result, summary=[replicas.summary(server) for server in result["servers"]])


def _of_earlier_versions(options: Mapping[str, Any]) -> list[str]:
    """Return warnings about variants of an earlier version of a model. Only a converted variant needs the import."""
    models = requested.models(options, None)
    if all(model.form in (None, SAVED_MODEL) for model in models):
        return []
    from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import expected_answers

    return expected_answers.of_earlier_versions(models)


def _one(backend: Any, options: Mapping[str, Any], check_mode: bool, how: str | None = None) -> dict[str, Any]:
    """Return the result of one server. Hold its lock while it is changed; a server without changes needs no lock.

    how: what to do with it, by default the requested state.
    """
    home, how = (
        ServerFolder(options["state_directory"], server_options.check_name(options["name"])),
        how or options["state"],
    )
    looking = backend.Backend(options, home, True)
    looking.holds_lock = False
    try:
        with contextlib.suppress(FleetError):  # For example, of a server that another run is changing.
            found: Any = _become(looking, how) if how in server_options.SERVING else None
            if found and not (found["changed"] or found.get("pending") or looking.is_unsure):
                return dict(found if check_mode else looking.when_ready(found))
        with home.locked(
            timeout_s=max(60.0, options["ready_timeout_s"]), create=how in server_options.SERVING and not check_mode
        ):
            return dict(_become(backend.Backend(options, home, check_mode), how))
    except PermissionError as fault:
        raise FleetError(
            f"permission denied: {fault.filename}",
            where="state_directory",
            remedy="Choose a folder that this user can write to, or run as root (become).",
        ) from fault


def _become(chosen: Any, how: str) -> Any:
    if how in server_options.SERVING:
        return chosen.started(candidate_only=how == "proven")
    if how in (replicas.PREVIOUS, replicas.RESUME):
        return chosen.previous() if how == replicas.PREVIOUS else chosen.resumed()
    return chosen.surplus() if how == replicas.SURPLUS else chosen.stopped(absent=how == "absent")


def _in_containers(options: Mapping[str, Any], check_mode: bool) -> list[dict[str, Any]]:
    """Return the results of all servers of the description, and then of those that were its replicas and are no longer wanted."""
    from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import docker_backend

    results, waited = [], False
    wanted = replicas.each(options)
    for one in wanted:
        try:
            results.append(_one(docker_backend, dict(one, drain_s=0.0) if waited else one, check_mode))
        except FleetError as fault:
            raise replicas.in_part(fault, results) from fault
        waited = waited or results[-1]["changed"]
    names = {one["name"] for one in wanted}
    for name in server_containers.Servers(options["engine_socket"]).alike(options["name"]):
        if name not in names:
            is_only_shown = options["state"] == "proven"
            found = _one(
                docker_backend,
                dict(options, name=name, state="stopped", drain_s=0.0),
                check_mode or is_only_shown,
                replicas.SURPLUS,
            )
            results.append(dict(found, changed=False, actions=[], pending=found["changed"]) if is_only_shown else found)
    return results


def _no_more(options: Mapping[str, Any], names: Sequence[str], check_mode: bool) -> list[dict[str, Any]]:
    """Return the results of the existing servers and replicas, for the states in which nothing new is served.

    All decisions are made before the first server is changed.
    """
    from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import docker_backend

    servers = server_containers.Servers(options["engine_socket"], options["state_directory"])
    undone = (options["deployment"] or {}).get("id")
    becomes: list[tuple[str, str | None]] = []
    for described in names:
        alike = servers.alike(described)
        if not (alike or ServerFolder(options["state_directory"], described).is_contained):
            _refuse_embedded(ServerFolder(options["state_directory"], described))
        alike = alike or [described]
        if options["state"] != replicas.PREVIOUS or not undone and len(alike) < 2:
            becomes += [(name, None) for name in alike]
            continue
        found = {name: servers.seen(name) for name in alike}
        seen = {name: transaction.expected(roles, transaction.recover(roles)) for name, roles in found.items()}
        moments = {key: value for name in alike if undone for key, value in servers.moments(name).items()}
        back = replicas.back(seen, undone, moments)
        left = [name for name in alike if undone and name not in dict(back) and transaction.recover(found[name])]
        becomes += [*((name, None) for name in left), *back] or [(alike[0], None)]
    return [
        _one(
            docker_backend,
            dict(options, name=name, state=replicas.STATES.get(how or "", options["state"])),
            check_mode,
            how,
        )
        for name, how in becomes
    ]


def _names(options: Mapping[str, Any]) -> list[str]:
    """Return the servers of this host if no name is given: the only one, or all in containers if a deployment is undone. Raise FleetError."""
    found = sockets.find(Files(), options["engine_socket"], sockets.PATIENT_S) if engine.load_sdk() else None
    servers = server_containers.Servers(found["socket"]) if found and found["answers"] else None
    contained = servers.descriptions() if servers else []
    if servers and options["state"] == replicas.PREVIOUS and options["deployment"]:
        # Servers of another state directory have their own locks.
        folder = options["state_directory"]
        own = [
            one
            for one in contained
            if any(os.path.isdir(ServerFolder(folder, each).directory) for each in servers.alike(one))
        ]
        if own:
            return own
    embedded = glob.glob(os.path.join(options["state_directory"], "servers", "*", "server.json"))
    names = sorted({*contained, *(os.path.basename(os.path.dirname(path)) for path in embedded)})
    if len(names) != 1:
        raise FleetError(
            f"the name of the server is missing; servers on this host: {', '.join(names) or 'none'}",
            where="name",
            remedy="Set name (tfs_server_name of the role).",
        )
    return names


def _models(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the models in the form of the option models."""
    if options["models"] is None and options["model_name"]:
        return [
            {
                "name": options["model_name"],
                "base_path": options["model_base_path"],
                "version_policy": None,
                "labels": {},
                "signature": "serving_default",
                "samples": options["samples"],
                "reference": options["reference"],
                "metric_function": options["metric_function"],
            }
        ]
    return options["models"] or []


def _chosen(options: Mapping[str, Any], found: Engine, home: ServerFolder) -> str:
    """Return docker or embedded. Raise FleetError if neither is possible."""
    name = options["backend"]
    if options["state"] not in server_options.SERVING:
        known = (
            found["answers"] and engine.load_sdk() and server_containers.Servers(found["socket"]).alike(options["name"])
        )
        return (
            name
            if name != "auto"
            else "docker"
            if known or home.is_contained and home.process() is None
            else "embedded"
        )
    _refuse_docker(options, found)
    return "docker"


def _refuse_options_of_containers(options: Mapping[str, Any]) -> None:
    given = [option for option, default in _OF_CONTAINERS.items() if options[option] != default]
    if given:
        raise FleetError(
            "the embedded server does not support this option",
            where=given[0],
            remedy="Leave it out, or set backend: docker.",
        )


def _refuse_docker(options: Mapping[str, Any], found: Engine) -> None:
    if not options["image"]:
        raise FleetError(
            "the image is not set",
            where="image",
            remedy="Set it, such as tensorflow/serving:2.20.0, preferably with a digest, or set backend: embedded.",
        )
    if options["idle_exit_s"] is not None:
        raise FleetError(
            "a server in a container does not exit when it is idle",
            where="idle_exit_s",
            remedy="Leave it out, or set backend: embedded.",
        )
    if not found["answers"] and sockets.address(options["engine_socket"], os.environ)[1]:
        raise FleetError(found["reason"] or "the container engine does not answer", where="engine")
    if not found["answers"]:
        raise FleetError(
            found["reason"] or "this host has no container engine",
            where=found["socket"] or "backend",
            remedy="Start Docker Engine 20.10 or later, or Podman's socket; or set backend: embedded.",
        )
    for one in replicas.each(options):
        _refuse_embedded(ServerFolder(options["state_directory"], one["name"]))


def _refuse_embedded(home: ServerFolder) -> None:
    """Refuse a container, or to look for one, if an embedded server has its name."""
    if home.process() is not None:
        raise FleetError(
            "an embedded server of this name is running",
            where=home.name,
            remedy="Remove it first (backend: embedded, state: absent).",
        )


def _refuse_contained(home: ServerFolder, serves: bool) -> None:
    """Refuse an embedded server, or to look for one, if a container has its name. If there are both, each can be stopped and removed."""
    if home.is_contained and (serves or not os.path.exists(home.path("server.json"))):
        raise FleetError(
            "a server of this name runs or is kept in a container",
            where=home.name,
            remedy="Remove it first (backend: docker, state: absent), or, if its container engine is gone, "
            f"{' and '.join(home.path(name) for name in OF_CONTAINERS)}.",
        )
