# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent: requests made of samples, or made up, and the first of them, which shows whether load makes sense."""

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
# What a first call must not end with: no load would change it.
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
    """form: row or column, of REST's bodies."""

    form: str


def begun(request: load_test.Request, named: load_test.Target) -> tuple[FormedTarget, list[Inputs], float]:
    """(the target with the form of REST's bodies, its batches, the milliseconds that the first request took). Raises FleetError as _first_call does.

    A server that refuses the first request may have inputs without a batch dimension: these get an example alone, which only the column form can say.
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
    """Names of the inputs without a batch dimension; none where the samples do not fit the signature at all."""
    try:
        shapes = {name: values.shape for name, values in inputs.items()}
        return set(signature.feeding(_tensors(target, deadline_s), shapes)[1])
    except FleetError:
        return set()


def _first_call(target: FormedTarget, inputs: Inputs, deadline_s: float) -> float:
    """The milliseconds that the first request takes; raises FleetError when it shows that load makes no sense."""
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
                remedy="Check that it runs, that the model is served there and that the samples fit it.",
            ) from fault
    return (time.perf_counter() - begun) * 1000


def encoded(target: FormedTarget, batches: Sequence[Inputs]) -> list[bytes]:
    """Each batch as the bytes of a request of the target's protocol, up to a total size."""
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
    """The inputs of a few different requests: batch examples each, in the samples' order, begun again at their end."""
    if not request["samples"]:
        return _made_up(target, request)
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
        raise FleetError(f"{path} has no array named inputs.<name>", where="samples")
    sizes = {values.shape[0] if values.ndim else 0 for values in inputs.values()}
    if len(sizes) > 1 or 0 in sizes:
        raise FleetError(
            f"the inputs in {path} need the same number of examples, 1 or more; they have {sorted(sizes)}",
            where="samples",
        )
    return inputs


def _tensors(target: load_test.Target, deadline_s: float) -> Any:
    """{input name: {dtype, shape}} of a target's signature, as the server tells."""
    with _client(target, deadline_s) as caller:
        try:
            signatures = caller.metadata(target["model"])
        except ServerFault as fault:
            raise FleetError(
                str(fault),
                where=f"target {target['name']}",
                remedy="Check that it runs and serves the model, or name samples.",
            ) from fault
    options.one_of(f"target {target['name']}: signature", target["signature"], sorted(signatures))
    return signatures[target["signature"]]["inputs"]


def _made_up(target: load_test.Target, request: load_test.Request) -> list[Inputs]:
    """Inputs drawn at random in the dtypes and shapes that the server tells; unknown dimensions are batch (the first) and 1 (the others)."""
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
            f"no values can be made up for {dtype}", where="samples", remedy="Name an .npz file of samples."
        ) from fault
    return numpy.asarray(draw.random(shape) if kind in "fc" else draw.integers(0, 2, shape)).astype(dtype)


def _client(target: load_test.Target, deadline_s: float) -> Any:
    if target["protocol"] == "rest":
        return client.RestClient(target["address"], target["port"], deadline_s)
    return client.GrpcClient(
        f"[{target['address']}]" if ":" in target["address"] else target["address"], target["port"], deadline_s
    )
