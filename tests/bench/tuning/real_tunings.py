# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunings of the embedded server on this machine.

    python tests/bench/tuning/real_tunings.py equal [--runs 20] [--model transformer]
    python tests/bench/tuning/real_tunings.py grid [--runs 5] [--models wide deep quick] [--budget-min 2.5] [--windows 7]

equal: comparisons of the start with itself on fresh servers, as a tuning begins. Goals: at most 10 % of the 95 % intervals without zero, the mean gain within
1.5 % of zero.

grid: three unlike models, tuned several times each, against a grid of 36 points of the same space. The tuning's configuration and the best point are measured
against each other on fresh servers. Goals: the geometric mean of the ratios of goodput is 0.95 or more, none is below 0.85, and the windows of a tuning take at
most 15 % of the time of those of the grid. A configuration that several tunings of a model found is measured against the best point once.

The machine must be idle. With two CPUs, both parts together take about 90 minutes.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes the collection importable
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters, start_values
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import options, steps, trial
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Rules
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.measurement import Measurement
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_log import TrialLog
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_servers import TrialServers
from ansible_collections.tfserving.fleet.tests.support import made, modules

CPUS = sorted(os.sched_getaffinity(0))
IN_FLIGHT, PAIRS = 8, 4
WINDOW_S, TUNING_WINDOW_S = 1.5, 1.0  # of the grid and of comparisons; of the tunings that are compared with the grid


class Host:
    """This machine, and the seconds that windows took on it."""

    def __init__(self, models, directory):
        self.models, self.directory, self.windows_s = models, directory, 0.0

    def call(self, module, **given):
        """Run a module, as the action behind tuning does."""
        found = modules.call(module.rpartition(".")[2], builtin=module.startswith("ansible.builtin."), **given)
        if found.get("failed"):
            cause = FleetError.from_dict(found["fault"]) if found.get("fault") else None
            raise FleetError(found["msg"], where=module) from cause
        self.windows_s += sum(window["duration_s"] for window in found.get("windows", ()))
        return found

    def options(self, model, **changes):
        """Return the options of a tuning."""
        given = {name: spec.get("default") for name, spec in options.ARGUMENTS.items()}
        given.update(
            name=model,
            python=sys.executable,
            model_directory=str(self.models),
            state_directory=str(self.directory),
            cpus=limits.format_cpu_list(CPUS),
            server={"embedded_allow_root": True},
            window_s=WINDOW_S,
            candidates=[],
        )
        return {**given, **changes}

    def tuned(self, model, **changes):
        """Return the tuning of a model."""
        controller = trial.Controller(self.call, lambda text: print(f"    {text}", flush=True), "here")
        return trial.tune(controller, self.options(model, **changes), False)["tuning"]

    def measurement(self, model, seed):
        """Return servers of a model and comparisons of them."""
        given = self.options(model, seed=seed)
        servers = TrialServers(self.call, given, {"saved_model": f"{self.models}/{model}/saved_model"})
        return servers, Measurement(servers, given, time.monotonic, TrialLog(None), [])


def batching(**changes):
    """Return the batching that a plan starts with, changed."""
    host = {"cpu": {"usable": len(CPUS)}, "gpus": [], "memory": {"usable_mib": 4096}}
    started = {name: value for name, (value, _reason) in start_values.start_values(host, "online").items()}
    return parameters.with_room({**started, **changes})


def space():
    """Return the candidates of a tuning and the points of the grid, changes of the start."""
    threads = {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": len(CPUS)}
    onednn = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    candidates = [
        {"name": "batching", "change": {"batching": batching()}},
        {"name": "threads", "change": {"flags": threads}},
        {"name": "oneDNN off", "change": {"environment": onednn}},
    ]
    batchings = [
        batching(max_execution_batch_size=rows, num_batch_threads=count, batch_timeout_micros=timeout)
        for rows, count, timeout in itertools.product((IN_FLIGHT // 2, IN_FLIGHT), (1, 2), (0, 1000))
    ]
    points = itertools.product([None, *batchings], [{}, threads], [{}, onednn])
    return candidates, [{"batching": one, "flags": flags, "environment": env} for one, flags, env in points]


def equal(host, given):
    """Compare the start with itself. Return whether the goals are met."""
    gains, missed = [], 0
    for seed in range(given.runs):
        servers, measurement = host.measurement(given.model, seed)
        start = trial_configuration.complete({})
        with servers:
            found = measurement.compare(start, start, Rules(looks=(trial.NOISE_PAIRS,))).comparison
        low, high = found.interval
        if low is not None:
            missed += not low <= 0 <= high
            gains.append(found.gain)
        print(f"  run {seed + 1}: {found.reason}", flush=True)
    if len(gains) < given.runs:
        print(f"{given.runs - len(gains)} of {given.runs} runs have no interval: the machine is too busy")
        return False
    mean = statistics.fmean(gains)
    print(
        f"{given.runs} comparisons of {given.model} with itself: {missed} intervals without zero, at most {given.runs // 10}"
    )
    print(f"  mean gain {mean * 100:+.2f} %, within 1.5 %; standard deviation {statistics.pstdev(gains) * 100:.2f} %")
    return missed <= given.runs // 10 and abs(mean) <= 0.015


def best_of_grid(host, model, points, windows):
    """Return the point with the highest goodput of one server each."""
    rates = []
    servers, measurement = host.measurement(model, 0)
    with servers:
        for point in points:
            of = trial_configuration.complete(point)
            side = {"baseline": servers.target(of, "baseline")}
            found = servers.load(side, ["baseline"] * windows, seed=1, **measurement.traffic.closed())
            servers.stop()
            rates.append(statistics.fmean(window["goodput_rps"] for window in found))
            print(f"    {rates[-1]:.1f} requests/s: {point}", flush=True)
    return trial_configuration.complete(points[rates.index(max(rates))])


def grid(host, given):
    """Tune each model several times, against the best point of a grid. Return whether the goals are met."""
    candidates, points = space()
    ratios, shares = [], []
    for model in given.models:
        before_s = host.windows_s
        best = best_of_grid(host, model, points, given.windows)
        grid_s = host.windows_s - before_s
        compared = {steps.digest(best): 1.0}
        for seed in range(given.runs):
            before_s = host.windows_s
            found = host.tuned(
                model, seed=seed, candidates=candidates, budget_min=given.budget_min, window_s=TUNING_WINDOW_S
            )["configuration"]
            shares.append((host.windows_s - before_s) / grid_s)
            key = steps.digest(found)
            if key not in compared:
                servers, measurement = host.measurement(model, seed)
                with servers:
                    gain = measurement.compare(best, found, Rules(looks=(PAIRS,))).comparison.gain
                compared[key] = 0.0 if gain is None else 1 + gain
            ratios.append(compared[key])
            print(
                f"  {model}, run {seed + 1}: {ratios[-1]:.3f} of the best point with {shares[-1] * 100:.0f} % of its time: {found}",
                flush=True,
            )
    mean = statistics.geometric_mean(max(ratio, 1e-9) for ratio in ratios)
    print(f"Goodput as a share of that of the best of {len(points)} points, {len(ratios)} tunings:")
    print(f"  geometric mean {mean:.3f}, at least 0.95; lowest {min(ratios):.3f}, at least 0.85")
    print(f"  time of the windows of a tuning: {statistics.fmean(shares) * 100:.0f} % of the grid's, at most 15 %")
    return mean >= 0.95 and min(ratios) >= 0.85 and statistics.fmean(shares) <= 0.15


def main():
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, runs in (("equal", 20), ("grid", 5)):
        part = parts.add_parser(name)
        part.add_argument("--runs", type=int, default=runs)
        if name == "equal":
            part.add_argument("--model", default="transformer")
        else:
            part.add_argument("--models", nargs="+", default=["wide", "deep", "quick"])
            part.add_argument("--budget-min", type=float, default=2.5)
            part.add_argument("--windows", type=int, default=7, help="windows of 1.5 s at each point")
    given = parser.parse_args()
    models = made.by_program(Path(__file__).with_name("make_bench_models.py"))
    print(f"{len(CPUS)} CPUs, load average {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tfserving-bench-") as directory:
        good = {"equal": equal, "grid": grid}[given.part](Host(models, directory), given)
    print(f"load average {os.getloadavg()[0]:.1f}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
