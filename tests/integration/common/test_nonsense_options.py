# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in an option of a module: it ends with a result or with one line, never with a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Those without a main() of their own are actions of the controller.
MODULES = [path.stem for path in sorted((ROOT / "plugins" / "modules").glob("*.py")) if "def main()" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", MODULES)
def test_nonsense_in_any_option_ends_in_one_line(module, tmp_path):
    done = subprocess.run([sys.executable, Path(__file__).with_name("nonsense_options.py"), module], cwd=tmp_path, capture_output=True, text=True, check=False,
                          timeout=600)
    assert done.returncode == 0, done.stderr
    *wrong, calls = done.stdout.splitlines()
    assert int(calls) >= 10 and not wrong, "\n".join(wrong)
