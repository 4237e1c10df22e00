# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether B is faster than A, or the difference is noise: gains with intervals from pairs of fresh servers.

The unit is the logarithm of candidate / baseline of one pair of servers: during its whole life, an instance is faster or slower than another one of the same
configuration (Georges et al., OOPSLA 2007). The mean over pairs gets a t-interval. Its deviation is that of all pairs of the run, or of the pairs of the
comparison if these scatter more. The result is examined after a few fixed counts of pairs, and each look gets a share of the error rate (Bonferroni, valid
for any dependence). So an interval is valid after any of the looks.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Verdict = Literal["gain", "loss", "none", "unlikely", "inconclusive"]
LENT = 3  # degrees of freedom, as many as the comparison of the start with itself brings
LOOKS = (1, 2, 3, 5, 8, 12, 18, 28, 42, 63, 95)  # each about half as many again


class Pair(NamedTuple):
    """The result of one pair of fresh servers. Rates are above 0."""

    baseline: float
    candidate: float
    rounds: int  # without those that do not count
    silent: str = ""  # the side without a result, which counts as a very low rate


@dataclasses.dataclass(frozen=True)
class Scatter:
    """The scatter of pairs of servers: a sum of squares of log ratios, and its degrees of freedom.

    earlier: that of an earlier tuning. As it is from another day, it only fills up the first LENT degrees of freedom, and never makes the scatter smaller than
    that of the own pairs.
    """

    squares: float = 0.0
    degrees: int = 0
    earlier: Scatter | None = None

    @property
    def lent(self) -> int:
        """Return the degrees of freedom that come from the earlier tuning."""
        return min(self.earlier.degrees, max(LENT - self.degrees, 0)) if self.earlier else 0

    @property
    def variance(self) -> float:
        """Return the variance of the logarithm of a pair's ratio."""
        return max(self.filled.squares / (self.filled.degrees or 1), self.squares / (self.degrees or 1))

    @property
    def filled(self) -> Scatter:
        """Return this scatter filled up, for later tunings."""
        lent = self.earlier.squares / self.earlier.degrees * self.lent if self.earlier and self.lent else 0.0
        return Scatter(self.squares + lent, self.degrees + self.lent)

    def with_pairs(self, pairs: Iterable[Pair], equal: bool = False) -> Scatter:
        """Return this scatter with that of the pairs of a comparison added. equal: both sides have the same configuration, so the true ratio is 1.

        Pairs with a side without goodput are left out: their ratio is the size of a failure, not of noise.
        """
        logs = _logs(pair for pair in pairs if not pair.silent)
        if not logs:
            return self
        mean = 0.0 if equal else _mean(logs)
        squares = math.fsum((value - mean) ** 2 for value in logs)
        return dataclasses.replace(self, squares=self.squares + squares, degrees=self.degrees + len(logs) - (not equal))


@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules of a comparison. looks: the counts of pairs after which the result is examined."""

    looks: tuple[int, ...] = LOOKS
    minimum_gain: float = 0.03
    confidence: float = 0.95
    result: str = "goodput"  # what the rates of pairs are
    trials: int = 1  # comparisons that can each report a gain, and share the error rate of one
    optimism: float = (
        1.64  # standard errors: measuring ends if even a gain this far above the estimate would not be shown
    )

    def within(self, most: int) -> Rules:
        """Return these rules for at most this many pairs. Looks that are not reached get no share of the error rate."""
        looks = (*(count for count in self.looks if count < most), min(most, self.looks[-1]))
        return dataclasses.replace(self, looks=looks)

    @property
    def interval_level(self) -> float:
        """Return the quantile of the ends of an interval."""
        return 1 - (1 - self.confidence) / 2 / len(self.looks)

    @property
    def gain_level(self) -> float:
        """Return the quantile that a gain must exceed."""
        return 1 - (1 - self.confidence) / 2 / len(self.looks) / self.trials


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of comparing pairs of servers.

    The verdict 'none' means that a gain worth keeping is excluded; 'unlikely', that more pairs are unlikely to show one. A gain is a fraction: 0.12 is 12 %.
    """

    gain: float | None  # geometric mean of candidate / baseline, minus 1; None if the baseline had no goodput
    interval: tuple[float | None, float | None]  # low and high end of the gain; None for an open end
    noise_floor: float | None  # the gain that noise alone can show; None if it is unknown or has no size
    verdict: Verdict
    reason: str  # a sentence
    instances: int  # counted pairs of fresh servers
    rounds: int  # on all of them


def counted(windows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the windows of the baseline and those of the candidate, or nothing if no round counts. A round with a void window does not count."""
    mine = [[window for window in windows if window["target"] == target] for target in ("baseline", "candidate")]
    return list(zip(*((one, other) for one, other in zip(*mine) if not one["void"] and not other["void"])))


def paired(windows: Sequence[Mapping[str, Any]]) -> Pair | None:
    """Return the goodput of one pair of servers from its windows in order, or None if no round counts or both sides had no goodput."""
    sides = []
    for side in counted(windows):
        answers = math.fsum(window["goodput_rps"] * window["duration_s"] for window in side)
        sides.append((answers, max(answers, 0.5) / math.fsum(window["duration_s"] for window in side)))
    if not sides or not sides[0][0] and not sides[1][0]:
        return None
    (first, baseline), (second, candidate) = sides
    return Pair(baseline, candidate, len(side), "" if first and second else "candidate" if first else "baseline")


def compare(pairs: Sequence[Pair], scatter: Scatter, rules: Rules, left: int = 0) -> Comparison:
    """Return the Comparison of pairs of servers. scatter: of the other pairs of the run. left: how many more pairs can be measured.

    'gain' and 'loss' need an interval without 0 and a change above both the noise floor and rules.minimum_gain. A gain also needs a second pair, if one can be
    measured.
    """
    count, rounds, whole = len(pairs), sum(pair.rounds for pair in pairs), scatter.with_pairs(pairs)
    degrees = whole.filled.degrees or count - 1
    if not pairs or degrees < 1:
        reason = f"{_counted(pairs)} with {rules.result}, and the noise is unknown"
        return Comparison(_gain(pairs), (None, None), None, "inconclusive", reason, count, rounds)
    mean = _mean(_logs(pairs))
    deviation = math.sqrt(max(whole.variance, _variance(pairs)))
    error = deviation / math.sqrt(count)
    half_width, floor = (student_quantile(level, degrees) * error for level in (rules.interval_level, rules.gain_level))
    low, high = mean - half_width, mean + half_width
    threshold, worth = max(floor, math.log1p(rules.minimum_gain)), math.log1p(rules.minimum_gain)
    gain, silent = _gain(pairs), _silent(pairs, rules.result)
    noise = f"the noise floor of {_percent(math.expm1(floor))}" if not silent else "the noise"
    shown = silent or (
        f"{_percent(math.expm1(mean))} ({rules.confidence * 100:.4g} % interval {_percent(math.expm1(low))} to "
        f"{_percent(math.expm1(high))}, {_counted(pairs)}{_borrowed(count, whole)})"
    )
    verdict: Verdict = "inconclusive"
    if -mean > threshold:
        verdict, why = "loss", f"slower, beyond {noise}"
    elif high < worth:
        verdict, why = "none", f"a gain of {_percent(rules.minimum_gain)} or more is excluded"
    elif mean > threshold and (count > 1 or left <= 0):
        verdict, why = "gain", f"faster, beyond {noise}"
    elif left > 0 and mean + rules.optimism * error < _needed(rules, deviation, degrees + left, count + left):
        verdict, why = (
            "unlikely",
            f"{left} more pair{'s are' if left != 1 else ' is'} unlikely to show a gain worth keeping",
        )
    elif mean > threshold:
        why = "a gain needs a second pair"
    elif mean > worth:
        why = f"not more than {noise}"
    else:
        why = "the interval contains both no gain and a gain worth keeping"
    return Comparison(
        gain,
        (math.expm1(low), None if gain is None else math.expm1(high)),
        None if silent else math.expm1(floor),
        verdict,
        f"{shown}: {why}",
        count,
        rounds,
    )


@functools.cache
def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution with this (whole) number of degrees of freedom, for a probability from 0.5 to below 1."""
    low, high = 0.0, 1.0
    while _student_distribution(high, degrees) < probability:
        low, high = high, high * 2
    for _step in range(60):
        middle = (low + high) / 2
        if _student_distribution(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return high


def _student_distribution(value: float, degrees: int) -> float:
    """Return the distribution function for value >= 0: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    angle = math.atan(value / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for step in range(2 + odd, degrees - 1, 2):
        term *= (step - 1) / step * cosine**2
        total += term
    inside = math.sin(angle) * total
    return 0.5 + ((angle + inside) / math.pi if odd else inside / 2)


def _needed(rules: Rules, deviation: float, degrees: int, count: int) -> float:
    """Return the logarithm of the smallest gain that this many pairs would show."""
    return max(
        student_quantile(rules.gain_level, degrees) * deviation / math.sqrt(count), math.log1p(rules.minimum_gain)
    )


def _variance(pairs: Sequence[Pair]) -> float:
    """Return the variance of the pairs of the comparison, including failures, or 0 for a single pair."""
    logs = _logs(pairs)
    mean = _mean(logs)
    return math.fsum((value - mean) ** 2 for value in logs) / max(len(logs) - 1, 1)


def _gain(pairs: Sequence[Pair]) -> float | None:
    if not pairs or any(pair.silent == "baseline" for pair in pairs):
        return None
    return math.expm1(_mean(_logs(pairs)))


def _counted(pairs: Sequence[Pair]) -> str:
    rounds = sum(pair.rounds for pair in pairs)
    return f"{rounds} round{'s' * (rounds != 1)} on {len(pairs)} pair{'s' * (len(pairs) != 1)} of servers"


def _borrowed(count: int, scatter: Scatter) -> str:
    """Return where the scatter comes from, if not from the pairs of this run or from several pairs of the comparison, as a clause."""
    if count > 1 and not scatter.lent:
        return ""
    lent = f", {scatter.lent} of them from an earlier tuning" if scatter.lent else ""
    return f" with the scatter of other pairs, {scatter.filled.degrees} degrees of freedom{lent}"


def _silent(pairs: Sequence[Pair], result: str) -> str:
    """Return the text for pairs with a side without a result, whose ratios have no size, or ""."""
    found = [f"{sum(pair.silent == side for pair in pairs)} ({side})" for side in ("baseline", "candidate")]
    return (
        f"{_counted(pairs)}, no {result} in {' and '.join(found)} of them" if any(pair.silent for pair in pairs) else ""
    )


def _logs(pairs: Iterable[Pair]) -> list[float]:
    return [math.log(pair.candidate / pair.baseline) for pair in pairs]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _percent(fraction: float) -> str:
    return f"{fraction * 100:+.1f} %"
