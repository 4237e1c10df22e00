# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of what was measured about a converted model, and of how its conversion ended. Everything that reads a manifest imports them."""

from __future__ import annotations

from typing import TypedDict


class Output(TypedDict):
    """How much an output differs from the reference's; see agreement.Distance."""

    max_abs: float | None
    max_rel: float | None
    difference: str | None


class MetricChange(TypedDict):
    """A change of a metric. after: of the variant. allowed_loss: in the metric's own unit. goal: which value is better, "higher" or "lower"."""

    name: str
    before: float
    after: float
    allowed_loss: float
    goal: str


class Served(TypedDict):
    """The answers of a server that loaded the variant."""

    outputs: dict[str, Output] | None
    metric: MetricChange | None


class _Gates(TypedDict):
    examples: int
    synthetic: bool
    outputs: dict[str, Output] | None
    metric: MetricChange | None


class Gates(_Gates, total=False):
    """The measurements of a variant; None if nothing was compared or evaluated. synthetic: the inputs were generated. served: only if a server answered."""

    served: Served


class Judged(TypedDict):
    """The end of a conversion. accepted: None if unknown. reason: a sentence. gates: None if nothing was compared."""

    accepted: bool | None
    reason: str
    lowest_runtime: str | None
    warmup_batch_sizes: list[int]
    gates: Gates | None
