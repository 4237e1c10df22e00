# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the plan of a large fleet takes, and how much memory: all machines of the golden plans in turn, each host with its own name and CPU count.

    python tests/bench/plan.py [HOSTS]     default 10,000; exit status 1 above 10 s or 1 GiB

Seconds are processor time: one process, one thread, so the same as a clock's on a machine that does nothing else.
"""

from __future__ import annotations

import copy
import importlib
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "unit" / "plan")]
importlib.import_module("conftest")  # makes the collection importable
import test_golden_plans as golden
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import serving_plan
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan_text

MOST_SECONDS, MOST_MIB = 10.0, 1024
REQUEST = {
    "version": "2.20.0",
    "models": [{"name": "digits", "signatures": golden.CASES["signatures"]["images"]}],
    "policies": [
        {"when": "gpus[?compute.major >= `8`]", "choose": {"goal": "bulk"}},
        {"when": "cpu.level == 'x86-64-v4'", "choose": {"flags": {"num_load_threads": 2}}},
    ],
}


def capabilities(count):
    """{host: capabilities} of count hosts."""
    machines = [golden.machine(**machine) for machine in golden.CASES["machines"].values()]
    hosts = {}
    for number in range(count):
        host = copy.deepcopy(machines[number % len(machines)])
        host["memory"]["usable_mib"] += number % 7
        hosts[f"host-{number:05}"] = host
    return hosts


def main():
    """Returns the exit status."""
    hosts = capabilities(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    began = time.process_time()
    plans = {name: serving_plan(host, REQUEST) for name, host in hosts.items()}
    planned = time.process_time()
    text = plan_text.text(plans)
    written = time.process_time()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(hosts)} hosts: planned in {planned - began:.1f} s, the table of {text.count(chr(10))} lines in {written - planned:.1f} s; "
        f"peak memory {peak_mib:.0f} MiB, their capabilities included"
    )
    return int(written - began > MOST_SECONDS or peak_mib > MOST_MIB)


if __name__ == "__main__":
    sys.exit(main())
