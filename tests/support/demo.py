# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration's model, trained once for all tests that run the demonstration."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.tfserving.fleet.tests.support import made

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "playbooks" / "files" / "digits.py"


def bring_model(home):
    """Put the trained model and its samples below a demonstration's directory, where its first task finds them and does not train again."""
    shutil.rmtree(home / "source", ignore_errors=True)
    shutil.copytree(
        made.made("digits", [PROGRAM, *made.versions("tensorflow", "keras", "scikit-learn")], _train), home / "source"
    )


def _train(folder):
    subprocess.run(
        [sys.executable, str(PROGRAM), "--model", str(folder / "digits"), "--samples", str(folder / "samples.npz")],
        check=True,
        timeout=900,
    )
