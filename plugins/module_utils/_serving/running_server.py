# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host, described for whoever compares it with a plan."""

from __future__ import annotations

from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration


class _Model(TypedDict):
    name: str
    form: str | None  # None where the model's folder does not tell
    base_path: str


class RunningModel(_Model, total=False):
    """A model of a server that runs. A key that is not known is missing."""

    batching: dict[str, Any] | None  # parameters by name
    version_policy: dict[str, Any] | None
    labels: dict[str, int]


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

    tls: bool
    deployment: dict[str, str] | None  # {id, at} of the one that made the container, where it carries that
    previous_deployment: dict[str, str] | None  # of the container that is kept for a rollback
    copy_of: str | None  # the name without its suffix, where it is one of several of one description


def running(configuration: ServingConfiguration, alive: bool, **more: Any) -> RunningServer:
    """A server that was started from a configuration. more: what its backend knows besides."""
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
