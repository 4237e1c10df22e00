# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further environments for packages that cannot be in one with the tests' own: requirements/py3XX/PROFILE.txt, installed into build/PROFILE."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.tfserving.fleet.tests.support import made

ROOT = Path(__file__).resolve().parents[2]


def programs(profile):
    """Return the folder of an environment's programs, up to date with its lock file; tools/venv does nothing where it is."""
    with made.only_one(f"environment-{profile}"):
        done = subprocess.run(
            ["tools/venv", f"build/{profile}", profile],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / profile / "bin"
