# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tuning as pure decisions: candidates, which server each needs, and whether a measured change is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Comparison


class Candidate(TypedDict):
    """A change of the configuration that is worth a trial."""

    name: str
    change: dict[str, Any]
    reason: str | None
    model: str | None  # None for every model


class BeforeAfter(TypedDict):
    """A figure of the baseline and of the candidate; None where it is not known."""

    before: float | None
    after: float | None


CANDIDATE_KEYS = ("name", "change", "reason", "model")


def candidates(given: Iterable[Any], model: str, start: Configuration) -> list[Candidate]:
    """The candidates for a model. Raises FleetError for the first one that is out of form."""
    found = []
    for number, candidate in enumerate(given):
        where = f"candidates[{number}]"
        for key in candidate:
            one_of(where, key, CANDIDATE_KEYS)
        if not isinstance(candidate.get("name"), str) or not isinstance(candidate.get("change"), dict):
            raise FleetError("it needs a name (a text) and a change (a mapping such as {protocol: grpc})", where=where)
        trial_configuration.changed(start, candidate["change"], f"{where} ({candidate['name']})")
        if "protocol" in candidate["change"] and len(candidate["change"]) > 1:
            raise FleetError(
                "protocol is a setting of the clients, and the other changes are settings of the server",
                where=f"{where} ({candidate['name']})",
                remedy="Split it into two candidates.",
            )
        found.append(cast(Candidate, {key: candidate.get(key) for key in CANDIDATE_KEYS}))
    return [candidate for candidate in found if candidate["model"] in (None, model)]


def digest(of: Any) -> str:
    """Names a value of JSON."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:8]


def server_key(of: Configuration) -> str:
    """Names the server that a configuration needs: two configurations that differ only in protocol share one."""
    return digest({key: value for key, value in of.items() if key != "protocol"})


def cpu_sets(usable: Iterable[int]) -> tuple[list[int] | None, list[int] | None, str | None]:
    """Divide the usable CPU numbers (a sequence of int) between server and generator: (server, generator, note).

    Each gets CPUs of its own where there are two or more: the generator the first quarter (at least one), the server the rest.
    With one CPU both are None (shared) and the note says so.
    """
    usable = sorted(usable)
    if len(usable) < 2:
        return (
            None,
            None,
            "Server and load generator shared the only CPU, so the figures are lower than those of a server alone.",
        )
    share = max(1, len(usable) // 4)
    return usable[share:], usable[:share], None


def judge(
    comparison: Comparison | None,
    accuracy: BeforeAfter,
    allowed_loss: float,
    latency: BeforeAfter,
    objective_p99_ms: float | None,
    metric: str = "accuracy",
    goal: str | None = None,
) -> tuple[bool, str]:
    """(kept, reason) of a candidate. Accuracy first, then the latency objective, then the gain against the noise.

    comparison: None where nothing could be measured. accuracy: of the metric. latency: p99 in ms. goal: "higher" or "lower", where the metric's name does
    not say which is better. A candidate that misses the objective passes only where the baseline misses it by as much or more.
    """
    before, after = accuracy["before"], accuracy["after"]
    if before is not None and after is not None:
        accepted, reason = task_metrics.verdict(metric, before, after, allowed_loss, goal)
        if not accepted:
            return False, reason
    if comparison is None:
        return False, "every round has a void window, so nothing was measured"
    was, now = latency["before"], latency["after"]
    if objective_p99_ms is not None and now is not None and now > objective_p99_ms and (was is None or now > was):
        return False, f"p99 of {now:.1f} ms misses the objective of {objective_p99_ms:g} ms"
    return comparison.verdict == "gain", comparison.reason


def step(
    name: str,
    change: Mapping[str, Any],
    kept: bool,
    reason: str,
    comparison: Comparison | None,
    measured: Mapping[str, Any] | None,
    accuracy: BeforeAfter,
    **more: Any,
) -> dict[str, Any]:
    """One entry of the report's steps, with the keys of docs/architecture.md. measured: merged figures of the candidate's windows, or None."""
    figures = measured or {"goodput_rps": None, "p50_ms": None, "p99_ms": None, "requests": 0}
    return dict(
        {key: figures[key] for key in ("goodput_rps", "p50_ms", "p99_ms", "requests")},
        name=name,
        change=change,
        kept=kept,
        reason=reason,
        accuracy=accuracy,
        gain=comparison.gain if comparison else None,
        gain_interval=list(comparison.interval) if comparison else None,
        noise_floor=comparison.noise_floor if comparison else None,
        instances=comparison.instances if comparison else 0,
        rounds=comparison.rounds if comparison else 0,
        **more,
    )
