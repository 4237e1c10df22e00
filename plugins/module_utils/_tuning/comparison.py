# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is B faster than A, or was that noise? Gains with intervals from interleaved rounds.

The unit is the logarithm of candidate / baseline in one round, whose two windows lie side by side, so that drift hits both.
Its mean gets a t-interval: for equal sides the log ratio is symmetric about 0, where Student's t keeps its error rate (or stays
below it, for heavy tails) from 4 rounds on; a bootstrap of 4 to 20 values is too narrow. Rounds are nearly independent because
schedule.interleaved draws the order of each block at random.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

Verdict = Literal["gain", "loss", "none", "inconclusive"]
Pair = tuple[float, float]  # baseline's and candidate's rate in one round
MINIMUM_ROUNDS = 4


@dataclass(frozen=True)
class Comparison:
    """What pairs of windows say about a candidate.

    The verdict 'none' says that a gain worth keeping is excluded. A gain is a fraction: 0.12 is 12 %.
    """

    gain: float | None  # geometric mean of candidate / baseline, less 1; None without a finite ratio
    interval: tuple[float | None, float | None]  # low and high end of the gain; None for an open end
    noise_floor: float | None  # the gain that noise alone may show; None where it has no bound
    verdict: Verdict
    reason: str  # a sentence
    rounds: int  # pairs that counted

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """The inverse of dataclasses.asdict, also after a way through JSON."""
        return cls(**{**data, "interval": tuple(data["interval"])})


def compare(
    pairs: Sequence[Pair], noise_pairs: Sequence[Pair] = (), minimum_gain: float = 0.03, confidence: float = 0.95
) -> Comparison:
    """The Comparison of pairs, one per round; values are rates, the more the better.

    noise_pairs: the same of the baseline against itself in the same run (A/A); without two of them the scatter of pairs stands in. 'gain' and 'loss' need an
    interval without 0 and a change larger than the noise floor and minimum_gain. A round without goodput on both sides does not count.
    """
    told, noise = _informative(pairs), _informative(noise_pairs)
    if any(0 in pair for pair in told):
        return _compare_with_zeros(told, minimum_gain, confidence)
    rounds = len(told)
    logs = [math.log(candidate / baseline) for baseline, candidate in told]
    gain = math.expm1(_mean(logs)) if logs else None
    if gain is None or rounds < MINIMUM_ROUNDS:
        counted = f"{rounds} round{'s' * (rounds != 1)} with goodput"
        return Comparison(
            gain, (None, None), None, "inconclusive", f"{counted}, at least {MINIMUM_ROUNDS} are needed", rounds
        )
    reach = _reach(logs, rounds, confidence)
    interval = (math.expm1(_mean(logs) - reach), math.expm1(_mean(logs) + reach))
    floor = _noise_floor(noise, rounds, confidence) if len(noise) > 1 else math.expm1(reach)
    verdict, why = _verdict(gain, interval, floor, minimum_gain)
    shown = f"{_percent(gain)} ({confidence * 100:.4g} % interval {_percent(interval[0])} to {_percent(interval[1])}, {rounds} rounds)"
    return Comparison(gain, interval, floor, verdict, f"{shown}: {why}", rounds)


def settled(comparison: Comparison) -> bool:
    """Whether more rounds could no longer turn the verdict into a useful one: only 'inconclusive' is worth more rounds.

    Looking after each round and stopping at the first 'gain' would find gains in noise. So look at a few fixed counts of rounds, and give
    each look the confidence of look_confidence; then all looks together keep the error rate of one.
    """
    return comparison.verdict != "inconclusive"


def look_confidence(confidence: float, looks: int) -> float:
    """The confidence of each of a number of looks at growing data, so that together they keep confidence (Bonferroni: sound for any dependence)."""
    return 1 - (1 - confidence) / looks


def paired(windows: Iterable[Mapping[str, Any]], baseline: str, candidate: str) -> list[Pair]:
    """[(baseline's goodput_rps, candidate's)] of measured windows in the order they ran; a round with a void window is left out."""
    mine = [[window for window in windows if window["target"] == target] for target in (baseline, candidate)]
    return [
        (one["goodput_rps"], other["goodput_rps"]) for one, other in zip(*mine) if not one["void"] and not other["void"]
    ]


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


def _verdict(
    gain: float, interval: tuple[float, float], floor: float | None, minimum_gain: float
) -> tuple[Verdict, str]:
    low, high = interval
    threshold = minimum_gain if floor is None else max(floor, minimum_gain)
    if high < 0 and floor is not None and -gain / (1 + gain) > threshold:
        return "loss", f"slower, beyond the noise floor of {_percent(floor)}"
    if high < minimum_gain:
        return "none", f"a gain of {_percent(minimum_gain)} or more is excluded"
    if low > 0 and floor is not None and gain > threshold:
        return "gain", f"faster, beyond the noise floor of {_percent(floor)}"
    if floor is None:
        return "inconclusive", "the baseline against itself had rounds without goodput, so noise has no bound"
    if low > 0:
        return (
            "inconclusive",
            f"not more than the noise floor of {_percent(floor)} or the smallest gain worth keeping, {_percent(minimum_gain)}",
        )
    return "inconclusive", "the interval holds both no gain and one worth keeping"


def _compare_with_zeros(pairs: list[Pair], minimum_gain: float, confidence: float) -> Comparison:
    """Rounds in which one side had no goodput have no logarithm: judge the median ratio by its order statistics (no shape assumed)."""
    rounds = len(pairs)
    failed = [sum(1 for pair in pairs if pair[side] == 0) for side in (0, 1)]
    told = f"no goodput in {failed[0]} (baseline) and {failed[1]} (candidate) of {rounds} rounds"
    total = sum(baseline for baseline, _candidate in pairs)
    gain = sum(candidate for _baseline, candidate in pairs) / total - 1 if total else None
    if failed[1] == rounds:
        return Comparison(-1.0, (-1.0, -1.0), None, "loss", told, rounds)
    ratios = sorted(math.inf if baseline == 0 else candidate / baseline for baseline, candidate in pairs)
    outside = _order_outside(rounds, confidence)
    if outside is None:
        return Comparison(gain, (None, None), None, "inconclusive", f"{told}; more rounds are needed to tell", rounds)
    low, high = ratios[outside], ratios[-1 - outside]
    verdict: Verdict = "gain" if low > 1 + minimum_gain else "loss" if high < 1 else "inconclusive"
    return Comparison(gain, (_open(low - 1), _open(high - 1)), None, verdict, told, rounds)


def _order_outside(rounds: int, confidence: float) -> int | None:
    """How many values on each side lie outside the sign test's interval of the median; None when even the whole range is too narrow."""
    outside, tail = None, 0.0
    for index in range((rounds + 1) // 2):
        tail += math.comb(rounds, index) / 2**rounds
        if 2 * tail > 1 - confidence:
            break
        outside = index
    return outside


def _noise_floor(noise: list[Pair], rounds: int, confidence: float) -> float | None:
    """The outer end of the interval that the A/A pairs give for so many rounds, as a gain."""
    if any(0 in pair for pair in noise):
        return None
    logs = [math.log(again / first) for first, again in noise]
    return math.expm1(abs(_mean(logs)) + _reach(logs, rounds, confidence))


def _reach(logs: Sequence[float], rounds: int, confidence: float) -> float:
    """Half the width of the t-interval of a mean over so many rounds, with the deviation that logs show."""
    mean = _mean(logs)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in logs) / (len(logs) - 1))
    return student_quantile((1 + confidence) / 2, len(logs) - 1) * deviation / math.sqrt(rounds)


def _informative(pairs: Sequence[Pair]) -> list[Pair]:
    for pair in pairs:
        for value in pair:
            if not (value >= 0 and math.isfinite(value)):
                raise FleetError(f"{value!r} is no rate; allowed: 0 or more", where="pairs")
    return [(one, other) for one, other in pairs if one or other]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _open(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(fraction: float) -> str:
    return f"{fraction * 100:+.1f} %"
