# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trial servers of one tuning: start them on the host, measure them side by side, keep what proved faster.

It only orders the collection's modules (model_server, batching_parameters, model_server_check, load_test); what to try comes from the
plan, whether it is kept from steps and comparison.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    saved_structure,
    server_options,
    trial_configuration,
    tuning_files,
    tunings,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import (
    Comparison,
    Pair,
    compare,
    look_confidence,
    paired,
    settled,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.options import check
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import BeforeAfter, Candidate

CHECK_ROWS = 32
IDLE_EXIT_S = 600
OPEN_LOOP_SHARE = 0.6  # of the slower side's closed-loop rate: below it queues stay short, above latencies only tell how long one measured


@dataclass(frozen=True)
class Controller:
    """What a tuning needs of whoever runs it. call: runs a module on the host and returns its result, or raises FleetError. say: tells people where
    it is. host: the host's name."""

    call: Callable[..., Any]
    say: Callable[[str], None]
    host: str


def tune(controller: Controller, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The result of the module tuning."""
    check(options)
    if options["keep_in"] and not check_mode:
        tuning_files.make_folder(options["keep_in"])
    folder = f"{options['model_directory']}/{options['name']}"
    forms = _forms(controller.call, folder)
    if not forms and not check_mode:
        raise FleetError(
            f"no published form of the model in {folder}",
            where=options["name"],
            remedy="Publish it first, with the role tfserving.fleet.tfs_model.",
        )
    trial = Trial(controller, options, forms)
    if check_mode:
        missing = (
            []
            if forms
            else [f"{folder} holds no published form of the model; a real run fails unless it does by then."]
        )
        return {"changed": False, "tuning": None, "actions": trial.intentions(), "warnings": missing}
    with trial:
        found = trial.run()
    if not options["keep_in"]:
        return Decision(changed=False).result(tuning=found)
    at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    structure = saved_structure.on_host(controller.call, f"{folder}/saved_model") if SAVED_MODEL in forms else None
    record = tunings.kept(found, options["tuning_class"], options["release"], controller.host, at, structure)
    return tuning_files.write(record, options["keep_in"]).result(tuning=found)


def _forms(call: Callable[..., Any], folder: str) -> dict[str, str]:
    """{form: base path} of what is published for the model on the host."""
    # The type directory would leave out links to folders.
    found = [
        entry
        for entry in call("ansible.builtin.find", paths=[folder], file_type="any")["files"]
        if entry["isdir"] or entry["islnk"]
    ]
    return {path.rpartition("/")[2]: path for path in sorted(entry["path"] for entry in found)}


def server_name(model: str, key: str) -> str:
    """The name of a trial server, legal whatever the model is called, and how long that is."""
    legal = re.sub("[^A-Za-z0-9_.-]", "-", model).lstrip("_.-") or "model"
    end = f"-trial-{key}"
    return legal[: server_options.LONGEST_NAME - len(end)] + end


class Trial:
    """The servers of one tuning, the order of its steps, and what they showed. Leaving the context stops every server."""

    def __init__(self, host: Controller, options: Mapping[str, Any], forms: Mapping[str, str]) -> None:
        self.call, self._say = host.call, host.say
        self.options = options
        self.forms = forms
        self.start = trial_configuration.complete(options["start"])
        if forms:
            one_of("start.form", self.start["form"], sorted(forms))
        try:
            parameters.check(self.start["batching"] or {})
        except FleetError as fault:
            raise FleetError(fault.what, where=f"start.batching.{fault.where}", remedy=fault.remedy) from fault
        self.candidates = steps.candidates(options["candidates"], options["name"], self.start)
        self.server_cpus, self.generator_cpus, self.note = steps.cpu_sets(
            limits.parse_cpu_list(options["cpus"], "cpus")
        )
        self.servers: dict[str, dict[str, Any]] = {}
        self.voids: list[str] = []
        self.examples: int | None = None
        self.noise_pairs: list[Pair] = []

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *exception: Any) -> None:
        for key in list(self.servers):
            self._stop(key)

    def intentions(self) -> list[str]:
        """What run() would try, as sentences, for check mode."""
        return [
            f"Measure {candidate['name']}: {candidate['reason'] or ''}".rstrip(": ") for candidate in self.candidates
        ]

    def run(self) -> dict[str, Any]:
        """All steps in order, each against the best so far."""
        before = self._accuracy(self.start)
        noise = self._measure_noise(before)
        best, found = self.start, []
        for number, candidate in enumerate(self.candidates):
            if set(candidate["change"]) == {"protocol"}:
                found.append(self._advise(candidate, before, seed=number + 1))
                continue
            tried, step = self._try(best, candidate, before, seed=number + 1)
            found.append(step)
            if step["kept"]:
                self._stop_unless(best, {steps.server_key(self.start), steps.server_key(tried)})
                best = tried
            else:
                self._stop_unless(tried, {steps.server_key(self.start), steps.server_key(best)})
            self._say(
                f"{self.options['name']}: {step['name']}: {'kept' if step['kept'] else 'not kept'}: {step['reason']}"
            )
        total = self._measure_total(best, before)
        return {
            "model": self.options["name"],
            "backend": self.options["backend"],
            "image": self.options["image"],
            "start": self.start,
            "configuration": best,
            "steps": found,
            "total": total,
            "noise": noise,
            "method": self._method(),
        }

    def _measure_noise(self, accuracy: float | None) -> dict[str, Any]:
        """The start against itself on a second server: what noise alone shows."""
        again = "again"
        sides = {
            "baseline": self._target(self.start, "baseline"),
            "candidate": self._target(self.start, "candidate", again),
        }
        comparison, windows = self._compare(sides, seed=0, looks=1)
        self._stop(steps.server_key(self.start) + again)
        self.noise_pairs = paired(windows, "baseline", "candidate")
        figures = _merged(windows, "candidate")
        self._say(f"{self.options['name']}: noise: the start against itself showed {comparison.reason}")
        return steps.step(
            "baseline against itself",
            {},
            False,
            comparison.reason,
            comparison,
            figures,
            {"before": accuracy, "after": accuracy},
        )

    def _try(
        self, best: Configuration, candidate: Candidate, accuracy_before: float | None, seed: int
    ) -> tuple[Configuration, dict[str, Any]]:
        """(configuration, step) of one candidate against the best so far."""
        name, change = candidate["name"], candidate["change"]
        tried = trial_configuration.changed(best, change)
        if tried == best:
            return best, steps.step(
                name,
                change,
                False,
                "this is what runs already",
                None,
                None,
                {"before": accuracy_before, "after": accuracy_before},
            )
        if tried["form"] not in self.forms:
            reason = f"there is no {tried['form']} form of the model: its conversion was refused or not asked for"
            return best, steps.step(name, change, False, reason, None, None, {"before": accuracy_before, "after": None})
        self._say(f"{self.options['name']}: {name}: starting it beside the best so far")
        try:
            sides = {"baseline": self._target(best, "baseline"), "candidate": self._target(tried, "candidate")}
            accuracy: BeforeAfter = {"before": accuracy_before, "after": self._accuracy(tried)}
            comparison, windows = self._compare(sides, seed)
        except FleetError as fault:
            return tried, steps.step(
                name,
                change,
                False,
                f"it could not be measured: {fault}",
                None,
                None,
                {"before": accuracy_before, "after": None},
            )
        figures, old = _merged(windows, "candidate"), _merged(windows, "baseline")
        latency: BeforeAfter = {
            "before": old["p99_ms"] if old else None,
            "after": figures["p99_ms"] if figures else None,
        }
        kept, reason = steps.judge(
            comparison,
            accuracy,
            self.options["allowed_loss"],
            latency,
            self.options["objective_p99_ms"],
            self.options["metric"] or "accuracy",
            self.options["metric_goal"],
        )
        return tried, steps.step(name, change, kept, reason, comparison, figures, accuracy, **_against(old, figures))

    def _advise(self, candidate: Candidate, accuracy: float | None, seed: int) -> dict[str, Any]:
        """The step of a candidate that only clients can make: the start asked over one protocol and the other."""
        (protocol,) = candidate["change"].values()
        other = next(one for one in trial_configuration.PROTOCOLS if one != protocol)
        try:
            sides = {
                "baseline": self._target(trial_configuration.changed(self.start, {"protocol": other}), "baseline"),
                "candidate": self._target(trial_configuration.changed(self.start, {"protocol": protocol}), "candidate"),
            }
            comparison, windows = self._compare(sides, seed)
            figures, old, reason = _merged(windows, "candidate"), _merged(windows, "baseline"), comparison.reason
        except FleetError as fault:
            comparison, figures, old, reason = None, None, None, f"it could not be measured: {fault}"
        reason = f"advice to the owners of clients that use {other}; no part of the total: {reason}"
        self._say(f"{self.options['name']}: {candidate['name']}: {reason}")
        return steps.step(
            candidate["name"],
            candidate["change"],
            False,
            reason,
            comparison,
            figures,
            {"before": accuracy, "after": accuracy},
            advice=True,
            **_against(old, figures),
        )

    def _measure_total(self, best: Configuration, accuracy_before: float | None) -> dict[str, Any]:
        """The final configuration against the start: closed loop for the gain, open loop at one rate for the latencies."""
        same = best == self.start
        suffix = "again" if same else ""
        sides = {"baseline": self._target(self.start, "baseline"), "candidate": self._target(best, "candidate", suffix)}
        self._say(f"{self.options['name']}: total: the final configuration against the start")
        comparison, windows = self._compare(sides, seed=len(self.candidates) + 1)
        accuracy: BeforeAfter = {"before": accuracy_before, "after": accuracy_before if same else self._accuracy(best)}
        figures, old = _merged(windows, "candidate"), _merged(windows, "baseline")
        reason = "nothing beat the start by more than noise: the baseline is kept" if same else comparison.reason
        total = steps.step(
            "total", {}, not same, reason, comparison, figures, accuracy, open_loop=None, **_against(old, figures)
        )
        if old and figures:
            total["open_loop"] = self._measure_open_loop(
                sides, OPEN_LOOP_SHARE * min(old["goodput_rps"], figures["goodput_rps"])
            )
        return total

    def _measure_open_loop(self, sides: Mapping[str, dict[str, Any]], rate_rps: float) -> dict[str, Any] | None:
        if rate_rps < 1:
            return None
        seconds = max(self.options["window_s"], min(10.0, 1200 / rate_rps))
        windows = self._load(
            sides, list(sides), loop="open", rate_rps=rate_rps, window_s=seconds, seed=self.options["seed"]
        )
        merged = {side: _merged(windows, side) for side in sides}
        return {
            "rate_rps": rate_rps,
            **{key: merged[side] for key, side in (("before", "baseline"), ("after", "candidate"))},
        }

    def _compare(
        self, sides: Mapping[str, dict[str, Any]], seed: int, looks: int | None = None
    ) -> tuple[Comparison, list[dict[str, Any]]]:
        """(Comparison, windows): rounds until the verdict is settled, at most looks (or options.looks) times options.rounds."""
        windows = []
        confidence = look_confidence(self.options["confidence"], self.options["looks"])
        for look in range(looks or self.options["looks"]):
            order = schedule.interleaved(
                list(sides), self.options["rounds"], self.options["seed"] * 1000 + seed * 10 + look
            )
            windows += self._load(
                sides,
                order,
                loop="closed",
                concurrency=self.options["concurrency"],
                window_s=self.options["window_s"],
                seed=seed,
            )
            pairs = paired(windows, "baseline", "candidate")
            comparison = compare(pairs, self.noise_pairs, self.options["minimum_gain"], confidence)
            if settled(comparison):
                break
        self.voids += [window["void"] for window in windows if window["void"]]
        return comparison, windows

    def _load(self, sides: Mapping[str, dict[str, Any]], order: Sequence[str], **load: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(
            "tfserving.fleet.load_test",
            python=self.options["python"],
            targets=list(sides.values()),
            samples=self.options["samples"],
            windows=order,
            objective_ms=self.options["objective_p99_ms"],
            cpu_set=self.generator_cpus,
            progress=self.options["progress"],
            **load,
        )["windows"]
        return found

    def _accuracy(self, of: Configuration) -> float | None:
        if not self.options["metric"]:
            return None
        rows = min(CHECK_ROWS, (of["batching"] or {}).get("max_batch_size") or CHECK_ROWS)
        checked = self.call(
            "tfserving.fleet.model_server_check",
            python=self.options["python"],
            target=self._target(of, "check"),
            samples=self.options["samples"],
            metric=self.options["metric"],
            metric_output=self.options["metric_output"],
            metric_function=self.options["metric_function"],
            batch=rows,
        )
        self.examples = checked["examples"]
        found: float = checked["metric"]["value"]
        return found

    def _target(self, of: Configuration, name: str, suffix: str = "") -> dict[str, Any]:
        server = self._server(of, suffix)
        return {
            "name": name,
            "protocol": of["protocol"],
            "address": server["address"],
            "port": server[f"{of['protocol']}_port"],
            "model": self.options["name"],
            "signature": self.options["signature"],
        }

    def _server(self, of: Configuration, suffix: str = "") -> dict[str, Any]:
        """The trial server of a configuration, started when it is not there yet."""
        key = steps.server_key(of) + suffix
        if key not in self.servers:
            name = server_name(self.options["name"], key)
            batching = None
            self.servers[key] = {"name": name, "batching": None}
            if of["batching"] is not None:
                batching = self.servers[key]["batching"] = f"{self.options['state_directory']}/{name}.batching.pbtxt"
                self.call("tfserving.fleet.batching_parameters", path=batching, **of["batching"])
            self.servers[key].update(
                self._call_server(
                    name,
                    "started",
                    model_name=self.options["name"],
                    model_base_path=self.forms[of["form"]],
                    grpc_port=0,
                    rest_port=0,
                    flags=of["flags"],
                    environment=of["environment"],
                    cpu_set=limits.format_cpu_list(self.server_cpus) if self.server_cpus else None,
                    batching_parameters_file=batching,
                )["server"]
            )
        return self.servers[key]

    def _call_server(self, name: str, state: str, **described: Any) -> Any:
        if self.options["backend"] == "docker":
            by = {"image": self.options["image"], "restart_policy": "no"}
        else:
            by = {"python": self.options["python"], "idle_exit_s": IDLE_EXIT_S}
        return self.call(
            "tfserving.fleet.model_server",
            name=name,
            state=state,
            backend=self.options["backend"],
            state_directory=self.options["state_directory"],
            **{**by, **self.options["server"], **described},
        )

    def _stop_unless(self, of: Configuration, needed: Collection[str]) -> None:
        if steps.server_key(of) not in needed:
            self._stop(steps.server_key(of))

    def _stop(self, key: str) -> None:
        server = self.servers.pop(key, None)
        if server:
            self._call_server(server["name"], "absent")
            if server["batching"]:
                self.call("tfserving.fleet.batching_parameters", path=server["batching"], state="absent")

    def _method(self) -> dict[str, Any]:
        keys = (
            "concurrency",
            "window_s",
            "rounds",
            "looks",
            "minimum_gain",
            "confidence",
            "objective_p99_ms",
            "allowed_loss",
            "metric",
            "seed",
        )
        return dict(
            {key: self.options[key] for key in keys},
            loop="closed",
            examples=self.examples,
            server_cpus=self.server_cpus,
            generator_cpus=self.generator_cpus,
            void_windows=len(self.voids),
            void_reasons=sorted(set(self.voids)),
            note=self.note,
        )


def _merged(windows: Sequence[Any], name: str) -> Any:
    """The figures of one target's windows that are not void, or None: {goodput_rps, p50_ms, p99_ms, requests, curve}."""
    mine = [window for window in windows if window["target"] == name and not window["void"]]
    return histogram.merged(mine) if mine else None


def _against(old: Mapping[str, Any] | None, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a step tells beside its own figures: the baseline's figures and both curves."""
    return {
        "before": old and {key: value for key, value in old.items() if key != "curve"},
        "curve_before": old and old["curve"],
        "curve_after": figures and figures["curve"],
    }
