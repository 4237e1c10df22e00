# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons calculated by hand, to the last word: t(0.975, 3) = 3.18245 and t(0.95, 3) = 2.35336 of the published tables, the sign test by the binomial."""

from __future__ import annotations

import math

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison

# Log ratios whose mean is 0.10 and whose half-width at 95 % is 3.18245 * sqrt(0.0008 / 3) / 2 = 0.0259846.
LOGS = (0.10, 0.12, 0.08, 0.10)


def pairs(*logs, baseline=100.0):
    return [(baseline, baseline * math.exp(log)) for log in logs]


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (pairs(*LOGS), "+10.5 % (95 % interval +7.7 % to +13.4 %, 4 rounds): faster, beyond the noise floor of +2.6 %"),
        (
            pairs(*(-log for log in LOGS)),
            "-9.5 % (95 % interval -11.8 % to -7.1 %, 4 rounds): slower, beyond the noise floor of +2.6 %",
        ),
        (
            pairs(0.0, 0.0, 0.0, 0.0),
            "+0.0 % (95 % interval +0.0 % to +0.0 %, 4 rounds): a gain of +3.0 % or more is excluded",
        ),
        (
            pairs(0.029, 0.029, 0.031, 0.031),
            "+3.0 % (95 % interval +2.9 % to +3.2 %, 4 rounds): faster, beyond the noise floor of +0.2 %",
        ),
        (
            pairs(0.2, -0.2, 0.2, -0.2),
            "+0.0 % (95 % interval -30.8 % to +44.4 %, 4 rounds): the interval holds both no gain and one worth keeping",
        ),
        (pairs(0.1, 0.1, 0.1), "3 rounds with goodput, at least 4 are needed"),
        (pairs(0.1), "1 round with goodput, at least 4 are needed"),
        ([], "0 rounds with goodput, at least 4 are needed"),
    ],
)
def test_the_reason_of_a_verdict(measured, reason):
    assert comparison.compare(measured).reason == reason


def test_a_gain_within_the_noise_floor_or_below_what_is_worth_keeping():
    noise = pairs(
        0.05, -0.05, 0.05, -0.05
    )  # mean 0, deviation 0.0577350, over 4 rounds 3.18245 * 0.0288675 = 0.0918694: +9.6 %
    found = comparison.compare(pairs(0.09, 0.09, 0.09, 0.09), noise)
    assert found.noise_floor == pytest.approx(math.expm1(0.0918694), abs=1e-6)
    assert found.reason.endswith(": not more than the noise floor of +9.6 % or the smallest gain worth keeping, +3.0 %")
    found = comparison.compare(pairs(*LOGS), minimum_gain=0.12)
    assert (found.verdict, found.reason.rpartition(": ")[2]) == (
        "inconclusive",
        "not more than the noise floor of +2.6 % or the smallest gain worth keeping, +12.0 %",
    )


def test_a_noise_floor_of_one_pair_is_that_of_the_rounds_themselves():
    own = math.expm1(0.0259846)
    assert comparison.compare(pairs(*LOGS), pairs(0.5)).noise_floor == pytest.approx(own, abs=1e-6)
    assert comparison.compare(pairs(*LOGS), pairs(0.02, 0.02)).noise_floor == pytest.approx(math.expm1(0.02))


def test_noise_without_a_bound_is_the_reason():
    found = comparison.compare(pairs(*LOGS), [(100, 0), (100, 90)])
    assert (found.noise_floor, found.verdict) == (None, "inconclusive")
    assert found.reason.endswith(": the baseline against itself had rounds without goodput, so noise has no bound")
    assert comparison.compare(pairs(*(-log for log in LOGS)), [(100, 0), (100, 90)]).verdict == "none"


def test_the_confidence_is_the_callers():
    found = comparison.compare(pairs(*LOGS), confidence=0.9)  # 2.35336 * 0.00816497 = 0.0192151
    assert found.interval == pytest.approx((math.expm1(0.1 - 0.0192151), math.expm1(0.1 + 0.0192151)), abs=1e-6)
    assert (
        "(90 % interval " in found.reason
        and "(99.5 % interval " in comparison.compare(pairs(*LOGS), confidence=0.995).reason
    )


@pytest.mark.parametrize(
    ("measured", "gain", "interval", "verdict", "reason"),
    [
        ([(100, 0)] * 2, -1.0, (-1.0, -1.0), "loss", "no goodput in 0 (baseline) and 2 (candidate) of 2 rounds"),
        (
            [(0, 100)] * 5,
            None,
            (None, None),
            "inconclusive",
            "no goodput in 5 (baseline) and 0 (candidate) of 5 rounds; more rounds are needed to tell",
        ),
        (
            [(100, 150)] * 5 + [(100, 0)],
            0.25,
            (-1.0, 0.5),
            "inconclusive",
            "no goodput in 0 (baseline) and 1 (candidate) of 6 rounds",
        ),
        (
            [(100, 150)] * 8 + [(100, 0)],
            1 / 3,
            (0.5, 0.5),
            "gain",
            "no goodput in 0 (baseline) and 1 (candidate) of 9 rounds",
        ),
        (
            [(100, 102)] * 8 + [(0, 100)],
            0.145,
            (0.02, 0.02),
            "inconclusive",
            "no goodput in 1 (baseline) and 0 (candidate) of 9 rounds",
        ),
        (
            [(100, 50)] * 8 + [(0, 100)],
            -0.375,
            (-0.5, -0.5),
            "loss",
            "no goodput in 1 (baseline) and 0 (candidate) of 9 rounds",
        ),
        (
            [(100, 110)] * 4 + [(0, 100)] * 2,
            0.6,
            (0.1, None),
            "gain",
            "no goodput in 2 (baseline) and 0 (candidate) of 6 rounds",
        ),
        (
            [(100, 100)] * 8 + [(100, 0)],
            -1 / 9,
            (0.0, 0.0),
            "inconclusive",
            "no goodput in 0 (baseline) and 1 (candidate) of 9 rounds",
        ),
    ],
)
def test_rounds_without_goodput(measured, gain, interval, verdict, reason):
    """Of 6 rounds none lies outside of the median's interval, 2 / 2 ** 6 = 0.031; of 9 rounds one on each side, 2 * 10 / 2 ** 9 = 0.039."""
    found = comparison.compare(measured)
    assert found.gain == (None if gain is None else pytest.approx(gain)) and found.interval == pytest.approx(interval)
    assert (found.verdict, found.reason, found.noise_floor, found.rounds) == (verdict, reason, None, len(measured))


# The sign test's interval of the median at 95 %: the rank that bounds it on each side less 1, of the published table (n: d - 1), None below 6.
@pytest.mark.parametrize(
    ("rounds", "outside"),
    [(5, None), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (14, 2), (15, 3), (17, 4), (20, 5), (25, 7)],
)
def test_how_many_ratios_lie_outside_of_the_medians_interval(rounds, outside):
    """Ratios 1.01, 1.02, … with one candidate that failed: the ends of the interval tell how many lie beyond them."""
    found = comparison.compare([(100, 0)] + [(100, 100 + number) for number in range(1, rounds)])
    if outside is None:
        assert found.interval == (None, None)
    else:
        assert found.interval == pytest.approx((outside / 100 if outside else -1.0, (rounds - 1 - outside) / 100))


@pytest.mark.parametrize(("confidence", "looks", "each"), [(0.95, 1, 0.95), (0.95, 5, 0.99), (0.9, 2, 0.95)])
def test_looks_share_the_error_rate(confidence, looks, each):
    assert comparison.look_confidence(confidence, looks) == pytest.approx(each)


def test_only_what_is_inconclusive_is_worth_more_rounds():
    assert [
        comparison.settled(comparison.compare(pairs(*logs))) for logs in (LOGS, (0.0,) * 4, (0.2, -0.2, 0.2, -0.2))
    ] == [True, True, False]


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    [
        (0.5, 1, 0.0),
        (0.5, 4, 0.0),
        (0.75, 1, 1.0),
        (0.9995, 1, 636.619),
        (0.9995, 2, 31.599),
        (0.75, 2, 0.816),
        (0.9995, 6, 5.959),
        (0.95, 29, 1.699),
    ],
)
def test_more_quantiles_of_the_published_table(probability, degrees, value):
    assert comparison.student_quantile(probability, degrees) == pytest.approx(value, abs=6e-4)


def test_percentiles_need_requests_beyond_them():
    """Ten requests beyond a percentile, a hundred beyond p99.9; the median needs twenty."""
    assert histogram.PERCENTILES == {
        "p50": (50.0, 20),
        "p90": (90.0, 100),
        "p95": (95.0, 200),
        "p99": (99.0, 1000),
        "p999": (99.9, 100000),
    }


@pytest.mark.parametrize("pair", [(-1, 1), (1, -0.5), (math.nan, 1), (1, math.inf)])
def test_what_is_no_rate_is_named(pair):
    for arguments in (([pair],), ([], [pair])):
        with pytest.raises(FleetError) as fault:
            comparison.compare(*arguments)
        assert fault.value.where == "pairs" and "is no rate; allowed: 0 or more" in fault.value.what
