# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The final comparison: what a tuning found against its start, with the latencies of both at one rate and the highest rates of both."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import judgment, steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.judgment import BeforeAfter, Measured
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.measurement import Measurement, merged
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import Candidate
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.traffic import P99_REQUESTS

_PATIENT = 2.33  # optimism
_OPEN_LOOP_SHARE = 0.6  # of the slower side's closed-loop rate: below it queues stay short; above it latencies only grow with the duration


class FinalComparison:
    """The comparison of the final configuration, best, with the start of a tuning."""

    def __init__(
        self,
        measurement: Measurement,
        options: Mapping[str, Any],
        start: Configuration,
        best: Configuration,
        say: Callable[[str], None],
    ) -> None:
        self._measurement, self._options, self._start, self._best, self._say = measurement, options, start, best, say

    def total(self, noise: Measured) -> dict[str, Any]:
        """Return the step total: a closed loop for the gain, an open loop at one rate for the latencies. noise: of the start against itself."""
        kept, reason = False, "nothing beat the start by more than noise: the baseline is kept"
        measured: Measured | None = noise
        if self._best == self._start:
            self._measurement.servers.stop()
        else:
            self._say(f"{self._options['name']}: total: the final configuration against the start")
            kept, reason, measured = self._compared()
        total = steps.step_of(
            Candidate(name="total", change={}, reason=None, model=None),
            kept,
            reason,
            measured,
            measured.accuracy if measured else BeforeAfter(before=noise.accuracy["before"], after=None),
            open_loop=None,
        )
        if measured and self._options["goal"] == "latency":
            total["open_loop"] = _open_loop(measured.windows)
        elif measured and measured.before and measured.after:
            total["open_loop"] = self._measure_open_loop(measured)
            if total["open_loop"] and self._options["objective_p99_ms"] is not None:
                total["open_loop"]["highest_rps"] = self._highest_rates(measured)
        return total

    def _compared(self) -> tuple[bool, str, Measured | None]:
        """Return (kept, reason, what was measured or None)."""
        rules = self._measurement.rules(optimism=_PATIENT)
        try:
            measured = self._measurement.compare(self._start, self._best, rules)
        except FleetError as fault:
            return False, f"it could not be measured: {fault}", None
        kept, reason = judgment.judge(measured, self._options)
        fragile, accept_fragile = self._measurement.servers.fragile(self._best), self._options["accept_fragile"]
        is_harmless = reason == measured.comparison.reason and (accept_fragile or not fragile)
        if self._options["keep_in"] and is_harmless and not measured.comparison.instances:
            raise self._measurement.busy(measured, " in the final comparison")
        return (*judgment.accepted(kept, reason, fragile, accept_fragile), measured)

    def _measure_open_loop(self, measured: Measured) -> dict[str, Any] | None:
        """Measure both sides at the rate of the traffic, or at a share of the measured one if the traffic has none."""
        traffic, seed = self._measurement.traffic, self._options["seed"]
        sides = self._measurement.sides(self._start, self._best, random.Random(seed))
        rate_rps = _OPEN_LOOP_SHARE * min(measured.before["goodput_rps"], measured.after["goodput_rps"])
        if rate_rps < 1 and not traffic.has_rate:
            return None
        longest_s = 60.0 if traffic.has_rate else 10.0  # who gives a rate wants its p99
        seconds = max(self._options["window_s"], min(longest_s, P99_REQUESTS / (traffic.rate_rps or rate_rps or 1)))
        load = traffic.open(None if traffic.has_rate else rate_rps)
        return _open_loop(self._measurement.servers.load(sides, list(sides), window_s=seconds, seed=seed, **load))

    def _highest_rates(self, measured: Measured) -> BeforeAfter:
        """Return the highest rates within the latency objective, of the start and of the final configuration."""
        name, objective = self._options["name"], f"{self._options['objective_p99_ms']:g} ms"
        self._say(f"{name}: looking for the highest rate with a p99 within {objective}")
        sides = {"baseline": self._start, "candidate": self._best}
        if self._best == self._start:
            del sides["candidate"]
        closed_rps = {"baseline": measured.before["throughput_rps"], "candidate": measured.after["throughput_rps"]}
        found = self._measurement.highest_rates(sides, closed_rps)
        rates: BeforeAfter = {"before": found["baseline"], "after": found.get("candidate", found["baseline"])}
        shown = [f"{rate:.0f} requests/s" if rate else "none that was measured" for rate in rates.values()]
        self._say(f"{name}: highest rate with a p99 within {objective}: {shown[0]} at the start, {shown[1]} at the end")
        return rates


def _open_loop(windows: Sequence[Any]) -> dict[str, Any]:
    """Return the rate of an open loop and the figures of both sides."""
    return {
        "rate_rps": windows[0]["rate_rps"],
        "highest_rps": None,
        "before": merged(windows, "baseline"),
        "after": merged(windows, "candidate"),
    }
