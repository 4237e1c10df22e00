# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tuning as pure decisions: candidates, which server each needs, and whether a measured change is kept."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import configuration

CANDIDATE_KEYS = ("name", "change", "reason", "model")


def candidates(given, model, start):
    """The candidates for a model, each {name, change, reason, model}; reason and model may be None. Raises FleetError for the first one that is out of form."""
    found = []
    for number, candidate in enumerate(given):
        where = f"candidates[{number}]"
        for key in candidate:
            one_of(where, key, CANDIDATE_KEYS)
        if not isinstance(candidate.get("name"), str) or not isinstance(candidate.get("change"), dict):
            raise FleetError("needs a name, a text, and a change, a mapping such as {protocol: grpc}", where=where)
        configuration.changed(start, candidate["change"], f"{where} ({candidate['name']})")
        found.append({key: candidate.get(key) for key in CANDIDATE_KEYS})
    return [candidate for candidate in found if candidate["model"] in (None, model)]


def server_key(of):
    """Names the server that a configuration needs: two configurations that differ only in protocol share one."""
    needs = {key: of[key] for key in configuration.KEYS if key != "protocol"}
    return hashlib.sha256(json.dumps(needs, sort_keys=True).encode()).hexdigest()[:8]


def cpu_sets(usable):
    """Divide the usable CPU numbers (a sequence of int) between server and generator: (server, generator, note).

    Each gets CPUs of its own where there are two or more: the generator the first quarter (at least one), the server the rest.
    With one CPU both are None (shared) and the note says so.
    """
    usable = sorted(usable)
    if len(usable) < 2:
        return None, None, "Server and generator shared the only CPU, so the figures are lower than the server's own."
    share = max(1, len(usable) // 4)
    return usable[share:], usable[:share], None


def judge(comparison, accuracy, allowed_loss, latency, objective_p99_ms, metric="accuracy", goal=None):
    """(kept, reason) of a candidate. Accuracy first, then the latency objective, then the gain against the noise.

    comparison: _tuning.comparison.Comparison, or None where nothing could be measured. accuracy: {before, after}, of the metric, or None.
    goal: "higher" or "lower", where the metric's name does not say which is better. latency: {before, after}: p99 in ms or None. A candidate that misses
    the objective passes only where the baseline misses it by as much or more.
    """
    before, after = accuracy["before"], accuracy["after"]
    if before is not None and after is not None and task_metrics.loss(metric, before, after, goal) > allowed_loss:
        return False, f"{metric} {'fell' if after < before else 'rose'} from {before:.4f} to {after:.4f}, more than the allowed {allowed_loss:g}"
    if comparison is None:
        return False, "no round was free of void windows, so nothing was measured"
    was, now = latency["before"], latency["after"]
    if objective_p99_ms is not None and now is not None and now > objective_p99_ms and (was is None or now > was):
        return False, f"p99 of {now:.1f} ms misses the objective of {objective_p99_ms:g} ms"
    return comparison.verdict == "gain", comparison.reason


def step(name, change, kept, reason, comparison, measured, accuracy, **more):
    """One entry of the report's steps, with the keys of docs/architecture.md. measured: merged figures of the candidate's windows, or None."""
    figures = measured or {"goodput_rps": None, "p50_ms": None, "p99_ms": None, "requests": 0}
    return dict(
        {key: figures[key] for key in ("goodput_rps", "p50_ms", "p99_ms", "requests")},
        name=name, change=change, kept=kept, reason=reason, accuracy=accuracy,
        gain=comparison.gain if comparison else None,
        gain_interval=list(comparison.interval) if comparison else None,
        noise_floor=comparison.noise_floor if comparison else None, **more)
