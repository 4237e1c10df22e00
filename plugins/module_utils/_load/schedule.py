# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide when to send, in which order to measure, when a server is warm, and when a window is void."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence

LATE_MS = 5.0  # a request sent later than this is late ...
LATE_FRACTION = {
    "open": 0.01,
    "closed": 0.05,
}  # ... and a larger fraction makes a window void: p99 depends on 1 %, and the rate of a closed loop falls by about this fraction
CPU_FRACTION = 0.8  # of one core: above it the generator itself is the bottleneck
FEWEST_REQUESTS = 20  # fewer do not even support a median
STEADY_SLICES = 6
STEADY_TOLERANCE = 0.05


def arrivals(rate_rps: float, duration_s: float, seed: int | str) -> Iterator[float]:
    """Yield the times in seconds, from 0 to below duration_s, of a Poisson process; the same seed gives the same times."""
    draw, now = random.Random(seed), 0.0
    while True:
        now += draw.expovariate(rate_rps)
        if now >= duration_s:
            return
        yield now


def interleaved(names: Collection[str], rounds: int, seed: int | str = 0) -> list[str]:
    """Return the order of windows that measures each name once a round, as a flat list.

    Rounds come in blocks of two, a random order and its mirror (ABBA or BAAB), so that a linear drift cancels within a block and
    successive blocks are independent. Repeat the baseline under another name to get A/A pairs.
    """
    order: list[str]
    block: list[str]
    draw, order, block = random.Random(seed), [], []
    for number in range(rounds):
        block = draw.sample(list(names), len(names)) if number % 2 == 0 else block[::-1]
        order += block
    return order


def steady(slices: Sequence[float | None]) -> bool:
    """Return whether a server has stopped getting faster. slices: its median latencies over successive spans, None if nothing succeeded.

    The best of the last three must not be faster than the best of the three before by more than STEADY_TOLERANCE; a server that always fails is steady.
    """
    if len(slices) < STEADY_SLICES:
        return False
    half = STEADY_SLICES // 2
    before, after = (
        [value for value in part if value is not None] for part in (slices[-STEADY_SLICES:-half], slices[-half:])
    )
    if not before or not after:
        return not before and not after
    return min(after) >= min(before) * (1 - STEADY_TOLERANCE)


def health(cpu_fraction: float, late_fraction: float, requests: int, errors: int, loop: str) -> str | None:
    """Return why a window is void, or None. Only the generator's own faults count: a server's errors and delays are results.

    cpu_fraction: the generator's CPU time over the window's, of one core. late_fraction: in an open loop the sends later than LATE_MS, in a closed
    loop those of a timer's ticks (how long an answer may have lain unread). requests, errors: counts of the window.
    """
    if cpu_fraction > CPU_FRACTION:
        return (
            f"the load generator used {cpu_fraction * 100:.0f} % of a core, more than {CPU_FRACTION * 100:.0f} %: "
            "the window measures the generator, not the server. Lower the concurrency or the rate, or send larger batches."
        )
    limit = LATE_FRACTION[loop]
    if late_fraction > limit:
        what = "requests were sent" if loop == "open" else "load generator's wake-ups were"
        return (
            f"{late_fraction * 100:.1f} % of the {what} more than {LATE_MS:g} ms late; the limit is {limit * 100:g} %. "
            "Give the load generator its own CPU, or lower the rate."
        )
    if requests < FEWEST_REQUESTS and not errors:
        return f"only {requests} requests in the window; at least {FEWEST_REQUESTS} are needed. Lengthen the window, or raise the rate or the concurrency."
    return None
