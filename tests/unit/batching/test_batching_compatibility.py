# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May requests to a model be batched? The models are those that a server of release 2.20.0 was tried on."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.compatibility import judge
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.start_values import start_values

ROWS = {"y": {"dtype": "float32", "shape": [None, 4]}}


def model(inputs, outputs=None, name="serving_default"):
    def tensors(shapes):
        return {key: {"dtype": "float32", "shape": shape} for key, shape in shapes.items()}

    return {
        name: {
            "method_name": "tensorflow/serving/predict",
            "inputs": tensors(inputs),
            "outputs": tensors(outputs or {"y": [None, 4]}),
        }
    }


LEGAL = [
    model({"x": [None, 4]}),
    model({"x": [None]}),
    model({"a": [None, 8, 8, 1], "b": [None, 2]}, {"sum": [None], "diff": [None, 2]}),
]

# model, padding, where the fault is, words of it
ILLEGAL = [
    (model({"x": []}), None, "signature serving_default, input x", ["scalar"]),
    (model({"x": [None, 4], "threshold": []}), True, "signature serving_default, input threshold", ["scalar"]),
    (model({"x": [1, 4]}), None, "signature serving_default, input x", ["always 1"]),
    (model({"x": [None, 4]}, {"mean": []}), None, "signature serving_default, output mean", ["scalar"]),
    (model({"x": [None, 4]}, {"table": [10, 4]}), None, "signature serving_default, output table", ["always 10"]),
    (model({"x": [None, None]}), None, "signature serving_default, input x", ["[?, ?]", "pad_variable_length_inputs"]),
    (model({"x": [None, None, 1, 1, 1, 1, 1]}), True, "signature serving_default, input x", ["rank 7", "1 to 6"]),
    (model({}), None, "signature serving_default", ["no input"]),
    (model({"x": []}, name="other"), None, "signature other, input x", ["scalar"]),
]


@pytest.mark.parametrize("signatures", LEGAL, ids=str)
def test_models_with_a_batch_dimension_are_legal(signatures):
    assert judge(signatures) == ([], [])


@pytest.mark.parametrize("signatures, padding, where, words", ILLEGAL, ids=[case[2] for case in ILLEGAL])
def test_models_whose_batched_requests_would_fail_are_named(signatures, padding, where, words):
    (fault,), _warnings = judge(signatures, padding)
    assert fault.where == where and fault.remedy
    for word in words:
        assert word in str(fault)


def test_every_faulty_tensor_is_named():
    faults, _warnings = judge(dict(model({"x": [], "z": [2]}), **model({"x": []}, name="second")))
    assert [fault.where for fault in faults] == [
        "signature second, input x",
        "signature serving_default, input x",
        "signature serving_default, input z",
    ]


def test_deciding_on_padding_answers_variable_length():
    for padding, word in ((True, "ignore padding"), (False, "different shapes")):
        faults, (warning,) = judge(model({"x": [None, None]}), padding)
        assert faults == [] and word in warning


def test_unknown_rank_is_a_doubt():
    faults, warnings = judge(model({"x": None}, {"y": None}))
    assert faults == [] and len(warnings) == 2 and all("rank is unknown" in warning for warning in warnings)


def test_tensorflows_own_signature_is_not_a_user_s():
    internal = {"method_name": "", "inputs": {}, "outputs": {"op": {"dtype": "invalid", "shape": None}}}
    assert judge(dict(LEGAL[0], __saved_model_init_op=internal)) == ([], [])
    (fault,), _warnings = judge(dict(model({"x": []}), __saved_model_init_op=internal))
    assert fault.where == "signature serving_default, input x", "those behind it are judged"


@pytest.mark.parametrize(
    "signatures, what",
    [
        (model({"x": []}), "it is a scalar; batching needs a first dimension to join requests"),
        (model({"x": [None]}, {"y": []}), "it is a scalar; batching needs a first dimension to split answers"),
    ],
)
def test_what_a_scalar_lacks_is_said(signatures, what):
    (fault,), _warnings = judge(signatures)
    assert fault.what == what


def capabilities(usable=4.0, gpus=(), memory=8192):
    return {"cpu": {"usable": usable}, "gpus": list(gpus), "memory": {"usable_mib": memory}}


def test_start_values_follow_the_hosts_cpus_and_goal():
    def value(name, *arguments, **more):
        return start_values(*arguments, **more)[name][0]

    assert value("num_batch_threads", capabilities(0.5), "online") == 1
    assert value("num_batch_threads", capabilities(3.5), "online") == 3
    assert value("batch_timeout_micros", capabilities(), "online") == 0, "a lone client waits for nobody"
    assert value("max_batch_size", capabilities(), "online") >= 1000, "no request is refused that was served before"
    gpu = capabilities(gpus=[{"driver": "nvidia"}])
    assert (
        100 <= value("max_execution_batch_size", gpu, "online") <= 5000
        and value("batch_timeout_micros", gpu, "bulk") <= 10_000
    )
    assert value("max_enqueued_batches", capabilities(), "bulk") > value(
        "max_enqueued_batches", capabilities(), "online"
    )


def test_bulk_queues_stay_below_the_memory():
    """256 rows of 4 MiB are 1 GiB a batch; an eighth of 64 GiB holds 8 of them, of 8 GiB one, yet the largest request (1024 rows) needs 4."""
    rows = model({"image": [None, 1024, 1024]})
    assert start_values(capabilities(memory=65536), "bulk", signatures=rows)["max_enqueued_batches"][0] == 8
    assert start_values(capabilities(memory=8192, usable=2.0), "bulk", signatures=rows)["max_enqueued_batches"][0] == 4


def test_the_users_own_values_are_left_alone_and_plain():
    """A max_batch_size of the user's is the size of a batch: no splitting is put beside it."""
    chosen = start_values(capabilities(), "online", {"max_batch_size": 16, "num_batch_threads": 1})
    assert set(chosen) == {"batch_timeout_micros", "max_enqueued_batches"}
    assert start_values(capabilities(), "online", {"allowed_batch_sizes": [1, 8, 32]})["max_batch_size"][0] == 32
