# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dtypes of TensorFlow: their names here, in TensorFlow and in files, their numbers, and how a tensor holds their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any  # A numpy.ndarray: NumPy is missing on many hosts, and arrays of its dtypes are what files and clients exchange.


@dataclass(frozen=True)
class DType:
    """number: of tensorflow/core/framework/types.proto. letter: of the module struct, or "". size: bytes of a value, 0 for texts. field, field_number:
    of TensorProto, for single values."""

    number: int
    letter: str
    size: int
    field: str
    field_number: int


DTYPES = {
    "float32": DType(1, "f", 4, "float_val", 5),
    "float64": DType(2, "d", 8, "double_val", 6),
    "float16": DType(19, "e", 2, "half_val", 13),
    "bfloat16": DType(14, "", 2, "half_val", 13),
    "int8": DType(6, "b", 1, "int_val", 7),
    "int16": DType(5, "h", 2, "int_val", 7),
    "int32": DType(3, "i", 4, "int_val", 7),
    "int64": DType(9, "q", 8, "int64_val", 10),
    "uint8": DType(4, "B", 1, "int_val", 7),
    "uint16": DType(17, "H", 2, "int_val", 7),
    "uint32": DType(22, "I", 4, "uint32_val", 16),
    "uint64": DType(23, "Q", 8, "uint64_val", 17),
    "bool": DType(10, "?", 1, "bool_val", 11),
    "complex64": DType(8, "", 8, "scomplex_val", 9),
    "complex128": DType(18, "", 16, "dcomplex_val", 12),
    "string": DType(7, "", 0, "string_val", 8),
}
# Dtypes whose values no client can send keep TensorFlow's names.
_RARE = {
    "DT_INVALID": 0,
    "DT_QINT8": 11,
    "DT_QUINT8": 12,
    "DT_QINT32": 13,
    "DT_QINT16": 15,
    "DT_QUINT16": 16,
    "DT_RESOURCE": 20,
    "DT_VARIANT": 21,
}
_WORDS = {"float32": "float", "float64": "double", "float16": "half"}
_REFERENCE = 100  # A reference type of TensorFlow 1 is its base type's number and this.
# tensorflow_serving/servables/tensorflow/tflite_session.cc maps these; any other fails at load with "Unknown TfLite type".
LITE = ("bool", "complex64", "float32", "int16", "int32", "int64", "int8", "string", "uint8")


def word(name: str) -> str:
    """Return the name of a dtype in TensorFlow's messages: "float" for float32."""
    return _WORDS.get(name, name)


def enum_name(name: str) -> str:
    """Return the name of a dtype in TensorFlow's enum: "DT_FLOAT" for float32."""
    return f"DT_{word(name).upper()}" if name in DTYPES else name


ENUM = {**_RARE, **{enum_name(name): dtype.number for name, dtype in DTYPES.items()}}
_NAMES = {**{number: name for name, number in _RARE.items()}, **{dtype.number: name for name, dtype in DTYPES.items()}}


def name_of(number: int) -> str:
    """Return the collection's name of a dtype, "float32" for 1; TensorFlow's own for a rare one, and the number as text if it is unknown."""
    return _NAMES.get(number - _REFERENCE if number > _REFERENCE else number, str(number))


def name_in_file(name: str) -> str:
    """Return NumPy's name of a dtype in a file: "<f4" for float32."""
    size = DTYPES[name].size
    return f"{'|' if size == 1 else '<'}{name[0]}{size}"
