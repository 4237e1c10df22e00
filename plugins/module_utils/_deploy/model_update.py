# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that updates a model while it is served: publish a version, verify it, withdraw it if it fails, move a label, and prune old versions."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders, urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.model_folder import Folder
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.served_model import Configuration, Served
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    manifest,
    object_store,
    published,
    saved_model,
    transfer,
    versions,
    warmup,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Content
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import (
    model_config_list,
    signature,
    stdlib_client,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault, VersionStatus

Lacking = list[list[Any]]  # what the controller still has to send, as [path, offset, bytes]


class Update:
    """One call of the module. options: its options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        versions.check(options)
        shared_folders.accept(options["folder_owner"])
        self._options, self._folder = options, Folder(options["path"], options["rehash"])
        self._server = Served(options["server"]) if options["server"] else None
        self._before: list[VersionStatus] = []
        self._fingerprint: str | None = None
        self._content: Content | None = None
        self._sizes: Mapping[str, int] = {}
        self._faults: tuple[str, ...] = ()

    def run(self, check_mode: bool) -> dict[str, Any]:
        """Return the module's result."""
        if self._options["samples"]:
            stdlib_client.arrays(self._options["samples"], "inputs.", 1)
        with self._folder.locked(
            create=not check_mode and self._options["state"] == "present" and self._options["source"] is not None
        ):
            self._before = self._statuses_before(self._server) if self._server else []
            return self._remove(check_mode) if self._options["state"] == "absent" else self._present(check_mode)

    def _statuses_before(self, server: Served) -> list[VersionStatus]:
        """Return the statuses of the server's versions before anything is changed. Raise FleetError."""
        try:
            return server.statuses()
        except ServerFault as fault:
            raise FleetError(
                fault.what,
                where=fault.where,
                remedy="Nothing was changed. Check that this is the gRPC port of a running server.",
            ) from fault

    def _remove(self, check_mode: bool) -> dict[str, Any]:
        number, numbers = self._options["version"], self._folder.numbers()
        if number in numbers and number in versions.used(self._before):
            raise FleetError(
                f"version {number} is served",
                where=self._folder.path,
                remedy="Publish another version first, or remove this one from the server's list.",
            )
        decision = Decision(
            number in numbers,
            before=_listed(numbers),
            after=_listed(one for one in numbers if one != number),
            actions=(f"remove version {number}",) if number in numbers else (),
            header=self._folder.path,
        )
        if decision.changed and not check_mode:
            self._folder.remove(number)
        return decision.result(
            version=number,
            path=self._folder.of(number),
            published=False,
            pruned=[],
            served=versions.available(self._before),
        )

    def _present(self, check_mode: bool) -> dict[str, Any]:
        options, numbers = self._options, self._folder.numbers()
        named = versions.named_by(options["source"]) if options["source"] is not None else None
        number, there = versions.place(
            numbers,
            self._same(),
            named if options["version"] is None else options["version"],
            [one["version"] for one in self._before],
            self._both,
        )
        if options["source"] is None and not there:
            raise FleetError(
                f"version {number} is missing; present: {', '.join(map(str, numbers)) or 'none'}",
                where="version",
                remedy="Set source.",
            )
        config = (
            Configuration(options["config_file"], self._server.model)
            if options["config_file"] and self._server
            else None
        )
        if config and self._server:
            config.check(self._server, {*numbers, number})
        labelled = config.labels.get(options["label"]) if config and options["label"] else None
        old = self._prunable(numbers, number, versions.used(self._before), config)
        actions = [] if there else [f"publish version {number} from {urls.public(options['source'])}"]
        listed = config is not None and config.lacks(number)
        renewed = (
            self._folder.renewed(number, self._content, self._brought())
            if there and self._content is not None
            else None
        )
        actions += [f"replace the warm-up requests and accuracy figures of version {number}"] if renewed else []
        actions += [f"list version {number}"] if listed else []
        actions += (
            [f"give the label {options['label']} to version {number}"]
            if options["label"] and labelled != number
            else []
        )
        actions += [f"remove version {one}" for one in old]
        after = sorted({*numbers, number} - set(old))
        warnings = config.warnings if config and (listed or options["label"] and labelled != number) else ()
        newer = versions.newer(numbers, number)
        if not self._server:  # A server shows whether it serves the version.
            warnings = (*warnings, *versions.newer_sentences(newer, number, self._folder.path))
        current = self._folder.manifest(number) if renewed else None
        decision = Decision(
            bool(actions),
            before=_listed(numbers, options["label"], labelled, config.specific if config else None, current),
            after=_listed(
                after, options["label"], number, config.listing(options["label"], number) if config else None, renewed
            ),
            actions=tuple(actions),
            warnings=warnings,
            header=self._folder.path,
        )
        if check_mode:
            return decision.result(
                version=number,
                path=self._folder.of(number),
                newer=newer,
                published=not there,
                pruned=old,
                served=versions.available(self._before),
            )
        lacking = self._renew(number, renewed) if renewed else [] if there else self._bring(number)
        if lacking:
            return {"changed": False, "missing": lacking, "version": number}
        pruned = self._serve(number, config)
        decision = Decision(
            not there or renewed is not None or listed or bool(pruned) or labelled != number and bool(options["label"]),
            decision.before,
            _listed(self._folder.numbers(), options["label"], number, config.specific if config else None, renewed),
            tuple(actions),
            (*warnings, *self._faults),
            self._folder.path,
        )
        return decision.result(
            version=number,
            path=self._folder.of(number),
            newer=newer,
            published=not there,
            pruned=pruned,
            served=versions.available(self._server.statuses()) if self._server else [],
        )

    def _same(self) -> set[int]:
        """Return the versions that contain the source's content already, or all versions without a source."""
        options = self._options
        if options["source"] is None:
            return set(self._folder.numbers())
        kind = versions.kind_of(options["source"])
        if options["inventory"] is not None:
            versions.check_content(options["inventory"], options["source"])
            self._content = options["inventory"]
        elif kind in ("path", "file"):
            source = self._local()
            if os.path.isdir(source):
                if options["checksum"]:
                    raise versions.no_checksum_of_a_folder(source)
                self._content = transfer.content_of(source, source, self._folder.digests)
            elif os.path.isfile(source):
                self._fingerprint = transfer.check_digest(source, options["checksum"])
            else:
                raise FleetError("there is no folder or archive at this path", where=source)
        elif kind == "http":
            self._fingerprint = transfer.fingerprint_of_url(options["source"], options["checksum"])
        else:
            self._sizes, self._fingerprint = object_store.listing(options["source"], options["transfer_timeout_s"])
        return self._folder.holding(self._content, self._fingerprint)

    def _both(self, number: int) -> str:
        """Return what a version and the source have in common, for people."""
        source = urls.public(self._options["source"])
        now = source if self._content is None else manifest.shown(source, self._content)
        return f"{manifest.origin(self._folder.manifest(number))} there, {now} now"

    def _local(self) -> str:
        source: str = self._options["source"]
        return source[len("file://") :] if source.lower().startswith("file://") else source

    def _bring(self, number: int) -> Lacking:
        """Copy the version here and publish it. Return what the controller still has to send if it has the source."""
        options, source = self._options, self._options["source"]
        content, kind = self._content, versions.kind_of(source)
        key = versions.digest(content) if content is not None else self._fingerprint or versions.digest({})
        partial = transfer.Partial(self._folder.path, key)
        with transfer.disk_faults(partial):
            if content is not None:
                lacking = self._receive(partial, content)
                if lacking:
                    return lacking
            else:
                partial.begin(sum(self._sizes.values()))
                if kind == "store":
                    object_store.fetch(source, partial, self._sizes, options["transfer_timeout_s"])
                else:
                    self._unpack(kind, source, partial, key)
                try:
                    content = transfer.content_of(partial.path, urls.public(source), self._folder.digests)
                except FleetError:
                    partial.drop()
                    raise
            partial.verify(content, urls.public(source))
            self._faults = self._look(partial, partial.path)
            fetched = {"fetched_from": urls.public(source), "fingerprint": self._fingerprint}
            self._folder.publish(partial, number, content, fetched, self._brought(partial.path))
        return []

    def _renew(self, number: int, record: Mapping[str, Any]) -> Lacking:
        """Add the files of a new manifest to an existing version. Return what the controller still has to send if it has the source."""
        content = {name: record["files"][name] for name in manifest.RENEWED if name in record["files"]}
        partial = transfer.Partial(self._folder.path, versions.digest(content))
        with transfer.disk_faults(partial):
            lacking = self._receive(partial, content)
            if not lacking:
                partial.verify(content, urls.public(self._options["source"]))
                self._faults = self._look(partial, self._folder.of(number))
                published.renew(partial.path, self._folder.of(number), record)
                partial.drop()
        return lacking

    def _receive(self, partial: transfer.Partial, content: Content) -> Lacking:
        """Copy a content here from a folder of this host or from the controller's next piece. Return what the controller still has to send."""
        partial.begin(sum(count for _name, _offset, count in versions.missing(content, partial.sizes(content))))
        if self._options["inventory"] is None:
            transfer.copy(self._local(), partial, content)
            return []
        if self._options["piece"]:
            transfer.take_piece(partial, content, self._options["piece"])
        return [list(one) for one in versions.missing(content, partial.sizes(content))]

    def _look(self, partial: transfer.Partial, model: str) -> tuple[str, ...]:
        """Return sentences about requests to the version that will fail. Raise FleetError if no server can load or use it.

        model: the folder of its graph. For new warm-up requests of a version, that is the version.
        """
        if not os.path.isfile(os.path.join(model, "saved_model.pb")):
            return ()
        source = urls.public(self._options["source"])
        try:
            described = saved_model.read(model, self._options["tags"])
            signatures, requests = described["signatures"], saved_model.warmup_requests(partial.path)
            refused = signature.refusal(signatures, self._options["signature"])
            if refused:
                raise FleetError(refused, where=source)
            if requests is not None:
                warmup.refuse(warmup.look(requests, signatures, described["optional_inputs"]), source)
        except FleetError as fault:
            partial.drop()
            where = (fault.where or source).replace(partial.path, source)
            raise FleetError(fault.what, where=where, remedy=fault.remedy) from fault
        return tuple(signature.faults(signatures))

    def _brought(self, path: str | None = None) -> Mapping[str, Any] | None:
        """Return the source's manifest, which records how a conversion was made and judged, or None."""
        if self._options["inventory"] is not None:
            sent: Mapping[str, Any] | None = self._options["manifest"]
            return sent
        local = self._local()
        return published.manifest_of(local if os.path.isdir(local) else path or local)

    def _unpack(self, kind: str, source: str, partial: transfer.Partial, key: str) -> None:
        if kind != "http":
            transfer.unpack(self._local(), partial)
            return
        fetched = transfer.Partial(self._folder.path, f"archive-{key}")
        with transfer.disk_faults(fetched):
            fetched.begin(0)
            archive = transfer.download(source, fetched, self._options["checksum"])
            partial.drop()
            partial.begin(os.path.getsize(archive))
            transfer.unpack(archive, partial)
        fetched.drop()

    def _serve(self, number: int, config: Configuration | None) -> list[int]:
        """Verify the version on the server, move the label, and prune. Return the removed versions. Raise FleetError after a bad version was withdrawn."""
        server, options = self._server, self._options
        if not server:
            return []
        listed = config if config is not None and config.lacks(number) else None
        if listed:
            listed.apply(listed.with_version(number), server)
        fault = server.wait(number, options["ready_timeout_s"], self._before)
        if fault is None and options["samples"]:
            fault = server.judge(
                number, options["samples"], options["signature"], options["sample_rows"], options["tolerance"]
            )
        if fault is not None:
            self._withdraw(server, number, listed, fault)
        self._folder.mark_verified(number)
        if config is not None and options["label"] and config.labels.get(options["label"]) != number:
            config.apply(config.with_label(options["label"], number), server)
        old = (
            self._prunable(self._folder.numbers(), number, versions.used(server.settled_statuses()), config)
            if options["keep"]
            else []
        )
        for one in old:
            self._folder.remove(one)
        return old

    def _prunable(
        self, numbers: Collection[int], number: int, used: Collection[int], config: Configuration | None
    ) -> list[int]:
        if not self._options["keep"]:
            return []
        return versions.pruned(
            {*numbers, number}, self._options["keep"], {number, *used, *(config.labels.values() if config else ())}
        )

    def _withdraw(self, server: Served, number: int, config: Configuration | None, fault: str) -> NoReturn:
        fault = " ".join(fault.split())
        if config is not None:
            with contextlib.suppress(ServerFault):
                config.apply(
                    model_config_list.with_versions(
                        config.message, config.model, set(config.specific or ()) - {number}
                    ),
                    server,
                    is_undone=False,  # A server that the version crashed reads the file when it starts.
                )
        if self._options["source"] is None or not self._folder.is_unverified(number):
            stays = (
                "It was already there, so it stays"
                if self._options["source"] is None
                else "It was served correctly before, so it stays"
            )
            raise FleetError(
                f"version {number} is not served correctly: {fault}",
                where=server.model,
                remedy=f"{stays}. Check the server, the samples and the host.",
            )
        self._folder.remove(number)
        left = []
        with contextlib.suppress(ServerFault):
            server.wait_until_gone(number)
            left = versions.available(server.settled_statuses())
        serve = {0: "no version serves", 1: "version {} serves"}.get(len(left), "versions {} serve")
        raise FleetError(
            f"version {number} failed: {fault}",
            where=server.model,
            remedy=f"Version {number} was withdrawn, and {serve.format(', '.join(map(str, left)))} now. Fix the model and publish it again.",
        )


def _listed(
    numbers: Iterable[int],
    label: str | None = None,
    labelled: int | None = None,
    listed: Iterable[int] | None = None,
    record: Mapping[str, Any] | None = None,
) -> str:
    """Return the state for a diff. listed: the versions in the configuration, None if it lists none. record: a manifest that changes."""
    more = {"labels": {label: labelled} if label else None, "listed": listed and sorted(listed), "manifest": record}
    given = {name: one for name, one in more.items() if one is not None}
    return json.dumps({"versions": sorted(numbers), **given}, indent=1) + "\n"
