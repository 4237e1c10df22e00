# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check and complete the user's request. Malformed requests raise FleetError; the plan later refuses what cannot be satisfied."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import compatibility, parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import check_choice
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import (
    bounded,
    did_you_mean,
    number_of,
    one_of,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import option_lines
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_names, server_options, variants

BACKENDS = ("auto", "docker", "embedded")
GOALS = ("online", "bulk")
GPUS = ("auto", "none", "require")
GPU_SERVERS = ("one", "per_gpu")
OPTIMIZE = ("auto", *variants.VARIANTS)
_NUMBER = (int, float)
_LONGEST_MS = 3600000
_SPOKEN = {str: "a text", bool: "true or false", _NUMBER: "a number", list: "a list", dict: "a mapping"}

# Key -> (type, default). The variables are these names with the prefix tfserving_.
KEYS: dict[str, tuple[Any, Any]] = {
    "version": (str, None),
    "models": (list, ()),
    "goal": (str, "online"),
    "objective_p99_ms": ((int, float), None),
    "backend": (str, "auto"),
    "gpu": (str, "auto"),
    "gpu_servers": (str, "one"),
    "cpus": ((int, float), None),
    "image": (str, None),
    "build": (bool, False),
    "build_options": (str, None),
    "build_for": (list, ()),
    "build_sources": (dict, None),
    "build_base_images": (dict, {}),
    "flags": (dict, {}),
    "environment": (dict, {}),
    "engine_socket": (str, None),
    "options": (list, ()),
    "measured": (list, ()),
    "policies": (list, ()),
}
MODEL_KEYS = (
    "name",
    "source",
    "samples",
    "reference",
    "signature",
    "metric",
    "metric_output",
    "allowed_loss",
    "maximum_difference",
    "accept_unjudged",
    "optimize",
    "version",
    "batching",
    "signatures",
    "size_bytes",
    "batch_sizes",
    "select_tf_ops",
    "precision",
    "metric_function",
    "metric_goal",
    "traffic",
    "tuning_goal",
)


# Keys of a model that contain numbers or Booleans.
_NUMBERS = {
    "size_bytes": int,
    "allowed_loss": float,
    "maximum_difference": float,
    "accept_unjudged": bool,
    "select_tf_ops": bool,
}


def with_texts_as_keys(request: Any, where: Any = None) -> Any:
    """Return the request. Raise FleetError for a key of any mapping in it that is not a string, because YAML reads 1, 1.5, null and true as other types."""
    held = request.items() if isinstance(request, dict) else enumerate(request) if isinstance(request, list) else ()
    for key, value in held:
        if isinstance(request, dict) and not isinstance(key, str):
            raise FleetError(
                f"{key!r} is not a text, so it cannot be a name",
                where=where or "the request",
                remedy="Write it in quotes, or leave it out.",
            )
        inner = f"[{key}]" if isinstance(request, list) else f".{key}"
        with_texts_as_keys(value, f"{where}{inner}" if where else f"tfserving_{key}")
    return request


def complete(request: Any) -> tuple[dict[str, Any], list[Any], list[Any], list[str]]:
    """Return (request, answers, refusals, warnings): the request with every key of KEYS and of each model, with its `options` applied.

    answers are [{given, today, reason}], and refusals keyword arguments of Draft.refuse. Raise FleetError on unknown
    keys, wrong types and values that are not allowed.
    """
    _known("the request", request, KEYS)
    wanted = {key: _typed(f"tfserving_{key}", request.get(key), kind, default) for key, (kind, default) in KEYS.items()}
    wanted["flags"] = {name: questions.typed(name, value) for name, value in wanted["flags"].items()}
    wanted, answers, refusals, warnings = option_lines.understand(wanted)
    one_of("tfserving_backend", wanted["backend"], BACKENDS)
    one_of("tfserving_goal", wanted["goal"], GOALS)
    one_of("tfserving_gpu", wanted["gpu"], GPUS)
    one_of("tfserving_gpu_servers", wanted["gpu_servers"], GPU_SERVERS)
    for key, most in (("objective_p99_ms", _LONGEST_MS), ("cpus", limits.MOST_CPUS)):
        if wanted[key] is not None:
            bounded(f"tfserving_{key}", wanted[key], 0.001, most)
    server_options.check_environment(wanted["environment"], "tfserving_environment")
    asked, batching = wanted["flags"].get("enable_batching"), None
    wanted["batched"] = asked is True  # by the user, so no tuning turns it off
    if isinstance(asked, bool):
        batching = "auto" if asked else "none"
        wanted["flags"] = {name: value for name, value in wanted["flags"].items() if name != "enable_batching"}
    wanted["models"] = [_model(number, model, batching) for number, model in enumerate(wanted["models"])]
    model_names.check_all([model["name"] for model in wanted["models"]], "tfserving_models")
    return wanted, answers, refusals, warnings


def _model(number: int, model: dict[str, Any], batching: Any) -> dict[str, Any]:
    """Return the model with all its keys. batching: the value of the flag enable_batching for models that leave it open; the plan sets the flag itself."""
    where = f"tfserving_models[{number}]"
    if not isinstance(model, dict) or not isinstance(model.get("name"), str) or not model["name"]:
        raise FleetError(f"{model!r} is not a mapping with a name", where=where)
    _known(where, model, MODEL_KEYS)
    whole = {key: number_of(model.get(key), _NUMBERS[key]) if key in _NUMBERS else model.get(key) for key in MODEL_KEYS}
    whole["batching"] = batching if whole["batching"] is None else whole["batching"]
    whole["optimize"] = one_of(f"{where}.optimize", whole["optimize"] or "auto", OPTIMIZE)
    check_choice(whole["batching"], f"{where}.batching")
    if isinstance(whole["batching"], dict):
        whole["batching"] = {name: parameters.typed(name, value) for name, value in whole["batching"].items()}
    if whole["signatures"] is not None:
        compatibility.well_formed(whole["signatures"])
    return whole


def _known(where: Any, given: Any, keys: Any) -> None:
    if not isinstance(given, dict):
        raise FleetError(f"{given!r} is not a mapping", where=where)
    unknown = sorted(str(key) for key in given if key not in keys)
    if unknown:
        raise FleetError(
            f"{unknown[0]!r} is not known; allowed: {', '.join(keys)}{did_you_mean(unknown[0], keys)}", where=where
        )


def _typed(name: str, value: Any, kind: Any, default: Any) -> Any:
    if value is None:
        return list(default) if isinstance(default, tuple) else dict(default) if isinstance(default, dict) else default
    value = _of_command_line(value, kind)
    if isinstance(value, bool) and kind is not bool or not isinstance(value, kind):
        raise FleetError(
            f"{value!r} is not {_SPOKEN[kind]}", where=name, remedy=_in_quotes(value) if kind is str else None
        )
    return value


def _in_quotes(value: Any) -> str | None:
    """Return how to correct a number in place of a string, or None. YAML drops a trailing zero: 2.20 becomes 2.2, which cannot be distinguished."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    other = (
        f', or "{value}0" if you wrote that: YAML reads it as the number {value}' if isinstance(value, float) else ""
    )
    return f'Write it in quotes: "{value}"{other}.'


def _of_command_line(value: Any, kind: Any) -> Any:
    """Return the value. Convert a text that spells true, false or a number, because -e name=value passes only texts."""
    if not isinstance(value, str):
        return value
    if kind is bool:
        return number_of(value, bool)
    if kind == _NUMBER:
        return number_of(value, float)
    return value
