# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tuning: what is compared with what, in which order, and what is kept.

What to try comes from the plan, servers from trial_servers, whether a change is kept from steps and comparison.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    saved_structure,
    trial_configuration,
    tuning_files,
    tunings,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import refinement, steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import (
    MINIMUM_ROUNDS,
    Comparison,
    Pair,
    compare,
    look_confidence,
    paired,
    settled,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.options import check
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import BeforeAfter, Candidate
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_log import TrialLog
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_servers import TrialServers

# Options that change what is tried or kept, and not what a comparison of two configurations shows.
_NOT_MEASURED = (
    "candidates",
    "refine",
    "accept_fragile",
    "allowed_loss",
    "budget_min",
    "keep_in",
    "progress",
    "release",
)
_SPARE_LOOKS = 2
OPEN_LOOP_SHARE = 0.6  # of the slower side's closed-loop rate: below it queues stay short, above latencies only tell how long one measured


@dataclasses.dataclass(frozen=True)
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
    structure, log = None, TrialLog(None)
    if options["keep_in"] and not check_mode:
        log = TrialLog(_log_path(options))
        structure = saved_structure.on_host(controller.call, f"{folder}/saved_model") if SAVED_MODEL in forms else None
    trial = Trial(controller, options, forms, log, structure)
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
    record = tunings.kept(found, options["tuning_class"], options["release"], controller.host, at, structure)
    kept = tuning_files.write(record, options["keep_in"]).result(tuning=found)
    log.remove()
    return kept


def _log_path(options: Mapping[str, Any]) -> str:
    """Where the log of a tuning lies until it ends: beside the file that it will write."""
    folder, _slash, name = tunings.path(options["keep_in"], options["tuning_class"], options["name"]).rpartition("/")
    return f"{folder}/.{name}.log"


def _forms(call: Callable[..., Any], folder: str) -> dict[str, str]:
    """{form: base path} of what is published for the model on the host."""
    # The type directory would leave out links to folders.
    found = [
        entry
        for entry in call("ansible.builtin.find", paths=[folder], file_type="any")["files"]
        if entry["isdir"] or entry["islnk"]
    ]
    return {path.rpartition("/")[2]: path for path in sorted(entry["path"] for entry in found)}


class Trial:
    """The order of one tuning's steps, and what they showed. Leaving the context stops every server."""

    def __init__(
        self,
        controller: Controller,
        options: Mapping[str, Any],
        forms: Mapping[str, str],
        log: TrialLog,
        structure: Mapping[str, str] | None,
    ) -> None:
        self._say, self._log = controller.say, log
        measured = {key: value for key, value in options.items() if key not in _NOT_MEASURED}
        self._measured = [controller.host, measured, sorted(forms), structure]
        self.options, self.forms = options, forms
        self.start = trial_configuration.complete(options["start"])
        if forms:
            one_of("start.form", self.start["form"], sorted(forms))
        try:
            parameters.check(self.start["batching"] or {})
        except FleetError as fault:
            raise FleetError(fault.what, where=f"start.batching.{fault.where}", remedy=fault.remedy) from fault
        self.candidates = steps.candidates(options["candidates"], options["name"], self.start)
        self.servers = TrialServers(controller.call, options, forms)
        self.voids: list[str] = []
        self.noise_pairs: list[Pair] = []
        self._comparisons, self._longest_s = 0, 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.servers.stop()

    def intentions(self) -> list[str]:
        """What run() would try, as sentences, for check mode."""
        return [
            f"Measure {candidate['name']}: {candidate['reason'] or ''}".rstrip(": ") for candidate in self.candidates
        ]

    def run(self) -> dict[str, Any]:
        """All steps in order, each against the best so far."""
        noise = self._measure_noise()
        best, found = self._search(noise["accuracy"]["before"])
        total = self._measure_total(best)
        if best != self.start and not total["kept"]:
            best = self.start
            for step in found:
                if step["kept"]:
                    step.update(
                        kept=False, reason=f"{step['reason']}; the final comparison with the start did not confirm it"
                    )
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

    def _measure_noise(self) -> dict[str, Any]:
        """The start against itself on a second server: what noise alone shows."""
        began = time.monotonic()
        comparison, windows, accuracy = self._compare(self.start, self.start, looks=1)
        if not any(window["throughput_rps"] for window in windows):
            raise FleetError(_why_nothing(windows), where=self.options["name"], remedy=self._remedy_for_nothing())
        self.noise_pairs = paired(windows, "baseline", "candidate")
        self._say(
            f"{self.options['name']}: noise: the start against itself showed {comparison.reason}; "
            + self._duration(time.monotonic() - began)
        )
        return steps.step(
            "baseline against itself",
            {},
            False,
            comparison.reason,
            comparison,
            _merged(windows, "candidate"),
            {"before": accuracy["before"], "after": accuracy["before"]},
        )

    def _remedy_for_nothing(self) -> str:
        if not self.options["samples"]:
            return "The requests were made up from the signature. Give samples (an .npz file) that the model takes."
        return "Check that the samples fit the model."

    def _duration(self, comparison_s: float) -> str:
        """How long the tuning will take, from what one comparison took, and what the budget leaves out."""
        count, least_min = len(self.candidates), comparison_s * (len(self.candidates) + 1) / 60
        text = f"{count} candidate{'s' * (count != 1)} will take {least_min:.0f} minutes or more"
        budget_min = self.options["budget_min"]
        if budget_min is None or least_min <= budget_min - self._spent_min():
            return text
        fitting = max(0, int((budget_min - self._spent_min()) * 60 / comparison_s) - 1)
        return f"{text}, and only the first {fitting} fit into the budget of {budget_min:g} minutes"

    def _spent_min(self) -> float:
        return (time.monotonic() - self._began) / 60

    def _search(self, accuracy: float | None) -> tuple[Configuration, list[dict[str, Any]]]:
        """(best configuration, steps): each candidate against the best so far. Then those that lost before another one was kept, once more, and at last
        other values of the numbers that were kept."""
        best, found, lost = self.start, [], list[Candidate]()
        first, again = collections.deque(self.candidates), collections.deque[Candidate]()
        directions = collections.deque[refinement.Direction]()
        while first or again or directions:
            is_first, direction = bool(first), None
            candidate: Candidate | None
            if first or again:
                candidate = (first or again).popleft()
            else:
                direction = directions.popleft()
                candidate = refinement.candidate(best, direction)
            if candidate is None:
                continue
            tried, step = self._next(best, candidate, accuracy)
            found.append(step)
            if step["kept"] and direction:
                best = tried
                directions = collections.deque([direction, *(one for one in directions if one[:2] != direction[:2])])
            elif step["kept"]:
                best = tried
                if self.options["refine"]:
                    directions += refinement.directions(candidate["change"])
                again += [{**one, "name": f"{one['name']}, with {candidate['name']}"} for one in lost]
                lost = []
            elif is_first and step["gain"] is not None and not step.get("advice"):
                lost.append(candidate)
            self._say(
                f"{self.options['name']}: {step['name']}: {'kept' if step['kept'] else 'not kept'}: {step['reason']}"
            )
        return best, found

    def _next(
        self, best: Configuration, candidate: Candidate, accuracy: float | None
    ) -> tuple[Configuration, dict[str, Any]]:
        """(configuration, step) of one candidate against the best so far."""
        tried = trial_configuration.changed(best, candidate["change"])
        reason = None
        if set(candidate["change"]) == {"protocol"}:
            return best, self._advise(candidate, accuracy)
        if tried == best:
            reason = "this is what runs already"
        elif tried["form"] not in self.forms:
            reason = f"there is no {tried['form']} form of the model: its conversion was refused or not asked for"
        elif self._is_over():
            reason = f"the budget of {self.options['budget_min']:g} minutes was used up before it was measured"
        if reason:
            unmeasured: BeforeAfter = {"before": accuracy, "after": accuracy if tried == best else None}
            return best, self._step(candidate, False, reason, None, [], unmeasured)
        return tried, self._try(best, tried, candidate, accuracy)

    def _is_over(self) -> bool:
        """Whether the budget does not hold another comparison and the final one."""
        budget_min = self.options["budget_min"]
        return budget_min is not None and self._spent_min() + 2 * self._longest_s / 60 > budget_min

    def _try(
        self, best: Configuration, tried: Configuration, candidate: Candidate, accuracy_before: float | None
    ) -> dict[str, Any]:
        self._say(f"{self.options['name']}: {candidate['name']}: starting it beside the best so far")
        try:
            comparison, windows, accuracy = self._compare(best, tried)
        except FleetError as fault:
            unknown: BeforeAfter = {"before": accuracy_before, "after": None}
            return self._step(candidate, False, f"it could not be measured: {fault}", None, [], unknown)
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
        if kept and tried["form"] != best["form"] and not self.options["samples"]:
            kept, reason = False, f"{reason}; kept only with samples on which its answers can be judged"
        fragile = self.servers.fragile(tried)
        if fragile and kept:
            kept = self.options["accept_fragile"]
            reason += f"; but {fragile}: " + (
                "accept_fragile accepts it" if kept else "kept only with accept_fragile: true"
            )
        elif fragile:
            reason += f"; and {fragile}"
        return self._step(candidate, kept, reason, comparison, windows, accuracy, fragile=fragile)

    def _advise(self, candidate: Candidate, accuracy_before: float | None) -> dict[str, Any]:
        """The step of a candidate that only clients can make: the start asked over one protocol and the other."""
        (protocol,) = candidate["change"].values()
        other = next(one for one in trial_configuration.PROTOCOLS if one != protocol)
        comparison, windows, accuracy = None, list[dict[str, Any]](), BeforeAfter(before=accuracy_before, after=None)
        try:
            before, after = (trial_configuration.changed(self.start, {"protocol": one}) for one in (other, protocol))
            comparison, windows, accuracy = self._compare(before, after)
            reason = comparison.reason
        except FleetError as fault:
            reason = f"it could not be measured: {fault}"
        reason = f"advice to the owners of clients that use {other}; no part of the total: {reason}"
        return self._step(candidate, False, reason, comparison, windows, accuracy, advice=True)

    def _step(
        self,
        candidate: Candidate,
        kept: bool,
        reason: str,
        comparison: Comparison | None,
        windows: Sequence[Any],
        accuracy: BeforeAfter,
        **more: Any,
    ) -> dict[str, Any]:
        figures, old = _merged(windows, "candidate"), _merged(windows, "baseline")
        return steps.step(
            candidate["name"],
            candidate["change"],
            kept,
            reason,
            comparison,
            figures,
            accuracy,
            **(_against(old, figures) if windows else {}),
            **more,
        )

    def _measure_total(self, best: Configuration) -> dict[str, Any]:
        """The final configuration against the start: closed loop for the gain, open loop at one rate for the latencies."""
        self._say(f"{self.options['name']}: total: the final configuration against the start")
        comparison, windows, accuracy = self._compare(self.start, best)
        figures, old = _merged(windows, "candidate"), _merged(windows, "baseline")
        same = best == self.start
        reason = "nothing beat the start by more than noise: the baseline is kept" if same else comparison.reason
        total = self._step(
            Candidate(name="total", change={}, reason=None, model=None),
            not same and comparison.verdict == "gain",
            reason,
            comparison,
            windows,
            accuracy,
            open_loop=None,
        )
        if old and figures:
            total["open_loop"] = self._measure_open_loop(
                self._sides(self.start, best), OPEN_LOOP_SHARE * min(old["goodput_rps"], figures["goodput_rps"])
            )
        return total

    def _measure_open_loop(self, sides: Mapping[str, dict[str, Any]], rate_rps: float) -> dict[str, Any] | None:
        if rate_rps < 1:
            return None
        seconds = max(self.options["window_s"], min(10.0, 1200 / rate_rps))
        windows = self.servers.load(
            sides, list(sides), loop="open", rate_rps=rate_rps, window_s=seconds, seed=self.options["seed"]
        )
        merged = {side: _merged(windows, side) for side in sides}
        return {
            "rate_rps": rate_rps,
            **{key: merged[side] for key, side in (("before", "baseline"), ("after", "candidate"))},
        }

    def _sides(self, before: Configuration, after: Configuration) -> dict[str, dict[str, Any]]:
        """The targets of two configurations, each with a server of its own unless they differ in the protocol alone."""
        return {
            "baseline": self.servers.target(before, "baseline"),
            "candidate": self.servers.target(after, "candidate", "again" if after == before else ""),
        }

    def _compare(
        self, before: Configuration, after: Configuration, looks: int | None = None
    ) -> tuple[Comparison, list[dict[str, Any]], BeforeAfter]:
        """(Comparison, windows, accuracies): rounds until the verdict is settled, at most looks (or options.looks) times options.rounds.

        Both servers are fresh and have answered the same requests before their first window: one that has served for a while is faster.
        """
        number, seed = self._comparisons, self.options["seed"] * 1000
        self._comparisons += 1
        key = steps.digest([number, before, after, looks, self._measured])
        known = self._log.get(key)
        if known:
            return Comparison.from_dict(known["comparison"]), known["windows"], known["accuracy"]
        began, windows = time.monotonic(), list[dict[str, Any]]()
        self.servers.stop()
        sides = self._sides(before, after)
        accuracy: BeforeAfter = {
            "before": self.servers.accuracy(before, sides["baseline"]),
            "after": self.servers.accuracy(after, sides["candidate"]),
        }
        confidence = look_confidence(self.options["confidence"], self.options["looks"])
        for look in range((looks or self.options["looks"]) + _SPARE_LOOKS):
            order = schedule.interleaved(list(sides), self.options["rounds"], seed + number * 10 + look)
            windows += self.servers.load(
                sides,
                order,
                loop="closed",
                concurrency=self.options["concurrency"],
                window_s=self.options["window_s"],
                seed=number,
            )
            pairs = paired(windows, "baseline", "candidate")
            comparison = compare(pairs, self.noise_pairs, self.options["minimum_gain"], confidence)
            # Rounds that void windows took are made up for: no verdict was possible without them.
            if settled(comparison) or look + 1 >= (looks or self.options["looks"]) and len(pairs) >= MINIMUM_ROUNDS:
                break
        self.voids += [window["void"] for window in windows if window["void"]]
        self._longest_s = max(self._longest_s, time.monotonic() - began)
        self._log.add(key, {"comparison": dataclasses.asdict(comparison), "windows": windows, "accuracy": accuracy})
        return comparison, windows, accuracy

    def _method(self) -> dict[str, Any]:
        keys = (
            "concurrency",
            "window_s",
            "window_requests",
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
            requests_from="samples" if self.options["samples"] else "signature",
            examples=self.servers.examples,
            server_cpus=self.servers.server_cpus,
            generator_cpus=self.servers.generator_cpus,
            void_windows=len(self.voids),
            void_reasons=sorted(set(self.voids)),
            note=self.servers.note,
        )


def _why_nothing(windows: Sequence[Any]) -> str:
    """What became of the requests of windows without a good answer."""
    errors = collections.Counter[str]()
    for window in windows:
        errors.update(window["errors"])
    sent = sum(window["requests"] for window in windows)
    counted = ", ".join(f"{count} {code}" for code, count in sorted(errors.items()))
    return f"none of {sent} requests was answered well" + (f": {counted}" if counted else "")


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
