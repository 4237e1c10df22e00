# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as texts, as inventories from CSV files and plugins have them, and the arguments that gRPC gets from a flag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.tests.support.refusals import apply
from ansible_collections.tfserving.fleet.tests.unit.plan.test_traps import host, request

BATCHING = {
    "max_batch_size": 16,
    "batch_timeout_micros": 1000,
    "max_enqueued_batches": 8,
    "num_batch_threads": 2,
    "allowed_batch_sizes": [8, 16],
    "pad_variable_length_inputs": True,
}


@pytest.mark.parametrize(
    "spelt",
    [
        {"max_batch_size": "16"},
        {"max_batch_size": " 16 ", "num_batch_threads": "2"},
        {"allowed_batch_sizes": ["8", "16"], "max_batch_size": 16},
        {"allowed_batch_sizes": "8, 16", "max_batch_size": "16"},
        {"pad_variable_length_inputs": "yes"},
        {"enable_large_batch_splitting": "false"},
    ],
)
def test_batching_parameters_may_be_texts(spelt):
    numbers = {name: BATCHING.get(name, False) for name in spelt}
    made, expected = (plan.plan(host(), request({"batching": given})) for given in (spelt, numbers))
    assert made == expected and made["refusals"] == []
    assert parameters.check(spelt) == parameters.check(numbers)


@pytest.mark.parametrize(
    ("name", "spelt", "value"),
    [
        ("num_load_threads", "2", 2),
        ("enable_model_warmup", "false", False),
        ("enable_model_warmup", "Yes", True),
        ("max_num_load_retries", "-0", 0),
        ("rest_api_timeout_in_ms", "5000", 5000),
    ],
)
def test_flags_may_be_texts(name, spelt, value):
    made = plan.plan(host(), request(flags={name: spelt}))
    assert (
        made["server"]["flags"][name] == value and made["server"]["flags"][name] is not spelt and made["refusals"] == []
    )


@pytest.mark.parametrize(
    ("batching", "words"),
    [
        ({"max_batch_size": "many"}, "max_batch_size: 'many' is not a whole number"),
        ({"max_batch_size": "1_6"}, "'1_6' is not a whole number"),
        ({"max_batch_size": 0}, "0 is out of range"),
        ({"max_bach_size": 8}, "did you mean max_batch_size"),
        ({"enable_large_batch_splitting": "true"}, "true needs max_batch_size"),
        ({"max_batch_size": float("nan")}, "not a whole number"),
    ],
)
def test_each_fault_of_batching_has_its_own_remedy(batching, words):
    (refusal,) = plan.plan(host(), request({"batching": batching}))["refusals"]
    assert words in refusal["reason"]
    assert refusal["remedy"].split(",")[0] not in ("Serve it without batching (batching: none)", "Correct batching")


# Source of what the server does with a pair: SERVING/model_servers/server.cc: an int32 goes as a number, all else as a text.
@pytest.mark.parametrize(
    ("given", "words", "instead"),
    [
        (
            "grpc.max_receive_message_length=50*1024*1024",
            "would reach gRPC as a text",
            "grpc.max_receive_message_length=52428800",
        ),
        (
            "grpc.max_concurrent_streams=100,grpc.max_send_message_length=50MB",
            "'50MB'",
            "grpc.max_concurrent_streams=100",
        ),
        ("grpc.max_receive_message_length=4294967296", "32 bits", None),
        ("grpc.keepalive_time_ms=10s", "'10s'", None),
        ("grpc.so_reuseport", "not key=value", None),
        ("grpc.so_reuseport=true", "'true'", None),
        # parseGrpcChannelArgs strips nothing and reads the second part of each pair unchecked.
        ("grpc.keepalive_time_ms = 100", "because of its spaces", "grpc.keepalive_time_ms=100"),
        (
            "grpc.so_reuseport=1, grpc.keepalive_time_ms=5",
            "because of its spaces",
            "grpc.so_reuseport=1,grpc.keepalive_time_ms=5",
        ),
        ("grpc.so_reuseport=1,", "past its end", "grpc.so_reuseport=1"),
        (
            "grpc.so_reuseport=1,,grpc.keepalive_time_ms=5",
            "past its end",
            "grpc.so_reuseport=1,grpc.keepalive_time_ms=5",
        ),
    ],
)
def test_an_argument_that_grpc_would_ignore_is_refused(given, words, instead):
    asked = request(flags={"grpc_channel_arguments": given})
    (refusal,) = plan.plan(host(), asked)["refusals"]
    assert words in refusal["reason"] and refusal["change"] == {"flags": {"grpc_channel_arguments": instead}}
    assert plan.plan(host(), apply(asked, refusal["change"]))["refusals"] == []


def test_arguments_that_grpc_takes_and_does_not_know():
    given = "grpc.max_concurrent_streams=100,grpc.max_receive_message_length=-1,grpc.http2_scheme=https"
    made = plan.plan(host(), request(flags={"grpc_channel_arguments": given}))
    assert made["refusals"] == [] and not [text for text in made["warnings"] if "grpc_channel_arguments" in text]
    made = plan.plan(host(), request(flags={"grpc_channel_arguments": "grpc.max_mesage_length=5"}))
    assert made["refusals"] == [] and [text for text in made["warnings"] if "ignores unknown keys" in text]


def test_grpc_knows_the_arguments_of_the_release_table():
    """Judged by gRPC's own library: it holds each name."""
    cython = pytest.importorskip("grpc._cython.cygrpc")
    known = set(re.findall(rb"grpc\.[a-z_0-9.]+", Path(cython.__file__).read_bytes()))
    assert {name for name in table.CHANNEL_ARGUMENTS if name.encode() not in known} == set()
