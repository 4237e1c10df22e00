# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Summarize the document: the headline, and a table for a terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._report import words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import (
    Cost,
    Document,
    Step,
    StepSummary,
    Tuning,
)

_NAME_WIDTH = 34
_LINE_WIDTH = 100
_HEADINGS = ("step", "kept", "requests/s", "gain [interval]", "of start", "p50 ms", "p99 ms", "accuracy")


def headline(document: Document) -> str:
    """Return what was gained in total, in one or two sentences."""
    tuned = measured(document)
    if not tuned:
        return f"Nothing has been measured yet. This report shows what {words.plural(len(document['hosts']), 'host')} can do, and the plan."
    if len(tuned) == 1:
        return _tuning_headline(tuned[0])
    better = sorted(
        (tuning["total"] for tuning in tuned if is_gain(tuning["total"])), key=lambda total: total["gain"] or 0
    )
    if not better:
        return f"The baseline was kept in all {len(tuned)} tunings: {_why_none([step for tuning in tuned for step in tuning['steps']])}."
    least, most = (words.gain(total["gain"], total["gain_interval"]).lstrip("+") for total in (better[0], better[-1]))
    span = f"by {least}" if least == most else f"by {least} to {most}"
    return f"{_what(tuned)} rose {span} in {len(better)} of {len(tuned)} tunings."


def _tuning_headline(tuning: Tuning) -> str:
    total = tuning["total"]
    if not any(step["kept"] for step in tuning["steps"]):
        return f"The baseline was kept: {_why_none(tuning['steps'])}."
    if total["gain"] is None:
        return "Some steps were kept, but the total was not measured."
    gain = words.gain_with_interval(total["gain"], total["gain_interval"])
    if is_gain(total):
        return f"{_what([tuning])} rose by {gain.lstrip('+')}{_from_to(tuning)}."
    if beyond_noise(total):
        low, high = total["gain_interval"] or (None, None)
        lost = words.gain_with_interval(
            -total["gain"], [None if bound is None else -bound for bound in (high, low)]
        ).lstrip("+")
        return f"{_what([tuning])} fell in total by {lost}{_from_to(tuning)}, although single steps were kept."
    if None in (total["gain_interval"] or [None]):
        return f"No gain was verified in total, although single steps were kept: {total['reason'].rstrip('.') or 'too little was measured'}."
    return f"No gain was verified in total: {gain} is not beyond the noise, although single steps were kept."


def beyond_noise(step: StepSummary) -> bool:
    """Return whether the gain or loss is larger than the noise floor and its interval leaves zero out."""
    low, high = step["gain_interval"] or (None, None)
    excludes_zero = low is not None and low > 0 or high is not None and high < 0
    return excludes_zero and step["gain"] is not None and abs(step["gain"]) > (step["noise_floor"] or 0)


def is_gain(step: StepSummary) -> bool:
    """Return whether this is a gain beyond the noise."""
    return beyond_noise(step) and step["gain"] is not None and step["gain"] > 0


def measured(document: Document) -> list[Tuning]:
    """Return the tunings of the hosts that were measured for their class, and of all hosts whose class is not known."""
    chosen = {known["tuned_host"] for known in document["classes"]}
    return [
        tuning
        for entry in document["hosts"]
        if entry["host"] in chosen or entry["class"]["tuning"] is None
        for tuning in entry["tunings"]
    ]


def lines(document: Document) -> list[str]:
    """Return the summary as a list of text lines."""
    text = textwrap.wrap(_line(headline(document)), _LINE_WIDTH) + textwrap.wrap(document["statement"], _LINE_WIDTH)
    tuned = measured(document)
    several_images = len({str(tuning.get("image")) for tuning in tuned}) > 1
    for tuning in tuned:
        named = f"{tuning['host']}, model {tuning['model']}" if tuning["model"] else tuning["host"]
        named += f", image {tuning['image']}" if several_images else ""
        text += ["", _shortened(_line(named), _LINE_WIDTH)]
        text += table(
            [_HEADINGS]
            + [_row(step, tuning["method"]) for step in tuning["steps"]]
            + [_row(tuning["total"], tuning["method"], decided=False)]
        )
        if tuning["method"]["noise_floor"] is not None:
            void = tuning["method"].get("void_windows")
            text.append(
                _line(
                    f"noise floor {words.share(tuning['method']['noise_floor'])}, {words.count(tuning['method']['requests'])} requests counted"
                    + (f", {words.plural(void, 'window')} void: see the report for the reasons" if void else "")
                )
            )
        open_loop = tuning["total"]["open_loop"]
        rates = open_loop and open_loop.get("highest_rps")  # a report of an earlier version has none
        if rates:
            within = words.milliseconds(tuning["method"]["objective_p99_ms"])
            before, after = words.rate(rates["before"]), words.rate(rates["after"])
            text.append(_line(f"highest rate with a p99 within {within}: {before} before, {after} after"))
    for cost in document.get("costs", []):  # a report of an earlier version has none
        text += textwrap.wrap(_line(_cost(cost)), _LINE_WIDTH)
    return text


def _cost(cost: Cost) -> str:
    """'1 million requests of digits on x86-64-v3 cost 0.42 before, 0.12 after (3 hosts, 1.20 per hour)'."""
    where = f"on {cost['tuning']}" if cost["tuning"] else "on all classes"
    hosts = f"{words.plural(cost['hosts'], 'host')}, {words.figure(cost['price_per_hour'])} per hour"
    model = f" of {cost['model']}" if cost["model"] else ""
    return f"1 million requests{model} {where} cost {words.figure(cost['before'])} before, {words.figure(cost['after'])} after ({hosts})"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as aligned lines, the first row ruled off, the last one too; first column to the left, figures to the right."""
    rows = [[_shortened(_line(cell)) for cell in row] for row in rows]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    written = [
        "  ".join(_padded(cell, widths[column], left=column < 2) for column, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return written[:1] + [rule] + written[1:-1] + [rule] + written[-1:]


def _why_none(steps: Sequence[StepSummary]) -> str:
    steps = [step for step in steps if not step.get("advice")]
    if all(step["gain"] is None for step in steps):
        return "no step could be measured"
    unfit = " and still kept accuracy and latency within their limits" if any(is_gain(step) for step in steps) else ""
    return f"nothing beat it by more than the noise{unfit}"


def _row(step: Step, method: dict[str, Any], decided: bool = True) -> tuple[str, ...]:
    gain = words.gain_with_interval(step["gain"], step["gain_interval"]).replace("(", "[").replace(")", "]")
    return (
        step["name"],
        ("advice" if step.get("advice") else "yes" if step["kept"] else "no") if decided else "",
        words.figure(step["goodput_rps"]),
        gain,
        words.factor(step.get("factor")) if step.get("factor") is not None else "",  # an earlier version had none
        words.figure(step["p50_ms"]),
        words.figure(step["p99_ms"]),
        words.accuracy_change(step, method),
    )


def _line(text: str) -> str:
    return words.ascii_only(" ".join(words.clean(text).split()))


def _what(tuned: Sequence[Tuning]) -> str:
    return "Speed" if any(tuning["method"].get("goal") == "latency" for tuning in tuned) else "Goodput"


def _from_to(tuning: Tuning) -> str:
    total, objective = tuning["total"], tuning["method"]["objective_p99_ms"]
    if _what([tuning]) == "Speed":
        old, new = total["before"]["p99_ms"], total["p99_ms"]
        return (
            f", from a p99 of {words.milliseconds(old)} to {words.milliseconds(new)} at the same rate"
            if old and new
            else ""
        )
    before, after = total["before"]["goodput_rps"], total["goodput_rps"]
    within = f" answered within {words.milliseconds(objective)}" if objective else ""
    if before is None or after is None:
        return ""
    return f", from {words.significant(before)} to {words.rate(after)}{within}"


def _shortened(text: str, most: int = _NAME_WIDTH) -> str:
    kept = ""
    for character in text:
        if _width(kept + character) > most - 1:
            return kept + "\N{HORIZONTAL ELLIPSIS}"
        kept += character
    return text


def _padded(text: str, width: int, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
