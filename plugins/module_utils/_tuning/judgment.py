# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a measured change is kept: its gain, its answers and latencies, and the requests that fail or end a server."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Comparison, counted

MOST_FAILURES = 0.01  # of the requests


class BeforeAfter(TypedDict):
    """A figure of the baseline and of the candidate, or None if it is unknown."""

    before: float | None
    after: float | None


@dataclasses.dataclass(frozen=True)
class Measured:
    """The measured comparison of two configurations."""

    comparison: Comparison
    windows: list[dict[str, Any]]
    accuracy: BeforeAfter
    before: Any  # figures of the baseline, as measurement.merged() returns them
    after: Any  # of the candidate

    @property
    def is_void(self) -> bool:
        """Return whether the load generator spoiled every round, so that nothing is known about the servers."""
        return not counted(self.windows)


def judge(measured: Measured, options: Mapping[str, Any]) -> tuple[bool, str]:
    """Return (kept, reason) of a measured change: check what it harms, then the gain against the noise, then the requests that fail."""
    harmed = harm(measured, options)
    reason, failed = harmed or measured.comparison.reason, failures(measured.windows)
    if failed:
        return False, f"{reason}; but {failed}"
    return measured.comparison.verdict == "gain" and not harmed, reason


def harm(measured: Measured, options: Mapping[str, Any]) -> str | None:
    """Return why a candidate must not replace the baseline, whatever it gains, or None: the metric, then the latency objective.

    A candidate that misses the objective passes only if the baseline misses it by at least as much.
    """
    before, after = measured.accuracy["before"], measured.accuracy["after"]
    if before is not None and after is not None:
        metric, allowed_loss = options["metric"] or "accuracy", options["allowed_loss"]
        accepted, reason = task_metrics.verdict(metric, before, after, allowed_loss, options["metric_goal"])
        if not accepted:
            return reason
    was, now = (figures and figures["p99_ms"] for figures in (measured.before, measured.after))
    objective = options["objective_p99_ms"]
    if objective is not None and now is not None and now > objective and (was is None or now > was):
        return f"p99 of {now:.1f} ms misses the objective of {objective:g} ms"
    return None


def failures(windows: Iterable[Mapping[str, Any]]) -> str | None:
    """Return how many more requests fail with the candidate than with the baseline, as a clause, or None if it is at most MOST_FAILURES of them.

    A server that rejects large requests, such as those above max_batch_size, answers the small ones faster.
    """
    errors = {"baseline": Counter[str](), "candidate": Counter[str]()}
    requests = Counter[str]()
    for window in windows:
        if not window["void"]:
            errors[window["target"]].update(window["errors"])
            requests[window["target"]] += window["requests"]
    before, after = (sum(errors[side].values()) / max(requests[side], 1) for side in errors)
    if after <= before + MOST_FAILURES:
        return None
    codes = ", ".join(sorted(errors["candidate"]))
    return (
        f"{after * 100:.1f} % of its requests fail ({codes}), {before * 100:.1f} % of those that it was compared with"
    )


def accepted(kept: bool, reason: str, fragile: str | None, accept_fragile: bool) -> tuple[bool, str]:
    """Return (kept, reason) of a configuration that a malformed request can end. fragile: which one, or None."""
    if not fragile:
        return kept, reason
    if not kept:
        return False, f"{reason}; and {fragile}"
    if accept_fragile:
        return True, f"{reason}; but {fragile}: accept_fragile accepts it"
    return False, f"{reason}; but {fragile}: kept only with accept_fragile: true"
