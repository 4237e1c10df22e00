# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the record of the last deployment that changed a server of this host, or failed.

A deployment that fails, or is killed, may leave no container that names it. Without this record, the deployment before
it would count as the last one, and a rollback would undo that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


def remember(options: Mapping[str, Any]) -> None:
    """Record the deployment in the options of model_server, if there is one. Raise OSError or FleetError."""
    deployment, path = options["deployment"], _path(options["state_directory"])
    if deployment:
        shared_folders.refuse_foreign(path)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        atomic_files.write_file(path, json.dumps(deployment).encode() + b"\n")


def last(state_directory: str) -> dict[str, str] | None:
    """Return the recorded deployment, {id, at}, or None. Raise FleetError for a record that cannot be read."""
    path = _path(state_directory)
    try:
        found = json.loads(shared_folders.read(path))
        id_at = {"id": found["id"], "at": found["at"]}
        if not all(isinstance(value, str) for value in id_at.values()):
            raise TypeError("it is not a deployment")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise FleetError(
            f"cannot read which deployment was the last one ({fault})",
            where=path,
            remedy="Remove the file. For the next rollback, name the deployment (tfserving_deployment).",
        ) from fault
    return id_at


def _path(state_directory: str) -> str:
    return os.path.join(state_directory, "servers", ".attempt.json")
