# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that never stops asking. It sends Predict requests over gRPC at a fixed rate, whatever becomes of them, and writes down each one's outcome.

As a program: python -m ansible_collections.tfserving.fleet.tests.docker.testbed.asking ADDRESS MODEL INPUTS RATE DEADLINE_S LOG, with INPUTS as JSON, until
SIGTERM.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

LEAST_RPS = 10
_STARTED_S = 120


@dataclasses.dataclass(frozen=True)
class Request:
    """at: seconds since the epoch; code: gRPC's, OK for a good answer; outputs: {name: nested lists} of an answer; details: of a failure."""

    at: float
    took_ms: float
    code: str
    outputs: dict = None
    details: str = None


class Log:
    """What an asking client wrote down, in the order of asking."""

    def __init__(self, path):
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
        self.requests = sorted((Request(**json.loads(line)) for line in lines), key=lambda request: request.at)
        self.failed = [request for request in self.requests if request.code != "OK"]

    @property
    def rate_rps(self):
        """Requests a second, from the first to the last."""
        return (
            (len(self.requests) - 1) / (self.requests[-1].at - self.requests[0].at) if len(self.requests) > 1 else 0.0
        )

    def answers(self, since=0.0):
        """The different answers since then, in the order of their first appearance."""
        return [
            json.loads(text)
            for text in dict.fromkeys(
                json.dumps(request.outputs) for request in self.requests if request.code == "OK" and request.at >= since
            )
        ]

    def verdict(self):
        """What is wrong with the whole run, as text, or None: a failed request, or too few to tell."""
        if self.failed:
            first, last = self.failed[0], self.failed[-1]
            return (
                f"{len(self.failed)} of {len(self.requests)} requests failed within {last.at - first.at:.1f} s, "
                f"the first {first.at - self.requests[0].at:.1f} s after the start: {first.code}: {first.details}"
            )
        return (
            None
            if self.rate_rps >= LEAST_RPS
            else f"only {len(self.requests)} requests, {self.rate_rps:.1f} a second; at least {LEAST_RPS} are needed"
        )


class AskingClient:
    """The client as a process of its own, so that nothing in the test's holds it up."""

    def __init__(self, address, model, inputs, log, rate_rps=25, deadline_s=60):
        """address: HOST:PORT. inputs: {name: nested lists}. log: path of the log. deadline_s: of each request."""
        self.path, self._deadline_s = pathlib.Path(log), deadline_s
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                __name__,
                address,
                model,
                json.dumps(inputs),
                str(rate_rps),
                str(deadline_s),
                str(log),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + _STARTED_S
        while not (self.path.exists() and self.path.stat().st_size):
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError("the asking client got no outcome at all")
            time.sleep(0.05)

    @property
    def pid(self):
        """Its process id, for who ends it from another process."""
        return self._process.pid

    def stop(self):
        """End the client, which waits for what it has asked; returns its Log."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(2 * self._deadline_s)
        return Log(self.path)


def main(address, model, inputs, rate_rps, deadline_s, path):
    """Ask until SIGTERM, on a schedule that waits for nobody."""
    import grpc
    import numpy
    from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, grpc_api

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    request = client.predict_request(
        model, {name: numpy.asarray(value, dtype="float32") for name, value in json.loads(inputs).items()}
    )
    # No retries and no proxy: what happens to a request is what its user would see.
    channel = grpc.insecure_channel(
        address,
        options=[
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        ],
    )
    predict, writing, asked, done = channel.unary_unary(grpc_api.PREDICT), threading.Lock(), 0, threading.Semaphore(0)
    with open(path, "a", encoding="utf-8", buffering=1) as log:

        def write(call, at, began):
            entry = {"at": at, "took_ms": round((time.monotonic() - began) * 1000, 2), "code": call.code().name}
            if call.code() is grpc.StatusCode.OK:
                entry["outputs"] = {
                    name: array.tolist() for name, array in client.predict_response(call.result()).items()
                }
            else:
                entry["details"] = call.details()
            with writing:
                log.write(json.dumps(entry) + "\n")
            done.release()

        start = time.monotonic()
        while not ended.wait(max(0.0, start + asked / float(rate_rps) - time.monotonic())):
            at, began = time.time(), time.monotonic()
            predict.future(request, timeout=float(deadline_s)).add_done_callback(
                lambda call, at=at, began=began: write(call, at, began)
            )
            asked += 1
        for _answer in range(asked):
            done.acquire()
    os._exit(0)  # gRPC's threads are in nobody's way.


if __name__ == "__main__":
    main(*sys.argv[1:])
