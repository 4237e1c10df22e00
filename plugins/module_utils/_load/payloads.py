# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create requests from samples or random values, and send the first one to find out whether load makes sense."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import load_test
from ansible_collections.tfserving.fleet.plugins.module_utils._model import samples
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, grpc_api, signature
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

_MOST_BODIES, _MOST_BODY_BYTES = 256, 1 << 26
# Codes of a first call that no load would change.
_HOPELESS = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "UNAVAILABLE",
)


# {input: array}
Inputs = dict[str, Any]


class FormedTarget(load_test.Target):
    """form: row or column, the format of REST bodies."""

    form: str


def begun(request: load_test.Request, named: load_test.Target) -> tuple[FormedTarget, list[Inputs], float]:
    """Return (the target with the format of REST bodies, its batches, the milliseconds of the first request). Raise FleetError as _first_call does.

    If a server rejects the first request, inputs without a batch dimension get a single example, which only the column format supports.
    """
    batches = _batches(request, named)
    target: FormedTarget = {**named, "form": "row"}
    try:
        return target, batches, _first_call(target, batches[0], request["deadline_s"])
    except FleetError as fault:
        refused = (
            request["samples"]
            and request["batch"] == 1
            and getattr(fault.__cause__, "code", None) == "INVALID_ARGUMENT"
        )
        squeezed = _squeezed(target, batches[0], request["deadline_s"]) if refused else ()
        if not squeezed:
            raise
    target = {**named, "form": "column"}
    batches = [
        {name: values[0] if name in squeezed else values for name, values in inputs.items()} for inputs in batches
    ]
    return target, batches, _first_call(target, batches[0], request["deadline_s"])


def _squeezed(target: load_test.Target, inputs: Inputs, deadline_s: float) -> set[str]:
    """Return the names of inputs without a batch dimension, or none if the samples do not fit the signature."""
    try:
        shapes = {name: values.shape for name, values in inputs.items()}
        return set(signature.feeding(_tensors(target, deadline_s), shapes)[1])
    except FleetError:
        return set()


def _first_call(target: FormedTarget, inputs: Inputs, deadline_s: float) -> float:
    """Return the milliseconds that the first request takes. Raise FleetError if its result shows that load makes no sense."""
    body = encoded(target, [inputs])[0]
    begun = time.perf_counter()
    try:
        with _client(target, deadline_s) as caller:
            if target["protocol"] == "grpc":
                caller.call(grpc_api.PREDICT, body)
            else:
                caller.call("POST", f"/v1/models/{target['model']}:predict", body)
    except ServerFault as fault:
        if fault.code in _HOPELESS:
            raise FleetError(
                f"{target['protocol']}://{load_test.authority(target)} answers the first request with {fault.code}: {fault.message}",
                where=f"target {target['name']}",
                remedy="Check that the server runs, that it serves the model, and that the samples fit the model.",
            ) from fault
    return (time.perf_counter() - begun) * 1000


def encoded(target: FormedTarget, batches: Sequence[Inputs]) -> list[bytes]:
    """Return each batch as the bytes of a request of the target's protocol, up to a total size."""
    bodies: list[bytes]
    bodies, total = [], 0
    for inputs in batches:
        body = (
            client.predict_request(target["model"], inputs, target["signature"])
            if target["protocol"] == "grpc"
            else client.rest_body(inputs, target["signature"], target["form"])
        )
        total += len(body)
        if bodies and total > _MOST_BODY_BYTES:
            break
        bodies.append(body)
    return bodies


def _batches(request: load_test.Request, target: load_test.Target) -> list[Inputs]:
    """Return the inputs of a few different requests: batch examples each, in the samples' order, repeated from the start if needed."""
    if not request["samples"]:
        return _random_inputs(target, request)
    inputs, batch = _samples(request["samples"]), request["batch"]
    count = len(next(iter(inputs.values())))
    return [
        {name: values.take(range(first, first + batch), axis=0, mode="wrap") for name, values in inputs.items()}
        for first in range(0, min(count, _MOST_BODIES * batch), batch)
    ]


def _samples(path: str) -> Inputs:
    inputs = {
        name[len("inputs.") :]: array for name, array in samples.archive(path).items() if name.startswith("inputs.")
    }
    if not inputs:
        raise FleetError(
            f"{path!r} has no array named inputs.<name>",
            where="samples",
            remedy="Save an array inputs.<name> for each input.",
        )
    sizes = {values.shape[0] if values.ndim else 0 for values in inputs.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise FleetError(
            f"the inputs in {path!r} have different numbers of examples, or none: {sorted(sizes)}",
            where="samples",
            remedy="Save arrays with the same number of examples, at least 1.",
        )
    return inputs


def _tensors(target: load_test.Target, deadline_s: float) -> Any:
    """Return {input name: {dtype, shape}} of a target's signature, as the server reports it."""
    with _client(target, deadline_s) as caller:
        try:
            signatures = caller.metadata(target["model"])
        except ServerFault as fault:
            raise FleetError(
                str(fault),
                where=f"target {target['name']}",
                remedy="Check that the server runs and serves the model, or set samples.",
            ) from fault
    options.one_of(f"target {target['name']}: signature", target["signature"], sorted(signatures))
    return signatures[target["signature"]]["inputs"]


def _random_inputs(target: load_test.Target, request: load_test.Request) -> list[Inputs]:
    """Return random inputs of the dtypes and shapes that the server reports. Unknown dimensions are batch (the first) and 1 (the others)."""
    draw, tensors = numpy.random.default_rng(0), _tensors(target, request["deadline_s"])
    return [
        {
            name: _drawn(draw, tensor["dtype"], _filled(tensor["shape"], request["batch"]))
            for name, tensor in tensors.items()
        }
        for _request in range(16)
    ]


def _filled(shape: Sequence[int | None] | None, batch: int) -> list[int]:
    if shape is None:
        return [batch]
    return [(1 if position else batch) if size is None else size for position, size in enumerate(shape)]


def _drawn(draw: Any, dtype: str, shape: list[int]) -> Any:
    if dtype == "string":
        return numpy.full(shape, b"text", object)
    try:
        kind = numpy.dtype(dtype).kind
    except TypeError as fault:
        raise FleetError(
            f"cannot generate random values of dtype {dtype!r}", where="samples", remedy="Set samples to an .npz file."
        ) from fault
    return numpy.asarray(draw.random(shape) if kind in "fc" else draw.integers(0, 2, shape)).astype(dtype)


def _client(target: load_test.Target, deadline_s: float) -> Any:
    if target["protocol"] == "rest":
        return client.RestClient(target["address"], target["port"], deadline_s)
    return client.GrpcClient(
        f"[{target['address']}]" if ":" in target["address"] else target["address"], target["port"], deadline_s
    )
