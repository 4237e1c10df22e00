# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store the plans of a fleet in a JSON file."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_NEEDED = {"models", "server", "refusals"}


def write(plans: dict[str, Any], path: str | None, check_mode: bool) -> Decision:
    """Write the plans unless the file contains them already, and return the decision. path: None for no file."""
    if not path:
        return Decision(changed=False)
    after, before = json.dumps(plans, indent=2, sort_keys=True) + "\n", ""
    try:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                before = stream.read()
        if before != after and not check_mode:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            atomic_files.write_file(path, after.encode())
    except OSError as fault:
        raise FleetError(f"cannot write {path!r}: {fault.strerror}", where="path") from fault
    return Decision(
        changed=before != after,
        before=before,
        after=after,
        header=path,
        actions=(f"Write {path}",) if before != after else (),
    )


def read(path: str) -> dict[str, Any]:
    """Return the plans that an earlier run wrote, {host: plan or None}."""
    try:
        with open(path, encoding="utf-8") as stream:
            plans = json.load(stream)
    except (OSError, ValueError) as fault:
        raise FleetError(
            f"cannot read {path!r} as earlier plans: {fault}",
            where="earlier",
            remedy="Set it to a file that an earlier run wrote.",
        ) from fault
    if not isinstance(plans, dict) or not all(
        plan is None or (isinstance(plan, dict) and _NEEDED <= set(plan)) for plan in plans.values()
    ):
        raise FleetError(
            f"{path!r} does not contain plans by host",
            where="earlier",
            remedy="Set it to a file that an earlier run wrote.",
        )
    return plans
