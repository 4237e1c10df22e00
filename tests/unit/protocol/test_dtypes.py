# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of dtypes, against TensorFlow's list of them, the module struct, and NumPy."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes

# tensorflow/core/framework/types.proto, in the order of the numbers.
TENSORFLOW = """DT_INVALID DT_FLOAT DT_DOUBLE DT_INT32 DT_UINT8 DT_INT16 DT_INT8 DT_STRING DT_COMPLEX64 DT_INT64 DT_BOOL DT_QINT8 DT_QUINT8 DT_QINT32
    DT_BFLOAT16 DT_QINT16 DT_QUINT16 DT_UINT16 DT_COMPLEX128 DT_HALF DT_RESOURCE DT_VARIANT DT_UINT32 DT_UINT64""".split()


def test_names_and_numbers_are_tensorflows():
    assert sorted(dtypes.ENUM, key=dtypes.ENUM.get) == TENSORFLOW and sorted(dtypes.ENUM.values()) == list(range(24))
    assert [dtypes.enum_name(dtypes.name_of(number)) for number in range(24)] == TENSORFLOW


def test_a_reference_has_the_name_of_its_base_type_and_an_unknown_number_is_its_own():
    assert [dtypes.name_of(number) for number in (1, 101, 19, 7, 20, 77)] == [
        "float32",
        "float32",
        "float16",
        "string",
        "DT_RESOURCE",
        "77",
    ]


@pytest.mark.parametrize("name", [name for name, dtype in dtypes.DTYPES.items() if dtype.letter])
def test_sizes_and_names_in_files_are_numpys(name):
    numpy = pytest.importorskip("numpy")
    known = numpy.dtype(name).newbyteorder("<")
    assert (dtypes.DTYPES[name].size, dtypes.name_in_file(name)) == (known.itemsize, known.str)
    assert struct.calcsize(f"<{dtypes.DTYPES[name].letter}") == known.itemsize
    assert numpy.frombuffer(struct.pack(f"<{dtypes.DTYPES[name].letter}", 1), known).tolist() == [1]
