# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host, described for whoever compares it with a plan."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader, schema
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import variants


class _Model(TypedDict):
    name: str
    form: str | None  # None where the model's folder does not tell
    base_path: str


class RunningModel(_Model, total=False):
    """A model of a server that runs. A key that is not known is missing."""

    batching: dict[str, Any] | None  # parameters by name
    version_policy: dict[str, Any] | None  # of servers in containers
    labels: dict[str, int]  # of servers in containers


class _Server(TypedDict):
    name: str
    backend: str  # docker or embedded
    state: str  # started or stopped
    image: str | None  # the name that the server was started from
    models: list[RunningModel]
    flags: dict[str, Any]  # less what ports, models and batching say for themselves
    environment: dict[str, str]
    cpu_set: str | None
    devices: list[dict[str, Any]]
    address: str
    grpc_port: int
    rest_port: int | None


class RunningServer(_Server, total=False):
    """A server that runs on a host, the same from run to run: without process ids and times."""

    tls: bool  # of servers in containers
    deployment: dict[str, str] | None  # {id, at} of the one that made the container, where it carries that
    previous_deployment: dict[str, str] | None  # of the container that is kept for a rollback
    copy_of: str | None  # the name without its suffix, where it is one of several of one description


_BATCHING_FLAGS = ("enable_batching", "enable_per_model_batching_parameters")
# What a wrapper message without a value holds, where that is not 0.
_UNSET = {"thread_pool_name": "", "enable_large_batch_splitting": False}


def of_embedded(specification: Mapping[str, Any], alive: bool, batching_text: str | None = None) -> RunningServer:
    """An embedded server. specification: as its state has it; batching_text: the text proto of its batching parameters, where it has any."""
    models = specification.get("models") or [
        {"name": specification["model_name"], "base_path": specification["model_base_path"]}
    ]
    return {
        "name": specification["name"],
        "backend": specification["backend"],
        "state": "started" if alive else "stopped",
        "image": None,
        "models": [_model(specification, model, batching_text) for model in models],
        "flags": _flags(specification),
        "environment": specification["environment"],
        "cpu_set": specification["cpu_set"],
        "devices": [],
        "address": specification["address"],
        "grpc_port": specification["grpc_port"],
        "rest_port": specification["rest_port"],
    }


def of_container(specification: Mapping[str, Any], alive: bool, batching_text: str | None = None) -> RunningServer:
    """A server in a container. specification: as its label has it; the rest as for of_embedded."""
    models: list[RunningModel] = [
        {
            **_model(specification, model, batching_text),
            "version_policy": model["version_policy"],
            "labels": model["labels"],
        }
        for model in specification["models"]
    ]
    return {
        "name": specification["name"],
        "backend": "docker",
        "state": "started" if alive else "stopped",
        "image": specification["image"],
        "models": models,
        "flags": _flags(specification),
        "environment": specification["environment"],
        "cpu_set": specification["cpu_set"],
        "devices": specification["devices"],
        "address": specification["address"],
        "grpc_port": specification["grpc_port"],
        "rest_port": specification["rest_port"],
        "tls": "ssl.pbtxt" in specification["files"],
    }


def _model(specification: Mapping[str, Any], model: Mapping[str, Any], batching_text: str | None) -> RunningModel:
    """A model, without `batching` where it is not known what the server loaded it with: each has its own file, or the file cannot be read."""
    known: RunningModel = {"name": model["name"], "form": form_of(model["base_path"]), "base_path": model["base_path"]}
    if specification["flags"].get("enable_per_model_batching_parameters"):
        return known
    parameters = parameters_of(batching_text) if batching_text is not None else None
    return known if batching_text is not None and parameters is None else {**known, "batching": parameters}


def _flags(specification: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in specification["flags"].items() if name not in _BATCHING_FLAGS}


def form_of(base_path: str) -> str | None:
    """The form of the models below a folder of published models, or None."""
    name = posixpath.basename(base_path.rstrip("/"))
    return name if name in variants.SERVED else None


def parameters_of(text: str) -> dict[str, Any] | None:
    """The parameters of a text proto of BatchingParameters; None where the text is not one, and what a server loaded is not known."""
    try:
        fields = reader.read(text, schema.BATCHING, "batching")
    except FleetError:
        return None
    found: dict[str, Any] = {}
    for name, value in fields:
        if name == "allowed_batch_sizes":
            found.setdefault(name, []).append(value)
        else:
            found[name] = dict(value).get("value", _UNSET.get(name, 0)) if isinstance(value, list) else value
    return found
