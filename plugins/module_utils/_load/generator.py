# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator, a program: windows of load against one or several servers, in a given order, for interleaving.

Needs numpy, protobuf, grpcio (for one first call) and hdrhistogram.
"""

from __future__ import annotations

import resource
import select
import sys
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options, program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import (
    connection,
    histogram,
    load_test,
    payloads,
    schedule,
    traffic,
)


class WarmUp(traffic.Warmth):
    """How a target became warm. first_ms: what the first request took."""

    first_ms: float


class Result(TypedDict):
    """The result of the program."""

    windows: list[load_test.Window]
    warmups: list[WarmUp]


def main() -> int:
    """Run the program."""
    return program.answer(sys.argv, measure)


def measure(given: Mapping[str, Any]) -> Result:
    """Measure the windows of a request. Raise FleetError if a target is not reachable or rejects the first request."""
    for name, package in histogram.PACKAGES.items():
        if package is None:
            raise FleetError(
                f"the Python package {name} is missing", where="python", remedy=f"Install it for {sys.executable}."
            )
    request = load_test.checked(given)
    trace = _trace(request)
    if trace:
        request["rate_rps"] = options.bounded("arrivals", schedule.mean_rate_rps(trace), *load_test.RATES, "requests/s")
    _allow_many_connections()
    connections: dict[int, connection.Connection]
    traffics: dict[str, traffic.Traffic]
    warmups: list[WarmUp]
    poll, connections, traffics, warmups = select.epoll(), {}, {}, []
    for named in request["targets"]:
        prepared = payloads.prepared(request, named)
        load = traffics[named["name"]] = traffic.Traffic(prepared, request, trace, poll, connections)
        warmups.append({**load.warm_up(), "first_ms": prepared.first_ms})
        program.say(request["progress"], f"{named['name']}: warm after {warmups[-1]['duration_s']:.1f} s")
    windows = []
    for number, name in enumerate(request["windows"], 1):
        window = traffics[name].window(f"{request['seed']}/{request['windows'][:number].count(name)}")
        windows.append(window)
        void = "; void" if window["void"] else ""
        program.say(
            request["progress"],
            f"{name}: {window['throughput_rps']:.0f} requests/s, window {number} of {len(request['windows'])}{void}",
        )
    for one in list(connections.values()):
        one.close()
    return {"windows": windows, "warmups": warmups}


def _trace(request: load_test.Request) -> list[float]:
    """Return the recorded arrival times of a request, or none."""
    path = request["arrivals"]
    if path is None:
        return []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return schedule.recorded(stream.readlines(), request["rate_rps"], path)
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror}", where=path) from fault


def _allow_many_connections() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
