# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write warm-up files: requests that TensorFlow Serving runs before a version serves, as a TFRecord file of PredictionLog messages.

If a record fails, the version does not load, and one with a wrong rank can crash the server at every start. Therefore a
file is checked before it is published.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, protobuf, tfrecord
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import Buffer
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import (
    Shape,
    Signatures,
    TensorInfo,
    describe,
)

MOST_RECORDS = 1000
# PredictionLog's kinds (tensorflow_serving/apis/prediction_log.proto); the server runs the first four.
_KINDS = {6: "predict", 2: "classify", 3: "regress", 4: "multi_inference", 5: "session_run", 7: "predict_streamed"}
_RUN = ("predict", "classify", "regress", "multi_inference")
_DEFAULT_SIGNATURE = "serving_default"


class WarmUp(TypedDict):
    """A warm-up file.

    records: how many, at most one more than servers accept, because no more are read. kinds: how many of each.
    batch_sizes: the first dimensions of its predict requests. faults: why a server would refuse the version or crash;
    empty for a valid file.
    """

    records: int
    kinds: dict[str, int]
    batch_sizes: list[int]
    faults: list[str]


def file(requests: Iterable[Buffer]) -> bytes:
    """Return the bytes of the warm-up file with these PredictRequests (bytes)."""
    return b"".join(tfrecord.frame(protobuf.held(6, protobuf.held(1, request))) for request in requests)


def requests(content: Buffer) -> list[Any]:
    """Return the PredictRequests (memoryviews) in a warm-up file, without records of other kinds. Raise tfrecord.Malformed or protobuf.Malformed."""
    return [request for kind, request in map(_opened, tfrecord.records(content)) if kind == "predict"]


def is_one(content: Buffer) -> bool:
    """Return whether a TFRecord file's first record is a PredictionLog and not a tf.Example, which has only field 1, while a PredictionLog has another one."""
    try:
        first = next(tfrecord.records(content), b"")
        return any(number in _KINDS for number, _value in protobuf.fields(first))
    except (tfrecord.Malformed, protobuf.Malformed):
        return False


def look(content: Buffer, signatures: Signatures, optional: Mapping[str, Collection[str]] | None = None) -> WarmUp:
    """Return the WarmUp of a file for a model's signatures. optional: {signature: inputs that have a default}."""
    found: WarmUp = {"records": 0, "kinds": {}, "batch_sizes": [], "faults": []}
    sizes: set[Any] = set()
    try:
        for number, held in enumerate(itertools.islice(tfrecord.records(content), MOST_RECORDS + 1), 1):
            kind, request = _opened(held)
            found["records"] = number
            found["kinds"][kind] = found["kinds"].get(kind, 0) + 1
            faults = [] if kind in _RUN or kind == "empty" else [f"is a {kind} log, which servers refuse"]
            if kind == "predict":
                name, inputs = _requested(request)
                sizes |= {tensor["shape"][0] for tensor in inputs.values() if tensor["shape"]}
                faults += _faults(name, inputs, signatures, (optional or {}).get(name, ()))
            found["faults"] += [f"record {number} {fault}" for fault in faults]
    except (tfrecord.Malformed, protobuf.Malformed, TypeError, AttributeError) as fault:
        found["faults"].append(f"it is not a TFRecord file of PredictionLog messages: {fault}")
    if found["records"] > MOST_RECORDS:
        found["faults"].append(f"it has at least {found['records']} records; servers refuse more than {MOST_RECORDS}")
    found["batch_sizes"] = sorted(sizes)
    return found


def refuse(found: WarmUp | None, directory: str, remedy: str = "Remove the file, or write it again.") -> None:
    """Raise FleetError for the first reason why a server would not load the version with the file. directory: the version's."""
    if found and found["faults"]:
        raise FleetError(
            f"its warm-up file: {found['faults'][0]}",
            where=posixpath.join(directory, manifest.WARMUP),
            remedy=remedy,
        )


def _opened(held: Buffer) -> tuple[str, Any]:
    """Return (kind, its request) of a PredictionLog."""
    for number, value in protobuf.fields(held):
        if number in _KINDS:
            return _KINDS[number], protobuf.last(protobuf.grouped(value), 1)
    return "empty", b""


def _requested(request: Buffer) -> tuple[str, dict[str, TensorInfo]]:
    """Return (name of the signature, {input: {dtype, shape}}) of a PredictRequest."""
    parts = protobuf.grouped(request)
    spec = protobuf.grouped(protobuf.last(parts, 1))
    name = protobuf.text(protobuf.last(spec, 3)) or _DEFAULT_SIGNATURE
    return name, {key: _tensor(value) for key, value in protobuf.entries(parts.get(2, [])).items()}


def _tensor(message: Buffer) -> TensorInfo:
    parts = protobuf.grouped(message)
    dims = protobuf.grouped(protobuf.last(parts, 2)).get(2, [])
    return {
        "dtype": dtypes.name_of(protobuf.last(parts, 1, 0)),
        "shape": [protobuf.signed(protobuf.last(protobuf.grouped(dim), 1, 0)) for dim in dims],
    }


def _faults(
    name: str, inputs: Mapping[str, TensorInfo], signatures: Signatures, optional: Collection[str]
) -> list[str]:
    if name not in signatures:
        return [f"requests the signature {name!r}; the model has {', '.join(sorted(signatures)) or 'none'}"]
    wanted = signatures[name]["inputs"]
    faults = [f"lacks the input {key}" for key in sorted(set(wanted) - {*inputs, *optional})]
    faults += [f"has an unknown input {key}" for key in sorted(set(inputs) - set(wanted))]
    for key in sorted(set(inputs) & set(wanted)):
        given, taken = inputs[key], wanted[key]
        if given["dtype"] != taken["dtype"]:
            faults.append(f"has {given['dtype']} for input {key}, which takes {taken['dtype']}")
        elif not _fits(given["shape"], taken["shape"]):
            faults.append(
                f"has shape {given['shape']} for input {key}, which takes {describe(taken['shape'])}; a wrong rank can end the server at every start"
            )
    return faults


def _fits(given: Any, taken: Shape) -> bool:
    return taken is None or (len(given) == len(taken) and all(size in (None, own) for own, size in zip(given, taken)))
