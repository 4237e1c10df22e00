# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire format. The bytes are the examples of its definition (protobuf.dev, "Encoding") or made by hand after it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf


@pytest.mark.parametrize(
    "content, expected",
    [
        ("089601", [(1, 150)]),  # message Test1 { int32 a = 1; } with a = 150
        ("120774657374696e67", [(2, b"testing")]),  # Test2 { string b = 2; }
        ("1a03089601", [(3, bytes.fromhex("089601"))]),  # Test3 { Test1 c = 3; }
        ("3206038e029ea705", [(6, bytes.fromhex("038e029ea705"))]),  # Test5 { repeated int32 f = 6 [packed=true]; }
        ("08ffffffffffffffffff01", [(1, 2**64 - 1)]),  # -1
        ("0d0000803f", [(1, 0x3F800000)]),  # float 1.0
        ("110000000000000840", [(2, 0x4008000000000000)]),  # double 3.0
        ("", []),
        ("08010802", [(1, 1), (1, 2)]),
        ("1200", [(2, b"")]),
    ],
)
def test_fields(content, expected):
    found = [
        (number, value if isinstance(value, int) else bytes(value))
        for number, value in protobuf.fields(bytes.fromhex(content))
    ]
    assert found == expected


@pytest.mark.parametrize(
    "content", ["08", "0896", "1207746573", "0d0000", "110000", "0b", "0c", "0f", "0001", "08ffffffffffffffffffff01"]
)
def test_what_is_no_message_is_refused(content):
    with pytest.raises(protobuf.Malformed):
        list(protobuf.fields(bytes.fromhex(content)))


def test_maps_keep_the_last_value_and_default_to_an_empty_one():
    entries = protobuf.entries([bytes.fromhex(text) for text in ("0a0161120178", "0a0161120179", "0a0162", "120177")])
    assert {key: bytes(value) for key, value in entries.items()} == {"a": b"y", "b": b"", "": b"w"}


def test_signs():
    assert [protobuf.signed(value) for value in (0, 1, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 1, 2**63 - 1, -(2**63), -1]
