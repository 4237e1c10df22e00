# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a Python that has NumPy and gRPC: asks a server for the answers to samples, measures a metric and compares with a reference."""

from __future__ import annotations

import sys

from ansible_collections.tfserving.fleet.plugins.module_utils.common import program
from ansible_collections.tfserving.fleet.plugins.module_utils.model import metrics, parity, samples, signature
from ansible_collections.tfserving.fleet.plugins.module_utils.server import client

_CLIENTS = {"grpc": client.GrpcClient, "rest": client.RestClient}


def main():
    """The program's entry."""
    return program.answer(sys.argv, check)


def check(request):
    """{examples, metric: {name, value} or None, outputs: {name: {max_abs, max_rel, difference}} or None}.

    request: {target, samples (path), limit (examples or None), batch, metric, metric_output, reference (path or None), reference_target (a target
    or None), deadline_s}; a target is {name, protocol, address, port, model, signature, version}.
    """
    inputs, labels = samples.read(request["samples"], request["limit"], request["metric"])
    examples, answered = _ask(request["target"], inputs, request)
    value = None
    if request["metric"]:
        value = {"name": request["metric"], "value": metrics.measure(request["metric"], answered, labels[:examples], request["metric_output"])}
    reference = _reference(request, inputs, examples)
    return {"examples": examples, "metric": value, "outputs": None if reference is None else parity.compare(reference, answered)}


def _ask(target, inputs, request):
    with _CLIENTS[target["protocol"]](target["address"], target["port"], request["deadline_s"]) as server:
        model, name, version = target["model"], target["signature"], target["version"]
        contract = signature.chosen(server.metadata(model, version), name, where=f"target {target['name']}")
        feeding = signature.feeding(contract["inputs"], {key: array.shape for key, array in inputs.items()})
        inputs = samples.fit(inputs, contract["inputs"])
        return samples.answers(lambda rows: server.predict(model, rows, name, version), inputs, feeding, request["batch"])


def _reference(request, inputs, examples):
    """{name: array} to compare with, or None."""
    if request["reference_target"]:
        return _ask(request["reference_target"], inputs, request)[1]
    if request["reference"]:
        return {name: array[:examples] for name, array in samples.outputs(request["reference"]).items()}
    return None
