# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons calculated by hand, to the last word, with quantiles of the published tables (NIST/SEMATECH e-Handbook, 1.3.6.7.2)."""

from __future__ import annotations

import math
import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Pair, Rules, Scatter

# Log ratios whose mean is 0.10 and whose half-width at 95 % is t(0.975, 3) * sqrt(0.0008 / 3) / 2 = 3.18245 * 0.00816497 = 0.0259846.
LOGS = (0.10, 0.12, 0.08, 0.10)
ONE_LOOK = Rules((4,))


def pairs(*logs):
    return [Pair(100.0, 100.0 * math.exp(log), 2) for log in logs]


# The start against itself: squares 0.0018 about 0, 4 degrees of freedom.
EQUAL = Scatter().with_pairs(pairs(0.02, -0.02, 0.03, 0.01), equal=True)


@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        (LOGS, "gain", "+10.5 % (95 % interval +7.7 % to +13.4 %, {}): faster, beyond the noise floor of +2.6 %"),
        (
            [-log for log in LOGS],
            "loss",
            "-9.5 % (95 % interval -11.8 % to -7.1 %, {}): slower, beyond the noise floor of +2.6 %",
        ),
        (
            (0.0, 0.0, 0.0, 0.0),
            "none",
            "+0.0 % (95 % interval +0.0 % to +0.0 %, {}): a gain of +3.0 % or more is excluded",
        ),
        (
            (0.2, -0.2, 0.2, -0.2),
            "inconclusive",
            "+0.0 % (95 % interval -30.8 % to +44.4 %, {}): the interval contains both no gain and a gain worth keeping",
        ),
        (
            (0.3, -0.1, 0.3, -0.1),
            "inconclusive",
            "+10.5 % (95 % interval -23.5 % to +59.6 %, {}): not more than the noise floor of +44.4 %",
        ),
    ],
)
def test_the_reason_of_a_verdict(measured, verdict, reason):
    found = comparison.compare(pairs(*measured), Scatter(), ONE_LOOK)
    assert (found.verdict, found.reason) == (verdict, reason.format("8 rounds on 4 pairs of servers"))
    assert (found.instances, found.rounds) == (4, 8)


def test_the_scatter_of_other_pairs_of_the_run_is_added():
    # 9 equal pairs bring 8 degrees of freedom and no squares: deviation sqrt(0.0018 / 12), over 9 pairs 0.00408248; t(0.975, 12) = 2.17881.
    found = comparison.compare(pairs(*[0.05] * 9), EQUAL, Rules((9,)))
    assert found.noise_floor == pytest.approx(math.expm1(0.00889503), abs=1e-6)
    assert found.interval == pytest.approx((math.expm1(0.05 - 0.00889503), math.expm1(0.05 + 0.00889503)), abs=1e-6)


def test_pairs_of_unlike_sides_scatter_about_their_own_mean():
    assert EQUAL == Scatter(pytest.approx(0.0018), 4)
    assert EQUAL.with_pairs(pairs(*LOGS)) == Scatter(pytest.approx(0.0018 + 0.0008), 7)
    assert EQUAL.with_pairs([]) == EQUAL.with_pairs([Pair(0.1, 50.0, 2, "baseline")]) == EQUAL


def test_one_pair_borrows_the_scatter_of_the_others_and_says_so():
    # sqrt(0.0018 / 4) = 0.0212132; t(0.975, 4) = 2.77645.
    found = comparison.compare(pairs(0.5), EQUAL, Rules((1,)))
    reach = 2.77645 * 0.0212132
    assert found.interval == pytest.approx((math.expm1(0.5 - reach), math.expm1(0.5 + reach)), abs=1e-5)
    assert found.verdict == "gain"
    assert "2 rounds on 1 pair of servers with the scatter of other pairs, 4 degrees of freedom)" in found.reason


def test_a_gain_needs_a_second_pair_where_one_can_be_had():
    found = comparison.compare(pairs(0.5), EQUAL, Rules((1, 2)), left=1)
    assert (found.verdict, found.reason.rpartition(": ")[2]) == ("inconclusive", "a gain needs a second pair")


def test_a_comparison_that_scatters_more_than_the_others_is_judged_by_its_own_scatter():
    # sqrt(2 * 0.4 ** 2 / 1) = 0.565685 of its own against sqrt((0.0018 + 0.32) / 5) = 0.253693 of all; t(0.975, 5) = 2.57058.
    found = comparison.compare(pairs(0.9, 0.1), EQUAL, Rules((2,)))
    assert found.noise_floor == pytest.approx(math.expm1(2.57058 * 0.565685 / math.sqrt(2)), abs=1e-4)
    assert found.verdict == "inconclusive"


def test_without_any_scatter_nothing_is_said():
    found = comparison.compare(pairs(0.1), Scatter(), Rules((1, 2)), left=1)
    assert (found.interval, found.noise_floor, found.verdict) == ((None, None), None, "inconclusive")
    assert found.reason == "2 rounds on 1 pair of servers with goodput, and the noise is unknown"
    assert comparison.compare([], EQUAL, Rules((1,))).reason.startswith("0 rounds on 0 pairs of servers with goodput")


@pytest.mark.parametrize(
    ("looks", "trials", "interval", "gain"), [(1, 1, 0.975, 0.975), (5, 1, 0.995, 0.995), (5, 5, 0.995, 0.999)]
)
def test_looks_share_the_error_of_an_interval_and_comparisons_share_that_of_a_gain(looks, trials, interval, gain):
    rules = Rules(tuple(range(1, looks + 1)), trials=trials)
    assert (rules.interval_level, rules.gain_level) == (pytest.approx(interval), pytest.approx(gain))


def test_the_confidence_is_the_callers():
    found = comparison.compare(pairs(*LOGS), Scatter(), Rules((4,), confidence=0.9))  # t(0.95, 3) = 2.35336
    reach = 2.35336 * 0.00816497
    assert found.interval == pytest.approx((math.expm1(0.1 - reach), math.expm1(0.1 + reach)), abs=1e-6)
    assert "(90 % interval " in found.reason


@pytest.mark.parametrize(("minimum_gain", "verdict"), [(0.10, "gain"), (0.11, "inconclusive"), (0.14, "none")])
def test_a_gain_below_what_is_worth_keeping_is_not_one(minimum_gain, verdict):
    found = comparison.compare(pairs(*LOGS), Scatter(), Rules((4,), minimum_gain))
    assert found.verdict == verdict


def test_measuring_ends_where_more_pairs_would_hardly_show_a_gain():
    # Deviation of two pairs at -0.2 and 0.1: 0.212132, of their mean 0.15; -0.05 + 1.64 * 0.15 = 0.196. Of 4 pairs a gain would have to exceed
    # t(0.975, 3) * 0.212132 / 2 = 0.3375, of 40 less than 0.0679.
    few, many = (comparison.compare(pairs(-0.2, 0.1), Scatter(), Rules((2,)), left=left) for left in (2, 38))
    assert few.verdict == "unlikely" and few.reason.endswith("2 more pairs are unlikely to show a gain worth keeping")
    assert many.verdict == "inconclusive"


def test_a_baseline_without_goodput_has_a_gain_without_an_end():
    found = comparison.compare([Pair(0.2, 100.0, 2, "baseline"), Pair(0.2, 110.0, 2, "baseline")], EQUAL, Rules((2,)))
    assert (found.gain, found.interval[1], found.verdict) == (None, None, "gain") and found.interval[0] > 100
    assert found.noise_floor is None
    assert found.reason == (
        "4 rounds on 2 pairs of servers, no goodput in 2 (baseline) and 0 (candidate) of them: faster, beyond the noise"
    )


def test_a_candidate_that_answers_nothing_is_a_loss():
    found = comparison.compare([Pair(100.0, 0.2, 2, "candidate")] * 2, EQUAL, Rules((2,)))
    assert found.verdict == "loss" and found.gain == pytest.approx(-0.998)


def test_a_server_that_died_once_makes_no_gain_of_its_other_side():
    found = comparison.compare([Pair(0.2, 100.0, 2, "baseline"), *pairs(0.0)], EQUAL, Rules((2,)))
    assert found.verdict == "inconclusive"


def test_percentiles_need_requests_beyond_them():
    """Ten requests beyond a percentile, a hundred beyond p99.9; the median needs twenty."""
    assert histogram.PERCENTILES == {
        "p50": (50.0, 20),
        "p90": (90.0, 100),
        "p95": (95.0, 200),
        "p99": (99.0, 1000),
        "p999": (99.9, 100000),
    }


# An earlier tuning with a variance of 0.0004 from 9 degrees of freedom.
EARLIER = Scatter(0.0036, 9)


@pytest.mark.parametrize(
    ("own", "deviation", "words"),
    [
        # (0 + 3 * 0.0004) / 3
        (Scatter(0.0, 0, EARLIER), 0.02, "3 degrees of freedom, 3 of them from an earlier tuning"),
        # (0.0001 + 2 * 0.0004) / 3
        (Scatter(0.0001, 1, EARLIER), math.sqrt(0.0003), "3 degrees of freedom, 2 of them from an earlier tuning"),
        # A busier day: 0.0016 / 1 is more than (0.0016 + 2 * 0.0004) / 3.
        (Scatter(0.0016, 1, EARLIER), 0.04, "3 degrees of freedom, 2 of them from an earlier tuning"),
        # Enough pairs of its own.
        (Scatter(0.0001, 4, EARLIER), 0.005, "4 degrees of freedom"),
        # The earlier tuning has only 1 degree of freedom: (0.0001 + 0.0005) / 2.
        (
            Scatter(0.0001, 1, Scatter(0.0005, 1)),
            math.sqrt(0.0003),
            "2 degrees of freedom, 1 of them from an earlier tuning",
        ),
    ],
)
def test_an_earlier_tuning_fills_up_the_first_degrees_of_freedom(own, deviation, words):
    found = comparison.compare(pairs(0.5), own, Rules((1,)))
    # Student's t at 0.975, from tables.
    half_width = {"2": 4.30265, "3": 3.18245, "4": 2.77645}[words[0]] * deviation
    assert found.interval == pytest.approx((math.expm1(0.5 - half_width), math.expm1(0.5 + half_width)), abs=1e-5)
    assert f"on 1 pair of servers with the scatter of other pairs, {words})" in found.reason


@pytest.mark.parametrize(("busier", "least"), [(1.0, 0.95), (1.4, 0.95), (2.0, 0.9)])
def test_intervals_with_the_scatter_of_another_day_hold(busier, least):
    """busier: how many times as large the standard deviation is today. One pair of the start against itself, then one of a candidate."""
    draw, held = random.Random(1), 0
    for _comparison in range(2000):
        earlier = Scatter(sum(draw.gauss(0, 0.06) ** 2 for _pair in range(20)), 20)
        own = Scatter(earlier=earlier).with_pairs(pairs(draw.gauss(0, 0.06 * busier)), equal=True)
        low, high = comparison.compare(pairs(0.1 + draw.gauss(0, 0.06 * busier)), own, Rules((1,))).interval
        held += low <= math.expm1(0.1) <= high
    assert held / 2000 >= least


def test_what_is_kept_for_later_tunings_is_what_was_used():
    assert Scatter(0.0002, 1, EARLIER).filled == Scatter(pytest.approx(0.001), 3)
    assert Scatter(0.0016, 7, EARLIER).filled == Scatter(0.0016, 7) and Scatter().filled == Scatter()
