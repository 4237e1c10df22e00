# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a TensorFlow Serving server, over gRPC or REST, without TensorFlow.

Needs numpy, protobuf and (for GrpcClient) grpcio. Arrays are numpy arrays; strings are object arrays of bytes.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, grpc_api, protobuf, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import DTYPES, Array
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature, TensorInfo

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]
try:
    import grpc
except ImportError:
    grpc = None

Arrays = Mapping[str, Array]
# Of an array, in NumPy.
MOST_DIMENSIONS = 64
_MOST_BYTES, _TEXT_BYTES = 1 << 31, 64
# Their packed values on the wire are the array's bytes, which takes a tenth of the time of adding the values one by one.
_PACKED = ("float32", "float64", "complex64", "complex128")
_BY_ENUM_NAME = {dtypes.enum_name(name): name for name in DTYPES}


def encode_tensor(array: Any, typed: bool = False, into: Any = None) -> Any:
    """Return the TensorProto of an array; numbers go as raw bytes (tensor_content), or with typed=True as single values (float_val …).

    Arrays of str, bytes or object are strings. into: an empty TensorProto to fill instead of a new one. Raise FleetError for an unknown dtype.
    """
    array = numpy.asarray(array)
    name = "string" if array.dtype.kind in "OSU" else array.dtype.name
    if name not in DTYPES:
        raise FleetError(f"an array of {array.dtype} has no tensor type; allowed: {', '.join(DTYPES)}")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    dtype = DTYPES[name]
    tensor = wire.message("tensorflow.TensorProto")() if into is None else into
    tensor.dtype = dtype.number
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    values = getattr(tensor, dtype.field)
    if name == "string":
        values.extend(_as_bytes(value) for value in array.ravel().tolist())
    elif not typed:
        tensor.tensor_content = array.tobytes()
    elif name in ("float16", "bfloat16"):
        values.extend(array.ravel().view("uint16").tolist())
    elif name in _PACKED:
        tensor.MergeFromString(bytes([dtype.field_number << 3 | 2]) + protobuf.varint(array.nbytes) + array.tobytes())
    else:
        values.extend(array.ravel().tolist())
    return tensor


def decode_tensor(tensor: Any, bfloat16: Any = None) -> Array:
    """Return the array of a TensorProto, from raw bytes or single values, as TensorFlow reads it: the last single value fills missing ones, values beyond
    the shape are ignored, and an unknown rank is that of a scalar.

    The array may be read-only. bfloat16: numpy's dtype for it if a library has one; without it such tensors become float32, which can represent all
    their values. Raise FleetError if shape and content do not fit or the dtype is unknown.
    """
    name = dtypes.name_of(tensor.dtype)
    if name not in DTYPES:
        raise FleetError(f"a tensor of dtype {name} cannot be read; allowed: {', '.join(DTYPES)}")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if (tensor.tensor_shape.unknown_rank and shape) or any(size < 0 for size in shape):
        raise FleetError(f"a tensor needs a complete shape; this one has {list(shape)}")
    if len(shape) > MOST_DIMENSIONS:
        raise FleetError(f"a tensor of {len(shape)} dimensions cannot be read; allowed: {MOST_DIMENSIONS}")
    count = math.prod(shape)
    if tensor.tensor_content:
        flat = (
            _texts_of_content(tensor.tensor_content, count)
            if name == "string"
            else _from_content(tensor.tensor_content, name, bfloat16)
        )
        if len(flat) != count:
            raise FleetError(
                f"a tensor of shape {list(shape)} and dtype {name} needs {count} values, its content has {len(flat)}"
            )
    else:
        flat = _filled(_from_values(getattr(tensor, DTYPES[name].field), name, bfloat16), count)
    try:
        return flat.reshape(shape)
    except ValueError as fault:  # No values, but dimensions that are too large.
        raise FleetError(f"a tensor of shape {list(shape)} cannot be read: {fault}") from fault


def predict_request(
    model: str, inputs: Arrays, signature: str = "serving_default", version: int | None = None
) -> bytes:
    """Return the bytes of a PredictRequest. inputs: {name: array}. version: an int, or None for the latest."""
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, array in inputs.items():
        encode_tensor(array, into=request.inputs[name])
    content: bytes = request.SerializeToString()
    return content


def predict_response(content: bytes) -> dict[str, Array]:
    """Return {output name: array} of the bytes of a PredictResponse."""
    response = wire.message("tensorflow.serving.PredictResponse").FromString(content)
    return {name: decode_tensor(tensor) for name, tensor in response.outputs.items()}


def rest_body(inputs: Arrays, signature: str = "serving_default", form: str = "row") -> bytes:
    """Return the bytes of a REST predict request. form: "row" (a list of examples, all inputs have the same first dimension) or "column"."""
    inputs = {name: numpy.asarray(array) for name, array in inputs.items()}
    if form == "column":
        body: dict[str, Any] = {"inputs": {name: _to_json(array) for name, array in inputs.items()}}
    else:
        sizes = {array.shape[0] if array.ndim else None for array in inputs.values()}
        if len(sizes) != 1 or None in sizes:
            raise FleetError(
                "the row format needs inputs with the same first dimension", remedy="Use the column format."
            )
        columns = {name: _to_json(array) for name, array in inputs.items()}
        body = {"instances": [dict(zip(columns, row)) for row in zip(*columns.values())]}
    return json.dumps({"signature_name": signature, **body}, separators=(",", ":")).encode()


class GrpcClient(AbstractContextManager):  # type: ignore[type-arg]
    """A connection to a server's gRPC port. deadline_s: the longest that one call may take."""

    def __init__(self, address: str, port: int, deadline_s: float = 10.0) -> None:
        if grpc is None:
            raise FleetError(
                "the Python package grpcio is missing",
                where="GrpcClient",
                remedy="Install it for this Python.",
            )
        self._where, self._deadline_s = f"grpc://{address}:{port}", deadline_s
        self._channel = grpc.insecure_channel(
            f"{address}:{port}",
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._methods = {
            path: self._channel.unary_unary(path)
            for path in (grpc_api.PREDICT, grpc_api.GET_MODEL_METADATA, grpc_api.GET_MODEL_STATUS)
        }

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def call(self, path: str, content: bytes) -> bytes:
        """Return the bytes of the answer to the bytes of a request; path is one of grpc_api's. Raise ServerFault."""
        try:
            answer: bytes = self._methods[path](content, timeout=self._deadline_s)
            return answer
        except grpc.RpcError as fault:
            raise ServerFault(fault.code().name, fault.details(), self._where) from fault

    def predict(
        self, model: str, inputs: Arrays, signature: str = "serving_default", version: int | None = None
    ) -> dict[str, Array]:
        """Return {output name: array} for inputs {name: array}."""
        return predict_response(self.call(grpc_api.PREDICT, predict_request(model, inputs, signature, version)))

    def status(self, model: str) -> list[dict[str, Any]]:
        """Return [{version, state, error_code, error_message}] of all versions the server knows; codes are names such as OK."""
        request = wire.message("tensorflow.serving.GetModelStatusRequest")()
        request.model_spec.name = model
        content = self.call(grpc_api.GET_MODEL_STATUS, request.SerializeToString())
        answer = wire.message("tensorflow.serving.GetModelStatusResponse").FromString(content)
        return [
            {
                "version": one.version,
                "state": wire.enum_name("tensorflow.serving.ModelVersionState", one.state),
                "error_code": grpc_api.code_name(one.status.error_code),
                "error_message": one.status.error_message,
            }
            for one in answer.model_version_status
        ]

    def metadata(self, model: str, version: int | None = None) -> dict[str, Signature]:
        """Return {signature name: {method_name, inputs: {name: {dtype, shape, tensor}}, outputs}}; version: an int, or None for the latest."""
        request = wire.message("tensorflow.serving.GetModelMetadataRequest")(metadata_field=["signature_def"])
        request.model_spec.name = model
        if version is not None:
            request.model_spec.version.value = version
        answer = wire.message("tensorflow.serving.GetModelMetadataResponse").FromString(
            self.call(grpc_api.GET_MODEL_METADATA, request.SerializeToString())
        )
        signatures = (
            wire.message("tensorflow.serving.SignatureDefMap")
            .FromString(answer.metadata["signature_def"].value)
            .signature_def
        )
        return {
            key: {"method_name": one.method_name, "inputs": _tensors(one.inputs), "outputs": _tensors(one.outputs)}
            for key, one in signatures.items()
        }


class RestClient(AbstractContextManager):  # type: ignore[type-arg]
    """A kept-alive connection to a server's REST port. deadline_s: the longest that one wait for the server may take."""

    def __init__(self, address: str, port: int, deadline_s: float = 10.0) -> None:
        self._where = f"http://{address}:{port}"
        self._connection = http.client.HTTPConnection(address, port, timeout=deadline_s)
        self._signatures: dict[tuple[str, int | None], dict[str, Signature]] = {}

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def call(self, verb: str, path: str, body: bytes | None = None) -> bytes:
        """Return the bytes of the answer. Raise ServerFault; a connection that the server closed while idle is opened once more."""
        reused = self._connection.sock is not None
        try:
            self._connection.request(verb, path, body, {"Content-Type": "application/json"} if body else {})
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            if isinstance(fault, TimeoutError):
                raise ServerFault("DEADLINE_EXCEEDED", "no answer in time", self._where) from fault
            if reused and isinstance(fault, (ConnectionError, http.client.RemoteDisconnected)):
                return self.call(verb, path, body)
            foreign = isinstance(fault, http.client.BadStatusLine) and not isinstance(fault, ConnectionError)
            words = (
                "the server does not answer in HTTP/1.1; check that this is not the gRPC port"
                if foreign
                else str(fault)
            )
            raise ServerFault("UNAVAILABLE", words or type(fault).__name__, self._where) from fault
        if response.status != 200:
            raise ServerFault(grpc_api.code_of_http(response.status), _error_text(content), self._where)
        return content

    def predict(
        self, model: str, inputs: Arrays, signature: str = "serving_default", version: int | None = None
    ) -> dict[str, Array]:
        """Return {output name: array} for inputs {name: array}, in the column format; names and dtypes of the outputs come from the model's metadata."""
        content = self.call("POST", f"{_model_path(model, version)}:predict", rest_body(inputs, signature, "column"))
        key = (model, version)
        if signature not in self._signatures.get(key, {}):
            self._signatures[key] = self.metadata(model, version)
        outputs = self._signatures[key][signature]["outputs"]
        values = json.loads(content)["outputs"]
        if len(outputs) == 1:
            values = {next(iter(outputs)): values}
        return {name: _from_json(value, outputs[name]["dtype"]) for name, value in values.items()}

    def status(self, model: str) -> list[dict[str, Any]]:
        """Return the same as GrpcClient.status."""
        answer = json.loads(self.call("GET", _model_path(model)))
        return [
            {
                "version": int(one["version"]),
                "state": one["state"],
                "error_code": one["status"]["error_code"],
                "error_message": one["status"]["error_message"],
            }
            for one in answer["model_version_status"]
        ]

    def metadata(self, model: str, version: int | None = None) -> dict[str, Signature]:
        """Return the same as GrpcClient.metadata. version: an int, or None for the latest."""
        answer = json.loads(self.call("GET", f"{_model_path(model, version)}/metadata"))
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        return {
            key: {
                "method_name": one["method_name"],
                "inputs": _rest_tensors(one["inputs"]),
                "outputs": _rest_tensors(one["outputs"]),
            }
            for key, one in signatures.items()
        }


def _model_path(model: str, version: int | None = None) -> str:
    return f"/v1/models/{model}" if version is None else f"/v1/models/{model}/versions/{version}"


def _error_text(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace")


def _tensors(infos: Any) -> dict[str, TensorInfo]:
    return {
        name: {
            "dtype": dtypes.name_of(info.dtype),
            "tensor": info.name,
            "shape": None
            if info.tensor_shape.unknown_rank
            else [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in infos.items()
    }


def _rest_tensors(infos: Any) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for name, info in infos.items():
        sizes = [int(dim["size"]) for dim in info["tensor_shape"]["dim"]]
        shape = None if info["tensor_shape"]["unknown_rank"] else [None if size < 0 else size for size in sizes]
        tensors[name] = {
            "dtype": _BY_ENUM_NAME.get(info["dtype"], info["dtype"]),
            "shape": shape,
            "tensor": info["name"],
        }
    return tensors


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _from_content(content: bytes, name: str, bfloat16: Any) -> Array:
    if name == "bfloat16" and bfloat16 is None:
        return _widened(numpy.frombuffer(content, "<u2"))
    name = bfloat16 if name == "bfloat16" else name
    kind = numpy.dtype(name)
    if len(content) % kind.itemsize:
        raise FleetError(f"a tensor's content of {len(content)} bytes is not a multiple of the size of {name}")
    if name == "bool" and max(content) > 1:
        raise FleetError("a tensor's content has booleans that are neither 0 nor 1")
    return numpy.frombuffer(content, kind.newbyteorder("<"))


def _texts_of_content(content: bytes, count: int) -> Array:
    """Return the strings that TensorFlow packs into bytes: the length of each, then all of them."""
    sizes: list[int] = []
    position = 0
    try:
        while len(sizes) < count:
            size, position = protobuf.read_varint(content, position)
            sizes.append(size)
        ends = list(itertools.accumulate(sizes, initial=position))
    except ValueError as fault:
        raise FleetError(f"a tensor's content does not contain {count} strings") from fault
    if ends[-1] != len(content):
        raise FleetError(f"a tensor's content does not contain {count} strings")
    return numpy.array([content[first:last] for first, last in zip(ends, ends[1:])] + [None], object)[:-1]


def _from_values(values: Any, name: str, bfloat16: Any) -> Array:
    if name == "string":
        return numpy.array(list(values) + [None], object)[:-1]
    if name in ("float16", "bfloat16"):
        bits = numpy.array(values, "uint16")
        if name == "bfloat16" and bfloat16 is None:
            return _widened(bits)
        return bits.view(bfloat16 if name == "bfloat16" else "float16")
    if name.startswith("complex") and len(values) % 2:
        raise FleetError(
            f"a tensor of {name} has an odd number of parts: each value needs a real and an imaginary part"
        )
    if name.startswith("complex"):
        return numpy.array(values, "float32" if name == "complex64" else "float64").view(name)
    return (
        numpy.array(values, "int64" if name.startswith("int") else None).astype(name)
        if len(values)
        else numpy.zeros(0, name)
    )


def _widened(bits: Array) -> Array:
    return (bits.astype("uint32") << 16).view("float32")


def _filled(values: Array, count: int) -> Array:
    if len(values) >= count:
        return values[:count]
    # A few bytes could claim any amount of memory; no other message holds more than this.
    if count * (_TEXT_BYTES if values.dtype == object else values.itemsize) > _MOST_BYTES:
        raise FleetError(f"a tensor of {count} values is larger than {_MOST_BYTES >> 30} GiB")
    last = values[-1] if len(values) else (b"" if values.dtype == object else 0)
    return numpy.concatenate([values, numpy.full(count - len(values), last, values.dtype)])


def _to_json(array: Array) -> Any:
    if array.dtype.kind == "c":
        raise FleetError(f"JSON cannot represent {array.dtype}", remedy="Use gRPC.")
    if array.dtype.kind not in "OSU":
        return array.tolist()
    wrapped = numpy.empty(array.shape, object)
    for index, value in numpy.ndenumerate(array):
        wrapped[index] = {"b64": base64.b64encode(_as_bytes(value)).decode()}
    return wrapped.tolist()


def _from_json(value: Any, dtype: str) -> Array:
    if dtype != "string":
        return numpy.array(value, "float32" if dtype == "bfloat16" else dtype)
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    flat = [value]
    for _axis in shape:
        flat = [item for part in flat for item in part]
    texts = [base64.b64decode(item["b64"]) if isinstance(item, dict) else item.encode() for item in flat]
    return numpy.array(texts + [None], object)[:-1].reshape(shape)
