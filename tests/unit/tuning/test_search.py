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
