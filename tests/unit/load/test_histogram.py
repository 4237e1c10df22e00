# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which percentiles a count of requests supports: ten requests lie beyond each, and a hundred beyond p99.9."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram


@pytest.mark.parametrize(
    "count, names",
    [
        (0, []),
        (19, []),
        (20, ["p50"]),
        (999, ["p50", "p90", "p95"]),
        (1000, ["p50", "p90", "p95", "p99"]),
        (99999, ["p50", "p90", "p95", "p99"]),
        (100000, ["p50", "p90", "p95", "p99", "p999"]),
    ],
)
def test_percentiles_that_a_count_supports(count, names):
    assert histogram.supported(count) == names
