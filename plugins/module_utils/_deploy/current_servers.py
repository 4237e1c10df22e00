# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that look at the servers of a host: those in containers, and what any of them answers about itself."""

from __future__ import annotations

import http.client
import os
from dataclasses import replace

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    container_labels,
    server_containers,
    transaction,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine, sockets
from ansible_collections.tfserving.fleet.plugins.module_utils._model import published
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, metrics_text, stdlib_client
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config, running_server

_METRICS = "/monitoring/prometheus/metrics"
_DEADLINE_S = 5.0
_STATES = {number: name for name, number in grpc_api.STATES.items()}


def in_containers(socket=None):
    """(the servers that run in containers, as description.py describes them, None, the names of those that a killed run left unfinished), or ([], why this
    user cannot see them, []).

    The list is empty where no engine runs and the user names none.
    """
    found = sockets.find(Files(), socket, sockets.PATIENT_S)
    if not found["answers"]:
        place = found["socket"]
        is_denied = place and os.path.exists(place) and not os.access(place, os.R_OK | os.W_OK)
        is_named = socket or os.environ.get("DOCKER_HOST")
        return [], f"servers in containers cannot be seen: {found['reason']}" if is_denied or is_named else None, []
    fault = engine.sdk_fault()
    if fault:
        return [], f"servers in containers cannot be seen: {fault}", []
    servers = server_containers.Servers(found["socket"])
    seen = {name: servers.seen(name) for name in servers.servers()}
    described = [_of_container(servers, name, roles) for name, roles in seen.items() if transaction.SERVING in roles]
    return (
        [one for one in described if one],
        None,
        sorted(name for name, roles in seen.items() if transaction.mend(roles)),
    )


def asked(server):
    """What a described server answers about itself: {name, answers, reason, models, metrics}; it moves, so it stands in no fact."""
    result = {"name": server["name"], "answers": False, "reason": None, "models": [], "metrics": None}
    address = "127.0.0.1" if server["address"] == "0.0.0.0" else server["address"]
    client = stdlib_client.Server(address, server["grpc_port"], _DEADLINE_S, bool(server.get("tls")))
    try:
        result["models"] = [_model(client, model) for model in server["models"]]
        result["answers"] = True
    except ServerFault as fault:
        result["reason"] = str(fault)
    if server["rest_port"] and not result["reason"]:
        result["metrics"] = _metrics(address, server["rest_port"])
    return result


def _of_container(servers, name, roles):
    """The description of a server; None where its container was removed a moment ago. Raises FleetError for one that does not say what it is."""
    try:
        inspected = servers.inspect(name)
    except FleetError:
        if transaction.SERVING not in servers.seen(name):
            return None
        raise
    configuration = server_containers.described(inspected)
    if configuration is None:
        raise FleetError(
            "its labels cannot be read as the description of a server",
            where=f"container {name}",
            remedy="Deploy the server again, or remove it with state: absent.",
        )
    return running_server.running(
        configuration,
        inspected["State"]["Running"],
        copy_of=inspected["Config"]["Labels"].get(container_labels.COPY_OF),
        deployment=_deployment(roles.get(transaction.SERVING)),
        previous_deployment=_deployment(roles.get(transaction.PREVIOUS)),
    )


def _deployment(seen):
    return {"id": seen.deployment, "at": seen.deployed_at} if seen and seen.deployment else None


def _model(client, model):
    """{name, wanted, served, drift, signatures} of one model."""
    served = [
        {
            "version": one["version"],
            "state": _STATES.get(one["state"], str(one["state"])),
            "error": one["error_message"] or None,
        }
        for one in client.status(model["name"])
    ]
    available = sorted(one["version"] for one in served if one["state"] == "AVAILABLE")
    wanted, drift = _wanted(model, available)
    return {
        "name": model["name"],
        "wanted": wanted,
        "served": served,
        "drift": drift,
        "signatures": client.signatures(model["name"]) if available else {},
    }


def _wanted(model, available):
    """(the versions that a model's policy asks for, or None where nobody but the server sees them, sentences on what differs from those available)."""
    configured = model_config.ModelConfiguration.from_dict(model)
    if model_config.is_remote(configured.base_path):
        return None, [] if available else ["no version is AVAILABLE"]
    try:
        wanted = model_config.wanted_versions(
            replace(configured, labels={}), sorted(published.numbered(configured.base_path))
        )
    except OSError as fault:
        return None, [f"{model['base_path']} cannot be read: {fault.strerror}"]
    except FleetError as fault:
        return None, [str(fault)]
    return wanted, [f"version {number} is wanted and not AVAILABLE" for number in wanted if number not in available] + [
        f"version {number} is served and not wanted" for number in available if number not in wanted
    ]


def _metrics(address, port):
    """The server's figures on batching and requests, or None where it publishes none."""
    try:
        connection = http.client.HTTPConnection(address, port, timeout=_DEADLINE_S)
        connection.request("GET", _METRICS)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return metrics_text.figures(text) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
