# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is accepted loads: for random parameters, against protobuf's own parser and the server's conditions stated anew."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import NAMES, check, text
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.start_values import GOALS, start_values
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire

hypothesis = pytest.importorskip("hypothesis")
text_format = pytest.importorskip("google.protobuf.text_format")
from hypothesis import strategies

SIZES = strategies.one_of(strategies.integers(-2, 70), strategies.sampled_from([1000, 1024, 2**31 - 1, 2**31]))
VALUES = {
    "max_batch_size": SIZES,
    "batch_timeout_micros": strategies.integers(-2, 5_000_000),
    "max_enqueued_batches": SIZES,
    "num_batch_threads": strategies.integers(-1, 10_001),
    "thread_pool_name": strategies.text(max_size=5),
    "allowed_batch_sizes": strategies.one_of(
        strategies.lists(SIZES, max_size=4), strategies.sets(strategies.integers(1, 70), max_size=4).map(sorted)
    ),
    "pad_variable_length_inputs": strategies.booleans(),
    "enable_large_batch_splitting": strategies.booleans(),
    "max_execution_batch_size": SIZES,
}
GIVEN = strategies.fixed_dictionaries(
    {}, optional={name: strategies.one_of(strategies.none(), values) for name, values in VALUES.items()}
)
SENSIBLE = strategies.fixed_dictionaries(
    {},
    optional={
        "max_batch_size": strategies.integers(1, 5000),
        "batch_timeout_micros": strategies.integers(0, 10**6),
        "max_enqueued_batches": strategies.integers(1, 5000),
        "num_batch_threads": strategies.integers(1, 512),
        "allowed_batch_sizes": strategies.sets(strategies.integers(1, 5000), min_size=1, max_size=5).map(sorted),
        "enable_large_batch_splitting": strategies.booleans(),
        "pad_variable_length_inputs": strategies.booleans(),
        "max_execution_batch_size": strategies.integers(1, 5000),
    },
)
CAPABILITIES = strategies.builds(
    lambda usable, gpus, memory: {
        "cpu": {"usable": usable},
        "gpus": [{"driver": "nvidia"}] * gpus,
        "memory": {"usable_mib": memory},
    },
    strategies.floats(0.05, 512),
    strategies.integers(0, 8),
    strategies.one_of(strategies.none(), strategies.integers(64, 4_000_000)),
)
DIMENSION = strategies.one_of(strategies.none(), strategies.integers(0, 4000))
TENSOR = strategies.builds(
    lambda dtype, shape: {"dtype": dtype, "shape": shape},
    strategies.sampled_from(["float32", "string", "uint8", "variant"]),
    strategies.one_of(strategies.none(), strategies.lists(DIMENSION, max_size=4)),
)
SIGNATURES = strategies.dictionaries(
    strategies.sampled_from(["serving_default", "other"]),
    strategies.builds(
        lambda inputs, outputs: {"inputs": inputs, "outputs": outputs},
        strategies.dictionaries(strategies.sampled_from("ab"), TENSOR),
        strategies.dictionaries(strategies.sampled_from("yz"), TENSOR),
    ),
)


def assert_server_takes(message):
    """The conditions of TensorFlow Serving 2.20 on its message (bundle_factory_util.cc, shared_batch_scheduler.h), and that it wastes nothing silently."""

    def value(name, default):
        return getattr(message, name).value if message.HasField(name) else default

    size, enqueued = value("max_batch_size", 1000), value("max_enqueued_batches", 10)
    assert size > 0 and enqueued > 0
    assert value("batch_timeout_micros", 0) >= 0
    assert value("num_batch_threads", 1) > 0
    allowed = list(message.allowed_batch_sizes)
    assert allowed == sorted(set(allowed)) and all(entry > 0 for entry in allowed)
    assert not allowed or allowed[-1] == size
    if value("enable_large_batch_splitting", False):
        assert message.HasField("max_batch_size")
        executed = value("max_execution_batch_size", size)
        assert 0 < executed <= size
        assert executed * enqueued >= size
        assert not allowed or executed in allowed
    else:
        assert not message.HasField("max_execution_batch_size")


def is_legal(values):
    try:
        return bool(check(values))
    except FleetError:
        return False


def parsed(parameters):
    return text_format.Parse(text(parameters), wire.message("tensorflow.serving.BatchingParameters")())


def read_back(message):
    """{name: value} of what a message sets; a plain bool that is false cannot be told from one that is not set."""
    found = {field.name: getattr(message, field.name) for field, _value in message.ListFields()}
    return {
        name: list(value) if name == "allowed_batch_sizes" else getattr(value, "value", value)
        for name, value in found.items()
    }


@hypothesis.given(GIVEN)
@hypothesis.settings(max_examples=500, deadline=None)
def test_what_is_accepted_parses_and_keeps_every_value(values):
    try:
        parameters = check(values)
    except FleetError as refusal:
        assert "\n" not in str(refusal).replace(repr(values.get("thread_pool_name")), "")
        assert refusal.where in NAMES
        hypothesis.event("refused")
        return
    hypothesis.event("accepted")
    message = parsed(parameters)
    expected = {
        name: value
        for name, value in values.items()
        if value is not None and value != [] and (name, value) != ("pad_variable_length_inputs", False)
    }
    assert read_back(message) == expected
    assert_server_takes(message)


@hypothesis.given(CAPABILITIES, strategies.sampled_from(GOALS), SENSIBLE, SIGNATURES)
@hypothesis.settings(max_examples=500, deadline=None)
def test_start_values_complete_what_the_user_gave_to_something_legal(capabilities, goal, given, signatures):
    chosen = start_values(capabilities, goal, given, signatures)
    assert not set(chosen) & set(given)
    sizes = [
        {},
        {"max_batch_size": given.get("allowed_batch_sizes", [0])[-1]},
        {"max_batch_size": given.get("max_execution_batch_size", 0)},
    ]
    if any(is_legal({**queue, **size, **given}) for size in sizes for queue in ({}, {"max_enqueued_batches": 5000})):
        parameters = check({**given, **{name: value for name, (value, _reason) in chosen.items()}})
        assert_server_takes(parsed(parameters))
    assert all(reason and "\n" not in reason for _value, reason in chosen.values())
