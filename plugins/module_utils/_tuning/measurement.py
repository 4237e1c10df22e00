# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare two configurations: measure pairs of fresh servers with the same history until the verdict is final."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison, steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.batch_fit import Point
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Pair, Rules, Scatter
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.judgment import BeforeAfter, Measured
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.traffic import P99_REQUESTS, traffic
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_log import TrialLog
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_servers import DEADLINE_S, TrialServers

# A server keeps up with a rate if it answers these shares of the requests without an error, and before the window ends.
_ANSWERED, _IN_TIME = 0.99, 0.9
_RATE_STEPS, _ABOVE_CLOSED = 5, 1.5  # of a bisection up to 1.5 times the rate of a closed loop, of which 5 % remain
# Windows of requests of several rows. The first request makes the server warm for the others.
_SHORT = {"window_s": 0.5, "window_requests": 20, "window_max_s": 5.0, "warmup_max_s": 2.0}
_MOST_LOST = 3  # consecutive pairs of servers without a round that counts


class Measurement:
    """The comparisons of one tuning, in order, and their shared state: the scatter of pairs of servers, and the duration of one.

    identity: JSON that all comparisons have in common. A pair of servers that is in the log is not measured again.
    """

    def __init__(
        self,
        servers: TrialServers,
        options: Mapping[str, Any],
        clock: Callable[[], float],
        log: TrialLog,
        identity: Sequence[Any],
    ) -> None:
        self.servers, self._options, self._clock, self._log, self._identity = servers, options, clock, log, identity
        self.traffic = traffic(options["traffic"])
        self._paired, self._load, self.result = comparison.paired, self.traffic.closed(), "goodput"
        if options["goal"] == "latency":
            requests = max(options["window_requests"], P99_REQUESTS)  # a pair with one void round counts
            self._paired, self._load = latency_pair, {**self.traffic.open(), "window_requests": requests}
            self.result = "p99 at the rate"
        self.voids: list[str] = []
        self._batches: dict[str, list[Point]] = {}
        self._pairs_s: list[float] = []  # durations of pairs of servers
        self.scatter, self._comparisons, self._began = Scatter(), 0, clock()

    @property
    def pair_s(self) -> float:
        """Return the mean duration of a pair of servers, or 0 before the first one."""
        return sum(self._pairs_s) / max(len(self._pairs_s), 1)

    def pairs_left(self, reserved: int) -> int | None:
        """Return how many more pairs of servers the budget allows in addition to the reserved ones, or None without a limit."""
        if self._options["budget_min"] is None or not self.pair_s:
            return None
        return max(0, int(self._left_s() / self.pair_s) - reserved)

    def _left_s(self) -> float:
        """Return how many seconds of the budget are left."""
        budget_min = self._options["budget_min"]
        return math.inf if budget_min is None else budget_min * 60 - (self._clock() - self._began)

    def sides(self, before: Configuration, after: Configuration, draw: random.Random) -> dict[str, dict[str, Any]]:
        """Return the targets of two configurations, started in random order. They share a server if they differ only in the protocol."""
        wanted = {"baseline": (before, ""), "candidate": (after, "again" if after == before else "")}
        order = draw.sample(list(wanted), len(wanted))
        return {side: self.servers.target(wanted[side][0], side, wanted[side][1]) for side in order}

    def compare(self, before: Configuration, after: Configuration, rules: Rules, reserved: int = 0) -> Measured:
        """Measure pairs of fresh servers until the verdict is final. reserved: pairs that the budget keeps for later comparisons."""
        self._comparisons += 1
        fitting = self.pairs_left(reserved)
        rules = rules if fitting is None else rules.within(max(1, fitting))
        pairs, windows, started, lost = list[Pair](), list[dict[str, Any]](), 0, 0
        accuracy: BeforeAfter | None = None
        while True:
            mine, accuracy = self._measured(before, after, started, accuracy)
            started += 1
            windows += mine
            pair = self._paired(mine)
            pairs, lost = (pairs + [pair], 0) if pair else (pairs, lost + 1)
            fitting = self.pairs_left(reserved)
            left = rules.looks[-1] - len(pairs)
            left = 0 if lost == _MOST_LOST else left if fitting is None else min(left, fitting)
            if left > 0 and (not pair or len(pairs) not in rules.looks):
                continue
            found = comparison.compare(pairs, self.scatter, rules, left)
            if left <= 0 or found.verdict != "inconclusive":
                break
        voids = [window["void"] for window in windows if window["void"]]
        if voids and not pairs:
            reason = f"{found.reason}; {len(voids)} of {len(windows)} windows were void"
            found = dataclasses.replace(found, reason=reason)
        self.voids += voids
        self.scatter = self.scatter.with_pairs(pairs, equal=before == after)
        return Measured(found, windows, accuracy, merged(windows, "baseline"), merged(windows, "candidate"))

    def rules(self, **more: Any) -> Rules:
        """Return the rules of a comparison."""
        rules = Rules(
            minimum_gain=self._options["minimum_gain"],
            confidence=self._options["confidence"],
            result=self.result,
            **more,
        )
        return rules.within(self._options["instances"])

    def busy(self, measured: Measured, when: str = "") -> FleetError:
        """Return the error for a comparison of which no pair of servers counts. when: where in the tuning, as a clause."""
        return FleetError(
            f"nothing could be measured{when}: {measured.comparison.reason}",
            where=self._options["name"],
            remedy="Measure when the machine is idle. Until then, a tuning that was kept stays.",
        )

    def client_batches(self, of: Configuration, shapes: Sequence[tuple[int, int]]) -> list[Point] | None:
        """Measure requests of several rows on one server, or return None if that shows nothing. shapes: (rows of a request, requests in flight).

        Void windows count: the result only says where to start.
        """
        key = steps.digest([shapes, of, self._identity])
        if key not in self._batches:
            known = self._log.get(key)
            if known is None:
                known = self._client_batches(of, shapes)
                self._log.add(key, known)
            self._batches[key] = [Point(*point) for point in known]
        return self._batches[key] or None

    def _client_batches(self, of: Configuration, shapes: Sequence[tuple[int, int]]) -> list[Point]:
        self.servers.stop()
        found = list[Point]()
        try:
            side = {"baseline": self.servers.target(of, "baseline")}
            for rows, in_flight in shapes:
                load = {**self.traffic.closed(), "batch": {rows: 1.0}, "concurrency": in_flight, **_SHORT}
                (window,) = self.servers.load(side, list(side), seed=self._options["seed"], **load)
                if not window["throughput_rps"]:
                    return []
                found.append(Point(rows, in_flight, rows * window["throughput_rps"]))
        except FleetError:
            return []
        return found

    def _measured(
        self, before: Configuration, after: Configuration, number: int, accuracy: BeforeAfter | None
    ) -> tuple[list[dict[str, Any]], BeforeAfter]:
        """Return (windows, accuracies) of one pair of fresh servers, from the log if it is there. accuracy: that of an earlier pair, or None.

        A pair that does not count is not logged, but measured again.
        """
        key = steps.digest([self._comparisons, number, before, after, self._identity])
        known = self._log.get(key)
        if known:
            self.servers.remember(known["learned"])
            return known["windows"], known["accuracy"]
        draw = random.Random(f"{self._options['seed']} {self._comparisons} {number}")
        began = self._clock()
        self.servers.stop()
        sides = self.sides(before, after, draw)
        accuracy = accuracy or {
            "before": self.servers.accuracy(before, sides["baseline"]),
            "after": self.servers.accuracy(after, sides["candidate"]),
        }
        windows = self.servers.load(
            sides,
            schedule.interleaved(list(sides), self._options["rounds"], draw.randrange(2**32)),
            seed=draw.randrange(2**31),
            **self._load,
        )
        self._pairs_s.append(self._clock() - began)
        if self._paired(windows):
            self._log.add(key, {"windows": windows, "accuracy": accuracy, "learned": self.servers.learned()})
        return windows, accuracy

    def highest_rates(
        self, sides: Mapping[str, Configuration], closed_rps: Mapping[str, float]
    ) -> dict[str, float | None]:
        """Return the highest rate at which the p99 of each side met the latency objective, or None if it met it at none that was measured.

        closed_rps: the rates of a closed loop. Halve the range from 0 to a higher rate, in turns of the sides, as long as the budget and the longest
        window allow it. A void window leaves the range as it is.
        """
        low, high = dict.fromkeys(sides, 0.0), {side: _ABOVE_CLOSED * closed_rps[side] for side in sides}
        for side in list(sides) * _RATE_STEPS:
            rate_rps = (low[side] + high[side]) / 2
            if rate_rps and P99_REQUESTS / rate_rps < min(self._left_s(), self._options["window_max_s"]):
                windows = self._at_rate(sides[side], side, rate_rps)
                if not windows[0]["void"]:
                    (low if self._meets_objective(windows) else high)[side] = rate_rps
        return {side: rate_rps or None for side, rate_rps in low.items()}

    def _at_rate(self, of: Configuration, side: str, rate_rps: float) -> list[dict[str, Any]]:
        """Return the window of a server at a rate, from the log if it is there. A void window is not logged, but measured again."""
        key = steps.digest(["rate", side, rate_rps, of, self._identity])
        windows: list[dict[str, Any]] | None = self._log.get(key)
        if windows is None:
            load = {**self.traffic.open(rate_rps), "window_requests": P99_REQUESTS, "seed": self._options["seed"]}
            windows = self.servers.load({side: self.servers.target(of, side)}, [side], **load)
            if windows[0]["void"]:
                self.voids.append(windows[0]["void"])
            else:
                self._log.add(key, windows)
        return windows

    def _meets_objective(self, windows: Sequence[Any]) -> bool:
        p99_ms = histogram.merged(windows)["p99_ms"]
        return keeps_up(windows) and p99_ms is not None and p99_ms <= self._options["objective_p99_ms"]

    def method(self, noise: Measured) -> dict[str, Any]:
        """Return how the tuning was measured, for the report."""
        keys = (
            "goal",
            "window_s",
            "window_requests",
            "rounds",
            "instances",
            "minimum_gain",
            "confidence",
            "objective_p99_ms",
            "allowed_loss",
            "metric",
            "seed",
        )
        is_open = self._options["goal"] == "latency"
        traffic = dataclasses.asdict(self.traffic)
        return dict(
            {**traffic, "concurrency": None} if is_open else traffic,
            **{key: self._options[key] for key in keys},
            loop="open" if is_open else "closed",
            requests_from=noise.windows[0]["requests_from"],
            examples=self.servers.examples,
            server_cpus=self.servers.server_cpus,
            generator_cpus=self.servers.generator_cpus,
            void_windows=len(self.voids),
            void_reasons=sorted(set(self.voids)),
            note=self.servers.note,
        )


def latency_pair(windows: Sequence[Mapping[str, Any]]) -> Pair | None:
    """Return 1 / p99 of one pair of servers at the same rate, or None if too few requests count or neither side kept up.

    A server that does not keep up with the rate has no p99: the longer one measures, the later it answers.
    """
    sides = comparison.counted(windows)
    kept = [keeps_up(side) for side in sides]
    p99s = [histogram.merged(side)["p99_ms"] for side in sides]
    if not any(kept) or any(ok and not p99 for ok, p99 in zip(kept, p99s)):
        return None
    baseline, candidate = (1000 / p99 if ok and p99 else 1 / DEADLINE_S for ok, p99 in zip(kept, p99s))
    return Pair(baseline, candidate, len(sides[0]), "" if all(kept) else "candidate" if kept[0] else "baseline")


def keeps_up(windows: Sequence[Any]) -> bool:
    """Return whether a server kept up with the rate of an open loop."""
    due: int = sum(window["requests"] for window in windows)
    answered: int = sum(window["ok"] for window in windows)
    in_time = math.fsum(window["throughput_rps"] * window["duration_s"] for window in windows)
    return answered >= _ANSWERED * due and in_time >= _IN_TIME * due


def merged(windows: Sequence[Any], name: str) -> Any:
    """Return the figures {goodput_rps, p50_ms, p99_ms, requests, curve} of one target's windows that are not void, or None."""
    mine = [window for window in windows if window["target"] == name and not window["void"]]
    return histogram.merged(mine) if mine else None
