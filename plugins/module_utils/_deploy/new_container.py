# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the container that the options of model_server describe: its ServingConfiguration, its files, and its creation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    container,
    container_files,
    container_labels,
    requested,
    secret_digests,
    transaction,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_containers import Servers
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import CUDA, ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    MODELS_FILE,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration


class NewContainer:
    """The container of a server before it exists. options: the module's. folder: the server's. In check mode, do not create it."""

    def __init__(self, options: Mapping[str, Any], engine: Servers, folder: ServerFolder, check_mode: bool) -> None:
        self._options, self._engine, self._folder, self._check_mode = options, engine, folder, check_mode
        self._files = container_files.contents(options, requested.models(options, None), check_mode)
        self._secrets = {name: str(value) for name, value in options["secret_environment"].items() if value is not None}
        # Replicas share it, so that CUDA compiles once.
        self._cuda_cache = ServerFolder(options["state_directory"], options["copy_of"] or options["name"]).path(CUDA)

    def configuration(self) -> ServingConfiguration:
        """Return the ServingConfiguration that the options describe."""
        options = self._options
        return requested.configuration(
            options,
            self._files,
            backend="docker",
            image=options["image"],
            release=container.release_of(options["image"], options["release"]),
            files=container_files.digests(self._files),
            secrets=secret_digests.of(self._secrets, options["state_directory"], self._check_mode),
            devices=tuple(dict(one, id=one["id"] or _uuid(one["pci_bus_id"])) for one in options["devices"]),
            capabilities=tuple(sorted(options["capabilities"])),
            **{
                key: options[key]
                for key in (
                    "address",
                    "grpc_socket_directory",
                    "memory_mib",
                    "user",
                    "read_only",
                    "restart_policy",
                    "log_max_mib",
                    "log_files",
                    "network",
                )
            },
        )

    def create(self, spec: ServingConfiguration, role: str, models: tuple[ModelConfiguration, ...]) -> None:
        """Create the container of a role. models: with all labels that it starts with; the specification contains only those that the user named."""
        folder = container_files.folder_of(self._folder.directory, spec)
        files: dict[str, Any] = {**self._files, MODELS_FILE: model_config.text(models).encode()}
        container_files.write(folder, files, spec, self._cuda_cache, self._engine.id_offset())
        entry_point = self._engine.entry_point(self._options["image"]) if spec.grpc_socket_directory else ()
        around = container.Around(
            folder,
            self._secrets,
            container_files.selinux(),
            self._cuda_cache,
            entry_point,
            self._options["engine"] == "podman",
        )
        body = container.body(replace(spec, models=models), around, role == transaction.CANDIDATE)
        made = self._options["deployment"]
        before = transaction.predecessor(self._engine.seen(spec.name), made and made["id"])
        more = {
            container_labels.COPY_OF: self._options["copy_of"],
            container_labels.DEPLOYMENT: made and f"{made['at']} {made['id']}",
            container_labels.PREDECESSOR: before,
        }
        body["Labels"] = {**container.labels_of(spec), **{label: value for label, value in more.items() if value}}
        self._engine.make(transaction.container_name(spec.name, role), body)


def _uuid(pci_bus_id: str) -> str:
    """Return the name of a GPU for NVIDIA's tools: its UUID if the driver reports it, or else its address."""
    text = Files().text(f"proc/driver/nvidia/gpus/{pci_bus_id.lower()}/information")
    found = re.search(r"^GPU UUID:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else pci_bus_id
