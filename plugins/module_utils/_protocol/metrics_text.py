# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a server's metrics (Prometheus text format) say about batching and requests."""

from __future__ import annotations

import re
from typing import TypedDict

_SAMPLE = re.compile(r"^:tensorflow:serving:([\w:]+?)(?:_(sum|count))?(?:\{(.*)\})? ([-+.\deE]+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MEANS = {
    "batching_session:input_batch_size": "mean_request_rows",
    "batching_session:processed_batch_size": "mean_batch_rows",
    "batching_session:queuing_latency": "mean_queuing_us",
}


class Figures(TypedDict):
    """What a server counted since its start; null if it does not count something.

    requests: {model: {status: how many}}. batching: batches, mean_request_rows, mean_batch_rows, mean_queuing_us, padded_rows.
    """

    requests: dict[str, dict[str, int]]
    batching: dict[str, float | None]


def figures(text: str) -> Figures:
    """Return the Figures in the text of a server's metrics."""
    requests: dict[str, dict[str, int]] = {}
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    batching: dict[str, float | None] = dict.fromkeys(
        ("batches", "mean_request_rows", "mean_batch_rows", "mean_queuing_us", "padded_rows")
    )
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if not found:
            continue
        name, kind, labels, value = found[1], found[2], dict(_LABEL.findall(found[3] or "")), float(found[4])
        if kind == "sum":
            sums[name] = sums.get(name, 0.0) + value
        elif name == "request" and "status" in labels:
            requests.setdefault(labels.get("model_name", ""), {})[labels["status"]] = int(value)
        elif kind == "count":
            counts[name] = counts.get(name, 0.0) + value
    if "batching_session:wrapped_run" in counts:
        batching["batches"] = int(counts["batching_session:wrapped_run"])
    for name, mean in _MEANS.items():
        if counts.get(name):
            batching[mean] = round(sums.get(name, 0.0) / counts[name], 3)
    if "batching_session:padding_size" in counts:
        batching["padded_rows"] = int(sums.get("batching_session:padding_size", 0))
    return {"requests": requests, "batching": batching}
