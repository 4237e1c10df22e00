# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's command line. What is expected was seen on a real TensorFlow Serving 2.20.0."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import flags


def parse(*words):
    return flags.parse(words, cpus=2)


def test_defaults():
    values = parse().values
    assert (values["port"], values["rest_api_port"], values["model_name"], values["max_num_load_retries"]) == (
        8500,
        0,
        "default",
        5,
    )
    assert (values["grpc_max_threads"], values["rest_api_num_threads"], values["num_tflite_pools"]) == (8, 8, 2)
    assert values["load_retry_interval_micros"] == 60_000_000 and values["enable_batching"] is False


@pytest.mark.parametrize(
    "word", ["--enable_batching", "--enable_batching=1", "--enable_batching=True", "--enable_batching=true"]
)
def test_ways_to_say_true(word):
    line = parse(word)
    assert line.values["enable_batching"] is True and not line.unknown and not line.faults


def test_ways_to_say_false():
    assert parse("--enable_profiler=false").values["enable_profiler"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["--use_tflite_model=true"],
        ["foo"],
        ["-port=9000"],
        ["--port", "9000"],
        ["--model_name", "zork"],
        ["--", "--port=9000"],
    ],
)
def test_what_is_unknown_is_ignored(words):
    line = parse(*words)
    assert line.unknown == tuple(words) and not line.faults
    assert line.values == flags.defaults(2)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("--port=abc", "Couldn't interpret value abc for flag port."),
        ("--port=", "Couldn't interpret value  for flag port."),
        ("--port=8500.0", "Couldn't interpret value 8500.0 for flag port."),
        ("--enable_batching=maybe", "Couldn't interpret value maybe for flag enable_batching."),
        ("--per_process_gpu_memory_fraction=x", "Couldn't interpret value x for flag per_process_gpu_memory_fraction."),
    ],
)
def test_values_that_cannot_be_read(word, text):
    assert parse(word).faults == (text,)


def test_a_value_may_hold_an_equals_sign_or_nothing():
    line = parse("--grpc_channel_arguments=grpc.max_connection_age_ms=2000", "--model_base_path=")
    assert (
        line.values["grpc_channel_arguments"] == "grpc.max_connection_age_ms=2000"
        and line.values["model_base_path"] == ""
    )


def test_usage_names_every_flag():
    text = flags.usage("server", 2)
    assert text.startswith("usage: server\nFlags:\n") and all(f"--{name}=" in text for name in flags.FLAGS)
    assert '\t--model_name="default"           \tstring\t' in text and "--enable_batching=false" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (0, 0)),
        (["--tensorflow_session_parallelism=3"], (3, 3)),
        (["--tensorflow_intra_op_parallelism=2"], (2, 0)),
        (["--tensorflow_session_parallelism=3", "--tensorflow_intra_op_parallelism=2"], (2, 0)),
    ],
)
def test_parallelism(words, expected):
    assert flags.parallelism(parse(*words).values) == expected


def test_every_named_flag_exists():
    assert flags.WITHOUT_EFFECT | flags.NOT_BUILT <= set(flags.FLAGS)
    assert not flags.WITHOUT_EFFECT & flags.NOT_BUILT


@pytest.mark.parametrize("name", sorted(flags.NOT_BUILT))
def test_what_is_not_built_is_refused(name):
    values = dict(parse("--model_base_path=/m").values)
    assert flags.refusal(values, 2) is None
    values[name] = {"bool": True, "int": 7, "string": "x"}[flags.FLAGS[name][0]]
    assert flags.refusal(values, 2) == (
        "UNIMPLEMENTED",
        f"--{name} is not built into the embedded server of tfserving.fleet",
    )
