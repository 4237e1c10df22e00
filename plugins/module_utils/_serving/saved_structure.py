# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a SavedModel on a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


def on_host(call: Callable[..., Mapping[str, Any]], base_path: str) -> Mapping[str, str] | None:
    """Return the structure of the newest version below a folder, or None, as described()."""
    found = described(call, base_path)
    structure: Mapping[str, str] | None = found and found["structure"]
    return structure


def described(call: Callable[..., Mapping[str, Any]], base_path: str) -> Mapping[str, Any] | None:
    """Return what saved_model_info returns for the newest version below a folder, or None if no version can be read.

    call: runs a module on the host and returns its result, or raises FleetError.
    """
    try:
        entries = call("ansible.builtin.find", paths=[base_path], file_type="any")["files"]
        numbers = [int(name) for name in (entry["path"].rpartition("/")[2] for entry in entries) if name.isdecimal()]
        if not numbers:
            return None
        found: Mapping[str, Any] = call("tfserving.fleet.saved_model_info", path=f"{base_path}/{max(numbers)}")
        return cast(Mapping[str, Any], found["saved_model"])
    except FleetError:
        return None
