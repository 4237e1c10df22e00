# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that lists the servers of a host."""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import pid_file, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    container_labels,
    server_containers,
    transaction,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import as_served
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine, sockets
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import running_server
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    MODELS_FILE,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.running_server import RunningServer

_EVERY_ADDRESS = "0.0.0.0"


def name_on(options: Mapping[str, Any], address: str, port: int) -> str | None:
    """Return the name of the server that serves on a port of the host, that of its description for a replica, or None. options: of model_server."""
    servers: list[RunningServer] = []
    with contextlib.suppress(FleetError):
        servers += embedded(options["state_directory"])
        servers += in_containers(options["engine_socket"])[0]
    return next(
        (
            server.get("copy_of") or server["name"]
            for server in servers
            if server["state"] == "started"
            and port in (server["grpc_port"], server["rest_port"])
            and (server["address"] == address or _EVERY_ADDRESS in (server["address"], address))
        ),
        None,
    )


def embedded(state_directory: str) -> list[RunningServer]:
    """Return the embedded servers of a state directory."""
    return [_embedded(path) for path in glob.glob(os.path.join(state_directory, "servers", "*", "server.json"))]


def _embedded(path: str) -> RunningServer:
    try:
        configuration = ServingConfiguration.from_dict(json.loads(shared_folders.read(path)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise FleetError(
            f"cannot read the state of a server ({fault})",
            where=path,
            remedy="Deploy the server again, or remove it with state: absent.",
        ) from fault
    lives = pid_file.process_of(os.path.join(os.path.dirname(path), "server.pid")) is not None
    return running_server.running(as_served(configuration, os.path.join(os.path.dirname(path), MODELS_FILE)), lives)


def in_containers(
    socket: str | None = None, are_known: bool = False
) -> tuple[list[RunningServer], str | None, list[str]]:
    """Return (the servers in containers, None, names of those that a killed run left unfinished), or ([], why they are not visible now, []).

    are_known: whether containers of servers were made on this host. Servers are as running_server.py describes them.
    The list is empty if no engine answers, none was made, and the user did not name an engine.
    """
    found = sockets.find(Files(), socket, sockets.PATIENT_S)
    if not found["answers"]:
        place = found["socket"]
        is_denied = place and os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK)
        is_named = socket or os.environ.get("DOCKER_HOST")
        reason = f"cannot see servers in containers: {found['reason'] or 'no container engine answers'}"
        return [], reason if is_denied or is_named or are_known else None, []
    fault = engine.sdk_fault()
    if fault:
        return [], f"cannot see servers in containers: {fault}", []
    servers = server_containers.Servers(found["socket"])
    seen = {name: servers.seen(name) for name in servers.servers()}
    described = [_of_container(servers, name, roles) for name, roles in seen.items() if transaction.SERVING in roles]
    return (
        [one for one in described if one],
        None,
        sorted(name for name, roles in seen.items() if transaction.recover(roles)),
    )


def _of_container(servers: server_containers.Servers, name: str, roles: transaction.Roles) -> RunningServer | None:
    """Return the description of a server, or None if its container was just removed. Raise FleetError if its labels do not describe it."""
    try:
        inspected = servers.inspect(name)
    except FleetError:
        if transaction.SERVING not in servers.seen(name):
            return None
        raise
    configuration = server_containers.described(inspected)
    if configuration is None:
        raise FleetError(
            "the container's labels do not describe a server",
            where=f"container {name}",
            remedy="Deploy the server again, or remove the container with state: absent.",
        )
    return running_server.running(
        configuration,
        inspected["State"]["Running"],
        copy_of=inspected["Config"]["Labels"].get(container_labels.COPY_OF),
        deployment=_deployment(roles.get(transaction.SERVING)),
        previous_deployment=_deployment(roles.get(transaction.PREVIOUS)),
    )


def _deployment(seen: transaction.Seen | None) -> dict[str, str | None] | None:
    return {"id": seen.deployment, "at": seen.deployed_at} if seen and seen.deployment else None
