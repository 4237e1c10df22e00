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
        version = newest(call, base_path)
        found = call("tfserving.fleet.saved_model_info", path=version[1]) if version else None
        return found and cast(Mapping[str, Any], found["saved_model"])
    except FleetError:
        return None


def newest(call: Callable[..., Mapping[str, Any]], base_path: str) -> tuple[int, str] | None:
    """Return (number, path) of the newest version below a folder, or None without a version. Raise FleetError if the folder cannot be read."""
    paths = [entry["path"] for entry in call("ansible.builtin.find", paths=[base_path], file_type="any")["files"]]
    numbered = [(path.rpartition("/")[2], path) for path in paths]
    return max(((int(name), path) for name, path in numbered if name.isdecimal()), default=None)
