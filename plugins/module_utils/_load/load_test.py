# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The request for a load test: check it before anything is sent, describe it, and bound its requests and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

LOOPS = ("closed", "open")
PROTOCOLS = ("grpc", "rest")
MOST_REQUESTS = 1000000  # of one window: what fits into memory
_MOST_EXAMPLES = 1000000  # of one request
_LONGEST_DIMENSION = 1000000
_HIGHEST_LIMIT = 1 << 31
IN_FLIGHT = (1, 512)
RATES = (0.01, 100000)
_WEIGHTS = (0.001, 1000000)
OTHER_INPUTS = "*"  # in dimensions
LEAD_IN_S = 0.1  # load before each window, not measured, so that the server is already busy

# option -> (least, most, unit)
_RANGES = {
    "concurrency": (*IN_FLIGHT, ""),
    "rate_rps": (*RATES, "requests/s"),
    "window_s": (0.1, 3600, "s"),
    "window_requests": (0, 100000, "requests"),
    "window_max_s": (0.1, 3600, "s"),
    "warmup_max_s": (0, 600, "s"),
    "objective_ms": (0.001, 600000, "ms"),
    "deadline_s": (0.001, 600, "s"),
}


class Target(TypedDict):
    """A model on a server. protocol: grpc or rest."""

    name: str
    protocol: str
    address: str
    port: int
    model: str
    signature: str


class Request(TypedDict):
    """The parameters of a load test. None: it does not apply."""

    targets: list[Target]
    windows: list[str]  # names of targets in order
    loop: str  # closed or open
    concurrency: int
    rate_rps: float | None
    arrivals: str | None  # path of a file with recorded arrival times
    batch: dict[int, float]  # {examples of a request: weight}
    dimensions: dict[str, int]  # {input or OTHER_INPUTS: length of its unknown dimensions but the first}
    values_below: dict[str, int]  # {input: limit of its integers}
    window_s: float  # the least; see window_s() below
    window_requests: int
    window_max_s: float
    warmup_max_s: float
    objective_ms: float | None
    deadline_s: float
    samples: str | None  # path of a file of samples
    warmup: str | None  # path of a warm-up file, for a request without samples
    seed: int
    progress: str | None  # path of a file to append lines to


class Generator(TypedDict):
    """How well the generator kept up. cpu_fraction: of one core. late_fraction: see schedule.health."""

    cpu_fraction: float
    late_fraction: float
    max_late_ms: float


class Window(TypedDict):
    """A measured window. void: why it does not count, or None."""

    target: str
    loop: str
    concurrency: int | None
    rate_rps: float | None
    duration_s: float
    requests: int
    ok: int
    errors: dict[str, int]
    throughput_rps: float
    goodput_rps: float
    latency_ms: dict[str, float | None]  # mean, p50, p90, p95, p99, p999, max; None where the count does not support it
    histogram: str  # HdrHistogram's encoding, microseconds
    generator: Generator
    requests_from: str  # samples, warm-up file, or signature
    void: str | None


def checked(request: Mapping[str, Any]) -> Request:
    """Return the request with its windows (by default each target once). Raise FleetError for the first invalid option."""
    targets = request["targets"]
    if not targets:
        raise FleetError("the list is empty", where="targets", remedy="Set at least one server and model.")
    for number, target in enumerate(targets):
        options.one_of(f"targets[{number}].protocol", target["protocol"], PROTOCOLS)
        options.bounded(f"targets[{number}].port", target["port"], 1, 65535)
        for key in ("name", "address", "model", "signature"):
            if not target[key]:
                raise FleetError("the value is empty", where=f"targets[{number}].{key}", remedy="Set it.")
    names = [target["name"] for target in targets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FleetError(f"{twice[0]!r} is listed twice", where="targets", remedy="Give each target its own name.")
    for name in request["windows"] or []:
        options.one_of("windows", name, names)
    options.one_of("loop", request["loop"], LOOPS)
    for option, (least, most, unit) in _RANGES.items():
        if request[option] is not None:
            options.bounded(option, request[option], least, most, unit)
    if request["loop"] == "open":
        _check_rate(request)
    for option in ("rate_rps", "arrivals"):
        if request["loop"] == "closed" and request[option] is not None:
            raise FleetError("it applies only to an open loop", where=option, remedy="Omit it, or set loop: open.")
    return cast(
        Request,
        dict(
            request,
            windows=list(request["windows"] or names),
            batch=batch_sizes(request["batch"]),
            dimensions=dimensions(request["dimensions"] or {}),
            values_below={
                name: _whole(f"values_below.{name}", limit, _HIGHEST_LIMIT)
                for name, limit in (request["values_below"] or {}).items()
            },
        ),
    )


def batch_sizes(given: Any, where: str = "batch") -> dict[int, float]:
    """Return {examples of a request: weight}, from a number, a list (each as often as it occurs), or a mapping. Raise FleetError for an invalid value."""
    sizes = given if isinstance(given, (Mapping, list)) else [given]
    if not sizes:
        raise FleetError("it is empty", where=where, remedy="Set at least one number of examples.")
    found = Counter[int]()
    for size, weight in sizes.items() if isinstance(sizes, Mapping) else ((size, 1) for size in sizes):
        whole = _whole(where, size, _MOST_EXAMPLES)
        found[whole] += options.bounded(f"{where}[{size}]", options.number_of(weight, float), *_WEIGHTS)
    return dict(found)


def dimensions(given: Mapping[str, Any], where: str = "dimensions") -> dict[str, int]:
    """Return the lengths of unknown dimensions as whole numbers. Raise FleetError for an invalid one."""
    return {name: _whole(f"{where}.{name}", length, _LONGEST_DIMENSION) for name, length in given.items()}


def _whole(where: str, value: Any, most: int) -> int:
    options.bounded(where, options.number_of(value, int), 1, most)
    options.refuse({where: {"type": "int"}}, {where: value})
    return int(value)


def _check_rate(request: Mapping[str, Any]) -> None:
    if request["rate_rps"] is None and request["arrivals"] is None:
        raise FleetError(
            "an open loop needs a rate or arrivals",
            where="rate_rps",
            remedy="Set a rate below the one that the server can sustain, or set loop: closed.",
        )
    count = (request["rate_rps"] or 0) * (request["window_s"] + LEAD_IN_S)
    if count > MOST_REQUESTS:
        raise FleetError(
            f"{request['rate_rps']:g} requests/s for {request['window_s']:g} s are more than {MOST_REQUESTS} requests per window",
            where="rate_rps",
            remedy="Lower rate_rps or window_s.",
        )


def described(request: Request) -> list[str]:
    """Describe a checked request, one sentence per target."""
    how = f"{request['concurrency']} request{'s' * (request['concurrency'] != 1)} in flight"
    if request["loop"] == "open":
        rate = f"{request['rate_rps']:g} requests/s" if request["rate_rps"] else "the recorded rate"
        how = f"{rate} with {'recorded' if request['arrivals'] else 'Poisson'} arrivals"
    longer = (
        f", or as long as {request['window_requests']} requests take, at most {request['window_max_s']:g} s"
        if request["window_requests"]
        else ""
    )
    size = f"{' or '.join(map(str, request['batch']))} example{'s' * (list(request['batch']) != [1])}"
    return [
        f"Send {target['protocol']} requests of {size} to {target['name']} ({authority(target)}, model {target['model']}) for "
        f"{request['windows'].count(target['name'])} x {request['window_s']:g} s{longer}, {how}"
        for target in request["targets"]
    ]


def window_s(request: Request, rate_rps: float) -> float:
    """Return the length, in seconds, of the windows of a target that answers this many requests per second."""
    if rate_rps * request["window_s"] >= request["window_requests"]:
        return request["window_s"]
    needed_s = request["window_requests"] / rate_rps if rate_rps else request["window_max_s"]
    return max(request["window_s"], min(needed_s, request["window_max_s"]))


def longest_s(request: Request) -> float:
    """Return an upper bound of the seconds that a checked request takes."""
    most_s = max(request["window_s"], request["window_max_s"]) if request["window_requests"] else request["window_s"]
    windows = len(request["windows"]) * (most_s + LEAD_IN_S + request["deadline_s"])
    warm = len(request["targets"]) * (request["warmup_max_s"] + 2 * request["deadline_s"])
    return 60 + 2 * (windows + warm)


def authority(target: Target) -> str:
    """address:port as URLs write it."""
    address = target["address"]
    return f"[{address}]:{target['port']}" if ":" in address else f"{address}:{target['port']}"
