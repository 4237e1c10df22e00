# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for digests of secrets. Digests in a container's labels cannot be used to guess a value.

They are keyed, and only the owner of the key's file on the host can read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders

_KEY_FILE, _KEY_BYTES = "secret.key", 32


def of(variables: Mapping[str, str], state_directory: str, check_mode: bool) -> dict[str, str]:
    """Return {variable: keyed digest of its value}. Create a missing key, except in check mode: its digests are then equal to no others."""
    if not variables:
        return {}
    key = _key(state_directory, check_mode)
    return {
        name: hmac.new(key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()
        for name, value in variables.items()
    }


def _key(state_directory: str, check_mode: bool) -> bytes:
    path, fresh = os.path.join(state_directory, _KEY_FILE), secrets.token_bytes(_KEY_BYTES)
    if not os.path.exists(path):
        if check_mode:
            return fresh
        os.makedirs(state_directory, mode=0o755, exist_ok=True)
        staged = f"{path}.{os.getpid()}"
        atomic_files.write_file(staged, fresh, 0o600)
        # The first run makes the key: a link does not replace an existing file.
        with contextlib.suppress(FileExistsError):
            os.link(staged, path)
        os.unlink(staged)
    shared_folders.refuse_foreign(path)
    with os.fdopen(shared_folders.open_file(path, os.O_RDONLY), "rb") as stream:
        return stream.read()
