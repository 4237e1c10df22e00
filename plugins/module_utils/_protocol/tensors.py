# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensors and Predict messages with the standard library, for hosts without NumPy, protobuf and gRPC."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, protobuf, text_arrays
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import VersionStatus
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature, TensorInfo, shape_of

_KINDS = {name: dtype for name, dtype in dtypes.DTYPES.items() if dtype.letter or name == "string"}
_BY_FILE = {dtypes.name_in_file(name): name for name, dtype in _KINDS.items() if dtype.letter}
_MAGIC = re.compile(rb"\x93NUMPY([\x01-\x03])\x00")
_HEADER = re.compile(r"\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\)")


@dataclass(frozen=True)
class Tensor:
    """dtype: the collection's name. content: the values' bytes, the lowest first; a tuple of bytes for strings."""

    dtype: str
    shape: tuple[int, ...]
    content: Any

    def rows(self, count: int) -> Tensor:
        """Return the first count examples along the first axis, or the tensor itself if it is a scalar."""
        return self.part(0, min(count, self.shape[0])) if self.shape else self

    def part(self, first: int, end: int) -> Tensor:
        """Return the examples from first up to end along the first axis."""
        size = len(self.content) // self.shape[0] if self.shape[0] else 0
        return Tensor(self.dtype, (end - first, *self.shape[1:]), self.content[first * size : end * size])

    def reshaped(self, shape: Iterable[int]) -> Tensor:
        """Return the same values in another shape."""
        return Tensor(self.dtype, tuple(shape), self.content)

    def values(self) -> list[Any]:
        """Return the values, flat."""
        return (
            list(self.content)
            if self.dtype == "string"
            else list(struct.unpack(f"<{math.prod(self.shape)}{_KINDS[self.dtype].letter}", self.content))
        )


def joined(parts: Sequence[Tensor]) -> Tensor | None:
    """Concatenate tensors of the same dtype along the first axis. Return None if their examples differ in shape."""
    first = parts[0]
    if any(not part.shape or part.dtype != first.dtype or part.shape[1:] != first.shape[1:] for part in parts):
        return None
    content = [part.content for part in parts]
    return Tensor(
        first.dtype,
        (sum(part.shape[0] for part in parts), *first.shape[1:]),
        sum(content, ()) if first.dtype == "string" else b"".join(content),
    )


def filled(dtype: str, shape: Sequence[int]) -> Tensor | None:
    """Return a tensor of ones (of the text "text" for strings), or None for a rare dtype."""
    if dtype not in _KINDS:
        return None
    letter = _KINDS[dtype].letter
    return Tensor(
        dtype,
        tuple(shape),
        (b"text",) * math.prod(shape) if dtype == "string" else struct.pack(f"<{letter}", 1) * math.prod(shape),
    )


def cast(tensor: Tensor, dtype: str, where: str = "samples") -> Tensor:
    """Return the tensor in the dtype that a signature takes. Raise FleetError if the two are of different kinds."""
    if tensor.dtype == dtype:
        return tensor
    if (
        "string" in (tensor.dtype, dtype)
        or dtype not in _KINDS
        or (tensor.dtype.startswith("float") and not dtype.startswith("float"))
    ):
        raise FleetError(f"the dtype is {tensor.dtype}; the signature takes {dtype}", where=where)
    return Tensor(
        dtype, tensor.shape, struct.pack(f"<{math.prod(tensor.shape)}{_KINDS[dtype].letter}", *tensor.values())
    )


def from_file(content: bytes, where: str, lengths: bytes | None = None) -> Tensor:
    """Return the Tensor of an array of a NumPy archive (the bytes of a .npy file). lengths: of an array with the lengths of its strings. Raise FleetError."""
    try:
        magic: Any = _MAGIC.match(content)
        wide = magic and magic[1] != b"\x01"
        start = 12 if wide else 10
        length = struct.unpack_from("<I" if wide else "<H", content, 8)[0]
        header: Any = _HEADER.match(content[start : start + length].decode("latin-1"))
        if header is None:
            raise ValueError("the header is not NumPy's")
        kind, fortran, sizes = header.groups()
        shape, raw = tuple(int(size) for size in sizes.split(",") if size.strip()), content[start + length :]
        if fortran == "True" and len(shape) > 1:
            raise ValueError("the values are in Fortran order")
        if kind[1:2] in ("S", "U"):
            if lengths is None or kind[1] == "U":
                return Tensor("string", shape, _texts(kind, raw, math.prod(shape)))
            return Tensor("string", shape, _cut(int(kind[2:]), raw, shape, from_file(lengths, where)))
        if kind not in _BY_FILE:
            raise ValueError(f"the dtype {kind!r} is not supported")
        dtype = _BY_FILE[kind]
        if len(raw) != math.prod(shape) * _KINDS[dtype].size:
            raise ValueError("it is truncated")
        return Tensor(dtype, shape, raw)
    except (TypeError, ValueError, KeyError, struct.error) as fault:
        raise FleetError(
            f"cannot send the array: {fault}",
            where=where,
            remedy="Save it with numpy.savez, as numbers or strings.",
        ) from fault


def predict_request(
    model: str,
    inputs: Mapping[str, Tensor],
    signature_name: str = "serving_default",
    version: int | None = None,
    label: str | None = None,
) -> bytes:
    """Return the bytes of a PredictRequest. inputs: {name: Tensor}."""
    spec = protobuf.held(1, model.encode())
    spec += protobuf.held(2, protobuf.whole(1, version)) if version is not None else b""
    spec += protobuf.held(3, signature_name.encode())
    spec += protobuf.held(4, label.encode()) if label else b""
    given = [
        protobuf.held(1, name.encode()) + protobuf.held(2, _tensor_proto(tensor)) for name, tensor in inputs.items()
    ]
    return protobuf.held(1, spec) + b"".join(protobuf.held(2, one) for one in given)


def predict_response(content: bytes) -> dict[str, Tensor]:
    """Return {output name: Tensor} of the bytes of a PredictResponse. Raise protobuf.Malformed."""
    return {name: _from_proto(value) for name, value in protobuf.entries(protobuf.grouped(content).get(1, [])).items()}


def status_request(model: str) -> bytes:
    """Return the bytes of a GetModelStatusRequest."""
    return protobuf.held(1, protobuf.held(1, model.encode()))


def status_response(content: bytes) -> list[VersionStatus]:
    """Return what the bytes of a GetModelStatusResponse say."""
    found: list[VersionStatus] = []
    for one in protobuf.grouped(content).get(1, []):
        parts = protobuf.grouped(one)
        fault = protobuf.grouped(protobuf.last(parts, 3))
        found.append(
            {
                "version": protobuf.signed(protobuf.last(parts, 1, 0)),
                "state": protobuf.last(parts, 2, 0),
                "error_code": protobuf.last(fault, 1, 0),
                "error_message": protobuf.text(protobuf.last(fault, 2)),
            }
        )
    return found


def metadata_request(model: str) -> bytes:
    """Return the bytes of a GetModelMetadataRequest for the signatures."""
    return protobuf.held(1, protobuf.held(1, model.encode())) + protobuf.held(2, b"signature_def")


def metadata_response(content: bytes) -> dict[str, Signature]:
    """Return the signatures in the bytes of a GetModelMetadataResponse."""
    held = protobuf.grouped(protobuf.entries(protobuf.grouped(content).get(2, []))["signature_def"])
    found: dict[str, Signature] = {}
    for name, definition in protobuf.entries(protobuf.grouped(held[2][-1]).get(1, [])).items():
        parts = protobuf.grouped(definition)
        inputs, outputs = (
            {tensor: _info(info) for tensor, info in protobuf.entries(parts.get(number, [])).items()}
            for number in (1, 2)
        )
        found[name] = {"inputs": inputs, "outputs": outputs}
    return found


def _texts(kind: str, raw: bytes, number: int) -> tuple[bytes, ...]:
    size = int(kind[2:]) * (4 if kind[1] == "U" else 1)
    if number * max(size, 1) > len(raw):
        raise ValueError("it is truncated")
    parts = [raw[at * size : (at + 1) * size] for at in range(number)]
    if kind[1] == "U":
        return tuple(part.decode("utf-32-le").rstrip("\0").encode() for part in parts)
    return tuple(part.rstrip(b"\0") for part in parts)


def _cut(width: int, raw: bytes, shape: tuple[int, ...], lengths: Tensor) -> tuple[bytes, ...]:
    if lengths.shape != shape:
        raise ValueError("the lengths of strings must be whole numbers in an array of the same shape")
    return tuple(text_arrays.cut(raw, width, lengths.values()))


def _tensor_proto(tensor: Tensor) -> bytes:
    shape = b"".join(protobuf.held(2, protobuf.whole(1, size)) for size in tensor.shape)
    head = protobuf.whole(1, _KINDS[tensor.dtype].number) + protobuf.held(2, shape)
    if tensor.dtype == "string":
        return head + b"".join(protobuf.held(8, text) for text in tensor.content)
    return head + protobuf.held(4, tensor.content)


def _from_proto(message: protobuf.Buffer) -> Tensor:
    parts = protobuf.grouped(message)
    dtype = dtypes.name_of(protobuf.last(parts, 1, 0))
    if dtype not in _KINDS:
        return Tensor(dtype, (), b"")
    shape = tuple(
        protobuf.last(protobuf.grouped(dim), 1, 0) for dim in protobuf.grouped(protobuf.last(parts, 2)).get(2, [])
    )
    if dtype == "string":
        return Tensor(dtype, shape, tuple(bytes(text) for text in parts.get(8, [])))
    raw = (
        bytes(parts[4][-1])
        if parts.get(4) and len(parts[4][-1])
        else _packed(parts.get(_KINDS[dtype].field_number, []), _KINDS[dtype])
    )
    one = _KINDS[dtype].size
    if raw and len(raw) < one * math.prod(shape):
        raw += raw[-one:] * (math.prod(shape) - len(raw) // one)  # the last single value fills missing ones
    return Tensor(dtype, shape, raw or bytes(one * math.prod(shape)))


def _packed(values: Iterable[Any], dtype: dtypes.DType) -> bytes:
    """Return the bytes of single values, which come packed or one by one."""
    raw = b""
    for value in values:
        if dtype.letter in "fd":
            raw += struct.pack("<I" if dtype.letter == "f" else "<Q", value) if isinstance(value, int) else bytes(value)
        else:
            numbers = [value] if isinstance(value, int) else protobuf.varints(value)
            raw += b"".join((number & (1 << 8 * dtype.size) - 1).to_bytes(dtype.size, "little") for number in numbers)
    return raw


def _info(message: protobuf.Buffer) -> TensorInfo:
    parts = protobuf.grouped(message)
    return {"dtype": dtypes.name_of(protobuf.last(parts, 2, 0)), "shape": shape_of(protobuf.last(parts, 3))}
