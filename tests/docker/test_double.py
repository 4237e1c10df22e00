# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traps of docs/traps.md, on a double of TensorFlow Serving 2.20.0 that hangs and aborts as a real one was seen to do."""

from __future__ import annotations

import time

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


def test_trap_54_a_request_without_rows_costs_a_batched_deployment_no_time(host, double):
    """At a real server a batched deployment took 35.5 s, one without batching 5.7 s: the check waited for its deadline of 30 s."""
    took, results = {}, {}
    for name, options in (("plain", {}), ("batched", batched(host))):
        began = time.monotonic()
        results[name] = host.good(image=double, **options)
        took[name] = time.monotonic() - began
        assert doubles(results[name]["server"])
        host.remove()
    assert took["batched"] < took["plain"] + 20, took
    words = "m is batched: a request without rows is not answered before another client's joins it"
    told = {
        name: [text for text in map(str, result.get("warnings", ())) if "without rows" in text]
        for name, result in results.items()
    }
    assert told["plain"] == [] and len(told["batched"]) == 1 and words in told["batched"][0], told


def test_trap_56_a_padded_batch_that_ends_the_server_takes_no_traffic(host, double):
    host.good(image=double)
    padded = batched(host, "pad_variable_length_inputs: true\n")
    said = host.refused(image=double, **padded)
    assert all(
        word in said for word in ("no rows", "Check failed: size >= 0", "pad_variable_length_inputs", "accept_fragile")
    ), said
    assert host.roles() == {"serving": True} and doubles(host.info()[0] and host.good(image=double)["server"])
    assert doubles(host.good(image=double, accept_fragile=True, **padded)["server"])
