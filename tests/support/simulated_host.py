# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunings of a host whose servers have known rates, known noise and injected faults, in virtual time.

It answers the modules that a tuning calls. The search, the statistics and the decisions are the product's own.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import statistics
from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import options, trial

START_RPS, START_S, LOAD_S, LEAD_IN_S = 200.0, 4.0, 3.0, 0.25
ROUND_DEVIATION, INSTANCE_DEVIATION, FRESH_LOSS = (
    0.15,
    0.06,
    0.05,
)  # of logarithms; of one instance; of a server's first requests
FRESH_REQUESTS = 300.0  # until a fresh server has lost most of FRESH_LOSS
ACCURACY, ALLOWED_LOSS, GREAT_LOSS = 0.98, 0.01, 0.05
FAULTS = ("stalls", "drift", "neighbor", "dies", "fragile", "inaccurate")
GAINS = (3.0, 1.5, 1.1, 1.0, 1.0, 0.97, 0.9, 0.7)
LITE, BATCHING = {"form": "tflite_dynamic_range"}, {"batching": {"max_batch_size": 16, "batch_timeout_micros": 0}}
CHANGES = (
    LITE,
    BATCHING,
    {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    {"flags": {"tensorflow_intra_op_parallelism": 1}},
    {**LITE, **BATCHING},
)


@dataclass
class Truth:
    """The true ratio of each change, and the faults of the host. batching_of_lite: the ratio of batching where TensorFlow Lite serves."""

    ratios: list[float]
    faults: tuple[str, ...] = ()
    batching_of_lite: float = 1.0

    def rate(self, of) -> float:
        """The true rate of a configuration: changes multiply, but TensorFlow Lite uses neither oneDNN nor TensorFlow's threads. Numbers change nothing."""
        lite = of["form"] != "saved_model"
        parts = (lite, of["batching"] and not lite, of["environment"] and not lite, of["flags"] and not lite)
        product = math.prod(ratio for ratio, part in zip(self.ratios, parts) if part)
        return START_RPS * product * (self.batching_of_lite if lite and of["batching"] else 1.0)

    @property
    def best_rate(self) -> float:
        """The true rate of the best configuration."""
        lite, *others = (*self.ratios, *[1.0] * (4 - len(self.ratios)))
        ratios = math.prod(max(ratio, 1.0) for ratio in others), lite, lite * self.batching_of_lite
        return START_RPS * max(ratios)

    def accuracy(self, of) -> float:
        """The true accuracy of a configuration."""
        return ACCURACY - GREAT_LOSS * ("inaccurate" in self.faults and of["form"] != "saved_model")


@functools.cache
def _histogram():
    """Latencies decide nothing here: the figures of the smallest histogram are the quickest."""
    from hdrh.histogram import HdrHistogram

    counted = HdrHistogram(1, 2, 1)
    counted.record_value(1)
    return counted.encode().decode()


@dataclass
class Host:
    """A host with one model. draw: what all its noise comes from."""

    truth: Truth
    draw: random.Random
    now: float = 0.0
    windows: int = 0
    _servers: dict = field(default_factory=dict)
    _files: dict = field(default_factory=dict)
    _ports: itertools.count = field(default_factory=lambda: itertools.count(9000, 2))
    _busy: bool = False

    def __post_init__(self):
        self._trend = self.draw.choice((-1, 1)) * 0.004 * ("drift" in self.truth.faults)

    def call(self, module, **given):
        """Answer a module."""
        return getattr(self, module.rpartition(".")[2])(**given)

    def find(self, **_given):
        return {"files": [{"path": f"/m/m/{form}", "isdir": True} for form in ("saved_model", "tflite_dynamic_range")]}

    def stat(self, **_given):
        return {"stat": {"exists": True, "checksum": "0" * 40}}

    def batching_parameters(self, path, state="present", **given):
        self._files[path] = given
        return {}

    def model_server(self, name, state, **given):
        self._servers = {port: server for port, server in self._servers.items() if server["name"] != name}
        if state == "absent":
            return {}
        self.now += START_S
        form = given["model_base_path"].rpartition("/")[2]
        if "fragile" in self.truth.faults and form != "saved_model" and not given.get("accept_fragile"):
            cause = FleetError('check "survives malformed requests" failed: one request ends the server', "m")
            raise FleetError(str(cause), where="model_server") from cause
        port = next(self._ports)
        self._servers[port] = {
            "name": name,
            "configuration": {
                "form": form,
                "batching": self._files.get(given["batching_parameters_file"]),
                "environment": given["environment"],
                "flags": given["flags"],
            },
            "instance": self.draw.gauss(0, INSTANCE_DEVIATION),
            "answered": 0.0,
            "dies": "dies" in self.truth.faults and self.draw.random() < 0.1,
        }
        return {"server": {"address": "127.0.0.1", "grpc_port": port, "rest_port": port + 1}}

    def model_server_check(self, target, **_given):
        return {
            "examples": 1000,
            "metric": {"value": self.truth.accuracy(self._servers[target["port"]]["configuration"])},
        }

    def load_test(self, targets, windows, window_s, batch, rate_rps=None, **_given):
        self.now += LOAD_S
        (rows,), ports = batch, {target["name"]: target["port"] for target in targets}
        found = [self._window(name, self._servers[ports[name]], window_s, rows) for name in windows]
        return {"windows": [dict(window, rate_rps=rate_rps, requests_from="samples") for window in found]}

    def _window(self, target, server, window_s, rows):
        self.now += window_s + LEAD_IN_S
        self.windows += 1
        fresh = FRESH_LOSS * math.exp(-server["answered"] / FRESH_REQUESTS)
        log = server["instance"] + self.draw.gauss(0, ROUND_DEVIATION / math.sqrt(2)) - fresh
        log += self._trend * self.windows + self._fault(server)
        # Requests of several rows cost the server what batches of as many cost it.
        of = dict(server["configuration"], **({"batching": BATCHING["batching"]} if rows > 1 else {}))
        rate = self.truth.rate(of) * math.exp(log) / rows
        server["answered"] += rate * window_s
        return {
            "target": target,
            "goodput_rps": rate,
            "throughput_rps": rate,
            "requests": 300,
            "duration_s": window_s,
            "errors": {},
            "histogram": _histogram(),
            "void": None,
        }

    def _fault(self, server) -> float:
        """What the faults of the host add to the logarithm of a window's rate."""
        found = 0.0
        if "stalls" in self.truth.faults and self.draw.random() < 0.05:
            found += math.log(self.draw.uniform(0.05, 0.7))
        if "neighbor" in self.truth.faults:
            self._busy = self._busy != (self.draw.random() < 0.1)
            found += self._busy * (math.log(0.6) + self.draw.gauss(0, 0.1))
        if server["dies"] and self.draw.random() < 0.5:
            found = -math.inf
        return found


@dataclass
class Seen:
    """A comparison as the tuning reported it, beside the truth."""

    ratio: float
    step: dict

    @property
    def covered(self) -> bool:
        """Whether the interval holds the true gain."""
        low, high = self.step["gain_interval"]
        return (low is None or low <= self.ratio - 1) and (high is None or self.ratio - 1 <= high)

    @property
    def wrong(self) -> bool:
        """Kept without a gain, or a loss of more than 3 % called a gain."""
        called = self.step["gain_interval"][0] is not None and self.step["gain_interval"][0] > 0
        return self.step["kept"] and self.ratio <= 1 or called and self.ratio < 0.97


@dataclass
class Outcome:
    """A tuning and what was true."""

    truth: Truth
    tuning: dict
    seen: list[Seen]
    virtual_s: float

    @property
    def wrong(self) -> bool:
        """Whether the tuning kept or reported what must not be."""
        kept = self.tuning["configuration"]
        harmed = kept != self.tuning["start"] and self.truth.rate(kept) <= START_RPS
        inaccurate = self.truth.accuracy(kept) < ACCURACY - ALLOWED_LOSS
        fragile = "fragile" in self.truth.faults and kept["form"] != "saved_model"
        return harmed or inaccurate or fragile or any(seen.wrong for seen in self.seen)

    @property
    def share_of_the_best(self) -> float:
        """The true rate of what was found as a share of the best configuration's."""
        return self.truth.rate(self.tuning["configuration"]) / self.truth.best_rate


def run(host, name, seed=1, check_mode=False, tries=None, **changes) -> dict:
    """What the module tuning returns on a simulated host of this name. tries: the changes to try. changes: of its options."""
    tries = CHANGES[: len(host.truth.ratios)] if tries is None else tries
    given = {option: spec.get("default") for option, spec in options.ARGUMENTS.items()}
    given.update(
        name="m",
        python="python3",
        model_directory="/m",
        samples="/s.npz",
        metric="accuracy",
        allowed_loss=ALLOWED_LOSS,
        state_directory="/state",
        cpus="0-3",
        seed=seed,
        candidates=[{"name": f"change {number}", "change": change} for number, change in enumerate(tries)],
    )
    given.update(changes)
    return trial.tune(trial.Controller(host.call, lambda text: None, name, lambda: host.now), given, check_mode)


def tuned(ratios, faults=(), seed=1, batching_of_lite=None, **changes) -> Outcome:
    """The outcome of one tuning. ratios: of the first of CHANGES. batching_of_lite: None leaves the candidate with both out."""
    truth, draw = Truth(list(ratios), tuple(faults), batching_of_lite or 1.0), random.Random(f"host {seed}")
    host = Host(truth, draw)
    tries = None if batching_of_lite is None else CHANGES
    tuning = run(host, "web-1", seed, tries=tries, **changes)["tuning"]
    best, seen = tuning["start"], []
    for step in tuning["steps"]:
        tried = trial_configuration.changed(best, step["change"])
        if step["gain_interval"] and step["gain_interval"] != [None, None]:
            seen.append(Seen(truth.rate(tried) / truth.rate(best), step))
        if step["kept"] or "did not confirm it" in step["reason"]:
            best = tried
    total = tuning["total"]
    if best != tuning["start"]:
        seen.append(Seen(truth.rate(best) / START_RPS, total))
    return Outcome(truth, tuning, seen, host.now)


def drawn(seed, faults=None, **changes) -> Outcome:
    """A tuning with four changes and two of them together, whose true ratios are drawn, on a host with a drawn fault, or with the given ones."""
    draw = random.Random(f"truth {seed}")
    ratios = [draw.choice(GAINS) for _change in CHANGES[:4]]
    fault = (draw.choice(FAULTS),) if draw.random() < 0.75 else ()
    return tuned(ratios, fault if faults is None else faults, seed, draw.choice(GAINS), **changes)


def summary(found) -> dict:
    """What tunings show together: how many they are, their intervals, the share of these that hold the truth, and how near they came to the best."""
    seen = [one for outcome in found for one in outcome.seen]
    return {
        "tunings": len(found),
        "intervals": len(seen),
        "covered": sum(one.covered for one in seen) / len(seen),
        "share of the best": statistics.geometric_mean(outcome.share_of_the_best for outcome in found),
    }


def median_rounds(gain, runs, first=0) -> float:
    """The median of the rounds until a single change is called a gain; infinite for one that is not."""
    steps = [tuned([gain], seed=seed).seen[0].step for seed in range(first, first + runs)]
    return statistics.median(step["rounds"] if "faster, beyond" in step["reason"] else math.inf for step in steps)
