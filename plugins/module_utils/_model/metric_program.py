# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a Python with NumPy: compute a user's own metric over a server's answers."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import metric_function
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array

TEXT = "string"


class HeldArray(TypedDict):
    """An array as JSON data. content: in base64, the values' bytes in little-endian order, or one entry for each text."""

    dtype: str
    shape: list[int]
    content: list[str]


def main() -> int:
    """Run the program; see program.call."""
    return program.answer(sys.argv, judge)


def judge(request: Mapping[str, Any]) -> dict[str, float]:
    """Return {value}, a float. Raise FleetError.

    request: {metric_function: path, outputs: {name: array}, labels: array or None}. An array is what held() returns for
    it.
    """
    try:
        import numpy
    except ImportError as fault:
        raise FleetError(
            "this Python lacks NumPy, which a metric function needs",
            where=sys.executable,
            remedy="Set python to one that has NumPy, or leave metric_function out.",
        ) from fault
    outputs = {name: _array(numpy, held) for name, held in request["outputs"].items()}
    labels = request["labels"] and _array(numpy, request["labels"])
    return {
        "value": metric_function.measure(
            {"metric": "function", "metric_function": request["metric_function"]}, outputs, labels
        )
    }


def held(dtype: str, shape: Iterable[int], content: Any) -> HeldArray:
    """Return an array as JSON data. content: the values' bytes in little-endian order; texts as a sequence of bytes."""
    parts = content if dtype == TEXT else [content]
    return {"dtype": dtype, "shape": list(shape), "content": [base64.b64encode(part).decode("ascii") for part in parts]}


def _array(numpy: Any, one: HeldArray) -> Array:
    parts = [base64.b64decode(part) for part in one["content"]]
    if one["dtype"] == TEXT:
        found = numpy.empty(len(parts), dtype=object)
        found[:] = parts
        return found.reshape(one["shape"])
    return numpy.frombuffer(parts[0], dtype=numpy.dtype(one["dtype"]).newbyteorder("<")).reshape(one["shape"]).copy()
