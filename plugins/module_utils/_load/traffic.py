# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load on one target. Each window is a part of a load that began before it, so that its start is like the rest.

One thread, one loop, plain sockets. Open loop: requests are due by a Poisson process, whatever the server does. Latency counts from
the time they were due, so a stall shows in all requests that it delayed. Closed loop: a fixed number of requests in flight.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import (
    connection,
    histogram,
    load_test,
    payloads,
    schedule,
)

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

_MOST_REPEATS = 5  # of a request that a server did not take
_MOST_IN_FLIGHT = 512  # of one target; further requests wait, and that counts as latency
_TICK_S = 0.01
_PAUSE_S = 0.01  # after an error in a closed loop, to avoid a busy loop of refused connections
_SLICE_S = 0.2


class Warmth(TypedDict):
    """How a target became warm."""

    target: str
    duration_s: float
    requests: int
    steady: bool


class Traffic:
    """The load on one target. A request is a number, its place in the records: when it was due, how late it was sent, when it ended."""

    _usable: list[connection.Connection]
    _newest: connection.Connection | None
    _faults: dict[int, str]
    _flying: dict[int, connection.Connection]
    _waiting: deque[int]
    _again: Counter[int]
    _latencies: list[float]

    def __init__(
        self,
        prepared: payloads.Prepared,
        request: load_test.Request,
        trace: Sequence[float],
        poll: select.epoll,
        connections: dict[int, connection.Connection],
    ) -> None:
        target = self._target = prepared.target
        self._request, self._trace, self._requests_from = request, trace, prepared.requests_from
        self._open, self._deadline_s = request["loop"] == "open", request["deadline_s"]
        messages = connection.GrpcMessages if target["protocol"] == "grpc" else connection.RestMessages
        self._messages = messages(target, prepared.bodies, self._deadline_s)
        self._bodies = len(prepared.bodies)
        self._place = _place(target)
        self._poll, self._connections, self._usable, self._newest = poll, connections, [], None
        self._window_s = request["window_s"]
        self._begin(0.0, "")

    def warm_up(self) -> Warmth:
        """Load until the server gets no faster, at most warmup_max_s."""
        slices: list[float | None]
        longest_s, slices = self._request["warmup_max_s"], []
        start = self._begin(longest_s, "warm-up")
        while not schedule.steady(slices) and time.perf_counter() - start + _SLICE_S <= longest_s:
            self._latencies.clear()
            self._run(time.perf_counter() + _SLICE_S)
            slices.append(sorted(self._latencies)[len(self._latencies) // 2] if self._latencies else None)
        took = time.perf_counter() - start
        self._drain()
        self._window_s = load_test.window_s(self._request, self._request["rate_rps"] or self._answered_rps(start))
        return {
            "target": self._target["name"],
            "duration_s": took,
            "requests": len(self._due),
            "steady": schedule.steady(slices),
        }

    def _answered_rps(self, start: float) -> float:
        """Return the successful answers per second of a finished load that began at start."""
        ends = [end for number, end in enumerate(self._end) if number not in self._faults]
        return len(ends) / (max(ends) - start) if ends else 0.0

    def window(self, seed: str) -> load_test.Window:
        """Return one measured window; the same seed gives the same arrivals."""
        length_s = self._window_s
        gc.collect()
        gc.disable()
        start = self._begin(load_test.LEAD_IN_S + length_s, seed) + load_test.LEAD_IN_S
        self._run(start)
        self._ticks = array("d")
        before = time.perf_counter(), time.process_time()
        self._run(start + length_s)
        while (longer_s := self._longer_s(start, length_s)) > length_s:
            length_s = longer_s
            self._run(start + length_s)
        cpu_fraction = (time.process_time() - before[1]) / (time.perf_counter() - before[0])
        ticks = numpy.array(self._ticks)
        self._drain()
        gc.enable()
        return self._cut(start, length_s, cpu_fraction, ticks)

    def _longer_s(self, start: float, length_s: float) -> float:
        """Return a longer window, at most twice as long, if a closed loop sent too few requests in it, because the server became slower; else length_s."""
        count = sum(due >= start for due in self._due)
        if self._open or count >= self._request["window_requests"]:
            return length_s
        return max(length_s, min(load_test.window_s(self._request, count / length_s), 2 * length_s))

    def _begin(self, length_s: float, seed: str) -> float:
        """Clear all records and start a load of that length. Return its start time."""
        now = time.perf_counter()
        self._due, self._late, self._end = array("d"), array("d"), array("d")
        self._faults, self._flying, self._waiting, self._again, self._latencies = {}, {}, deque(), Counter(), []
        self._ticks, self._next_tick = array("d"), now
        self._free, self._paused = 0 if self._open else self._request["concurrency"], deque[float]()
        times: Iterable[float] = ()
        if self._trace:
            times = schedule.replayed(self._trace, length_s, seed)
        elif self._request["rate_rps"]:
            times = schedule.arrivals(self._request["rate_rps"], length_s, seed)
        self._arrivals = (now + at for at in times)
        self._next_due = next(self._arrivals, float("inf"))
        return now

    def _run(self, until: float) -> None:
        while True:
            now = time.perf_counter()
            self._tick(now)
            self._start(now)
            if now >= until:
                return
            self._wait(min(until, self._next_tick, self._next_due) - time.perf_counter())

    def _drain(self) -> None:
        """Wait for the requests in flight or queued, at most until their deadline."""
        while self._flying or self._waiting:
            self._tick(time.perf_counter())
            self._send_waiting()
            self._wait(self._next_tick - time.perf_counter())

    def _tick(self, now: float) -> None:
        """On each tick, record how late it is, and cancel requests past their deadline."""
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

    def _start(self, now: float) -> None:
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

    def _record(self, due: float, now: float) -> None:
        self._waiting.append(len(self._due))
        self._due.append(due)
        self._late.append(now - due)
        self._end.append(0.0)

    def _send_waiting(self) -> None:
        while self._waiting:
            using = self._connection()
            if using is None:
                return
            number = self._waiting.popleft()
            self._flying[number] = using
            using.send(number, number % self._bodies)

    def _connection(self) -> connection.Connection | None:
        """Return a connection for another request, a new one if all are busy. Return None while one is opening or too many requests are in flight."""
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

    def _use(self, using: connection.Connection | None) -> None:
        if using and using.room and not using.listed:
            using.listed = True
            self._usable.append(using)

    def _ended(self, using: connection.Connection | None, number: int, code: str) -> None:
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

    def _wait(self, timeout_s: float) -> None:
        # epoll rounds its timeout up to a millisecond, which an open loop would be late by; select does not.
        if self._open and timeout_s > 0:
            select.select([self._poll], (), (), timeout_s)
            timeout_s = 0
        for number, events in self._poll.poll(max(0, timeout_s)):
            self._connections[number].happened(events)

    def _cut(self, start: float, length_s: float, cpu_fraction: float, ticks: Any) -> load_test.Window:
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
            void = f"more than {load_test.MOST_REQUESTS} requests in the window. Shorten the window."
        latency_ms, latencies = histogram.encoded(took_ms[mine & ok])
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
            "histogram": latencies,
            "generator": {
                "cpu_fraction": cpu_fraction,
                "late_fraction": late_fraction,
                "max_late_ms": float(lateness.max()) if len(lateness) else 0.0,
            },
            "requests_from": self._requests_from,
            "void": void,
        }


def _place(target: load_test.Target) -> connection.Place:
    try:
        family, _type, _protocol, _name, address = socket.getaddrinfo(
            target["address"], target["port"], type=socket.SOCK_STREAM
        )[0]
    except OSError as fault:
        raise FleetError(
            f"cannot resolve the address {target['address']!r}: {fault.strerror}",
            where=f"target {target['name']}",
            remedy="Check the address of the target.",
        ) from fault
    return family, address
