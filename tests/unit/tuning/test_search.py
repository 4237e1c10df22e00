# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a search whose first round kept two changes together."""

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.search import Search

LITE = {"form": "tflite_dynamic_range"}
BATCHING = {"batching": {"max_batch_size": 64}, "flags": {"grpc_max_threads": 64}}
PREDICTED = {"batching": {"max_batch_size": 16}, "flags": {"grpc_max_threads": 64}}
CANDIDATES = [
    {"name": name, "change": change, "reason": None, "model": None}
    for name, change in (("lite", LITE), ("batching", BATCHING), ("both", {**LITE, **BATCHING}))
]


def after_the_first_round(intervals) -> Search:
    """A search that kept both changes, with a predicted batch. intervals: of the gains of each alone."""
    start = trial_configuration.complete({})
    search = Search(start, CANDIDATES, False, 8)
    for attempt, outcome in zip(search.first_round(), [(1.9, intervals[0]), (0.3, intervals[1]), (4.1, (2.8, 5.9))]):
        if "batching" in attempt.candidate["change"]:
            attempt.tried = trial_configuration.changed(attempt.tried, PREDICTED)
        search.done(attempt, "gain", *outcome)
    assert search.choose() == 2
    return search


def attempts(search) -> list:
    found = []
    while attempt := search.next():
        found.append(attempt)
        search.done(attempt, "no gain", 0.0, (-0.1, 0.01))
    return found


def test_a_part_that_may_be_as_fast_alone_is_compared_with_both():
    (alone,) = attempts(after_the_first_round([(1.1, 2.9), (-0.1, 0.7)]))
    assert alone.candidate["name"] == "lite alone"
    assert alone.tried == trial_configuration.complete(LITE)
    assert alone.candidate["change"] == {"batching": None, "flags": {"grpc_max_threads": None}}


def test_a_part_that_is_clearly_slower_alone_is_not_measured_again():
    assert not attempts(after_the_first_round([(1.1, 2.7), (-0.1, 0.7)]))


@pytest.mark.parametrize("slower", [0, 1])
def test_the_kept_part_replaces_both(slower):
    intervals = [(1.1, 2.9), (1.2, 2.9)]
    intervals[slower] = (0.1, 0.2)
    search = after_the_first_round(intervals)
    attempt = search.next()
    search.done(attempt, "gain", 0.2, (0.1, 0.3))
    assert search.best == trial_configuration.changed(trial_configuration.complete({}), [PREDICTED, LITE][slower])


BATCHED = {"batching": {"max_batch_size": 64, "num_batch_threads": 4}}
OFF = {"batching": None}
OPEN = [
    {"name": name, "change": change, "reason": None, "model": None}
    for name, change in (("lite", LITE), ("no batching", OFF), ("lite without batching", {**LITE, **OFF}))
]


def batched(outcomes, candidates=OPEN, refine=True) -> Search:
    """A search from a batched start after its first round. outcomes: (outcome, gain, interval) of each candidate."""
    search = Search(trial_configuration.complete(BATCHED), candidates, refine, 256)
    for attempt, (outcome, gain, interval) in zip(search.first_round(), outcomes):
        search.done(attempt, outcome, gain, interval)
    search.choose()
    return search


LOST = ("no gain", -0.3, (-0.4, -0.2))


def test_the_numbers_of_a_start_whose_batching_is_open_are_refined_after_the_candidates():
    names = [attempt.candidate["name"] for attempt in attempts(batched([LOST, LOST, LOST]))]
    assert names == ["num_batch_threads 8", "num_batch_threads 2", "max_batch_size 128", "max_batch_size 32"]
    after_lite = [one.candidate["name"] for one in attempts(batched([("gain", 0.5, (0.4, 0.6)), LOST, LOST]))]
    assert [name for name in after_lite if "lite" not in name and "no batching" not in name] == names
    assert not attempts(batched([LOST, LOST, LOST], refine=False))


def test_the_numbers_of_a_batching_that_the_user_set_stay():
    assert not attempts(batched([LOST], OPEN[:1]))


def test_without_batching_there_is_no_number_of_it_to_refine():
    search = batched([LOST, ("gain", 0.5, (0.4, 0.6)), LOST])
    assert search.best["batching"] is None
    assert [attempt.candidate["name"] for attempt in attempts(search)] == []


def test_a_combination_without_batching_is_compared_with_each_of_its_parts():
    near = ("gain", 0.9, (0.6, 1.2))
    search = batched([near, ("gain", 0.8, (0.5, 1.1)), ("gain", 1.0, (0.7, 1.3))])
    assert search.best == trial_configuration.complete(LITE)
    found = {attempt.candidate["name"]: attempt for attempt in attempts(search)}
    assert list(found) == ["lite alone", "no batching alone"]
    assert found["no batching alone"].tried == trial_configuration.complete({})
    assert found["lite alone"].tried == trial_configuration.complete({**LITE, **BATCHED})
    assert found["lite alone"].candidate["change"] == BATCHED


def test_the_same_configuration_is_not_measured_twice_under_two_names():
    search = batched([("gain", 0.4, (0.3, 0.5)), ("gain", 0.5, (0.4, 0.6)), ("open", 0.4, (0.2, 0.7))], refine=False)
    assert search.best["batching"] is None
    assert [attempt.tried for attempt in attempts(search)] == [trial_configuration.complete(LITE)]
