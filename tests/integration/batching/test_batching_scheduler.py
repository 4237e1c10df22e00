# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rule that no published table states, against TensorFlow's own batch scheduler: with splitting, the queue must hold the largest request."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import check
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

# rows of the largest request, rows executed at once, length of the queue
CASES = [(32, 8, 1), (32, 8, 3), (32, 8, 4), (32, 8, 5), (33, 8, 4), (33, 8, 5), (16, 16, 1), (7, 2, 3), (7, 2, 4)]


def serves_the_largest_request(tensorflow, size, executed, enqueued):
    """Whether the scheduler takes a lone request of size rows."""

    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 2])])
    def double(rows):
        return rows * 2

    function = double.get_concrete_function()
    try:
        (answer,) = tensorflow.raw_ops.BatchFunction(
            in_tensors=[tensorflow.ones([size, 2])],
            captured_tensors=function.captured_inputs,
            f=function,
            num_batch_threads=1,
            max_batch_size=size,
            batch_timeout_micros=0,
            max_enqueued_batches=enqueued,
            allowed_batch_sizes=[executed],
            enable_large_batch_splitting=True,
            shared_name=f"{size}-{executed}-{enqueued}",
            container="",
            batching_queue="",
            Tout=[tensorflow.float32],
        )
    except tensorflow.errors.UnavailableError as refusal:
        assert "The batch scheduling queue to which this task was submitted is full; task size is" in str(refusal)
        return False
    return answer.shape == (size, 2)


@pytest.mark.parametrize("size, executed, enqueued", CASES)
def test_we_accept_what_the_scheduler_serves_and_nothing_else(tensorflow, size, executed, enqueued):
    values = {
        "enable_large_batch_splitting": True,
        "max_batch_size": size,
        "max_execution_batch_size": executed,
        "max_enqueued_batches": enqueued,
    }
    if serves_the_largest_request(tensorflow, size, executed, enqueued):
        check(values)
    else:
        with pytest.raises(FleetError, match="would always be answered UNAVAILABLE"):
            check(values)
