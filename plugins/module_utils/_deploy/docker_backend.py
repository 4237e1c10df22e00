# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend docker of model_server: read, decide, and apply the decision unless in check mode."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import text_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    attempts,
    candidate_memory,
    container,
    container_files,
    container_labels,
    current_servers,
    deployment,
    expected_answers,
    host_resources,
    new_container,
    replicas,
    server_containers,
    server_image,
    transaction,
    verification,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.transaction import Roles, Seen, Step
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Image
from ansible_collections.tfserving.fleet.plugins.module_utils._model import batched_versions
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    model_config,
    server_options,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    MODELS_FILE,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration

_DEADLINE_S = 10.0
_NOT_AT_BOOT = "Podman restarts {name} when it exits, but not after a reboot: run podman start {name} from a systemd unit (docs/deploy.md)"


class Backend:
    """One call of the module.

    options: its parameters. folder: a ServerFolder. Use it while the server's lock is held; in check mode, holds_lock
    may be false.
    """

    holds_lock = True
    _work: deployment.Deployment  # of started()

    def __init__(self, options: Mapping[str, Any], folder: ServerFolder, check_mode: bool) -> None:
        self._options, self._folder, self._check_mode = options, folder, check_mode
        self._engine = server_containers.Servers(options["engine_socket"], options["state_directory"])
        self._image = server_image.ServerImage(options, self._engine, check_mode)
        self._warnings: list[str] = []
        self._label_actions: list[str] = []
        self.is_unsure = False

    def started(self, candidate_only: bool = False) -> dict[str, Any]:
        """Start or update the server. candidate_only: check a candidate alongside it, and leave the candidate running.

        If that fails, the versions get the batching parameters of the current server back, which an earlier task
        replaced by those of the new one.
        """
        try:
            return self._started(candidate_only)
        except FleetError:
            with contextlib.suppress(FleetError):
                self._batch(self._described(self._engine.seen(self._options["name"])))
            self._prune()
            raise

    def _started(self, candidate_only: bool) -> dict[str, Any]:
        options = self._options
        new = new_container.NewContainer(options, self._engine, self._folder, self._check_mode)
        desired = container.check(new.configuration()).normalized()
        recovery, seen = self._recovered(desired, desired.models)
        before = self._described(seen)
        models = self._with_moved_labels(desired.models, before, seen)
        spec = host_resources.choose_ports(desired, before)
        image, moved, self.is_unsure = self._image.find()
        wanted = transaction.Wanted(
            derived_flags.digest(spec),
            moved or (image["id"] if image else None),
            (options["deployment"] or {}).get("id"),
        )
        steps = transaction.to_started(
            seen,
            wanted,
            self._side_by_side(spec, models, candidate_only or transaction.SERVING in seen),
            candidate_only,
        )
        is_checking = not steps and [step.role for step in recovery] == [transaction.CANDIDATE]
        if is_checking and not self.holds_lock and self._folder.is_locked():
            recovery = []  # The candidate belongs to the run that holds the lock, which decides what serves at its end.
        pending = candidate_only and bool(transaction.to_started(seen, wanted, True))
        makes = any(step.verb == "create" for step in steps)
        # In check mode a task before would publish what is missing.
        there = [model for model in models if os.path.exists(model.base_path)] if self._check_mode else models
        wanted_versions = {model.name: expected_answers.versions(model) for model in there} if steps else {}
        if makes:
            self._refuse_what_cannot_work(spec, there, wanted_versions, image)
        runs = transaction.SERVING in seen and seen[transaction.SERVING].runs
        decision = self._decision(recovery, steps, before if runs else None, spec, image if not moved else None)
        work = deployment.Deployment(
            self._engine,
            spec,
            options,
            lambda role: new.create(spec, role, models),
            self._questions(models, wanted_versions, before),
        )
        if makes and options["engine"] == "podman" and spec.restart_policy == "unless-stopped":
            work.warnings.append(_NOT_AT_BOOT.format(name=spec.name))
        if not self._check_mode:
            if makes:
                attempts.remember(options)
            if makes and image is None:
                self._image.refuse_incompatible(self._image.pull())
            work.carry_out(steps, seen)
            if steps:
                self._prune()
            elif transaction.SERVING in seen:
                work.wait_until_ready()
        self._work = work
        return dict(self._result(decision, spec, work), pending=pending)

    def _prune(self) -> None:
        """Remove the configurations of removed containers. If the engine does not answer, the next deployment does."""
        with contextlib.suppress(FleetError):
            if not self._check_mode:
                container_files.prune(self._folder.directory, self._engine.config_folders(self._options["name"]))

    def when_ready(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the result of started() in check mode if nothing has to be done. The current server may still be starting, for example after a boot."""
        self._work.wait_until_ready()
        return dict(result, warnings=[*result["warnings"], *self._work.warnings])

    def previous(self) -> dict[str, Any]:
        """Replace the current server with the earlier one."""
        name, undone = self._options["name"], (self._options["deployment"] or {}).get("id")
        recovery, seen = self._recovered(ServingConfiguration(name), ())
        if not transaction.is_of(seen, undone):
            return self._left(recovery, seen)
        if not transaction.can_go_back(seen, undone):
            raise replicas.none_before(name, undone)
        kept = self._engine.inspect(seen[transaction.PREVIOUS].id)
        then = server_containers.described(kept)
        if then is None:
            raise FleetError(
                "cannot read the labels of the earlier server",
                where=name,
                remedy="Deploy the server that you want instead.",
            )
        earlier, (then, labels) = then.models, self._with_labels_since(then, kept, seen)
        before = seen[transaction.PREVIOUS]
        wanted_versions = {model.name: expected_answers.versions(model) for model in then.models}
        steps = transaction.to_previous(
            seen,
            f"{then.image}{f', deployment {before.deployment} {before.deployed_at}' if before.deployment else ''}",
        )
        work = deployment.Deployment(
            self._engine, then, self._options, None, self._questions(then.models, wanted_versions, None)
        )
        now = self._described(seen)
        actions = self._batch(then)
        if not self._check_mode:
            try:
                folder = server_containers.config_folder(kept) if then.models != earlier else None
                with container_files.serving(then.models, folder):
                    work.carry_out(steps, seen)
            except FleetError:
                self._batch(now)
                raise
        decision = self._decision(recovery, steps, now, then, True)
        return self._result(
            replace(decision, actions=(*actions, *decision.actions, *labels)),
            then,
            work,
            seen[transaction.PREVIOUS].digest,
        )

    def _with_labels_since(
        self, then: ServingConfiguration, kept: Mapping[str, Any], seen: Roles
    ) -> tuple[ServingConfiguration, list[str]]:
        """Return (the previous server with the labels that were moved since it was replaced, if it can serve their versions; sentences about its labels).

        kept: its inspected container.
        """
        if transaction.SERVING not in seen:
            return then, []
        current = self._engine.inspect(seen[transaction.SERVING].id)
        now, served = self._described(seen), server_containers.described(current)
        described = container_labels.described(kept["Config"]["Labels"]) or then
        if now is None or served is None:
            return then, []
        models = []
        moved = model_config.rolled_back(then.models, described.models, now.models, served.models)
        for earlier, one in zip(then.models, moved):
            try:
                expected_answers.versions(one)
                models.append(one)
            except FleetError:
                models.append(earlier)
        return replace(then, models=tuple(models)), [
            *model_config.label_sentences(models, then.models, served.models),
            *model_config.labels_set_again(models, served.models),
        ]

    def _batch(self, server: ServingConfiguration | None) -> tuple[str, ...]:
        """Write the batching parameters that a server reads when it starts into the versions of its models. Return the actions. Only warn if it fails."""
        try:
            return text_files.put(batched_versions.of_server(server), self._check_mode)[1].actions
        except FleetError as fault:
            self._warnings.append(f"the models may be batched by the parameters of another deployment: {fault}")
            return ()

    def _left(self, recovery: Sequence[Step], seen: Roles) -> dict[str, Any]:
        """Return the result for a server that does not belong to the deployment to undo."""
        now = self._described(seen)
        work = deployment.Deployment(
            self._engine,
            now or ServingConfiguration(self._options["name"]),
            self._options,
            None,
            self._questions((), {}, None),
        )
        return self._result(
            self._decision(recovery, (), now, now, True), now, work, seen[transaction.SERVING].digest if now else None
        )

    def resumed(self) -> dict[str, Any]:
        """Start the server that was stopped and kept."""
        name = self._options["name"]
        recovery, seen = self._recovered(ServingConfiguration(name), ())
        then = self._described(seen)
        steps = (
            transaction.to_started(seen, transaction.Wanted(seen[transaction.SERVING].digest, None), False)
            if then
            else ()
        )
        work = deployment.Deployment(
            self._engine,
            then or ServingConfiguration(name),
            self._options,
            None,
            self._questions(then.models if then else (), {}, None),
        )
        if not self._check_mode and then:
            work.carry_out(steps, seen)
        return self._result(
            self._decision(recovery, steps, None, then, True),
            then,
            work,
            seen[transaction.SERVING].digest if then else None,
        )

    def surplus(self) -> dict[str, Any]:
        """Stop a server that is not in the description any more, and keep it. A rollback starts it again. What served before it is removed."""
        return self._stopped(
            lambda seen: [
                *transaction.to_stopped(seen),
                *([transaction.Step("remove", transaction.PREVIOUS)] if transaction.PREVIOUS in seen else []),
            ]
        )

    def stopped(self, absent: bool = False) -> dict[str, Any]:
        """Stop the server and keep it, or remove everything of it."""
        return self._stopped(transaction.to_absent if absent else transaction.to_stopped, absent)

    def _stopped(self, steps_of: Callable[[Roles], list[Step]], absent: bool = False) -> dict[str, Any]:
        spec = ServingConfiguration(self._options["name"])
        recovery, seen = ((), self._engine.seen(spec.name)) if absent else self._recovered(spec, ())
        steps = steps_of(seen)
        before = self._described(seen)
        work = deployment.Deployment(self._engine, spec, self._options, None, self._questions((), {}, None))
        decision = self._decision(recovery, steps, before, None, True, stops=not absent)
        if absent and not steps and self._folder.remains(contained=True):
            decision = replace(decision, changed=True, actions=(f"remove the files of the server {spec.name}",))
        if not self._check_mode:
            work.carry_out(steps, seen)
            if absent:
                self._folder.remove(contained=True)
        return self._result(decision, None, work)

    def _recovered(
        self, spec: ServingConfiguration, models: Sequence[ModelConfiguration]
    ) -> tuple[Sequence[Step], dict[str, Seen]]:
        """Return (steps that finish or undo what a killed run left, {role: Seen} after them). In check mode, the latter is only expected."""
        seen = self._engine.seen(spec.name)
        recovery = transaction.recover(seen)
        if not recovery or self._check_mode:
            return recovery, transaction.expected(seen, recovery)
        wanted_versions = {}
        with contextlib.suppress(FleetError):
            wanted_versions = {model.name: expected_answers.versions(model) for model in models}
        return recovery, deployment.Deployment(
            self._engine,
            spec,
            self._options,
            None,
            self._questions(models if wanted_versions else (), wanted_versions, None),
        ).recover(seen)

    def _described(self, seen: Roles) -> ServingConfiguration | None:
        """Return the current ServingConfiguration, or None if there is no server or it cannot be read."""
        if transaction.SERVING not in seen:
            return None
        return container_labels.described(self._engine.inspect(seen[transaction.SERVING].id)["Config"]["Labels"])

    def _with_moved_labels(
        self, desired: Sequence[ModelConfiguration], before: ServingConfiguration | None, seen: Roles
    ) -> tuple[ModelConfiguration, ...]:
        """Return the models with the labels and versions that were moved since the server was made. before: the current configuration, or None."""
        if before is None:
            return model_config.with_moved_labels(desired, (), ())
        found = server_containers.described(self._engine.inspect(seen[transaction.SERVING].id))
        served = found.models if found else before.models
        models = model_config.with_moved_labels(desired, before.models, served)
        self._label_actions += model_config.label_sentences(models, desired, served)
        return models

    def _side_by_side(self, spec: ServingConfiguration, models: Sequence[ModelConfiguration], needed: bool) -> bool:
        """Return whether a candidate runs alongside the current server: not with GPUs, which a server uses alone, with too little memory, or without need."""
        if self._options["side_by_side"] is not None:
            return bool(self._options["side_by_side"])
        return needed and not spec.devices and candidate_memory.fits(models, spec.memory_mib)

    def _refuse_what_cannot_work(
        self,
        spec: ServingConfiguration,
        models: Sequence[ModelConfiguration],
        wanted_versions: Mapping[str, Sequence[int]],
        image: Image | None,
    ) -> None:
        rootless = self._engine.is_rootless()
        reader = container_files.reader(spec, rootless, self._engine.id_offset())
        for model in models:
            container_files.refuse_unreadable(model, wanted_versions[model.name], container.user_id(spec), reader)
        container_files.refuse_what_cannot_be_given(spec, rootless)
        if spec.cpu_set:
            host_resources.refuse_foreign_cpus(spec)
        now = self._engine.seen(spec.name)
        current = [
            self._described({transaction.SERVING: now[role]})
            for role in (transaction.SERVING, transaction.REPLACED)
            if role in now and now[role].runs
        ]
        # In check mode, also those of a server that recovery would remove.
        own = [port for one in current if one for port in (one.grpc_port, one.rest_port)]
        server_on = functools.partial(current_servers.name_on, self._options)
        host_resources.refuse_used_ports(spec, own, self._engine.container_on, server_on)
        if image:
            self._image.refuse_incompatible(image)

    def _decision(
        self,
        recovery: Sequence[Step],
        steps: Sequence[Step],
        before: ServingConfiguration | None,
        after: ServingConfiguration | None,
        image: object,
        stops: bool = False,
    ) -> Decision:
        was, will = (one.to_dict() if one else {} for one in (before, after))
        if stops:
            will = dict(was, state="stopped")
        makes = any(step.verb == "create" for step in steps)
        actions = (
            *transaction.sentences(recovery),
            *([f"pull the image {self._options['image']}"] if makes and image is None else []),
            *transaction.sentences(steps),
            *([*self._label_actions, *self._image.actions] if makes else []),
        )
        return Decision(bool(recovery or steps), was, will, actions, header=f"server {self._options['name']}")

    def _questions(
        self,
        models: Sequence[ModelConfiguration],
        wanted_versions: Mapping[str, Sequence[int]],
        before: ServingConfiguration | None,
    ) -> verification.Questions:
        """Return the requests of the checks. before: the current ServingConfiguration, or None."""
        serving = (
            stdlib_client.Server(
                "127.0.0.1" if before.address == "0.0.0.0" else before.address,
                before.grpc_port,
                _DEADLINE_S,
                before.speaks_tls,
            )
            if before
            else None
        )
        return expected_answers.questions(self._options, models, wanted_versions, serving)

    def _result(
        self,
        decision: Decision,
        spec: ServingConfiguration | None,
        work: deployment.Deployment,
        digest: str | None = None,
    ) -> dict[str, Any]:
        options = self._options
        server = dict.fromkeys(server_options.RESULT)
        server.update(name=options["name"], backend="docker", state=options["state"])
        if spec:
            carried = self._engine.seen(options["name"])
            server.update(
                deployment=carried[transaction.SERVING].deployment if transaction.SERVING in carried else None,
                address=spec.address,
                grpc_port=spec.grpc_port,
                rest_port=spec.rest_port,
                image=spec.image,
                gap_s=work.gap_s,
                judged=work.judged,
                log=f"{options['engine']} logs {options['name']}",
                specification_digest=digest or derived_flags.digest(spec),
                model_config_file=None
                if digest
                else f"{container_files.folder_of(self._folder.directory, spec)}/{MODELS_FILE}",
            )
        warnings = (*decision.warnings, *self._warnings, *self._image.warnings, *work.warnings)
        return replace(decision, warnings=warnings).result(server=server)
