# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert the inputs of a REST request from JSON values to arrays, with TensorFlow Serving's texts for errors.

Lists of numbers are converted quickly with numpy. Whatever numpy might convert differently is converted value by value,
as in TensorFlow Serving.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import status
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.rest_parse import (
    Repeated,
    shown,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.status import Status, invalid, shape_text
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, dtypes, wire

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

ROW, COLUMN = "row", "column"
_ROWS = 4096
# The input that TensorFlow Serving's decoder of base64 accepts: neither "-" nor "_", white space anywhere, all of the
# padding or none.
_SPACE, _BASE64 = re.compile(r"[ \t-\r]+"), re.compile(r"([A-Za-z0-9+/]*)([=.]*)")
# dtype -> the word in its errors and, for whole numbers, the smallest and largest number in JSON (of the wire's type,
# not the tensor's).
WHOLE = {
    "int32": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def predict_inputs(
    request: dict[str, Any], signature_inputs_of: Callable[[str], dict[str, str]]
) -> tuple[str, str, dict[str, Any]]:
    """Return (signature name, form, {input: array}) of a parsed request. signature_inputs_of(name): {input: dtype name}; it may raise Status."""
    name = _signature_name(request)
    dtypes = signature_inputs_of(name)
    if not dtypes:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    if "instances" in request and "inputs" in request:
        raise _format_error(
            request, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in request:
        if not isinstance(request["instances"], list):
            raise _format_error(request, "Expecting 'instances' to be an list/array")
        if not request["instances"]:
            raise _format_error(request, "No values in 'instances' array")
        return name, ROW, _of_instances(request["instances"], dtypes)
    if "inputs" in request:
        return name, COLUMN, _of_inputs(request["inputs"], dtypes)
    raise invalid("Missing 'inputs' or 'instances' key")


def example_request(request: dict[str, Any], kind: str) -> Any:
    """Return the message for a parsed request over examples. kind: its full name. Raises Status."""
    message = wire.message(kind)()
    message.model_spec.signature_name = _signature_name(request)
    given = message.input.example_list
    if "context" in request:
        given = message.input.example_list_with_context
        _fill_example(request["context"], given.context)
    if "examples" not in request:
        raise _format_error(request, "When method is classify, key 'examples' is expected and was not found")
    if not isinstance(request["examples"], list):
        raise _format_error(request, "Expecting 'examples' value to be an list/array")
    if not request["examples"]:
        raise _format_error(request, "'examples' value is an empty array")
    for value in request["examples"]:
        _fill_example(value, given.examples.add())
    return message


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_type(value)}")
    for name, content in getattr(value, "last", value).items():
        feature = example.features.feature[_bytes(name).decode("utf-8", "replace")]
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(feature, name, item)


def _add_to_feature(feature: Any, name: str, value: Any) -> None:
    if value is None or isinstance(value, list) or _is_named(value):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_type(value)}")
    whole = isinstance(value, int) and -(2**63) <= value < 2**64  # RapidJSON reads others as doubles.
    kind = "bytes" if isinstance(value, (str, dict)) else "int64" if whole else "float"
    found = (feature.WhichOneof("kind") or f"{kind}_list").removesuffix("_list")
    if kind != found:
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {found}")
    if whole and value >= 2**63:
        raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    convert: Any = int if whole else _as_float if kind == "float" else _decoded if isinstance(value, dict) else _bytes
    getattr(feature, f"{kind}_list").value.append(convert(value))


def _signature_name(request: dict[str, Any]) -> str:
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise _format_error(request, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def _format_error(value: Any, message: str) -> Status:
    return invalid(f"JSON Value: {shown(value)} {message}")


def _of_instances(instances: list[Any], dtypes: Mapping[str, str]) -> dict[str, Any]:
    if not _is_named(instances[0]) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
        )
    quick = _quick_instances(instances, dtypes)
    if quick is not None:
        return quick
    named = _is_named(instances[0])
    firsts: dict[str, Any] = {}
    parts = []
    for start in range(0, len(instances), _ROWS):  # An array for each row takes many times the memory of the row.
        rows: dict[str, list[Any]] = {}
        for position, instance in enumerate(instances[start : start + _ROWS], start):
            if named != _is_named(instance):
                wanted, got = ("object", "list") if named else ("value/list", "object")
                raise invalid(f"Expecting {wanted} but got {got} at item {position} of input list")
            for name, value in instance.items() if named else [(next(iter(dtypes)), instance)]:
                key = f" key: {name}" if named else ""
                try:
                    rows.setdefault(name, []).append(_row(name, value, dtypes, firsts))
                except status.Status as fault:
                    raise invalid(
                        f"Failed to process element: {position}{key} of 'instances' list. Error: {fault}"
                    ) from fault
            if named and set(instance) != set(dtypes):
                raise invalid(
                    f"Failed to process element: {position} of 'instances' list. JSON object: {shown(instance)} keys must be equal to: "
                    f"{','.join(sorted(dtypes))}"
                )
        parts.append({name: numpy.stack(arrays) for name, arrays in rows.items()})
    return {name: numpy.concatenate([part[name] for part in parts]) for name in firsts}


def _quick_instances(instances: list[Any], dtypes: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the arrays if all instances are plain lists of numbers, or objects of them. Return None if a closer check is needed."""
    if not isinstance(instances[0], dict):
        array = _quick(instances, next(iter(dtypes.values())))
        return None if array is None else {next(iter(dtypes)): array}
    if any(not isinstance(instance, dict) or instance.keys() != dtypes.keys() for instance in instances):
        return None
    arrays = {name: _quick([instance[name] for instance in instances], dtype) for name, dtype in dtypes.items()}
    return None if any(array is None for array in arrays.values()) else arrays


def _row(name: str, value: Any, dtypes: Mapping[str, str], firsts: dict[str, Any]) -> Any:
    """Return the array of an input in one instance. firsts: {input: its array in the first instance}."""
    if name not in dtypes:
        raise invalid(f"JSON object: does not have named input: {name}")
    array = _tensor(value, dtypes[name])
    first = firsts.setdefault(name, array)
    if first.size != array.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if first.shape != array.shape:
        raise invalid(f"Expecting shape {shape_text(first.shape)} but got: {shape_text(array.shape)}")
    return array


def _of_inputs(inputs: Any, dtypes: Mapping[str, str]) -> dict[str, Any]:
    if not _is_named(inputs):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
            )
        return {name: _array(inputs, dtype) for name, dtype in dtypes.items()}
    arrays = {}
    for name in sorted(dtypes):
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _array(inputs[name], dtypes[name])
    return arrays


def _array(value: Any, dtype: str) -> Any:
    array = _quick(value, dtype)
    return _tensor(value, dtype) if array is None else array


def _quick(value: Any, dtype: str) -> Any:
    """Return the array of nested lists that contain only numbers that fit dtype, or else None."""
    if dtype not in ("float32", "float64") and dtype not in WHOLE:
        return None
    try:
        array = numpy.array(value)
    except (ValueError, OverflowError):
        return None
    kinds = "fiu" if dtype not in WHOLE else "iu"
    if array.dtype.kind not in kinds or not array.size or _holds_booleans(value):
        return None
    if dtype in WHOLE and not WHOLE[dtype][0] <= int(array.min()) <= int(array.max()) <= WHOLE[dtype][1]:
        return None
    with numpy.errstate(over="ignore"):
        return array.astype(dtype)


def _holds_booleans(value: Any) -> bool:
    """Return whether numpy may have read a boolean as a number."""
    if not isinstance(value, list):
        return isinstance(value, bool)
    if value and isinstance(value[0], list):
        return any(map(_holds_booleans, value))
    return bool in map(type, value)


def _tensor(value: Any, dtype: str) -> Any:
    """Return the array of a JSON value, with the shape of its first values. Raise Status at the first value that does not fit."""
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    if len(shape) > client.MOST_DIMENSIONS:
        raise invalid(f"A tensor of {len(shape)} dimensions cannot be read; allowed: {client.MOST_DIMENSIONS}")
    flat: list[Any] = []
    _fill(value, 0, shape, dtype, flat)
    if dtype == "string":
        texts: Any = numpy.array(flat + [None], object)
        return texts[:-1].reshape(shape)
    with numpy.errstate(over="ignore"):
        wide = {"bool": "bool", "uint64": "uint64"}.get(dtype, "int64" if dtype in WHOLE else "float64")
        return numpy.array(flat, wide).astype(dtype).reshape(shape)


def _fill(value: Any, level: int, shape: Sequence[int], dtype: str, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(_value(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _fill(item, level + 1, shape, dtype, flat)


def _value(value: Any, dtype: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, dict):
        if dtype == "string":
            return _decoded(value)
    elif dtype in ("float32", "float64"):
        if number:
            return _as_float(value)
    elif dtype in WHOLE:
        if number and isinstance(value, int) and WHOLE[dtype][0] <= value <= WHOLE[dtype][1]:
            return value
    elif dtype == "bool":
        if isinstance(value, bool):
            return value
    elif dtype == "string":
        if isinstance(value, str):
            return _bytes(value)
    else:
        raise status.Status("UNIMPLEMENTED", f"Conversion of JSON Value: {shown(value)} to type: {dtypes.word(dtype)}")
    raise invalid(f"JSON Value: {shown(value)} Type: {_type(value)} is not of expected type: {dtypes.word(dtype)}")


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError as fault:
        raise invalid("JSON Parse error: Number too big to be stored in double.") from fault


def _is_base64(value: Any) -> bool:
    one = isinstance(value, dict) and not isinstance(value, Repeated) and list(value) == ["b64"]
    return one and isinstance(value["b64"], str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _decoded(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    found = _BASE64.fullmatch(_SPACE.sub("", value["b64"]))
    missing = -len(found[1]) % 4 if found else 3
    if not found or missing == 3 or len(found[2]) not in (0, missing):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(found[1] + "=" * missing)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as fault:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from fault


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    return {type(None): "Null", dict: "Object", Repeated: "Object", list: "Array", str: "String"}.get(
        type(value), "Number"
    )
