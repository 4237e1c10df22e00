# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/ against the collection: some of them need a clone or a GPU, so no test runs them, and mypy does not read files without a suffix."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = "ansible_collections.tfserving.fleet.plugins"
TOOLS = [path for path in (Path(__file__).resolve().parents[2] / "tools").iterdir() if path.is_file()]
USERS = [path for path in sorted(TOOLS) if f"from {PACKAGE}" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("tool", USERS, ids=lambda tool: tool.name)
def test_what_a_tool_uses_of_the_collection_exists(tool):
    tree, imported = ast.parse(tool.read_text(encoding="utf-8")), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            for alias in node.names:
                package = importlib.import_module(node.module)
                imported[alias.asname or alias.name] = (
                    getattr(package, alias.name)
                    if hasattr(package, alias.name)
                    else importlib.import_module(f"{node.module}.{alias.name}")
                )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            assert hasattr(imported[node.value.id], node.attr), f"line {node.lineno}: {node.value.id}.{node.attr}"
