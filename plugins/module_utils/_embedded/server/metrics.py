# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's counters under TensorFlow Serving's names, and the page that Prometheus reads. They always count, but are shown only if configured."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterator
from typing import Any

PATH = "/monitoring/prometheus/metrics"
_MOST_SERIES, _LONGEST_NAME = 1000, 256


class _Metric:
    """A metric with the names of its labels, for many threads. It has a series for each combination of label values."""

    kind = ""
    _series: dict[tuple[object, ...], Any]
    _lines: Callable[[str, tuple[object, ...]], Iterator[str]]

    def __init__(self, name: str, *labels: str) -> None:
        self.name, self._labels, self._series, self._lock = name, labels, {}, threading.Lock()

    def lines(self) -> list[str]:
        """Return its lines of the page: the type, then each series."""
        with self._lock:
            return [f"# TYPE {self.name} {self.kind}"] + [
                line for values in sorted(self._series) for line in self._lines(self._pairs(values), values)
            ]

    def _pairs(self, values: tuple[object, ...]) -> str:
        escaped = [str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for value in values]
        return ",".join(f'{label}="{value}"' for label, value in zip(self._labels, escaped))


class Counter(_Metric):
    """A number that only grows."""

    kind = "counter"

    def add(self, *values: object, by: float = 1, instead: tuple[object, ...] | None = None) -> None:
        """Count for these values of the labels; for others instead, if these would be one more of very many series."""
        with self._lock:
            if instead and values not in self._series and len(self._series) >= _MOST_SERIES:
                values = instead
            self._series[values] = self._series.get(values, 0) + by

    def _lines(self, pairs: str, values: tuple[object, ...]) -> Iterator[str]:
        yield f"{self.name}{{{pairs}}} {self._series[values]}"


class Histogram(_Metric):
    """A histogram: buckets end at start, start * growth and so on, and the last one is open."""

    kind = "histogram"

    def __init__(self, name: str, start: float, growth: float, count: int, *labels: str) -> None:
        super().__init__(name, *labels)
        self._limits = [start]
        while len(self._limits) < count:
            self._limits.append(self._limits[-1] * growth)

    def add(self, value: float, *values: object) -> None:
        """Count a value for these values of the labels. A limit belongs to the bucket above it."""
        with self._lock:
            series = self._series.setdefault(values, [[0] * (len(self._limits) + 1), 0.0])
            series[0][bisect.bisect_right(self._limits, value)] += 1
            series[1] += value

    def _lines(self, pairs: str, values: tuple[object, ...]) -> Iterator[str]:
        counts, total = self._series[values]
        before, comma = 0, "," if pairs else ""
        for limit, count in zip([*map("{:g}".format, self._limits), "+Inf"], counts):
            before += count
            yield f'{self.name}_bucket{{{pairs}{comma}le="{limit}"}} {before}'
        yield f"{self.name}_sum{{{pairs}}} {total:g}"
        yield f"{self.name}_count{{{pairs}}} {before}"


_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"

REQUEST_COUNT = Counter(f"{_SERVING}request_count", "model_name", "status")
REQUEST_LATENCY = Histogram(f"{_SERVING}request_latency", 10, 1.8, 33, "model_name", "API", "entrypoint")
RUNTIME_LATENCY = Histogram(f"{_SERVING}runtime_latency", 10, 1.8, 33, "model_name", "API", "runtime")
WARMUP_LATENCY = Histogram(f"{_SERVING}model_warmup_latency", 10, 1.8, 33, "model_path", "status")
WARMUP_RECORDS = Counter(f"{_SERVING}model_warmup_records_read", "model_path", "status")
QUEUING_LATENCY = Histogram(f"{_BATCHING}queuing_latency", 100, 1.2, 52, "thread_pool_name")
INPUT_BATCH_SIZE = Histogram(f"{_BATCHING}input_batch_size", 1, 2, 14)
PROCESSED_BATCH_SIZE = Histogram(f"{_BATCHING}processed_batch_size", 1, 2, 14)
PADDING_SIZE = Histogram(f"{_BATCHING}padding_size", 1, 2, 14, "execution_batch_size")
WRAPPED_RUN_COUNT = Counter(f"{_BATCHING}wrapped_run_count")

_ALL = (
    REQUEST_COUNT,
    REQUEST_LATENCY,
    RUNTIME_LATENCY,
    WARMUP_LATENCY,
    WARMUP_RECORDS,
    QUEUING_LATENCY,
    INPUT_BATCH_SIZE,
    PROCESSED_BATCH_SIZE,
    PADDING_SIZE,
    WRAPPED_RUN_COUNT,
)


def count_request(model: str, code: str) -> None:
    """Count a request. Clients can name any model: unless a request succeeds, long names and those after very many others are left out."""
    is_known = code == "OK"
    REQUEST_COUNT.add(
        model if is_known or len(model) <= _LONGEST_NAME else "", code, instead=None if is_known else ("", code)
    )


def page() -> str:
    """Return the text that Prometheus reads."""
    return "".join(f"{line}\n" for metric in sorted(_ALL, key=lambda one: one.name) for line in metric.lines())
