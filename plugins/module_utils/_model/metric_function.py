# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute a metric, also a user's own: a Python file with a function metric(outputs, labels)."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array

NAME = "metric"


_KINDS = {"f": "float", "i": "integer", "u": "integer", "b": "boolean", "O": "text"}


def metric_values(array: Array) -> task_metrics.Values:
    """Return the task_metrics.Values of a NumPy array, whose texts are bytes."""
    return task_metrics.Values(
        array.shape,
        _KINDS.get(array.dtype.kind, "other"),
        lambda: (row.tolist() for row in array.reshape(len(array), -1)),
    )


def measure(request: Mapping[str, Any], outputs: Mapping[str, Array], labels: Array | None) -> float:
    """Return the value of request["metric"], a float. Raise FleetError.

    request: {metric, metric_output, metric_function (the file)}. outputs: {name: array}.
    """
    if request["metric"] != "function":
        found = {name: metric_values(array) for name, array in outputs.items()}
        return task_metrics.measure(request["metric"], found, metric_values(labels), request["metric_output"])
    path = request["metric_function"]
    try:
        function = runpy.run_path(path)[NAME]
        return float(function(outputs, labels))
    except KeyError as fault:
        raise FleetError(
            f"it has no function {NAME}(outputs, labels), or the function raised KeyError: {fault}", where=path
        ) from fault
    except (Exception, SystemExit) as fault:  # This is the user's code, so the message shows whatever it raises.
        raise FleetError(
            f"{type(fault).__name__}: {fault}".replace("\n", " "),
            where=path,
            remedy=f"Correct {NAME}(outputs, labels).",
        ) from fault
