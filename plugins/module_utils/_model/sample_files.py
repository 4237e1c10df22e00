# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read samples from warm-up files, TFRecord files of tf.Example and JSON lines, as {name: array} with labels under "labels"."""

from __future__ import annotations

import base64
import codecs
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import warmup
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, protobuf, tfrecord, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import TensorInfo

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

LABELS = "labels"
HEAD = 64  # bytes of a file that kind_of needs
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3  # The lists of tensorflow/core/example/feature.proto.


def kind_of(beginning: bytes) -> str:
    """Return "records" for a TFRecord file, "lines" for JSON lines, or else "archive", by a file's first bytes."""
    if tfrecord.is_one(beginning):
        return "records"
    return "lines" if beginning.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[") else "archive"


def from_lines(content: bytes, path: str) -> dict[str, Array]:
    """Read JSON lines: each is {"inputs": {name: value}, "label": value}. {"b64": text} stands for bytes, as in TensorFlow Serving's REST API."""
    examples = []
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            held = json.loads(line.decode())
            example = dict(held["inputs"], **({LABELS: held["label"]} if "label" in held else {}))
            examples.append({name: _array(_plain(value)) for name, value in example.items()})
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
            raise FleetError(
                f'line {number} is not {{"inputs": {{name: value}}, "label": value}}: {fault}', where=path
            ) from fault
    return _columns(examples, path)


def from_records(content: bytes, path: str, tensors: Mapping[str, TensorInfo], signature: str) -> dict[str, Array]:
    """Return a warm-up file's requests for a signature, or the examples of a TFRecord file. tensors: the signature's inputs, {name: {dtype, shape}}."""
    try:
        if warmup.is_one(content):
            held = requests(content, signature)
            if not held:
                raise FleetError(f"none of its requests is for the signature {signature}", where=path)
            return examples_of(held, path, tensors)
        records = [bytes(record) for record in tfrecord.records(content)]
        examples = [_features(record) for record in records]
    except (ValueError, TypeError, AttributeError, OverflowError, MemoryError, struct.error) as fault:
        raise FleetError(
            f"cannot be read as a TFRecord file of PredictionLog or tf.Example messages: {fault}", where=path
        ) from fault
    found = _columns(
        [{LABELS if name == "label" else name: array for name, array in example.items()} for example in examples], path
    )
    only = next(iter(tensors)) if len(tensors) == 1 else None
    if only and only not in found and tensors[only]["dtype"] == "string":  # The model parses the examples itself.
        found = dict({only: objects(records)}, **({LABELS: found[LABELS]} if LABELS in found else {}))
    else:
        found = {name: array for name, array in found.items() if name in tensors or name == LABELS}
    return {name: _shaped(array, tensors.get(name)) for name, array in found.items()}


def requests(content: bytes, signature: str) -> list[dict[str, Array]]:
    """Return [{name: array}] of the predict requests for a signature in a warm-up file's bytes."""
    request_class = wire.message("tensorflow.serving.PredictRequest")
    try:
        held = [request_class.FromString(bytes(request)) for request in warmup.requests(content)]
    except wire.DecodeError as fault:
        raise protobuf.Malformed(str(fault)) from fault
    return [
        {name: client.decode_tensor(tensor) for name, tensor in request.inputs.items()}
        for request in held
        if (request.model_spec.signature_name or "serving_default") == signature
    ]


def examples_of(held: Sequence[Mapping[str, Array]], path: str, tensors: Mapping[str, TensorInfo]) -> dict[str, Array]:
    """Return the examples of predict requests in order. An input without a batch dimension has one entry for each example."""
    parts: dict[str, list[Array]] = {}
    for arrays in held:
        joined = {name: array for name, array in arrays.items() if array.ndim and _has_rows(tensors.get(name))}
        rows = max(map(len, joined.values()), default=1)
        for name, array in arrays.items():
            parts.setdefault(name, []).append(array if name in joined else numpy.repeat(array[None], rows, axis=0))
    try:
        return {name: numpy.concatenate(arrays) for name, arrays in parts.items()}
    except ValueError as fault:
        raise FleetError(
            f"its requests have different shapes, not only different numbers of rows: {fault}", where=path
        ) from fault


def _has_rows(tensor: TensorInfo | None) -> bool:
    """Return whether the first dimension counts examples. A single dimension of fixed size belongs to one example."""
    return bool(tensor and tensor["shape"] and (tensor["shape"][0] is None or len(tensor["shape"]) > 1))


def _features(record: bytes) -> dict[str, Array]:
    """Return {feature: array} of the bytes of a tf.Example."""
    found = {}
    features = protobuf.last(protobuf.grouped(record), 1)
    for name, feature in protobuf.entries(protobuf.grouped(features).get(1, [])).items():
        for number, held in protobuf.fields(feature):
            values = protobuf.grouped(held).get(1, [])
            if number == _BYTES:
                found[name] = objects([bytes(value) for value in values])
            elif number == _FLOATS:
                raw = b"".join(struct.pack("<I", value) if isinstance(value, int) else bytes(value) for value in values)
                found[name] = numpy.frombuffer(raw, "<f4")
            elif number == _INTEGERS:
                numbers = [
                    one for value in values for one in ([value] if isinstance(value, int) else protobuf.varints(value))
                ]
                found[name] = numpy.asarray([protobuf.signed(one) for one in numbers], "int64")
    return found


def _columns(examples: Sequence[Mapping[str, Array]], path: str) -> dict[str, Array]:
    """Return {name: array} with examples along the first axis. Raise FleetError if the examples do not have the same keys and shapes."""
    found = {}
    for name in sorted({name for example in examples for name in example}):
        held = [example[name] for example in examples if name in example]
        if len(held) != len(examples):
            raise FleetError(
                f"{name} is missing in {len(examples) - len(held)} of {len(examples)} examples", where=path
            )
        if len({array.shape for array in held}) > 1:
            raise FleetError(
                f"{name} has examples of different shapes", where=path, remedy="Pad them to the same shape."
            )
        found[name] = numpy.stack(held)
    return found


def _shaped(array: Array, tensor: TensorInfo | None) -> Array:
    """Return flat features in the shape of one example of the signature. Labels and scalars lose their single axis."""
    if array.ndim == 2 and (tensor is None or len(tensor["shape"] or ()) <= 1):
        return array[:, 0] if array.shape[1] == 1 else array
    sizes = [-1 if size is None else size for size in (tensor["shape"] or ())[1:]] if tensor else []
    fits = array.ndim == 2 and len(sizes) > 1 and sizes.count(-1) <= 1
    try:
        return array.reshape([len(array), *sizes]) if fits else array
    except ValueError:
        return array  # If it does not fit, the signature's own check reports it.


def objects(values: Sequence[Any]) -> Array:
    """Return a flat array of values of any length, such as bytes."""
    array = numpy.empty(len(values), object)
    array[:] = values
    return array


def _array(value: Any) -> Array:
    array = numpy.asarray(value)
    if array.dtype.kind in "SUO":  # Texts of a fixed width would lose the NULs at their end.
        array = numpy.asarray(value, object)
        if not all(isinstance(one, bytes) for one in array.ravel()):
            raise ValueError("its values are neither all numbers nor all texts")
    return array


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode()
    return [_plain(one) for one in value] if isinstance(value, list) else value
