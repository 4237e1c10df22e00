# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded server against what a real TensorFlow Serving 2.20.0 was seen to answer; texts and codes are quoted from there unless said otherwise."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

grpc = pytest.importorskip("grpc")
numpy = pytest.importorskip("numpy")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, grpc_api, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import (
    GrpcClient,
    RestClient,
    decode_tensor,
    encode_tensor,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.tests.support import ports

pytestmark = pytest.mark.slice
PLAIN = (
    "half_plus_two",
    "over_examples",
    "table",
    "two",
    "strings",
    "fixed",
    "scalar",
    "ragged",
    "float64",
    "int64",
    "half",
    "bfloat16",
    "dense",
    "convolution",
    "double",
)
BATCHING = "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 20000 }\nnum_batch_threads { value: 2 }\nmax_enqueued_batches { value: 100 }\n"
F = "float32"


@pytest.fixture(scope="module", name="servers")
def all_servers(serve, model_directory, tmp_path_factory):
    """The servers of this file, started side by side: plain, batched, split, lite, and own, whose models bring their own batching parameters, or none."""
    directory = tmp_path_factory.mktemp("configurations")
    batched = {name: model_directory / name for name in ("double", "triple", "ragged", "scalar", "two", "dense")}

    own = {
        "ragged": BATCHING + "pad_variable_length_inputs: true\n",
        "dense": None,
        "double": "max_batch_size { value: 2 }\nmax_enqueued_batches { value: 1 }\nnum_batch_threads { value: 0 }\n",
    }

    def copied(name):
        shutil.copytree(model_directory / name, directory / name)
        if own[name]:
            (directory / name / "1" / "batching_params.pbtxt").write_text(own[name], encoding="utf-8")
        return directory / name

    def batching(name, text, models, *flags):
        (directory / f"{name}.pbtxt").write_text(text, encoding="utf-8")
        return serve(
            "--grpc_max_threads=64",
            "--enable_batching",
            f"--batching_parameters_file={directory / name}.pbtxt",
            *flags,
            models=models,
        )

    started = {
        "plain": serve(
            "--enable_grpc_healthcheck_service=true",
            models={name: model_directory / name for name in PLAIN},
            TF_ENABLE_ONEDNN_OPTS="1",
        ),
        "batched": batching("batched", BATCHING + "allowed_batch_sizes: 2\nallowed_batch_sizes: 8\n", batched),
        "own": batching(
            "own",
            "num_batch_threads { value: 1 }",
            {name: copied(name) for name in ("ragged", "double", "dense")},
            "--enable_per_model_batching_parameters=true",
        ),
        "split": batching(
            "split",
            "max_batch_size { value: 32 }\nenable_large_batch_splitting { value: true }\nmax_execution_batch_size { value: 8 }\n",
            {"double": model_directory / "double"},
            "--rest_api_timeout_in_ms=2",
        ),
        "lite": serve(
            "--prefer_tflite_model=true",
            "--enable_serialization_as_tensor_content",
            models={name: model_directory / name for name in ("lite", "lite_plain")},
        ),
    }
    for running in started.values():
        running.ready()
    return started


@pytest.fixture(name="call")
def grpc_call(servers):
    """call(server, model, inputs) over gRPC."""
    clients = {}

    def predict(server, model, inputs, **more):
        if server not in clients:
            clients[server] = GrpcClient("127.0.0.1", servers[server].grpc_port, 30)
        return clients[server].predict(model, {name: numpy.asarray(value) for name, value in inputs.items()}, **more)

    yield predict
    for client in clients.values():
        client.close()


def fault_of(function, *arguments, **more):
    with pytest.raises(ServerFault) as caught:
        function(*arguments, **more)
    return caught.value


def raw(server, path, request):
    with GrpcClient("127.0.0.1", server.grpc_port) as client:
        client._methods[path] = client._channel.unary_unary(path)
        return client.call(path, request)


def rest(server, verb, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request(
        verb,
        path,
        body if body is None or isinstance(body, bytes) else json.dumps(body) if not isinstance(body, str) else body,
        headers,
    )
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.getheader("Content-Type"), content


# --- Predict over gRPC


def test_a_graph_of_tensorflow_1_with_variables(servers):
    with GrpcClient("127.0.0.1", servers["plain"].grpc_port) as client:
        request = wire.message("tensorflow.serving.PredictRequest")()
        request.model_spec.name = "half_plus_two"
        encode_tensor(numpy.array([[1], [2]], F), into=request.inputs["x"])
        answer = wire.message("tensorflow.serving.PredictResponse").FromString(
            client.call(grpc_api.PREDICT, request.SerializeToString())
        )
    assert list(answer.outputs["y"].float_val) == [2.5, 3.0]  # typed fields by default, not tensor_content
    assert (answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name) == (
        "half_plus_two",
        1,
        "serving_default",
    )


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        ("table", {"word": ["two", "zero", "nine"]}, {"number": [2, 0, -1]}),
        ("two", {"a": numpy.array([[1, 2]], F), "b": numpy.array([[3, 5]], F)}, {"sum": [[4, 7]], "diff": [[-2, -3]]}),
        ("strings", {"s": [b"a\0\xff", b"bc"]}, {"upper": [b"A\0\xff", b"BC"], "raw_bytes": [b"a\0\xff", b"bc"]}),
        ("fixed", {"x": numpy.ones((1, 4), F)}, {"y": [[2, 2, 2, 2]]}),
        ("fixed", {"x": numpy.ones((3, 4), F)}, {"y": [[2, 2, 2, 2]] * 3}),
        ("scalar", {"x": numpy.arange(8, dtype=F).reshape(2, 4)}, {"mean": 3.5}),
        ("ragged", {"x": numpy.ones((2, 3), F)}, {"sum": [3, 3]}),
        ("float64", {"x": numpy.array([0.1])}, {"y": [0.2]}),
        ("int64", {"x": numpy.array([2**62])}, {"y": [2**62 + 1]}),
        ("half", {"x": numpy.array([1.5], "float16")}, {"y": [3.0]}),
        ("dense", {"x": numpy.zeros((0, 64), F)}, {"y": numpy.zeros((0, 8)).tolist()}),
        ("convolution", {"x": numpy.ones((1, 8, 8, 1), F)[:, :1, :1]}, {"y": [[[[1, 1]]]]}),
    ],
)
def test_models_of_all_kinds(call, model, inputs, expected):
    assert {name: array.tolist() for name, array in call("plain", model, inputs).items()} == expected


def test_bfloat16(servers):
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "bfloat16"
    tensor = request.inputs["x"]
    tensor.dtype, tensor.tensor_content = (
        dtypes.ENUM["DT_BFLOAT16"],
        b"\xc0\x3f\x00\x40",
    )  # 1.5, 2.0
    tensor.tensor_shape.dim.add(size=2)
    answer = wire.message("tensorflow.serving.PredictResponse").FromString(
        raw(servers["plain"], grpc_api.PREDICT, request.SerializeToString())
    )
    assert list(answer.outputs["y"].half_val) == [0x4040, 0x4080]  # 3.0, 4.0


@pytest.mark.parametrize(
    ("model", "inputs", "more", "code", "text"),
    [
        ("nope", {"x": [1.0]}, {}, "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        (
            "half_plus_two",
            {"x": [1.0]},
            {"version": 999},
            "NOT_FOUND",
            "Servable not found for request: Specific(half_plus_two, 999)",
        ),
        (
            "half_plus_two",
            {"x": [1.0]},
            {"signature": "nosig"},
            "FAILED_PRECONDITION",
            'Serving signature key "nosig" not found.',
        ),
        (
            "half_plus_two",
            {"zz": [1.0]},
            {},
            "INVALID_ARGUMENT",
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. "
            "Inputs expected to be in the request {zz}, or default input alias set: ",
        ),
        # the next text is of tensorflow_serving/servables/tensorflow/predict_util.cc
        (
            "half_plus_two",
            {"x": [1.0], "w": [1.0]},
            {},
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({w,x}) != len({x}). Sent extra: {w}. Missing but required: {}.",
        ),
        (
            "half_plus_two",
            {"x": numpy.array([[1.0]])},
            {},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but double is provided",
        ),
        ("half_plus_two", {"x": ["a"]}, {}, "INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided"),
    ],
)
def test_faults(call, model, inputs, more, code, text):
    fault = fault_of(call, "plain", model, inputs, **more)
    assert (fault.code, fault.message) == (code, text)


def test_a_shape_that_the_graph_rejects(call):
    fault = fault_of(call, "plain", "dense", {"x": numpy.zeros((1, 3), F)})
    assert fault.code == "INVALID_ARGUMENT"
    assert re.fullmatch(
        r"Matrix size-incompatible: In\[0\]: \[1,3\], In\[1\]: \[64,8\]\n\t \[\[.*\{\{node .*MatMul\}\}\]\]",
        fault.message,
    )


def test_a_request_of_wrong_rank_does_not_kill_a_convolution(call):
    """A real server aborts on it (trap 41): TensorFlow's own check fails."""
    for shape in ((8,), (1, 4), (8, 8, 1)):
        fault = fault_of(call, "plain", "convolution", {"x": numpy.zeros(shape, F)})
        assert fault.code == "INVALID_ARGUMENT" and f"has rank {len(shape)}, the model expects 4" in fault.message
    assert call("plain", "convolution", {"x": numpy.zeros((2, 8, 8, 1), F)})["y"].shape == (2, 8, 8, 2)


def tensor_of(shape, values):
    tensor = wire.message("tensorflow.TensorProto")(dtype=1, float_val=values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@pytest.mark.parametrize(
    ("edit", "code", "text"),
    [
        (lambda request: request.ClearField("model_spec"), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            lambda request: request.output_filter.append("nope"),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: nope Outputs expected to be in the set {y}.",
        ),
        (
            lambda request: request.output_filter.extend(["y", "y"]),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: y",
        ),
        (
            lambda request: setattr(request.model_spec, "version_label", "canary"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
        ),
        (
            lambda request: setattr(request.inputs["x"], "tensor_content", b"12345"),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (lambda request: setattr(request.inputs["x"], "dtype", 20), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (
            lambda request: request.inputs["x"].CopyFrom(tensor_of([2**33], [1.0])),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),  # 32 GiB of one value
        (
            lambda request: request.inputs["x"].CopyFrom(tensor_of([2**40] * 3, [])),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (
            lambda request: request.inputs["x"].CopyFrom(tensor_of([1] * 300, [1.0])),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (
            lambda request: request.inputs["x"].CopyFrom(tensor_of([-1], [1.0])),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (
            lambda request: setattr(request.inputs["x"].tensor_shape, "unknown_rank", True),
            "INVALID_ARGUMENT",
            "tensor parsing error: x",
        ),
        (
            lambda request: setattr(request.model_spec, "name", ""),
            "INVALID_ARGUMENT",
            "ModelSpec has no name specified.",
        ),
        (
            lambda request: setattr(request.model_spec.version, "value", -1),
            "NOT_FOUND",
            "Servable not found for request: Specific(half_plus_two, -1)",
        ),
    ],
)
def test_faults_of_the_message(servers, edit, code, text):
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "half_plus_two"
    encode_tensor(numpy.ones((1, 1), F), into=request.inputs["x"])
    edit(request)
    fault = fault_of(raw, servers["plain"], grpc_api.PREDICT, request.SerializeToString())
    assert fault.code == code and fault.message.startswith(text)


def test_bytes_that_are_no_message_and_methods_that_are_not_built(servers):
    assert fault_of(raw, servers["plain"], grpc_api.PREDICT, b"\xff\xff\xff").code == "INTERNAL"
    for path in ("/tensorflow.serving.SessionService/SessionRun", "/no.such/Method"):
        assert fault_of(raw, servers["plain"], path, b"").code == "UNIMPLEMENTED"


# --- Classify, Regress and MultiInference


def examples_request(kind, *signatures):
    """The bytes of a request over the examples x = 1.5 and x = -2."""
    request = wire.message(f"tensorflow.serving.{kind}Request")()
    for signature in signatures:
        spec = (request.tasks.add() if kind == "MultiInference" else request).model_spec
        spec.name, spec.signature_name = "over_examples", signature
    for value in (1.5, -2):
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return request


def test_what_a_signature_of_two_outputs_or_a_flat_one_gives(servers):
    request = examples_request("Classification", "one_score_of_two_outputs")
    response = wire.message("tensorflow.serving.ClassificationResponse").FromString(
        raw(servers["plain"], grpc_api.CLASSIFY, request.SerializeToString())
    )
    assert [[one.score for one in row.classes] for row in response.result.classifications] == [[1.5, -1.5], [-2, 2]]
    for signature in ("regress", "column"):
        body = {"signature_name": signature, "examples": [{"x": 1.5}, {"x": -2.0}]}
        code, _kind, content = rest(servers["plain"], "POST", "/v1/models/over_examples:regress", body)
        assert (code, json.loads(content)) == (200, {"results": [1.5, -2.0]})


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("three_outputs", "Expected one or two output Tensors, found 3"),
        ("flat_scores", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ("double_scores", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("number_classes", "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        ("few_scores", "Expected scores output batch size of 2. Got: 1"),
        ("unlike", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
        ("two_inputs", "Expected one input Tensor."),
        ("two_outputs", "Expected one output Tensor."),
        ("other_output", "No regression outputs found in SignatureDef: inputs {"),
        ("wide", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
        ("short", "Input batch size did not match output batch size: 2 vs. 1"),
        ("whole", "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
    ],
)
def test_signatures_and_outputs_that_are_refused(servers, signature, text):
    """Texts of upstream's classifier.cc and regressor.cc (tensorflow_serving/servables/tensorflow)."""
    with GrpcClient("127.0.0.1", servers["plain"].grpc_port) as client:
        method = client.metadata("over_examples")[signature]["method_name"]
    path, kind = {
        "tensorflow/serving/classify": (grpc_api.CLASSIFY, "Classification"),
        "tensorflow/serving/regress": (grpc_api.REGRESS, "Regression"),
    }[method]
    fault = fault_of(raw, servers["plain"], path, examples_request(kind, signature).SerializeToString())
    assert fault.code == "INVALID_ARGUMENT" and fault.message.partition("\n")[0] == text
    request = examples_request("MultiInference", signature)
    request.tasks[0].method_name = method
    again = fault_of(raw, servers["plain"], grpc_api.MULTI_INFERENCE, request.SerializeToString())
    assert (again.code, again.message) == (fault.code, fault.message)


def test_several_tasks_that_do_not_fit_together(servers):
    """Texts of upstream's multi_inference.cc."""
    request = examples_request("MultiInference", "regress", "classify")
    for task, method in zip(request.tasks, ("regress", "classify")):
        task.method_name = f"tensorflow/serving/{method}"
    response = wire.message("tensorflow.serving.MultiInferenceResponse").FromString(
        raw(servers["plain"], grpc_api.MULTI_INFERENCE, request.SerializeToString())
    )
    assert [one.value for one in response.results[0].regression_result.regressions] == [1.5, -2]
    rows = response.results[1].classification_result.classifications
    assert [[(one.label, one.score) for one in row.classes] for row in rows] == [
        [(b"1.5", 1.5), (b"-1.5", -1.5)],
        [(b"-2.0", -2), (b"2.0", 2)],
    ]
    assert [one.model_spec.version.value for one in response.results] == [1, 1]
    request.tasks[1].model_spec.name = ""
    fault = fault_of(raw, servers["plain"], grpc_api.MULTI_INFERENCE, request.SerializeToString())
    assert (fault.code, fault.message) == ("INVALID_ARGUMENT", "Found ModelSpec with an empty model name.")


def test_health(servers):
    """Bytes of grpc.health.v1: request {1: service}, response {1: SERVING = 1}."""
    path = "/grpc.health.v1.Health/Check"
    assert raw(servers["plain"], path, b"") == b"\x08\x01"
    assert fault_of(raw, servers["plain"], path, b"\n\x04nope").code == "NOT_FOUND"
    assert fault_of(raw, servers["batched"], path, b"").code == "UNIMPLEMENTED"


def test_status_and_metadata_are_the_same_over_both_protocols(servers):
    server = servers["plain"]
    with GrpcClient("127.0.0.1", server.grpc_port) as one, RestClient("127.0.0.1", server.rest_port) as other:
        assert (
            one.status("two")
            == other.status("two")
            == [{"version": 1, "state": "AVAILABLE", "error_code": "OK", "error_message": ""}]
        )
        assert one.metadata("two") == other.metadata("two")
        signature = one.metadata("two")["serving_default"]
        assert signature["inputs"]["a"] == {"dtype": "float32", "shape": [None, 2], "tensor": "serving_default_a:0"}
        assert one.metadata("half_plus_two")["serving_default"]["method_name"] == "tensorflow/serving/predict"
        assert "__saved_model_init_op" in one.metadata("two")
        for client in (one, other):
            fault = fault_of(client.status, "zz")
            assert (fault.code, fault.message) == ("NOT_FOUND", "Could not find any versions of model zz")
    request = wire.message("tensorflow.serving.GetModelMetadataRequest")()
    request.model_spec.name = "two"
    fault = fault_of(raw, server, grpc_api.GET_MODEL_METADATA, request.SerializeToString())
    assert fault.message == "GetModelMetadataRequest must specify at least one metadata_field"


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("two", {"a": numpy.array([[1, 2]], F), "b": numpy.array([[3, 5]], F)}),
        ("scalar", {"x": numpy.ones((2, 4), F)}),
        ("strings", {"s": numpy.array([b"a", b"bc"], object)}),
        ("float64", {"x": numpy.array([1 / 3, 1e300, -0.0])}),
        ("int64", {"x": numpy.array([2**62])}),
    ],
)
def test_both_protocols_answer_alike(servers, model, inputs):
    with (
        GrpcClient("127.0.0.1", servers["plain"].grpc_port) as one,
        RestClient("127.0.0.1", servers["plain"].rest_port) as other,
    ):
        first, second = one.predict(model, inputs), other.predict(model, inputs)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype and numpy.array_equal(array, second[name])


# --- REST

BASE = "/v1/models/half_plus_two"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (f"{BASE}:predict", {"instances": [1.0, 2.0, 5.0]}, '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'),
        (f"{BASE}/versions/1:predict", {"instances": [[1], [2]]}, '{\n    "predictions": [[2.5], [3.0]\n    ]\n}'),
        (
            "/V1/models/half_plus_two:predict",
            {"inputs": [[1.0], [2.0]]},
            '{\n    "outputs": [\n        [\n            2.5\n        ],\n        [\n            3.0\n        ]\n    ]\n}',
        ),
        (
            f"{BASE}:predict",
            {"instances": [{"x": 1.0}], "unknown": 1, "signature_name": "serving_default"},
            '{\n    "predictions": [2.5\n    ]\n}',
        ),
        (f"{BASE}:predict", '{"instances": [NaN, Infinity]}', '{\n    "predictions": [NaN, Infinity\n    ]\n}'),
        (f"{BASE}:predict", {"instances": [0.2, 1e10, 16777217]}, None),
        (
            "/v1/models/two:predict",
            {"instances": [{"a": [1, 2], "b": [3, 5]}]},
            '{\n    "predictions": [\n        {\n            "diff": [-2.0, -3.0],\n            "sum": [4.0, 7.0]\n        }\n    ]\n}',
        ),
        ("/v1/models/two:predict", {"inputs": {"a": [[1, 2]], "b": [[3, 5]], "extra": 1}}, None),
        ("/v1/models/scalar:predict", {"inputs": [[1, 2, 3, 4]]}, '{\n    "outputs": 2.5\n}'),
        ("/v1/models/strings:predict", {"instances": ['a\u00e9"', {"b64": "//4="}]}, None),
    ],
)
def test_rest_answers(servers, path, body, expected):
    code, kind, content = rest(servers["plain"], "POST", path, body)
    assert (code, kind) == (200, "application/json"), content
    if expected is not None:
        assert content.decode() == expected


def test_rest_prints_the_digits_that_are_needed(servers):
    content = rest(servers["plain"], "POST", "/v1/models/fixed:predict", {"inputs": [[0.1, 1 / 6, 5e9, 1e-5]]})[
        2
    ].decode()
    # 0.2, 1/3 in nine digits, whole numbers with .0 unless they have an exponent
    assert re.findall(r"[-0-9.e+]+(?=[,\s])", content.partition("[")[2]) == ["0.2", "0.333333343", "1e+10", "2e-05"]


def test_rest_strings_come_as_text_and_as_base64(servers):
    content = rest(servers["plain"], "POST", "/v1/models/strings:predict", {"instances": ['\u00e9"', {"b64": "//4="}]})[
        2
    ]
    assert b'"upper": "\xc3\xa9\\""' in content and b'"upper": "\xff\xfe"' in content
    assert b'"raw_bytes": {\n                "b64": "//4="\n            }' in content


@pytest.mark.parametrize(
    ("verb", "path", "body", "code", "text"),
    [
        ("GET", "/v1/models/nope", None, 404, "Could not find any versions of model nope"),
        ("GET", f"{BASE}/versions/999", None, 404, "Could not find version 999 of model half_plus_two"),
        ("GET", "/v1/models/nope/metadata", None, 404, "Servable not found for request: Latest(nope)"),
        ("POST", "/v1/models/nope:predict", '{"instances":[1]}', 404, "Servable not found for request: Latest(nope)"),
        (
            "POST",
            f"{BASE}/versions/999:predict",
            '{"instances":[1]}',
            404,
            "Servable not found for request: Specific(half_plus_two, 999)",
        ),
        (
            "POST",
            f"{BASE}/labels/canary:predict",
            '{"instances":[1]}',
            400,
            "Unrecognized servable version label: canary",
        ),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":[1.0',
            400,
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 17",
        ),
        ("POST", f"{BASE}:predict", "", 400, "JSON Parse error: The document is empty"),
        ("POST", f"{BASE}:predict", "[1,2]", 400, "JSON Value: [1, 2] Is not object"),
        ("POST", f"{BASE}:predict", "{}", 400, "Missing 'inputs' or 'instances' key"),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":[1],"inputs":[2]}',
            400,
            'JSON Value: {\n    "instances": [1],\n    "inputs": [2]\n} '
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":[]}',
            400,
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        (
            "POST",
            "/v1/models/ragged:predict",
            '{"instances":[[1,2],[3]]}',
            400,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1",
        ),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":["abc"]}',
            400,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"abc\" Type: String is not of expected type: float",
        ),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":[true, 1.0]}',
            400,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: true Type: True is not of expected type: float",
        ),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":[{"wrong":1}]}',
            400,
            "Failed to process element: 0 key: wrong of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: wrong",
        ),
        ("POST", f"{BASE}:predict", '{"inputs":{"wrong":1}}', 400, "Missing named input: x in 'inputs' object."),
        (
            "POST",
            f"{BASE}:predict",
            '{"signature_name":"nosuch","instances":[1]}',
            400,
            'Serving signature name: "nosuch" not found in signature def',
        ),
        (
            "POST",
            f"{BASE}:predict",
            '{"signature_name":3,"instances":[1]}',
            400,
            'JSON Value: {\n    "signature_name": 3,\n    "instances": [1]\n} not formatted correctly. \'signature_name\' key must be a string value.',
        ),
        (
            "POST",
            "/v1/models/two:predict",
            '{"instances":[1]}',
            400,
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
        ),
        ("GET", f"{BASE}:predict", None, 400, f"Malformed request: GET {BASE}:predict"),
        ("POST", f"{BASE}:predict/", "{}", 400, f"Malformed request: POST {BASE}:predict/"),
        ("PUT", BASE, "{}", 400, f"Malformed request: PUT {BASE}"),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("GET", f"{BASE}?a=1", None, 404, "Could not find any versions of model half_plus_two?a=1"),
        (
            "POST",
            f"{BASE}:predict",
            '{"instances":[1e400]}',
            400,
            "JSON Parse error: Number too big to be stored in double. at offset: 14",
        ),
        (
            "POST",
            "/v1/models/scalar:predict",
            '{"instances":[[1,2,3,4]]}',
            400,
            "Tensor name: mean has no shape information ",
        ),
        ("POST", "/v1/models/half:predict", '{"inputs":[1.0]}', 501, "Conversion of JSON Value: 1.0 to type: half"),
        (
            "POST",
            "/v1/models/half:predict",
            '{"instances":[1.0]}',
            400,
            "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON Value: 1.0 to type: half",
        ),
        (
            "POST",
            "/v1/models/int64:predict",
            '{"inputs":[1.5]}',
            400,
            "JSON Value: 1.5 Type: Number is not of expected type: int64",
        ),
        (
            "POST",
            "/v1/models/int64:predict",
            '{"inputs":[9223372036854775808]}',
            400,
            "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64",
        ),
    ],
)
def test_rest_faults(servers, verb, path, body, code, text):
    answered, kind, content = rest(servers["plain"], verb, path, body)
    assert (answered, kind) == (code, "application/json")
    assert json.loads(content)["error"] == text
    assert content.startswith(b'{\n    "error": "') and content.endswith(b'"\n}')


def test_rest_graph_fault_and_other_pages(servers):
    code, _kind, content = rest(servers["plain"], "POST", "/v1/models/dense:predict", {"instances": [[1, 2, 3]]})
    assert code == 400 and json.loads(content)["error"].startswith(
        "Matrix size-incompatible: In[0]: [1,3], In[1]: [64,8]\n\t [["
    )
    for path in ("/", "/v2/health/ready", "/monitoring/prometheus/metrics"):
        code, kind, content = rest(servers["plain"], "GET", path)
        assert (code, kind) == (404, "text/html") and content.startswith(b"<HTML>")


def test_rest_status_body(servers):
    expected = (
        '{\n "model_version_status": [\n  {\n   "version": "1",\n   "state": "AVAILABLE",\n   "status": {\n    "error_code": "OK",\n'
        '    "error_message": ""\n   }\n  }\n ]\n}\n'
    )
    for path in (BASE, f"{BASE}/versions/1", f"{BASE}/labels/ANYTHING"):
        assert rest(servers["plain"], "GET", path)[2].decode() == expected


def test_rest_ways_of_sending(servers):
    connection = http.client.HTTPConnection("127.0.0.1", servers["plain"].rest_port, timeout=30)
    body = b'{"instances": [1.0]}'
    for headers, sent in (
        ({}, body),
        ({"Content-Encoding": "gzip"}, gzip.compress(body)),
        ({"Content-Type": "text/plain"}, body),
        ({"Expect": "100-continue"}, body),
    ):
        connection.request("POST", f"{BASE}:predict", sent, headers)
        assert b"2.5" in connection.getresponse().read()
        assert connection.sock is not None, "the connection is kept"
    connection.request(
        "POST",
        f"{BASE}:predict",
        iter([body[:5], body[5:]]),
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert b"2.5" in connection.getresponse().read()
    connection.request("POST", f"{BASE}:predict", b"no gzip", {"Content-Encoding": "gzip"})
    assert connection.getresponse().status == 400
    connection.close()


def test_rest_chunks_are_together_no_larger_than_a_body(servers):
    with socket.create_connection(("127.0.0.1", servers["plain"].rest_port), timeout=30) as connection:
        connection.sendall(
            f"POST {BASE}:predict HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n7fffffff\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 400 "), "refused before the second chunk comes"


def test_rest_goes_on_while_no_descriptors_are_left(servers):
    server = servers["plain"]
    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 20, before[1]))
    idle = [socket.create_connection(("127.0.0.1", server.rest_port)) for _number in range(60)]
    try:
        server.wait_for("The REST port could not accept a connection")
        assert rest(server, "GET", BASE)[0] == 200
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)
        for connection in idle:
            connection.close()


def test_rest_large_bodies(servers):
    array = numpy.random.default_rng(1).normal(size=(300, 1000)).astype(F)
    with RestClient("127.0.0.1", servers["plain"].rest_port, 60) as client:
        assert numpy.allclose(client.predict("ragged", {"x": array})["sum"], array.sum(1), atol=1e-3)


def test_rest_gives_up(servers):
    code, _kind, content = rest(servers["split"], "POST", "/v1/models/double:predict", {"instances": [[1, 2, 3, 4]]})
    late = (504, "Timed out waiting for notification"), (429, "Run() timeout exceeded while waiting in batching queue")
    assert (code, json.loads(content)["error"]) in late, "the second where it waited longer for its batch than it had"


# --- Batching


def test_a_request_larger_than_a_batch(call, servers):
    for rows in (9, 100):
        fault = fault_of(call, "batched", "double", {"x": numpy.ones((rows, 4), F)})
        assert (fault.code, fault.message) == (
            "INVALID_ARGUMENT",
            f"Task size {rows} is larger than maximum input batch size 8",
        )
    code, _kind, content = rest(
        servers["batched"], "POST", "/v1/models/double:predict", {"instances": [[1, 2, 3, 4]] * 9}
    )
    assert (code, json.loads(content)["error"]) == (400, "Task size 9 is larger than maximum input batch size 8")


def test_batches_are_padded_to_allowed_sizes(call):
    for rows, seen in ((1, 2), (2, 2), (3, 8), (8, 8)):
        answer = call("batched", "double", {"x": numpy.arange(rows * 4, dtype=F).reshape(rows, 4)})
        assert answer["n"].tolist() == [seen] * rows
        assert answer["y"].tolist() == (2 * numpy.arange(rows * 4).reshape(rows, 4)).tolist()


def test_an_output_without_dimensions(call):
    fault = fault_of(call, "batched", "scalar", {"x": numpy.ones((2, 4), F)})
    assert (fault.code, fault.message) == ("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (
            {"a": numpy.ones((2, 2), F), "b": numpy.ones((3, 2), F)},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        (
            {"a": numpy.float32(1), "b": numpy.ones((3, 2), F)},
            "Batching Run() input tensors must have at least one dimension",
        ),
        ({"a": numpy.ones((2, 2)), "b": numpy.ones((2, 2), F)}, "Expects arg[0] to be float but double is provided"),
    ],
)
def test_what_cannot_be_batched(call, inputs, text):
    fault = fault_of(call, "batched", "two", inputs)
    assert (fault.code, fault.message) == ("INVALID_ARGUMENT", text)


def together(call, server, model, arrays):
    """Send all at once; the answers or faults, in order."""
    gate = threading.Barrier(len(arrays))

    def one(array):
        gate.wait()
        try:
            return call(server, model, {"x": array})
        except ServerFault as fault:
            return fault

    call(server, model, {"x": arrays[0]})
    with ThreadPoolExecutor(len(arrays)) as pool:
        return list(pool.map(one, arrays))


def until_they_meet(send, met):
    """What send() returns once met(of it): on a busy machine requests that are sent at once may all come to batches of their own."""
    for _time in range(20):
        found = send()
        if met(found):
            return found
    raise AssertionError(f"they never met: {found}")


def faults_among(found):
    return [one for one in found if isinstance(one, ServerFault)]


def test_different_shapes_in_one_batch(call):
    arrays = [numpy.ones((1, 2), F), numpy.ones((1, 3), F)] * 3
    for fault in faults_among(until_they_meet(lambda: together(call, "batched", "ragged", arrays), faults_among)):
        assert (fault.code, fault.message) == (
            "FAILED_PRECONDITION",
            "Tensors with name 'serving_default_x:0' from different tasks have different shapes and padding is turned off. Set pad_variable_length_inputs to "
            "true, or ensure that all tensors with the same name have equal dimensions starting with the first dim.",
        )


def test_different_shapes_are_padded_with_the_first_value(call):
    rows = [numpy.full((1, width), width, F) for width in (1, 2, 3, 4)]
    sums = until_they_meet(
        lambda: [answer["sum"].tolist()[0] for answer in together(call, "own", "ragged", rows)],
        lambda sums: sums != [1, 4, 9, 16],
    )
    # a row [w] * w sums to w*w, or, padded to a longer one in its batch, to w * longest
    for width, total in zip((1, 2, 3, 4), sums):
        assert total in {width * longest for longest in range(width, 5)}


def test_models_with_their_own_parameters_and_one_without(call):
    assert (
        fault_of(call, "own", "double", {"x": numpy.ones((3, 4), F)}).message
        == "Task size 3 is larger than maximum input batch size 2"
    )
    assert (
        fault_of(call, "own", "ragged", {"x": numpy.ones((9, 4), F)}).message
        == "Task size 9 is larger than maximum input batch size 8"
    )
    assert call("own", "dense", {"x": numpy.ones((2000, 64), F)})["y"].shape == (2000, 8)


def test_some_outputs_of_a_signature_are_no_batch(servers):
    """batching_session.cc, InternalRun: what matches no declared signature is run in line. One row more than a batch may have is served."""
    request = wire.message("tensorflow.serving.PredictRequest")(output_filter=["sum"])
    request.model_spec.name = "two"
    for name in ("a", "b"):
        encode_tensor(numpy.ones((9, 2), F), into=request.inputs[name])
    answer = wire.message("tensorflow.serving.PredictResponse").FromString(
        raw(servers["batched"], grpc_api.PREDICT, request.SerializeToString())
    )
    assert list(answer.outputs) == ["sum"] and decode_tensor(answer.outputs["sum"]).tolist() == [[2, 2]] * 9
    assert "Request doesn't match any declared signature. Bypassing batcher." in servers["batched"].words()


def test_a_full_queue(call, servers):
    """One thread, batches of 2, one of them may wait: of 24 requests at once some are served, the others are refused at once."""
    rows = [numpy.full((1, 4), number, F) for number in range(24)]
    found = until_they_meet(lambda: together(call, "own", "double", rows), faults_among)
    refused = {(fault.code, fault.message) for fault in faults_among(found)}
    assert refused == {
        (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
            "max_enqueued_batches is 1",
        )
    }
    served = {
        number: answer["y"].tolist() for number, answer in enumerate(found) if not isinstance(answer, ServerFault)
    }
    assert served and served == {number: [[2 * number] * 4] for number in served}


def test_large_requests_are_split(call):
    answer = call("split", "double", {"x": numpy.arange(80, dtype=F).reshape(20, 4)})
    assert answer["n"].tolist() == [8] * 16 + [4] * 4
    assert answer["y"].tolist() == (2 * numpy.arange(80).reshape(20, 4)).tolist()
    fault = fault_of(call, "split", "double", {"x": numpy.ones((33, 4), F)})
    assert fault.message == "Task size 33 is larger than maximum input batch size 32"


def test_two_models_never_answer_for_each_other_and_share_their_threads(call):
    """Each row asks for another number; began and ended are the graph's own clock, so that the batches that ran at once can be counted."""

    def ask(number):
        model, factor = (("double", 2), ("triple", 3))[number % 2]
        answer = call("batched", model, {"x": numpy.full((1 + number % 3, 4), number, F)})
        assert answer["y"].tolist() == [[number * factor] * 4] * (1 + number % 3)
        return model, answer["began"][0], answer["ended"][0]

    with ThreadPoolExecutor(24) as pool:
        batches = set(pool.map(ask, range(240)))
    moments = sorted(
        [(began, 1) for _model, began, _ended in batches] + [(ended, -1) for _model, _began, ended in batches]
    )
    running = most = 0
    for _moment, change in moments:
        running += change
        most = max(most, running)
    assert {model for model, _began, _ended in batches} == {"double", "triple"}
    assert len(batches) < 240, "requests share batches"
    assert most == 2, "num_batch_threads is 2, and both are used"


# --- TensorFlow Lite


def test_lite_with_metadata_is_like_the_saved_model(call, servers):
    assert {
        name: array.tolist() for name, array in call("lite", "lite", {"x": numpy.array([[3, 1], [5, 7]], F)}).items()
    } == {"sum": [4, 12], "diff": [2, -2]}
    with GrpcClient("127.0.0.1", servers["lite"].grpc_port) as client:
        assert client.metadata("lite")["serving_default"]["inputs"]["x"]["shape"] == [None, 2]


def test_lite_without_metadata_has_a_signature_made_up(servers):
    with GrpcClient("127.0.0.1", servers["lite"].grpc_port) as client:
        signature = client.metadata("lite_plain")["serving_default"]
        (name,) = signature["inputs"]
        assert name == signature["inputs"][name]["tensor"].partition(":")[0] and signature["inputs"][name]["shape"] == [
            1,
            2,
        ]
        assert len(signature["outputs"]) == 1, "outputs of one op fall onto one key"
        answer = client.predict("lite_plain", {name: numpy.array([[3, 1], [5, 7]], F)})
        assert next(iter(answer.values())).tolist() in ([4, 12], [2, -2]), "other batch sizes are served all the same"
    code, _kind, content = rest(servers["lite"], "POST", "/v1/models/lite_plain:predict", {"inputs": {"y": [[1, 2]]}})
    assert code == 400 and re.fullmatch(r"Missing named input: \S+ in 'inputs' object\.", json.loads(content)["error"])
    assert "No signature def found in TFLite model. Generating one." in servers["lite"].words()


def test_lite_faults(call):
    fault = fault_of(call, "lite", "lite", {"x": numpy.ones((1, 2))})
    assert (fault.code, fault.message) == ("INVALID_ARGUMENT", "Expects arg[0] to be float but double is provided")
    assert fault_of(call, "lite", "lite", {"x": numpy.ones((0, 2), F)}).code == "INVALID_ARGUMENT"
    for dimensions in (7, 8, 10, 16, 33):  # TensorFlow Lite dies of 8.
        assert (
            fault_of(call, "lite", "lite", {"x": numpy.ones((1,) * (dimensions - 1) + (2,), F)}).code
            == "INVALID_ARGUMENT"
        )
    fault = fault_of(call, "lite", "lite", {"x": numpy.ones((1, 3), F)})
    assert (fault.code, fault.message) == ("INTERNAL", "Failed to allocate tensors")
    assert call("lite", "lite", {"x": numpy.array([[3, 1]], F)})["sum"].tolist() == [4]


# --- Versions, start and end


def test_versions_come_and_go(serve, model_directory, tmp_path):
    base = tmp_path / "model"
    shutil.copytree(model_directory / "half_plus_two" / "1", base / "1")
    server = serve("--model_name=m", f"--model_base_path={base}", "--max_num_load_retries=0").ready()

    def states(client):
        return {one["version"]: one["state"] for one in client.status("m")}

    def wait(client, expected):
        end = time.monotonic() + 120
        while states(client) != expected and time.monotonic() < end:
            client.predict("m", {"x": numpy.ones((1, 1), F)})
            time.sleep(0.05)
        assert states(client) == expected

    with GrpcClient("127.0.0.1", server.grpc_port, 10) as client:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"\x0a\xffhalf of a model")
        wait(client, {1: "AVAILABLE", 2: "END"})
        assert client.status("m")[0]["error_code"] == "DATA_LOSS"
        assert client.status("m")[0]["error_message"] == f"Can't parse {base}/2/saved_model.pb as binary proto"
        shutil.copytree(model_directory / "half_plus_two" / "1", base / "staged")
        os.rename(base / "staged", base / "3")
        wait(client, {1: "END", 2: "END", 3: "AVAILABLE"})
        shutil.rmtree(base / "3")
        shutil.rmtree(base / "2")
        wait(client, {1: "AVAILABLE", 2: "END", 3: "END"})
    assert server.stop() == 143
    assert "Successfully loaded servable version {name: m version: 3}" in server.words()


@pytest.mark.parametrize(
    ("batching", "text"),
    [
        (
            None,
            "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        ),
        ("missing", "NOT_FOUND: FILE; No such file or directory"),
        ("", "INVALID_ARGUMENT: FILE; Invalid argument"),
        ("\n\n\n\n          batch_size: 3", "INVALID_ARGUMENT: Invalid protobuf file: 'FILE'"),
        ("max_batch_size: 8", "INVALID_ARGUMENT: Invalid protobuf file: 'FILE'"),
        ("num_batch_threads { value: 0 }", "INVALID_ARGUMENT: num_batch_threads must be positive; was 0"),
    ],
)
def test_starts_that_fail_over_batching(server_program, model_directory, tmp_path, batching, text):
    path = tmp_path / "batching.pbtxt"
    if batching not in (None, "missing"):
        path.write_text(batching, encoding="utf-8")
    code, said = run_to_end(
        server_program,
        "--model_name=m",
        f"--model_base_path={model_directory}/double",
        f"--batching_parameters_file={path}",
        *(["--enable_batching"] if batching is not None else []),
    )
    assert code == 255 and f"Failed to start server. Error: {text.replace('FILE', str(path))}\n" in said
    if batching and "batch_size: 3" in batching:
        assert (
            'Error parsing text-format tensorflow.serving.BatchingParameters: 5:11: Message type "tensorflow.serving.BatchingParameters" '
            'has no field named "batch_size".'
        ) in said


def run_to_end(program, *flags):
    done = subprocess.run(
        [sys.executable, program, *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="1"),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--version"], 0, "TensorFlow ModelServer: the embedded server of tfserving.fleet"),
        (["--help"], 255, "usage: "),
        (["--port=abc"], 255, "Couldn't interpret value abc for flag port.\n"),
        (
            [],
            255,
            "Failed to start server. Error: INVALID_ARGUMENT: Both server_options.model_base_path and server_options.model_config_file are empty!\n",
        ),
        (
            ["--port=0", "--model_base_path=/m"],
            255,
            "Failed to start server. Error: INVALID_ARGUMENT: At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.\n",
        ),
        (
            ["--model_name=m", "--model_base_path=models/m"],
            255,
            "Failed to start server. Error: INVALID_ARGUMENT: Expected model m to have an absolute path or URI; got base_path()=models/m\n",
        ),
        (
            ["--model_name=m", "--model_base_path=/m", "--grpc_max_threads=-10"],
            255,
            "Failed to start server. Error: INVALID_ARGUMENT: server_options.grpc_max_threads must be at least 1, is -10.",
        ),
        (
            ["--model_base_path=/m", "--platform_config_file=/x"],
            255,
            "Failed to start server. Error: UNIMPLEMENTED: --platform_config_file",
        ),
        (
            ["--model_base_path=/m"]
            + [f"--tensorflow_{part}_parallelism=1" for part in ("session", "intra_op", "inter_op")],
            255,
            "Failed to start server. Error: INVALID_ARGUMENT: Either configure server_options.tensorflow_session_parallelism or ",
        ),
    ],
)
def test_command_lines_that_end_at_once(server_program, flags, code, text):
    ended, said = run_to_end(server_program, *flags)
    assert ended == code and text in said


@pytest.fixture(scope="module", name="endings")
def servers_that_end(serve, model_directory, tmp_path_factory):
    """Servers whose ends are looked at, started side by side."""
    directory = tmp_path_factory.mktemp("endings")
    (directory / "broken" / "1").mkdir(parents=True)
    (directory / "broken" / "1" / "saved_model.pb").write_bytes(b"\x0a\xffno model")
    (directory / "garbage" / "1").mkdir(parents=True)
    (directory / "garbage" / "1" / "model.tflite").write_bytes(b"no flatbuffer at all")
    for name, text in (
        ("sizes", "max_batch_size { value: 8 }\nallowed_batch_sizes: 4\n"),
        ("crash", "max_batch_size { value: 0 }"),
        ("broken_text", "nonsense"),
    ):
        shutil.copytree(model_directory / "half_plus_two", directory / name)
        (directory / name / "1" / "batching_params.pbtxt").write_text(text, encoding="utf-8")
    at = {name: directory / name for name in ("broken", "garbage", "sizes", "crash", "broken_text")}
    once = "--max_num_load_retries=0"
    return directory, {
        "saved": serve(
            once, models={"broken": at["broken"], "no_flag": model_directory / "lite", "good": model_directory / "two"}
        ),
        "lite": serve(
            once, "--prefer_tflite_model", models={"garbage": at["garbage"], "half": model_directory / "lite_half"}
        ),
        "batching": serve(
            once,
            "--enable_batching",
            "--enable_per_model_batching_parameters=true",
            models={name: at[name] for name in ("sizes", "crash", "broken_text")},
        ),
        "retried": serve(
            "--model_name=broken",
            f"--model_base_path={at['broken']}",
            "--max_num_load_retries=2",
            "--load_retry_interval_micros=100000",
        ),
        "nowhere": serve(models={"nowhere": directory / "nowhere", "no_number": model_directory}),
    }


@pytest.mark.parametrize(
    ("server", "count", "text"),
    [
        (
            "saved",
            2,
            "{{name: broken version: 1} due to error: DATA_LOSS: Can't parse DIRECTORY/broken/1/saved_model.pb as binary proto}, ",
        ),
        (
            "saved",
            2,
            "{{name: no_flag version: 1} due to error: NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle "
            "(should have a file called `saved_model.pb`)\nSpecified file path: ",
        ),
        (
            "lite",
            2,
            "{{name: garbage version: 1} due to error: INVALID_ARGUMENT: Cannot build FlatBufferModel from buffer",
        ),
        ("lite", 2, "{{name: half version: 1} due to error: INTERNAL: Unknown TfLite type: 10}, "),
        (
            "batching",
            3,
            "{{name: sizes version: 1} due to error: INVALID_ARGUMENT: Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; "
            "expected 8}, ",
        ),
        (
            "batching",
            3,
            "{{name: crash version: 1} due to error: INVALID_ARGUMENT: input_batch_size_limit must be positive; was 0}, ",
        ),
        (
            "batching",
            3,
            "{{name: broken_text version: 1} due to error: INVALID_ARGUMENT: Invalid protobuf file: "
            "'DIRECTORY/broken_text/1/batching_params.pbtxt'}, ",
        ),
    ],
)
def test_loads_that_fail(endings, server, count, text):
    directory, servers = endings
    assert servers[server].ended() == 255
    said = (
        servers[server]
        .words()
        .partition(f"Failed to start server. Error: UNKNOWN: {count} servable(s) did not become available: {{")[2]
    )
    assert text.replace("DIRECTORY", str(directory)) in said


def test_loads_are_tried_again(endings):
    server = endings[1]["retried"]
    assert server.ended() == 255
    for text in ("retry: 1", "retry: 2", "exhausted max_num_retries: 2"):
        assert f"Retrying of Loading servable: {{name: broken version: 1}} {text}" in server.words()


def test_ports_stay_closed_while_there_is_no_version(endings):
    directory, servers = endings
    servers["nowhere"].wait_for(
        f"Could not find base path {directory}/nowhere for servable nowhere with error NOT_FOUND: "
    )
    servers["nowhere"].wait_for(
        r"No versions of servable no_number found under base path \S+\. Did you forget to name your leaf directory as a number "
        r"\(eg\. '/1/'\)\?"
    )
    assert servers["nowhere"].process.poll() is None and "Running gRPC" not in servers["nowhere"].words()
    assert servers["nowhere"].stop() == 143


def first_answer(server, model, inputs):
    """The answer to a request that is sent again and again while the server starts."""
    with GrpcClient("127.0.0.1", server.grpc_port) as client:
        while True:
            try:
                return client.predict(model, inputs)
            except ServerFault as fault:
                assert fault.code == "UNAVAILABLE" and server.process.poll() is None, (fault, server.words())
                time.sleep(0.05)


def test_unknown_words_are_named_once_and_ignored_and_an_idle_server_ends(serve, model_directory):
    server = serve(
        "--model_name=m",
        f"--model_base_path={model_directory}/half_plus_two",
        "--use_tflite_model=true",
        "foo",
        f"-port={ports.free()}",
        "--model_name",
        "zork",
        TFSERVING_EMBEDDED_IDLE_EXIT_S="3",
    ).wait_for("usage: ")
    assert (
        server.words().count("unknown argument: ") == 1
        and "unknown argument: --use_tflite_model=true\nusage: " in server.words()
    )
    assert first_answer(server, "m", {"x": numpy.ones((1, 1), F)})["y"].tolist() == [[2.5]]
    assert server.ended() == 0 and "No request for 3 s" in server.words()


def test_more_calls_than_threads_are_refused(servers):
    """The plain server serves 4 x CPUs calls at once; the others of a burst of slow ones are refused, and the next good one is served."""
    most = 4 * len(os.sched_getaffinity(0))

    with GrpcClient("127.0.0.1", servers["plain"].grpc_port, 60) as client, ThreadPoolExecutor(3 * most) as pool:
        asked = [pool.submit(client.predict, "double", {"x": numpy.ones((1, 4), F)}) for _request in range(6 * most)]
        refused = [one.exception() for one in asked if one.exception()]
        assert {(fault.code, fault.message) for fault in refused} == {
            ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
        }
        assert len(refused) < len(asked)
        assert client.predict("double", {"x": numpy.ones((1, 4), F)})["y"].tolist() == [[2, 2, 2, 2]]


def test_requests_in_flight_are_finished(serve, model_directory):
    server = serve("--model_name=m", f"--model_base_path={model_directory}/double").ready()
    with GrpcClient("127.0.0.1", server.grpc_port, 30) as client, ThreadPoolExecutor(4) as pool:
        client.predict("m", {"x": numpy.ones((1, 4), F)})
        asked = [pool.submit(client.predict, "m", {"x": numpy.ones((1, 4), F)}) for _request in range(4)]
        time.sleep(0.02)
        assert server.stop() == 143
        answers = [one.exception() or one.result() for one in asked]
    assert any(isinstance(answer, dict) for answer in answers), answers
    assert all(isinstance(answer, dict) or answer.code == "UNAVAILABLE" for answer in answers)


def test_rest_requests_in_flight_are_answered_to_the_last_byte(serve, model_directory):
    """All are on the server when the signal comes: each client has seen that its head was read. It sends the rest after the signal."""
    server = serve("--model_name=m", f"--model_base_path={model_directory}/double", "--rest_api_num_threads=2").ready()
    body = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
    clients = 6  # One works at a time, some 20 ms each.
    accepted, ending = threading.Barrier(clients + 1), threading.Event()

    def ask():
        with (
            socket.create_connection(("127.0.0.1", server.rest_port), timeout=300) as connection,
            connection.makefile("rb") as answer,
        ):
            connection.sendall(
                b"POST /v1/models/m:predict HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                % len(body)
            )
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            accepted.wait(60)
            ending.wait(60)
            connection.sendall(body)
            return answer.read()

    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(ask) for _request in range(clients)]
        accepted.wait(60)
        server.process.send_signal(signal.SIGTERM)
        ending.set()
        answers = [one.result() for one in asked]
    assert server.stop() == 143
    assert all(b" 200 OK" in answer and b'"y": [2.0, 4.0, 6.0, 8.0]' in answer for answer in answers), answers


def test_a_used_port_is_a_start_failure(serve, servers, model_directory):
    server = serve(
        "--model_name=m", f"--model_base_path={model_directory}/half_plus_two", f"--port={servers['plain'].grpc_port}"
    )
    assert server.ended() == 255
    assert (
        f"Failed to start server. Error: UNAVAILABLE: Couldn't bind to port {servers['plain'].grpc_port}"
        in server.words()
    )
