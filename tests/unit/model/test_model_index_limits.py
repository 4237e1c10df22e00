# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of indices in graphs that TensorFlow does not write, but that a file can contain."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._model import graph, index_limits

EIGHT_ROWS = {"shape": b"\x3a\x04\x12\x02\x08\x08"}  # AttrValue{shape: {dim: {size: 8}}}


def node(name, op, *inputs, **attributes):
    return graph.Node(name, op, tuple((one, 0) for one in inputs), (), attributes)


def limit(*nodes):
    return index_limits.below({"": graph.Body({one.name: one for one in nodes})}, "ids:0")


def test_a_table_behind_very_many_operations_is_found():
    ids = [node(f"{number}", "Identity", f"{number - 1}" if number else "ids") for number in range(1500)]
    read = [node(f"t{number}", "Identity", f"t{number - 1}" if number else "table") for number in range(1500)]
    table = node("table", "VarHandleOp", **EIGHT_ROWS)
    assert limit(*ids, *read, table, node("rows", "Gather", "t1499", "1499")) == 8


def test_a_table_that_is_read_from_itself_has_no_limit():
    assert limit(node("a", "Identity", "b"), node("b", "Identity", "a"), node("rows", "Gather", "a", "ids")) is None
