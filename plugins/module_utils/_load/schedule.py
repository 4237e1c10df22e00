# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide when to send, in which order to measure, when a server is warm, and when a window is void."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

LATE_MS = 5.0  # a request sent later than this is late ...
LATE_FRACTION = {
    "open": 0.01,
    "closed": 0.05,
}  # ... and a larger fraction makes a window void: p99 depends on 1 %, and the rate of a closed loop falls by about this fraction
CPU_FRACTION = 0.8  # of one core: above it the generator itself is the bottleneck
FEWEST_REQUESTS = 20  # fewer do not even support a median
MOST_BODIES = 256  # different requests of one target
MOST_ARRIVALS = 1000000  # of a file
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


def recorded(lines: Sequence[str], rate_rps: float | None, where: str) -> list[float]:
    """Return recorded arrival times, one in a line, in seconds from the first one, or compressed or stretched to a mean rate.

    Raise FleetError for a line that is not a time or is before the previous one, and unless there are two different times at least.
    """
    times: list[float] = []
    for number, line in enumerate(lines, 1):
        try:
            at = float(line) if line.strip() else None
        except ValueError:
            at = math.nan
        if at is None:
            continue
        if not math.isfinite(at) or times and at < times[-1]:
            what = "is before the line above" if math.isfinite(at) else "is not a time in seconds"
            raise FleetError(f"line {number}, {line.strip()!r}, {what}", where=where)
        times.append(at)
    if not times or times[0] == times[-1] or len(times) > MOST_ARRIVALS:
        raise FleetError(
            f"it has {len(times)} arrival times; needed: 2 to {MOST_ARRIVALS}, not all equal",
            where=where,
            remedy="Write one time in seconds in each line, in order.",
        )
    stretch = (len(times) - 1) / (times[-1] - times[0]) / rate_rps if rate_rps else 1.0
    return [(at - times[0]) * stretch for at in times]


def mean_rate_rps(trace: Sequence[float]) -> float:
    """Return the mean rate of recorded arrival times."""
    return (len(trace) - 1) / trace[-1]


def replayed(trace: Sequence[float], duration_s: float, seed: int | str) -> Iterator[float]:
    """Yield recorded arrival times from a random one on, from 0 to below duration_s. After the last one, the trace starts again, one mean gap later."""
    turn_s = len(trace) / mean_rate_rps(trace)
    start_s = random.Random(seed).uniform(0, turn_s)
    for number in itertools.count(bisect.bisect_left(trace, start_s)):
        turn, place = divmod(number, len(trace))
        at = turn * turn_s + trace[place] - start_s
        if at >= duration_s:
            return
        yield at


def mixed(weights: Mapping[int, float]) -> list[int]:
    """Return sizes of successive requests, in random order, each about as often as its weight says and once at least."""
    total = sum(weights.values())
    sizes = [
        size for size, weight in weights.items() for _request in range(max(1, round(MOST_BODIES * weight / total)))
    ]
    random.Random(0).shuffle(sizes)
    return sizes


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
