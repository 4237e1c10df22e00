# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that update a model while it is served: publish a version, see it served, withdraw it where it fails, move a label, prune what is old."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    digests,
    manifest,
    model_files,
    object_store,
    published,
    saved_model,
    transfer,
    versions,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import (
    agreement,
    grpc_api,
    model_config_list,
    signature,
    stdlib_client,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader

_OF_THIS_HOST = ("fetched_from", "fingerprint", "proven")  # What publish() adds to the manifest that came.
_POLL_S, _UNLOADING_S, _LOCK_S, _SILENCE_S, _STALE_S = 0.1, 10.0, 60.0, 10.0, 10.0


class Folder:
    """A model's folder on this host: its versions, by number."""

    def __init__(self, path, rehash=False):
        self.path, self.digests = path, digests.Digests(rehash)

    @contextlib.contextmanager
    def locked(self, create):
        """Hold the folder's lock, so that two runs do not interleave. create: make the folder; without it a folder that is not there needs no lock."""
        stream = self._lock(create)
        if stream is None:
            yield
            return
        with stream:
            atomic_files.lock(stream, _LOCK_S, "model", self.path)
            atomic_files.sweep(self.path)
            yield

    def _lock(self, create):
        """The open file of the lock, which programs that are started here hold too; None without a folder."""
        try:
            if create:
                os.makedirs(self.path, mode=0o755, exist_ok=True)
            if not os.path.isdir(self.path):
                return None
            stream = open(os.path.join(self.path, ".tfserving-lock"), "w", encoding="utf-8")
        except OSError as fault:
            remedy = "Run as the user whose folder it is." if isinstance(fault, PermissionError) else None
            raise FleetError(
                f"cannot be written: {fault.strerror}", where=fault.filename or self.path, remedy=remedy
            ) from fault
        os.set_inheritable(stream.fileno(), True)
        return stream

    def numbers(self):
        """The versions, ascending; a number that begins with zeros counts as the server counts it."""
        return sorted(self._names())

    def of(self, number):
        """The path of a version."""
        return os.path.join(self.path, self._names().get(number, str(number)))

    def _names(self):
        return published.numbered(self.path) if os.path.isdir(self.path) else {}

    def manifest(self, number):
        """A version's manifest, or None."""
        return published.manifest_of(self.of(number))

    def holding(self, content=None, fingerprint=None):
        """The versions that hold a content, or came from a source with this fingerprint and are what they were."""
        found = set()
        for number in self.numbers():
            path, told = self.of(number), self.manifest(number) or {}
            files = told.get("files", content)
            same = (
                manifest.content_of(files) == manifest.content_of(content)
                if content is not None
                else told.get("fingerprint") == fingerprint
            )
            if same and published.is_sound(path, files, self.digests):
                found.add(number)
        return found

    def publish(self, partial, number, source, fingerprint, content, brought):
        """Give what came its number, whole, with a manifest that says that it is not proven yet. brought: the source's own, or None."""
        told = dict(brought or {"schema": manifest.SCHEMA, "key": manifest.key(versions.digest(content), {}, None)})
        told.update(files=content, fingerprint=fingerprint, fetched_from=versions.public(source), proven=False)
        published.carry_batching(partial.path, self.path)
        atomic_files.write_file(os.path.join(partial.path, model_files.MANIFEST), manifest.text(told).encode())
        try:
            atomic_files.publish_directory(partial.path, self.of(number))
        except (FileExistsError, NotADirectoryError) as fault:
            raise FleetError(
                "there is something of this name already that is no version", where=self.of(number), remedy="Remove it."
            ) from fault

    def renewed(self, number, content, brought):
        """A version's manifest once it has the warm-up requests, answers and judgement that come with the same model; None where it has them.

        Without a manifest that came along (brought), only a version that publish() made follows its source.
        """
        held = self.manifest(number)
        if held is None or brought is None and "fetched_from" not in held:
            return None
        files = {name: one for name, one in held["files"].items() if name not in manifest.RENEWED}
        files.update({name: content[name] for name in manifest.RENEWED if name in content})
        news = {name: one for name, one in (brought or {}).items() if name not in _OF_THIS_HOST}
        told = {**held, **news, "files": files}
        return None if told == held else told

    def prove(self, number):
        """Note that a version was seen to serve well."""
        told = self.manifest(number)
        if told is not None and told.get("proven") is False:
            atomic_files.write_file(
                os.path.join(self.of(number), model_files.MANIFEST), manifest.text(dict(told, proven=True)).encode()
            )

    def unproven(self, number):
        """Whether a version was published by a run that did not see it serve."""
        return (self.manifest(number) or {}).get("proven") is False

    def remove(self, number):
        """Take a version away, whole: renamed first to what no server looks at."""
        gone = atomic_files.staging_directory(self.path)
        os.rename(self.of(number), os.path.join(gone, str(number)))
        shutil.rmtree(gone, ignore_errors=True)


class Served:
    """The server that serves the folder. options: {address, port, model, secure, deadline_s}."""

    def __init__(self, options):
        self.model = options["model"]
        self._server = stdlib_client.Server(
            options["address"], options["port"], options["deadline_s"], options["secure"]
        )

    def statuses(self, model=None):
        """What the server says about the versions of its model or of another; [] where it does not know it. Raises ServerFault."""
        try:
            return self._server.status(model or self.model)
        except ServerFault as fault:
            if fault.code == "NOT_FOUND":
                return []
            raise

    def wait(self, number, timeout_s, before):
        """Why a version does not become AVAILABLE, or None. before: what the server said before it was published; an earlier end counts only after a while."""
        began, silent = time.monotonic(), None
        end = began + timeout_s
        while True:
            try:
                statuses, silent = self.statuses(), None
            except ServerFault as fault:
                silent = silent or time.monotonic()
                if time.monotonic() - silent > _SILENCE_S:
                    return f"the server does not answer any more: {fault.message}"
                time.sleep(_POLL_S)
                continue
            decided, fault = versions.verdict(statuses, number, before if time.monotonic() - began < _STALE_S else ())
            if decided:
                return fault
            if time.monotonic() > end:
                state = [one for one in statuses if one["version"] == number]
                why = (
                    state[0]["error_message"] or "still loading"
                    if state
                    else (
                        "the server does not look at it; its version policy may not want it, or it serves another folder"
                        if statuses
                        else f"the server knows no model {self.model}, or it has never seen a version of it"
                    )
                )
                return f"it was not AVAILABLE after {timeout_s:g} s: {why}"
            time.sleep(_POLL_S)

    def settle(self):
        """What the server says once nothing is being unloaded; what a new version replaces begins to end a moment after it is there."""
        end = time.monotonic() + _UNLOADING_S
        time.sleep(3 * _POLL_S)
        while any(one["state"] == grpc_api.UNLOADING for one in self.statuses()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return self.statuses()

    def wait_until_gone(self, number):
        """Return when the server holds a version no more, or does not let go of it."""
        end = time.monotonic() + _UNLOADING_S
        while number in versions.used(self.statuses()) and time.monotonic() < end:
            time.sleep(_POLL_S)

    def judge(self, number, samples, signature, rows, tolerance):
        """Why the answers to samples are not what they should be, or None."""
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

    def take(self, request):
        """Let the server serve what a configuration lists, at once. request: the bytes of a ReloadConfigRequest."""
        self._server.call(grpc_api.RELOAD_CONFIG, request)


def has_outputs(samples):
    """Whether a file of samples holds the outputs that are expected."""
    with contextlib.suppress(FleetError):
        return bool(stdlib_client.arrays(samples, "outputs.", 1))
    return False


class Configuration:
    """The file that lists the server's models."""

    def __init__(self, path, model):
        self.path, self.model = path, model
        content = model_files.read_file(path)
        text = reader.decoded(content, path)
        self._hold(model_config_list.parse(text, path))
        lost = model_config_list.lost(text)
        self.warnings = (
            (f"{path}: writing it anew drops {lost}; the file as it was is kept as {self._backup(content)}",)
            if lost
            else ()
        )

    def _hold(self, message):
        self.message = message
        self.labels, self.specific = (
            model_config_list.labels(message, self.model),
            model_config_list.specific(message, self.model),
        )

    def _backup(self, content):
        return f"{self.path}.{hashlib.sha256(content).hexdigest()[:8]}.bak"

    def check(self, server):
        """Raise FleetError for a model that the server does not have yet: a reload waits until it can be loaded, and everybody else's behind it."""
        for name in model_config_list.names(self.message):
            if not server.statuses(name):
                raise FleetError(
                    f"it lists the model {name}, which the server does not know",
                    where=self.path,
                    remedy="Name the file that the server was started with, or start the server with it.",
                )

    def lacks(self, number):
        """Whether the file lists versions, and not this one."""
        return self.specific is not None and number not in self.specific

    def with_version(self, number):
        """The message that lists the version too, where it lists versions."""
        if self.specific is None:
            return self.message
        return model_config_list.with_versions(self.message, self.model, {*self.specific, number})

    def with_label(self, label, number):
        """The message where the label names the version; a version that has lost its last label is listed no more."""
        before = self.labels.get(label)
        changed = model_config_list.with_label(self.with_version(number), self.model, label, number)
        if (
            self.specific is not None
            and before not in (None, number)
            and before not in model_config_list.labels(changed, self.model).values()
        ):
            changed = model_config_list.with_versions(changed, self.model, {*self.specific, number} - {before})
        return changed

    def listing(self, label, number):
        """The versions that are listed once the version is, and has its label if any; None where the file lists none."""
        message = self.with_label(label, number) if label else self.with_version(number)
        return model_config_list.specific(message, self.model)

    def apply(self, message, server):
        """Write the file and let the server take it; where the server refuses, the file is what it was."""
        request, before = model_config_list.reload_request(message, self.path), model_files.read_file(self.path)
        mode = os.stat(self.path).st_mode & 0o777
        if model_config_list.lost(reader.decoded(before, self.path)):
            atomic_files.write_file(self._backup(before), before, mode)
        atomic_files.write_file(self.path, model_config_list.text(message).encode(), mode)
        try:
            server.take(request)
        except ServerFault:
            atomic_files.write_file(self.path, before, mode)
            raise
        self._hold(message)


class Update:
    """One call of the module. options: its options."""

    def __init__(self, options):
        versions.check(options)
        self._options, self._folder = options, Folder(options["path"], options["rehash"])
        self._server = Served(options["server"]) if options["server"] else None
        self._before, self._fingerprint, self._content, self._sizes = [], None, None, None
        self._faults = ()

    def run(self, check_mode):
        """The module's result."""
        if self._options["samples"]:
            stdlib_client.arrays(self._options["samples"], "inputs.", 1)
        with self._folder.locked(
            create=not check_mode and self._options["state"] == "present" and self._options["source"] is not None
        ):
            self._before = self._asked() if self._server else []
            return self._remove(check_mode) if self._options["state"] == "absent" else self._present(check_mode)

    def _asked(self):
        """What the server says before anything is changed. Raises FleetError."""
        try:
            return self._server.statuses()
        except ServerFault as fault:
            raise FleetError(
                fault.what,
                where=fault.where,
                remedy="Nothing was changed. Look whether this is the gRPC port of a server that runs.",
            ) from fault

    def _remove(self, check_mode):
        number, numbers = self._options["version"], self._folder.numbers()
        if number in numbers and number in versions.used(self._before):
            raise FleetError(
                f"version {number} is served",
                where=self._folder.path,
                remedy="Publish another one first, or take it off the server's list.",
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

    def _present(self, check_mode):
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
                f"version {number} is not there; there: {', '.join(map(str, numbers)) or 'none'}",
                where="version",
                remedy="Name its source.",
            )
        config = (
            Configuration(options["config_file"], self._server.model)
            if options["config_file"] and self._server
            else None
        )
        if config:
            config.check(self._server)
        labelled = config.labels.get(options["label"]) if config and options["label"] else None
        old = self._prunable(numbers, number, versions.used(self._before), config)
        actions = [] if there else [f"publish version {number} from {versions.public(options['source'])}"]
        listed = config is not None and config.lacks(number)
        renewed = (
            self._folder.renewed(number, self._content, self._brought())
            if there and self._content is not None
            else None
        )
        actions += [f"renew the warm-up requests and the judgement of version {number}"] if renewed else []
        actions += [f"list version {number}"] if listed else []
        actions += (
            [f"give the label {options['label']} to version {number}"]
            if options["label"] and labelled != number
            else []
        )
        actions += [f"remove version {one}" for one in old]
        after = sorted({*numbers, number} - set(old))
        warnings = config.warnings if config and (listed or options["label"] and labelled != number) else ()
        held = self._folder.manifest(number) if renewed else None
        decision = Decision(
            bool(actions),
            before=_listed(numbers, options["label"], labelled, config and config.specific, held),
            after=_listed(
                after, options["label"], number, config and config.listing(options["label"], number), renewed
            ),
            actions=tuple(actions),
            warnings=warnings,
            header=self._folder.path,
        )
        if check_mode:
            return decision.result(
                version=number,
                path=self._folder.of(number),
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
            _listed(self._folder.numbers(), options["label"], number, config and config.specific, renewed),
            tuple(actions),
            (*warnings, *self._faults),
            self._folder.path,
        )
        return decision.result(
            version=number,
            path=self._folder.of(number),
            published=not there,
            pruned=pruned,
            served=versions.available(self._server.statuses()) if self._server else [],
        )

    def _same(self):
        """The versions that hold what the source holds already; all of them where no source is named."""
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
                raise FleetError("there is neither a folder nor an archive", where=source)
        elif kind == "http":
            self._fingerprint = transfer.fingerprint_of_url(options["source"], options["checksum"])
        else:
            self._sizes, self._fingerprint = object_store.listing(options["source"], options["transfer_timeout_s"])
        return self._folder.holding(self._content, self._fingerprint)

    def _both(self, number):
        """What a version and the source hold, for people."""
        source = versions.public(self._options["source"])
        now = source if self._content is None else manifest.shown(source, self._content)
        return f"{manifest.origin(self._folder.manifest(number))} there, {now} now"

    def _local(self):
        source = self._options["source"]
        return source[len("file://") :] if source.lower().startswith("file://") else source

    def _bring(self, number):
        """Bring the version here and publish it; what the controller has to send still, where it comes from there."""
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
                partial.begin(sum((self._sizes or {}).values()))
                if kind == "store":
                    object_store.fetch(source, partial, self._sizes, options["transfer_timeout_s"])
                else:
                    self._unpack(kind, source, partial, key)
                try:
                    content = transfer.content_of(partial.path, versions.public(source), self._folder.digests)
                except FleetError:
                    partial.drop()
                    raise
            partial.verify(content, versions.public(source))
            self._faults = self._look(partial)
            self._folder.publish(partial, number, source, self._fingerprint, content, self._brought(partial))
        return []

    def _renew(self, number, told):
        """Give a version that is there what its new manifest names; what the controller has to send still, where it comes from there."""
        content = {name: told["files"][name] for name in manifest.RENEWED if name in told["files"]}
        partial = transfer.Partial(self._folder.path, versions.digest(content))
        with transfer.disk_faults(partial):
            lacking = self._receive(partial, content)
            if not lacking:
                partial.verify(content, versions.public(self._options["source"]))
                published.renew(partial.path, self._folder.of(number), told)
                partial.drop()
        return lacking

    def _receive(self, partial, content):
        """Bring a content here from a folder of this host or the controller's next piece; what the controller has to send still."""
        partial.begin(sum(count for _name, _offset, count in versions.missing(content, partial.sizes(content))))
        if self._options["inventory"] is None:
            transfer.copy(self._local(), partial, content)
            return []
        if self._options["piece"]:
            transfer.take_piece(partial, content, self._options["piece"])
        return [list(one) for one in versions.missing(content, partial.sizes(content))]

    def _look(self, partial):
        """Sentences about what requests to the version will fail of. Raises FleetError for what no server can load or answer from."""
        if not os.path.isfile(os.path.join(partial.path, "saved_model.pb")):
            return ()
        source = versions.public(self._options["source"])
        try:
            signatures = saved_model.read(partial.path, self._options["tags"])["signatures"]
            refused = signature.refusal(signatures, self._options["signature"])
            if refused:
                raise FleetError(refused, where=source)
        except FleetError as fault:
            partial.drop()
            where = (fault.where or source).replace(partial.path, source)
            raise FleetError(fault.what, where=where, remedy=fault.remedy) from fault
        return tuple(signature.faults(signatures))

    def _brought(self, partial=None):
        """The manifest that the source has, or None: how a conversion was made and judged travels with it."""
        if self._options["inventory"] is not None:
            return self._options["manifest"]
        local = self._local()
        return published.manifest_of(local if os.path.isdir(local) else partial.path)

    def _unpack(self, kind, source, partial, key):
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

    def _serve(self, number, config):
        """See the version served, move the label, prune; returns the versions that were removed. Raises FleetError, after a bad version was withdrawn."""
        if not self._server:
            return []
        options = self._options
        listed = config is not None and config.lacks(number)
        if listed:
            config.apply(config.with_version(number), self._server)
        fault = self._server.wait(number, options["ready_timeout_s"], self._before)
        if fault is None and options["samples"]:
            fault = self._server.judge(
                number, options["samples"], options["signature"], options["sample_rows"], options["tolerance"]
            )
        if fault is not None:
            self._withdraw(number, config if listed else None, fault)
        self._folder.prove(number)
        if config is not None and options["label"] and config.labels.get(options["label"]) != number:
            config.apply(config.with_label(options["label"], number), self._server)
        old = (
            self._prunable(self._folder.numbers(), number, versions.used(self._server.settle()), config)
            if options["keep"]
            else []
        )
        for one in old:
            self._folder.remove(one)
        return old

    def _prunable(self, numbers, number, used, config):
        if not self._options["keep"]:
            return []
        return versions.pruned(
            {*numbers, number}, self._options["keep"], {number, *used, *(config.labels.values() if config else ())}
        )

    def _withdraw(self, number, config, fault):
        fault = " ".join(fault.split())
        if config is not None:
            with contextlib.suppress(ServerFault):
                config.apply(
                    model_config_list.with_versions(config.message, config.model, set(config.specific) - {number}),
                    self._server,
                )
        if self._options["source"] is None or not self._folder.unproven(number):
            stays = (
                "It was there already, so it stays"
                if self._options["source"] is None
                else "It served well before, so it stays"
            )
            raise FleetError(
                f"version {number} is not served as it should be: {fault}",
                where=self._server.model,
                remedy=f"{stays}: look at the server, the samples and the host.",
            )
        self._folder.remove(number)
        left = []
        with contextlib.suppress(ServerFault):
            self._server.wait_until_gone(number)
            left = versions.available(self._server.settle())
        serves = f"version {', '.join(map(str, left))} serves" if left else "no version serves"
        raise FleetError(
            f"version {number} was withdrawn, {serves}: {fault}",
            where=self._server.model,
            remedy="Repair the model and publish it again.",
        )


def _listed(numbers, label=None, labelled=None, listed=None, told=None):
    """The state as a diff shows it. listed: the versions that the configuration lists, None where it lists none. told: a manifest that changes."""
    more = {"labels": {label: labelled} if label else None, "listed": listed and sorted(listed), "manifest": told}
    given = {name: one for name, one in more.items() if one is not None}
    return json.dumps({"versions": sorted(numbers), **given}, indent=1) + "\n"
