# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what other processes do."""

from __future__ import annotations

import time


def until(holds, timeout_s=300, pause_s=0.05):
    """Return when holds() is true; fail after timeout_s, which is long enough for a machine that is busy with other work."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"not seen within {timeout_s} s"
        time.sleep(pause_s)
