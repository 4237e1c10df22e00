# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write TensorFlow Serving's signature metadata into a TensorFlow Lite file. Needs TensorFlow, whose package contains the file's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

METADATA = "signature_defs_metadata"
_RUNTIME = b"min_runtime_version"
_ALIGNMENT = 16


def with_signatures(content: bytes, signatures: Mapping[str, bytes]) -> bytes:
    """Return content (the bytes of a model) with the metadata that TensorFlow Serving reads.

    signatures: {key: bytes of a SignatureDef}. Raise FleetError if these bytes contain a NUL, at which TensorFlow
    Serving stops reading.
    """
    from flatbuffers import flexbuffers
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    builder = flexbuffers.Builder()
    with builder.Map():
        for key, serialized in signatures.items():
            if 0 in serialized:
                raise FleetError(
                    f"cannot write the signature {key!r} to a TensorFlow Lite file: its bytes contain a NUL",
                    where="signature",
                )
            builder.Key(key)
            builder.String(_Encoded(serialized))
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    model.metadata = [entry for entry in model.metadata or [] if entry.name != METADATA.encode()]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = METADATA, len(model.buffers), bytes(builder.Finish())
    model.metadata.append(entry)
    model.buffers.append(buffer)
    for buffer in model.buffers:
        buffer.Pack = _packer(schema, buffer.data)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def signatures_of(content: bytes) -> dict[str, bytes]:
    """Return {key: bytes of a SignatureDef} of a model's metadata, or an empty mapping without it."""
    from flatbuffers import flexbuffers

    stored = _metadata(content, METADATA.encode())
    if stored is None:
        return {}
    found = flexbuffers.GetRoot(stored).AsMap
    return {
        bytes(key).decode(): bytes(value.AsStringBytes)
        for key, value in zip((key.AsKeyBytes for key in found.Keys), found.Values)
    }


def lowest_runtime(content: bytes) -> str | None:
    """Return the lowest release of the TensorFlow Lite runtime that a model needs according to its converter, such as "2.3.0", or None."""
    return (_metadata(content, _RUNTIME) or b"").rstrip(b"\0").decode("ascii", "replace") or None


def _metadata(content: bytes, name: bytes) -> bytes | None:
    """Return the first entry of a model's metadata with this name, or None."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    entries = (model.Metadata(index) for index in range(model.MetadataLength()))
    places = (entry.Buffer() for entry in entries if entry.Name() == name)
    return next((model.Buffers(place).DataAsNumpy().tobytes() for place in places), None)


class _Encoded:
    """Bytes that replace a text whose encoding flexbuffers requests: a SignatureDef is not valid UTF-8."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def encode(self, _encoding: str) -> bytes:
        """Return the bytes unchanged."""
        return self._content


def _packer(schema: Any, data: Any) -> Callable[[Any], Any]:
    """Return a Pack() for one buffer that keeps the alignment of the schema, which the generated one ignores."""

    def pack(builder: Any) -> Any:
        if data is not None and len(data):
            builder.StartVector(1, len(data), _ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = bytes(data)
            packed = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None and len(data):
            schema.BufferAddData(builder, packed)
        return schema.BufferEnd(builder)

    return pack
