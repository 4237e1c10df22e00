# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The candidates of a tuning, the server that each needs, and the steps of the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Comparison
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.judgment import BeforeAfter, Measured


class Candidate(TypedDict):
    """A change of the configuration to try."""

    name: str
    change: dict[str, Any]
    reason: str | None
    model: str | None  # None for every model


CANDIDATE_KEYS = ("name", "change", "reason", "model")


def candidates(given: Iterable[Any], model: str, start: Configuration) -> list[Candidate]:
    """Return the candidates for a model. Raise FleetError for the first malformed one."""
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
    """Return a short digest of a JSON value."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:8]


def server_key(of: Configuration) -> str:
    """Return a name for the server that a configuration needs. Configurations that differ only in the protocol share one."""
    return digest({key: value for key, value in of.items() if key != "protocol"})


def cpu_sets(usable: Iterable[int]) -> tuple[list[int] | None, list[int] | None, str | None]:
    """Divide the usable CPU numbers between server and load generator, and return (server, generator, note).

    With two CPUs or more, the generator gets the first quarter (at least one), and the server the rest. With one CPU, both are None (shared), as the note says.
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
    """Return one entry of the report's steps, with the keys of docs/architecture.md. measured: merged figures of the candidate's windows, or None."""
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


def step_of(
    candidate: Candidate,
    kept: bool,
    reason: str,
    measured: Measured | None,
    accuracy: BeforeAfter,
    **more: Any,
) -> dict[str, Any]:
    """Return the step of a candidate, with the figures of its baseline. measured: None if the candidate was not measured."""
    name, change = candidate["name"], candidate["change"]
    if not measured:
        return step(name, change, kept, reason, None, None, accuracy, **more)
    old, figures = measured.before, measured.after
    against = {
        "before": old and {key: value for key, value in old.items() if key != "curve"},
        "curve_before": old and old["curve"],
        "curve_after": figures and figures["curve"],
    }
    return step(name, change, kept, reason, measured.comparison, figures, accuracy, **against, **more)
