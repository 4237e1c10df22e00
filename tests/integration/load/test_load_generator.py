# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator, as a program of its own, against servers whose behavior is known. Orders and counts are asserted, not times of a busy machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import generator
from ansible_collections.tfserving.fleet.plugins.module_utils._model import warmup
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, wire
from ansible_collections.tfserving.fleet.tests.support import ports
from hdrh.histogram import HdrHistogram

SERVER = Path(__file__).parent / "timed_server.py"
ECHO = Path(__file__).parents[2] / "bench" / "echo_server.py"
BOTH = pytest.mark.parametrize("protocol", ["grpc", "rest"])
CPUS = sorted(os.sched_getaffinity(0))


class Server:
    """A running timed_server; what it saw is in seen after stop()."""

    def __init__(self, *options):
        self.process = subprocess.Popen([sys.executable, SERVER, *map(str, options)], stdout=subprocess.PIPE, text=True)
        self.ports = json.loads(self.process.stdout.readline())
        self.seen = None

    def target(self, protocol, name="one"):
        return {
            "name": name,
            "protocol": protocol,
            "address": "127.0.0.1",
            "port": self.ports[protocol],
            "model": "m",
            "signature": "serving_default",
        }

    def stop(self):
        self.process.terminate()
        self.seen = json.loads(self.process.stdout.readline())
        return self.seen


@pytest.fixture
def serve():
    servers = []

    def start(*options):
        servers.append(Server(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()


@pytest.fixture
def measure(tmp_path):
    """Measure targets with the given options; samples are eight examples of 16 floats unless said otherwise."""

    def call(targets, run=generator.measure, samples=None, **options):
        path = tmp_path / "samples.npz"
        numpy.savez(
            path,
            **(
                {"inputs.x": numpy.arange(128, dtype="float32").reshape(8, 16), "labels": numpy.arange(8)}
                if samples is None
                else samples
            ),
        )
        request = {
            "targets": targets,
            "windows": None,
            "loop": "closed",
            "concurrency": 1,
            "rate_rps": None,
            "arrivals": None,
            "batch": 1,
            "dimensions": None,
            "values_below": None,
            "window_s": 1,
            "window_requests": 0,
            "window_max_s": 60,
            "warmup_max_s": 0.4,
            "objective_ms": None,
            "deadline_s": 5,
            "samples": str(path),
            "warmup": None,
            "seed": 0,
            "progress": str(tmp_path / "progress"),
        }
        return run(dict(request, **options))

    return call


@contextlib.contextmanager
def once_measuring(tmp_path, action, after_s):
    """Do something to the server a while after the first target is warm."""

    def wait_and_act():
        path, patience = tmp_path / "progress", time.monotonic() + 120
        while not (path.exists() and path.read_text()) and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(after_s)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


def slower_than(window, limit_ms):
    """How many of a window's answers took longer, from its encoded histogram."""
    histogram = HdrHistogram.decode(window["histogram"])
    return (
        histogram.get_total_count()
        - histogram.get_count_at_value(0)
        - sum(
            item.count_added_in_this_iter_step
            for item in histogram.get_recorded_iterator()
            if item.value_iterated_to <= limit_ms * 1000
        )
    )


@BOTH
def test_closed_loop_keeps_its_concurrency_and_obeys_littles_law(serve, measure, protocol):
    server = serve("--service-ms", 20)
    result = measure([server.target(protocol)], concurrency=8, window_s=2)
    window, seen = result["windows"][0], server.stop()
    assert window["requests"] == window["ok"] and window["errors"] == {}
    assert (
        20
        <= window["latency_ms"]["p50"]
        <= window["latency_ms"]["p90"]
        <= window["latency_ms"]["p95"]
        <= window["latency_ms"]["max"] * 1.001
    )
    assert window["latency_ms"]["p999"] is None
    assert window["throughput_rps"] * window["latency_ms"]["mean"] / 1000 == pytest.approx(8, rel=0.25)
    assert window["throughput_rps"] == pytest.approx(window["requests"] / window["duration_s"], rel=0.05)
    assert seen["most_at_once"] == 8
    assert (
        window["requests"] + result["warmups"][0]["requests"] + 1
        <= seen["served"]
        <= window["requests"] + result["warmups"][0]["requests"] + 1 + 8 * 20
    )


@BOTH
def test_open_loop_sends_at_its_rate_whatever_the_server_does(serve, measure, protocol):
    slow, fast = serve("--service-ms", 100), serve("--service-ms", 1)
    windows = measure(
        [slow.target(protocol, "slow"), fast.target(protocol, "fast")],
        loop="open",
        rate_rps=150,
        window_s=2,
        objective_ms=50,
    )["windows"]
    assert windows[0]["requests"] == windows[1]["requests"] == pytest.approx(300, abs=5 * 300**0.5)
    assert (windows[0]["goodput_rps"], windows[0]["concurrency"]) == (0, None)
    assert windows[1]["goodput_rps"] > 0
    assert windows[0]["latency_ms"]["p50"] >= 100 and windows[0]["latency_ms"]["p50"] > windows[1]["latency_ms"]["p50"]


@BOTH
def test_a_stall_shows_in_all_requests_it_delayed_only_in_an_open_loop(serve, measure, tmp_path, protocol):
    server = serve("--service-ms", 2, "--stall-ms", 600)

    def stall():
        server.process.send_signal(signal.SIGUSR1)

    with once_measuring(tmp_path, stall, after_s=1):
        opened = measure([server.target(protocol)], loop="open", rate_rps=200, window_s=3)["windows"][0]
    (tmp_path / "progress").unlink()
    with once_measuring(tmp_path, stall, after_s=1):
        closed = measure([server.target(protocol)], window_s=3)["windows"][0]
    assert slower_than(opened, 300) >= 30  # of the 120 that were due in 600 ms, half of them waited longer than 300 ms
    assert 1 <= slower_than(closed, 500) <= 3
    assert opened["latency_ms"]["p95"] > 2 * closed["latency_ms"]["p95"]


@BOTH
def test_a_server_that_dies_gives_errors_and_no_hang(serve, measure, tmp_path, protocol):
    server = serve("--service-ms", 5)
    with once_measuring(tmp_path, server.process.kill, after_s=0.5):
        windows = measure([server.target(protocol)], windows=["one", "one"], concurrency=4, window_s=2)["windows"]
    assert windows[0]["ok"] > 0 and windows[0]["errors"]["UNAVAILABLE"] > 0
    assert windows[0]["requests"] == windows[0]["ok"] + sum(windows[0]["errors"].values())
    assert (windows[1]["ok"], windows[1]["goodput_rps"]) == (0, 0)
    assert set(windows[1]["errors"]) == {"UNAVAILABLE"} and windows[1]["latency_ms"]["mean"] is None


@BOTH
@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_server_that_hangs_costs_the_deadline_and_no_more(serve, measure, tmp_path, protocol, loop):
    server = serve("--service-ms", 5)
    with once_measuring(tmp_path, lambda: server.process.send_signal(signal.SIGSTOP), after_s=0.5):
        window = measure(
            [server.target(protocol)], loop=loop, rate_rps=300 if loop == "open" else None, deadline_s=0.5, window_s=2
        )["windows"][0]
    assert window["ok"] > 0 and window["errors"]["DEADLINE_EXCEEDED"] > 0
    assert window["requests"] == window["ok"] + sum(window["errors"].values())


@BOTH
def test_refused_requests_are_counted_by_code(serve, measure, protocol):
    server = serve("--refuse-every", 10, "--service-ms", 1)
    window = measure([server.target(protocol)], concurrency=2)["windows"][0]
    assert set(window["errors"]) == {"UNAVAILABLE"}
    assert window["errors"]["UNAVAILABLE"] == pytest.approx(window["requests"] / 10, abs=2)


@BOTH
def test_large_bodies_arrive_whole_and_are_varied(serve, measure, protocol):
    server = serve("--digest", "--answer-bytes", 1_000_000, "--max-streams", 3)
    inputs = numpy.random.default_rng(1).random((5, 50_000)).astype("float32")
    window = measure([server.target(protocol)], samples={"inputs.x": inputs}, concurrency=6, warmup_max_s=0)["windows"][
        0
    ]
    encode = (lambda one: client.predict_request("m", one)) if protocol == "grpc" else client.rest_body
    assert window["ok"] >= 5 and not window["errors"]
    assert server.stop()["bodies"] == sorted(
        hashlib.sha256(encode({"x": inputs[at : at + 1]})).hexdigest() for at in range(5)
    )


def test_batches_take_the_samples_in_turn(serve, measure):
    server = serve("--digest", "--service-ms", 1)
    inputs = numpy.arange(10, dtype="int64").reshape(5, 2)
    measure([server.target("grpc")], samples={"inputs.x": inputs}, batch=2, warmup_max_s=0)
    expected = [client.predict_request("m", {"x": inputs[rows]}) for rows in ([0, 1], [2, 3], [4, 0])]
    assert server.stop()["bodies"] == sorted(hashlib.sha256(body).hexdigest() for body in expected)


def test_requests_of_several_sizes_take_the_samples_in_turn_too(serve, measure):
    server = serve("--digest", "--service-ms", 1)
    measure([server.target("grpc")], batch={1: 3, 4: 1}, window_s=2, warmup_max_s=0)
    samples = numpy.arange(128, dtype="float32").reshape(8, 16)
    every = {
        rows: {
            hashlib.sha256(client.predict_request("m", {"x": samples[numpy.arange(at, at + rows) % 8]})).hexdigest()
            for at in range(8)
        }
        for rows in (1, 4)
    }
    seen = server.stop()["bodies"]
    assert {rows: len(every[rows] & set(seen)) for rows in every} == {1: 8, 4: 8} and not set(seen) - every[1] - every[
        4
    ]


def test_recorded_arrivals_are_sent_as_recorded(serve, measure, tmp_path):
    path, server = tmp_path / "arrivals", serve("--service-ms", 1)
    path.write_text("".join(f"{at}\n" for at in numpy.arange(0, 2, 0.02)))  # evenly, unlike random ones
    window, slower = (
        measure([server.target("grpc")], loop="open", arrivals=str(path), rate_rps=rate, window_s=3, warmup_max_s=0)[
            "windows"
        ][0]
        for rate in (None, 20.0)
    )
    assert window["rate_rps"] == pytest.approx(50) and abs(window["requests"] - 150) <= 1
    assert slower["rate_rps"] == pytest.approx(20) and abs(slower["requests"] - 60) <= 1
    with pytest.raises(FleetError, match="arrivals: .* is out of range; allowed: 0.01 to 100000 requests/s"):
        path.write_text("0\n1000\n")
        measure([server.target("grpc")], loop="open", arrivals=str(path))
    with pytest.raises(FleetError, match=f"^{tmp_path}: cannot be read: Is a directory"):
        measure([server.target("grpc")], loop="open", arrivals=str(tmp_path))


@pytest.mark.parametrize(
    "protocol, most_streams, concurrency", [("grpc", 1000, 200), ("grpc", 7, 40), ("rest", 1000, 200)]
)
def test_concurrency_needs_no_more_than_connections(serve, measure, protocol, most_streams, concurrency):
    server = serve("--service-ms", 1000, "--max-streams", most_streams)
    assert measure([server.target(protocol)], concurrency=concurrency)["windows"][0]["errors"] == {}
    assert server.stop()["most_at_once"] == concurrency


def test_chunked_answers_are_understood(serve, measure):
    window = measure([serve("--chunked", "--answer-bytes", 500_000).target("rest")], concurrency=2)["windows"][0]
    assert window["ok"] >= 2 and not window["errors"]


def test_windows_come_in_the_order_asked_with_the_same_arrivals_each_round(serve, measure, tmp_path):
    one, other = serve("--service-ms", 1), serve("--service-ms", 1)
    order = ["a", "b", "b", "a"]
    windows = measure(
        [one.target("grpc", "a"), other.target("rest", "b")], windows=order, loop="open", rate_rps=100, window_s=0.5
    )["windows"]
    assert [window["target"] for window in windows] == order
    assert windows[0]["requests"] == windows[1]["requests"] and windows[2]["requests"] == windows[3]["requests"]
    lines = (tmp_path / "progress").read_text().splitlines()
    assert len(lines) == 6 and lines[-1].startswith("a: ") and "window 4 of 4" in lines[-1]


def test_a_generator_beyond_its_means_says_that_the_window_is_void(measure):
    echo = subprocess.Popen([sys.executable, ECHO], stdout=subprocess.PIPE, text=True)
    try:
        target = {
            "name": "one",
            "protocol": "grpc",
            "address": "127.0.0.1",
            "port": int(echo.stdout.readline()),
            "model": "m",
            "signature": "s",
        }
        window = measure([target], loop="open", rate_rps=100000, window_s=0.5, deadline_s=2)["windows"][0]
    finally:
        echo.kill()
        echo.communicate()
    assert "load generator used" in window["void"] or "more than 5 ms late" in window["void"]


def starve(seconds):
    """Let the generator that runs as our child have its CPU half of the time, as cpulimit does: 50 ms stopped, 50 ms running."""
    children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text().split()
    pid = next(int(child) for child in children if b"generator-" in Path(f"/proc/{child}/cmdline").read_bytes())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(pid, number)
            time.sleep(0.05)


@pytest.mark.parametrize("loop", ["closed", "open"])
def test_a_generator_starved_of_its_cpu_says_that_the_window_is_void(serve, measure, tmp_path, loop):
    def as_program(request):
        return program.call("_load.generator", request, sys.executable, timeout_s=60, cpu_set=CPUS[:1])

    with once_measuring(tmp_path, lambda: starve(1.2), after_s=0.2):
        window = measure(
            [serve("--service-ms", 2).target("grpc")],
            run=as_program,
            loop=loop,
            rate_rps=200 if loop == "open" else None,
            window_s=2,
        )["windows"][0]
    assert "more than 5 ms late" in window["void"]
    assert window["generator"]["late_fraction"] > 0.05 and window["generator"]["max_late_ms"] >= 40


def test_a_window_with_few_requests_is_void_and_supports_no_percentile(serve, measure):
    window = measure([serve("--service-ms", 300).target("grpc")])["windows"][0]
    assert window["requests"] < 20 and window["void"]  # on a busy machine for another reason, too
    assert {window["latency_ms"][name] for name in ("p50", "p90", "p95", "p99", "p999")} == {None}
    assert window["latency_ms"]["mean"] >= 300


@pytest.mark.parametrize(
    "service_ms, warmup_max_s",
    [
        (5, 0.4),
        (120, 0.4),
        (400, 10),
    ],  # 0.4 s: fewer requests than windows need, or none; the last is called steady before its first answer
)
def test_a_slow_server_gets_windows_with_enough_requests(serve, measure, service_ms, warmup_max_s):
    server = serve("--service-ms", service_ms, "--workers", 2)
    window = measure(
        [server.target("grpc")], concurrency=4, window_s=0.5, window_requests=30, warmup_max_s=warmup_max_s
    )["windows"][0]
    # Two at a time: 1000 / service_ms * 2 requests a second.
    needed_s = 30 * service_ms / 2000
    assert window["requests"] >= 30 and 0.65 * needed_s <= window["duration_s"] <= 2 * max(0.5, needed_s)


def test_a_server_that_becomes_slower_after_its_warm_up_gets_longer_windows(serve, measure, tmp_path):
    server = serve("--service-ms", 5, "--stall-ms", 3000)
    with once_measuring(tmp_path, lambda: server.process.send_signal(signal.SIGUSR1), after_s=0):
        result = measure([server.target("grpc")], window_s=0.5, window_requests=30, windows=["one", "one"])
    # The stall ends within the first window, which lasts longer than it, or within the second one if the machine is busy.
    assert [window["requests"] >= 30 for window in result["windows"]] == [True, True]
    assert sum(window["duration_s"] for window in result["windows"]) > 3


def test_a_server_that_stops_answering_does_not_make_windows_endless(serve, measure, tmp_path):
    server = serve("--service-ms", 5)
    with once_measuring(tmp_path, lambda: server.process.send_signal(signal.SIGSTOP), after_s=0):
        window = measure([server.target("grpc")], window_s=0.5, window_requests=30, window_max_s=3)["windows"][0]
    assert window["duration_s"] == 3 or window["requests"] >= 30


def test_warming_up_ends_when_steady_and_at_its_limit(serve, measure):
    server = serve("--service-ms", 5)
    result = measure([server.target("grpc")], warmup_max_s=60)["warmups"][0]
    assert result["steady"] and result["duration_s"] < 60 and result["first_ms"] >= 5
    assert measure([server.target("grpc")], warmup_max_s=0)["warmups"][0]["requests"] == 0


def metadata(**inputs):
    """A GetModelMetadataResponse, in hexadecimal digits, of a signature with inputs {name: (dtype number of types.proto, shape, -1 being unknown)}."""
    signatures = wire.message("tensorflow.serving.SignatureDefMap")()
    for name, (dtype, shape) in inputs.items():
        tensor = signatures.signature_def["serving_default"].inputs[name]
        tensor.dtype = dtype
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
    answer = wire.message("tensorflow.serving.GetModelMetadataResponse")()
    answer.metadata["signature_def"].value = signatures.SerializeToString()
    return answer.SerializeToString().hex()


def test_without_samples_inputs_are_made_up_from_the_signature(serve, measure):
    server = serve(
        "--digest", "--metadata", metadata(image=(1, (-1, 4, -1)), ids=(9, (-1,)), text=(7, (-1, 2)), mode=(10, ()))
    )
    measure(
        [server.target("grpc")],
        run=lambda request: generator.measure(dict(request, samples=None, batch=3, warmup_max_s=0)),
    )
    seen = server.stop()
    sent = wire.message("tensorflow.serving.PredictRequest").FromString(bytes.fromhex(seen["last"])).inputs
    assert {name: (tensor.dtype, [dim.size for dim in tensor.tensor_shape.dim]) for name, tensor in sent.items()} == {
        "image": (1, [3, 4, 1]),
        "ids": (9, [3]),
        "text": (7, [3, 2]),
        "mode": (10, []),
    }
    assert 1 < len(seen["bodies"]) <= 16


@pytest.mark.parametrize(
    "dimensions, shapes",
    [
        ({"*": 7}, {"image": [1, 7, 7, 3], "ids": [1, 7], "row": [1, 5]}),
        ({"ids": 128, "*": 7}, {"image": [1, 7, 7, 3], "ids": [1, 128], "row": [1, 5]}),
        ({"ids": 128}, {"image": [1, 1, 1, 3], "ids": [1, 128], "row": [1, 5]}),
    ],
)
def test_unknown_dimensions_are_as_long_as_requested(serve, measure, dimensions, shapes):
    server = serve("--digest", "--metadata", metadata(image=(1, (-1, -1, -1, 3)), ids=(9, (-1, -1)), row=(1, (-1, 5))))

    def run(request):
        return generator.measure(dict(request, samples=None, dimensions=dimensions, window_s=0.3, warmup_max_s=0))

    measure([server.target("grpc")], run=run)
    sent = wire.message("tensorflow.serving.PredictRequest").FromString(bytes.fromhex(server.stop()["last"])).inputs
    assert {name: [dim.size for dim in tensor.tensor_shape.dim] for name, tensor in sent.items()} == shapes


def test_integers_are_below_their_limit(serve, measure):
    server = serve("--digest", "--metadata", metadata(ids=(9, (-1, 500)), flag=(9, (-1, 500)), small=(6, (-1, 500))))
    limits = {"ids": 1000, "small": 1000}  # small: DT_INT8 of tensorflow/core/framework/types.proto

    def run(request):
        return generator.measure(dict(request, samples=None, values_below=limits, window_s=0.3, warmup_max_s=0))

    measure([server.target("grpc")], run=run)
    sent = wire.message("tensorflow.serving.PredictRequest").FromString(bytes.fromhex(server.stop()["last"])).inputs
    ids, flag = (numpy.frombuffer(sent[name].tensor_content, "int64") for name in ("ids", "flag"))
    assert 900 < ids.max() < 1000 and 0 <= ids.min() < 100 and set(flag) == {0, 1}
    small = numpy.frombuffer(sent["small"].tensor_content, "int8")
    assert 0 <= small.min() < 13 and 115 < small.max(), "a number that does not fit becomes a negative one"
    with pytest.raises(FleetError, match=r"^values_below: 'idx' is not known; allowed: flag, ids"):
        measure(
            [serve("--metadata", metadata(ids=(9, (-1,)), flag=(9, (-1,)))).target("grpc")],
            run=lambda request: generator.measure(dict(request, samples=None, values_below={"idx": 3})),
        )


def test_a_dimension_of_an_input_that_is_not_there_is_one_clear_line(serve, measure):
    server = serve("--metadata", metadata(ids=(9, (-1, -1))))
    with pytest.raises(FleetError, match=r"^dimensions: 'idx' is not known; allowed: ids, \*; did you mean ids\?"):
        measure(
            [server.target("grpc")],
            run=lambda request: generator.measure(dict(request, samples=None, dimensions={"idx": 3})),
        )


@pytest.mark.parametrize("option", ["samples", "warmup"])
def test_requests_can_come_from_a_warm_up_file(serve, measure, tmp_path, option):
    path, server = tmp_path / "requests", serve("--digest", "--metadata", metadata(ids=(9, (-1, -1))))
    ids, longer = numpy.arange(12, dtype="int64").reshape(4, 3), numpy.zeros((1, 5), "int64")
    held = [{"ids": ids[:1]}, {"ids": ids[1:]}] + [{"ids": longer}] * (option == "warmup")
    path.write_bytes(warmup.file(client.predict_request("m", inputs) for inputs in held))
    changes = {"samples": None, option: str(path), "batch": 2, "window_s": 0.3, "warmup_max_s": 0}
    (window,) = measure([server.target("grpc")], run=lambda request: generator.measure({**request, **changes}))[
        "windows"
    ]
    expected = [client.predict_request("m", {"ids": ids[rows]}) for rows in ([0, 1], [2, 3])]
    assert server.stop()["bodies"] == sorted(hashlib.sha256(body).hexdigest() for body in expected)
    assert window["requests_from"] == {"samples": "samples", "warmup": "warm-up file"}[option]


def test_a_warm_up_file_without_requests_for_the_signature_leaves_them_to_the_generator(serve, measure, tmp_path):
    path, server = tmp_path / "requests", serve("--metadata", metadata(ids=(9, (-1, 2))))
    changes = {"samples": None, "warmup": str(path), "window_s": 0.3, "warmup_max_s": 0}
    path.write_bytes(warmup.file([client.predict_request("m", {"x": numpy.zeros(3, "float32")}, "other")]))
    (window,) = measure([server.target("grpc")], run=lambda request: generator.measure({**request, **changes}))[
        "windows"
    ]
    assert window["requests_from"] == "signature" and window["ok"] > 0
    path.write_text("no records")
    with pytest.raises(FleetError, match=f"^{path}: it is not a warm-up file: "):
        measure([server.target("grpc")], run=lambda request: generator.measure({**request, **changes}))


def test_a_signature_that_is_not_there_is_one_clear_line(serve, measure):
    target = dict(serve("--metadata", metadata(x=(1, (-1,)))).target("grpc"), signature="serving")
    with pytest.raises(FleetError, match="target one: signature: 'serving' is not known; allowed: serving_default"):
        measure([target], run=lambda request: generator.measure(dict(request, samples=None)))


@BOTH
def test_nobody_listening_is_one_clear_line(measure, protocol):
    target = {
        "name": "one",
        "protocol": protocol,
        "address": "127.0.0.1",
        "port": ports.free(),
        "model": "m",
        "signature": "s",
    }
    with pytest.raises(
        FleetError,
        match=rf"target one: {protocol}://127.0.0.1:\d+ answers the first request with UNAVAILABLE: .*refused.* Check that the server runs",
    ):
        measure([target])


@pytest.mark.parametrize(
    "code, changes, remedy",
    [
        (
            "INVALID_ARGUMENT",
            {"samples": None},
            "made up from the signature. Set samples to a file that fits the model.",
        ),
        ("PERMISSION_DENIED", {"samples": None}, "Check that the server runs and serves the model."),
        ("INVALID_ARGUMENT", {}, "that it serves the model, and that the samples fit the model."),
    ],
)
def test_why_the_first_request_is_rejected_depends_on_where_it_comes_from(serve, measure, code, changes, remedy):
    server = serve("--refuse-every", 1, "--refusal", code, "--metadata", metadata(image=(7, (-1,))))

    def as_program(request):
        return program.call("_load.generator", {**request, **changes}, sys.executable, timeout_s=60, cpu_set=CPUS[:1])

    with pytest.raises(FleetError) as fault:
        measure([server.target("grpc")], run=as_program, samples={"inputs.image": numpy.array([b"text"])})
    assert fault.value.code == fault.value.as_dict()["code"] == code
    assert f"answers the first request with {code}: " in fault.value.what and fault.value.remedy.endswith(remedy)
    assert ("samples" in fault.value.remedy) is (code == "INVALID_ARGUMENT")


def test_the_wrong_protocol_is_one_clear_line(serve, measure):
    server = serve()
    for protocol, other in (("grpc", "rest"), ("rest", "grpc")):
        with pytest.raises(FleetError, match="answers the first request with UNAVAILABLE"):
            measure([dict(server.target(protocol), port=server.ports[other])])


@pytest.mark.parametrize(
    "samples, text",
    [
        ({"labels": numpy.arange(3)}, "it has no arrays inputs.<name>"),
        ({"inputs.x": numpy.zeros((0, 2))}, "it has no examples"),
        (
            {"inputs.x": numpy.zeros((3, 2)), "inputs.y": numpy.zeros((4, 2))},
            "its arrays have different numbers of examples: x 3, y 4",
        ),
    ],
)
def test_samples_that_cannot_be_sent_are_one_clear_line(serve, measure, samples, text):
    with pytest.raises(FleetError, match=f"samples.npz: {text}"):
        measure([serve().target("grpc")], samples=samples)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("no archive"),
        lambda path: numpy.savez(path, **{"inputs.x": numpy.array([object()])}),
    ],
)
def test_a_file_that_is_no_archive_of_plain_arrays_is_one_clear_line(serve, measure, tmp_path, write):
    path = tmp_path / "text.npz"
    write(path)
    with pytest.raises(FleetError, match=rf"^{path}: not a NumPy archive \(\.npz\) of plain arrays"):
        measure([serve().target("grpc")], run=lambda request: generator.measure(dict(request, samples=str(path))))


def test_the_histogram_is_hdr_histograms_own_encoding(serve, measure):
    window = measure([serve("--service-ms", 5).target("grpc")], window_s=4)["windows"][0]
    assert (
        base64.b64decode(window["histogram"])[:4] == b"\x1c\x84\x93\x14"
    )  # V2 compressed cookie of the format's description
    histogram = HdrHistogram.decode(window["histogram"])
    assert histogram.get_total_count() == window["ok"]
    assert histogram.get_value_at_percentile(50) / 1000 == window["latency_ms"]["p50"]
