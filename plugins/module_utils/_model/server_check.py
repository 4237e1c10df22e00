# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a Python that has NumPy and gRPC: asks a server for the answers to samples, measures a metric and compares with a reference."""

from __future__ import annotations

import sys

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._model import metric_function, parity, samples
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, signature

_CLIENTS = {"grpc": client.GrpcClient, "rest": client.RestClient}


def main():
    """The program's entry."""
    return program.answer(sys.argv, check)


def check(request):
    """{examples, metric: {name, value} or None, outputs: {name: {max_abs, max_rel, difference}} or None}.

    request: {target, samples (path), limit (examples or None), batch, metric, metric_output, metric_function (path or None), reference (path or None),
    reference_target (a target or None), deadline_s}; a target is {name, protocol, address, port, model, signature, version}.
    """
    examples, answered, labels = _ask(request["target"], request)
    value = None
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


def _ask(target, request):
    """(examples asked, {output: array}, labels or None)."""
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


def _reference(request, examples, answered):
    """{name: array} to compare with, or None. Of more examples than were asked it is cut where the answer has a row for each."""
    if request["reference_target"]:
        return _ask(request["reference_target"], request)[1]
    if request["reference"]:
        rows = {name for name, array in answered.items() if array.ndim and len(array) == examples}
        return {
            name: array[:examples] if name in rows else array
            for name, array in samples.outputs(request["reference"]).items()
        }
    return None
