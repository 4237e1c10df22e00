# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors and messages without libraries, against NumPy and protobuf, which write and read the same."""

from __future__ import annotations

import io

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("google.protobuf")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import parity
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import agreement, client, tensors, wire

ARRAYS = {
    "float32": numpy.array([[1.5, -2], [3, 4e30]], "float32"),
    "float64": numpy.array([0.1, 2], "float64"),
    "int32": numpy.array([[-1], [7]], "int32"),
    "int64": numpy.array([-(2**62), 3], "int64"),
    "uint8": numpy.array([0, 255], "uint8"),
    "int8": numpy.array([-3], "int8"),
    "bool": numpy.array([True, False]),
    "float16": numpy.array([0.5, 65504], "float16"),
    "uint64": numpy.array([2**63], "uint64"),
    "string": numpy.array([b"a", b"long text"], object),
    "empty": numpy.zeros((0, 3), "float32"),
}


def from_numpy(array):
    stream = io.BytesIO()
    numpy.save(stream, array.astype("S") if array.dtype == object else array)
    return tensors.from_file(stream.getvalue(), "array")


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_what_numpy_saves_reaches_protobuf_and_comes_back(name):
    array = ARRAYS[name]
    tensor = from_numpy(array)
    assert tensor.shape == array.shape and tensor.values() == array.ravel().tolist()
    content = tensors.predict_request("m", {"x": tensor}, "sig", version=3)
    request = wire.message("tensorflow.serving.PredictRequest").FromString(content)
    assert (request.model_spec.name, request.model_spec.signature_name, request.model_spec.version.value) == (
        "m",
        "sig",
        3,
    )
    decoded = client.decode_tensor(request.inputs["x"])
    assert decoded.shape == array.shape and decoded.tolist() == array.tolist()
    for typed in (False, True):
        response = wire.message("tensorflow.serving.PredictResponse")()
        client.encode_tensor(array, typed=typed, into=response.outputs["y"])
        answered = tensors.predict_response(response.SerializeToString())["y"]
        assert (answered.dtype, answered.shape, answered.values()) == (
            tensor.dtype,
            array.shape,
            array.ravel().tolist(),
        )


def test_the_last_single_value_fills_up_what_is_missing():
    response = wire.message("tensorflow.serving.PredictResponse")()
    tensor = response.outputs["y"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=3)
    tensor.float_val.extend([1, 2])
    assert tensors.predict_response(response.SerializeToString())["y"].values() == [1, 2, 2]


def test_status_and_label():
    response = wire.message("tensorflow.serving.GetModelStatusResponse")()
    response.model_version_status.add(version=2, state=50).status.error_message = "broken"
    assert tensors.status_response(response.SerializeToString()) == [
        {"version": 2, "state": 50, "error_code": 0, "error_message": "broken"}
    ]
    request = wire.message("tensorflow.serving.PredictRequest").FromString(
        tensors.predict_request("m", {}, label="canary")
    )
    assert request.model_spec.version_label == "canary"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)), "Fortran order"),
        (numpy.array([1j]), "the dtype .<c16. is not supported"),
    ],
)
def test_arrays_that_cannot_be_sent(array, words):
    stream = io.BytesIO()
    numpy.save(stream, array)
    with pytest.raises(FleetError, match=words):
        tensors.from_file(stream.getvalue(), "array")
    with pytest.raises(FleetError, match="the header is not NumPy's"):
        tensors.from_file(b"no array at all", "array")


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        ([1.0, 2.0], [1.0, 2.0005], []),
        ([1.0, 2.0], [1.0, 2.1], ["y: differs by up to 0.05"]),
        ([1000.0], [1000.5], []),
        ([0.0], [0.5], ["y: differs by up to 0.5"]),
        ([float("nan")], [float("nan")], []),
        ([1.0], [float("nan")], ["y: 1 values are NaN or infinite on one side only"]),
        ([1.0, 2.0], [1.0], ["y: shape [2] became [1]"]),
    ],
)
def test_agreement(wanted, given, words):
    found = agreement.disagreements({"y": from_numpy(numpy.array(wanted))}, {"y": from_numpy(numpy.array(given))}, 1e-3)
    assert len(found) == len(words) and all(part in text for part, text in zip(words, found))
    assert agreement.disagreements({"y": from_numpy(numpy.array(wanted))}, {}, 1e-3) == [
        "y: the output is missing; outputs: none"
    ]


@pytest.mark.parametrize(
    ("reference", "answered", "max_abs", "max_rel", "tolerance"),
    [
        ([0.5, 2.0, -8.0], [0.75, 2.0, -9.0], 1.0, 0.5, 0.25),
        ([0.0, 4.0], [0.5, 4.0], 0.5, 0.0, 0.5),
        ([3, -4], [3, 4], 8.0, 2.0, 2.0),
        ([float("nan"), float("inf")], [float("nan"), float("inf")], 0.0, 0.0, 0.0),
        ([], [], 0.0, 0.0, 0.0),
        ([True, False], [False, False], 1.0, 1.0, 1.0),
        ([b"a", b"b"], [b"a", b"b"], 0.0, 0.0, 0.0),
    ],
)
def test_distances_of_tensors_and_of_arrays_are_the_same(reference, answered, max_abs, max_rel, tolerance):
    text = bool(reference) and isinstance(reference[0], bytes)
    one, other = (numpy.array(values, object) if text else numpy.array(values) for values in (reference, answered))
    assert parity.distance(one, other) == agreement.Distance(max_abs, max_rel, tolerance)
    assert agreement.of_tensors(from_numpy(one), from_numpy(other)) == agreement.Distance(max_abs, max_rel, tolerance)


def test_a_sample_is_cast_only_where_nothing_is_lost():
    whole, broken = from_numpy(numpy.array([1, 2])), from_numpy(numpy.array([1.5]))
    assert tensors.cast(whole, "float32").values() == [1.0, 2.0] and tensors.cast(broken, "float32").values() == [1.5]
    with pytest.raises(FleetError, match="the dtype is float64; the signature takes int64"):
        tensors.cast(broken, "int64")
