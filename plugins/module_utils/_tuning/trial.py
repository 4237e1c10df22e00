# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tuning: which configurations are compared, in which order, and which are kept.

The plan provides the candidates, search their order, and trial_servers the servers. comparison and judgment decide whether a change is kept.
final_comparison compares what was found with the start.
"""

from __future__ import annotations

import collections
import dataclasses
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
    judgment,
    kept_tuning,
    steps,
    withheld_variants,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import Rules, Scatter
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.final_comparison import FinalComparison
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.judgment import BeforeAfter, Measured
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.measurement import Measurement
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.options import check
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.search import Attempt, Outcome, Search, useless
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import Candidate
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
    kept = kept_tuning.keep(options, controller.host, stored, found, structure)
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
        total = FinalComparison(self._measurement, self.options, self.start, best, self._say).total(noise)
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
            "method": self._measurement.method(noise),
            "scatter": {"squares": filled.squares, "degrees": filled.degrees, "measured_as": self._measured_as},
        }

    def _measure_noise(self) -> Measured:
        """Compare the start with itself to measure the noise."""
        rules = self._measurement.rules(looks=(NOISE_PAIRS,))
        try:
            noise = self._measurement.compare(self.start, self.start, rules, _RESERVED_PAIRS + 1)
        except FleetError as fault:
            cause = fault.__cause__
            if not isinstance(cause, FleetError) or cause.code != grpc_api.INVALID_ARGUMENT or self.options["samples"]:
                raise
            raise self._nothing(cause.what) from fault
        if self.options["keep_in"] and noise.is_void:
            raise self._measurement.busy(noise)
        if not any(window["throughput_rps"] for window in noise.windows):
            raise self._nothing(_why_nothing(noise.windows))
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
            if kept_tuning.LEFT_OUT in found[-1]["reason"]:
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
            reason = f"the budget of {self.options['budget_min']:g} minutes {kept_tuning.LEFT_OUT}"
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
            return outcome, steps.step_of(candidate, False, reason, None, unmeasured)
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
            return "failed", steps.step_of(candidate, False, f"it could not be measured: {fault}", None, unknown)
        kept, reason = judgment.judge(measured, self.options)
        if kept and self._only_measured(best, tried):
            kept, reason = False, f"{reason}; {self._only_measured(best, tried)}"
        if measured.comparison.verdict == "inconclusive" and self._is_over():
            reason = f"{reason}; the budget of {self.options['budget_min']:g} minutes {kept_tuning.LEFT_OUT} to the end"
        fragile = self.servers.fragile(tried)
        kept, reason = judgment.accepted(kept, reason, fragile, self.options["accept_fragile"])
        step = steps.step_of(candidate, kept, reason, measured, measured.accuracy, fragile=fragile)
        verdict = measured.comparison.verdict
        if kept:
            return "gain", step
        if verdict == "gain" and tried["form"] != best["form"] and not fragile:
            return "refused", step
        return "open" if verdict in ("unlikely", "inconclusive") else "no gain", step

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
        return steps.step_of(candidate, False, reason, measured, accuracy, advice=True)

    def _search_rules(self, patient: bool) -> Rules:
        """Return the rules for the next candidate. The given candidates share half of the error rate, and all later ones the other half."""
        later = self._later
        trials = 2 * later * (later + 1) if later else 2 * len(self.candidates)
        return self._measurement.rules(trials=trials, **({} if patient else {"looks": _BRIEF}))


def _why_nothing(windows: Sequence[Any]) -> str:
    """Return the errors of windows in which no request succeeded."""
    errors = collections.Counter[str]()
    for window in windows:
        errors.update(window["errors"])
    sent = sum(window["requests"] for window in windows)
    counted = ", ".join(f"{count} {code}" for code, count in sorted(errors.items()))
    return f"none of {sent} requests succeeded" + (f": {counted}" if counted else "")
