# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other values of kept numbers: those that are valid and can matter."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters, start_values
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import refinement

SIZE = ("batching", "max_execution_batch_size")


def kept(**batching):
    """Return a configuration with the batching that a plan starts with, changed."""
    host = {"cpu": {"usable": 2}, "gpus": [], "memory": {"usable_mib": 4096}}
    started = {name: value for name, (value, _reason) in start_values.start_values(host, "online").items()}
    return trial_configuration.complete({"batching": {**started, **batching}})


@pytest.mark.parametrize("goal_rows", [16, 8, 4, 2, 1])
def test_executed_rows_are_halved_down_to_one_with_a_queue_that_holds_the_largest_request(goal_rows):
    # TensorFlow Serving refuses a request of more rows than its queue holds: max_enqueued_batches of max_execution_batch_size rows each.
    before = kept(max_execution_batch_size=2 * goal_rows, max_enqueued_batches=1024 // (2 * goal_rows))
    found = refinement.candidate(before, (*SIZE, 0.5), 8)
    batching = found["change"]["batching"]
    assert batching["max_execution_batch_size"] == goal_rows
    assert batching["max_enqueued_batches"] * goal_rows >= batching["max_batch_size"]
    parameters.check(batching)


def test_a_batch_larger_than_what_is_in_flight_is_not_tried():
    assert refinement.candidate(kept(max_execution_batch_size=8), (*SIZE, 2.0), 8) is None
    larger = refinement.candidate(kept(max_execution_batch_size=8, max_enqueued_batches=128), (*SIZE, 2.0), 16)
    assert larger["change"]["batching"]["max_execution_batch_size"] == 16
