# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests that clients send, and how the load generator repeats them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import bounded, number_of, one_of, refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._load import load_test

_TYPES = {"concurrency": "int", "rate_rps": "float", "arrivals": "path"}
KEYS = ("batch_sizes", "dimensions", *_TYPES)
_CONCURRENCY = 8
P99_REQUESTS = 1200  # of a window for a p99, which needs 1,000; random arrivals can be fewer than planned


@dataclasses.dataclass(frozen=True)
class Traffic:
    """The traffic of one model's clients. rate_rps and arrivals: both None if it is unknown when requests come."""

    batch_sizes: dict[int, float]  # {examples of a request: weight}
    concurrency: int
    rate_rps: float | None
    arrivals: str | None
    dimensions: dict[str, int]

    @property
    def rows_in_flight(self) -> int:
        """Return how many examples a closed loop has in flight, on average."""
        total = sum(self.batch_sizes.values())
        return round(self.concurrency * sum(size * weight for size, weight in self.batch_sizes.items()) / total)

    @property
    def has_rate(self) -> bool:
        """Return whether it is known when requests come."""
        return self.rate_rps is not None or self.arrivals is not None

    def closed(self) -> dict[str, Any]:
        """Return the options of load_test for a closed loop."""
        return {"loop": "closed", "concurrency": self.concurrency, **self._requests()}

    def open(self, rate_rps: float | None = None) -> dict[str, Any]:
        """Return the options of load_test for an open loop, at the traffic's own rate or at another one."""
        return {"loop": "open", "rate_rps": rate_rps or self.rate_rps, "arrivals": self.arrivals, **self._requests()}

    def _requests(self) -> dict[str, Any]:
        return {"batch": self.batch_sizes, "dimensions": self.dimensions}


def traffic(given: Any) -> Traffic:
    """Return the traffic that a mapping describes. Raise FleetError for the first invalid key or value."""
    for key in _mapping("traffic", given or {}):
        one_of("traffic", key, KEYS)
    values = {key: value for key, value in (given or {}).items() if value is not None}
    refuse(
        {f"traffic.{key}": {"type": kind} for key, kind in _TYPES.items()},
        {f"traffic.{key}": value for key, value in values.items()},
    )
    rate_rps = number_of(values.get("rate_rps"), float)
    if rate_rps is not None:
        bounded("traffic.rate_rps", rate_rps, *load_test.RATES, "requests/s")
    if "arrivals" in values and not values["arrivals"]:
        raise FleetError(
            "the path is empty",
            where="traffic.arrivals",
            remedy="Remove arrivals, or set it to the path of a file on the host.",
        )
    return Traffic(
        load_test.batch_sizes(values.get("batch_sizes", 1), "traffic.batch_sizes"),
        bounded(
            "traffic.concurrency",
            int(float(values.get("concurrency", _CONCURRENCY))),
            *load_test.IN_FLIGHT,
            "requests in flight",
        ),
        rate_rps,
        values.get("arrivals"),
        load_test.dimensions(_mapping("traffic.dimensions", values.get("dimensions", {})), "traffic.dimensions"),
    )


def _mapping(where: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise FleetError(f"{given!r} is not a mapping", where=where)
    return given
