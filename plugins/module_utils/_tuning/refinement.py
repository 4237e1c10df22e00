# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidates around a kept configuration: twice and half of each of its numbers, and further in the direction that helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import Candidate

# The numbers of a configuration that change its speed: (part, name), the most promising first.
SIZE = "max_execution_batch_size"
KNOBS = (
    ("batching", "batch_timeout_micros"),
    ("batching", "num_batch_threads"),
    ("batching", SIZE),
    ("batching", "max_batch_size"),
    ("flags", "tensorflow_intra_op_parallelism"),
    ("flags", "tensorflow_inter_op_parallelism"),
    ("flags", "num_tflite_pools"),
    ("flags", "num_tflite_interpreters_per_pool"),
    ("flags", "rest_api_num_threads"),
)
FACTORS = (2.0, 0.5)
_FIRST_TIMEOUT_MICROS = 1000  # the value after 0
_LEAST_TIMEOUT_MICROS = 250  # this value and smaller ones become 0


Direction = tuple[str, str, float]  # part and name of a number, and the factor to the next value


def directions(change: Mapping[str, Any]) -> list[Direction]:
    """Return the directions from the numbers that a change set."""
    return [(part, name, factor) for part, name in KNOBS if name in (change.get(part) or {}) for factor in FACTORS]


def candidate(kept: Configuration, direction: Direction, in_flight: int) -> Candidate | None:
    """Return the next candidate in a direction from the kept configuration, or None if there is no valid one.

    in_flight: rows that clients have in flight; a larger batch than that never fills.
    """
    part, name, factor = direction
    now: dict[str, Any] = dict(kept[part] or {})  # type: ignore[literal-required]
    value = _next(name, now[name], factor) if isinstance(now.get(name), int) else None
    if value is None or name == SIZE and factor > 1 and now[name] >= in_flight:
        return None
    whole = {**now, name: value}
    if part == "batching":
        whole = parameters.with_room(whole)
        try:
            parameters.check(whole)
        except FleetError:
            return None
    return {
        "name": f"{name} {value}",
        "change": {part: whole if part == "batching" else {name: value}},
        "reason": f"{'more' if factor > 1 else 'less'} than the current {now[name]}",
        "model": None,
    }


def _next(name: str, value: int, factor: float) -> int | None:
    """Return the next value in a direction, or None at the end."""
    if name == "batch_timeout_micros":
        if value == 0:
            return _FIRST_TIMEOUT_MICROS if factor > 1 else None
        changed = int(value * factor)
        return changed if changed > _LEAST_TIMEOUT_MICROS else 0
    changed = int(value * factor)
    return changed if 1 <= changed != value else None
