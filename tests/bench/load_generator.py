# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load generator can do: requests a second and CPU per request against a server that costs next to nothing, beside grpcio's own client.

The generator has one CPU, the server another where there are two. CPU per request is the figure that a busy machine does not spoil: a ceiling is one
core divided by it. What must hold: over gRPC the generator needs less CPU for a request than grpcio's synchronous client.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
importlib.import_module("conftest")  # makes the collection importable
import grpc
import numpy
from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, grpc_api

HERE = Path(__file__).resolve().parent
CPUS = sorted(os.sched_getaffinity(0))
EXAMPLE = numpy.zeros((1, 1000), "float32")
WINDOW_S = 2.0


def generator(port, samples, protocol, loop, size):
    """(requests/s, microseconds of CPU per request, void) of one window; size: a concurrency or a rate."""
    request = {
        "targets": [
            {
                "name": protocol,
                "protocol": protocol,
                "address": "127.0.0.1",
                "port": port,
                "model": "m",
                "signature": "s",
            }
        ],
        "windows": None,
        "loop": loop,
        "concurrency": size if loop == "closed" else 1,
        "rate_rps": size if loop == "open" else None,
        "arrivals": None,
        "batch": 1,
        "dimensions": None,
        "window_s": WINDOW_S,
        "window_requests": 0,
        "window_max_s": WINDOW_S,
        "warmup_max_s": 0.5,
        "objective_ms": None,
        "deadline_s": 2,
        "samples": samples,
        "warmup": None,
        "seed": 1,
    }
    window = program.call("_load.generator", request, sys.executable, timeout_s=60, cpu_set=CPUS[:1])["windows"][0]
    return (
        window["throughput_rps"],
        window["generator"]["cpu_fraction"] / max(window["throughput_rps"], 1) * 1e6,
        window["void"],
    )


def grpcio(port, threads):
    """The same of grpcio's synchronous client in threads."""
    body, ends, counts = client.predict_request("m", {"x": EXAMPLE}), time.perf_counter() + WINDOW_S, [0] * threads
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(grpc_api.PREDICT)

        def work(mine):
            while time.perf_counter() < ends:
                call(body, timeout=2)
                counts[mine] += 1

        workers = [threading.Thread(target=work, args=(mine,)) for mine in range(threads)]
        before = time.process_time()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts) / WINDOW_S, (time.process_time() - before) / sum(counts) * 1e6, None


def main():
    """Print the table; 1 where what must hold does not."""
    echo = subprocess.Popen(
        [sys.executable, HERE / "echo_server.py"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, CPUS[-1:]),
    )
    os.sched_setaffinity(0, CPUS[:1])
    rows = {}
    with tempfile.TemporaryDirectory() as directory:
        samples = str(Path(directory) / "samples.npz")
        numpy.savez(samples, **{"inputs.x": EXAMPLE})
        try:
            port = int(echo.stdout.readline())
            for threads in (1, 16):
                rows[f"grpcio, synchronous, {threads} in flight"] = grpcio(port, threads)
            for protocol in ("grpc", "rest"):
                for in_flight in (1, 16, 64):
                    rows[f"{protocol}, closed loop, {in_flight} in flight"] = generator(
                        port, samples, protocol, "closed", in_flight
                    )
                for rate in (500, 2000, 4000):
                    rows[f"{protocol}, open loop, {rate} requests/s"] = generator(port, samples, protocol, "open", rate)
        finally:
            echo.kill()
            echo.communicate()
    print(
        f"Load generator on CPU {CPUS[0]}, a canned server on CPU {CPUS[-1]}; requests of 4 KB, one window of {WINDOW_S:g} s each"
    )
    print(f"{'':40}{'requests/s':>11}{'CPU us/request':>16}{'80 % of a core':>16}  void")
    for name, (rate, cost, void) in rows.items():
        print(f"{name:40}{rate:11.0f}{cost:16.0f}{8e5 / cost:16.0f}  {void.partition('.')[0] + '…' if void else ''}")
    ratio = rows["grpcio, synchronous, 16 in flight"][1] / rows["grpc, closed loop, 16 in flight"][1]
    print(
        f"One core drives {ratio:.1f} times as many gRPC requests as with grpcio's synchronous client (must be more than 1)"
    )
    return 0 if ratio > 1 else 1


if __name__ == "__main__":
    sys.exit(main())
