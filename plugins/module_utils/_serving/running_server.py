# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe what runs on a host, to compare it with a plan."""

from __future__ import annotations

from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration


class _Model(TypedDict):
    name: str
    form: str | None  # None if the model's folder does not show it
    base_path: str


class RunningModel(_Model, total=False):
    """A model of a running server. Unknown keys are missing."""

    batching: dict[str, Any] | None  # parameters by name
    version_policy: dict[str, Any] | None
    labels: dict[str, int]


class _Server(TypedDict):
    name: str
    backend: str  # docker or embedded
    state: str  # started or stopped
    image: str | None  # the name that the server was started from
    models: list[RunningModel]
    flags: dict[str, Any]  # without those for ports, models and batching
    environment: dict[str, str]
    cpu_set: str | None
    devices: list[dict[str, Any]]
    address: str
    grpc_port: int
    rest_port: int | None


class RunningServer(_Server, total=False):
    """A server on a host. Without process ids and times, so that it is equal from run to run."""

    tls: bool
    deployment: dict[str, str] | None  # {id, at} of the deployment that made the container, if it records one
    previous_deployment: dict[str, str] | None  # of the container that is kept for a rollback
    copy_of: str | None  # the name without its suffix, if it is a replica


def running(configuration: ServingConfiguration, alive: bool, **more: Any) -> RunningServer:
    """Return a server that was started from a configuration. more: what only its backend knows."""
    data = configuration.to_dict()
    return cast(
        RunningServer,
        {
            **{key: data[key] for key in _Server.__annotations__ if key in data},
            "state": "started" if alive else "stopped",
            "tls": configuration.speaks_tls,
            **more,
        },
    )
