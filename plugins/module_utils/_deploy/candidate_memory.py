# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that decides whether this host has the memory for a candidate alongside the current server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import expected_answers
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration

# The memory of a server in addition to its model's files is unknown before it runs: TensorFlow itself, buffers, a
# second version.
_FACTOR = 4
_SPARE_MIB = 256


def fits(models: Sequence[ModelConfiguration], memory_mib: int | None = None) -> bool:
    """Return whether a server of models (as in model_config) fits into the free memory; True if that is unknown.

    memory_mib: the limit of the server.
    """
    available_kib = Files().memory_kib("MemAvailable")
    with contextlib.suppress(FleetError, OSError):
        memory_mib = memory_mib or _SPARE_MIB + _FACTOR * sum(_size_bytes(model) for model in models) // 2**20
    return not (available_kib and memory_mib and available_kib >> 10 < memory_mib)


def _size_bytes(model: ModelConfiguration) -> int:
    found = 0
    for version in expected_answers.versions(model):
        for parent, _folders, names in shared_folders.walk(os.path.join(model.base_path, str(version))):
            found += sum(
                os.path.getsize(path) for path in (os.path.join(parent, name) for name in names) if os.path.isfile(path)
            )
    return found
