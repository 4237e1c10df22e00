# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Format figures: percentages, rates and latencies with their significant digits."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import Interval, StepSummary

NOT_MEASURED = "not measured"
_SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
_MISLEADING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF, 0xFFFE, 0xFFFF}


def clean(text: object) -> str:
    """Return text from outside without control characters, surrogates and bidi overrides, which affect terminals, order and documents."""
    return "".join(
        character
        if character in "\n\t" or not (unicodedata.category(character) in ("Cc", "Cs") or ord(character) in _MISLEADING)
        else "\N{REPLACEMENT CHARACTER}"
        for character in str(text)
    )


def ascii_only(text: str) -> str:
    """Return the same figures for a terminal: plain spaces and hyphens."""
    return (
        text.replace(_SPACE, " ")
        .replace(MINUS, "-")
        .replace("\N{RIGHTWARDS ARROW}", "->")
        .replace("\N{MULTIPLICATION SIGN}", "x")
    )


def significant(value: float, digits: int = 3) -> str:
    """1234.5 → 1,230; 87.44 → 87.4; 0 → 0. Far from everyday sizes: 3.2e-07. value: a finite number."""
    if value == 0:
        return "0"
    exponent = int(f"{abs(value):.{digits - 1}e}".rpartition("e")[2])
    if not -4 <= exponent <= 8:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace("-", MINUS)


def figure(value: float | None) -> str:
    """Return a measured number without its unit, for a column that states it."""
    return NOT_MEASURED if value is None else significant(value)


def rate(value: float | None) -> str:
    """Requests per second: '1,230 requests/s'."""
    return _with_unit(value, "requests/s")


def milliseconds(value: float | None) -> str:
    """'12.3 ms'."""
    return _with_unit(value, "ms")


def count(value: int | None) -> str:
    """'12,345'; counts are exact."""
    return NOT_MEASURED if value is None else f"{value:,}"


def share(fraction: float | None) -> str:
    """Return an unsigned fraction with two significant digits: 0.0213 → '2.1 %'."""
    return NOT_MEASURED if fraction is None else f"{significant(100 * fraction, 2)}{_SPACE}%"


def gain(fraction: float | None, interval: Interval | None = None) -> str:
    """Return a signed fraction, as fine as its interval allows: 0.1234 → '+12 %'."""
    return NOT_MEASURED if fraction is None else _signed(fraction, _decimals(fraction, interval)) + f"{_SPACE}%"


def factor(value: float | None) -> str:
    """Return a multiple of the start's goodput: 1.4567 → '×1.46'."""
    return NOT_MEASURED if value is None else f"\N{MULTIPLICATION SIGN}{significant(value)}"


def gain_interval(fraction: float | None, interval: Interval | None) -> str:
    """Return the interval of a gain, as fine as the gain is written: '10 to 15 %', '10 % or more' if an end is open."""
    if interval is None or interval == [None, None]:
        return NOT_MEASURED
    decimals = _decimals(fraction, interval)
    low, high = (None if bound is None else _percentage(bound, decimals) for bound in interval)
    if low is None:
        return f"{high}{_SPACE}%{_SPACE}or{_SPACE}less"
    return f"{low}{_SPACE}%{_SPACE}or{_SPACE}more" if high is None else f"{low}{_SPACE}to{_SPACE}{high}{_SPACE}%"


def gain_with_interval(fraction: float | None, interval: Interval | None) -> str:
    """'+12 % (10 to 15 %)'; only the gain if there is no interval."""
    bounds = gain_interval(fraction, interval)
    return (
        gain(fraction, interval)
        if NOT_MEASURED in (bounds, gain(fraction))
        else f"{gain(fraction, interval)} ({bounds})"
    )


def metric(value: float | None, name: str | None = None, examples: int | None = None, finer: int = 0) -> str:
    """Return a task metric. An accuracy is a percentage, as fine as the number of examples allows; any other metric keeps its own scale.

    name: the metric's name or None (an accuracy). examples: how many it was counted over, or None. finer: digits more than that.
    """
    if value is None:
        return NOT_MEASURED
    if not 0 <= value <= 1 or (name is not None and "accuracy" not in name.lower()):
        return significant(value, 4 + finer)
    decimals = 1 if not examples else max(0, math.ceil(math.log10(examples)) - 2)
    return f"{100 * value:.{min(decimals, 3) + finer}f}{_SPACE}%"


def metric_change(
    before: float | None, after: float | None, name: str | None = None, examples: int | None = None
) -> str:
    """'97.2 %', or '97.2 → 96.9 %' where it changed; a change is always visible."""
    if before is None or after is None or before == after:
        return metric(before if after is None else after, name, examples)
    finer = next(
        (
            digits
            for digits in range(3)
            if metric(before, name, examples, digits) != metric(after, name, examples, digits)
        ),
        3,
    )
    text, unit = metric(before, name, examples, finer), f"{_SPACE}%"
    if text.endswith(unit) and metric(after, name, examples).endswith(unit):
        text = text[: -len(unit)]
    return f"{text} \N{RIGHTWARDS ARROW} {metric(after, name, examples, finer)}"


def accuracy_change(step: StepSummary, method: dict[str, Any]) -> str:
    """metric_change() of a step's accuracy. method: of its tuning."""
    accuracy = step["accuracy"]
    return metric_change(accuracy["before"], accuracy["after"], method.get("metric"), method.get("examples"))


def plain(value: Any, nothing: str = "none") -> str:
    """Any data as a short text: null as nothing, lists with commas, mappings as 'key = value'."""
    if value is None or value == [] or value == {}:
        return nothing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(
            f"{key}: {plain(item)}" if isinstance(item, dict) else f"{key} = {plain(item)}"
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def plural(number: int, noun: str) -> str:
    """'1 host', '1,000 hosts', '2 classes'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def _with_unit(value: float | None, unit: str) -> str:
    return NOT_MEASURED if value is None else f"{significant(value)}{_SPACE}{unit}"


def _decimals(fraction: float | None, interval: Interval | None) -> int:
    decimals = 0
    low, high = interval or (None, None)
    if low is not None and high is not None:
        half_width = abs(high - low) / 2
        decimals = 0 if half_width >= 0.01 or not half_width else 1 if half_width >= 0.001 else 2
    return max(decimals, 1) if fraction is not None and abs(fraction) < 0.1 else decimals


def _percentage(fraction: float, decimals: int) -> str:
    text = f"{100 * fraction:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def _signed(fraction: float, decimals: int) -> str:
    text = _percentage(fraction, decimals)
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"
