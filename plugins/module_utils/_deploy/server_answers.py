# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that queries a server for its current state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import published
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, metrics_text, stdlib_client
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config

_METRICS = "/monitoring/prometheus/metrics"
_DEADLINE_S = 5.0
_STATES = {number: name for name, number in grpc_api.STATES.items()}


def asked(server: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a described server answers: {name, answers, reason, models, metrics}. It changes all the time, so it is not part of a fact."""
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


def _model(client: stdlib_client.Server, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return {name, wanted, served, drift, signatures} of one model."""
    served: list[dict[str, Any]] = [
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


def _wanted(model: Mapping[str, Any], available: Sequence[int]) -> tuple[list[int] | None, list[str]]:
    """Return (the versions that a model's policy selects, or None if only the server sees them; sentences about differences from the available ones)."""
    configured = model_config.ModelConfiguration.from_dict(model)
    if model_config.is_remote(configured.base_path):
        return None, [] if available else ["no version is AVAILABLE"]
    try:
        wanted = model_config.wanted_versions(
            replace(configured, labels={}), sorted(published.numbered(configured.base_path))
        )
    except OSError as fault:
        return None, [f"cannot read {model['base_path']}: {fault.strerror}"]
    except FleetError as fault:
        return None, [str(fault)]
    return wanted, [
        f"version {number} is configured but not AVAILABLE" for number in wanted if number not in available
    ] + [f"version {number} is served but not configured" for number in available if number not in wanted]


def _metrics(address: str, port: int) -> Any:
    """Return the server's figures about batching and requests, or None if it publishes none."""
    found = stdlib_client.page(address, port, _METRICS)
    return metrics_text.figures(found[1]) if found and found[0] == 200 else None
