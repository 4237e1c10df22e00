# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON of TensorFlow Serving's REST API: requests to arrays, arrays to answers, with its texts for what is wrong.

Lists of numbers take a short way through numpy; whatever that cannot vouch for goes value by value, as TensorFlow Serving goes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import status
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, dtypes, wire

try:
    import numpy
except ImportError:
    numpy = None

ROW, COLUMN = "row", "column"
_DEBUG_BYTES = 256
# dtype -> the word in its errors and, for whole numbers, the least and the largest that JSON may hold (the wire's type, not the tensor's).
_WHOLE = {
    "int32": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)')
# No number is too big for a double that has neither this many digits nor an exponent of two.
_FEW_DIGITS = 298
_MANY_DIGITS = re.compile(rf"(?<!\d)\d{{{_FEW_DIGITS}}}")
_LARGE_EXPONENT = re.compile(r"[eE]\+?\d\d")
_EXPONENT = re.compile(r"e\+?(-?)0*(\d)")
_PARSE_ERRORS = (
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid control character", "Invalid encoding in string."),
    ("Invalid \\u", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\", "Invalid escape character in string."),
)


def _first_of_each(pairs):
    """The object of a list of members; of several with one name RapidJSON finds the first."""
    members = dict(pairs)
    return members if len(members) == len(pairs) else dict(reversed(pairs))


_DECODER = json.JSONDecoder(object_pairs_hook=_first_of_each)


def parse(body):
    """The object of a request's body (bytes). Raises Status."""
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as fault:
        raise _invalid(
            f"JSON Parse error: {_parse_error(fault, text)} at offset: {_offset(text, fault.pos)}"
        ) from fault
    except RecursionError as fault:
        raise _invalid("JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from fault
    except ValueError as fault:  # More digits than Python makes a number of.
        _refuse_too_big(text)
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from fault
    _refuse_too_big(text[:end])
    if not isinstance(value, dict):
        raise _invalid(f"JSON Value: {_debug(value)} Is not object")
    return value


def predict_inputs(request, signature_inputs_of):
    """(signature name, form, {input: array}) of a parsed request. signature_inputs_of(name): {input: dtype name}; it may raise Status."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise _format_error(request, "not formatted correctly. 'signature_name' key must be a string value.")
    dtypes = signature_inputs_of(name)
    if not dtypes:
        raise _invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
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
    raise _invalid("Missing 'inputs' or 'instances' key")


def answer(outputs, form):
    """The body (bytes) for {output: array}: in the row form an object or value per example, in the column form one per output. Raises Status."""
    if not outputs:
        raise _invalid("Cannot convert empty tensor map to JSON")
    texts = {name: _texts(name, array) for name, array in outputs.items()}
    body = _rows(outputs, texts) if form == ROW else _columns(outputs, texts)
    return _encoded(body)


def error(message):
    """The body (bytes) that says what is wrong."""
    return _encoded(f'{{\n    "error": {json.dumps(message, ensure_ascii=False)}\n}}')


def statuses(states):
    """The body for a model's status. states: [(number, state, Status or None)]."""
    listed = [
        {
            "version": str(number),
            "state": state,
            "status": {"error_code": fault.code if fault else "OK", "error_message": fault.message if fault else ""},
        }
        for number, state, fault in states
    ]
    return _encoded(json.dumps({"model_version_status": listed}, indent=1, ensure_ascii=False) + "\n")


def metadata(name, number, signatures):
    """The body for a model's metadata. signatures: {name: SignatureDef of _protocol.wire}."""
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


def _encoded(text):
    """The bytes of a text; bytes that were no UTF-8 come back as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _tensor_infos(infos):
    return {
        name: {
            "dtype": wire.enum_name("tensorflow.DataType", info.dtype),
            "tensor_shape": _shape(info.tensor_shape),
            "name": info.name,
        }
        for name, info in infos.items()
    }


def _tensor_proto(tensor):
    return {
        "dtype": wire.enum_name("tensorflow.DataType", tensor.dtype),
        "tensor_shape": _shape(tensor.tensor_shape),
        "tensor_content": base64.b64encode(tensor.tensor_content).decode(),
    }


def _shape(shape):
    return {"dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim], "unknown_rank": shape.unknown_rank}


def _invalid(message):
    return status.Status("INVALID_ARGUMENT", message)


def _format_error(value, message):
    return _invalid(f"JSON Value: {_debug(value)} {message}")


def _parse_error(fault, text):
    if fault.msg == "Expecting ',' delimiter":
        inside = _container(text[: fault.pos])
        return (
            "Missing a comma or '}' after an object member."
            if inside == "{"
            else "Missing a comma or ']' after an array element."
        )
    if fault.msg == "Expecting value":
        return (
            "The document is empty."
            if not text[fault.pos :].strip() and not text[: fault.pos].strip()
            else "Invalid value."
        )
    return next((words for start, words in _PARSE_ERRORS if fault.msg.startswith(start)), "Invalid value.")


def _container(text):
    """The bracket that is open at the end of a text that is sound so far."""
    opened = []
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if found[0] in "[{":
            opened.append(found[0])
        elif found[0] in "]}":
            opened.pop()
    return opened[-1] if opened else "["


def _offset(text, position):
    return len(text[:position].encode("utf-8", "surrogateescape"))


def _refuse_too_big(text):
    """Python reads a number that no double holds as infinity; TensorFlow Serving refuses it."""
    # To look at each number takes longer than to parse them, so that it needs a reason.
    if not _LARGE_EXPONENT.search(text) and not (
        any(len(part) >= _FEW_DIGITS for part in text.split(",")) and _MANY_DIGITS.search(text)
    ):
        return
    for found in _NUMBER.finditer(text):
        if found[1] and math.isinf(float(found[1])):
            raise _invalid(
                f"JSON Parse error: Number too big to be stored in double. at offset: {_offset(text, found.start())}"
            )


def _of_instances(instances, dtypes):
    if not _is_named(instances[0]) and len(dtypes) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
        )
    quick = _quick_instances(instances, dtypes)
    if quick is not None:
        return quick
    named = _is_named(instances[0])
    rows = {}
    for position, instance in enumerate(instances):
        if named != _is_named(instance):
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise _invalid(f"Expecting {wanted} but got {got} at item {position} of input list")
        for name, value in instance.items() if named else [(next(iter(dtypes)), instance)]:
            key = f" key: {name}" if named else ""
            try:
                _add_row(rows, name, value, dtypes)
            except status.Status as fault:
                raise _invalid(
                    f"Failed to process element: {position}{key} of 'instances' list. Error: {fault}"
                ) from fault
        if named and set(instance) != set(dtypes):
            raise _invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: {_debug(instance)} keys must be equal to: "
                f"{','.join(sorted(dtypes))}"
            )
    return {name: numpy.stack(arrays) for name, arrays in rows.items()}


def _quick_instances(instances, dtypes):
    """The arrays where all instances are plain lists of numbers, or objects of them; None where one must look closer."""
    if not isinstance(instances[0], dict):
        array = _quick(instances, next(iter(dtypes.values())))
        return None if array is None else {next(iter(dtypes)): array}
    if any(not isinstance(instance, dict) or instance.keys() != dtypes.keys() for instance in instances):
        return None
    arrays = {name: _quick([instance[name] for instance in instances], dtype) for name, dtype in dtypes.items()}
    return None if any(array is None for array in arrays.values()) else arrays


def _add_row(rows, name, value, dtypes):
    if name not in dtypes:
        raise _invalid(f"JSON object: does not have named input: {name}")
    array = _tensor(value, dtypes[name])
    if name in rows and rows[name][0].size != array.size:
        raise _invalid(f"Expecting tensor size: {rows[name][0].size} but got: {array.size}")
    if name in rows and rows[name][0].shape != array.shape:
        raise _invalid(f"Expecting shape {_shape_text(rows[name][0].shape)} but got: {_shape_text(array.shape)}")
    rows.setdefault(name, []).append(array)


def _of_inputs(inputs, dtypes):
    if not _is_named(inputs):
        if len(dtypes) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
            )
        return {name: _array(inputs, dtype) for name, dtype in dtypes.items()}
    arrays = {}
    for name in sorted(dtypes):
        if name not in inputs:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _array(inputs[name], dtypes[name])
    return arrays


def _array(value, dtype):
    array = _quick(value, dtype)
    return _tensor(value, dtype) if array is None else array


def _quick(value, dtype):
    """The array of nested lists that hold nothing but numbers that fit dtype, else None."""
    if dtype not in ("float32", "float64") and dtype not in _WHOLE:
        return None
    try:
        array = numpy.array(value)
    except (ValueError, OverflowError):
        return None
    kinds = "fiu" if dtype not in _WHOLE else "iu"
    if array.dtype.kind not in kinds or not array.size or _holds_booleans(value):
        return None
    if dtype in _WHOLE and not _WHOLE[dtype][0] <= int(array.min()) <= int(array.max()) <= _WHOLE[dtype][1]:
        return None
    with numpy.errstate(over="ignore"):
        return array.astype(dtype)


def _holds_booleans(value):
    """Whether numpy may have taken a boolean for a number."""
    if not isinstance(value, list):
        return isinstance(value, bool)
    if value and isinstance(value[0], list):
        return any(map(_holds_booleans, value))
    return bool in map(type, value)


def _tensor(value, dtype):
    """The array of a JSON value, its shape that of the first values in it. Raises Status at the first that does not fit."""
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    if len(shape) > client.MOST_DIMENSIONS:
        raise _invalid(f"A tensor of {len(shape)} dimensions cannot be read; allowed: {client.MOST_DIMENSIONS}")
    flat = []
    _fill(value, 0, shape, dtype, flat)
    if dtype == "string":
        return numpy.array(flat + [None], object)[:-1].reshape(shape)
    with numpy.errstate(over="ignore"):
        wide = {"bool": "bool", "uint64": "uint64"}.get(dtype, "int64" if dtype in _WHOLE else "float64")
        return numpy.array(flat, wide).astype(dtype).reshape(shape)


def _fill(value, level, shape, dtype, flat):
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {_debug(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(_value(value, dtype))
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _fill(item, level + 1, shape, dtype, flat)


def _value(value, dtype):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, dict):
        if dtype == "string":
            return _decoded(value)
    elif dtype in ("float32", "float64"):
        if number:
            return _as_float(value)
    elif dtype in _WHOLE:
        if number and isinstance(value, int) and _WHOLE[dtype][0] <= value <= _WHOLE[dtype][1]:
            return value
    elif dtype == "bool":
        if isinstance(value, bool):
            return value
    elif dtype == "string":
        if isinstance(value, str):
            return _bytes(value)
    else:
        raise status.Status("UNIMPLEMENTED", f"Conversion of JSON Value: {_debug(value)} to type: {dtypes.word(dtype)}")
    raise _invalid(f"JSON Value: {_debug(value)} Type: {_type(value)} is not of expected type: {dtypes.word(dtype)}")


def _as_float(number):
    try:
        return float(number)
    except OverflowError as fault:
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from fault


def _is_base64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _is_named(value):
    return isinstance(value, dict) and not _is_base64(value)


def _decoded(value):
    if not _is_base64(value):
        raise _invalid(f"JSON Value: {_debug(value)} not formatted correctly for base64 data")
    text = value["b64"].replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as fault:
        raise _invalid("Unable to base64 decode") from fault


def _bytes(text):
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as fault:
        raise _invalid("JSON Parse error: The surrogate pair in string is invalid.") from fault


def _type(value):
    if isinstance(value, bool):
        return str(value)
    return {type(None): "Null", dict: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def _shape_text(shape):
    return f"[{','.join(map(str, shape))}]"


def _debug(value):
    """A value as TensorFlow Serving shows it in an error: objects indented, arrays on one line, cut after the token that passes 256 bytes."""
    pieces, length = [], 0
    for piece in _tokens(value, 0, ""):
        if length >= _DEBUG_BYTES:
            break
        pieces.append(piece)
        length += len(piece.encode("utf-8", "surrogatepass"))
    return "".join(pieces)


def _tokens(value, depth, before):
    if isinstance(value, dict):
        yield before + "{"
        for position, (key, item) in enumerate(value.items()):
            yield f"{',' if position else ''}\n{'    ' * (depth + 1)}{json.dumps(key, ensure_ascii=False)}"
            yield from _tokens(item, depth + 1, ": ")
        yield f"\n{'    ' * depth}}}" if value else "}"
    elif isinstance(value, list):
        yield before + "["
        for position, item in enumerate(value):
            yield from _tokens(item, depth + 1, ", " if position else "")
        yield "]"
    else:
        text = json.dumps(value, ensure_ascii=False)
        yield before + (_EXPONENT.sub(r"e\1\2", text) if isinstance(value, float) else text)


def _texts(name, array):
    """The JSON of each value of an array, flat."""
    kind = array.dtype.kind
    if array.dtype.name in ("float32", "float64"):
        return _decimals(array)
    if kind == "O" and name.endswith("_bytes"):
        return [base64.b64encode(value).decode() for value in array.ravel().tolist()]
    if kind == "O":
        return [
            json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False) for value in array.ravel().tolist()
        ]
    if kind == "b":
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if array.dtype.name in _WHOLE:
        return list(map(str, array.ravel().tolist()))
    raise _invalid(f"Failed to write JSON value for tensor type: {dtypes.word(array.dtype.name)}")


def _decimals(array):
    """Six digits where they are enough to read the same number back, else as many as it takes (9 or 17)."""
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


def _rows(outputs, texts):
    sizes = {}
    for name, array in outputs.items():
        if not array.ndim:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        sizes.setdefault(len(array), name)
        if len(sizes) > 1:
            raise _invalid(
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


def _row_texts(name, array, texts, among_others):
    """One text for each row, on one line."""
    if name.endswith("_bytes") and array.dtype.kind == "O":
        indent = "    " * (1 + array.ndim + among_others)
        texts = [f'{{\n{indent}    "b64": "{text}"\n{indent}}}' for text in texts]
    if array.ndim == 1:
        return texts
    each = len(texts) // len(array) if len(array) else 0
    return [_line(texts[position * each : (position + 1) * each], array.shape[1:]) for position in range(len(array))]


def _line(texts, shape):
    if len(shape) == 1:
        return f"[{', '.join(texts)}]"
    each = len(texts) // shape[0] if shape[0] else 0
    return f"[{', '.join(_line(texts[position * each : (position + 1) * each], shape[1:]) for position in range(shape[0]))}]"


def _columns(outputs, texts):
    if len(outputs) == 1:
        name = next(iter(outputs))
        return f'{{\n    "outputs": {_block(name, outputs[name], texts[name], 1)}\n}}'
    members = [f"        {json.dumps(name)}: {_block(name, array, texts[name], 2)}" for name, array in outputs.items()]
    return '{\n    "outputs": {\n' + ",\n".join(members) + "\n    }\n}"


def _block(name, array, texts, depth):
    """A value with each element on a line of its own."""
    if name.endswith("_bytes") and array.dtype.kind == "O":
        indent = "    " * (depth + array.ndim)
        texts = [f'{{\n{indent}    "b64": "{text}"\n{indent}}}' for text in texts]
    return _indented(texts, array.shape, depth)


def _indented(texts, shape, depth):
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
