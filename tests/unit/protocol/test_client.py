# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors on the wire. Expected bytes and values come from TensorFlow's definition of TensorProto, written by hand."""

from __future__ import annotations

import json

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("google.protobuf")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, dtypes, wire

DTYPES = "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64 complex128".split()


def tensor(dtype, shape, **fields):
    made = wire.message("tensorflow.TensorProto")(dtype=dtypes.ENUM[dtype], **fields)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_encoded_decodes_to_the_same(dtype, shape, typed):
    array = (numpy.arange(numpy.prod(shape, dtype=int)) % 2 + 1).reshape(shape).astype(dtype)
    decoded = client.decode_tensor(client.encode_tensor(array, typed=typed))
    assert decoded.dtype == array.dtype and decoded.shape == array.shape
    assert numpy.array_equal(decoded, array)


def test_extreme_values_survive():
    for dtype in ("int64", "uint64", "int8"):
        array = numpy.array([numpy.iinfo(dtype).min, numpy.iinfo(dtype).max], dtype)
        for typed in (False, True):
            assert client.decode_tensor(client.encode_tensor(array, typed=typed)).tolist() == array.tolist()


def test_bytes_on_the_wire():
    # field 1 (dtype) = 1, field 2 (shape) = {dim {size: 2}}, field 4 (content) = 1.0f, 2.0f in little-endian order
    assert client.encode_tensor(numpy.array([1, 2], "float32")).SerializeToString() == bytes.fromhex(
        "08011204120208022208 0000803f 00000040"
    )


def test_big_endian_and_strided_arrays_mean_their_values():
    array = numpy.arange(6, dtype=">i4").reshape(2, 3)[:, ::2]
    assert client.decode_tensor(client.encode_tensor(array)).tolist() == [[0, 2], [3, 5]]


def test_strings():
    for array in (
        ["a", "b\xe9"],
        [b"a", b"b\xc3\xa9"],
        numpy.array(["a", "b\xe9"]),
        numpy.array([b"a", "b\xe9"], object),
    ):
        assert client.decode_tensor(client.encode_tensor(array)).tolist() == [b"a", b"b\xc3\xa9"]
    assert client.decode_tensor(client.encode_tensor(numpy.array(b"x"))).shape == ()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tensor("DT_FLOAT", [2, 2], float_val=[1.5]), [[1.5, 1.5], [1.5, 1.5]]),
        (tensor("DT_FLOAT", [3], float_val=[1, 2]), [1, 2, 2]),
        (tensor("DT_INT32", [2]), [0, 0]),
        (tensor("DT_STRING", [2], string_val=[b"a"]), [b"a", b"a"]),
        (tensor("DT_STRING", [1]), [b""]),
        (tensor("DT_HALF", [1], half_val=[0x3E00]), [1.5]),
        (tensor("DT_BFLOAT16", [1], half_val=[0x3FC0]), [1.5]),
        (tensor("DT_BFLOAT16", [1], tensor_content=b"\xc0\x3f"), [1.5]),
        (tensor("DT_COMPLEX64", [1], scomplex_val=[1, 2]), [1 + 2j]),
        (tensor("DT_UINT8", [1], int_val=[200]), [200]),
        (tensor("DT_BOOL", [], bool_val=[True]), True),
    ],
)
def test_single_values_fill_the_shape(made, expected):
    assert client.decode_tensor(made).tolist() == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tensor("DT_FLOAT", [1], float_val=[1, 2]), [1.0]),
        (tensor("DT_FLOAT", [0], float_val=[1]), []),
        (tensor("DT_FLOAT", [], float_val=[1, 2]), 1.0),
    ],
)
def test_values_beyond_the_shape_are_left_out(made, expected):
    """As a TensorFlow Serving 2.20.0 answered."""
    assert client.decode_tensor(made).tolist() == expected


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (tensor("DT_FLOAT", [2], tensor_content=b"1234"), "needs 2 values, its content has 1"),
        (tensor("DT_FLOAT", [1], tensor_content=b"12345"), "is not a multiple of the size"),
        (tensor("DT_BOOL", [2], tensor_content=b"\x02\x00"), "neither 0 nor 1"),
        (tensor("DT_FLOAT", [-1], float_val=[1]), "complete shape"),
        (tensor("DT_RESOURCE", [1]), "DT_RESOURCE"),
    ],
)
def test_a_broken_tensor_is_refused(made, words):
    with pytest.raises(FleetError, match=words):
        client.decode_tensor(made)


def test_an_array_without_tensor_type_is_refused():
    with pytest.raises(FleetError, match="datetime64"):
        client.encode_tensor(numpy.array(["2020-01-01"], "datetime64[D]"))


def test_a_predict_request_carries_model_version_signature_and_inputs():
    request = wire.message("tensorflow.serving.PredictRequest").FromString(
        client.predict_request("m", {"x": numpy.zeros(2)}, "other", 7)
    )
    assert (request.model_spec.name, request.model_spec.version.value, request.model_spec.signature_name) == (
        "m",
        7,
        "other",
    )
    assert list(request.inputs) == ["x"]
    assert (
        not wire.message("tensorflow.serving.PredictRequest")
        .FromString(client.predict_request("m", {}))
        .model_spec.HasField("version")
    )


def test_rest_bodies():
    inputs = {"x": numpy.array([[1, 2], [3, 4]]), "s": numpy.array(["a", "b"])}
    assert json.loads(client.rest_body(inputs, "other", "row")) == {
        "signature_name": "other",
        "instances": [{"x": [1, 2], "s": {"b64": "YQ=="}}, {"x": [3, 4], "s": {"b64": "Yg=="}}],
    }
    assert json.loads(client.rest_body(inputs, form="column"))["inputs"] == {
        "x": [[1, 2], [3, 4]],
        "s": [{"b64": "YQ=="}, {"b64": "Yg=="}],
    }
    with pytest.raises(FleetError, match="same first dimension"):
        client.rest_body({"x": numpy.zeros(2), "y": numpy.zeros(3)}, form="row")


def test_strings_in_tensor_content_are_lengths_and_bytes():
    """tensorflow/core/platform/tensor_coding.cc, EncodeStringList: all lengths as varints, then all bytes."""
    assert client.decode_tensor(tensor("DT_STRING", [2], tensor_content=b"\x02\x03abcde")).tolist() == [b"ab", b"cde"]
    long = b"x" * 300
    assert client.decode_tensor(tensor("DT_STRING", [1, 1], tensor_content=b"\xac\x02" + long)).tolist() == [[long]]
    for content in (b"\x02\x03abcd", b"\x02\x03abcdef", b"\x02", b"\xff" * 12):
        with pytest.raises(FleetError, match="does not contain 2 strings"):
            client.decode_tensor(tensor("DT_STRING", [2], tensor_content=content))


def test_tensors_that_no_array_can_be():
    for made, words in (
        (tensor("DT_FLOAT", [0, 2**62, 2**62]), "cannot be read"),
        (tensor("DT_COMPLEX64", [2], scomplex_val=[1, 2, 3]), "odd number of parts"),
        (tensor("DT_STRING", [2**27]), "larger than 2 GiB"),
    ):
        with pytest.raises(FleetError, match=words):
            client.decode_tensor(made)
