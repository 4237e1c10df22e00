# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a candidate's outputs with the reference's, using only the methods of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Output
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import agreement
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array


def compare(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> dict[str, Output]:
    """Return how much each output of both differs from the reference's."""
    found = agreement.compare(reference, candidate, distance)
    return {
        name: {"max_abs": far.max_abs, "max_rel": far.max_rel, "difference": far.difference}
        for name, far in found.items()
    }


def structural(outputs: Mapping[str, Output]) -> list[str]:
    """Return sentences about outputs that cannot be compared."""
    return [f"{name}: {output['difference']}" for name, output in outputs.items() if output["difference"]]


def distance(reference: Array, candidate: Array) -> agreement.Distance:
    """Return the agreement.Distance of two arrays of the same shape and dtype."""
    if reference.dtype.kind in "OSU":
        return agreement.of_texts(int((reference != candidate).sum()), reference.size)
    wide = "complex128" if reference.dtype.kind == "c" else "float64"
    reference, candidate = reference.astype(wide).ravel(), candidate.astype(wide).ravel()
    same = (reference == candidate) | (_is_nan(reference) & _is_nan(candidate))
    reference, candidate = reference[~same], candidate[~same]
    strange = int((~(_finite(reference) & _finite(candidate))).sum())
    if strange:
        return agreement.of_strange(strange)
    far, size = abs(reference - candidate), abs(reference)
    return agreement.Distance(_largest(far), _largest(far[size > 0] / size[size > 0]), _largest(far / size.clip(1.0)))


def _is_nan(array: Array) -> Array:
    return ~(abs(array) <= float("inf"))


def _finite(array: Array) -> Array:
    return abs(array) < float("inf")


def _largest(array: Array) -> float:
    return float(array.max()) if array.size else 0.0
