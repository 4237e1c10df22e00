# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that applies the steps of transaction.py to a container engine, and checks candidates with requests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import gpu_use, nvml
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    checks,
    container,
    container_files,
    expected_answers,
    failure_diagnosis,
    host_resources,
    transaction,
    verification,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.serves_on import ServesOn, extended
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.transaction import Seen, Step
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import containers
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

_POLL_S = 0.1
_STOP_GRACE_S = 10
_BACK_TIMEOUT_S = 60
_REST_S = 10.0


class Deployment:
    """A server on an engine.

    make(role) creates its container for a role and returns nothing. ask: a verification.Questions. options: the
    module's.
    """

    def __init__(
        self,
        engine: Any,
        spec: ServingConfiguration,
        options: Mapping[str, Any],
        make: Any,
        questions: verification.Questions,
    ) -> None:
        self._engine, self._spec, self._options = engine, spec, options
        self._make, self._questions = make, questions
        self._folder = ServerFolder(options["state_directory"], spec.name)
        self.name = spec.name
        self.gap_s: float | None = None
        self.warnings: list[str] = []
        self._stopped_at: float | None = None
        self._existed = self._served_before = False
        self._restarts = 0

    def seen(self) -> Any:
        """Return {role: Seen} of its current containers."""
        return self._engine.seen(self.name)

    def recover(self, seen: dict[str, Seen]) -> Any:
        """Finish or undo what a killed run left. Return {role: Seen} after that. A server that is brought back is ready then, unless it does not work."""
        for step in transaction.recover(seen):
            if step.verb == "recover":
                self._finish_or_undo(seen)
            else:
                self._do(step)
        self._folder.set_unverified(None)
        if transaction.REPLACED in seen:
            with contextlib.suppress(FleetError):
                self._wait(transaction.SERVING, self._id(transaction.SERVING), self._options["ready_timeout_s"])
        return self.seen()

    def carry_out(self, steps: Sequence[Step], seen: dict[str, Seen]) -> None:
        """Apply the steps to the containers in seen. If a step fails, start the replaced server again before raising the FleetError."""
        self._existed = transaction.SERVING in seen
        self._served_before = self._existed and seen[transaction.SERVING].runs
        for step in steps:
            try:
                self._do(step)
            except FleetError as fault:
                raise self._undone(fault, any(one.verb == "create" for one in steps)) from fault

    def wait_until_ready(self) -> None:
        """Return when the current server listens. Add a warning about versions that it could not load since its start."""
        place = self._wait(transaction.SERVING, self._id(transaction.SERVING), self._options["ready_timeout_s"])
        with contextlib.suppress(FleetError):
            wanted = {model.name: expected_answers.versions(model) for model in self._spec.models}
            self.warnings += self._questions.unloadable(place, wanted)

    def _do(self, step: Step) -> None:
        if step.verb == "create":
            self._make(step.role)
            return
        identifier = self._id(step.role)
        if step.verb == "start":
            self._start(step.role, identifier)
        elif step.verb == "stop":
            self._stop(identifier)
        elif step.verb == "remove":
            self._engine.remove_container(identifier)
        elif step.verb == "rename":
            self._engine.rename(identifier, transaction.container_name(self.name, step.to))
        elif step.verb in ("check", "verify"):
            self._judge(step, identifier)
        elif step.verb in ("mark", "unmark"):
            self._folder.set_unverified(self._engine.inspect(identifier)["Id"] if step.verb == "mark" else None)

    def _id(self, role: str) -> str:
        return transaction.container_name(self.name, role)

    def _stop(self, identifier: str) -> None:
        if self._options["drain_s"]:
            time.sleep(self._options["drain_s"])
        self._stopped_at = time.monotonic()
        self._engine.stop(identifier, _STOP_GRACE_S)

    def _start(self, role: str, identifier: str) -> None:
        try:
            self._engine.start(identifier)
        except FleetError as fault:
            words = failure_diagnosis.explain(-1, False, "", engine_error=fault.what)
            raise checks.closed(
                checks.RUNNING, f"the container did not start: {words.lines}", where=self.name, remedy=words.remedy
            ) from fault

    @property
    def judged(self) -> Any:
        """Return the metrics of the checks: {model: {metric, examples, source, converted, served}}."""
        return self._questions.judged if self._questions else {}

    def _judge(self, step: Step, identifier: str) -> None:
        server = self._wait(step.role, identifier, self._options["ready_timeout_s"])
        first = self._questions.first(server, step.verb == "check")
        if self._stopped_at is not None and step.role == transaction.SERVING:
            self.gap_s = round(time.monotonic() - self._stopped_at, 3)
        if self._spec.devices:
            self._use_gpus(identifier)
        if step.verb == "check":
            self.warnings += self._questions.all(server, first, lambda: self._lives(identifier))

    def _wait(self, role: str, identifier: str, timeout_s: float) -> Any:
        """Return the verification.Place of a container whose server listens. Raises FleetError with its failure diagnosis."""
        end = time.monotonic() + timeout_s
        inspected = self._engine.inspect(identifier)
        self._restarts = inspected.get("RestartCount", 0)
        while True:
            if self._has_ended(inspected):
                self._died(identifier, inspected, "it ended before it was ready")
            published = containers.ports(inspected)
            if container.GRPC_PORT in published:
                place = verification.place(published, inspected["Config"]["Cmd"])
                if host_resources.listens(place.server.address, place.server.port) and verification.speaks(place):
                    self._refuse_ignored_flag(identifier)
                    self._find_rest(identifier, place)
                    return place
            if time.monotonic() > end:
                words = failure_diagnosis.explain(None, False, self._engine.last_lines(identifier))
                raise checks.closed(
                    checks.AVAILABLE,
                    f"{words.cause} after {timeout_s:g} s; it says: {words.lines}",
                    where=self.name,
                    remedy=words.remedy,
                )
            time.sleep(_POLL_S)
            inspected = self._engine.inspect(identifier)

    def _has_ended(self, inspected: Mapping[str, Any]) -> Any:
        """Return whether the server has ended, even if the engine has started it again."""
        state = inspected["State"]
        return not state["Running"] or state.get("Restarting") or inspected.get("RestartCount", 0) > self._restarts

    def _refuse_ignored_flag(self, identifier: str) -> None:
        """Refuse a server that ignores one of its flags, which only its log shows."""
        unknown = failure_diagnosis.unknown_argument(self._engine.last_lines(identifier))
        if unknown:
            raise checks.closed(
                checks.RUNNING,
                f"the server does not know {unknown} and ignores it",
                where=self.name,
                remedy="Leave the flag out, or set release to the image's release: then flags are checked before the server starts.",
            )

    def _find_rest(self, identifier: str, place: verification.Place) -> None:
        """Refuse a server that serves only gRPC although REST is configured. REST starts a moment after gRPC."""
        end = time.monotonic() + _REST_S
        while verification.lacks_rest(place):
            inspected, why = (
                self._engine.inspect(identifier),
                failure_diagnosis.rest_missing(self._engine.last_lines(identifier)),
            )
            if self._has_ended(inspected):
                self._died(identifier, inspected, "it ended before it was ready")
            if why or time.monotonic() > end:
                raise checks.closed(
                    checks.RUNNING,
                    f"it does not serve REST: {why or f'no answer on the REST port after {_REST_S:g} s'}",
                    where=self.name,
                    remedy="Use a readable monitoring_config_file or none, and a REST port that nothing else uses; or leave rest_port out.",
                )
            time.sleep(_POLL_S)

    def _use_gpus(self, identifier: str) -> None:
        """Refuse a server that has GPUs but uses the CPU, which TensorFlow does without an error."""
        # The earlier log of a restarted container lists the GPUs of that time.
        log = self._engine.last_lines(identifier, since=self._engine.inspect(identifier)["State"]["StartedAt"])
        verdict = gpu_use.judge(
            log, self._spec.devices, nvml.process_ids(Files()), self._engine.process_ids(identifier)
        )
        remedy = verdict["remedy"] or ""
        if verdict["used"] is False:
            raise checks.closed(
                checks.GPU,
                verdict["reason"],
                where=self.name,
                remedy=f"{remedy[:1].upper()}{remedy[1:]}.",
            )
        if verdict["used"] is None or verdict["remedy"]:
            self.warnings.append(f"GPU: {verdict['reason']}")

    def _died(self, identifier: str, inspected: Mapping[str, Any], what: str) -> None:
        words = self._words(identifier, inspected)
        raise checks.closed(
            checks.RUNNING, f"{what}: {words.cause}; it says: {words.lines}", where=self.name, remedy=words.remedy
        )

    def _words(self, identifier: str, inspected: Mapping[str, Any]) -> Any:
        state = inspected["State"]
        words = failure_diagnosis.explain(
            state["ExitCode"],
            state["OOMKilled"],
            self._engine.last_lines(identifier),
            self._spec.memory_mib,
            state.get("Error") or "",
        )
        if words.remedy:
            return words
        wrong = container_files.wrong_batching(self._options["batching_parameters_file"], self._spec.models)
        return replace(words, cause=f"{words.cause}; {wrong}", remedy="Correct that file.") if wrong else words

    def _lives(self, identifier: str) -> Any:
        """Return None while the server lives, or else the Words about its end."""
        inspected = self._engine.inspect(identifier)
        return self._words(identifier, inspected) if self._has_ended(inspected) else None

    def _finish_or_undo(self, seen: dict[str, Seen]) -> None:
        """Handle a server that an unfinished run started: keep it if it works, or else restore the one that it replaced."""
        try:
            if not seen[transaction.SERVING].runs:
                self._start(transaction.SERVING, self._id(transaction.SERVING))
            self._judge(transaction.Step("verify", transaction.SERVING), self._id(transaction.SERVING))
            steps = transaction.finish(seen)
        except FleetError:
            is_rollback = seen[transaction.REPLACED].predecessor == seen[transaction.SERVING].id
            steps = transaction.bring_back(seen, keeps=is_rollback)
        for step in steps:
            self._do(step)

    def _undone(self, fault: FleetError, made: bool) -> Any:
        """Remove what this run made and restore the previous server. Return the fault. made: whether the run made containers."""
        self._stopped_at = None
        try:
            seen = self.seen()
            steps = [
                transaction.Step("remove", role) for role in (transaction.CANDIDATE, transaction.NEXT) if role in seen
            ]
            if transaction.REPLACED in seen:
                steps += transaction.bring_back(seen, keeps=not made)
            elif made and not self._existed and transaction.SERVING in seen:
                steps.append(transaction.Step("remove", transaction.SERVING))
            for step in steps:
                if step.verb == "stop":  # It failed, so nothing waits until it is drained.
                    self._engine.stop(self._id(step.role), _STOP_GRACE_S)
                else:
                    self._do(step)
            self._folder.set_unverified(None)
            if not self._served_before:
                return fault
            if transaction.REPLACED in seen:
                self._wait(
                    transaction.SERVING,
                    self._id(transaction.SERVING),
                    max(_BACK_TIMEOUT_S, self._options["ready_timeout_s"]),
                )
                return extended(fault, "The earlier server was started again.", ServesOn)
            return extended(fault, "The current server keeps serving.", ServesOn)
        except FleetError as second:
            return extended(
                fault,
                f"It is not known whether the earlier server is serving ({second}). The next run checks that first.",
            )
