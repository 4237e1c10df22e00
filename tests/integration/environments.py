# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments beside the tests' own, for packages that cannot be in one with theirs: requirements/py3XX/PROFILE.txt, installed into build/PROFILE."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def made(profile):
    """The folder of an environment's programs, which are brought up to date first."""
    done = subprocess.run(["tools/venv", f"build/{profile}", profile], cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / profile / "bin"
