# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import LOOKS
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.traffic import (
    P99_REQUESTS,
    Traffic,
    traffic,
)

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "python": {"type": "path"},
    "model_directory": {"type": "path", "required": True},
    "samples": {"type": "path"},
    "signature": {"type": "str", "default": "serving_default"},
    **task_metrics.DECIDING_OPTIONS,
    "start": {"type": "dict", "default": {}},
    "candidates": {"type": "list", "elements": "dict", "required": True},
    "objective_p99_ms": {"type": "float"},
    "goal": {"type": "str", "choices": ["goodput", "latency"], "default": "goodput"},
    "accept_fragile": {"type": "bool", "default": False},
    "accept_unjudged": {"type": "bool", "default": False},
    "refine": {"type": "bool", "default": True},
    "traffic": {"type": "dict", "default": {}},
    "window_s": {"type": "float", "default": 1.5},
    "window_requests": {"type": "int", "default": 30},
    "window_max_s": {"type": "float", "default": 120.0},
    "budget_min": {"type": "float"},
    "rounds": {"type": "int", "default": 2},
    "instances": {"type": "int", "default": 28},
    "minimum_gain": {"type": "float", "default": 0.03},
    "confidence": {"type": "float", "default": 0.95},
    "cpus": {"type": "str", "required": True},
    "state_directory": {"type": "path", "required": True},
    "backend": {"type": "str", "choices": ["docker", "embedded"], "default": "embedded"},
    "image": {"type": "str"},
    "server": {"type": "dict", "default": {}},
    "progress": {"type": "path"},
    "keep_in": {"type": "str"},
    "tuning_class": {"type": "str"},
    "release": {"type": "str"},
    "repeat": {"type": "bool", "default": False},
    "upgrade": {
        "type": "dict",
        "options": {
            "running": {"type": "list", "elements": "dict", "required": True},
            "desired": {"type": "dict", "required": True},
        },
    },
    "seed": {"type": "int", "default": 1},
}


def check(options: Mapping[str, Any]) -> None:
    """Raise FleetError for the first invalid option."""
    for name, minimum, maximum, unit in (
        ("window_s", 0.5, 600, "s"),
        ("window_requests", 0, 10000, "requests"),
        ("window_max_s", 0.5, 3600, "s"),
        ("rounds", 1, 100, "rounds"),
        ("instances", 1, LOOKS[-1], "pairs of servers"),
        ("minimum_gain", 0, 10, "as a fraction"),
        ("confidence", 0.5, 0.999, "as a fraction"),
        ("allowed_loss", 0, None, "of the metric"),
    ):
        bounded(name, options[name], minimum, maximum, unit)
    _check_rate(options, traffic(options["traffic"]))
    if options["objective_p99_ms"] is not None:
        bounded("objective_p99_ms", options["objective_p99_ms"], 0.001, 1000 * LONGEST_S, "ms")
    if options["budget_min"] is not None:
        bounded("budget_min", options["budget_min"], 0.1, 10000, "minutes")
    if options["backend"] == "docker" and not options["image"]:
        raise FleetError("the backend docker needs an image", where="image", remedy="Set one.")
    if options["backend"] != "docker" and options["image"]:
        raise FleetError(f"the backend {options['backend']} does not use an image", where="image", remedy="Omit it.")
    if options["metric"] and not options["samples"]:
        raise FleetError("a metric needs samples, but samples is not set", where="metric")
    task_metrics.check_function(options["metric"], options["metric_function"])

    stored = options["repeat"] or options["keep_in"] is not None
    if stored and not (options["keep_in"] and options["tuning_class"]):
        raise FleetError(
            "without an inventory file, the folder for tunings is unknown",
            where="keep_in",
            remedy="Set tfserving_tunings_directory to a folder on the controller.",
        )


def _check_rate(options: Mapping[str, Any], sent: Traffic) -> None:
    """Raise FleetError if the goal is latency, and the traffic has no rate, or too few requests for a p99."""
    if options["goal"] != "latency":
        return
    if not sent.has_rate:
        raise FleetError(
            "the goal latency needs the rate of the requests",
            where="traffic",
            remedy="Set rate_rps or arrivals of the traffic.",
        )
    window_s = max(options["window_s"], options["window_max_s"])
    requests = (sent.rate_rps or P99_REQUESTS) * window_s
    if requests < P99_REQUESTS:
        raise FleetError(
            f"a window of at most {window_s:g} s at {sent.rate_rps:g} requests/s has {requests:.0f} requests, but a p99 needs {P99_REQUESTS}",
            where="window_max_s",
            remedy="Raise it, or set the goal goodput.",
        )
