#!/usr/bin/env python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the embedded server adds to a direct call of a model, and how many batches two of its models run at once.

    tests/bench/embedded_overhead.py     exit status 1 when gRPC adds more than 1 ms at p50, or more batches run than num_batch_threads

The model takes and gives 4 KB (1024 float32) and does nothing else to speak of; one request in flight. A round is calls of each kind in turn, so
that what else the machine does falls upon all. That only ever adds: the median of the rounds is printed, and the goal is missed where even three
quarters of them are above it. A direct call is a run of TensorFlow's session in this process, the fastest there is from Python.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

import numpy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes the collection importable
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.saved_model_session import (
    SavedModelSession,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient, RestClient
from ansible_collections.tfserving.fleet.tests.support import embedded, made

MOST_ADDED_MS, ROUNDS, CALLS, BATCH_THREADS, REQUESTS = 1.0, 30, 40, 2, 200
QUIET = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")


def seconds(call):
    """How long each of CALLS calls took."""
    taken = []
    for _call in range(CALLS):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return taken


def rounds_ms(server, direct):
    """{protocol: the median milliseconds of a call in each round}, direct among them."""
    array = numpy.ones((1, 1024), "float32")
    with GrpcClient("127.0.0.1", server.grpc_port) as grpc, RestClient("127.0.0.1", server.rest_port) as rest:
        calls = {
            "direct": lambda: direct(array),
            "gRPC": lambda: grpc.predict("m", {"x": array}),
            "REST": lambda: rest.predict("m", {"x": array}),
        }
        for call in calls.values():
            seconds(call)
        taken = {name: [] for name in calls}
        for _round in range(ROUNDS):
            for name, call in calls.items():
                taken[name].append(median(seconds(call)) * 1e3)
    return taken


def most_at_once(server):
    """(batches, the most of them that ran at one moment) of REQUESTS requests for two models; the graphs themselves tell when they began and ended."""
    with GrpcClient("127.0.0.1", server.grpc_port, 60) as client, ThreadPoolExecutor(16) as pool:

        def ask(number):
            answer = client.predict(("double", "triple")[number % 2], {"x": numpy.ones((1, 4), "float32")})
            return answer["began"][0], answer["ended"][0]

        batches = set(pool.map(ask, range(REQUESTS)))
    moments = sorted([(began, 1) for began, _ended in batches] + [(ended, -1) for _began, ended in batches])
    running = [0]
    for _moment, change in moments:
        running.append(running[-1] + change)
    return len(batches), max(running)


def main():
    """Returns the exit status."""
    models = made.by_program(ROOT / "tests/integration/make_models.py")
    os.environ.update(QUIET)
    session = SavedModelSession(f"{models}/kilobytes/1", ["serve"], None)
    signature = session.signatures["serving_default"]
    feed, fetch = signature.inputs["x"].name, signature.outputs["y"].name
    with tempfile.TemporaryDirectory() as name, embedded.Servers(Path(name)) as servers:
        server = servers.start("--model_name=m", f"--model_base_path={models}/kilobytes", as_a_host_does=True).ready()
        medians = rounds_ms(server, lambda array: session.run({feed: array}, [fetch]))
        server.stop()
        batching = Path(name, "batching.pbtxt")
        batching.write_text(
            f"max_batch_size {{ value: 4 }} num_batch_threads {{ value: {BATCH_THREADS} }}", encoding="utf-8"
        )
        server = servers.start(
            "--enable_batching",
            f"--batching_parameters_file={batching}",
            "--grpc_max_threads=64",
            as_a_host_does=True,
            models={model: f"{models}/{model}" for model in ("double", "triple")},
        ).ready()
        batches, most = most_at_once(server)
    added = {name: [one - direct for one, direct in zip(values, medians["direct"])] for name, values in medians.items()}
    for name in ("gRPC", "REST"):
        print(
            f"{name}, 4 KB, one in flight: {median(medians[name]):.2f} ms at p50, {median(added[name]):.2f} ms more than a direct call "
            f"({median(medians['direct']):.2f} ms); {quantiles(added[name])[0]:.2f} ms or less in the quieter quarter of {ROUNDS} rounds of {CALLS} calls"
        )
    print(
        f"two models, {REQUESTS} requests in {batches} batches: {most} at once at most, num_batch_threads is {BATCH_THREADS}"
    )
    return int(quantiles(added["gRPC"])[0] > MOST_ADDED_MS or most > BATCH_THREADS)


if __name__ == "__main__":
    sys.exit(main())
