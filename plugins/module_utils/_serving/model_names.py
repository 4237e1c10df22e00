# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check names of models, which are parts of paths, of URLs and of a server's configuration."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_NAME = re.compile(r"[^/:\s]+")


def check(name: Any, where: str) -> str:
    """Return the name; raise FleetError if it is not valid for a model."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (".", ".."):
        raise FleetError(
            f"{name!r} is not a valid name for a model; allowed: text without '/', ':' and spaces", where=where
        )
    return name


def check_all(given: list[Any], where: str) -> list[str]:
    """Return the names of models; raise FleetError for the first that is not valid or occurs twice."""
    for number, name in enumerate(given):
        check(name, f"{where}[{number}].name")
        if name in given[:number]:
            raise FleetError(f"two models are named {name!r}", where=where, remedy="Give each model its own name.")
    return given
