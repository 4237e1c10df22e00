# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for the tests of the capability room: texts of /proc/cpuinfo, and trees of a host's files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "capability"
HEADING = re.compile(r"^==> (\S+)(?: -> (\S+))? <==\n", re.MULTILINE)


@pytest.fixture
def cpuinfo_text():
    """cpuinfo_text(name): the text of a machine."""
    return lambda name: next((FIXTURES / "cpuinfo").glob(f"{name}.*")).read_text(encoding="utf-8", errors="replace")


@pytest.fixture
def host_tree(tmp_path):
    """host_tree(name): the root directory of a host whose files are laid down for this test."""

    def lay(name):
        pieces = HEADING.split((FIXTURES / "hosts" / f"{name}.txt").read_text(encoding="utf-8"))
        for path, target, content in zip(pieces[1::3], pieces[2::3], pieces[3::3]):
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if target:
                place.symlink_to(target)
            else:
                place.write_text(content, encoding="utf-8")
        return tmp_path

    return lay
