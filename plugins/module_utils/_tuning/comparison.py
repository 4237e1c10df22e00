# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is B faster than A, or was that noise? Gains with intervals from pairs of fresh servers.

The unit is the logarithm of candidate / baseline of one pair of servers, because an instance is faster or slower than another of the same configuration for
as long as it lives (Georges et al., OOPSLA 2007). The mean over pairs gets a t-interval. Its deviation is that of all pairs of the run, or that of the
comparison's own pairs where these scatter more. The result is looked at after a few fixed counts of pairs, and each look has its share of the error rate
(Bonferroni: sound for any dependence), so that an interval holds wherever measuring stops.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Verdict = Literal["gain", "loss", "none", "unlikely", "inconclusive"]
LOOKS = (1, 2, 3, 5, 8, 12, 18, 28, 42, 63, 95)  # each half as far again


class Pair(NamedTuple):
    """What one pair of fresh servers showed. Rates are above 0."""

    baseline: float
    candidate: float
    rounds: int  # that counted
    silent: str = ""  # the side that had no goodput: its rate is that of half an answer


@dataclasses.dataclass(frozen=True)
class Scatter:
    """How much pairs of servers scattered: a sum of squares of log ratios, and its degrees of freedom."""

    squares: float = 0.0
    degrees: int = 0

    def with_pairs(self, pairs: Iterable[Pair], equal: bool = False) -> Scatter:
        """This scatter and that of the pairs of a comparison. equal: its sides are the same configuration, so that the true ratio is 1.

        A pair with a side that answered nothing has the size of a failure, not of noise.
        """
        logs = _logs(pair for pair in pairs if not pair.silent)
        if not logs:
            return self
        mean = 0.0 if equal else _mean(logs)
        squares = math.fsum((value - mean) ** 2 for value in logs)
        return Scatter(self.squares + squares, self.degrees + len(logs) - (not equal))


@dataclasses.dataclass(frozen=True)
class Rules:
    """How a comparison is judged. looks: the counts of pairs after which the result is looked at."""

    looks: tuple[int, ...] = LOOKS
    minimum_gain: float = 0.03
    confidence: float = 0.95
    trials: int = 1  # comparisons that may each call a gain: together they are wrong no more often than one
    optimism: float = (
        1.64  # standard errors: measuring ends where even a gain so far above the estimate would not be shown
    )

    def within(self, most: int) -> Rules:
        """These rules for so many pairs at most: a look that is not reached needs no share of the error rate."""
        looks = (*(count for count in self.looks if count < most), min(most, self.looks[-1]))
        return dataclasses.replace(self, looks=looks)

    @property
    def interval_level(self) -> float:
        """The quantile of the ends of an interval."""
        return 1 - (1 - self.confidence) / 2 / len(self.looks)

    @property
    def gain_level(self) -> float:
        """The quantile that a gain exceeds."""
        return 1 - (1 - self.confidence) / 2 / len(self.looks) / self.trials


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What pairs of servers say about a candidate.

    The verdict 'none' says that a gain worth keeping is excluded, 'unlikely' that more pairs would hardly show one. A gain is a fraction: 0.12 is 12 %.
    """

    gain: float | None  # geometric mean of candidate / baseline, less 1; None where the baseline had no goodput
    interval: tuple[float | None, float | None]  # low and high end of the gain; None for an open end
    noise_floor: float | None  # the gain that noise alone may show; None where it is not known or has no size
    verdict: Verdict
    reason: str  # a sentence
    instances: int  # pairs of fresh servers that counted
    rounds: int  # on all of them


def paired(windows: Sequence[Mapping[str, Any]]) -> Pair | None:
    """What the windows of one pair of servers showed, in the order they ran; None where no round counts or both sides answered nothing.

    A round with a void window does not count.
    """
    mine = [[window for window in windows if window["target"] == target] for target in ("baseline", "candidate")]
    rounds = [(one, other) for one, other in zip(*mine) if not one["void"] and not other["void"]]
    sides = []
    for side in zip(*rounds):
        answers = math.fsum(window["goodput_rps"] * window["duration_s"] for window in side)
        sides.append((answers, max(answers, 0.5) / math.fsum(window["duration_s"] for window in side)))
    if not sides or not sides[0][0] and not sides[1][0]:
        return None
    (first, baseline), (second, candidate) = sides
    return Pair(baseline, candidate, len(rounds), "" if first and second else "candidate" if first else "baseline")


def compare(pairs: Sequence[Pair], scatter: Scatter, rules: Rules, left: int = 0) -> Comparison:
    """The Comparison of pairs of servers. scatter: of the other pairs of the run. left: how many more pairs could be measured.

    'gain' and 'loss' need an interval without 0 and a change larger than the noise floor and than rules.minimum_gain. A gain needs a second pair where one
    can be had.
    """
    count, rounds, whole = len(pairs), sum(pair.rounds for pair in pairs), scatter.with_pairs(pairs)
    degrees = whole.degrees or count - 1
    if not pairs or degrees < 1:
        reason = f"{_counted(pairs)} with goodput, and the noise is unknown"
        return Comparison(_gain(pairs), (None, None), None, "inconclusive", reason, count, rounds)
    mean = _mean(_logs(pairs))
    deviation = math.sqrt(max(whole.squares / (whole.degrees or 1), _variance(pairs)))
    error = deviation / math.sqrt(count)
    half_width, floor = (student_quantile(level, degrees) * error for level in (rules.interval_level, rules.gain_level))
    low, high = mean - half_width, mean + half_width
    threshold, worth = max(floor, math.log1p(rules.minimum_gain)), math.log1p(rules.minimum_gain)
    gain, silent = _gain(pairs), _silent(pairs)
    noise = f"the noise floor of {_percent(math.expm1(floor))}" if not silent else "the noise"
    shown = silent or (
        f"{_percent(math.expm1(mean))} ({rules.confidence * 100:.4g} % interval {_percent(math.expm1(low))} to "
        f"{_percent(math.expm1(high))}, {_counted(pairs)}{_borrowed(count, scatter)})"
    )
    verdict: Verdict = "inconclusive"
    if -mean > threshold:
        verdict, why = "loss", f"slower, beyond {noise}"
    elif high < worth:
        verdict, why = "none", f"a gain of {_percent(rules.minimum_gain)} or more is excluded"
    elif mean > threshold and (count > 1 or left <= 0):
        verdict, why = "gain", f"faster, beyond {noise}"
    elif left > 0 and mean + rules.optimism * error < _needed(rules, deviation, degrees + left, count + left):
        verdict, why = "unlikely", f"{left} more pairs are unlikely to show a gain worth keeping"
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
    """The value below which a Student's t variable with so many (whole) degrees of freedom lies with a probability of 0.5 or more, below 1."""
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
    """The distribution function for value >= 0: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
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
    """The logarithm of the smallest gain that so many pairs would show."""
    return max(
        student_quantile(rules.gain_level, degrees) * deviation / math.sqrt(count), math.log1p(rules.minimum_gain)
    )


def _variance(pairs: Sequence[Pair]) -> float:
    """The variance of the comparison's own pairs, failures included; 0 for a single one."""
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
    """What a single pair says of its interval."""
    return "" if count > 1 else f" with the scatter of other pairs, {scatter.degrees} degrees of freedom"


def _silent(pairs: Sequence[Pair]) -> str:
    """What is said where a side of a pair answered nothing: such ratios have no size."""
    found = [f"{sum(pair.silent == side for pair in pairs)} ({side})" for side in ("baseline", "candidate")]
    return (
        f"{_counted(pairs)}, no goodput in {' and '.join(found)} of them" if any(pair.silent for pair in pairs) else ""
    )


def _logs(pairs: Iterable[Pair]) -> list[float]:
    return [math.log(pair.candidate / pair.baseline) for pair in pairs]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _percent(fraction: float) -> str:
    return f"{fraction * 100:+.1f} %"
