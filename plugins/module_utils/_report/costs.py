# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute what requests cost: the price of the hosts divided by the requests that they answer within the objective at full load."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import Cost, Host, Tuning, TuningClass

_SECONDS_PER_HOUR, _MILLION = 3600, 1e6


def costs(hosts: Sequence[Host], classes: Sequence[TuningClass]) -> list[Cost]:
    """Return the costs of each model for each measured class, and for all these classes together if there are several.

    All hosts of a class count with the goodput of the host that was measured. Hosts without a price are left out, and tunings for latency, which measure no
    full load.
    """
    known = {host["host"]: host for host in hosts}
    found: dict[str | None, list[tuple[str, list[float], Tuning]]] = {}
    for one in classes:
        prices = [price for price in (known[name]["price_per_hour"] for name in one["hosts"]) if price is not None]
        for tuning in known[one["tuned_host"]]["tunings"] if one["tuned_host"] and prices else ():
            if tuning["method"].get("goal") != "latency":
                found.setdefault(tuning["model"], []).append((one["tuning"], prices, tuning))
    made = []
    for model, measured in found.items():
        made += [_cost(model, name, [(prices, tuning)]) for name, prices, tuning in measured]
        if len(measured) > 1:
            made.append(_cost(model, None, [(prices, tuning) for _name, prices, tuning in measured]))
    return made


def _cost(model: str | None, name: str | None, measured: Sequence[tuple[list[float], Tuning]]) -> Cost:
    price = sum(sum(prices) for prices, _tuning in measured)
    before = [(len(prices), tuning["total"]["before"]["goodput_rps"]) for prices, tuning in measured]
    after = [
        (len(prices), tuning["total"]["goodput_rps"] if tuning["total"]["kept"] else old)
        for (prices, tuning), (_count, old) in zip(measured, before)
    ]
    return {
        "model": model,
        "tuning": name,
        "hosts": sum(len(prices) for prices, _tuning in measured),
        "price_per_hour": price,
        "before": _per_million(price, before),
        "after": _per_million(price, after),
    }


def _per_million(price: float, goodputs: Sequence[tuple[int, float | None]]) -> float | None:
    """Return the price of a million requests, or None if a goodput is unknown or all are zero. goodputs: (number of hosts, their goodput in requests/s)."""
    rates = [count * goodput for count, goodput in goodputs if goodput is not None]
    if len(rates) < len(goodputs) or not sum(rates):
        return None
    return price / (sum(rates) * _SECONDS_PER_HOUR) * _MILLION
