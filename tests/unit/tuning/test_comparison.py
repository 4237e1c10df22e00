# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on simulated noise, and the t quantile against published tables."""

from __future__ import annotations

import math
import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison

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
}


@pytest.mark.parametrize("probability, degrees", TABLE)
def test_student_quantile_is_that_of_the_published_table(probability, degrees):
    assert comparison.student_quantile(probability, degrees) == pytest.approx(TABLE[probability, degrees], abs=6e-4)


def test_interval_of_an_example_computed_by_hand():
    # log ratios 0.10, 0.12, 0.08, 0.10: mean 0.10, deviation sqrt(0.0008/3) = 0.0163299, standard error 0.00816497, t(0.975, 3) = 3.18245.
    pairs = [(100, 100 * math.exp(log)) for log in (0.10, 0.12, 0.08, 0.10)]
    result = comparison.compare(pairs)
    assert result.gain == pytest.approx(math.expm1(0.10))
    assert result.interval == pytest.approx((math.expm1(0.10 - 0.0259846), math.expm1(0.10 + 0.0259846)), abs=1e-6)
    assert (result.verdict, result.rounds) == ("gain", 4)


def test_noise_floor_is_the_outer_end_of_the_interval_of_the_baseline_against_itself():
    # A/A log ratios 0.02, -0.02, 0.03, 0.01: mean 0.01, deviation sqrt(0.0014/3) = 0.0216025; over 9 rounds: 0.01 + 3.18245 * 0.0216025 / 3 = 0.0329163.
    noise = [(100, 100 * math.exp(log)) for log in (0.02, -0.02, 0.03, 0.01)]
    pairs = [(100, 103.2)] * 9
    result = comparison.compare(pairs, noise, minimum_gain=0.01)
    assert result.noise_floor == pytest.approx(math.expm1(0.0329163), abs=1e-6)
    assert result.verdict == "inconclusive" and "noise floor" in result.reason
    assert comparison.compare([(100, 103.5)] * 9, noise, minimum_gain=0.01).verdict == "gain"


@pytest.mark.parametrize(
    "pairs, verdict",
    [
        ([(100, 120)] * 4, "gain"),
        ([(100, 80)] * 4, "loss"),
        ([(100, 100)] * 4, "none"),
        ([(100, 102)] * 8, "none"),  # certain, but less than worth keeping
        ([(100, 120), (100, 85), (100, 130), (100, 80)], "inconclusive"),
        ([(100, 120)] * 3, "inconclusive"),  # too few rounds
        ([], "inconclusive"),
        ([(0, 0)] * 8, "inconclusive"),
        ([(0, 0), (0, 0)] + [(100, 120)] * 4, "gain"),  # rounds that say nothing do not count
        ([(100, 0)] * 2, "loss"),  # a dead candidate
        ([(0, 100)] * 5, "inconclusive"),  # sign test: 2 * 0.5 ** 5 = 0.0625
        ([(0, 100)] * 6, "gain"),  # 2 * 0.5 ** 6 = 0.03125
        ([(100, 150)] * 8 + [(100, 0)], "gain"),  # 9 rounds: 1 outside on each side, 2 * 10 / 512 = 0.039
        ([(100, 50)] * 8 + [(0, 100)], "loss"),
        ([(100, 150)] * 4 + [(100, 0)] * 4, "inconclusive"),
    ],
)
def test_verdicts(pairs, verdict):
    result = comparison.compare(pairs)
    assert result.verdict == verdict, result
    assert result.reason


def test_a_baseline_without_goodput_gives_an_open_interval():
    result = comparison.compare([(0, 100)] * 8)
    assert (result.gain, result.interval, result.verdict) == (None, (None, None), "gain")


def test_noise_without_a_bound_lets_nothing_be_called_a_gain():
    assert comparison.compare([(100, 150)] * 8, noise_pairs=[(100, 0), (100, 90)]).verdict == "inconclusive"


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_what_is_no_rate_is_refused(value):
    with pytest.raises(FleetError, match="is no rate; allowed: 0 or more"):
        comparison.compare([(100, value)] * 4)


def test_pairs_leave_out_rounds_with_a_void_window():
    windows = [
        {"target": target, "goodput_rps": rate, "void": void}
        for target, rate, void in [
            ("a", 10, None),
            ("b", 11, None),
            ("b", 12, "late"),
            ("a", 13, None),
            ("c", 1, None),
            ("a", 14, None),
            ("b", 15, None),
        ]
    ]
    assert comparison.paired(windows, "a", "b") == [(10, 11), (14, 15)]


class Machine:
    """Goodput windows of a noisy machine: a wandering level (AR(1)), a drift, and now and then a stall, at an injected true ratio."""

    def __init__(self, seed, deviation=0.03, memory=0.7, drift=0.005, stall=0.03):
        self.draw = random.Random(seed)
        self.deviation, self.memory, self.drift, self.stall = deviation, memory, drift, stall
        self.level = self.draw.gauss(0, deviation)
        self.trend = self.draw.choice((-1, 1)) * drift
        self.count = 0

    def window(self, log_ratio=0.0):
        self.count += 1
        self.level = self.memory * self.level + math.sqrt(1 - self.memory**2) * self.draw.gauss(0, self.deviation)
        stalled = self.draw.random() < self.stall
        return 500 * math.exp(
            log_ratio + self.level + self.trend * self.count + self.draw.gauss(0, 0.01) + stalled * math.log(0.7)
        )


def measured(seed, rounds, ratio=1.0, **noise):
    """Pairs and A/A pairs of one simulated run: baseline, candidate and the baseline again, interleaved as the real one does."""
    machine = Machine(seed, **noise)
    factors = {"baseline": 0.0, "candidate": math.log(ratio), "again": 0.0}
    windows = [
        {"target": name, "goodput_rps": machine.window(factors[name]), "void": None}
        for name in schedule.interleaved(list(factors), rounds, seed)
    ]
    return comparison.paired(windows, "baseline", "candidate"), comparison.paired(windows, "baseline", "again")


RUNS = 1000


def binomial_limit(runs, probability):
    """A count that a binomial variable exceeds with a probability below 1e-5 (normal approximation with a wide margin)."""
    return runs * probability + 4.5 * math.sqrt(runs * probability)


@pytest.mark.parametrize("rounds", [4, 6, 10, 20])
@pytest.mark.parametrize(
    "noise", [{}, {"memory": 0.0}, {"memory": 0.95}, {"drift": 0.02}, {"stall": 0.15}, {"deviation": 0.15}], ids=str
)
def test_equal_sides_are_called_a_gain_at_most_as_often_as_the_confidence_says(rounds, noise):
    # One side of a 95 % interval: 2.5 %. Of 20 such pairs more than one gain then has a probability of 8.8 % at most, and far less with the noise floor.
    gains = [
        comparison.compare(pairs, aa).verdict for pairs, aa in (measured(seed, rounds, **noise) for seed in range(RUNS))
    ].count("gain")
    assert gains <= binomial_limit(RUNS, 0.025)


@pytest.mark.parametrize("noise", [{}, {"memory": 0.95}, {"drift": 0.02}], ids=str)
def test_the_bare_interval_keeps_its_confidence_under_autocorrelation_and_drift(noise):
    missed = sum(
        not (low <= 0 <= high)
        for low, high in (
            comparison.compare(measured(seed, 8, stall=0.0, **noise)[0], minimum_gain=0).interval
            for seed in range(RUNS)
        )
    )
    assert missed <= binomial_limit(RUNS, 0.05)


def test_of_twenty_equal_pairs_at_most_one_is_called_a_gain():
    runs = [
        [comparison.compare(*measured(1000 * series + seed, 8)).verdict for seed in range(20)].count("gain")
        for series in range(100)
    ]
    assert sum(count > 1 for count in runs) <= 2


def test_a_slowdown_of_ten_percent_is_found():
    verdicts = [comparison.compare(*measured(seed, 12, ratio=0.9, stall=0.0)).verdict for seed in range(300)]
    assert verdicts.count("loss") >= 0.9 * len(verdicts)
    assert "gain" not in verdicts


def test_looks_at_growing_data_keep_the_error_rate_of_one():
    looks, gains = (4, 8, 12, 16, 20), 0
    confidence = comparison.look_confidence(0.95, len(looks))
    assert confidence == pytest.approx(0.99)
    for seed in range(RUNS):
        pairs, aa = measured(seed, looks[-1])
        for rounds in looks:
            result = comparison.compare(pairs[:rounds], aa[:rounds], minimum_gain=0.0, confidence=confidence)
            if comparison.settled(result):
                gains += result.verdict == "gain"
                break
    assert gains <= binomial_limit(RUNS, 0.025)
