# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a candidate's outputs are from the reference's. Works on NumPy arrays by their own methods alone."""

from __future__ import annotations


def compare(reference, candidate):
    """{name: {max_abs, max_rel, difference}} over all outputs of both, each a {name: array}.

    max_abs: the largest absolute difference. max_rel: the largest difference as a fraction of the reference's value, where that is not zero.
    Both are None where the outputs cannot be compared; difference then says why, and is None otherwise. NaN equals NaN, an infinity itself.
    """
    found = {}
    for name in sorted(set(reference) | set(candidate)):
        if name not in candidate:
            found[name] = _different("the output is missing")
        elif name not in reference:
            found[name] = _different("the output is new")
        else:
            found[name] = _compare(reference[name], candidate[name])
    return found


def structural(outputs):
    """Sentences about the outputs that cannot be compared, in the result of compare."""
    return [f"{name}: {output['difference']}" for name, output in outputs.items() if output["difference"]]


def _compare(reference, candidate):
    if reference.shape != candidate.shape:
        return _different(f"shape {list(reference.shape)} became {list(candidate.shape)}")
    if reference.dtype != candidate.dtype:
        return _different(f"dtype {reference.dtype} became {candidate.dtype}")
    if reference.dtype.kind in "OSU":
        wrong = int((reference != candidate).sum())
        return _different(f"{wrong} of {reference.size} strings differ") if wrong else _figures(0.0, 0.0)
    wide = "complex128" if reference.dtype.kind == "c" else "float64"
    reference, candidate = reference.astype(wide).ravel(), candidate.astype(wide).ravel()
    same = (reference == candidate) | (_is_nan(reference) & _is_nan(candidate))
    reference, candidate = reference[~same], candidate[~same]
    strange = int((~(_finite(reference) & _finite(candidate))).sum())
    if strange:
        return _different(f"{strange} values are NaN or infinite on one side only")
    distance = abs(reference - candidate)
    relative = distance[reference != 0] / abs(reference[reference != 0])
    return _figures(_largest(distance), _largest(relative))


def _is_nan(array):
    return ~(abs(array) <= float("inf"))


def _finite(array):
    return abs(array) < float("inf")


def _largest(array):
    return float(array.max()) if array.size else 0.0


def _figures(largest_absolute, largest_relative):
    return {"max_abs": largest_absolute, "max_rel": largest_relative, "difference": None}


def _different(why):
    return {"max_abs": None, "max_rel": None, "difference": why}
