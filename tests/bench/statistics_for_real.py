# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statistics on this machine's real noise: equal servers are not called a gain, a server that is 10 % slower is found.

Servers whose service time is a parameter, one on each side, measured in interleaved windows by the real load generator. What must hold:
of 20 comparisons of equal servers at most one is called a gain, and the slower server is not taken for one that may gain.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
importlib.import_module("conftest")  # makes the collection importable
import numpy
from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._load import schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison

SERVER = Path(__file__).resolve().parents[1] / "integration" / "load" / "timed_server.py"
CPUS = sorted(os.sched_getaffinity(0))
COMPARISONS, ROUNDS, WINDOW_S, SERVICE_MS = 20, 4, 0.2, 4.0
LOOKS = (3, 6, 9)


def start(service_ms):
    """A server that is busy for that time with each request, one at a time."""
    return subprocess.Popen(
        [sys.executable, SERVER, "--busy-ms", str(service_ms), "--workers", "1"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, CPUS[-1:]),
    )


def measure(ports, order, samples):
    """The windows of the targets, in order."""
    request = {
        "targets": [
            {"name": name, "protocol": "rest", "address": "127.0.0.1", "port": port, "model": "m", "signature": "s"}
            for name, port in ports.items()
        ],
        "windows": order,
        "loop": "closed",
        "concurrency": 2,
        "rate_rps": None,
        "arrivals": None,
        "batch": 1,
        "dimensions": None,
        "window_s": WINDOW_S,
        "window_requests": 0,
        "window_max_s": WINDOW_S,
        "warmup_max_s": 2,
        "objective_ms": None,
        "deadline_s": 5,
        "samples": samples,
        "warmup": None,
        "seed": 1,
        "progress": None,
    }
    return program.call("_load.generator", request, sys.executable, timeout_s=120, cpu_set=CPUS[:1])["windows"]


def main():
    """Print both results; 1 where what must hold does not."""
    servers = {"baseline": start(SERVICE_MS), "again": start(SERVICE_MS), "slower": start(SERVICE_MS * 1.1)}
    try:
        ports = {name: json.loads(server.stdout.readline())["rest"] for name, server in servers.items()}
        with tempfile.TemporaryDirectory() as directory:
            samples = str(Path(directory) / "samples.npz")
            numpy.savez(samples, **{"inputs.x": numpy.zeros((1, 16), "float32")})
            equal = measure(ports, schedule.interleaved(["baseline", "again"], COMPARISONS * ROUNDS, seed=1), samples)
            unequal = measure(
                ports, schedule.interleaved(["baseline", "again", "slower"], 2 * LOOKS[-1], seed=2), samples
            )
    finally:
        for server in servers.values():
            server.kill()
            server.communicate()
    return max(report_equal(equal), report_slower(unequal))


def pairs_of(windows, names):
    """A pair for each block of two rounds of these targets: the servers stay, so pairs differ by the machine's noise alone."""
    named = dict(zip(names, ("baseline", "candidate")))
    mine = [dict(window, target=named[window["target"]]) for window in windows if window["target"] in names]
    found = [comparison.paired(mine[at : at + 4]) for at in range(0, len(mine), 4)]
    return [pair for pair in found if pair]


def report_equal(windows):
    """Compare in groups of pairs, each with the scatter of the other groups."""
    pairs, size = pairs_of(windows, ["baseline", "again"]), ROUNDS // 2
    groups = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    verdicts = Counter(
        comparison.compare(
            group,
            comparison.Scatter().with_pairs(
                [pair for other in groups if other is not group for pair in other], equal=True
            ),
            comparison.Rules((size,)),
        ).verdict
        for group in groups
    )
    voids = sum(bool(window["void"]) for window in windows)
    print(
        f"Equal servers: {len(groups)} comparisons of {ROUNDS} rounds ({WINDOW_S:g} s a window, {voids} of {len(windows)} void): {dict(verdicts)}; "
        "at most one may be a gain"
    )
    if voids:
        print(f"  one void: {next(window['void'] for window in windows if window['void'])}")
    return int(verdicts["gain"] > 1)


def report_slower(windows):
    """Look at growing data as a tuning does, and stop at a verdict."""
    scatter = comparison.Scatter().with_pairs(pairs_of(windows, ["baseline", "again"]), equal=True)
    pairs, rules, result = pairs_of(windows, ["baseline", "slower"]), comparison.Rules(LOOKS), None
    for count in LOOKS:
        result = comparison.compare(pairs[:count], scatter, rules, LOOKS[-1] - count)
        if result.verdict != "inconclusive":
            break
    print(f"A server that takes 10 % longer: {result.verdict} after {result.rounds} rounds, {result.reason}")
    return int(result.verdict not in ("loss", "none", "unlikely"))


if __name__ == "__main__":
    sys.exit(main())
