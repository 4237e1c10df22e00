# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traps of docs/traps.md, on a double of TensorFlow Serving 2.20.0 that hangs and aborts as a real one was seen to do."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.tests.docker.local_host import doubles
from ansible_collections.tfserving.fleet.tests.docker.testbed import images

BATCHING = "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 0 }\n"


@pytest.fixture(scope="module", name="double")
def double_image(engine):
    """The reference of the double's image."""
    return images.double(engine).tags[0]


def batched(host, more=""):
    path = host.state / "batching.pbtxt"
    path.write_text(BATCHING + more, encoding="utf-8")
    return {"batching_parameters_file": str(path)}


def test_trap_54_a_batched_server_that_does_not_answer_requests_without_rows_is_deployed(host, double):
    """tests/bench/batched_deployment.py measures that this costs no time: at a real server the check waited for its deadline of 30 s."""
    result = host.good(image=double, **batched(host))
    assert doubles(result["server"])
    words = "m is batched: a request without rows is not answered before another client's joins it"
    assert sum(words in str(text) for text in result["warnings"]) == 1


def test_trap_56_a_padded_batch_that_ends_the_server_takes_no_traffic(host, double):
    host.good(image=double)
    padded = batched(host, "pad_variable_length_inputs: true\n")
    said = host.refused(image=double, **padded)
    assert all(
        word in said for word in ("no rows", "Check failed: size >= 0", "pad_variable_length_inputs", "accept_fragile")
    ), said
    assert host.roles() == {"serving": True} and doubles(host.info()[0] and host.good(image=double)["server"])
    assert doubles(host.good(image=double, accept_fragile=True, **padded)["server"])
