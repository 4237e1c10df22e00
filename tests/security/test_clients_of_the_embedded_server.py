# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that are broken, or that want to silence the embedded server, to take its memory, or to hide one request in another."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import random
import resource
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.security import http_framings
from ansible_collections.tfserving.fleet.tests.support import embedded, made

grpc = pytest.importorskip("grpc")
numpy = pytest.importorskip("numpy")
pytest.importorskip("tensorflow")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient, encode_tensor

MODELS = Path(__file__).resolve().parents[1] / "integration" / "make_models.py"
GOOD = http_framings.post(http_framings.LENGTH)
MIB = 1 << 20
# What answers within 1 s on a machine with nothing else to do may take this long on one that is busy.
SOON_S = 15


@pytest.fixture(scope="module", name="start")
def start_servers(tmp_path_factory):
    """start(**environment): an embedded server that loads a model of half the input plus two, and does not listen yet."""
    base = made.by_program(MODELS) / "half_plus_two"
    with embedded.Servers(tmp_path_factory.mktemp("servers")) as servers:
        monitoring = servers.directory / "monitoring.config"
        monitoring.write_text('prometheus_config { enable: true path: "/metrics" }', encoding="utf-8")
        flags = ("--model_name=half", f"--model_base_path={base}", f"--monitoring_config_file={monitoring}")
        yield lambda **environment: servers.start(*flags, **environment)


@pytest.fixture(scope="module")
def server(start):
    return start().ready()


@pytest.fixture
def many():
    """many(count, port): so many connections, which end with the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    with contextlib.ExitStack() as stack:
        yield lambda count, port: [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _one in range(count)
        ]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def exchange(port, sent, timeout_s=SOON_S):
    """[(status, whether the server closes, body)] of all answers to some bytes, after which the client sends nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
        with contextlib.suppress(ConnectionError):  # It may be refused before all of it was sent.
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        content = bytearray()
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                content += piece
    return answers(bytes(content))


def answers(content):
    found = []
    while content:
        head, _end, content = content.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        size = int(headers.get("Content-Length", 0))
        found.append((int(first.split()[1]), headers.get("Connection") == "close", content[:size]))
        content = content[size:]
    return found


def predicts(server):
    """Whether a request on a new connection is answered, over REST."""
    return [json.loads(body) for code, _closes, body in exchange(server.rest_port, GOOD) if code == 200] == [
        {"predictions": [[2.5]]}
    ]


def predicts_over_grpc(server):
    with GrpcClient("127.0.0.1", server.grpc_port, SOON_S) as client:
        return client.predict("half", {"x": numpy.ones((1, 1), "float32")})["y"].tolist() == [[2.5]]


def channel_to(server):
    return grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", [("grpc.use_local_subchannel_pool", 1)])


def until(look):
    end = time.monotonic() + 2 * SOON_S
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)


def memory(server, name="VmHWM"):
    """Bytes; VmHWM is the most that it was (proc(5))."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) << 10


@contextlib.contextmanager
def at_most(more, server):
    """A context in which a server may take so much more memory than it has."""
    before = memory(server, "VmRSS")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5", encoding="ascii")  # Forget VmHWM.
    yield
    taken = memory(server) - before
    print(f"{taken / MIB:.0f} MiB more")
    assert taken <= more, f"{taken / MIB:.0f} MiB more"


def reload(channel, **models):
    """The call of a client that wants models served beside that of the start. models: {name: base path}."""
    request = wire.message("tensorflow.serving.ReloadConfigRequest")()
    for name, base_path in {"half": made.by_program(MODELS) / "half_plus_two", **models}.items():
        request.config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform="tensorflow")
    return channel.unary_unary(grpc_api.RELOAD_CONFIG).future(request.SerializeToString(), timeout=60)


# --- Clients that say nothing, stop, or are slow


def test_clients_that_are_idle_or_gone(start, many, tmp_path):
    server = start().ready()
    for port in (server.rest_port, server.grpc_port):
        many(2000, port)
    for connection in many(100, server.rest_port):
        connection.sendall(http_framings.post(b"Content-Length: 1000000", body=b" " * 100_000))
    for _client in range(8):
        with channel_to(server) as channel:
            calls = [reload(channel, m=tmp_path / "missing") for _call in range(8)]
            with contextlib.suppress(grpc.FutureTimeoutError):
                calls[0].exception(timeout=0.2)
    began = time.monotonic()
    assert predicts(server)
    rest_s, began = time.monotonic() - began, time.monotonic()
    assert predicts_over_grpc(server)
    print(f"REST answers within {rest_s:.3f} s, gRPC within {time.monotonic() - began:.3f} s")
    server.stop()


def test_more_connections_than_descriptors(start, many):
    server = start()
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    server.ready()
    idle = many(1500, server.rest_port)
    assert predicts(server)
    idle[0].settimeout(SOON_S)
    assert idle[0].recv(1) == b"", "those that were idle for longest make room"
    idle[-1].sendall(GOOD)
    assert idle[-1].recv(12) == b"HTTP/1.1 200"
    for connection in many(600, server.grpc_port):
        connection.settimeout(60)
        with contextlib.suppress(ConnectionError):  # Refused, or, after a time, closed because it says nothing.
            while connection.recv(1000):
                pass
    assert predicts_over_grpc(server)
    server.stop()


def test_calls_without_a_deadline(server):
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "half"
    request.inputs["x"].CopyFrom(encode_tensor(numpy.ones((1, 1), "float32")))
    with channel_to(server) as channel:
        assert channel.unary_unary(grpc_api.PREDICT)(request.SerializeToString())


def test_slow_clients(start):
    server = start(TFSERVING_EMBEDDED_REQUEST_TIMEOUT_S="0.3").ready()

    def drip(sent, connection):
        with contextlib.suppress(OSError):
            for byte in itertools.chain(sent, itertools.repeat(32)):
                connection.send(bytes([byte]))
                time.sleep(0.05)

    for sent, expected in (
        (b"GET /", b"HTTP/1.1 408"),
        (http_framings.post(b"Content-Length: 1000", body=b""), b"HTTP/1.1 408"),
        (http_framings.chunked(b""), b"HTTP/1.1 408"),
        (None, b""),  # idle
    ):
        with socket.create_connection(("127.0.0.1", server.rest_port), 30) as connection:
            if sent is not None:
                connection.sendall(sent)
                threading.Thread(
                    target=drip, args=(b"0" * 5 if b"chunked" in sent else b"", connection), daemon=True
                ).start()
            assert connection.recv(12) == expected
    with socket.create_connection(("127.0.0.1", server.rest_port), 30) as kept:
        kept.sendall(GOOD)
        time.sleep(1)  # Longer than a request may take.
        kept.sendall(GOOD)
        assert kept.recv(12) == b"HTTP/1.1 200"
    server.stop()


def test_reloads_end_with_their_clients(start, tmp_path):
    server = start().ready()
    for _time in range(3):
        with channel_to(server) as channel:
            calls = [reload(channel, m=tmp_path / "missing") for _call in range(64)]
            until(lambda calls=calls: sum(call.done() for call in calls) >= 48)
            assert {call.code() for call in calls if call.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert predicts_over_grpc(server)
    with channel_to(server) as channel:
        until(lambda: not reload(channel).exception(SOON_S))
    server.stop()


# --- Clients that take memory


def send_all(port, streams):
    """The statuses of the answers to streams that are sent at once, None while there is none; the connections stay open meanwhile."""
    found = {}

    def send(number, stream):
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            with contextlib.suppress(OSError):
                for piece in stream:
                    connection.sendall(piece)
                connection.settimeout(0.5)
            with contextlib.suppress(OSError):
                found[number] = int(connection.recv(12)[9:] or 0)  # 0: closed without a word
            everybody.wait(60)

    everybody = threading.Barrier(len(streams))
    threads = [threading.Thread(target=send, args=one) for one in enumerate(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found.get(number) for number in range(len(streams))]


def unfinished(size):
    """Six bodies of so many bytes that never end: four with a length, two in chunks."""
    piece = b" " * MIB
    for number in range(6):
        if number < 4:
            yield [http_framings.post(b"Content-Length: %d" % (size + 1), body=b""), *[piece] * (size // MIB)]
        else:
            yield [http_framings.chunked(b""), *[b"100000\r\n" + piece + b"\r\n"] * (size // MIB)]


@pytest.mark.parametrize("size_mib", [200, 120])
def test_unfinished_bodies(server, size_mib):
    assert predicts(server)
    with at_most(256 * MIB, server):
        codes = send_all(server.rest_port, list(unfinished(size_mib * MIB)))
    assert set(codes) <= ({413, 0, None} if size_mib == 200 else {0, None}), codes
    assert predicts(server)


@pytest.mark.parametrize("row", ["[1.0],", '{"x":1},', '"ab",', "1e5,", '"\U0001f600",'])
def test_values_that_take_more_memory_than_their_text(server, row):
    """The largest body that is read, and a larger one."""
    with at_most(256 * MIB, server):
        for size_mib in (16, 4, 1):
            ((code, _closes, _body),) = exchange(server.rest_port, compressed(row, size_mib), 60)
            if code != 413:
                break
    assert code in (200, 400) and size_mib < 16
    assert predicts(server)


def compressed(row, size_mib):
    """A request with so many MiB of rows."""
    text = f'{{"instances": [{row * (size_mib * MIB // len(row.encode()))}{row[:-1]}]}}'
    body = gzip.compress(text.encode(), 1)
    return http_framings.post(b"Content-Encoding: gzip", b"Content-Length: %d" % len(body), body=body)


def test_many_compressed_bodies_at_once(server):
    sent = compressed("[1.0],", 2)
    with at_most(256 * MIB, server):
        codes = send_all(server.rest_port, [[sent]] * 12 + [[compressed("[1.0],", 99)]] * 2)
    assert set(codes) <= {200, 413, 503, 0, None}, codes
    assert predicts(server)


def frame(kind, flags, stream, content=b""):
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def test_headers_that_refer_to_a_long_one(server):
    """One header of 3000 bytes enters the table of HPACK; then each byte of 1000 requests is that header again (RFC 7541, sections 6.1 and 7.3)."""
    long = b"\x40\x01x\x7f\xb9\x16" + b"v" * 3000  # literal, to be indexed; 3000 = 127 + 57 + 22 * 128
    begin = b"\x83\x86\x04\x02/x\x01\x01h\x00\x02te\x08trailers\x0f\x10\x10application/grpc"  # POST, http, path, authority, te, content-type
    assert predicts_over_grpc(server)
    with at_most(256 * MIB, server), socket.create_connection(("127.0.0.1", server.grpc_port), 30) as attacker:
        reader = threading.Thread(target=read_all, args=(attacker,))
        reader.start()
        with contextlib.suppress(OSError):  # The server may refuse to read more.
            attacker.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 5, 1, begin + long))
            for number in range(1000):
                attacker.sendall(frame(1, 5, 3 + 2 * number, begin + b"\xbe" * 15_000))
        assert predicts_over_grpc(server)
        with contextlib.suppress(OSError):
            attacker.shutdown(socket.SHUT_RDWR)
        reader.join()


def read_all(connection):
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


def test_names_of_models_that_do_not_exist(server):
    """Each gets a counter, as in TensorFlow Serving, and is in an error, which refers to what was sent; their number and length are the client's choice."""
    with at_most(64 * MIB, server), socket.create_connection(("127.0.0.1", server.rest_port), 60) as connection:
        for number in range(200):
            connection.sendall(b"GET /v1/models/%d%s HTTP/1.1\r\nHost: h\r\n\r\n" % (number, b"a" * 1_000_000))
            answer = bytearray()
            while len(answer) < 1_000_000:
                answer += connection.recv(1 << 20)
    exchange(server.rest_port, b"".join(b"GET /v1/models/n%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(3000)), 60)
    assert predicts(server)
    ((_code, _closes, page),) = exchange(server.rest_port, b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
    counted = [line for line in page.splitlines() if line.startswith(b":tensorflow:serving:request_count{")]
    assert 100 < len(counted) < 1100 and sum(map(len, counted)) < MIB
    assert sum(int(line.rpartition(b" ")[2]) for line in counted if b"NOT_FOUND" in line) >= 3200
    assert any(b'model_name="half",status="OK"' in line for line in counted)


@pytest.mark.parametrize("length", [b"0" * 2_000_000 + b"x", b"1," * 1_000_000 + b"x", b"0" * 2_000_000])
def test_lengths_that_take_long_to_read(server, length):
    """A head of 2 MB stops all threads of the server while a pattern is looked for in it: 1.4 s, or 0.3 s and 295 MiB."""
    with at_most(64 * MIB, server):
        used = processor_s(server)
        for _time in range(5):
            sent = http_framings.post(b"Content-Length: " + length, body=b"")
            ((code, closes, _body),) = exchange(server.rest_port, sent, 60)
            assert (code, closes) == (400, True)
        assert processor_s(server) - used < 1


def processor_s(server):
    """Seconds of a processor that a server has used (utime and stime in proc(5))."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- Clients that hide one request in another


@pytest.mark.parametrize("option", [b"close", b"Close"])
def test_nothing_is_read_after_the_last_request(server, option):
    """9.6: a server that receives the option close does not process further requests of the connection."""
    sent = http_framings.post(http_framings.LENGTH, b"Connection: " + option)
    found = exchange(server.rest_port, sent + GOOD)
    assert [(code, closes) for code, closes, _body in found] == [(200, True)]


@pytest.mark.parametrize("name", http_framings.REFUSED)
def test_framings_that_are_refused(server, name):
    stream = http_framings.REFUSED[name] + http_framings.HIDDEN
    assert (http_framings.well_formed(stream) == 0) == name[0].isdigit(), "the others are too large"
    assert [(code in (400, 413), closes) for code, closes, _body in exchange(server.rest_port, stream)] == [
        (True, True)
    ]


@pytest.mark.parametrize("name", http_framings.ACCEPTED)
def test_framings_that_are_well_formed(server, name):
    stream, count = http_framings.ACCEPTED[name]
    assert http_framings.well_formed(stream) == count
    found = exchange(server.rest_port, stream)
    assert [(code, json.loads(body)) for code, _closes, body in found] == [(200, {"predictions": [[2.5]]})] * count


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_framings_that_are_drawn(server, seed, count):
    dice, answered, refused = random.Random(seed), 0, 0
    assert predicts(server)
    with at_most(256 * MIB, server):
        for number in range(count):
            stream = http_framings.mutated(dice)
            try:
                found = exchange(server.rest_port, stream, 5)
            except TimeoutError:
                pytest.fail(f"no answer to {stream!r}")
            requests = [one for one in found if not one[2].startswith(b"<HTML>")]
            assert len(requests) <= http_framings.well_formed(stream), (found, stream)
            assert all(not closes for _code, closes, _body in found[:-1]), (found, stream)
            answered, refused = answered + len(requests), refused + len(found) - len(requests)
            if number % 50 == 0:
                assert predicts(server)
    assert answered > count / 10 and refused > count / 3
    print(f"{answered} answered, {refused} refused")
    assert "Traceback" not in server.words() and server.process.poll() is None
