# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose start values for the batching of a planned model, and check parameters against the model and the release."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import compatibility
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters as rules
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import start_values as starts
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

NAMES = rules.NAMES
_UNKNOWN_MEMORY_MIB = 1024
_FEW = 4


def start_values(host: Host, goal: str, gpu: Any, model: dict[str, Any], cpus: int) -> dict[str, Any]:
    """Return start parameters, {name: value}. gpu: whether the server computes on one. cpus: whole CPUs that it may use."""
    capabilities = {
        "cpu": {"usable": cpus},
        "gpus": host.gpus if gpu else [],
        "memory": {"usable_mib": host.memory_mib or _UNKNOWN_MEMORY_MIB},
    }
    chosen = starts.start_values(capabilities, goal, signatures=model["signatures"])
    return {name: value for name, (value, _reason) in sorted(chosen.items())}


def problem(parameters: dict[str, Any], model: dict[str, Any], release: str) -> FleetError | None:
    """Return the FleetError that says why this server or this model cannot be batched with the parameters, or None."""
    unknown = [name for name in parameters if name in rules.NAMES and name not in questions.batching_fields(release)]
    if unknown:
        return FleetError(
            f"{release} does not have the batching parameter {unknown[0]!r}", remedy=f"Leave {unknown[0]} out."
        )
    try:
        rules.check(parameters)
    except FleetError as fault:
        return fault
    faults, _warnings = compatibility.judge(model["signatures"] or {}, parameters.get("pad_variable_length_inputs"))
    return faults[0] if faults else None


def warnings(
    parameters: dict[str, Any], model: dict[str, Any], cpus: int, objective_p99_ms: Any = None, has_quota: Any = False
) -> Any:
    """Return warnings about valid parameters. has_quota: whether a CFS quota applies, which the server ignores."""
    _faults, found = compatibility.judge(model["signatures"] or {}, parameters.get("pad_variable_length_inputs"))
    if model["signatures"] is None:
        found.append(
            "its signature is unknown to the plan; whether it can be batched is checked before the parameters are written"
        )
    if has_quota and not parameters.get("num_batch_threads"):
        found.append(
            f"num_batch_threads is not set: the server starts one for every CPU of the host instead of {cpus}, because it ignores the CPU quota"
        )
    found.append(
        "the server answers a request without rows only after another client's request joins it, which may then fail: "
        "clients must not send requests without rows"
    )
    if parameters.get("pad_variable_length_inputs"):
        found.append(
            "pad_variable_length_inputs: a request without rows, or requests of two ranks in one batch, can crash the server (Check failed: size >= 0); "
            "a candidate that "
            "crashes this way never serves, unless accept_fragile is set"
        )
    threads = parameters.get("num_batch_threads") or cpus
    if threads > _FEW * cpus:
        found.append(
            f"num_batch_threads {threads} lets that many batches run at once on {cpus} CPUs; max_enqueued_batches is how many may wait"
        )
    enqueued = parameters.get("max_enqueued_batches") or rules.DEFAULT_MAX_ENQUEUED_BATCHES
    if enqueued < threads:
        found.append(
            f"max_enqueued_batches {enqueued} is the length of the queue, not how many run at once (num_batch_threads, {threads}): "
            "calls beyond it get UNAVAILABLE"
        )
    if objective_p99_ms is not None and parameters.get("batch_timeout_micros", 0) >= 1000 * objective_p99_ms:
        found.append(
            f"batch_timeout_micros {parameters['batch_timeout_micros']} alone uses up the objective of {objective_p99_ms:g} ms"
        )
    if parameters.get("batch_timeout_micros"):
        found.append(
            f"each request of a single client waits {parameters['batch_timeout_micros'] / 1000:g} ms for other requests to join"
        )
    return found
