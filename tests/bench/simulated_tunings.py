# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunings of hosts with known truth, noise and faults, in virtual time: how often they are wrong, what intervals cover, how soon a verdict is there.

    python tests/bench/simulated_tunings.py [RUNS [FIRST SEED]]     default 400, 0; exit status 1 where a goal is missed

Goals: at most 1 % of tunings keep a change without a gain, an accuracy loss over the limit or a fragile variant, or call a loss of more than 3 % a gain.
Without faults at least 95 % of the intervals hold the truth. A gain of 3 times is found in a median of 5 rounds, one of 10 % in 60. The best configuration is
often a combination (TensorFlow Lite with batching gains other than the product of both); a budget of 10 minutes is enough for 90 % of what it serves.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
importlib.import_module("conftest")  # makes the collection importable
from ansible_collections.tfserving.fleet.tests.support import simulated_host


def main(runs=400, first=0):
    """Print what was seen; 1 where a goal is missed."""
    found = [simulated_host.drawn(seed) for seed in range(first, first + runs)]
    wrong = [outcome for outcome in found if outcome.wrong]
    quiet = simulated_host.summary([outcome for outcome in found if not outcome.truth.faults])
    brief = simulated_host.summary(
        [simulated_host.drawn(seed, (), budget_min=10) for seed in range(first, first + runs // 4)]
    )
    rounds = {gain: simulated_host.median_rounds(gain, runs // 4, first) for gain in (3.0, 1.1)}
    print(
        f"Wrong: {len(wrong)} of {runs} tunings, at most 1 %: {[(one.truth.ratios, one.truth.faults) for one in wrong]}"
    )
    print(f"Without faults, {quiet['tunings']} tunings:")
    print(f"  {quiet['covered'] * 100:.1f} % of {quiet['intervals']} intervals hold the truth, at least 95 %")
    print(f"  what was found serves {quiet['share of the best'] * 100:.1f} % of the best (geometric mean)")
    print(f"  within 10 minutes {brief['share of the best'] * 100:.1f} %, at least 90 %")
    print(
        f"Median rounds until a gain is found: {rounds[3.0]:g} of 3 times (at most 5), {rounds[1.1]:g} of 10 % (at most 60)"
    )
    late = rounds[3.0] > 5 or rounds[1.1] > 60
    return int(len(wrong) > runs / 100 or quiet["covered"] < 0.95 or brief["share of the best"] < 0.9 or late)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
