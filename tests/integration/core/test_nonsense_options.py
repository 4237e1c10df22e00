# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in an option of a module: it ends with a result or with one line, never with a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Those without a main() of their own are actions of the controller.
MODULES = [
    path.stem
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py"))
    if "def main()" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_nonsense_in_any_option_ends_in_one_line(module, tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("nonsense_options.py"), module],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    *wrong, calls = done.stdout.splitlines()
    assert int(calls) >= 10 and not wrong, "\n".join(wrong)


TUNING = {
    "name": "m",
    "python": "/usr/bin/python3",
    "model_directory": "/nonexistent",
    "samples": "/nonexistent",
    "candidates": [],
    "cpus": "0",
    "state_directory": "/nonexistent",
}


@pytest.mark.parametrize(
    ("action", "arguments", "words"),
    [
        ("tuning", dict(TUNING, window_s="many"), "window_s: 'many' is not a number."),
        ("tuning", dict(TUNING, candidates=["x"]), "candidates[0]: 'x' is not a mapping."),
        ("tuning", dict(TUNING, allowed_loss="1e400"), "allowed_loss: '1e400' is not a finite number."),
        ("plan_report", {"hosts": ["localhost"], "path": ["x"]}, "plan_report: path: ['x'] is not a text."),
        (
            "plan_report",
            {"hosts": ["localhos"]},
            "plan_report: hosts: 'localhos' is not a host of the inventory; did you mean localhost?",
        ),
    ],
    ids=str,
)
def test_nonsense_in_an_action_is_one_line(action, arguments, words, tmp_path):
    command = [
        Path(sys.executable).parent / "ansible",
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-m",
        f"tfserving.fleet.{action}",
        "-a",
        json.dumps(arguments),
        "--check",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert json.dumps(words) in done.stdout + done.stderr
