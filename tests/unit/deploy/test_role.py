# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role tfs_server hands on whatever model_server takes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[3]


def test_the_role_hands_on_all_options_of_the_module():
    assignments = ast.parse((ROOT / "plugins" / "modules" / "model_server.py").read_text(encoding="utf-8")).body
    (documented,) = [
        one.value.value for one in assignments if isinstance(one, ast.Assign) and one.targets[0].id == "DOCUMENTATION"
    ]
    (task,) = yaml.safe_load((ROOT / "roles" / "tfs_server" / "tasks" / "serve.yml").read_text(encoding="utf-8"))
    by_others = {
        "embedded_program",  # from the action plugin; the others are part of models, which the role gives
        "model_name",
        "model_base_path",
        "samples",
        "reference",
        "metric_function",
    }
    assert set(task["tfserving.fleet.model_server"]) == set(yaml.safe_load(documented)["options"]) - by_others
