# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run samples on a server, measure a metric and compare the answers with a reference: a program for a Python that has NumPy and gRPC."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    manifest,
    metric_function,
    model_files,
    parity,
    samples,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Gates, MetricChange, Output
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, signature
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array

_CLIENTS: dict[str, Any] = {"grpc": client.GrpcClient, "rest": client.RestClient}
_REQUESTED = (
    "target",
    "samples",
    "metric",
    "metric_output",
    "metric_function",
    "batch",
    "limit",
    "reference",
    "reference_target",
    "deadline_s",
)


class MetricValue(TypedDict):
    """A metric of a server's answers."""

    name: str
    value: float


class Checked(TypedDict):
    """The result of checking a served model; None for what was not measured or compared."""

    examples: int
    metric: MetricValue | None
    outputs: dict[str, Output] | None


def run(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of model_server_check. options: its own. Raise FleetError if the rules of the conversion refuse the served model."""
    for name in ("target", "reference_target"):
        if options[name]:
            bounded(f"{name}.port", options[name]["port"], 1, 65535)
    bounded("batch", options["batch"], 1)
    bounded("limit", 1 if options["limit"] is None else options["limit"], 1)
    for name in ("deadline_s", "timeout_s"):
        bounded(name, options[name], 0.001, LONGEST_S, "s")
    rules = _rules(options["conversion"]) if options["conversion"] else None
    request = dict(options)
    if rules:
        request.update({name: rules["options"].get(name) for name in ("metric", "metric_output")})
    found = call(request, options["python"] or sys.executable, options["timeout_s"])
    accepted, reason = _judge(rules, found) if rules else (None, None)
    if accepted is False:
        raise FleetError(
            f"the served model is refused: {reason}",
            where=f"{options['target']['model']} on port {options['target']['port']}",
            remedy="Serve the source, or another variant.",
        )
    return dict(found, changed=False, accepted=accepted, reason=reason)


def _rules(directory: str) -> Manifest:
    """Return the manifest of a converted version. Raise FleetError."""
    path = os.path.join(directory, model_files.MANIFEST)
    found = manifest.parse(model_files.read_file(path))
    if not found or not manifest.judged(found):
        raise FleetError(
            "it is not the manifest of a converted version",
            where=path,
            remedy="Set conversion to a version that tfserving.fleet.model_conversion converted.",
        )
    return found


def after(gates: Gates | None, found: Checked) -> MetricChange | None:
    """Return the metric of a conversion with its value for the served model."""
    before = gates and gates["metric"]
    return {**before, "after": found["metric"]["value"]} if before and found["metric"] else None


def _judge(rules: Manifest, found: Checked) -> tuple[bool, str]:
    return acceptance.decide(
        found["outputs"],
        after(rules["gates"], found),
        rules["options"]["maximum_difference"] if found["outputs"] else None,
        rules["options"]["accept_unjudged"],
    )


def call(request: Mapping[str, Any], python: str, timeout_s: float, user: str | None = None) -> Checked:
    """Return the result of check() under another Python. Keys that are missing in the request are None. user: as of program.call."""
    needed = {name: request.get(name) for name in _REQUESTED}
    found: Checked = program.call(__name__, needed, python, timeout_s=timeout_s, user=user)
    return found


def main() -> int:
    """Run the program."""
    return program.answer(sys.argv, check)


def check(request: Mapping[str, Any]) -> Checked:
    """Run samples on a target, compute a metric, and compare the answers with a reference.

    request: {target, samples (path), limit (examples or None), batch, metric, metric_output, metric_function (path or
    None), reference (path or None), reference_target (a target or None), deadline_s}; a target is {name, protocol,
    address, port, model, signature, version}.
    """
    examples, answered, labels = _ask(request["target"], request)
    value: MetricValue | None = None
    if request["metric"]:
        value = {
            "name": request["metric"],
            "value": metric_function.measure(request, answered, None if labels is None else labels[:examples]),
        }
    reference = _reference(request, examples, answered)
    return {
        "examples": examples,
        "metric": value,
        "outputs": None if reference is None else parity.compare(reference, answered),
    }


def _ask(target: Mapping[str, Any], request: Mapping[str, Any]) -> tuple[int, dict[str, Array], Array | None]:
    """Return (number of examples, {output: array}, labels or None)."""
    with _CLIENTS[target["protocol"]](target["address"], target["port"], request["deadline_s"]) as server:
        model, name, version = target["model"], target["signature"], target["version"]
        contract = signature.chosen(server.metadata(model, version), name, where=f"target {target['name']}")
        inputs, labels = samples.read(request["samples"], request["limit"], request["metric"], contract["inputs"], name)
        feeding = signature.feeding(contract["inputs"], {key: array.shape for key, array in inputs.items()})
        inputs = samples.fit(inputs, contract["inputs"])
        return (
            *samples.answers(
                lambda rows: server.predict(model, rows, name, version), inputs, feeding, request["batch"]
            ),
            labels,
        )


def _reference(request: Mapping[str, Any], examples: int, answered: Mapping[str, Array]) -> dict[str, Array] | None:
    """Return {name: array} to compare with, or None. A longer reference is cut if the answer has a row for each example."""
    if request["reference_target"]:
        return _ask(request["reference_target"], request)[1]
    if request["reference"]:
        rows = {name for name, array in answered.items() if array.ndim and len(array) == examples}
        return {
            name: array[:examples] if name in rows else array
            for name, array in samples.outputs(request["reference"]).items()
        }
    return None
