# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole tunings of hosts with known truth: what is wrong, what intervals cover, and how long a verdict takes.

Noise: 15 % standard deviation of the logarithm of a round's ratio, 6 % between instances of one configuration, and servers that get 5 % faster with their
first requests. tests/bench/simulated_tunings.py runs 400 of them.
"""

from __future__ import annotations

import pytest

pytest.importorskip("hdrh.histogram")

from ansible_collections.tfserving.fleet.tests.support import simulated_host


@pytest.mark.parametrize("fault", simulated_host.FAULTS)
def test_with_faults_nothing_is_kept_that_harms(fault):
    assert not [seed for seed in range(8) if simulated_host.drawn(seed, (fault,)).wrong]


def test_without_faults_what_is_found_is_near_the_best():
    found = [simulated_host.drawn(seed, ()) for seed in range(10)]
    assert simulated_host.summary(found)["share of the best"] >= 0.95


@pytest.mark.parametrize("gain, rounds", [(3.0, 5), (1.1, 60)])
def test_a_verdict_takes_few_rounds(gain, rounds):
    assert simulated_host.median_rounds(gain, runs=15) <= rounds


def test_a_tuning_of_equal_configurations_keeps_the_start():
    found = simulated_host.tuned([1.0, 1.0], seed=3)
    assert found.tuning["configuration"] == found.tuning["start"] and not found.wrong
