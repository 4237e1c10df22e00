# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a plan with what runs on its host (docs/architecture.md, "What runs on a host")."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import looks_secret
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    served_models,
    server_options,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

# The keys of a plan about a server and its models.
_KEYS = frozenset({"backend", "image", "flags", "environment", "cpu_set", "devices", "form", "batching"})
_STARTED = "started"


def differences(
    plan: Mapping[str, Any],
    servers: Sequence[Mapping[str, Any]],
    name: str | None = None,
    ports: Collection[int] = (),
) -> list[str]:
    """Return texts about what deploying the plan would change on its host.

    servers: what runs there. A key that is missing in one of them is not compared. name, ports: of the server that a
    deployment starts or updates, as far as they are known.
    """
    started = [server for server in servers if server.get("state", _STARTED) == _STARTED]
    served = {model["name"]: (server, model) for server in reversed(started) for model in server["models"]}
    planned = {model["name"]: model for model in plan["models"]}
    parts = plan["server"].get("per_gpu")
    if parts:
        found = [text for part in parts for text in _of_part(plan, part, started)]
    else:
        found = [
            text
            for model in planned.values()
            for text in _of_model(plan["server"], plan, model, served.get(model["name"]))
        ]
    found += (
        [f"{server['name']}: no longer planned, will be stopped" for server in started if _is_surplus(server, parts)]
        if planned
        else []
    )
    others = sorted({served[model][0]["name"] for model in planned if model in served})
    is_new = name and not parts and name not in {server["name"] for server in started}
    holders = [(server["name"], port) for server in started for port in _ports(server) if port in ports]
    if is_new and holders:
        holder, port = holders[0]
        found.append(
            f"{name}: a new server, since a server has the name of its first model; the deployment is refused while {holder} uses port {port} of the same "
            f"address, unless you set tfs_server_name: {holder} to update it, or remove it (tfs_server_state: absent)"
        )
    elif is_new and others:
        found.append(
            f"{name}: a new server, since a server has the name of its first model; {', '.join(others)} also serves its models and keeps running, "
            f"unless you set tfs_server_name: {others[0]} or remove it (tfs_server_state: absent)"
        )
    gone = [] if plan["refusals"] and not planned else sorted(set(served) - set(planned))
    return found + [f"{name}: served by {served[name][0]['name']}, which is not in the plan and stays" for name in gone]


def _ports(server: Mapping[str, Any]) -> list[int]:
    return [server[key] for key in ("grpc_port", "rest_port") if server.get(key)]


def _of_part(plan: Mapping[str, Any], part: Mapping[str, Any], started: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what would change for one of several servers, compared with the current one of the same suffix."""
    planned = {model["name"] for model in plan["models"]}
    server = next(
        (
            server
            for server in started
            if _suffix(server) == part["suffix"] and planned & {model["name"] for model in server["models"]}
        ),
        None,
    )
    wanted = dict(plan["server"], devices=part["devices"], cpu_set=part["cpu_set"] or plan["server"]["cpu_set"])
    running = {model["name"]: (server, model) for model in server["models"]} if server else {}
    (device,) = part["devices"]
    where = f"GPU {device['pci_bus_id']}{' ' + device['id'] if device['id'].startswith('MIG-') else ''}: "
    return [
        where + text for model in plan["models"] for text in _of_model(wanted, plan, model, running.get(model["name"]))
    ]


def _suffix(server: Any) -> str:
    """Return the suffix of a server's name if it is a replica."""
    return server["name"][len(server["copy_of"]) :] if server.get("copy_of") else ""


def _is_surplus(server: Any, parts: Sequence[Mapping[str, Any]] | None) -> bool:
    return bool(server.get("copy_of")) and _suffix(server) not in {part["suffix"] for part in parts or [{"suffix": ""}]}


def _of_model(
    wanted: dict[str, Any],
    plan: Mapping[str, Any],
    model: dict[str, Any],
    served: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> Iterator[str]:
    if served is None:
        yield f"{model['name']}: would be served; no server serves it now"
        return
    server, running = served
    planned = served_models.planned(dict(plan, server=wanted))
    flags = {
        name: value
        for name, value in (server.get("flags") or {}).items()
        if name not in server_options.DOCKER_OWN_FLAGS
    }
    whole = ServingConfiguration.from_dict({**server, "flags": flags})
    now = replace(_alone(whole, model["name"]), flags=derived_flags.chosen_flags(whole))
    differing = derived_flags.diff(now, _alone(planned, model["name"]), _KEYS & {*server, *running})
    own = f"models.{model['name']}."
    for key, (before, after) in sorted((key.removeprefix(own), values) for key, values in differing.items()):
        name = key.rpartition(".")[2]
        secret = key.startswith("environment.") and any(looks_secret(name, value) for value in (before, after))
        values = "another value (not shown)" if secret else f"{shown(before)} -> {shown(after)}"
        yield f"{model['name']}: {key}: {values}"


def _alone(configuration: ServingConfiguration, name: str) -> ServingConfiguration:
    """Return the configuration with only one of its models, without labels: a plan has none, and a flag follows from them."""
    models = (replace(model, labels={}) for model in configuration.models if model.name == name)
    return replace(configuration, models=tuple(models))


def shown(value: Any) -> str:
    """Return a leaf as text for people."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in sorted(value.items())) + "}"
    return "none" if value is None else str(value)
