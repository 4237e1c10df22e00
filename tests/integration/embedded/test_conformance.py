# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay what a real TensorFlow Serving answered against the embedded server, without and with batching.

tests/fixtures/conformance/exchanges.jsonl.gz has one exchange a line: what was sent and what a TensorFlow Serving 2.20.0 answered on a CPU on which
TensorFlow leaves oneDNN off ("batching" only where that answer differs, null where none was recorded). A "kind" says that the embedded server may
answer otherwise, and why; docs/embedded-server.md lists these kinds. Bytes are texts in latin-1, long ones {"zlib": base64}; numbers among them are
seconds to wait.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import socket
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

grpc = pytest.importorskip("grpc")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, wire
from ansible_collections.tfserving.fleet.tests.support import made

HERE = Path(__file__).resolve().parent
RECORDED = HERE.parents[1] / "fixtures/conformance/exchanges.jsonl.gz"
with gzip.open(RECORDED, "rt", encoding="utf-8") as stream:
    EXCHANGES = [json.loads(line) for line in stream]
# What RFC 9112 tells a server to refuse (3.2, 5.1, 5.2, 6.1, 6.3; RFC 9110, 5.5) is refused here, whatever the real server does; it also waits for bodies
# that are too large, and takes what follows a length that is too short for a method.
STRICT_HTTP = {
    f"http/{name}"
    for name in (
        "http11-no-host header-space-before-colon header-folded header-nul te-unknown chunked-and-length length-plus length-twice-differs "
        "length-huge length-4g length-short"
    ).split()
}
for exchange in EXCHANGES:
    if exchange["id"] in STRICT_HTTP:
        exchange["kind"] = "strict-http"
    elif exchange.get("kind") == "strict-http":
        del exchange["kind"]
MODELS = (
    "half est two text dtypes scalar nobatch anyrank ragged vocab control slow special names keras conv embed flat one counter sparse "
    "lite lite2 lite3 versions labels latest"
).split()
POLICIES = {
    "versions": "model_version_policy { all {} }",
    "labels": "model_version_policy { specific { versions: 1 versions: 3 } } "
    'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 3 }',
}
FLAGS = (
    "--prefer_tflite_model=true",
    "--allow_version_labels_for_unavailable_models=true",
    "--enable_grpc_healthcheck_service=true",
    "--file_system_poll_wait_seconds=0",
)
BATCHING = (
    "max_batch_size { value: 4 } batch_timeout_micros { value: 1000 } max_enqueued_batches { value: 100 } num_batch_threads { value: 2 } "
    "allowed_batch_sizes: 2 allowed_batch_sizes: 4 pad_variable_length_inputs: true"
)
# How many of the recorded exchanges may differ, by kind.
MAY_DIFFER = {
    "big-int-text": 3,
    "deep": 4,
    "hang": 1,
    "hash-order": 2,
    "huge-number": 1,
    "large-shape": 3,
    "lite-dtype": 1,
    "methods": 3,
    "metrics-query": 1,
    "nan-sign": 1,
    "nul-in-text": 1,
    "parse-text": 3,
    "sparse": 2,
    "strict-http": 11,
    "surrogates": 3,
    "tensor-text": 3,
    "timing": 1,
    "unimplemented-text": 8,
    "upper-hex": 1,
    "uri": 3,
    "version-text": 2,
}
# Parts of an answer that depend on the machine or on how the model was saved: the node that failed, of two that fail the first, and the place in a text.
UNSTABLE = re.compile(
    r"\n\t \[\[.*| at offset: \d+|(?<=^tensor parsing error): .*|(?<=^indices)\[\d+\] = \d+", re.DOTALL
)
# Models whose numbers differ in their last digits from CPU to CPU.
NETWORK, NUMBER = (
    re.compile(r"models/(?:keras|conv|embed|flat|one)\b|\n.(?:keras|conv|embed|flat|one)\x12"),
    re.compile(r"-?\d+\.\d{5,}"),
)
RESPONSES = {
    grpc_api.PREDICT: "PredictResponse",
    grpc_api.CLASSIFY: "ClassificationResponse",
    grpc_api.REGRESS: "RegressionResponse",
    grpc_api.MULTI_INFERENCE: "MultiInferenceResponse",
    grpc_api.GET_MODEL_METADATA: "GetModelMetadataResponse",
    grpc_api.GET_MODEL_STATUS: "GetModelStatusResponse",
}


@pytest.fixture(scope="module", params=["plain", "batching"])
def served(request, serve, tmp_path_factory):
    """(mode, server)."""
    models = made.by_program(HERE / "make_conformance_models.py", *made.versions("keras"))
    folder, flags = tmp_path_factory.mktemp("conformance"), FLAGS
    listed = "".join(
        f'config {{ name: "{name}" base_path: "{models}/{name}" model_platform: "tensorflow" {POLICIES.get(name, "")} }}\n'
        for name in MODELS
    )
    files = {
        "model_config_file": f"model_config_list {{ {listed} }}",
        "monitoring_config_file": "prometheus_config { enable: true }",
    }
    if request.param == "batching":
        files["batching_parameters_file"], flags = BATCHING, (*flags, "--enable_batching")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        flags = (*flags, f"--{name}={folder / name}")
    server = serve(*flags, TF_ENABLE_ONEDNN_OPTS="0").ready()
    return request.param, server


def test_every_recorded_exchange_is_answered_as_recorded(served):
    mode, server = served
    different = {}
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", [("grpc.max_receive_message_length", -1)]) as channel:
        if mode == "plain":
            count_to(channel, 2.5)  # What raised the counter before is not among the records.
        for exchange in EXCHANGES:
            recorded = exchange.get(mode, exchange["plain"])
            if recorded is None:
                continue
            answer = rest(server, exchange) if "send" in exchange else call(channel, exchange)
            was, now = comparable(exchange, recorded), comparable(exchange, answer)
            if was != now and "kind" not in exchange:
                different[exchange["id"]] = f"recorded: {was}\nembedded: {now}"
    assert different == {}, "\n".join(f"{name}\n{text}" for name, text in different.items())


def slow_call(channel, steps, timeout_s):
    """The code that a call gets which multiplies so many matrices."""
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "slow"
    request.inputs["n"].dtype = 3
    request.inputs["n"].tensor_shape.dim.add(size=1)
    request.inputs["n"].int_val.append(steps)
    try:
        channel.unary_unary(grpc_api.PREDICT)(request.SerializeToString(), timeout=timeout_s)
    except grpc.RpcError as fault:
        return fault.code().name
    return "OK"


def test_calls_beyond_the_threads_are_refused(served):
    """A TensorFlow Serving 2.20.0 refused 39 to 48 % of the calls where 16 were in flight on 2 CPUs, which are 8 threads."""
    threads = 4 * len(os.sched_getaffinity(0))
    with grpc.insecure_channel(f"127.0.0.1:{served[1].grpc_port}") as channel, ThreadPoolExecutor(2 * threads) as pool:
        codes = Counter(pool.map(lambda _call: slow_call(channel, 20000, 120), range(2 * threads)))
    assert codes == {"OK": threads, "RESOURCE_EXHAUSTED": threads}


def test_a_deadline_stops_the_computation(served):
    """As a TensorFlow Serving 2.20.0 did, with and without batching: idle after the deadline."""

    def cpu_s():
        fields = Path(f"/proc/{served[1].process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    with grpc.insecure_channel(f"127.0.0.1:{served[1].grpc_port}") as channel:
        assert slow_call(channel, 5_000_000, 0.4) == "DEADLINE_EXCEEDED"
    time.sleep(1)
    before = cpu_s()
    time.sleep(1)
    assert cpu_s() - before < 0.2


def test_the_kinds_of_exchanges_that_may_differ_are_few_and_known():
    assert Counter(exchange["kind"] for exchange in EXCHANGES if "kind" in exchange) == MAY_DIFFER


def content(value):
    return zlib.decompress(base64.b64decode(value["zlib"])) if isinstance(value, dict) else value.encode("latin-1")


def count_to(channel, value):
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = "counter", "incr_by"
    request.inputs["delta"].dtype = 1
    request.inputs["delta"].float_val.append(value)
    channel.unary_unary(grpc_api.PREDICT)(request.SerializeToString(), timeout=30)


# --- REST, byte by byte


def rest(server, exchange):
    """What the embedded server answers, in the form of a record."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
        connection.settimeout(2 if exchange["id"] == "http/chunked-huge" else 20)
        stream, found = connection.makefile("rb"), {"answers": []}
        with contextlib.suppress(ConnectionError):
            for piece in exchange["send"]:
                if isinstance(piece, (int, float)):
                    time.sleep(piece)
                else:
                    connection.sendall(content(piece))
        if exchange.get("half_close"):
            connection.shutdown(socket.SHUT_WR)
        try:
            while len(found["answers"]) < exchange.get("answers", 1):
                answer = read_answer(stream, exchange.get("head"))
                if answer is None:
                    found["end"] = "closed"
                    return found
                if answer[0] == 100:
                    found["continued"] = True
                else:
                    found["answers"].append(answer)
            if exchange.get("probe"):
                connection.sendall(b"GET /v1/models/half HTTP/1.1\r\nHost: localhost\r\n\r\n")
                after = read_answer(stream, False)
                found["after"] = after[0] if after else "closed"
        except TimeoutError:
            found["end"] = "timeout"
        except ConnectionError:
            found["after" if found["answers"] else "end"] = "closed"
        return found


def read_answer(stream, head):
    """[status, headers, body], or None where the connection was closed."""
    line = stream.readline()
    if not line:
        return None
    headers = {}
    while (header := stream.readline().strip()) != b"":
        name, _colon, value = header.decode("latin-1").partition(": ")
        headers[name] = value
    length, status = headers.pop("Content-Length", None), int(line.split()[1])
    headers.pop("Date", None)
    body = b"" if head or status == 100 else stream.read(int(length)) if length else stream.read()
    return [status, headers, body.decode("latin-1")]


# --- gRPC


def call(channel, exchange):
    """What the embedded server answers, in the form of a record."""
    more = {
        "timeout": exchange.get("timeout", 60),
        "metadata": [
            (key, base64.b64decode(value) if key.endswith("-bin") else value)
            for key, value in exchange.get("metadata", ())
        ],
    }
    if "compression" in exchange:
        more["compression"] = getattr(grpc.Compression, exchange["compression"].capitalize())
    found = {"code": "OK"}
    try:
        if exchange.get("stream"):
            found["stream"] = []
            for answer in channel.unary_stream(exchange["method"])(content(exchange["content"]), **more):
                found["stream"].append(answer.decode("latin-1"))
        else:
            answer = channel.unary_unary(exchange["method"])(content(exchange["content"]), **more)
            found["content"] = answer.decode("latin-1")
    except grpc.RpcError as fault:
        found.update(code=fault.code().name)
        if fault.details():
            found.update(message=fault.details())
    return found


# --- What is compared


def comparable(exchange, answer):
    """An answer without what a client does not read or what varies in the real server itself: the order of members and maps."""
    if "answers" in answer:
        return dict(
            answer, answers=[[status, headers, body_of(exchange, body)] for status, headers, body in answer["answers"]]
        )
    if answer["code"] == "DEADLINE_EXCEEDED":
        return dict(answer, message="")
    if answer["code"] != "OK":
        return dict(answer, message=UNSTABLE.sub("", answer.get("message", "")))
    if "content" not in answer or exchange["method"] not in RESPONSES:
        return answer
    response = wire.message(f"tensorflow.serving.{RESPONSES[exchange['method']]}").FromString(
        content(answer["content"])
    )
    if exchange["method"] == grpc_api.GET_MODEL_METADATA:
        kind = wire.message("tensorflow.serving.SignatureDefMap")
        return str(response.model_spec), {
            name: str(kind.FromString(value.value)) for name, value in response.metadata.items()
        }
    return rounded(exchange, str(response))


def rounded(exchange, text):
    """A text with four digits of each number, where the model is a network."""
    sent = content(exchange["send"][0] if "send" in exchange else exchange["content"]).decode("latin-1")
    return NUMBER.sub(lambda number: f"{float(number[0]):.4g}", text) if NETWORK.search(sent) else text


def body_of(exchange, body):
    text = rounded(exchange, content(body).decode("latin-1"))
    if text.startswith('{\n    "error": '):
        return UNSTABLE.sub("", json.loads(text)["error"])
    return sorted(line.rstrip(",") for line in text.split("\n"))
