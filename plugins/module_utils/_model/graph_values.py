# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Represent what is known about a tensor before a graph runs, and compute with it."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._model import graph

_FLOAT32 = 1
COMPUTED: dict[str, Callable[..., Any]] = {
    "Add": lambda a, b: a + b,
    "AddV2": lambda a, b: a + b,
    "Equal": lambda a, b: a == b,
    "Greater": lambda a, b: a > b,
    "GreaterEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessEqual": lambda a, b: a <= b,
    "LogicalAnd": lambda a, b: a and b,
    "LogicalNot": lambda a: not a,
    "LogicalOr": lambda a, b: a or b,
    "Maximum": max,
    "Minimum": min,
    "Mul": lambda a, b: a * b,
    "Floor": math.floor,
    "Neg": lambda a: -a,
    "NotEqual": lambda a, b: a != b,
    "Sub": lambda a, b: a - b,
    "All": lambda a, _axes: a,
    "Any": lambda a, _axes: a,
}
_DECIDING = {"LogicalAnd": False, "LogicalOr": True}


@dataclass(frozen=True)
class Constant:
    """A tensor with one element of known value."""

    value: Any


@dataclass(frozen=True)
class Range:
    """A tensor whose values are at least `least` and less than `most`."""

    least: float
    most: float


@dataclass(frozen=True)
class Resource:
    """A variable or a table. reference: a variable of TensorFlow 1, which every operation that uses it reads."""

    name: str
    reference: bool = False


# A tensor that never gets a value.
DEAD = object()
# A tensor that depends on the request.
REQUEST = object()


@dataclass(frozen=True)
class Guarded:
    """One output of a Switch while the branch is unknown."""

    value: object
    branch: tuple[graph.Reference, int, bool]


def either(values: Sequence[object], by_request: bool = False) -> object:
    """Return what is known about a tensor that has one of these values."""
    if all(value == values[0] for value in values):
        return values[0]
    return REQUEST if by_request or REQUEST in values else None


def cast(value: object, number: int) -> Constant | None:
    if not isinstance(value, Constant) or isinstance(value.value, bytes):
        return None
    letter, _field = graph.NUMBERS.get(number, ("", 0))
    if letter == "?":
        return Constant(bool(value.value))
    if letter in ("f", "d"):
        return Constant(_rounded(float(value.value), number))
    return Constant(int(value.value)) if letter and abs(value.value) < 1 << 7 else None


def computed(op: str, values: Sequence[object], number: int) -> Constant | Range | None:
    if any(isinstance(value, Constant) and value.value is _DECIDING[op] for value in values if op in _DECIDING):
        return Constant(_DECIDING[op])
    if any(isinstance(value, Range) for value in values):
        return _in_range(op, values)
    needed = values[:1] if op in ("All", "Any") else values
    if not needed or not all(isinstance(value, Constant) for value in needed):
        return None
    try:
        result = COMPUTED[op](*(value.value if isinstance(value, Constant) else None for value in values))
        return Constant(_rounded(result, number))
    except (TypeError, OverflowError, struct.error):
        return None


def _in_range(op: str, values: Sequence[object]) -> Constant | Range | None:
    """Compute as _computed if one value is a Range. A comparison or a floor may have the same result for all of it, as in a dropout that drops nothing."""
    ends: list[list[Any]] = [
        [getattr(value, end, getattr(value, "value", None)) for value in values] for end in ("least", "most")
    ]
    if (
        any(value is None or isinstance(value, bytes) for value in (*ends[0], *ends[1]))
        or sum(isinstance(value, Range) for value in values) != 1
    ):
        return None
    first = isinstance(values[0], Range)
    if op in ("Add", "AddV2", "Mul") or (op == "Sub" and first):
        least, most = (COMPUTED[op](*end) for end in ends)
        return Range(least, most) if least < most else None
    if op == "Floor":
        return Constant(float(math.floor(ends[0][0]))) if math.floor(ends[0][0]) == math.ceil(ends[1][0]) - 1 else None
    if op in ("GreaterEqual", "Less") and first:
        (least, limit), (most, _limit) = ends
        return Constant((op == "GreaterEqual") == (least >= limit)) if least >= limit or most <= limit else None
    return None


def _rounded(value: Any, number: int) -> Any:
    return (
        struct.unpack("<f", struct.pack("<f", value))[0] if number == _FLOAT32 and isinstance(value, float) else value
    )
