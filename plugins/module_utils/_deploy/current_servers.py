# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that lists the servers of a host that run in containers."""

from __future__ import annotations

import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    container_labels,
    server_containers,
    transaction,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine, sockets
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import running_server
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.running_server import RunningServer


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
