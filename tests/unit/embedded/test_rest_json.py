# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of the REST API's JSON. Layouts are those of TensorFlow Serving's answers (RapidJSON's pretty writer); numbers are checked against numpy."""

from __future__ import annotations

import json
import tracemalloc

import pytest

numpy = pytest.importorskip("numpy")
hypothesis = pytest.importorskip("hypothesis")

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    models,
    rest_answer,
    rest_inputs,
    rest_parse,
    status,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire
from hypothesis import strategies


def inputs(body, **dtypes):
    return rest_inputs.predict_inputs(rest_parse.parse(json.dumps(body).encode()), lambda _name: dtypes)[2]


def fault(body, **dtypes):
    with pytest.raises(status.Status) as caught:
        rest_inputs.predict_inputs(
            rest_parse.parse(body if isinstance(body, bytes) else json.dumps(body).encode()), lambda _name: dtypes
        )
    return caught.value.message


@hypothesis.given(strategies.lists(strategies.floats(width=32), min_size=1, max_size=20))
def test_any_float32_comes_back_as_it_was(values):
    array = numpy.array(values, "float32")
    read = json.loads(rest_answer.answer({"y": array}, rest_inputs.ROW))["predictions"]
    assert numpy.array_equal(numpy.array(read, "float32"), array, equal_nan=True)
    assert all(isinstance(value, float) for value in read)


@hypothesis.given(strategies.lists(strategies.floats(), min_size=1, max_size=20))
def test_any_float64_comes_back_as_it_was(values):
    read = json.loads(rest_answer.answer({"y": numpy.array(values)}, rest_inputs.COLUMN))["outputs"]
    assert numpy.array_equal(numpy.array(read), numpy.array(values), equal_nan=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0.2"),
        (1 / 3, "0.333333343"),
        (9000000, "9e+06"),
        (0.00003, "3e-05"),
        (100, "100.0"),
        (16777217, "16777216.0"),
        (-0.0, "-0.0"),
        (1e-45, "1.4013e-45"),
    ],
)
def test_how_float32_is_written(value, text):
    written = rest_answer.answer({"y": numpy.array([value], "float32")}, rest_inputs.ROW).decode()
    assert written == f'{{\n    "predictions": [{text}\n    ]\n}}'


@pytest.mark.parametrize(
    ("outputs", "form", "text"),
    [
        ({"y": numpy.array([[[1], [2]]], "int32")}, "row", '{\n    "predictions": [[[1], [2]]\n    ]\n}'),
        ({"y": numpy.zeros((0, 3), "int32")}, "row", '{\n    "predictions": []\n}'),
        ({"y": numpy.zeros((2, 0), "int32")}, "row", '{\n    "predictions": [[], []\n    ]\n}'),
        ({"y": numpy.array(True)}, "column", '{\n    "outputs": true\n}'),
        ({"y": numpy.zeros((0,), "int64")}, "column", '{\n    "outputs": []\n}'),
        (
            {"a": numpy.array([1], "uint8"), "b": numpy.array([[2]], "int16")},
            "column",
            '{\n    "outputs": {\n        "a": [\n            1\n        ],\n'
            '        "b": [\n            [\n                2\n            ]\n        ]\n    }\n}',
        ),
        (
            {"x_bytes": numpy.array([b"\xff"], object)},
            "row",
            '{\n    "predictions": [{\n            "b64": "/w=="\n        }\n    ]\n}',
        ),
        ({"x_bytes": numpy.array(b"\xff", object)}, "column", '{\n    "outputs": {\n        "b64": "/w=="\n    }\n}'),
        ({"x": numpy.array([b'"\n\x01\\'], object)}, "row", '{\n    "predictions": ["\\"\\n\\u0001\\\\"\n    ]\n}'),
    ],
)
def test_layouts(outputs, form, text):
    assert rest_answer.answer(outputs, form).decode() == text


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ({"y": numpy.float32(1)}, "Tensor name: y has no shape information "),
        (
            {"a": numpy.zeros(2, "float32"), "b": numpy.zeros(3, "float32")},
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
        ({"y": numpy.zeros(1, "float16")}, "Failed to write JSON value for tensor type: half"),
        ({}, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_answers_that_cannot_be_written(outputs, text):
    with pytest.raises(status.Status) as caught:
        rest_answer.answer({name: numpy.asarray(array) for name, array in outputs.items()}, rest_inputs.ROW)
    assert caught.value.message == text


@hypothesis.given(
    strategies.lists(
        strategies.lists(
            strategies.one_of(strategies.integers(-(2**31), 2**31 - 1), strategies.floats(width=32, allow_nan=False)),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_numbers_are_read_alike_in_all_forms(rows):
    expected = numpy.array(rows, "float64").astype("float32")
    for body in (
        {"instances": rows},
        {"inputs": rows},
        {"inputs": {"x": rows}},
        {"instances": [{"x": row} for row in rows]},
    ):
        array = inputs(body, x="float32")["x"]
        assert array.dtype == "float32" and numpy.array_equal(array, expected)


@pytest.mark.parametrize(
    ("body", "dtype", "expected"),
    [
        ({"inputs": [True, False]}, "bool", [True, False]),
        ({"inputs": 3}, "int8", 3),
        ({"inputs": [[], []]}, "float32", [[], []]),
        ({"inputs": [18446744073709551615]}, "uint64", [2**64 - 1]),
        ({"inputs": ["a", {"b64": "/+8"}]}, "string", [b"a", b"\xff\xef"]),
        ({"inputs": [{"b64": " aGVs\n bG8= "}]}, "string", [b"hello"]),
        ({"inputs": {"b64": "YQ=="}}, "string", b"a"),
        ({"instances": [{"b64": "YQ=="}, "b"]}, "string", [b"a", b"b"]),
        ({"inputs": [10**30]}, "float64", [1e30]),
    ],
)
def test_values(body, dtype, expected):
    assert inputs(body, x=dtype)["x"].tolist() == expected


@pytest.mark.parametrize(
    ("body", "dtype", "text"),
    [
        ({"inputs": [1, [2]]}, "float32", "Encountered list at unexpected level: 1 expected < 1"),
        (
            {"inputs": [[1], 2]},
            "float32",
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ({"inputs": [[1, 2], [3]]}, "float32", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ({"inputs": [None]}, "float32", "JSON Value: null Type: Null is not of expected type: float"),
        *(
            ({"inputs": [{"b64": text}]}, "string", "Unable to base64 decode")  # absl::Base64Unescape
            for text in ("!", "AP_-", "====", "YQ=", "YQ===", "Y", "Y===", "YQ==YQ==")
        ),
        (
            {"inputs": [{"b": "YQ"}]},
            "string",
            'JSON Value: {\n    "b": "YQ"\n} not formatted correctly for base64 data',
        ),
        ({"inputs": [300.0]}, "uint8", "JSON Value: 300.0 Type: Number is not of expected type: uint8"),
        (
            {"instances": {"x": 1}},
            "float32",
            'JSON Value: {\n    "instances": {\n        "x": 1\n    }\n} Expecting \'instances\' to be an list/array',
        ),
        ({"instances": [1, {"x": 2}]}, "float32", "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"x": 1}, 2]}, "float32", "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [[[1, 2]], [[1], [2]]]},
            "float32",
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1,2] but got: [2,1]",
        ),
        ({"inputs": [1e30, "x"]}, "int32", "JSON Value: 1e30 Type: Number is not of expected type: int32"),
    ],
)
def test_values_that_do_not_fit(body, dtype, text):
    assert fault(body, x=dtype) == text


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("[]", None, None),
        ("[1, true, false]", "int64_list", [1, 1, 0]),
        ("[-9223372036854775808, 9223372036854775807]", "int64_list", [-(2**63), 2**63 - 1]),
        ("[18446744073709551616, Infinity]", "float_list", [2.0**64, float("inf")]),
        ('["a", {"b64": "aGVsbG8="}]', "bytes_list", [b"a", b"hello"]),
        ('1.0, "x": 2.5', "float_list", [2.5]),
    ],
)
def test_features(text, kind, values):
    """As in upstream's json_tensor_test.cc; RapidJSON takes whole numbers beyond uint64 for doubles, and each member overwrites the one before."""
    read = rest_inputs.example_request(
        rest_parse.parse(f'{{"examples": [{{"x": {text}}}]}}'.encode()), "tensorflow.serving.RegressionRequest"
    )
    feature = read.input.example_list.examples[0].features.feature["x"]
    assert feature.WhichOneof("kind") == kind and (kind is None or list(getattr(feature, kind).value) == values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[20, 18446744073709551603]", "Feature: x has uint64_t element. Only int64_t is supported."),
        ('["a", 1]', "Unexpected element type in feature: x expecting type: bytes"),
        ('[1.0, {"b64": "YQ=="}]', "Unexpected element type in feature: x expecting type: float"),
        ('[10, {"test": 10}]', "Feature: x has element with unexpected JSON type: Object"),
        ('{"b64": "YQ==", "b64": "YQ=="}', "Feature: x has element with unexpected JSON type: Object"),
        ('[{"b64": "_"}]', "Unable to base64 decode"),
    ],
)
def test_features_that_do_not_fit(text, message):
    """As in upstream's json_tensor_test.cc and json_tensor.cc."""
    with pytest.raises(status.Status) as caught:
        rest_inputs.example_request(
            rest_parse.parse(f'{{"examples": [{{"x": {text}}}]}}'.encode()), "tensorflow.serving.ClassificationRequest"
        )
    assert (caught.value.code, caught.value.message) == ("INVALID_ARGUMENT", message)


def test_results_that_are_no_numbers():
    """As in upstream's json_tensor_test.cc."""
    result = wire.message("tensorflow.serving.RegressionResult")()
    for value in (0.2, float("inf"), 1, float("-inf"), float("nan")):
        result.regressions.add(value=value)
    assert rest_answer.results(result) == b'{\n    "results": [0.2, Infinity, 1.0, -Infinity, NaN]\n}'


def test_two_inputs():
    assert fault({"inputs": [1]}, a="float32", b="float32") == (
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
    )
    assert fault({"instances": [{"a": 1}]}, a="float32", b="float32") == (
        "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must be equal to: a,b"
    )
    arrays = inputs({"instances": [{"a": 1, "b": [2, 3]}, {"b": [4, 5], "a": 6}]}, a="int64", b="float64")
    assert arrays["a"].tolist() == [1, 6] and arrays["b"].tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":1 "b"}', "Missing a comma or '}' after an object member. at offset: 7"),
        (b"{a}", "Missing a name for object member. at offset: 1"),
        (b'{"a":tru}', "Invalid value. at offset: 5"),
        (b"   ", "The document is empty. at offset: 3"),
        ('{"é":"é" 1}'.encode(), "Missing a comma or '}' after an object member. at offset: 11"),
    ],
)
def test_json_that_cannot_be_read(body, text):
    assert fault(body) == f"JSON Parse error: {text}"


def test_whole_numbers_that_no_double_holds():
    for digits in (309, 5000):
        assert (
            fault(b'{"inputs":[' + b"9" * digits + b"]}", x="float32")
            == "JSON Parse error: Number too big to be stored in double. at offset: 11"
        )
    assert (
        fault(b'{"instances":[1e400]}', x="float32")
        == "JSON Parse error: Number too big to be stored in double. at offset: 14"
    )
    assert numpy.isinf(inputs({"inputs": [1e300]}, x="float32")["x"]).all(), (
        "a float32 too large becomes infinite, as it does there"
    )


def test_what_follows_the_object_does_not_matter_and_long_values_are_cut():
    assert inputs({"inputs": 1}, x="int32")["x"] == 1
    assert rest_parse.parse(b' {"a": 1} trailing') == {"a": 1}
    assert len(fault({"instances": [], "long": "x" * 300}, x="int32")) < 400
    deep = b'{"inputs":' + b"[" * 100000
    assert fault(deep, x="int32").startswith("JSON Parse error")


@pytest.mark.parametrize(
    ("config", "names", "expected"),
    [
        ({}, ["1", "2", "10"], {10: "10"}),
        ({}, ["v1", ".2", "3.tmp", "-4", "1e3", "٣"], {}),
        ({"latest": 2}, ["1", "2", "10"], {2: "2", 10: "10"}),
        ({"latest": 0}, ["1", "002"], {1: "1", 2: "002"}),
        ({"specific": (1, 7)}, ["1", "2"], {1: "1"}),
        ({}, ["00000123"], {123: "00000123"}),
        ({}, [], {}),
    ],
)
def test_which_versions_are_served(config, names, expected):
    assert models.aspired_versions(models.ModelConfig("m", "/m", **config), names) == expected


@pytest.mark.parametrize(
    "digits",
    [
        "9" * 400,
        "9" * 400 + ".0",
        "9" * 5000,
        "9" * 5000 + ".5",
        "1" + "0" * 309,
        "9" * 300 + "e9",
        "1e309",
        "1E+0309",
        "1" + "0" * 210 + "e99",
    ],
)
def test_a_number_that_no_double_holds_is_refused_where_it_stands(digits):
    assert (
        fault(b'{"instances":[' + digits.encode() + b"]}", x="float32")
        == "JSON Parse error: Number too big to be stored in double. at offset: 14"
    )
    assert inputs({"instances": [int("1" + "0" * 308)]}, x="float64")["x"].tolist() == [1e308]


def test_of_several_members_with_one_name_the_first_counts():
    """RapidJSON's FindMember returns the first."""
    parsed = rest_parse.parse(b'{"instances":[1],"signature_name":"a","instances":[2],"signature_name":"b"}')
    assert parsed == {"instances": [1], "signature_name": "a"}


def test_more_dimensions_than_arrays_have_are_refused():
    for dtype in ("float32", "string"):
        assert "65 dimensions" in fault(b'{"inputs":' + b"[" * 65 + b"]" * 65 + b"}", x=dtype)


def test_base64_is_no_list_of_named_inputs():
    said = fault({"instances": [{"b64": "YQ=="}]}, a="string", b="string")
    assert said.startswith(
        "instances is a plain list, but expecting list of objects as multiple input tensors required"
    )


def test_many_rows_that_are_read_one_by_one():
    rows = [[number % 3 == 0, True] for number in range(10_000)]
    assert inputs({"instances": rows}, x="bool")["x"].tolist() == rows
    assert inputs({"instances": [{"x": row} for row in rows]}, x="bool")["x"].tolist() == rows
    assert fault({"instances": [*rows, [True]]}, x="bool") == (
        "Failed to process element: 10000 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1"
    )


def test_sizes_of_values_are_no_less_than_what_they_take():
    """Against what CPython's own allocator says that it gave (tracemalloc)."""
    for row in (
        "[1.5],",
        "[],",
        "{},",
        '{"x":1},',
        '{"a":[1.5],"b":"xy"},',
        '"ab",',
        "1e5,",
        "12345,",
        "[[[[1]]]],",
        '"\U0001f600",',
    ):
        body = f'{{"instances": [{row * (72000 // len(row))}{row[:-1]}]}}'.encode()
        tracemalloc.start()
        parsed = rest_parse.parse(body)
        taken, _most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert parsed and taken <= rest_parse.size_of_values(body) <= 5 * taken + len(body), row
