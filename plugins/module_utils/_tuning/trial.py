# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tuning: which configurations are compared, in which order, and which are kept.

The plan provides the candidates, trial_servers the servers, and steps and comparison decide whether a change is kept.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    saved_structure,
    trial_configuration,
    tuning_files,
    tunings,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import (
    batch_fit,
    kept_tuning,
    steps,
    withheld_variants,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Rules, Scatter
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.measurement import Measured, Measurement, merged
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.options import check
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.search import Attempt, Outcome, Search, useless
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import BeforeAfter, Candidate
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.traffic import P99_REQUESTS
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_log import TrialLog
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_servers import TrialServers

# Options that change what is tried or kept, but not the result of a pair of servers.
_NOT_MEASURED = (
    "candidates",
    "refine",
    "instances",
    "minimum_gain",
    "confidence",
    "accept_fragile",
    "accept_unjudged",
    "allowed_loss",
    "budget_min",
    "keep_in",
    "progress",
    "release",
)
_REPEAT = "Repeat the final comparison of another host of the class, if it keeps a change"
# Options on which the scatter of pairs of servers depends.
_OF_PAIRS = ("backend", "goal", "traffic", "rounds", "window_s", "window_requests", "objective_p99_ms", "signature")
NOISE_PAIRS = 3  # of the start against itself
_RESERVED_PAIRS = 2  # kept for the final comparison, in addition to one for each remaining candidate
_BRIEF = (1, 2, 3)  # pairs of a candidate in the first round
_PATIENT = 2.33  # optimism of the final comparison
OPEN_LOOP_SHARE = 0.6  # of the slower side's closed-loop rate: below it queues stay short; above it latencies only grow with the duration


_WORDS = {"gain": "faster", "open": "not decided yet"}
_UNJUDGED = "another variant is kept only if a metric on samples judges its answers, or with accept_unjudged: true"


@dataclasses.dataclass(frozen=True)
class Controller:
    """The caller's side of a tuning.

    call: runs a module on the host and returns its result, or raises FleetError. say: prints a line of progress. host: the host's name.
    clock: seconds from any start.
    """

    call: Callable[..., Any]
    say: Callable[[str], None]
    host: str
    clock: Callable[[], float] = time.monotonic


class _Unanswered(FleetError):
    """No request that was made without samples succeeds, so nothing can be measured, although the options are valid."""


def tune(controller: Controller, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the result of the module tuning."""
    check(options)
    if options["keep_in"] and not check_mode:
        tuning_files.make_folder(options["keep_in"])
    stored = kept_tuning.stored(options)
    if options["repeat"]:
        if not stored or not stored.change or controller.host in (stored.measured.get("host"), *stored.confirmed_on):
            return {"changed": False, "tuning": None, "actions": [_REPEAT] if check_mode and not stored else []}
    folder = f"{options['model_directory']}/{options['name']}"
    variants = _variants(controller.call, folder)
    if not variants and not check_mode:
        raise FleetError(
            f"no published variant of the model in {folder!r}",
            where=options["name"],
            remedy="Publish it first, with the role tfserving.fleet.tfs_model.",
        )
    structure, content, log = None, list[Any](), TrialLog(None)
    if options["keep_in"] and not check_mode:
        log = TrialLog(kept_tuning.log_path(options))
        structure = (
            saved_structure.on_host(controller.call, f"{folder}/saved_model") if SAVED_MODEL in variants else None
        )
        content = [structure, *kept_tuning.content(controller.call, options, variants)]
    trial = Trial(controller, options, variants, log, content)
    if stored:
        trial.learn(stored)
    trial.withhold(controller.call)
    if check_mode:
        missing = (
            []
            if variants
            else [
                f"{folder!r} contains no published variant of the model. Publish one before you run without check mode."
            ]
        )
        return {"changed": False, "tuning": None, "actions": trial.intentions(), "warnings": missing}
    try:
        with trial:
            found = trial.run()
    except _Unanswered as fault:
        return Decision(changed=False, warnings=(str(fault),)).result(tuning=None)
    if not options["keep_in"]:
        return Decision(changed=False).result(tuning=found)
    kept = kept_tuning.keep(options, controller.host, stored, found, structure).result(tuning=found)
    log.remove()
    return kept


def _variants(call: Callable[..., Any], folder: str) -> dict[str, str]:
    """Return {variant: base path} of the model's published variants on the host."""
    # The file_type directory would leave out links to folders.
    found = [
        entry
        for entry in call("ansible.builtin.find", paths=[folder], file_type="any")["files"]
        if entry["isdir"] or entry["islnk"]
    ]
    return {path.rpartition("/")[2]: path for path in sorted(entry["path"] for entry in found)}


class Trial:
    """The steps of one tuning in order, and their results. Leaving the context stops all servers."""

    def __init__(
        self,
        controller: Controller,
        options: Mapping[str, Any],
        variants: Mapping[str, str],
        log: TrialLog,
        content: Sequence[Any],
    ) -> None:
        self._say = controller.say
        measured = {key: value for key, value in options.items() if key not in _NOT_MEASURED}
        measured["server"] = {key: value for key, value in options["server"].items() if key != "registry_login"}
        identity = [controller.host, measured, sorted(variants), content]
        self.options, self.variants = options, variants
        self.start = trial_configuration.complete(options["start"])
        if variants:
            one_of("start.form", self.start["form"], sorted(variants))
        try:
            parameters.check(self.start["batching"] or {})
        except FleetError as fault:
            raise FleetError(fault.what, where=f"start.batching.{fault.where}", remedy=fault.remedy) from fault
        self.candidates = steps.candidates(options["candidates"], options["name"], self.start)
        self.servers = TrialServers(controller.call, options, variants)
        self._measurement = Measurement(self.servers, options, controller.clock, log, identity)
        self._requests_from: str | None = None
        self._repeated: tunings.Tuning | None = None
        self._withheld = withheld_variants.Withheld({}, {})
        self._measured_as = steps.digest([self.start["protocol"], *(options[key] for key in _OF_PAIRS)])
        self._waiting = self._later = 0  # as those of the search

    def __enter__(self) -> Trial:
        self.servers.remove_left()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.servers.stop()

    def learn(self, record: tunings.Tuning) -> None:
        """Begin with the scatter of an earlier tuning of the class. With the option repeat, compare only the change that it keeps with the start."""
        scatter = record.scatter or {}
        if scatter.get("measured_as") == self._measured_as:
            self._measurement.scatter = Scatter(earlier=Scatter(scatter["squares"], scatter["degrees"]))
        if not self.options["repeat"]:
            return
        reason = f"to confirm for the class what {record.measured.get('host')} keeps"
        self.candidates = [Candidate(name="total", change=dict(record.change), reason=reason, model=None)]
        self._repeated = record

    def withhold(self, call: Callable[..., Any]) -> None:
        """Find the variants that must not be kept. Raise FleetError if the change to repeat needs one of them."""
        changes = [candidate["change"] for candidate in self.candidates]
        forms = {change["form"] for change in changes if "form" in change} - {self.start["form"]}
        self._withheld = withheld_variants.find(call, self.variants, forms, self.options["signature"])
        self.variants = {form: path for form, path in self.variants.items() if form not in self._withheld.outdated}
        reasons = [*self._withheld.outdated.values(), *self._withheld.lossy.values()]
        if self._repeated and reasons:
            raise FleetError(
                f"the final comparison of {self._repeated.measured.get('host')} cannot be repeated: {reasons[0]}",
                where=self.options["name"],
                remedy="Convert the model for this host, or tune again.",
            )

    def _missing(self, form: str) -> str:
        """Return why there is nothing to measure of a variant."""
        missing = f"there is no variant {form!r} of the model: its conversion was refused or not requested"
        return self._withheld.outdated.get(form, missing)

    def intentions(self) -> list[str]:
        """Return what run() would try, as sentences, for check mode."""
        return [
            f"Measure {candidate['name']}: {candidate['reason'] or ''}".rstrip(": ") for candidate in self.candidates
        ]

    def run(self) -> dict[str, Any]:
        """Run all steps in order, each against the best configuration so far, and return the tuning."""
        noise = self._measure_noise()
        if self._repeated:
            best, found = trial_configuration.changed(self.start, self._repeated.change), list[dict[str, Any]]()
        else:
            best, found = self._search(noise.accuracy["before"])
        total = self._measure_total(best, noise)
        if best != self.start and not total["kept"]:
            best = self.start
            for step in found:
                if step["kept"]:
                    reason = f"{step['reason']}; the final comparison with the start did not confirm it"
                    step.update(kept=False, unconfirmed=True, reason=reason)
        filled = self._measurement.scatter.filled
        return {
            "model": self.options["name"],
            "repeats": self._repeated.measured.get("host") if self._repeated else None,
            "backend": self.options["backend"],
            "image": self.options["image"],
            "start": self.start,
            "configuration": best,
            "steps": found,
            "total": total,
            "noise": steps.step(
                "baseline against itself",
                {},
                False,
                noise.comparison.reason,
                noise.comparison,
                noise.after,
                {"before": noise.accuracy["before"], "after": noise.accuracy["before"]},
            ),
            "method": self._method(),
            "scatter": {"squares": filled.squares, "degrees": filled.degrees, "measured_as": self._measured_as},
        }

    def _measure_noise(self) -> Measured:
        """Compare the start with itself to measure the noise."""
        rules = self._rules(looks=(NOISE_PAIRS,))
        try:
            noise = self._measurement.compare(self.start, self.start, rules, _RESERVED_PAIRS + 1)
        except FleetError as fault:
            cause = fault.__cause__
            if not isinstance(cause, FleetError) or cause.code != grpc_api.INVALID_ARGUMENT or self.options["samples"]:
                raise
            raise self._nothing(cause.what) from fault
        if self.options["keep_in"] and noise.is_void:
            raise self._busy("", noise)
        if not any(window["throughput_rps"] for window in noise.windows):
            raise self._nothing(_why_nothing(noise.windows))
        self._requests_from = noise.windows[0]["requests_from"]
        self._say(
            f"{self.options['name']}: noise: the start against itself showed {noise.comparison.reason}; {self._duration()}"
        )
        return noise

    def _only_measured(self, best: Configuration, tried: Configuration) -> str | None:
        """Return why another variant is not kept, whatever it gains, or None."""
        if tried["form"] == best["form"]:
            return None
        judged = self.options["metric"] or self.options["accept_unjudged"]
        return self._withheld.lossy.get(tried["form"]) or (None if judged else _UNJUDGED)

    def _nothing(self, why: str) -> FleetError:
        if self.options["samples"]:
            return FleetError(why, where=self.options["name"], remedy="Check that the samples fit the model.")
        remedy = "The requests were made without samples, so the model is not tuned. Set samples to an .npz file that fits it."
        return _Unanswered(why, where=self.options["name"], remedy=remedy)

    def _busy(self, when: str, measured: Measured) -> FleetError:
        return FleetError(
            f"nothing could be measured{when}: {measured.comparison.reason}",
            where=self.options["name"],
            remedy="Measure when the machine is idle. Until then, a tuning that was kept stays.",
        )

    def _duration(self) -> str:
        """Return how long the tuning will take, estimated from a pair of servers, and what the budget leaves out."""
        count = len(self.candidates)
        least_min = self._measurement.pair_s * (count + _RESERVED_PAIRS) / 60
        text = f"{count} candidate{'s' * (count != 1)} will take {least_min:.0f} minutes or more"
        left = self._measurement.pairs_left(_RESERVED_PAIRS)
        if left is None or left >= count:
            return text
        return f"{text}, and the budget of {self.options['budget_min']:g} minutes is enough for {left} of them"

    def _search(self, accuracy: float | None) -> tuple[Configuration, list[dict[str, Any]]]:
        """Return (best configuration, steps)."""
        options = self.options
        search = Search(self.start, self.candidates, options["refine"], self._measurement.traffic.rows_in_flight)
        found = [self._step_of(search, attempt, accuracy) for attempt in search.first_round()]
        chosen = search.choose()
        for number, step in enumerate(found):
            if step["kept"] and number != chosen and chosen is not None:
                step.update(kept=False, reason=f"{step['reason']}; {found[chosen]['name']} gained more")
        if chosen is not None:
            self._say(f"{options['name']}: {found[chosen]['name']}: kept: it gained most")
            found.append(found.pop(chosen))
        while attempt := search.next():
            found.append(self._step_of(search, attempt, accuracy))
            if self._is_over():
                break
        return search.best, found

    def _is_over(self) -> bool:
        """Return whether the budget leaves no pair of servers for another candidate."""
        return self._measurement.pairs_left(_RESERVED_PAIRS) == 0

    def _step_of(self, search: Search, attempt: Attempt, accuracy: float | None) -> dict[str, Any]:
        """Return the step of an attempt, and give its outcome to the search."""
        self._waiting, self._later = search.waiting, search.later
        attempt, ruled_out = self._with_prediction(search.best, attempt)
        outcome, step = self._attempted(search.best, attempt, accuracy, ruled_out)
        search.done(attempt, outcome, step["gain"], step["gain_interval"] or (None, None))
        self._say(f"{self.options['name']}: {step['name']}: {_WORDS.get(outcome, 'not kept')}: {step['reason']}")
        return step

    def _attempted(
        self, best: Configuration, attempt: Attempt, accuracy: float | None, reason: str | None
    ) -> tuple[Outcome, dict[str, Any]]:
        """Return (outcome, step) of a candidate against the best so far. reason: why it is not measured, or None."""
        tried, candidate = attempt.tried, attempt.candidate
        outcome: Outcome = "no gain"
        if self._is_over():
            reason = f"the budget of {self.options['budget_min']:g} minutes was used up before it was measured"
        elif set(candidate["change"]) == {"protocol"}:
            return "refused", self._advise(candidate, accuracy)
        elif tried == best:
            outcome, reason = "failed", "it does not change the current configuration"
        elif tried["form"] not in self.variants:
            outcome, reason = "failed", self._missing(tried["form"])
        elif self._only_measured(best, tried) and len(candidate["change"]) > 1:
            outcome, reason = "failed", self._only_measured(best, tried)
        if reason:
            unmeasured: BeforeAfter = {"before": accuracy, "after": accuracy if tried == best else None}
            return outcome, self._step(candidate, False, reason, None, unmeasured)
        return self._try(best, attempt, accuracy)

    def _with_prediction(self, best: Configuration, attempt: Attempt) -> tuple[Attempt, str | None]:
        """Return (the attempt, why it need not be measured or None). One that turns batching on starts with the predicted values."""
        change = attempt.candidate["change"]
        reason, given = useless(change, attempt.tried), change.get("batching")
        predictable = self.options["refine"] and self.options["goal"] != "latency" and not self._is_over()
        if reason or not given or best["batching"] or not predictable:
            return attempt, reason
        in_flight = self._measurement.traffic.rows_in_flight
        if in_flight < 2:
            return attempt, "batching needs more than one row in flight"
        threads = len(self.servers.server_cpus or [0])
        of = trial_configuration.changed(attempt.tried, {"batching": None})
        if of["form"] not in self.variants:
            return attempt, None
        self._say(f"{self.options['name']}: {attempt.candidate['name']}: measuring requests of several rows")
        points = self._measurement.client_batches(of, batch_fit.shapes(in_flight, threads))
        if points is None:
            return attempt, None
        prediction = batch_fit.predict(points)
        if prediction.gain < self.options["minimum_gain"]:
            return attempt, f"batching cannot gain {self.options['minimum_gain'] * 100:g} %: {prediction.reason}"
        changed = {**change, "batching": batch_fit.started(given, prediction)}
        candidate: Candidate = {**attempt.candidate, "change": changed}
        return dataclasses.replace(attempt, candidate=candidate, tried=trial_configuration.changed(best, changed)), None

    def _try(
        self, best: Configuration, attempt: Attempt, accuracy_before: float | None
    ) -> tuple[Outcome, dict[str, Any]]:
        candidate, tried = attempt.candidate, attempt.tried
        self._say(f"{self.options['name']}: {candidate['name']}: starting it alongside the best so far")
        try:
            rules = self._search_rules(attempt.patient)
            measured = self._measurement.compare(best, tried, rules, _RESERVED_PAIRS + self._waiting)
        except FleetError as fault:
            unknown: BeforeAfter = {"before": accuracy_before, "after": None}
            return "failed", self._step(candidate, False, f"it could not be measured: {fault}", None, unknown)
        kept, reason = self._judge(measured)
        if kept and self._only_measured(best, tried):
            kept, reason = False, f"{reason}; {self._only_measured(best, tried)}"
        fragile = self.servers.fragile(tried)
        kept, reason = self._accepted(kept, reason, fragile)
        step = self._step(candidate, kept, reason, measured, measured.accuracy, fragile=fragile)
        verdict = measured.comparison.verdict
        if kept:
            return "gain", step
        if verdict == "gain" and tried["form"] != best["form"] and not fragile:
            return "refused", step
        return "open" if verdict in ("unlikely", "inconclusive") else "no gain", step

    def _judge(self, measured: Measured) -> tuple[bool, str]:
        """Return (kept, reason) of a comparison."""
        kept, reason = steps.judge(measured.comparison, *self._limits(measured))
        failures = steps.failures(measured.windows)
        return (False, f"{reason}; but {failures}") if failures else (kept, reason)

    def _accepted(self, kept: bool, reason: str, fragile: str | None) -> tuple[bool, str]:
        """Return (kept, reason) of a configuration that a malformed request can end. fragile: which one, or None."""
        if not fragile:
            return kept, reason
        if not kept:
            return False, f"{reason}; and {fragile}"
        if self.options["accept_fragile"]:
            return True, f"{reason}; but {fragile}: accept_fragile accepts it"
        return False, f"{reason}; but {fragile}: kept only with accept_fragile: true"

    def _limits(self, measured: Measured) -> tuple[Any, ...]:
        """Return the arguments of steps.harm for a comparison."""
        figures, old = measured.after, measured.before
        latency: BeforeAfter = {
            "before": old["p99_ms"] if old else None,
            "after": figures["p99_ms"] if figures else None,
        }
        return (
            measured.accuracy,
            self.options["allowed_loss"],
            latency,
            self.options["objective_p99_ms"],
            self.options["metric"] or "accuracy",
            self.options["metric_goal"],
        )

    def _advise(self, candidate: Candidate, accuracy_before: float | None) -> dict[str, Any]:
        """Return the step of a change that only clients can make: measure the start with one protocol and with the other."""
        (protocol,) = candidate["change"].values()
        other = next(one for one in trial_configuration.PROTOCOLS if one != protocol)
        measured, accuracy = None, BeforeAfter(before=accuracy_before, after=None)
        try:
            before, after = (trial_configuration.changed(self.start, {"protocol": one}) for one in (other, protocol))
            rules = self._search_rules(patient=False)
            measured = self._measurement.compare(before, after, rules, _RESERVED_PAIRS + self._waiting)
            accuracy, reason = measured.accuracy, measured.comparison.reason
        except FleetError as fault:
            reason = f"it could not be measured: {fault}"
        reason = f"advice to the owners of clients that use {other}, not part of the total: {reason}"
        return self._step(candidate, False, reason, measured, accuracy, advice=True)

    def _step(
        self,
        candidate: Candidate,
        kept: bool,
        reason: str,
        measured: Measured | None,
        accuracy: BeforeAfter,
        **more: Any,
    ) -> dict[str, Any]:
        figures = measured.after if measured else None
        return steps.step(
            candidate["name"],
            candidate["change"],
            kept,
            reason,
            measured.comparison if measured else None,
            figures,
            accuracy,
            **(_against(measured.before, figures) if measured else {}),
            **more,
        )

    def _measure_total(self, best: Configuration, noise: Measured) -> dict[str, Any]:
        """Compare the final configuration with the start: a closed loop for the gain, an open loop at one rate for the latencies."""
        same, kept = best == self.start, False
        measured: Measured | None = noise
        reason = "nothing beat the start by more than noise: the baseline is kept"
        if same:
            self.servers.stop()
        else:
            self._say(f"{self.options['name']}: total: the final configuration against the start")
            try:
                measured = self._measurement.compare(self.start, best, self._rules(optimism=_PATIENT))
            except FleetError as fault:
                measured, reason = None, f"it could not be measured: {fault}"
            else:
                kept, reason = self._judge(measured)
                fragile = None if self.options["accept_fragile"] else self.servers.fragile(best)
                is_harmless = reason == measured.comparison.reason and not fragile
                if self.options["keep_in"] and is_harmless and not measured.comparison.instances:
                    raise self._busy(" in the final comparison", measured)
                kept, reason = self._accepted(kept, reason, self.servers.fragile(best))
        total = self._step(
            Candidate(name="total", change={}, reason=None, model=None),
            kept,
            reason,
            measured,
            measured.accuracy if measured else BeforeAfter(before=noise.accuracy["before"], after=None),
            open_loop=None,
        )
        if measured and self.options["goal"] == "latency":
            total["open_loop"] = _open_loop(measured.windows)
        elif measured and measured.before and measured.after:
            slower_rps = min(measured.before["goodput_rps"], measured.after["goodput_rps"])
            sides = self._measurement.sides(self.start, best, random.Random(self.options["seed"]))
            total["open_loop"] = self._measure_open_loop(sides, OPEN_LOOP_SHARE * slower_rps)
            if total["open_loop"] and self.options["objective_p99_ms"] is not None:
                total["open_loop"]["highest_rps"] = self._highest_rates(best, measured)
        return total

    def _measure_open_loop(self, sides: Mapping[str, dict[str, Any]], rate_rps: float) -> dict[str, Any] | None:
        """Measure both sides at the rate of the traffic, or at the given one if the traffic has none."""
        traffic = self._measurement.traffic
        if rate_rps < 1 and not traffic.has_rate:
            return None
        longest_s = 60.0 if traffic.has_rate else 10.0  # who gives a rate wants its p99
        seconds = max(self.options["window_s"], min(longest_s, P99_REQUESTS / (traffic.rate_rps or rate_rps or 1)))
        load = traffic.open(None if traffic.has_rate else rate_rps)
        windows = self.servers.load(sides, list(sides), window_s=seconds, seed=self.options["seed"], **load)
        return _open_loop(windows)

    def _highest_rates(self, best: Configuration, measured: Measured) -> BeforeAfter:
        """Return the highest rates within the latency objective, of the start and of the final configuration."""
        name, objective = self.options["name"], f"{self.options['objective_p99_ms']:g} ms"
        self._say(f"{name}: looking for the highest rate with a p99 within {objective}")
        sides = {"baseline": self.start, "candidate": best}
        if best == self.start:
            del sides["candidate"]
        closed_rps = {"baseline": measured.before["throughput_rps"], "candidate": measured.after["throughput_rps"]}
        found = self._measurement.highest_rates(sides, closed_rps)
        rates: BeforeAfter = {"before": found["baseline"], "after": found.get("candidate", found["baseline"])}
        shown = [f"{rate:.0f} requests/s" if rate else "none that was measured" for rate in rates.values()]
        self._say(f"{name}: highest rate with a p99 within {objective}: {shown[0]} at the start, {shown[1]} at the end")
        return rates

    def _rules(self, **more: Any) -> Rules:
        """Return the rules of a comparison."""
        rules = Rules(
            minimum_gain=self.options["minimum_gain"],
            confidence=self.options["confidence"],
            result=self._measurement.result,
            **more,
        )
        return rules.within(self.options["instances"])

    def _search_rules(self, patient: bool) -> Rules:
        """Return the rules for the next candidate. The given candidates share half of the error rate, and all later ones the other half."""
        later = self._later
        trials = 2 * later * (later + 1) if later else 2 * len(self.candidates)
        return self._rules(trials=trials, **({} if patient else {"looks": _BRIEF}))

    def _method(self) -> dict[str, Any]:
        keys = (
            "goal",
            "window_s",
            "window_requests",
            "rounds",
            "instances",
            "minimum_gain",
            "confidence",
            "objective_p99_ms",
            "allowed_loss",
            "metric",
            "seed",
        )
        is_open = self.options["goal"] == "latency"
        traffic = dataclasses.asdict(self._measurement.traffic)
        return dict(
            {**traffic, "concurrency": None} if is_open else traffic,
            **{key: self.options[key] for key in keys},
            loop="open" if is_open else "closed",
            requests_from=self._requests_from,
            examples=self.servers.examples,
            server_cpus=self.servers.server_cpus,
            generator_cpus=self.servers.generator_cpus,
            void_windows=len(self._measurement.voids),
            void_reasons=sorted(set(self._measurement.voids)),
            note=self.servers.note,
        )


def _why_nothing(windows: Sequence[Any]) -> str:
    """Return the errors of windows in which no request succeeded."""
    errors = collections.Counter[str]()
    for window in windows:
        errors.update(window["errors"])
    sent = sum(window["requests"] for window in windows)
    counted = ", ".join(f"{count} {code}" for code, count in sorted(errors.items()))
    return f"none of {sent} requests succeeded" + (f": {counted}" if counted else "")


def _open_loop(windows: Sequence[Any]) -> dict[str, Any]:
    """Return the rate of an open loop and the figures of both sides."""
    sides = {"before": "baseline", "after": "candidate"}
    return {
        "rate_rps": windows[0]["rate_rps"],
        "highest_rps": None,
        **{key: merged(windows, side) for key, side in sides.items()},
    }


def _against(old: Mapping[str, Any] | None, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of the baseline and both curves, for a step."""
    return {
        "before": old and {key: value for key, value in old.items() if key != "curve"},
        "curve_before": old and old["curve"],
        "curve_after": figures and figures["curve"],
    }
