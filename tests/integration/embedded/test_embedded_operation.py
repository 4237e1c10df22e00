# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators do with the embedded server: metrics, warm-up, TLS, a socket, clients that misbehave. Names, texts and codes are those of a real
TensorFlow Serving 2.20.0."""

from __future__ import annotations

import datetime
import gzip
import http.client
import ipaddress
import os
import re
import shutil
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

grpc = pytest.importorskip("grpc")
numpy = pytest.importorskip("numpy")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import (
    GrpcClient,
    encode_tensor,
    predict_request,
    predict_response,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

ONES = {"x": numpy.ones((1, 1), "float32")}
BATCHING = "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 1000 }\nnum_batch_threads { value: 2 }\nallowed_batch_sizes: 4\nallowed_batch_sizes: 8\n"


def page(server, path="/monitoring/prometheus/metrics"):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    return response.status, response.getheader("Content-Type"), content


# --- Warm-up


def crc32c(content):
    """CRC-32C by its definition: polynomial 0x1EDC6F41, reflected."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tf_record(content):
    """A record as TensorFlow writes it: length, its masked checksum, content, its masked checksum."""

    def masked(part):
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def predict_log(rows=1, name="x", model="another"):
    log = wire.message("tensorflow.serving.PredictionLog")()
    log.predict_log.request.model_spec.name = model
    log.predict_log.request.model_spec.version.value = 7
    encode_tensor(numpy.ones((rows, 1), "float32"), into=log.predict_log.request.inputs[name])
    return log.SerializeToString()


def examples_log(kind, signature):
    """A record of a Classify, Regress or MultiInference (of one task) with one example."""
    log = wire.message("tensorflow.serving.PredictionLog")()
    request = getattr(log, f"{kind}_log").request
    if kind == "multi_inference":
        spec = request.tasks.add(method_name="tensorflow/serving/classify").model_spec
    else:
        spec = request.model_spec
    spec.name, spec.signature_name = "another", signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2)
    return log.SerializeToString()


@pytest.fixture(scope="module", name="warmed")
def servers_with_warm_up(serve, model_directory, tmp_path_factory):
    """(folder, {name: server}): good serves, bad ends for many reasons, ignored has the same models as bad."""
    folder, one = tmp_path_factory.mktemp("warm"), tf_record(predict_log())
    records = {
        "three": one + tf_record(predict_log(3)) + tf_record(b""),
        "thousand": one * 1000,
        "garbage": b"no records at all",
        "cut": one[:-5],
        "torn": one + b"and no record after it",
        "wrong": tf_record(predict_log(name="nokey")),
        "many": one * 1001,
        "large": tf_record(predict_log(9)),
        "examples": b"".join(
            tf_record(examples_log(kind, signature))
            for kind, signature in (("classify", "classify"), ("regress", "column"), ("multi_inference", "classify"))
        ),
        "misnamed": tf_record(examples_log("regress", "classify")),
        "unclassified": tf_record(examples_log("classify", "nope")),
        "session": tf_record(b"\x2a\x02\x0a\x00"),
        "unreadable": tf_record(b"\xff\xff"),
    }
    for name, content in records.items():
        shutil.copytree(
            model_directory / ("over_examples" if name in ("examples", "misnamed") else "half_plus_two"), folder / name
        )
        (folder / name / "1" / "assets.extra").mkdir()
        (folder / name / "1" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(content)
    (folder / "batching").write_text(BATCHING, encoding="utf-8")
    (folder / "monitoring").write_text("prometheus_config { enable: true }", encoding="utf-8")
    batched = ("--enable_batching", f"--batching_parameters_file={folder}/batching", "--max_num_load_retries=0")
    good = ("three", "thousand", "examples")
    bad = {name: folder / name for name in records if name not in good}
    return folder, {
        "good": serve(
            *batched,
            f"--monitoring_config_file={folder}/monitoring",
            "--num_request_iterations_for_warmup=2",
            models={name: folder / name for name in good},
        ),
        "bad": serve(*batched, "--enable_signature_method_name_check=true", models=bad),
        "ignored": serve(*batched, "--enable_model_warmup=false", models=bad),
    }


def test_warm_up_is_replayed_before_a_model_serves(warmed):
    folder, servers = warmed
    said = servers["good"].ready().words()
    for name, count in (("three", 3), ("thousand", 1000), ("examples", 3)):
        file = re.escape(f"{folder}/{name}/1/assets.extra/tf_serving_warmup_requests")
        assert re.search(rf"Starting to read warmup data for model at {file}", said)
        assert re.search(
            rf"Finished reading warmup data for model at {file}\. Number of warmup records read: {count}\. Elapsed time \(microseconds\): \d+\.",
            said,
        )
    metrics = page(servers["good"])[2]
    assert f':tensorflow:serving:model_warmup_records_read{{model_path="{folder}/three/1",status="OK"}} 3\n' in metrics
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 2010\n" in metrics, (
        "two records, 1000 and three, twice each, through the batches"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "wrong",
            "INVALID_ARGUMENT: Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs expected to be in the "
            "request {nokey}, or default input alias set: }",
        ),
        (
            "many",
            "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at FOLDER/many/1/assets.extra/tf_serving_warmup_requests}",
        ),
        ("large", "INVALID_ARGUMENT: Task size 9 is larger than maximum input batch size 8}"),
        (
            "misnamed",
            "INVALID_ARGUMENT: Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify}",
        ),
        ("unclassified", "INVALID_ARGUMENT: No signature was found with the name: nope}"),
        ("session", "UNIMPLEMENTED: Unsupported log_type for warmup: 5}"),
        ("unreadable", "INVALID_ARGUMENT: Failed to parse warmup record: "),
        (
            "garbage",
            "DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?). Please verify your warmup data is in TFRecord format.}",
        ),
        (
            "cut",
            "DATA_LOSS: truncated record at 0' failed with Read less bytes than requested. Please verify your warmup data is in TFRecord format.}",
        ),
        (
            "torn",
            f"DATA_LOSS: corrupted record at {len(tf_record(predict_log()))}. Please verify your warmup data is in TFRecord format.}}",
        ),
    ],
)
def test_a_wrong_record_fails_the_load(warmed, name, text):
    folder, servers = warmed
    assert servers["bad"].ended() == 255
    said = (
        servers["bad"]
        .words()
        .partition("Failed to start server. Error: UNKNOWN: 10 servable(s) did not become available: ")[2]
    )
    assert f"{{name: {name} version: 1}} due to error: {text.replace('FOLDER', str(folder))}" in said


def test_warm_up_can_be_turned_off(warmed):
    assert "warmup data" not in warmed[1]["ignored"].ready().words()


# --- Metrics


@pytest.fixture(scope="module", name="measured")
def server_with_metrics(serve, model_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "batching").write_text(BATCHING, encoding="utf-8")
    (folder / "monitoring").write_text('prometheus_config { enable: true path: "/metrics" }', encoding="utf-8")
    return serve(
        "--model_name=m",
        f"--model_base_path={model_directory}/half_plus_two",
        "--enable_batching",
        f"--batching_parameters_file={folder}/batching",
        f"--monitoring_config_file={folder}/monitoring",
        "--grpc_max_threads=64",
    ).ready()


def test_requests_over_examples_are_counted(warmed):
    """Labels as on a real server's page after a Regress over REST."""
    server = warmed[1]["good"].ready()
    body = b'{"signature_name": "column", "examples": [{"x": 1.0}]}'
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port)
    connection.request("POST", "/v1/models/examples:regress", body)
    assert connection.getresponse().status == 200
    connection.close()
    request = wire.message("tensorflow.serving.RegressionRequest")()
    request.model_spec.name, request.model_spec.signature_name = "examples", "column"
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(2)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        channel.unary_unary(grpc_api.REGRESS)(request.SerializeToString(), timeout=30)
    after = page(server)[2]
    for line in (
        'request_count{model_name="examples",status="OK"} 2',
        'request_latency_count{model_name="examples",API="regress",entrypoint="REST"} 1',
        'request_latency_count{model_name="examples",API="Regress",entrypoint="GRPC"} 1',
        'runtime_latency_count{model_name="examples",API="Regress",runtime="TF1"} 2',
    ):
        assert f":tensorflow:serving:{line}\n" in after


def test_metrics_have_the_names_of_the_real_server(measured):
    code, kind, before = page(measured, "/metrics")
    assert (code, kind) == (200, "text/plain") and page(measured)[0] == 404, "at the path of the file, and there alone"
    for name in (
        "request_latency",
        "runtime_latency",
        "model_warmup_latency",
        *(
            f"batching_session:{one}"
            for one in ("input_batch_size", "processed_batch_size", "padding_size", "queuing_latency")
        ),
    ):
        assert f"# TYPE :tensorflow:serving:{name} histogram\n" in before
    for name in ("request_count", "model_warmup_records_read", "batching_session:wrapped_run_count"):
        assert f"# TYPE :tensorflow:serving:{name} counter\n" in before
    assert "model_name" not in before, "samples come only after use"
    with GrpcClient("127.0.0.1", measured.grpc_port) as client:
        for _request in range(3):
            client.predict("m", {"x": numpy.ones((3, 1), "float32")})
        for model, inputs in (("nope", ONES), ("m", {"x": numpy.ones((9, 1), "float32")})):
            with pytest.raises(ServerFault):
                client.predict(model, inputs)
    connection = http.client.HTTPConnection("127.0.0.1", measured.rest_port)
    for path in ("/v1/models/m:predict", "/v1/models/m:classify"):
        connection.request("POST", path, b'{"instances": [1.0, 2.0, 3.0, 4.0, 5.0]}')
        connection.getresponse().read()
    connection.close()
    after = page(measured, "/metrics")[2]
    samples = dict(line.rsplit(" ", 1) for line in after.splitlines() if not line.startswith("#"))
    serving, batching = ":tensorflow:serving:", ":tensorflow:serving:batching_session:"
    assert {key: value for key, value in samples.items() if key.startswith(f"{serving}request_count")} == {
        f'{serving}request_count{{model_name="m",status="OK"}}': "4",
        f'{serving}request_count{{model_name="m",status="INVALID_ARGUMENT"}}': "2",
        f'{serving}request_count{{model_name="nope",status="NOT_FOUND"}}': "1",
    }
    for labels, count in (('API="Predict",entrypoint="GRPC"', "3"), ('API="predict",entrypoint="REST"', "1")):
        assert samples[f'{serving}request_latency_count{{model_name="m",{labels}}}'] == count
        assert samples[f'{serving}request_latency_bucket{{model_name="m",{labels},le="+Inf"}}'] == count
    limits = re.findall(r'request_latency_bucket\{model_name="m",API="predict",entrypoint="REST",le="(.*?)"', after)
    assert limits[:4] == ["10", "18", "32.4", "58.32"] and len(limits) == 34
    assert samples[f'{serving}runtime_latency_count{{model_name="m",API="Predict",runtime="TF1"}}'] == "4"
    # Three batches of 3 rows, padded by 1 to 4, and one of 5, padded by 3 to 8; the request of 9 rows counts, yet never came to a batch. What equals a limit
    # belongs to the bucket above it.
    assert samples[f"{batching}wrapped_run_count{{}}"] == "4"
    assert (
        samples[f"{batching}input_batch_size_sum{{}}"] == "23"
        and samples[f"{batching}input_batch_size_count{{}}"] == "5"
    )
    assert samples[f"{batching}processed_batch_size_sum{{}}"] == "20"
    assert [samples[f'{batching}processed_batch_size_bucket{{le="{limit}"}}'] for limit in (4, 8, 16)] == [
        "0",
        "3",
        "4",
    ]
    assert [samples[f'{batching}padding_size_sum{{execution_batch_size="{size}"}}'] for size in (4, 8)] == ["3", "3"]
    assert samples[f'{batching}queuing_latency_count{{thread_pool_name=""}}'] == "4"


# --- Clients that misbehave


def test_large_requests(measured, serve, model_directory):
    server = serve("--model_name=k", f"--model_base_path={model_directory}/kilobytes").ready()
    rows = numpy.ones((16384, 1024), "float32")  # 64 MiB
    with GrpcClient("127.0.0.1", server.grpc_port, 60) as client:
        assert client.predict("k", {"x": rows})["y"].sum() == 2 * rows.size
    for headers, body, code in (
        ({"Content-Encoding": "gzip"}, gzip.compress(b" " * (101 << 20), 1), 400),
        ({"Content-Length": str(10**15)}, b"{", 400),
        ({"Content-Length": "-1"}, b"{", 400),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", measured.rest_port, timeout=60)
        connection.request("POST", "/v1/models/m:predict", body, headers)
        assert connection.getresponse().status == code
        connection.close()


def threads_of(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


def test_clients_that_vanish_cost_nothing(measured):
    with GrpcClient("127.0.0.1", measured.grpc_port, 30) as client:
        client.predict("m", ONES)
        before = threads_of(measured)

        def vanish(number):
            if number % 2:
                with socket.create_connection(("127.0.0.1", measured.rest_port)) as connection:
                    whole = b'{"instances": [[1.0]]}'
                    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nContent-Length: {len(whole) + (5 if number % 4 == 1 else 0)}\r\n\r\n".encode()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.sendall(head + whole)
            else:
                with grpc.insecure_channel(
                    f"127.0.0.1:{measured.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
                ) as channel:
                    channel.unary_unary(grpc_api.PREDICT).future(predict_request("m", ONES), timeout=10).cancel()

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(vanish, range(60)))
        end = time.monotonic() + 120
        while threads_of(measured) > before + 8 and time.monotonic() < end:
            time.sleep(0.1)
        assert threads_of(measured) <= before + 8
        assert client.predict("m", ONES)["y"].tolist() == [[2.5]]


def test_batch_threads_rest_when_nobody_asks(measured):
    """A real server's batch threads look for work each millisecond, 2 to 3 % of a CPU for each."""

    def cpu_s():
        with open(f"/proc/{measured.process.pid}/stat", encoding="utf-8") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    with GrpcClient("127.0.0.1", measured.grpc_port, 30) as client:
        client.predict("m", ONES)
        time.sleep(11)
        before = cpu_s()
        time.sleep(3)
        assert cpu_s() - before <= 0.03
        with ThreadPoolExecutor(8) as pool:
            assert all(
                answer["y"].tolist() == [[2.5]]
                for answer in pool.map(lambda _request: client.predict("m", ONES), range(40))
            )


# --- TLS and the socket


def certificate(name, issuer=None):
    """(key, certificate, key object, certificate object) in PEM text, for 127.0.0.1, signed by the issuer or by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
        datetime.datetime.now(datetime.timezone.utc),
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[3].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[2] if issuer else key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode(), made.public_bytes(serialization.Encoding.PEM).decode(), key, made


def tls_file(path, **fields):
    path.write_text(
        "".join(
            f"{name}: {value}\n" if name == "client_verify" else f"{name}: {_quoted(value)}\n"
            for name, value in fields.items()
        ),
        encoding="utf-8",
    )
    return f"--ssl_config_file={path}"


def _quoted(text):
    return '"' + text.replace("\n", "\\n") + '"'


def test_tls(serve, model_directory, tmp_path):
    ours, client, foreign = certificate("server"), certificate("clients"), certificate("foreign")
    model = ("--model_name=m", f"--model_base_path={model_directory}/half_plus_two")
    server = serve(
        *model,
        tls_file(tmp_path / "tls", server_key=ours[0], server_cert=ours[1], custom_ca=client[1], client_verify="true"),
    )
    garbage = serve(*model, tls_file(tmp_path / "garbage", server_key="no key", server_cert="no certificate"))
    missing = serve(*model, f"--ssl_config_file={tmp_path}/missing")
    nobody = serve(*model, tls_file(tmp_path / "nobody", server_key=ours[0], server_cert=ours[1], client_verify="true"))

    def ask(credentials):
        channel = (
            grpc.secure_channel(f"127.0.0.1:{server.grpc_port}", credentials)
            if credentials
            else grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        )
        with channel:
            try:
                return predict_response(channel.unary_unary(grpc_api.PREDICT)(predict_request("m", ONES), timeout=20))[
                    "y"
                ].tolist()
            except grpc.RpcError as fault:
                return fault.code().name

    assert "Using SSL credentials" in server.ready().words()
    signed = certificate("client", client)
    roots = ours[1].encode()
    assert ask(grpc.ssl_channel_credentials(roots, signed[0].encode(), signed[1].encode())) == [[2.5]]
    assert ask(grpc.ssl_channel_credentials(roots)) == "UNAVAILABLE", "without a certificate"
    assert ask(grpc.ssl_channel_credentials(roots, foreign[0].encode(), foreign[1].encode())) == "UNAVAILABLE"
    assert (
        ask(grpc.ssl_channel_credentials(foreign[1].encode(), signed[0].encode(), signed[1].encode())) == "UNAVAILABLE"
    )
    assert ask(None) == "UNAVAILABLE", "without TLS"
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("GET", "/v1/models/m")
    assert connection.getresponse().status == 200, "REST stays plain"
    connection.close()
    for failed, text in (
        (garbage, "INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"),
        (missing, f"NOT_FOUND: {tmp_path}/missing; No such file or directory"),
        (nobody, f"INVALID_ARGUMENT: {tmp_path}/nobody has client_verify without custom_ca"),
    ):
        assert failed.ended() == 255 and f"Failed to start server. Error: {text}" in failed.words()


def test_a_socket_in_place_of_a_port(serve, model_directory, tmp_path):
    path = tmp_path / "grpc.sock"
    for number in (signal.SIGKILL, signal.SIGTERM):  # What a killed server left is no obstacle.
        server = serve(
            "--model_name=m",
            f"--model_base_path={model_directory}/half_plus_two",
            "--port=0",
            "--rest_api_port=0",
            f"--grpc_socket_path={path}",
        )
        assert f"Running gRPC ModelServer at UNIX socket {path} ..." in server.ready().words()
        assert "Exporting HTTP" not in server.words() and "Skipped exporting" not in server.words()
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert predict_response(channel.unary_unary(grpc_api.PREDICT)(predict_request("m", ONES), timeout=20))[
                "y"
            ].tolist() == [[2.5]]
        server.stop(number)


def test_a_signal_that_another_thread_gets_ends_the_server(serve, model_directory):
    """The kernel gives a signal to the thread whose id is named if it can (kernel/signal.c, complete_signal)."""
    server = serve("--model_name=m", f"--model_base_path={model_directory}/half_plus_two").ready()
    last = max(map(int, os.listdir(f"/proc/{server.process.pid}/task")))
    assert last != server.process.pid
    os.kill(last, signal.SIGTERM)
    assert server.ended(30) == 143
