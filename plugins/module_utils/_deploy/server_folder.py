# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the folder of each server below the state directory, and for the lock that a run holds while it changes the server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, pid_file, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import model_config_list
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

CONFIGURATIONS, CUDA = "config", "cuda"
OF_CONTAINERS = (CONFIGURATIONS, CUDA)  # the folders that containers mount

_UNVERIFIED = "unverified"


def as_served(configuration: ServingConfiguration, models_file: str) -> ServingConfiguration:
    """Return a configuration with the labels and versions in the server's file of models, as far as it can be read."""
    served: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError, ValueError, FleetError):
        served = model_config_list.served(shared_folders.read(models_file).decode(), models_file)
    return replace(
        configuration, models=tuple(replace(one, **served.get(one.name, {})) for one in configuration.models)
    )


class ServerFolder:
    """A server's folder. Use it inside `with folder.locked():`."""

    def __init__(self, state_directory: str, name: str) -> None:
        # In normal form, as engines return it. normpath keeps two slashes at the beginning.
        self.name, self.state_directory = name, "/" + os.path.normpath(state_directory).lstrip("/")
        self.directory = os.path.join(self.state_directory, "servers", name)

    @contextlib.contextmanager
    def locked(self, timeout_s: float = 60.0, create: bool = True) -> Iterator[None]:
        """Hold the server's lock. create: create it and the server's folder; without it, a server that never existed needs no lock."""
        lock = os.path.join(os.path.dirname(self.directory), f".{self.name}.lock")
        shared_folders.refuse_foreign(self.directory)
        if not create and not os.path.exists(lock):
            yield
            return
        os.makedirs(os.path.dirname(lock), mode=0o755, exist_ok=True)
        with shared_folders.lock_file(lock) as stream:
            atomic_files.lock(stream, timeout_s, "server", self.name)
            if create:
                os.makedirs(self.directory, mode=0o755, exist_ok=True)
            yield

    def is_locked(self) -> bool:
        """Return whether another run is changing the server."""
        try:
            with self.locked(0.0, create=False):
                return False
        except FleetError:
            return True

    def process(self) -> int | None:
        """Return the process id of the embedded server that was last started, or None if it has ended."""
        return pid_file.process_of(self.path("server.pid"))

    @property
    def is_contained(self) -> bool:
        """Return whether a server of this name runs or is kept in a container, which reads its files here."""
        return any(os.path.isdir(self.path(name)) for name in OF_CONTAINERS)

    def remains(self, contained: bool) -> list[str]:
        """Return the names of the server's files. contained: of one in a container. Those of a server of the other backend are not included."""
        alone = self.process() is None if contained else not self.is_contained
        names = os.listdir(self.directory) if os.path.isdir(self.directory) else []
        return [name for name in names if alone or (name in OF_CONTAINERS) == contained]

    def unverified(self) -> str | None:
        """Return the id of the container, or the record of the embedded server, that a run started and whose checks have not ended; or None."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return shared_folders.read(self.path(_UNVERIFIED)).decode()
        return None

    def set_unverified(self, record: str | None) -> None:
        """Record, before it starts, a server whose checks have not ended. None: they ended. The record is all that the run after a killed one sees of this."""
        if record is not None:
            atomic_files.write_file(self.path(_UNVERIFIED), record.encode())
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(_UNVERIFIED))

    def remove(self, contained: bool) -> None:
        """Remove the files of the server, which must have ended, with its log. contained: as for remains()."""
        for name in self.remains(contained):
            shutil.rmtree(self.path(name), ignore_errors=True)
            with contextlib.suppress(OSError):
                os.unlink(self.path(name))
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)

    def path(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.directory, name)
