# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured of a converted model, and how its conversion ended. Only the shapes: they travel wherever a manifest is read."""

from __future__ import annotations

from typing import TypedDict


class Output(TypedDict):
    """How far an output is from the reference's; see agreement.Distance."""

    max_abs: float | None
    max_rel: float | None
    difference: str | None


class MetricChange(TypedDict):
    """What a metric became. after: of the variant. allowed_loss: in the metric's own unit. goal: which value is better, "higher" or "lower"."""

    name: str
    before: float
    after: float
    allowed_loss: float
    goal: str


class Served(TypedDict):
    """What a server that loaded the variant answered."""

    outputs: dict[str, Output] | None
    metric: MetricChange | None


class _Gates(TypedDict):
    examples: int
    synthetic: bool
    outputs: dict[str, Output] | None
    metric: MetricChange | None


class Gates(_Gates, total=False):
    """What was measured of a variant; None where nothing was compared or judged. synthetic: the inputs were generated. served: only if a server answered."""

    served: Served


class Judged(TypedDict):
    """How a conversion ended. accepted: None where that is not known yet. reason: a sentence. gates: None where nothing was compared."""

    accepted: bool | None
    reason: str
    lowest_runtime: str | None
    warmup_batch_sizes: list[int]
    gates: Gates | None
