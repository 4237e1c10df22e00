# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a tuning: which candidate is measured next, against what, and how long.

First all given candidates are measured briefly against the start, and the one that gains most is kept. The others follow on top of it, the most promising
first. Then come other values of the kept numbers, and of the start's batching if the plan chose it, and at last those candidates whose brief measurement
decided nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Optional

from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import refinement, steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.steps import Candidate

# open: neither a gain nor its absence is shown. refused: faster, but it cannot be kept for another reason. failed: it could not be measured.
Outcome = Literal["gain", "open", "no gain", "refused", "failed"]

Interval = Sequence[Optional[float]]  # low and high end of a gain, or None

_TENSORFLOW_ONLY = {
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
    "tensorflow_session_parallelism",
    "TF_ENABLE_ONEDNN_OPTS",
}
_LITE_ONLY = {"num_tflite_pools", "num_tflite_interpreters_per_pool"}


@dataclasses.dataclass
class Attempt:
    """A candidate to measure against the best configuration."""

    candidate: Candidate
    tried: Configuration
    given: Candidate  # the candidate without what its name and numbers say of the best configuration
    patient: bool = False  # until the verdict is final
    direction: refinement.Direction | None = None
    gain: float = 0.0  # as measured


class Search:
    """A search from a start: first_round(), choose(), then next() until None. done() takes the outcome of each attempt. best: the best configuration so far."""

    def __init__(self, start: Configuration, candidates: Iterable[Candidate], refine: bool, in_flight: int) -> None:
        self.best, self._start, self._refine, self._in_flight = start, start, refine, in_flight
        self._first = [one for one in candidates if start["protocol"] != "grpc" or not _is_of_rest(one)]
        self.waiting = self.later = 0  # candidates to come in the first round; attempts after it
        self._seen: set[str] = set()
        self._shown: dict[str, Interval] = {}  # by configuration, against the start
        self._round: list[tuple[Attempt, Outcome]] = []
        self._pool: list[Attempt] = []  # attempts of the first round that were not repeated on top of another one
        self._again: list[Attempt] = []
        self._directions = self._of_open_batching() if refine else []
        self._open: list[Attempt] = []
        self._with = ""

    def first_round(self) -> Iterator[Attempt]:
        """Yield an attempt for each given candidate, all against the start."""
        for number, given in enumerate(self._first, 1):
            self.waiting = len(self._first) - number
            tried = trial_configuration.changed(self.best, given["change"])
            yield Attempt(given, tried, given, patient=len(self._first) == 1)

    def choose(self) -> int | None:
        """Keep the attempt of the first round that gains most, and return its number, or None if there is no gain."""
        gains = [(attempt.gain, -number) for number, (attempt, outcome) in enumerate(self._round) if outcome == "gain"]
        chosen = -max(gains)[1] if gains else None
        self._pool = [
            attempt
            for number, (attempt, outcome) in enumerate(self._round)
            if number != chosen and outcome not in ("refused", "failed")
        ]
        self._open = [attempt for attempt, outcome in self._round if outcome == "open"]
        if chosen is not None:
            self._keep(self._round[chosen][0])
        return chosen

    def next(self) -> Attempt | None:
        """Return the next attempt after the first round, or None at the end."""
        for attempt in self._rest():
            key = steps.digest([self.best, attempt.tried, attempt.patient])
            if attempt.tried == self.best or key in self._seen or self._is_ruled_out(attempt):
                continue
            self._seen.add(key)
            self.later += 1
            return attempt
        return None

    def done(self, attempt: Attempt, outcome: Outcome, gain: float | None, interval: Interval) -> None:
        """Take the outcome of an attempt, and its gain with the interval."""
        attempt.gain = gain or 0.0
        if not self.later:
            self._round.append((attempt, outcome))
            given = trial_configuration.changed(self._start, attempt.given["change"])
            for configuration in (given, attempt.tried):
                self._shown[steps.digest(configuration)] = interval
        elif outcome == "gain":
            self._keep(attempt)
        elif outcome == "open" and not attempt.patient and (attempt.gain > 0 or not attempt.direction):
            self._open.append(attempt)

    def _of_open_batching(self) -> list[refinement.Direction]:
        """Return the directions of the start's batching if a candidate turns it off: then the plan chose it, and not the user."""
        changes = [one["change"] for one in self._first]
        is_open = any("batching" in change and not change["batching"] for change in changes)
        return refinement.directions({"batching": self._start["batching"]}) if is_open else []

    def _is_ruled_out(self, attempt: Attempt) -> bool:
        """Return whether an attempt has no effect, or was clearly slower than the best configuration when both were measured against the start."""
        shown, best = (self._shown.get(steps.digest(one)) or (None, None) for one in (attempt.tried, self.best))
        slower = shown[1] is not None and best[0] is not None and shown[1] < best[0]
        return slower or bool(useless(attempt.given["change"], attempt.tried))

    def _keep(self, attempt: Attempt) -> None:
        self.best, change = attempt.tried, attempt.candidate["change"]
        if attempt.direction:
            others = [one for one in self._directions if one[:2] != attempt.direction[:2]]
            self._directions = [attempt.direction, *others]
            return
        self._with = attempt.given["name"]
        if self._refine:
            self._directions += refinement.directions(change)
        self._again += sorted((one for one in self._pool if one.given is not attempt.given), key=lambda one: -one.gain)
        self._open = [one for one in self._open if one not in self._pool]
        self._pool = []

    def _rest(self) -> Iterator[Attempt]:
        """Yield what is left, each attempt on top of the best configuration of that moment."""
        while self._again:
            first = self._again.pop(0)
            given = first.given
            added = trial_configuration.changed(self.best, given["change"])
            batched = bool(added["batching"]) == bool(self.best["batching"])
            if batched and {**added, "batching": self.best["batching"]} == self.best:  # It is a part of what was kept.
                alone = trial_configuration.difference(self.best, first.tried)
                yield self._on_top({**given, "name": f"{given['name']} alone", "change": alone}, given)
            else:
                yield self._on_top({**given, "name": f"{given['name']}, with {self._with}"}, given)
        while self._directions:
            direction = self._directions.pop(0)
            found = refinement.candidate(self.best, direction, self._in_flight)
            if found:
                yield self._on_top(found, found, direction=direction)
        while self._open:
            one = max(self._open, key=lambda attempt: attempt.gain)
            self._open.remove(one)
            again = refinement.candidate(self.best, one.direction, self._in_flight) if one.direction else one.given
            if again:
                yield self._on_top({**again, "name": f"{again['name']}, longer"}, again, True, one.direction)

    def _on_top(
        self,
        candidate: Candidate,
        given: Candidate,
        patient: bool = False,
        direction: refinement.Direction | None = None,
    ) -> Attempt:
        tried = trial_configuration.changed(self.best, candidate["change"])
        return Attempt(candidate, tried, given, patient, direction)


def useless(change: Mapping[str, Any], tried: Configuration) -> str | None:
    """Return why a change has no effect on the variant that serves, or None."""
    lite, names = tried["form"].startswith("tflite"), {*(change.get("flags") or {}), *(change.get("environment") or {})}
    if names and set(change) <= {"flags", "environment"}:
        if lite and names <= _TENSORFLOW_ONLY:
            return "TensorFlow Lite does not use it"
        if not lite and names <= _LITE_ONLY:
            return "only TensorFlow Lite uses it"
    return None


def _is_of_rest(candidate: Candidate) -> bool:
    return set(candidate["change"]) == {"flags"} and set(candidate["change"]["flags"]) == {"rest_api_num_threads"}
