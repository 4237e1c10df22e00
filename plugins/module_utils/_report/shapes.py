# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of the document in report.json. None: not measured, or not applicable."""

from __future__ import annotations

from typing import Any, TypedDict

# [[fraction of the requests, milliseconds], ...], both rising.
Curve = list[list[float]]
# The lower bound first, None for an open end.
Interval = list["float | None"]


class Figures(TypedDict):
    """What was measured of one configuration."""

    goodput_rps: float | None
    p50_ms: float | None
    p99_ms: float | None
    requests: int | None


class Side(Figures):
    """What was measured of one configuration under a constant rate."""

    curve: Curve | None


class OpenLoop(TypedDict):
    """Both configurations under the same rate. highest_rps: {before, after}, the highest rates within the latency objective."""

    rate_rps: float | None
    before: Side
    after: Side
    highest_rps: dict[str, float | None] | None


class Accuracy(TypedDict):
    """A task metric before and after a step."""

    before: float | None
    after: float | None


class _Marks(TypedDict, total=False):
    """Present only if true."""

    advice: bool  # only clients can make this change
    unconfirmed: bool  # it was kept until the final comparison did not confirm a gain


class StepSummary(TypedDict):
    """The keys that every reader of the data can rely on. gain: a fraction of goodput."""

    name: str
    kept: bool
    reason: str
    goodput_rps: float | None
    p50_ms: float | None
    p99_ms: float | None
    requests: int | None
    gain: float | None
    gain_interval: Interval | None
    noise_floor: float | None
    accuracy: Accuracy


class Curves(TypedDict):
    """Latency before and after. requests: how many each curve is of."""

    name: str
    requests: int | None
    curve_before: Curve | None
    curve_after: Curve | None


class Step(StepSummary, _Marks):
    """A tuning step as a tuning returned it."""

    change: Any
    instances: int | None  # pairs of fresh servers that counted
    rounds: int | None  # on all of them
    before: Figures
    curve_before: Curve | None
    curve_after: Curve | None
    open_loop: OpenLoop | None
    factor: float | None  # goodput divided by that of the start, along the gains that were kept


class Tuning(TypedDict):
    """A tuning of a model on a host. method: how it was measured, with the keys that document.py checks and others that the tuning added."""

    host: str
    model: str | None
    backend: str
    image: str | None
    start: Any
    configuration: Any
    method: dict[str, Any]
    noise: Step | None
    steps: list[Step]
    total: Step


class HostClass(TypedDict):
    """The classes of a host."""

    image: str | None
    tuning: str | None


Host = TypedDict(
    "Host",
    {
        "host": str,
        "class": HostClass,
        "capabilities": "dict[str, Any] | None",
        "plan": "dict[str, Any] | None",
        "server": "dict[str, Any] | None",
        "price_per_hour": "float | None",
        "checks": "list[dict[str, Any]]",
        "steps": list[StepSummary],
        "total": "StepSummary | None",
        "tunings": list[Tuning],
    },
)


class TuningClass(TypedDict):
    """A tuning class: its hosts, and the host that was measured for it."""

    image: str
    tuning: str
    hosts: list[str]
    tuned_host: str | None


class Cost(TypedDict):
    """What a million requests answered within the objective cost, in the unit of the hosts' prices, with the start and with the final configuration.

    tuning: the class, or None for all classes on which the model was measured. hosts: how many have a price. price_per_hour: the sum of their prices.
    """

    model: str | None
    tuning: str | None
    hosts: int
    price_per_hour: float
    before: float | None
    after: float | None


class Document(TypedDict):
    """The document."""

    schema: int
    generated_by: str
    title: str
    measured_at: str | None
    backend: str | None
    is_tensorflow_serving: bool | None
    statement: str
    tuned_host: str | None
    method: dict[str, Any] | None
    steps: list[StepSummary]
    total: StepSummary | None
    classes: list[TuningClass]
    costs: list[Cost]
    hosts: list[Host]
