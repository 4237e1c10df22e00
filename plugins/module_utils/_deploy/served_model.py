# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the server that serves a model's folder, and for the file that lists its models."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files, versions
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import (
    agreement,
    grpc_api,
    model_config_list,
    stdlib_client,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault, VersionStatus
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto.schema import Message
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings

_POLL_S, _UNLOADING_S, _SILENCE_S, _STALE_S = 0.1, 10.0, 10.0, 10.0


class Served:
    """The server that serves the folder. options: {address, port, model, secure, deadline_s}."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.model = options["model"]
        self._server = stdlib_client.Server(
            options["address"], options["port"], options["deadline_s"], options["secure"]
        )

    def statuses(self, model: str | None = None) -> list[VersionStatus]:
        """Return the server's statuses of the versions of its model or another one; [] if it does not know it. Raise ServerFault."""
        try:
            return self._server.status(model or self.model)
        except ServerFault as fault:
            if fault.code == "NOT_FOUND":
                return []
            raise

    def wait(self, number: int, timeout_s: float, before: Sequence[VersionStatus]) -> str | None:
        """Return why a version does not become AVAILABLE, or None.

        before: the statuses before it was published. A version that had already ended then fails only after a while.
        """
        began, silent = time.monotonic(), None
        end = began + timeout_s
        while True:
            try:
                statuses, silent = self.statuses(), None
            except ServerFault as fault:
                silent = silent or time.monotonic()
                if time.monotonic() - silent > _SILENCE_S:
                    return f"the server no longer answers: {fault.message}"
                time.sleep(_POLL_S)
                continue
            decided, why = versions.verdict(statuses, number, before if time.monotonic() - began < _STALE_S else ())
            if decided:
                return why
            if time.monotonic() > end:
                state = [one for one in statuses if one["version"] == number]
                why = (
                    state[0]["error_message"] or "still loading"
                    if state
                    else (
                        "the server does not load it: its version policy may exclude it, or the server serves another folder"
                        if statuses
                        else f"the server does not know the model {self.model}, or has never found a version of it"
                    )
                )
                return f"it was not AVAILABLE after {timeout_s:g} s: {why}"
            time.sleep(_POLL_S)

    def settled_statuses(self) -> list[VersionStatus]:
        """Return the server's statuses when nothing is being unloaded. A replaced version begins to end a moment after the new one is available."""
        end = time.monotonic() + _UNLOADING_S
        time.sleep(3 * _POLL_S)
        while any(one["state"] == grpc_api.UNLOADING for one in self.statuses()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return self.statuses()

    def wait_until_gone(self, number: int) -> None:
        """Return when the server has unloaded a version, or after a timeout."""
        end = time.monotonic() + _UNLOADING_S
        while number in versions.used(self.statuses()) and time.monotonic() < end:
            time.sleep(_POLL_S)

    def judge(self, number: int, samples: str, signature: str, rows: int, tolerance: float) -> str | None:
        """Return why the answers to samples are wrong, or None."""
        inputs = stdlib_client.arrays(samples, "inputs.", rows)
        try:
            answered = self._server.predict(self.model, inputs, signature, number)
        except ServerFault as fault:
            return f"it does not answer the samples: {fault.code}: {fault.message}"
        if not has_outputs(samples):
            return None
        return (
            "; ".join(agreement.disagreements(stdlib_client.arrays(samples, "outputs.", rows), answered, tolerance))
            or None
        )

    def take(self, request: bytes) -> None:
        """Make the server serve what a configuration lists, at once. request: the bytes of a ReloadConfigRequest."""
        try:
            self._server.call(grpc_api.RELOAD_CONFIG, request)
        except ServerFault as fault:
            ending = endings.find(fault.message)
            fault.remedy = ending.remedy if ending else None
            raise


def has_outputs(samples: str) -> bool:
    """Return whether a file of samples contains the expected outputs."""
    with contextlib.suppress(FleetError):
        return bool(stdlib_client.arrays(samples, "outputs.", 1))
    return False


class Configuration:
    """The file that lists the server's models."""

    def __init__(self, path: str, model: str) -> None:
        self.path, self.model = path, model
        content = model_files.read_file(path)
        text = reader.decoded(content, path)
        self._hold(model_config_list.parse(text, path))
        lost = model_config_list.lost(text)
        self.warnings = (
            (f"{path}: rewriting the file drops {lost}; the original is kept as {self._backup(content)}",)
            if lost
            else ()
        )

    def _hold(self, message: Message) -> None:
        self.message = message
        self.labels, self.specific = (
            model_config_list.labels(message, self.model),
            model_config_list.specific(message, self.model),
        )

    def _backup(self, content: bytes) -> str:
        return f"{self.path}.{hashlib.sha256(content).hexdigest()[:8]}.bak"

    def check(self, server: Served, there: Collection[int]) -> None:
        """Raise FleetError for a list that would harm the current server.

        A reload waits until a model that the server does not have yet is loaded, and delays the reloads of all other
        clients. After an entry without a platform, the server refuses all later ones. A model without an existing
        listed version has none any more. there: the versions in the model's folder, and the one to come.
        """
        faults = itertools.chain(
            (
                (
                    f"it lists the model {name}, which the server does not know",
                    "Set the file that the server was started with, or start the server with this one.",
                )
                for name in model_config_list.names(self.message)
                if not server.statuses(name)
            ),
            (
                (f"it lists the model {name} without model_platform", 'Add model_platform: "tensorflow" to it.')
                for name in model_config_list.incomplete(self.message)
            ),
            (
                (
                    f"it lists version {number} of {self.model}, which is not in the model's folder",
                    "Publish that version first, or remove it from the list.",
                )
                for number in sorted(set(self.specific or ()) - set(there))
            ),
        )
        for what, remedy in faults:
            raise FleetError(what, where=self.path, remedy=remedy)

    def lacks(self, number: int) -> bool:
        """Return whether the file lists versions, but not this one."""
        return self.specific is not None and number not in self.specific

    def with_version(self, number: int) -> Message:
        """Return the message that also lists the version if it lists versions."""
        if self.specific is None:
            return self.message
        return model_config_list.with_versions(self.message, self.model, {*self.specific, number})

    def with_label(self, label: str, number: int) -> Message:
        """Return the message in which the label names the version. A version without a label is no longer listed."""
        before = self.labels.get(label)
        changed = model_config_list.with_label(self.with_version(number), self.model, label, number)
        if (
            self.specific is not None
            and before not in (None, number)
            and before not in model_config_list.labels(changed, self.model).values()
        ):
            changed = model_config_list.with_versions(changed, self.model, {*self.specific, number} - {before})
        return changed

    def listing(self, label: str | None, number: int) -> list[int] | None:
        """Return the listed versions once the version is listed and has its label, or None if the file lists none."""
        message = self.with_label(label, number) if label else self.with_version(number)
        return model_config_list.specific(message, self.model)

    def apply(self, message: Message, server: Served, is_undone: bool = True) -> None:
        """Write the file and make the server load it. If the server refuses it and is_undone, restore the file."""
        request, before = model_config_list.reload_request(message, self.path), model_files.read_file(self.path)
        mode = os.stat(self.path).st_mode & 0o777
        if model_config_list.lost(reader.decoded(before, self.path)):
            atomic_files.write_file(self._backup(before), before, mode)
        atomic_files.write_file(self.path, model_config_list.text(message).encode(), mode)
        try:
            server.take(request)
        except ServerFault:
            if is_undone:
                atomic_files.write_file(self.path, before, mode)
            raise
        self._hold(message)
