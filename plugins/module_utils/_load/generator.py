# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator, a program: windows of load against one or several servers, in a given order, so that they are interleaved.

One thread, one loop, plain sockets. Open loop: requests are due by a Poisson process, whatever the server does, and latency counts from
when they were due, so that a stall shows in all requests it delayed. Closed loop: a fixed number in flight. Each window is cut out of a
load that began before it, so that its edges are not special. Needs numpy, protobuf, grpcio (for one first call) and hdrhistogram.
"""

from __future__ import annotations

import gc
import resource
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options, program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import connection, load_test, percentiles, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._model import samples
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, grpc_api, signature
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

try:
    import numpy
except ImportError:
    numpy = None
try:
    from hdrh.histogram import HdrHistogram
except ImportError:
    HdrHistogram = None

_MOST_REPEATS = 5  # of a request that a server did not take
_MOST_IN_FLIGHT = 512  # of one target; further requests wait, and that counts as latency
_MOST_BODIES, _MOST_BODY_BYTES = 256, 1 << 26
_TICK_S = 0.01
_PAUSE_S = 0.01  # after an error in a closed loop, so that refused connections do not spin
_SLICE_S = 0.2
_LONGEST_US = 3600 * 10**6
# What a first call must not end with: no load would change it.
_HOPELESS = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "UNAVAILABLE",
)


def main():
    """The program: see measure."""
    return program.answer(sys.argv, measure)


def measure(request):
    """{windows: [a measured window], warmups: [{target, first_ms, duration_s, requests, steady}]} of a request as load_test.checked takes it.

    Besides: samples, a path of an .npz file, or None for made-up ones; seed; progress, a path to append lines to, or None. Raises FleetError when a
    target cannot be reached or refuses the first request.
    """
    for name, package in (("numpy", numpy), ("hdrhistogram", HdrHistogram)):
        if package is None:
            raise FleetError(
                f"the Python package {name} is missing", where="python", remedy=f"Install it for {sys.executable}."
            )
    request = load_test.checked(request)
    _allow_many_connections()
    poll, connections, traffics, warmups = select.epoll(), {}, {}, []
    for target in request["targets"]:
        target, batches, first_ms = _begun(request, target)
        traffic = traffics[target["name"]] = Traffic(target, batches, request, poll, connections)
        warmups.append(dict(traffic.warm_up(), first_ms=first_ms))
        program.say(request.get("progress"), f"{target['name']}: warm after {warmups[-1]['duration_s']:.1f} s")
    windows = []
    for number, name in enumerate(request["windows"], 1):
        window = traffics[name].window(f"{request['seed']}/{request['windows'][:number].count(name)}")
        windows.append(window)
        void = "; void" if window["void"] else ""
        program.say(
            request.get("progress"),
            f"{name}: {window['throughput_rps']:.0f} requests/s, window {number} of {len(request['windows'])}{void}",
        )
    for one in list(connections.values()):
        one.close()
    return {"windows": windows, "warmups": warmups}


class Traffic:
    """The load on one target. A request is a number, its place in the records: when it was due, how late it was sent, when it ended."""

    def __init__(self, target, batches, request, poll, connections):
        self._target, self._request = target, request
        self._open, self._deadline_s = request["loop"] == "open", request["deadline_s"]
        bodies = _bodies(target, batches)
        messages = connection.GrpcMessages if target["protocol"] == "grpc" else connection.RestMessages
        self._messages, self._bodies = messages(target, bodies, self._deadline_s), len(bodies)
        self._place = _place(target)
        self._poll, self._connections, self._usable, self._newest = poll, connections, [], None
        self._begin(0.0, "")

    def warm_up(self):
        """Load until the server gets no faster, at most warmup_max_s: {target, duration_s, requests, steady}."""
        longest_s, slices = self._request["warmup_max_s"], []
        start = self._begin(longest_s, "warm-up")
        while not schedule.steady(slices) and time.perf_counter() - start + _SLICE_S <= longest_s:
            self._latencies = []
            self._run(time.perf_counter() + _SLICE_S)
            slices.append(sorted(self._latencies)[len(self._latencies) // 2] if self._latencies else None)
        took = time.perf_counter() - start
        self._drain()
        return {
            "target": self._target["name"],
            "duration_s": took,
            "requests": len(self._due),
            "steady": schedule.steady(slices),
        }

    def window(self, seed):
        """One measured window, in the shape of docs/architecture.md; the same seed gives the same arrivals."""
        length_s = self._request["window_s"]
        gc.collect()
        gc.disable()
        start = self._begin(load_test.LEAD_IN_S + length_s, seed) + load_test.LEAD_IN_S
        self._run(start)
        self._ticks = array("d")
        before = time.perf_counter(), time.process_time()
        self._run(start + length_s)
        cpu_fraction = (time.process_time() - before[1]) / (time.perf_counter() - before[0])
        ticks = numpy.array(self._ticks)
        self._drain()
        gc.enable()
        return self._cut(start, length_s, cpu_fraction, ticks)

    def _begin(self, length_s, seed):
        """Forget all records and start a load of that length; returns the time it starts at."""
        now = time.perf_counter()
        self._due, self._late, self._end = array("d"), array("d"), array("d")
        self._faults, self._flying, self._waiting, self._again, self._latencies = {}, {}, deque(), Counter(), []
        self._ticks, self._next_tick = array("d"), now
        self._free, self._paused = 0 if self._open else self._request["concurrency"], deque()
        self._arrivals = (
            (now + at for at in schedule.arrivals(self._request["rate_rps"], length_s, seed))
            if self._open
            else iter(())
        )
        self._next_due = next(self._arrivals, float("inf"))
        return now

    def _run(self, until):
        while True:
            now = time.perf_counter()
            self._tick(now)
            self._start(now)
            if now >= until:
                return
            self._wait(min(until, self._next_tick, self._next_due) - time.perf_counter())

    def _drain(self):
        """Await what is in flight or waiting; the deadline ends it."""
        while self._flying or self._waiting:
            self._tick(time.perf_counter())
            self._send_waiting()
            self._wait(self._next_tick - time.perf_counter())

    def _tick(self, now):
        """Every so often: note how late we woke, and give up what passed its deadline."""
        if now < self._next_tick:
            return
        self._ticks.append(now - self._next_tick)
        self._next_tick = now + _TICK_S
        oldest = now - self._deadline_s
        while self._waiting and self._due[self._waiting[0]] <= oldest:
            self._ended(None, self._waiting.popleft(), "DEADLINE_EXCEEDED")
        for number, using in list(self._flying.items()):
            if self._due[number] <= oldest and number in self._flying:
                using.cancel(number)
                self._ended(using, number, "DEADLINE_EXCEEDED")

    def _start(self, now):
        while self._next_due <= now:
            self._record(self._next_due, now)
            self._next_due = next(self._arrivals, float("inf"))
        while self._paused and self._paused[0] <= now:
            self._paused.popleft()
            self._free += 1
        while self._free and len(self._due) < load_test.MOST_REQUESTS:
            self._free -= 1
            self._record(now, now)
        self._send_waiting()

    def _record(self, due, now):
        self._waiting.append(len(self._due))
        self._due.append(due)
        self._late.append(now - due)
        self._end.append(0.0)

    def _send_waiting(self):
        while self._waiting:
            using = self._connection()
            if using is None:
                return
            number = self._waiting.popleft()
            self._flying[number] = using
            using.send(number, number % self._bodies)

    def _connection(self):
        """A connection that takes another request, a new one where all are busy; None when one is being made or too many requests are in flight."""
        newest = self._newest
        if newest and newest.alive and not newest.ready:
            return None
        self._use(newest)
        while self._usable:
            if self._usable[-1].room:
                return self._usable[-1]
            self._usable.pop().listed = False
        if len(self._flying) >= _MOST_IN_FLIGHT:
            return None
        self._newest = self._messages.connect(self._place, self._poll, self._ended)
        self._connections[self._newest.number] = self._newest
        return self._newest

    def _use(self, using):
        if using and using.room and not using.listed:
            using.listed = True
            self._usable.append(using)

    def _ended(self, using, number, code):
        if code == connection.NOT_TAKEN:
            self._again[number] += 1
            if self._again[number] <= _MOST_REPEATS:
                self._flying.pop(number)
                self._waiting.appendleft(number)
                return
            code = "UNAVAILABLE"
        now = time.perf_counter()
        self._end[number] = now
        self._flying.pop(number, None)
        if code == "OK":
            self._latencies.append(now - self._due[number])
        else:
            self._faults[number] = code
        if not self._open:
            if code == "OK":
                self._free += 1
            else:
                self._paused.append(now + _PAUSE_S)
        self._use(using)

    def _wait(self, timeout_s):
        # epoll rounds its timeout up to a millisecond, which an open loop would be late by; select does not.
        if self._open and timeout_s > 0:
            select.select([self._poll], (), (), timeout_s)
            timeout_s = 0
        for number, events in self._poll.poll(max(0, timeout_s)):
            self._connections[number].happened(events)

    def _cut(self, start, length_s, cpu_fraction, ticks):
        due, end, late = (numpy.array(values) for values in (self._due, self._end, self._late))
        ok, took_ms = numpy.ones(len(due), bool), (end - due) * 1000
        ok[list(self._faults)] = False
        mine = (due >= start) & (due < start + length_s)
        done = ok & (end >= start) & (end < start + length_s)
        good = done if self._request["objective_ms"] is None else done & (took_ms <= self._request["objective_ms"])
        lateness = (late[mine] if self._open else ticks) * 1000
        late_fraction = float((lateness > schedule.LATE_MS).mean()) if len(lateness) else 0.0
        errors = Counter(code for number, code in self._faults.items() if mine[number])
        void = schedule.health(
            cpu_fraction, late_fraction, int(mine.sum()), sum(errors.values()), self._request["loop"]
        )
        if len(due) >= load_test.MOST_REQUESTS:
            void = f"more than {load_test.MOST_REQUESTS} requests in the window. Shorten it."
        latency_ms, histogram = _latency(took_ms[mine & ok])
        return {
            "target": self._target["name"],
            "loop": self._request["loop"],
            "concurrency": None if self._open else self._request["concurrency"],
            "rate_rps": self._request["rate_rps"],
            "duration_s": length_s,
            "requests": int(mine.sum()),
            "ok": int((mine & ok).sum()),
            "errors": dict(errors),
            "throughput_rps": float(done.sum() / length_s),
            "goodput_rps": float(good.sum() / length_s),
            "latency_ms": latency_ms,
            "histogram": histogram,
            "generator": {
                "cpu_fraction": cpu_fraction,
                "late_fraction": late_fraction,
                "max_late_ms": float(lateness.max()) if len(lateness) else 0.0,
            },
            "void": void,
        }


def _latency(took_ms):
    """({mean, p50, …, max}, the encoded histogram) of the latencies of requests that were answered; what the count does not support is None."""
    histogram = HdrHistogram(1, _LONGEST_US, 3)
    micros, counts = numpy.unique(
        numpy.clip(numpy.rint(took_ms * 1000), 1, _LONGEST_US).astype("int64"), return_counts=True
    )
    for value, count in zip(micros.tolist(), counts.tolist()):
        histogram.record_value(value, count)
    supported = percentiles.supported(len(took_ms))
    figures = {
        name: histogram.get_value_at_percentile(percent) / 1000 if name in supported else None
        for name, (percent, _fewest) in percentiles.PERCENTILES.items()
    }
    some = len(took_ms) > 0
    return dict(
        figures, mean=float(took_ms.mean()) if some else None, max=float(took_ms.max()) if some else None
    ), histogram.encode().decode()


def _begun(request, target):
    """(the target with the form of REST's bodies, its batches, the milliseconds that the first request took). Raises FleetError as _first_call does.

    A server that refuses the first request may have inputs without a batch dimension: these get an example alone, which only the column form can say.
    """
    target, batches = dict(target, form="row"), _batches(request, target)
    try:
        return target, batches, _first_call(target, batches[0], request["deadline_s"])
    except FleetError as fault:
        refused = (
            request["samples"]
            and request["batch"] == 1
            and getattr(fault.__cause__, "code", None) == "INVALID_ARGUMENT"
        )
        squeezed = _squeezed(target, batches[0], request["deadline_s"]) if refused else ()
        if not squeezed:
            raise
    target = dict(target, form="column")
    batches = [
        {name: values[0] if name in squeezed else values for name, values in inputs.items()} for inputs in batches
    ]
    return target, batches, _first_call(target, batches[0], request["deadline_s"])


def _squeezed(target, inputs, deadline_s):
    """Names of the inputs without a batch dimension; none where the samples do not fit the signature at all."""
    try:
        return signature.feeding(_tensors(target, deadline_s), {name: values.shape for name, values in inputs.items()})[
            1
        ]
    except FleetError:
        return set()


def _first_call(target, inputs, deadline_s):
    """The milliseconds that the first request takes; raises FleetError when it shows that load makes no sense."""
    body = _bodies(target, [inputs])[0]
    begun = time.perf_counter()
    try:
        with _client(target, deadline_s) as caller:
            if target["protocol"] == "grpc":
                caller.call(grpc_api.PREDICT, body)
            else:
                caller.call("POST", f"/v1/models/{target['model']}:predict", body)
    except ServerFault as fault:
        if fault.code in _HOPELESS:
            raise FleetError(
                f"{target['protocol']}://{load_test.authority(target)} answers the first request with {fault.code}: {fault.message}",
                where=f"target {target['name']}",
                remedy="Check that it runs, that the model is served there and that the samples fit it.",
            ) from fault
    return (time.perf_counter() - begun) * 1000


def _bodies(target, batches):
    """Each batch as the bytes of a request of the target's protocol, up to a total size."""
    bodies, total = [], 0
    for inputs in batches:
        body = (
            client.predict_request(target["model"], inputs, target["signature"])
            if target["protocol"] == "grpc"
            else client.rest_body(inputs, target["signature"], target["form"])
        )
        total += len(body)
        if bodies and total > _MOST_BODY_BYTES:
            break
        bodies.append(body)
    return bodies


def _batches(request, target):
    """[{input name: array}], the inputs of a few different requests: batch examples each, in the samples' order, begun again at their end."""
    if not request["samples"]:
        return _made_up(target, request)
    inputs, batch = _samples(request["samples"]), request["batch"]
    count = len(next(iter(inputs.values())))
    return [
        {name: values.take(range(first, first + batch), axis=0, mode="wrap") for name, values in inputs.items()}
        for first in range(0, min(count, _MOST_BODIES * batch), batch)
    ]


def _samples(path):
    inputs = {
        name[len("inputs.") :]: array for name, array in samples.archive(path).items() if name.startswith("inputs.")
    }
    if not inputs:
        raise FleetError(f"{path} has no array named inputs.<name>", where="samples")
    sizes = {values.shape[0] if values.ndim else 0 for values in inputs.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise FleetError(
            f"the inputs in {path} need the same number of examples, 1 or more; they have {sorted(sizes)}",
            where="samples",
        )
    return inputs


def _tensors(target, deadline_s):
    """{input name: {dtype, shape}} of a target's signature, as the server tells."""
    with _client(target, deadline_s) as caller:
        try:
            signatures = caller.metadata(target["model"])
        except ServerFault as fault:
            raise FleetError(
                str(fault),
                where=f"target {target['name']}",
                remedy="Check that it runs and serves the model, or name samples.",
            ) from fault
    options.one_of(f"target {target['name']}: signature", target["signature"], sorted(signatures))
    return signatures[target["signature"]]["inputs"]


def _made_up(target, request):
    """Inputs drawn at random in the dtypes and shapes that the server tells; unknown dimensions are batch (the first) and 1 (the others)."""
    draw, tensors = numpy.random.default_rng(0), _tensors(target, request["deadline_s"])
    return [
        {
            name: _drawn(draw, tensor["dtype"], _filled(tensor["shape"], request["batch"]))
            for name, tensor in tensors.items()
        }
        for _request in range(16)
    ]


def _filled(shape, batch):
    if shape is None:
        return [batch]
    return [(1 if position else batch) if size is None else size for position, size in enumerate(shape)]


def _drawn(draw, dtype, shape):
    if dtype == "string":
        return numpy.full(shape, b"text", object)
    try:
        kind = numpy.dtype(dtype).kind
    except TypeError as fault:
        raise FleetError(
            f"no values can be made up for {dtype}", where="samples", remedy="Name an .npz file of samples."
        ) from fault
    return numpy.asarray(draw.random(shape) if kind in "fc" else draw.integers(0, 2, shape)).astype(dtype)


def _client(target, deadline_s):
    if target["protocol"] == "rest":
        return client.RestClient(target["address"], target["port"], deadline_s)
    return client.GrpcClient(
        f"[{target['address']}]" if ":" in target["address"] else target["address"], target["port"], deadline_s
    )


def _place(target):
    """(family, socket address) of a target."""
    try:
        family, _type, _protocol, _name, address = socket.getaddrinfo(
            target["address"], target["port"], type=socket.SOCK_STREAM
        )[0]
    except OSError as fault:
        raise FleetError(
            f"{target['address']!r} is no address: {fault.strerror}", where=f"target {target['name']}"
        ) from fault
    return family, address


def _allow_many_connections():
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
