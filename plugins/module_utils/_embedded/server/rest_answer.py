# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the answers of the REST API: arrays as JSON in TensorFlow Serving's format, a model's status and metadata, and errors."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.rest_inputs import ROW, WHOLE
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.status import Status, invalid
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, wire

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


# The members of a TensorProto for single values; TensorFlow writes defaults as content.
_VALUE_FIELDS = (
    "float double int string scomplex int64 bool dcomplex half resource_handle variant uint32 uint64".split()
)


def answer(outputs: Mapping[str, Any], form: str) -> bytes:
    """Return the body (bytes) for {output: array}: in the row form one object or value per example, in the column form one per output. Raise Status."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    texts = {name: _texts(name, array) for name, array in outputs.items()}
    body = _rows(outputs, texts) if form == ROW else _columns(outputs, texts)
    return _encoded(body)


def results(result: Any) -> bytes:
    """Return the body for a ClassificationResult or RegressionResult message."""
    if result.DESCRIPTOR.name == "RegressionResult":
        values = _decimals(numpy.array([one.value for one in result.regressions], "float32"))
        return _encoded(f'{{\n    "results": [{", ".join(values)}]\n}}')
    rows = []
    for row in result.classifications:
        scores = _decimals(numpy.array([one.score for one in row.classes], "float32"))
        pairs = (f"[{_text(one.label)}, {score}]" for one, score in zip(row.classes, scores))
        rows.append(f"[{', '.join(pairs)}]")
    return _encoded(f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}')


def error(message: str) -> bytes:
    """Return the body (bytes) of an error."""
    return _encoded(f'{{\n    "error": {json.dumps(message, ensure_ascii=False)}\n}}')


def statuses(states: Iterable[tuple[int, str, Status | None]]) -> bytes:
    """Return the body for a model's status. states: [(number, state, Status or None)]."""
    listed = [
        {
            "version": str(number),
            "state": state,
            "status": {"error_code": fault.code if fault else "OK", "error_message": fault.message if fault else ""},
        }
        for number, state, fault in states
    ]
    return _encoded(json.dumps({"model_version_status": listed}, indent=1, ensure_ascii=False) + "\n")


def metadata(name: str, number: int, signatures: Mapping[str, Any]) -> bytes:
    """Return the body for a model's metadata. signatures: {name: SignatureDef of _protocol.wire}."""
    spec = json.dumps({"name": name, "signature_name": "", "version": str(number)}, indent=1)
    listed = {
        key: {
            "inputs": _tensor_infos(one.inputs),
            "outputs": _tensor_infos(one.outputs),
            "method_name": one.method_name,
            "defaults": {alias: _tensor_proto(tensor) for alias, tensor in one.defaults.items()},
        }
        for key, one in signatures.items()
    }
    signature_def = json.dumps({"signature_def": listed}, indent=1)
    return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {signature_def}\n}}\n}}\n'.encode()


def _encoded(text: str) -> bytes:
    """Return the bytes of a text. Bytes that were not UTF-8 are restored."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _tensor_infos(infos: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "dtype": wire.enum_name("tensorflow.DataType", info.dtype),
            "tensor_shape": _shape(info.tensor_shape),
            "name": info.name,
        }
        for name, info in infos.items()
    }


def _tensor_proto(tensor: Any) -> dict[str, Any]:
    return {
        "dtype": wire.enum_name("tensorflow.DataType", tensor.dtype),
        "tensor_shape": _shape(tensor.tensor_shape),
        "version_number": tensor.version_number,
        "tensor_content": base64.b64encode(tensor.tensor_content).decode(),
        **{f"{field}_val": [] for field in _VALUE_FIELDS},
        "float8_val": "",
    }


def _shape(shape: Any) -> dict[str, Any]:
    return {"dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim], "unknown_rank": shape.unknown_rank}


def _texts(name: str, array: Any) -> list[str]:
    """Return the JSON of each value of an array, flat."""
    kind = array.dtype.kind
    if array.dtype.name in ("float32", "float64"):
        return _decimals(array)
    if kind == "O" and name.endswith("_bytes"):
        return [base64.b64encode(value).decode() for value in array.ravel().tolist()]
    if kind == "O":
        return [_text(value) for value in array.ravel().tolist()]
    if kind == "b":
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if array.dtype.name in WHOLE:
        return list(map(str, array.ravel().tolist()))
    raise invalid(f"Failed to write JSON value for tensor type: {dtypes.word(array.dtype.name)}")


def _text(value: bytes) -> str:
    return json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)


def _decimals(array: Any) -> list[str]:
    """Return six digits if they are enough to read the same number back, or else as many as needed (9 or 17)."""
    values = array.ravel()
    numbers = tuple(values.tolist())
    joined = "%g " * len(numbers) % numbers
    texts = joined.split()
    with numpy.errstate(over="ignore"):
        short = numpy.fromstring(joined, "float64", sep=" ").astype(values.dtype) == values
    if not short.all():
        full = ("%.9g " if values.dtype == "float32" else "%.17g ") * len(numbers) % numbers
        texts = [text if enough else more for text, enough, more in zip(texts, short.tolist(), full.split())]
    texts = [text if "." in text or "e" in text else text + ".0" for text in texts]
    if not numpy.isfinite(values).all():
        texts = [
            text
            if math.isfinite(number)
            else "NaN"
            if math.isnan(number)
            else "Infinity"
            if number > 0
            else "-Infinity"
            for text, number in zip(texts, numbers)
        ]
    return texts


def _rows(outputs: Mapping[str, Any], texts: Mapping[str, list[str]]) -> str:
    sizes: dict[int, str] = {}
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        sizes.setdefault(len(array), name)
        if len(sizes) > 1:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {next(iter(sizes))}"
            )
    columns = {name: _row_texts(name, array, texts[name], len(outputs) > 1) for name, array in outputs.items()}
    if len(columns) == 1:
        values = next(iter(columns.values()))
        return f'{{\n    "predictions": [{", ".join(values)}\n    ]\n}}' if values else '{\n    "predictions": []\n}'
    members = [f"            {json.dumps(name)}: " for name in columns]
    rows = [
        "        {\n" + ",\n".join(member + value for member, value in zip(members, row)) + "\n        }"
        for row in zip(*columns.values())
    ]
    return '{\n    "predictions": [\n' + ",\n".join(rows) + "\n    ]\n}" if rows else '{\n    "predictions": []\n}'


def _row_texts(name: str, array: Any, texts: list[str], among_others: bool) -> list[str]:
    """Return one text for each row, on one line."""
    if name.endswith("_bytes") and array.dtype.kind == "O":
        indent = "    " * (1 + array.ndim + among_others)
        texts = [f'{{\n{indent}    "b64": "{text}"\n{indent}}}' for text in texts]
    if array.ndim == 1:
        return texts
    each = len(texts) // len(array) if len(array) else 0
    return [_line(texts[position * each : (position + 1) * each], array.shape[1:]) for position in range(len(array))]


def _line(texts: list[str], shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return f"[{', '.join(texts)}]"
    each = len(texts) // shape[0] if shape[0] else 0
    return f"[{', '.join(_line(texts[position * each : (position + 1) * each], shape[1:]) for position in range(shape[0]))}]"


def _columns(outputs: Mapping[str, Any], texts: Mapping[str, list[str]]) -> str:
    if len(outputs) == 1:
        name = next(iter(outputs))
        return f'{{\n    "outputs": {_block(name, outputs[name], texts[name], 1)}\n}}'
    members = [f"        {json.dumps(name)}: {_block(name, array, texts[name], 2)}" for name, array in outputs.items()]
    return '{\n    "outputs": {\n' + ",\n".join(members) + "\n    }\n}"


def _block(name: str, array: Any, texts: list[str], depth: int) -> str:
    """Return a value with each element on a line of its own."""
    if name.endswith("_bytes") and array.dtype.kind == "O":
        indent = "    " * (depth + array.ndim)
        texts = [f'{{\n{indent}    "b64": "{text}"\n{indent}}}' for text in texts]
    return _indented(texts, array.shape, depth)


def _indented(texts: list[str], shape: Sequence[int], depth: int) -> str:
    if not shape:
        return texts[0]
    if not shape[0]:
        return "[]"
    each = len(texts) // shape[0]
    inner = (
        [
            _indented(texts[position * each : (position + 1) * each], shape[1:], depth + 1)
            for position in range(shape[0])
        ]
        if len(shape) > 1
        else texts
    )
    indent = "    " * (depth + 1)
    return "[\n" + ",\n".join(indent + text for text in inner) + f"\n{'    ' * depth}]"
