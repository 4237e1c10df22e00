# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Predict from requests of several rows whether server-side batching can pay, and with which values to start.

To a model, a request of n rows is what a batch of n requests is, and it needs no other server. Its duration is about a * n + b, and all its rows share b.
The prediction is an upper bound, because a server that batches still handles every request by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters as rules

_FIT_ROWS = (4, 16, 64)  # measured in addition to 1 and to all rows in flight, if there are four times as many
_AS_GOOD = 0.95  # of the best rate: fewer threads are better then
_GATHER_S = 0.0005  # that a batch waits at least for the rows of the clients that were just answered
_TIMEOUT_MICROS = 1000
_WAITING_PAYS = 1.1  # ratio of rates


class Point(NamedTuple):
    """The measured rate of requests of several rows."""

    rows: int  # of a request
    in_flight: int  # requests
    rows_per_s: float


class Prediction(NamedTuple):
    """What batching can bring. gain: an upper bound, as a fraction."""

    gain: float
    threads: int
    rows: int  # of a batch
    timeout_micros: int
    reason: str


def shapes(rows_in_flight: int, threads: int) -> list[tuple[int, int]]:
    """Return the (rows of a request, requests in flight) to measure. threads: the most batches at once.

    All rows in flight in 1, 2, 4, … requests show what as many batch threads can bring. One request at a time shows its duration.
    """
    counts = [2**power for power in range(threads.bit_length()) if 2 ** (power + 1) <= rows_in_flight]
    alone = [(rows, 1) for rows in (1, *_FIT_ROWS) if rows == 1 or 4 * rows <= rows_in_flight]
    return [*alone, *((rows_in_flight // count, count) for count in counts), (1, rows_in_flight)]


def fit(points: Iterable[Point]) -> tuple[float, float]:
    """Return a and b in seconds, neither below 0, with the least squares of relative errors over the requests that were alone."""
    alone = [(point.rows, point.in_flight / point.rows_per_s * point.rows) for point in points if point.in_flight == 1]
    weights = [1 / duration**2 for _rows, duration in alone]
    total = math.fsum(weights)
    rows, seconds = (math.fsum(weight * one[part] for weight, one in zip(weights, alone)) / total for part in (0, 1))
    spread = math.fsum(weight * (one[0] - rows) ** 2 for weight, one in zip(weights, alone))
    slope = math.fsum(weight * (one[0] - rows) * one[1] for weight, one in zip(weights, alone)) / spread
    a = min(max(slope, 0.0), seconds / rows)
    return a, seconds - a * rows


def predict(points: Sequence[Point]) -> Prediction:
    """Return what batching can bring. points: of shapes()."""
    single = next(point for point in points if point.rows == 1 and point.in_flight > 1)
    in_flight, (a, b) = single.in_flight, fit(points)
    full = [point for point in points if point.rows > 1 and point.rows * point.in_flight > in_flight / 2]
    best = max(point.rows_per_s for point in full)
    chosen = next(point for point in full if point.rows_per_s >= _AS_GOOD * best)
    gain = max(best / single.rows_per_s, (a + b) / (a + b / in_flight)) - 1
    # Without a timeout, the first row after a batch runs alone, and the others follow in the next batch.
    alternating, waiting = 2 * b + a * chosen.rows, b + a * chosen.rows + _GATHER_S
    reason = (
        f"a request of {chosen.rows} rows takes {_ms(a * chosen.rows + b)}, one of 1 row {_ms(a + b)} ({_ms(a)} for each row and {_ms(b)} for the request), "
        f"and {in_flight} rows in flight make {single.rows_per_s:.0f} rows/s in requests of 1 row and {chosen.rows_per_s:.0f} in requests of {chosen.rows}"
    )
    timeout = _TIMEOUT_MICROS if alternating > _WAITING_PAYS * waiting else 0
    return Prediction(gain, chosen.in_flight, chosen.rows, timeout, reason)


def started(values: Mapping[str, Any], prediction: Prediction) -> dict[str, Any]:
    """Return batching parameters with the predicted threads, timeout and rows. Sizes without large batch splitting also limit requests, and stay."""
    predicted = {"num_batch_threads": prediction.threads, "batch_timeout_micros": prediction.timeout_micros}
    if "max_execution_batch_size" in values and not values.get("allowed_batch_sizes"):
        predicted["max_execution_batch_size"] = prediction.rows
    return rules.with_room({**values, **predicted})


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
