# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of batching parameters. What a server of release 2.20.0 was seen to say or do stands beside each."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import (
    NAMES,
    RANGES,
    check,
    read,
    text,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

SPLIT = {"enable_large_batch_splitting": True}

# what the user sets -> what the server does with it, the option our refusal names, and the words it must contain
REFUSED = [
    (
        {"max_batch_size": 0},
        "dies of SIGSEGV: input_batch_size_limit must be positive; was 0",
        "max_batch_size",
        ["0", "1 to"],
    ),
    ({"max_batch_size": -4}, "an unsigned size of 2**64 - 4", "max_batch_size", ["-4", "1 to"]),
    (
        {"batch_timeout_micros": -1},
        "dies of SIGSEGV: batch_timeout_micros must be non-negative; was -1",
        "batch_timeout_micros",
        ["-1", "0 to"],
    ),
    ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0", "num_batch_threads", ["0", "1 to"]),
    (
        {"max_enqueued_batches": 0},
        "silently 1, or max_enqueued_batches must be positive; was 0",
        "max_enqueued_batches",
        ["0", "1 to"],
    ),
    (
        {"max_batch_size": 8, "allowed_batch_sizes": [2, 4]},
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        "allowed_batch_sizes",
        ["last entry 4 is not max_batch_size (8)", "End the list with 8, or set max_batch_size to 4."],
    ),
    (
        {"allowed_batch_sizes": [2, 4]},
        "… last entry was 4; expected 1000",
        "allowed_batch_sizes",
        ["4", "1000", "default"],
    ),
    (
        {"max_batch_size": 8, "allowed_batch_sizes": [4, 2, 8]},
        "accepted, size 2 is never used",
        "allowed_batch_sizes",
        ["[4, 2, 8]", "[2, 4, 8]"],
    ),
    (
        {"max_batch_size": 8, "allowed_batch_sizes": [4, 4, 8]},
        "accepted silently",
        "allowed_batch_sizes",
        ["[4, 4, 8]", "[4, 8]"],
    ),
    ({"max_batch_size": 8, "allowed_batch_sizes": [0, 8]}, "rounds to no rows", "allowed_batch_sizes", ["0", "1 to"]),
    (
        {**SPLIT, "max_batch_size": 32, "max_execution_batch_size": 8, "allowed_batch_sizes": [4, 8]},
        "… last entry was 8; expected 32",
        "allowed_batch_sizes",
        ["8", "32"],
    ),
    (
        {**SPLIT, "max_batch_size": 32, "max_execution_batch_size": 8, "allowed_batch_sizes": [4, 32]},
        "8 rows run as 32",
        "max_execution_batch_size",
        ["8", "32"],
    ),
    (
        {**SPLIT, "max_batch_size": 8, "max_execution_batch_size": 32},
        "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to max_execution_batch_size.",
        "max_execution_batch_size",
        ["32", "8"],
    ),
    (
        SPLIT,
        "an execution limit of 0",
        "enable_large_batch_splitting",
        ["needs", "Set max_batch_size to the most rows"],
    ),
    (
        {**SPLIT, "max_execution_batch_size": 8},
        "an input limit of 1000 that nobody chose",
        "enable_large_batch_splitting",
        ["max_batch_size"],
    ),
    ({"max_execution_batch_size": 8}, "ignored", "max_execution_batch_size", ["8", "enable_large_batch_splitting"]),
    (
        {**SPLIT, "max_batch_size": 32, "max_execution_batch_size": 8, "max_enqueued_batches": 3},
        "The batch scheduling queue to which this task was submitted is full; task size is 32 but scheduling capacity is only 24",
        "max_enqueued_batches",
        ["3", "24", "4 or more"],
    ),
    (
        {**SPLIT, "max_batch_size": 81, "max_execution_batch_size": 8},
        "the same, with the default of 10",
        "max_enqueued_batches",
        ["10", "default", "11 or more"],
    ),
    ({"max_batch_size": "8 rows"}, "", "max_batch_size", ["'8 rows'", "whole number"]),
    ({"max_batch_size": True}, "", "max_batch_size", ["True", "whole number"]),
    ({"allowed_batch_sizes": 8}, "", "allowed_batch_sizes", ["8", "list"]),
    ({"allowed_batch_sizes": ["x"]}, "", "allowed_batch_sizes", ["'x'", "whole number"]),
    ({"pad_variable_length_inputs": "maybe"}, "", "pad_variable_length_inputs", ["'maybe'", "true", "false"]),
    ({"enable_large_batch_splitting": 1}, "", "enable_large_batch_splitting", ["1", "true", "false"]),
    ({"thread_pool_name": "n" * 65}, "", "thread_pool_name", ["1 to 64"]),
    ({"thread_pool_name": 1}, "", "thread_pool_name", ["1 is not a valid name"]),
    ({"thread_pool_name": ""}, "", "thread_pool_name", ["''", "allowed"]),
    ({"thread_pool_name": 'a" }'}, "", "thread_pool_name", ['a" }', "allowed"]),
    ({"max_bach_size": 8}, "has no field named", "parameter", ["max_bach_size", "did you mean max_batch_size?"]),
]

ACCEPTED = [
    {},
    {"max_batch_size": 8, "allowed_batch_sizes": [2, 8]},
    {"allowed_batch_sizes": [500, 1000]},
    {**SPLIT, "max_batch_size": 32, "max_execution_batch_size": 8},
    {**SPLIT, "max_batch_size": 32, "max_execution_batch_size": 8, "allowed_batch_sizes": [8, 32]},
    {**SPLIT, "max_batch_size": 32, "max_execution_batch_size": 8, "max_enqueued_batches": 4},
    {**SPLIT, "max_batch_size": 32},
    {"thread_pool_name": "n" * 64},
    {"pad_variable_length_inputs": False},
    {**SPLIT, "max_batch_size": 80, "max_execution_batch_size": 8},
    {"max_batch_size": 128, "batch_timeout_micros": 0, "max_enqueued_batches": 1000000, "num_batch_threads": 8},
]


@pytest.mark.parametrize("values, server, option, words", REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_what_a_server_rejects_or_misuses_is_refused_in_one_line(values, server, option, words):
    with pytest.raises(FleetError) as refusal:
        check(values)
    assert refusal.value.where == option
    assert "\n" not in str(refusal.value)
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize("values", ACCEPTED, ids=str)
def test_what_a_server_takes_is_accepted(values):
    kept = check(values).as_dict()
    assert {name: value for name, value in kept.items() if value is not None} == values
    assert set(kept) == set(NAMES)


# Sizes are int32 within the server, an hour of microseconds is the longest wait, and a process has some 10,000 threads at most.
ENDS = {
    "max_batch_size": (1, 2147483647, "rows"),
    "batch_timeout_micros": (0, 3600000000, "microseconds"),
    "max_enqueued_batches": (1, 2147483647, "batches"),
    "num_batch_threads": (1, 10000, "threads"),
    "max_execution_batch_size": (1, 2147483647, "rows"),
}


@pytest.mark.parametrize("name", ENDS)
def test_ranges_include_their_ends_and_nothing_beyond(name):
    assert set(ENDS) == set(RANGES)
    minimum, maximum, unit = ENDS[name]
    beside = (
        {**SPLIT, "max_batch_size": maximum, "max_enqueued_batches": 2**31 - 1}
        if name == "max_execution_batch_size"
        else {}
    )
    for value in (minimum, maximum):
        check({**beside, name: value})
    for value in (minimum - 1, maximum + 1):
        with pytest.raises(FleetError, match=f"out of range.*{minimum} to {maximum} {unit}"):
            check({**beside, name: value})


def test_text_is_what_the_server_reads():
    """The form that the real server was seen to accept: wrapper messages for scalars, plain sizes and padding."""
    lines = text(
        check(
            {
                "max_batch_size": 32,
                "batch_timeout_micros": 0,
                "max_enqueued_batches": 100,
                "num_batch_threads": 2,
                "thread_pool_name": "serving-1",
                "allowed_batch_sizes": [8, 32],
                "pad_variable_length_inputs": True,
                "enable_large_batch_splitting": True,
                "max_execution_batch_size": 8,
            }
        )
    ).splitlines()
    assert lines[0].startswith("# ") and lines[1:] == [
        "max_batch_size { value: 32 }",
        "batch_timeout_micros { value: 0 }",
        "max_enqueued_batches { value: 100 }",
        "num_batch_threads { value: 2 }",
        'thread_pool_name { value: "serving-1" }',
        "allowed_batch_sizes: 8",
        "allowed_batch_sizes: 32",
        "pad_variable_length_inputs: true",
        "enable_large_batch_splitting { value: true }",
        "max_execution_batch_size { value: 8 }",
    ]


def test_all_sizes_of_a_text_are_read():
    """session_bundle_config.proto: allowed_batch_sizes is a repeated int64, max_batch_size a google.protobuf.Int64Value."""
    sizes = "allowed_batch_sizes: 8\nallowed_batch_sizes: 32\n"
    assert read(f"max_batch_size {{ value: 32 }}\n{sizes}") == {"max_batch_size": 32, "allowed_batch_sizes": [8, 32]}


def test_a_file_without_parameters_is_not_empty():
    """The server refuses a file of 0 bytes: Invalid argument."""
    assert text(check({})).startswith("#")


def test_nothing_is_written_for_what_is_not_set():
    assert text(check({"num_batch_threads": 3})).splitlines()[1:] == ["num_batch_threads { value: 3 }"]


def test_defaults_and_names_are_those_of_the_release_table():
    from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
    from ansible_collections.tfserving.fleet.plugins.module_utils._release import table

    assert set(table.BATCHING_FIELDS) == set(NAMES)
    assert table.BATCHING_FIELDS["max_batch_size"][2] == parameters.DEFAULT_MAX_BATCH_SIZE
    assert table.BATCHING_FIELDS["max_enqueued_batches"][2] == parameters.DEFAULT_MAX_ENQUEUED_BATCHES
