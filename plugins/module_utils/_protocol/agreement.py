# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a model's outputs with a reference's, and check the differences against a tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.tensors import Tensor


@dataclass(frozen=True)
class Distance:
    """How far an output is from the reference's. All figures are None if the two cannot be compared; difference then says why.

    max_abs: the largest absolute difference. max_rel: the largest difference as a fraction of the reference's value, where that is not zero.
    tolerance: the least tolerance that allows all differences: absolute where the reference's value is below 1, a fraction of it above.
    NaN equals NaN, and an infinity itself.
    """

    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None
    difference: str | None = None


def compare(
    reference: Mapping[str, Any], answered: Mapping[str, Any], distance: Callable[[Any, Any], Distance] | None = None
) -> dict[str, Distance]:
    """Return {name: Distance} of all outputs of both, each a {name: array}. distance: of two arrays of the same shape and dtype; None for Tensors."""
    found = {}
    for name in sorted({*reference, *answered}):
        if name not in answered:
            found[name] = Distance(
                difference=f"the output is missing; outputs: {', '.join(sorted(answered)) or 'none'}"
            )
        elif name not in reference:
            found[name] = Distance(difference="the output is new")
        elif reference[name].shape != answered[name].shape:
            found[name] = Distance(
                difference=f"shape {list(reference[name].shape)} became {list(answered[name].shape)}"
            )
        elif reference[name].dtype != answered[name].dtype:
            found[name] = Distance(difference=f"dtype {reference[name].dtype} became {answered[name].dtype}")
        else:
            found[name] = (distance or of_tensors)(reference[name], answered[name])
    return found


def disagreements(
    reference: Mapping[str, Tensor], answered: Mapping[str, Tensor], tolerance: float | Mapping[str, float]
) -> list[str]:
    """Return sentences about the outputs of the reference that are not within a tolerance, a number or {name: number}. Both are {name: Tensor}."""
    found = []
    for name, far in compare(
        reference, {name: tensor for name, tensor in answered.items() if name in reference}
    ).items():
        allowed = tolerance if isinstance(tolerance, (int, float)) else tolerance[name]
        if far.tolerance is None:
            found.append(f"{name}: {far.difference}")
        elif far.tolerance > allowed:
            found.append(f"{name}: differs by up to {far.tolerance:.6g}; allowed: {allowed:g}")
    return found


def of_tensors(reference: Tensor, answered: Tensor) -> Distance:
    """Return the Distance of two Tensors."""
    pairs = [(one, other) for one, other in zip(reference.values(), answered.values()) if one != other]
    if reference.dtype == "string":
        return of_texts(len(pairs), len(reference.content))
    pairs = [(one, other) for one, other in pairs if not (math.isnan(one) and math.isnan(other))]
    one_sided = sum(not (math.isfinite(one) and math.isfinite(other)) for one, other in pairs)
    if one_sided:
        return of_strange(one_sided)
    far = [(abs(one - other), abs(one)) for one, other in pairs]
    return Distance(
        float(max((size for size, _one in far), default=0.0)),
        float(max((size / one for size, one in far if one), default=0.0)),
        float(max((size / max(1.0, one) for size, one in far), default=0.0)),
    )


def of_texts(wrong: int, total: int) -> Distance:
    """Return the Distance of strings of which a number differ."""
    return Distance(difference=f"{wrong} of {total} strings differ") if wrong else Distance(0.0, 0.0, 0.0)


def of_strange(count: int) -> Distance:
    """Return the Distance of outputs with values that are NaN or infinite on one side only."""
    return Distance(difference=f"{count} values are NaN or infinite on one side only")
