# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version that the collection writes is the one it is released as."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils._core.version import VERSION

GALAXY = Path(__file__).resolve().parents[3] / "galaxy.yml"


def test_version_is_that_of_galaxy_yml():
    assert re.search(r"^version: (\S+)$", GALAXY.read_text(), re.MULTILINE).group(1) == VERSION
