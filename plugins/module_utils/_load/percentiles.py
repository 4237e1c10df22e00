# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which percentiles of latency a count of requests supports."""

from __future__ import annotations

# name -> (percent, the fewest requests that support it): ten requests beyond it, and for p99.9, which few stalls decide, a hundred.
PERCENTILES = {"p50": (50.0, 20), "p90": (90.0, 100), "p95": (95.0, 200), "p99": (99.0, 1000), "p999": (99.9, 100000)}


def supported(count):
    """The names of PERCENTILES that a count of requests supports."""
    return [name for name, (_percent_, fewest) in PERCENTILES.items() if count >= fewest]
