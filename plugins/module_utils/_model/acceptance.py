# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a converted model may take the source's place: the gates it has to pass."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._model import parity, task_metrics

UNJUDGED = "its accuracy was not judged, because {why}. Give labelled samples and a metric, or set accept_unjudged"


def decide(outputs, metric, maximum_difference=None, accept_unjudged=False):
    """(accepted, reason) of a lossy form.

    outputs: the result of parity.compare, or None where nothing could be compared. metric: {name, before, after, allowed_loss, goal}, or None where
    nothing was judged. maximum_difference: the largest absolute difference allowed in any output, or None.
    """
    broken = parity.structural(outputs or {})
    if broken:
        return False, f"it answers differently: {'; '.join(broken)}"
    largest = max((output["max_abs"] for output in (outputs or {}).values()), default=0.0)
    if outputs is None and (metric is None or maximum_difference is not None):
        return False, "its outputs could not be compared with the source's"
    if maximum_difference is not None and largest > maximum_difference:
        return False, f"its outputs differ by up to {largest:.6g}; allowed: {maximum_difference:g}"
    if metric is not None:
        return task_metrics.verdict(
            metric["name"], metric["before"], metric["after"], metric["allowed_loss"], metric.get("goal")
        )
    if accept_unjudged:
        return True, f"accepted without a judgement of its accuracy; its outputs differ by up to {largest:.6g}"
    return False, UNJUDGED.format(why="no metric was measured")


def needs_judgement(samples, metric, accept_unjudged):
    """Why a lossy form is refused before it is made, or None. samples: whether there are any."""
    if accept_unjudged or (samples and metric):
        return None
    return UNJUDGED.format(why="no metric was named" if samples else "no samples were given")
