# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start values, calculated by hand from upstream's batching guide: threads as CPUs, no or little waiting on a CPU, larger batches on a GPU, and a queue
that holds the largest request (shared_batch_scheduler.h: enqueued batches x rows of a batch)."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.start_values import row_bytes, start_values
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

CPU = {"cpu": {"usable": 4.5}, "gpus": [], "memory": {"usable_mib": 8000}}
GPU = dict(CPU, gpus=[{"driver": "nvidia"}])


def tensor(dtype, *shape):
    return {"dtype": dtype, "shape": list(shape)}


def signature(*inputs):
    return {
        "inputs": {f"x{number}": one for number, one in enumerate(inputs)},
        "outputs": {"y": tensor("float32", None, 1)},
    }


IMAGE = {"serving_default": signature(tensor("float32", None, 224, 224, 3))}  # 602,112 bytes a row


def values(capabilities=None, goal="online", given=None, signatures=None):
    return {
        name: value
        for name, (value, _reason) in start_values(
            CPU if capabilities is None else capabilities, goal, given, signatures
        ).items()
    }


@pytest.mark.parametrize(
    ("capabilities", "goal", "rows", "timeout", "queue"),
    [
        (CPU, "online", 32, 0, 32),
        (CPU, "bulk", 256, 1000, 100),
        (GPU, "online", 128, 1000, 8),
        (GPU, "bulk", 1024, 5000, 100),
    ],
)
def test_the_start_of_a_goal(capabilities, goal, rows, timeout, queue):
    """The largest request has 1,024 rows, so 1,024 / 32 = 32 batches must fit the queue; for an unknown row 100 of them are generous."""
    assert values(capabilities, goal) == {
        "max_batch_size": 1024,
        "enable_large_batch_splitting": True,
        "max_execution_batch_size": rows,
        "batch_timeout_micros": timeout,
        "num_batch_threads": 4,
        "max_enqueued_batches": queue,
    }


@pytest.mark.parametrize(("usable", "threads"), [(None, 1), (0.4, 1), (1.9, 1), (2.0, 2), (64, 64)])
def test_a_thread_for_each_cpu(usable, threads):
    found = values(dict(CPU, cpu={"usable": usable}), given={"max_batch_size": 2})
    assert found["num_batch_threads"] == threads and found["max_enqueued_batches"] == max(2, threads)


@pytest.mark.parametrize("driver", ["vfio-pci", None])
def test_a_gpu_that_nvidias_driver_does_not_hold_computes_nothing(driver):
    assert values(dict(CPU, gpus=[{"driver": driver}]))["max_execution_batch_size"] == 32


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_batch_size": 64}, {"max_enqueued_batches": 4}),  # sizes of the user's own: no splitting
        ({"allowed_batch_sizes": [8, 64]}, {"max_batch_size": 64, "max_enqueued_batches": 4}),
        ({"enable_large_batch_splitting": False}, {"max_batch_size": 1024, "max_enqueued_batches": 4}),
        (
            {"enable_large_batch_splitting": True},
            {"max_batch_size": 1024, "max_execution_batch_size": 32, "max_enqueued_batches": 32},
        ),
        (
            {"max_batch_size": 16, "enable_large_batch_splitting": True},
            {"max_execution_batch_size": 16, "max_enqueued_batches": 4},
        ),
        ({"max_execution_batch_size": 4096}, {"max_batch_size": 4096, "max_enqueued_batches": 4}),
        ({"max_execution_batch_size": 16, "max_enqueued_batches": 8}, {"max_batch_size": 128}),  # 8 x 16 rows
        (
            {"max_enqueued_batches": 8},
            {"max_batch_size": 1024, "enable_large_batch_splitting": True, "max_execution_batch_size": 128},
        ),  # 1,024 / 8
        (
            {"allowed_batch_sizes": [8, 24, 64], "enable_large_batch_splitting": True},
            {"max_batch_size": 64, "max_execution_batch_size": 24, "max_enqueued_batches": 4},
        ),
        (
            {"allowed_batch_sizes": [8, 64], "enable_large_batch_splitting": True, "max_enqueued_batches": 2},
            {"max_batch_size": 64, "max_execution_batch_size": 64},
        ),
        ({"max_batch_size": 64, "num_batch_threads": 9}, {"max_enqueued_batches": 9}),
        (
            {
                "max_batch_size": 1000,
                "enable_large_batch_splitting": True,
                "max_execution_batch_size": 30,
                "num_batch_threads": 2,
            },
            {"max_enqueued_batches": 34},
        ),
    ],
)
def test_what_the_user_gave_is_completed(given, expected):
    found = values(given=given)
    assert {
        name: value for name, value in found.items() if name not in ("batch_timeout_micros", "num_batch_threads")
    } == expected
    assert not set(found) & set(given)


@pytest.mark.parametrize(("memory_mib", "queue"), [(64000, 54), (4000, 4), (2_000_000, 1000)])
def test_queues_of_bulk_work_fill_an_eighth_of_the_memory(memory_mib, queue):
    """256 rows of 602,112 bytes are 147 MiB; 64,000 / 8 / 147 = 54.4 of them. The largest request needs 1,024 / 256 = 4, and 1,000 are enough."""
    assert (
        values(dict(CPU, memory={"usable_mib": memory_mib}), "bulk", signatures=IMAGE)["max_enqueued_batches"] == queue
    )


def test_what_is_not_known_leaves_a_queue_of_a_hundred():
    reasons = [
        start_values(dict(CPU, memory=memory), "bulk", given, signatures)["max_enqueued_batches"]
        for memory, given, signatures in (
            ({"usable_mib": None}, {}, IMAGE),
            (CPU["memory"], {}, None),
            (CPU["memory"], {"num_batch_threads": 300}, {}),
        )
    ]
    assert [queue for queue, _reason in reasons] == [100, 100, 300]
    assert ["the memory is unknown" in reason for _queue, reason in reasons] == [True, False, False]
    assert ["the size of a row is unknown" in reason for _queue, reason in reasons] == [False, True, True]


@pytest.mark.parametrize(
    ("signatures", "size"),
    [
        (IMAGE, 224 * 224 * 3 * 4),
        ({"s": signature(tensor("float32", None))}, 4),
        ({"s": signature(tensor("uint8", None, 0))}, 1),
        ({"s": signature(tensor("int64", None, 2), tensor("float16", 1, 3))}, 22),
        ({"a": signature(tensor("bool", None)), "b": signature(tensor("bool", None, 9))}, 9),
        ({}, None),
        ({"s": signature()}, None),
        ({"s": signature(), "t": signature(tensor("bool", None))}, 1),
        ({"s": signature(tensor("string", None))}, None),
        ({"s": signature(tensor("float32", None, None))}, None),
        ({"s": signature({"dtype": "float32", "shape": None})}, None),
        ({"s": signature(tensor("bool", None), tensor("string", None))}, None),
    ],
)
def test_the_bytes_of_a_row(signatures, size):
    assert row_bytes(signatures) == size


# TensorFlow, tensorflow/core/framework/types.proto: bytes of an element.
@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("float16", 2),
        ("bfloat16", 2),
        ("float32", 4),
        ("float64", 8),
        ("int8", 1),
        ("uint8", 1),
        ("int16", 2),
        ("uint16", 2),
        ("int32", 4),
        ("uint32", 4),
        ("int64", 8),
        ("uint64", 8),
        ("bool", 1),
        ("complex64", 8),
        ("complex128", 16),
        ("string", None),
        ("variant", None),
    ],
)
def test_the_bytes_of_a_type(dtype, size):
    assert row_bytes({"s": signature(tensor(dtype, None))}) == size


def test_every_value_says_why():
    reasons = {name: reason for name, (_value, reason) in start_values(CPU, "online").items()}
    assert reasons == {
        "max_batch_size": "the most rows of one request; at least the server's default (1000)",
        "enable_large_batch_splitting": "large requests are split, so the limit for requests can exceed the size of a batch",
        "max_execution_batch_size": "rows executed at once on a CPU, goal online: enough for a gain, few enough to limit time and memory",
        "batch_timeout_micros": "on a CPU, waiting seldom helps: batches form from requests that queue while others run, and a single client does not wait",
        "num_batch_threads": "one batch at a time for each usable CPU (4.5), over all models; the server itself would ignore a CPU quota",
        "max_enqueued_batches": "about one for each batch thread and enough for the largest request: more would only wait; beyond it, clients get UNAVAILABLE "
        "at once",
    }
    reasons = {
        name: reason
        for name, (_value, reason) in start_values(GPU, "bulk", {"allowed_batch_sizes": [8]}, IMAGE).items()
    }
    assert reasons["max_batch_size"] == "the server requires it to equal the last of allowed_batch_sizes"
    assert (
        reasons["batch_timeout_micros"]
        == "a batch waits 5 ms for more rows; a single client waits that long on every request"
    )
    assert reasons["max_enqueued_batches"] == (
        "generous, for clients that keep many requests in flight; full queues of 602112 bytes a row stay below one "
        "part in 8 of the usable memory, or hold the largest request"
    )
    assert "on a GPU, goal bulk" in start_values(GPU, "bulk")["max_execution_batch_size"][1]


@pytest.mark.parametrize(
    ("capabilities", "goal", "given", "words"),
    [
        (CPU, "fast", {}, "goal: 'fast' is not known; allowed: online, bulk"),
        (CPU, "online", {"max_batch_size": 0}, "max_batch_size: 0 is out of range"),
        (
            {"cpu": {}, "gpus": []},
            "online",
            {},
            "capabilities: cpu.usable, gpus and memory.usable_mib are needed. Pass what tfserving.fleet.capability_facts returned.",
        ),
        (dict(CPU, cpu=3), "online", {}, "capabilities.cpu: 3 is not what"),
    ],
)
def test_what_cannot_be_started_from(capabilities, goal, given, words):
    with pytest.raises(FleetError) as fault:
        start_values(capabilities, goal, given)
    assert str(fault.value).startswith(words)
    assert values({"cpu": None, "gpus": None, "memory": None})["num_batch_threads"] == 1
