# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the containers of servers on a container engine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import container_labels
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder, as_served
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.transaction import Seen, role_of
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.containers import Containers
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    MODELS_FILE,
    ServingConfiguration,
)


class Servers(Containers):
    """The containers of servers. state_directory: where a server's folder names the container whose checks have not ended, or None to leave that out."""

    def __init__(self, socket: str | None = None, state_directory: str | None = None) -> None:
        super().__init__(socket)
        self._state_directory = state_directory

    def seen(self, name: str) -> dict[str, Seen]:
        """Return {role: Seen} of a server's containers. Raise FleetError if a container of someone else has one of their names."""
        found = {}
        unverified = ServerFolder(self._state_directory, name).unverified() if self._state_directory else None
        with self._asking("containers"):
            listed = self.api.containers(all=True, filters={"name": name})
        for one in listed:
            role = next((role for role in (role_of(name, text.lstrip("/")) for text in one["Names"]) if role), None)
            if role and (one["Labels"] or {}).get(container_labels.NAME) != name:
                raise FleetError(
                    f"the container {one['Names'][0].lstrip('/')} was not created by this collection",
                    where="name",
                    remedy="Remove it, or choose another name.",
                )
            if role:
                deployment, deployed_at = container_labels.deployment(one["Labels"])
                found[role] = Seen(
                    one["Id"],
                    one["State"],
                    one["Labels"].get(container_labels.DIGEST, ""),
                    one["ImageID"],
                    deployment,
                    deployed_at,
                    one["Labels"].get(container_labels.PREDECESSOR),
                    one["Id"] == unverified,
                )
        return found

    def moments(self, name: str) -> dict[str, tuple[datetime, datetime]]:
        """Return {id: (when it was made, when it last ended)} of a server's containers, in whole seconds."""
        found = [self.inspect(one.id) for one in self.seen(name).values()]
        return {one["Id"]: (_moment(one["Created"]), _moment(one["State"]["FinishedAt"])) for one in found}

    def servers(self) -> list[str]:
        """Return the names of all servers on the host, sorted."""
        return sorted({found[container_labels.NAME] for found in self._labels()})

    def descriptions(self) -> list[str]:
        """Return the names of all servers on the host, sorted, those of replicas without their suffix."""
        return sorted({found.get(container_labels.COPY_OF, found[container_labels.NAME]) for found in self._labels()})

    def alike(self, name: str) -> list[str]:
        """Return the names of the server and of its replicas on this host, sorted."""
        return sorted(
            {
                found[container_labels.NAME]
                for found in self._labels()
                if name in (found[container_labels.NAME], found.get(container_labels.COPY_OF))
            }
        )

    def _labels(self) -> list[dict[str, str]]:
        with self._asking("containers"):
            return [one["Labels"] for one in self.api.containers(all=True, filters={"label": container_labels.NAME})]

    def config_folders(self, name: str) -> set[str | None]:
        """Return the folders on the host that contain the configuration of a server's containers. Raise FleetError if one of them cannot be inspected."""
        return {config_folder(self.inspect(seen.id)) for seen in self.seen(name).values()}


def described(inspected: Mapping[str, Any]) -> ServingConfiguration | None:
    """Return the ServingConfiguration of an inspected container, with the models, labels and versions of its file, or None if it has none."""
    found, folder = container_labels.described(inspected["Config"]["Labels"]), config_folder(inspected)
    return as_served(found, os.path.join(folder, MODELS_FILE)) if found and folder else found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))


def config_folder(inspected: Mapping[str, Any]) -> str | None:
    """Return the folder on the host with an inspected container's configuration, or None."""
    return next(
        (mount["Source"] for mount in inspected["Mounts"] if mount["Destination"] == container_labels.FOLDER), None
    )
