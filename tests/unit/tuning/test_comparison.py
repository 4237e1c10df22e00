# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statistics of a comparison: the t quantile against published tables, figures of pairs, and error rates on simulated machines."""

from __future__ import annotations

import math
import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._load import schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Pair, Rules, Scatter

# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, critical values of Student's t distribution.
TABLE = {
    (0.90, 1): 3.078,
    (0.975, 1): 12.706,
    (0.975, 2): 4.303,
    (0.95, 3): 2.353,
    (0.975, 3): 3.182,
    (0.975, 4): 2.776,
    (0.99, 5): 3.365,
    (0.975, 7): 2.365,
    (0.995, 9): 3.250,
    (0.975, 10): 2.228,
    (0.975, 19): 2.093,
    (0.999, 19): 3.579,
    (0.95, 30): 1.697,
    (0.975, 100): 1.984,
    (0.5, 1): 0.0,
    (0.5, 4): 0.0,
    (0.75, 1): 1.0,
    (0.9995, 1): 636.619,
    (0.9995, 2): 31.599,
    (0.75, 2): 0.816,
    (0.9995, 6): 5.959,
    (0.95, 29): 1.699,
}


@pytest.mark.parametrize("probability, degrees", TABLE)
def test_student_quantile_is_that_of_the_published_table(probability, degrees):
    assert comparison.student_quantile(probability, degrees) == pytest.approx(TABLE[probability, degrees], abs=6e-4)


def window(target, rate, void=None, duration_s=2.0):
    return {"target": target, "goodput_rps": rate, "void": void, "duration_s": duration_s}


def test_a_pair_has_the_rates_over_all_its_windows_that_count():
    found = comparison.paired(
        [
            window("baseline", 10),
            window("candidate", 11),
            window("candidate", 99, "late"),
            window("baseline", 13),
            window("baseline", 16, duration_s=4.0),
            window("candidate", 17),
        ]
    )
    # The baseline answered 10 * 2 + 16 * 4 = 84 in 6 s, the candidate 11 * 2 + 17 * 2 = 56 in 4 s.
    assert found == Pair(14.0, 14.0, 2)


@pytest.mark.parametrize("silent, other", [("baseline", "candidate"), ("candidate", "baseline")])
def test_a_side_without_goodput_counts_as_half_an_answer(silent, other):
    found = comparison.paired([window(other, 50), window(silent, 0), window(silent, 0), window(other, 50)])
    assert (getattr(found, silent), getattr(found, other), found.silent) == (0.125, 50.0, silent)


def test_a_pair_that_says_nothing_does_not_count():
    assert comparison.paired([window("baseline", 0), window("candidate", 0)]) is None
    assert comparison.paired([window("baseline", 5, "late"), window("candidate", 5)]) is None


def test_the_looks_end_with_the_most_pairs():
    assert [Rules().within(most).looks for most in (1, 2, 4, 28)] == [
        (1,),
        (1, 2),
        (1, 2, 3, 4),
        (1, 2, 3, 5, 8, 12, 18, 28),
    ]


class Machine:
    """Pairs of servers on a noisy machine: instances differ, the level of windows wanders (AR(1)) and drifts, and now and then a window stalls."""

    def __init__(self, seed, instances=0.06, deviation=0.06, memory=0.7, drift=0.005, stall=0.0):
        self.draw = random.Random(seed)
        self.instances, self.deviation, self.memory, self.stall = instances, deviation, memory, stall
        self.level = self.draw.gauss(0, deviation)
        self.trend, self.count = self.draw.choice((-1, 1)) * drift, 0

    def window(self, target, log):
        self.count += 1
        self.level = self.memory * self.level + math.sqrt(1 - self.memory**2) * self.draw.gauss(0, self.deviation)
        stalled = (self.draw.random() < self.stall) * math.log(0.3)
        log += self.level + self.trend * self.count + self.draw.gauss(0, 0.02) + stalled
        return window(target, 500 * math.exp(log))

    def pairs(self, count, ratio=1.0):
        found = []
        for _pair in range(count):
            level = {name: self.draw.gauss(0, self.instances) for name in ("baseline", "candidate")}
            level["candidate"] += math.log(ratio)
            order = schedule.interleaved(list(level), 2, self.draw.random())
            found.append(comparison.paired([self.window(name, level[name]) for name in order]))
        return found


def judged(seed, ratio=1.0, most=12, **noise):
    """The comparison of one simulated run at the look that settled it."""
    machine = Machine(seed, **noise)
    scatter = Scatter().with_pairs(machine.pairs(3), equal=True)
    pairs, rules = machine.pairs(most, ratio), Rules().within(most)
    found = None
    for count in rules.looks:
        found = comparison.compare(pairs[:count], scatter, rules, most - count)
        if found.verdict != "inconclusive":
            break
    return found


RUNS = 200


def binomial_limit(probability):
    """A count that a binomial variable exceeds with a probability below 1e-5 (normal approximation with a wide margin)."""
    return RUNS * probability + 4.5 * math.sqrt(RUNS * probability)


@pytest.mark.parametrize(
    "noise", [{}, {"deviation": 0.01}, {"memory": 0.95}, {"drift": 0.02}, {"instances": 0.15}, {"stall": 0.1}], ids=str
)
def test_error_rates_are_those_of_the_confidence_wherever_measuring_stops(noise):
    """Of equal sides at most 2.5 % are called a gain, one side of a 95 % interval; 95 % of the intervals hold the truth."""
    found = [judged(seed, **noise) for seed in range(RUNS)]
    assert [one.verdict for one in found].count("gain") <= binomial_limit(0.025)
    assert sum(not one.interval[0] <= 0 <= one.interval[1] for one in found) <= binomial_limit(0.05)


def test_intervals_of_a_gain_cover_at_their_rate():
    intervals = [judged(seed, ratio=1.5).interval for seed in range(RUNS)]
    assert sum(not low <= 0.5 <= high for low, high in intervals) <= binomial_limit(0.05)


@pytest.mark.parametrize("ratio, verdict", [(0.7, {"loss", "none", "unlikely"}), (1.5, {"gain"})])
def test_what_is_much_slower_or_faster_is_found(ratio, verdict):
    found = [judged(seed, ratio) for seed in range(60)]
    assert sum(one.verdict in verdict for one in found) >= 55


def test_a_large_gain_takes_fewer_pairs_than_a_small_one():
    large, small = ([judged(seed, ratio).instances for seed in range(60)] for ratio in (3.0, 1.2))
    assert sorted(large)[30] == 2 < sorted(small)[30]
