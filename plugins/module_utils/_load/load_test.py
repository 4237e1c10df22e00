# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test is asked to do: checked before anything is sent, told in words, and bounded in requests and time."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

LOOPS = ("closed", "open")
PROTOCOLS = ("grpc", "rest")
MOST_REQUESTS = 1000000  # of one window: what fits into memory
LEAD_IN_S = 0.1  # load before each window, not measured: the window finds a server at work

# option -> (least, most, unit)
_RANGES = {
    "batch": (1, 1000000, ""),
    "concurrency": (1, 512, ""),
    "rate_rps": (0.01, 100000, "requests/s"),
    "window_s": (0.1, 3600, "s"),
    "warmup_max_s": (0, 600, "s"),
    "objective_ms": (0.001, 600000, "ms"),
    "deadline_s": (0.001, 600, "s"),
}


def checked(request):
    """The request with windows filled in; raises FleetError for the first option that cannot be.

    request: {targets: [{name, protocol, address, port, model, signature}], windows: names in order, or empty for each target once, loop, concurrency,
    rate_rps, batch, window_s, warmup_max_s, objective_ms, deadline_s, …}; what does not apply is None.
    """
    targets = request["targets"]
    if not targets:
        raise FleetError("is empty", where="targets", remedy="Name at least one server and model.")
    for number, target in enumerate(targets):
        options.one_of(f"targets[{number}].protocol", target["protocol"], PROTOCOLS)
        options.bounded(f"targets[{number}].port", target["port"], 1, 65535)
        for key in ("name", "address", "model", "signature"):
            if not target[key]:
                raise FleetError("is empty", where=f"targets[{number}].{key}")
    names = [target["name"] for target in targets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FleetError(f"{twice[0]!r} is named twice", where="targets", remedy="Give each target a name of its own.")
    for name in request["windows"] or []:
        options.one_of("windows", name, names)
    options.one_of("loop", request["loop"], LOOPS)
    for option, (least, most, unit) in _RANGES.items():
        if request[option] is not None:
            options.bounded(option, request[option], least, most, unit)
    if request["loop"] == "open":
        _check_rate(request)
    elif request["rate_rps"] is not None:
        raise FleetError(
            "only an open loop sends at a rate", where="rate_rps", remedy="Leave it out, or set loop: open."
        )
    return dict(request, windows=list(request["windows"] or names))


def _check_rate(request):
    if request["rate_rps"] is None:
        raise FleetError(
            "is missing; an open loop sends at a rate",
            where="rate_rps",
            remedy="Set it, below what the server can do, or set loop: closed.",
        )
    count = request["rate_rps"] * (request["window_s"] + LEAD_IN_S)
    if count > MOST_REQUESTS:
        raise FleetError(
            f"{request['rate_rps']:g} requests/s for {request['window_s']:g} s are more than {MOST_REQUESTS} requests a window",
            where="rate_rps",
            remedy="Lower rate_rps or window_s.",
        )


def told(request):
    """What a checked request will do, one sentence a target."""
    how = (
        f"{request['rate_rps']:g} requests/s with Poisson arrivals"
        if request["loop"] == "open"
        else f"{request['concurrency']} request{'s' * (request['concurrency'] != 1)} in flight"
    )
    size = f"{request['batch']} example{'s' * (request['batch'] != 1)}"
    return [
        f"Send {target['protocol']} requests of {size} to {target['name']} ({authority(target)}, model {target['model']}) for "
        f"{request['windows'].count(target['name'])} x {request['window_s']:g} s, {how}"
        for target in request["targets"]
    ]


def longest_s(request):
    """An upper bound, in seconds, of the time that a checked request takes."""
    windows = len(request["windows"]) * (request["window_s"] + LEAD_IN_S + request["deadline_s"])
    warm = len(request["targets"]) * (request["warmup_max_s"] + 2 * request["deadline_s"])
    return 60 + 2 * (windows + warm)


def authority(target):
    """address:port as URLs write it."""
    address = target["address"]
    return f"[{address}]:{target['port']}" if ":" in address else f"{address}:{target['port']}"
