# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend embedded of model_server: read, decide, and apply the decision unless in check mode.

Clients of servers are imported in the functions that need them, because a run that changes nothing would spend most of
its time on these imports.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.version import VERSION
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    attempts,
    container_files,
    host_resources,
    requested,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder, as_served
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.serves_on import ServesOn, extended
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import account, process
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import specification as specifications
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    model_config,
    server_options,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration


class Backend:
    """One call of the module. options: its parameters. Use it while the server's lock is held."""

    _desired: ServingConfiguration
    _questions: Any
    _warnings: list[str]
    _gap_s: float | None
    # The models of the desired server, with labels that were moved while the previous one served; and the models as
    # that one serves them.
    _models: tuple[ModelConfiguration, ...]
    _served: tuple[ModelConfiguration, ...]
    _wanted: ServingConfiguration

    def __init__(self, options: Mapping[str, Any], folder: ServerFolder, check_mode: bool) -> None:
        self._options, self._check_mode = options, check_mode
        self._packed = process.packed(options["embedded_program"]) if server_options.starts_embedded(options) else b""
        self._home = process.Home(folder.state_directory, folder.name, self._packed)
        self._questions, self._warnings, self._gap_s = None, [], None
        self.is_unsure = False

    def started(self, candidate_only: bool = False) -> dict[str, Any]:
        """Start or update the server; candidate_only: check a candidate alongside it, and end the candidate."""
        options, home = self._options, self._home
        desired = specifications.check(self._requested()).normalized()
        user = account.chosen(desired, options["user"], options["state_directory"], options["embedded_allow_root"])
        desired = self._desired = replace(desired, user=user)
        host_resources.refuse_foreign_cpus(desired)
        left = home.interrupted()
        # Without an earlier server, the checks of the one that a killed run started are made up for, if it is the desired one.
        continues = self.is_unsure = bool(left and not left.specification and self._runs(desired))
        recovery = self._recovered(left) if left and not continues else ()
        before, pid = home.last_started(), home.process()
        runs, own = pid is not None, (before.grpc_port, before.rest_port) if pid and before else ()
        served = as_served(before, home.models_file).models if before else ()
        if left and not continues:
            before, served = left.specification, left.models
            runs = before is not None and (runs or self._check_mode)
        self._served = served
        wanted = host_resources.choose_ports(desired, before)
        self._models = model_config.with_moved_labels(wanted.models, before.models if before else (), served)
        serving = before if runs else None
        is_same = serving is not None and derived_flags.digest(serving) == derived_flags.digest(wanted)
        side_by_side = serving is not None and not is_same and self._side_by_side()
        decision = specifications.decide_started(wanted, before, runs, side_by_side)
        if decision.changed:
            from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import current_servers

            labels = model_config.label_sentences(self._models, wanted.models, served)
            decision = replace(decision, actions=(*decision.actions, *labels))
            host_resources.refuse_used_ports(wanted, own, server_on=functools.partial(current_servers.name_on, options))
        if decision.changed and not self._check_mode:
            attempts.remember(options)
            self._ask_for(serving)
            if side_by_side:
                self._check_candidate(wanted)
            if not candidate_only:
                self._replace(serving, wanted, side_by_side)
        elif not self._check_mode:
            home.wait_until_ready(wanted, options["ready_timeout_s"])
            if continues:
                self._finish_checks(wanted)
        self._wanted = wanted
        pending, changed = decision.changed, decision.changed and not candidate_only or bool(recovery)
        decision = replace(decision, changed=changed, actions=(*recovery, *decision.actions))
        if candidate_only:
            return self._result(dict(decision.result(server=self._server(wanted, pid)), pending=pending))
        return self._result(
            decision.result(
                server=self._server(wanted, None if self._check_mode and decision.changed else home.process())
            )
        )

    def _runs(self, desired: ServingConfiguration) -> bool:
        """Return whether the desired server lives."""
        last = self._home.last_started()
        wanted = last and host_resources.choose_ports(desired, last)
        return bool(
            last and wanted and self._home.process() and derived_flags.digest(last) == derived_flags.digest(wanted)
        )

    def _finish_checks(self, wanted: ServingConfiguration) -> None:
        """Run the checks of a server that a killed run started, and end it if they fail."""
        try:
            self._ask_for(None)
            self._pass_checks(wanted, self._home.ended)
        except FleetError:
            self._home.stop()
            self._home.set_unverified(None)
            raise
        self._home.set_unverified(None)

    def _recovered(self, left: process.Replaced) -> tuple[str, ...]:
        """End a server whose checks did not end, and start the one that it replaced. Return the actions."""
        home, before = self._home, left.specification
        if not self._check_mode:
            home.stop()
            try:
                if before:
                    home.start(before, left.models, self._options["ready_timeout_s"])
            except FleetError:
                home.stop()
            home.set_unverified(None)
        return (
            "bring back the server that an interrupted run replaced with an unverified one"
            if before
            else "stop the server that an interrupted run did not verify",
        )

    def when_ready(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the result of started() in check mode if nothing has to be done. The current server may still be starting."""
        self._home.wait_until_ready(self._wanted, self._options["ready_timeout_s"])
        return result

    def previous(self) -> NoReturn:
        """Raise FleetError: this backend does not keep the previous server."""
        raise FleetError(
            "the embedded server keeps no earlier server for a rollback",
            where=self._options["name"],
            remedy="Deploy the server that you want instead.",
        )

    def stopped(self, absent: bool = False) -> dict[str, Any]:
        """End the server, and with absent forget it."""
        found, running = self._home.last_started(), self._home.process() is not None
        if absent:
            decision = specifications.decide_absent(
                self._home.name, found, running, bool(self._home.remains(contained=False))
            )
        else:
            known = found.to_dict() if found else {}
            decision = Decision(
                running,
                known,
                dict(known, state="stopped") if running else known,
                (f"stop the server {self._home.name}",) if running else (),
                header=f"server {self._home.name}",
            )
        if not self._check_mode:
            self._home.stop()
            self._home.set_unverified(None)
            if absent:
                self._home.remove(contained=False)
        return decision.result(server=self._server())

    def _side_by_side(self) -> bool:
        from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import candidate_memory

        chosen = self._options["side_by_side"]
        return bool(candidate_memory.fits(self._desired.models) if chosen is None else chosen)

    def _ask_for(self, serving: ServingConfiguration | None) -> None:
        """Collect the checks, which need the models to exist. serving: the current specification, or None."""
        from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import expected_answers

        models = self._models
        wanted_versions = {model.name: expected_answers.versions(model) for model in models}
        self._questions = expected_answers.questions(
            self._options, models, wanted_versions, _place(serving).server if serving else None
        )

    def _check_candidate(self, wanted: ServingConfiguration) -> None:
        """Run the checks on a candidate alongside the current server."""
        try:
            candidate = replace(wanted, models=self._models)
            with self._home.candidate(candidate, self._options["ready_timeout_s"]) as (tried, ended):
                self._pass_checks(tried, ended)
        except FleetError as fault:
            raise extended(fault, "The current server keeps serving.", ServesOn) from fault

    def _pass_checks(self, specification: ServingConfiguration, ended: Callable[[], Any]) -> None:
        place = _place(specification)
        self._warnings += self._questions.all(place, self._questions.first(place, True), ended)

    def _replace(self, before: ServingConfiguration | None, wanted: ServingConfiguration, verified: bool) -> None:
        """Stop the server of the specification before, if there is one, and start the desired one. If that fails, start the previous one again."""
        home, timeout_s, stopped_at = self._home, self._options["ready_timeout_s"], time.monotonic()
        home.begin(process.Replaced(before, self._served if before else ()))
        home.stop()
        try:
            home.start(wanted, self._models, timeout_s)
            if verified:
                self._questions.first(_place(wanted), False)
            else:
                self._pass_checks(wanted, home.ended)
        except FleetError as fault:
            home.stop()
            if before is None:
                home.set_unverified(None)
                raise
            try:
                home.start(before, self._served, timeout_s)
            except FleetError as second:
                raise extended(
                    fault, f"The earlier server could not be started again either: {second.what}."
                ) from second
            home.set_unverified(None)
            home.forget_others(before)
            raise extended(fault, "The earlier server was started again.", ServesOn) from fault
        home.set_unverified(None)
        home.forget_others(wanted)
        self._gap_s = round(time.monotonic() - stopped_at, 3) if before else None

    def _requested(self) -> Any:
        options = self._options
        if options["secret_environment"]:
            raise FleetError(
                "the embedded server stores its configuration in a file that other users can read",
                where="secret_environment",
                remedy="Set backend: docker, or use environment for values that are not secret.",
            )
        files = container_files.contents(
            dict(options, monitoring=False, session_config_file=None, ssl_config_file=None),
            (),
            self._check_mode,
        )
        return requested.configuration(
            options,
            files,
            backend="embedded",
            address=specifications.ADDRESS,
            files=container_files.digests(files),
            python=options["python"] or sys.executable,
            program=program.digest(self._packed)[:16],
            batching_parameters_file=options["batching_parameters_file"],
            idle_exit_s=options["idle_exit_s"],
        )

    def _server(self, specification: ServingConfiguration | None = None, pid: int | None = None) -> dict[str, Any]:
        server: dict[str, Any] = dict.fromkeys(server_options.RESULT)
        server.update(
            name=self._options["name"],
            backend="embedded",
            state=self._options["state"],
            gap_s=self._gap_s,
            judged=self._questions.judged if self._questions else {},
        )
        if specification:
            server.update(
                pid=pid,
                address=specification.address,
                grpc_port=specification.grpc_port,
                rest_port=specification.rest_port,
                log=self._home.log,
                version=VERSION,
                model_config_file=self._home.models_file,
                specification_digest=derived_flags.digest(specification),
            )
        return server

    def _result(self, result: dict[str, Any]) -> dict[str, Any]:
        return dict(result, warnings=[*result["warnings"], *self._warnings])


def _place(specification: ServingConfiguration) -> Any:
    """Return the Place of a server of the specification."""
    from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import verification
    from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client

    return verification.Place(
        stdlib_client.Server(specification.address, specification.grpc_port, verification.DEADLINE_S)
    )
