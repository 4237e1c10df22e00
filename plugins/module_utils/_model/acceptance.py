# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether a converted model may replace its source: the checks that it has to pass."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._model import parity, task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Gates, Judged, MetricChange, Output

UNJUDGED = "its accuracy was not judged because {why}. Set samples with labels and a metric, or set accept_unjudged"


def ending(accepted: bool | None, reason: str, gates: Gates | None = None) -> Judged:
    """Return the end of a conversion without a file for TensorFlow Lite and without warm-up requests."""
    return {"accepted": accepted, "reason": reason, "lowest_runtime": None, "warmup_batch_sizes": [], "gates": gates}


def decide(
    outputs: Mapping[str, Output] | None,
    metric: MetricChange | None,
    maximum_difference: float | None = None,
    accept_unjudged: bool = False,
) -> tuple[bool, str]:
    """Return (accepted, reason) of a lossy variant.

    outputs: None if nothing was comparable. metric: None without a metric. maximum_difference: absolute, in any output,
    or None.
    """
    broken = parity.structural(outputs or {})
    if broken:
        return False, f"it answers differently: {'; '.join(broken)}"
    largest = max((output["max_abs"] or 0.0 for output in (outputs or {}).values()), default=0.0)
    if outputs is None and (metric is None or maximum_difference is not None):
        return False, "its outputs could not be compared with the source's"
    if maximum_difference is not None and largest > maximum_difference:
        return False, f"its outputs differ by up to {largest:.6g}; allowed: {maximum_difference:g}"
    if metric is not None:
        return task_metrics.verdict(
            metric["name"], metric["before"], metric["after"], metric["allowed_loss"], metric.get("goal")
        )
    if accept_unjudged:
        return True, f"accepted without judging its accuracy; its outputs differ by up to {largest:.6g}"
    return False, UNJUDGED.format(why="no metric was measured")


def needs_judgement(samples: object, metric: str | None, accept_unjudged: bool) -> str | None:
    """Return why a lossy variant is refused before it is made, or None. samples: whether there are any."""
    if accept_unjudged or (samples and metric):
        return None
    return UNJUDGED.format(why="no metric is set" if samples else "no samples are set")
