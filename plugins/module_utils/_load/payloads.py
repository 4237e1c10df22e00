# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create requests from samples or random values, and send the first one to find out whether load makes sense."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import load_test, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files, sample_files, samples
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, grpc_api, signature
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

_MOST_BODY_BYTES = 1 << 26
_FEWEST_RANDOM = 16  # different requests of one size
# Codes of a first call that no load would change.
_HOPELESS = (
    grpc_api.INVALID_ARGUMENT,
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "UNAVAILABLE",
)
_REMEDIES = {
    "samples": "Check that the server runs, that it serves the model, and that the samples fit the model.",
    "warm-up file": "Check that the server runs, that it serves the model, and that the model accepts the requests in its warm-up file.",
    "signature": "Check that the server runs and serves the model.",
}
_UNFIT = "The request was made up from the signature. Set samples to a file that fits the model."


# {input: array}
Inputs = dict[str, Any]


class FormedTarget(load_test.Target):
    """form: row or column, the format of REST bodies."""

    form: str


@dataclass(frozen=True)
class Prepared:
    """A target, the bodies of its different requests, where they come from, and the milliseconds that the first one took."""

    target: FormedTarget
    bodies: list[bytes]
    requests_from: str
    first_ms: float


def prepared(request: load_test.Request, named: load_test.Target) -> Prepared:
    """Return a target with its requests. Raise FleetError as _first_call does.

    If a server rejects the first request, inputs without a batch dimension get a single example, which only the column format supports.
    """
    requests_from, inputs = _given(request, named)
    sizes = schedule.mixed(request["batch"])
    batches = _cut(inputs, sizes, request) if inputs else _random_inputs(named, request, sizes)
    first, target, squeezed = next(batches), FormedTarget(**named, form="row"), set[str]()
    try:
        first_ms = _first_call(target, first, request["deadline_s"], requests_from)
    except FleetError as fault:
        if inputs and set(request["batch"]) == {1} and fault.code == grpc_api.INVALID_ARGUMENT:
            squeezed = _squeezed(target, first, request["deadline_s"])
        if not squeezed:
            raise
        target = FormedTarget(**named, form="column")
        first_ms = _first_call(target, _without_rows(first, squeezed), request["deadline_s"], requests_from)
    every = (_without_rows(inputs, squeezed) for inputs in itertools.chain([first], batches))
    return Prepared(target, encoded(target, every), requests_from, first_ms)


def _without_rows(inputs: Inputs, squeezed: Set[str]) -> Inputs:
    return {name: values[0] if name in squeezed else values for name, values in inputs.items()}


def _squeezed(target: load_test.Target, inputs: Inputs, deadline_s: float) -> set[str]:
    """Return the names of inputs without a batch dimension, or none if the samples do not fit the signature."""
    try:
        shapes = {name: values.shape for name, values in inputs.items()}
        return set(signature.feeding(_tensors(target, deadline_s), shapes)[1])
    except FleetError:
        return set()


def _first_call(target: FormedTarget, inputs: Inputs, deadline_s: float, requests_from: str) -> float:
    """Return the milliseconds that the first request takes. Raise FleetError, with the code of the answer, if it shows that load makes no sense."""
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
            is_unfit = requests_from == "signature" and fault.code == grpc_api.INVALID_ARGUMENT
            raise FleetError(
                f"{target['protocol']}://{load_test.authority(target)} answers the first request with {fault.code}: {fault.message}",
                where=f"target {target['name']}",
                remedy=_UNFIT if is_unfit else _REMEDIES[requests_from],
                code=fault.code,
            ) from fault
    return (time.perf_counter() - begun) * 1000


def encoded(target: FormedTarget, batches: Iterable[Inputs]) -> list[bytes]:
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


def _given(request: load_test.Request, target: load_test.Target) -> tuple[str, Inputs]:
    """Return where requests come from, and the inputs that were given, or none."""
    if request["samples"]:
        return "samples", _samples(request["samples"], target, request["deadline_s"])
    recorded = _recorded(request["warmup"], target, request["deadline_s"]) if request["warmup"] else {}
    return ("warm-up file" if recorded else "signature"), recorded


def _recorded(path: str, target: load_test.Target, deadline_s: float) -> Inputs:
    """Return the inputs of a warm-up file's requests for the target's signature, or none. Of requests with different shapes, the most frequent ones count."""
    try:
        requests = sample_files.requests(model_files.read_file(path), target["signature"])
    except ValueError as fault:
        raise FleetError(f"it is not a warm-up file: {fault}", where=path) from fault
    shapes = [{name: values.shape[1:] for name, values in inputs.items()} for inputs in requests]
    alike = [inputs for inputs, shape in zip(requests, shapes) if shape == max(shapes, key=shapes.count)]
    return sample_files.examples_of(alike, path, _tensors(target, deadline_s)) if alike else {}


def _cut(inputs: Inputs, sizes: Sequence[int], request: load_test.Request) -> Iterator[Inputs]:
    """Yield the inputs of requests of these sizes: the examples in order, repeated from the start if needed."""
    count, first = max(map(len, inputs.values()), default=0), 0
    for size in sizes:
        yield {name: values.take(range(first, first + size), axis=0, mode="wrap") for name, values in inputs.items()}
        first += size
        if first >= count and len(request["batch"]) == 1:
            return


def _samples(path: str, target: load_test.Target, deadline_s: float) -> Inputs:
    """Return the inputs of a file of samples. Only files without types need those of the signature."""
    if sample_files.kind_of(model_files.read_file(path, sample_files.HEAD)) == "archive":
        return samples.read(path)[0]
    tensors = _tensors(target, deadline_s)
    inputs, _labels = samples.read(path, tensors=tensors, signature=target["signature"])
    return samples.fit({name: values for name, values in inputs.items() if name in tensors}, tensors)


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
    # Protobuf orders a map differently in each process, and the values depend on the order in which they are drawn.
    return dict(sorted(signatures[target["signature"]]["inputs"].items()))


def _random_inputs(target: load_test.Target, request: load_test.Request, sizes: Sequence[int]) -> Iterator[Inputs]:
    """Yield random inputs of the dtypes and shapes that the server reports. An unknown first dimension is the size of the request."""
    draw, tensors, lengths = numpy.random.default_rng(0), _tensors(target, request["deadline_s"]), request["dimensions"]
    for name in lengths:
        options.one_of("dimensions", name, [*tensors, load_test.OTHER_INPUTS])
    for name in request["values_below"]:
        options.one_of("values_below", name, tensors)
    for size in sizes[:_FEWEST_RANDOM] if len(request["batch"]) == 1 else sizes:
        yield {
            name: _drawn(
                draw,
                tensor["dtype"],
                _filled(tensor["shape"], size, lengths.get(name, lengths.get(load_test.OTHER_INPUTS, 1))),
                request["values_below"].get(name, 2),
            )
            for name, tensor in tensors.items()
        }


def _filled(shape: Sequence[int | None] | None, batch: int, length: int) -> list[int]:
    if shape is None:
        return [batch]
    return [(length if position else batch) if size is None else size for position, size in enumerate(shape)]


def _drawn(draw: Any, dtype: str, shape: list[int], limit: int) -> Any:
    """Return random values. limit: of integers."""
    if dtype == "string":
        return numpy.full(shape, b"text", object)
    try:
        kind = numpy.dtype(dtype).kind
    except TypeError as fault:
        raise FleetError(
            f"cannot generate random values of dtype {dtype!r}",
            where="samples",
            remedy="Set samples to an .npz file.",
            code=grpc_api.INVALID_ARGUMENT,
        ) from fault
    if kind in "iu":
        limit = min(limit, int(numpy.iinfo(dtype).max) + 1)
    return numpy.asarray(draw.random(shape) if kind in "fc" else draw.integers(0, limit, shape)).astype(dtype)


def _client(target: load_test.Target, deadline_s: float) -> Any:
    if target["protocol"] == "rest":
        return client.RestClient(target["address"], target["port"], deadline_s)
    return client.GrpcClient(
        f"[{target['address']}]" if ":" in target["address"] else target["address"], target["port"], deadline_s
    )
