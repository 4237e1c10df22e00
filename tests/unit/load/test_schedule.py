# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrival times, orders of windows, when a server is warm and when a generator is not believed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import schedule


@pytest.mark.parametrize("rate", [3.0, 250.0, 20000.0])
def test_arrivals_are_a_poisson_process(rate):
    duration = 20000 / rate
    times = list(schedule.arrivals(rate, duration, seed=5))
    gaps = [after - before for before, after in zip(times, times[1:])]
    assert all(gap >= 0 for gap in gaps) and 0 <= times[0] and times[-1] < duration
    assert len(times) == pytest.approx(20000, abs=5 * math.sqrt(20000))
    # An exponential gap has a deviation equal to its mean, and exceeds its mean with probability 1/e and three times its mean with 1/e^3.
    mean = sum(gaps) / len(gaps)
    assert math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) == pytest.approx(mean, rel=0.05)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.02)
    assert sum(gap > 3 * mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-3), abs=0.01)


def test_arrivals_depend_on_the_seed_alone():
    first = list(schedule.arrivals(100, 2, "7/1"))
    assert first == list(schedule.arrivals(100, 2, "7/1"))
    assert first != list(schedule.arrivals(100, 2, "7/2"))
    assert first == [time for time in schedule.arrivals(100, 4, "7/1") if time < 2]


TIMES = ["100.0\n", "100.5\n", "\n", "102.0"]  # three requests in two seconds


def test_recorded_arrivals_count_from_the_first_and_keep_their_pattern_at_another_rate():
    assert schedule.recorded(TIMES, None, "f") == [0.0, 0.5, 2.0]
    assert schedule.mean_rate_rps([0.0, 0.5, 2.0]) == 1.0  # two gaps in two seconds
    assert schedule.recorded(TIMES, 4.0, "f") == [0.0, 0.125, 0.5]


def test_a_recording_is_sent_from_a_random_place_and_again_after_its_end():
    trace = [0.0, 0.5, 2.0]
    for seed in range(20):
        times = list(schedule.replayed(trace, 30.0, seed))
        gaps = [round(after - before, 9) for before, after in zip(times, times[1:])]
        assert 0 <= times[0] and times[-1] < 30 and len(times) == 30  # a mean rate of one, in a turn of three seconds
        assert all(gap == gaps[place % 3] for place, gap in enumerate(gaps)) and sorted(gaps[:3]) == [0.5, 1.0, 1.5]
    assert len({schedule.replayed(trace, 30.0, seed).__next__() for seed in range(20)}) == 20
    assert list(schedule.replayed(trace, 30.0, "7/1")) == list(schedule.replayed(trace, 30.0, "7/1"))


@pytest.mark.parametrize(
    "lines, text",
    [
        (["1", "soon"], "f: line 2, 'soon', is not a time in seconds."),
        (["1", "", "nan"], "f: line 3, 'nan', is not a time in seconds."),
        (["1", "2", "1.5"], "f: line 3, '1.5', is before the line above."),
        (
            ["3"],
            "f: it has 1 arrival times; needed: 2 to 1000000, not all equal. Write one time in seconds in each line, in order.",
        ),
        (["3", "3"], "f: it has 2 arrival times; needed: 2 to 1000000, not all equal."),
    ],
)
def test_a_file_without_arrival_times_is_one_clear_line(lines, text):
    with pytest.raises(FleetError) as caught:
        schedule.recorded(lines, None, "f")
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    "weights, counts",
    [
        ({8: 1.0}, {8: 256}),
        ({1: 3, 16: 1}, {1: 192, 16: 64}),
        ({1: 0.5, 4: 0.25, 16: 0.25}, {1: 128, 4: 64, 16: 64}),
        ({1: 9999, 64: 1}, {1: 256, 64: 1}),  # rare, but it occurs
    ],
)
def test_requests_of_several_sizes_come_in_random_order_as_often_as_they_should(weights, counts):
    sizes = schedule.mixed(weights)
    assert Counter(sizes) == counts and sizes == schedule.mixed(weights)
    if len(weights) > 1 and min(counts.values()) > 1:
        # Of an independent draw, a pair of neighbors is equal with the sum of the squared shares, here 0.625 and 0.375.
        equal = sum(one == other for one, other in zip(sizes, sizes[1:])) / 255
        assert equal == pytest.approx(sum((count / 256) ** 2 for count in counts.values()), abs=0.13)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("rounds", [1, 2, 7, 8])
def test_windows_interleave_in_mirrored_blocks(names, rounds):
    order = schedule.interleaved(names, rounds, seed=3)
    cut = [order[at : at + len(names)] for at in range(0, len(order), len(names))]
    assert len(cut) == rounds and all(sorted(part) == names for part in cut)
    assert all(after == before[::-1] for before, after in zip(cut[::2], cut[1::2]))


def test_a_linear_drift_cancels_within_a_block():
    for seed in range(20):
        order = schedule.interleaved(["a", "b", "c"], 8, seed)
        places = {name: sum(place for place, other in enumerate(order) if other == name) for name in "abc"}
        assert len(set(places.values())) == 1


def test_the_first_of_a_block_is_drawn_anew():
    firsts = [schedule.interleaved(["a", "b"], 40, seed)[::4].count("a") for seed in range(50)]
    assert 0.35 < sum(firsts) / (20 * 50) < 0.65


@pytest.mark.parametrize(
    "slices, steady",
    [
        ([], False),
        ([5.0] * 5, False),  # too few to tell
        ([5.0] * 6, True),
        ([50, 40, 30, 20, 15, 12], False),  # still warming up
        ([50, 40, 30, 20, 15, 12, 11, 10.8, 10.7, 10.9, 10.8, 10.7], True),
        ([10, 11, 10, 10.2, 25, 10.1], True),  # one slow slice is noise
        ([10, 10, 10, 9.6, 9.6, 9.6], True),  # within 5 %
        ([10, 10, 10, 9.4, 9.4, 9.4], False),
        ([10, 10, 10, 12, 12, 12], True),  # slower is not warming up
        ([None] * 6, True),  # a server that only fails
        ([None, None, None, 10, 10, 10], False),  # it has just begun to answer
        ([10, 10, 10, None, None, None], False),
        ([None, 10, None, None, 10, 10], True),
    ],
)
def test_steady(slices, steady):
    assert schedule.steady(slices) is steady


@pytest.mark.parametrize(
    "cpu, late, requests, errors, loop, text",
    [
        (0.8, 0.01, 20, 0, "open", None),
        (0.0, 0.05, 20, 0, "closed", None),
        (0.81, 0.0, 9999, 0, "closed", "the load generator used 81 % of a core, more than 80 %"),
        (0.1, 0.011, 9999, 0, "open", "1.1 % of the requests were sent more than 5 ms late; the limit is 1 %"),
        (
            0.1,
            0.06,
            9999,
            0,
            "closed",
            "6.0 % of the load generator's wake-ups were more than 5 ms late; the limit is 5 %",
        ),
        (0.1, 0.0, 19, 0, "closed", "only 19 requests in the window; at least 20 are needed"),
        (0.1, 0.0, 4, 4, "closed", None),  # few because the server hangs: that is its result
        (0.1, 0.0, 5000, 5000, "open", None),  # all errors: so is that
    ],
)
def test_health(cpu, late, requests, errors, loop, text):
    reason = schedule.health(cpu, late, requests, errors, loop)
    assert reason is None if text is None else reason.startswith(text)
