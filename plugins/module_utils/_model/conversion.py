# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one variant of one model: read the source, decide, convert and publish it, unless it is refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import account, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, absolute_path, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    analysis,
    conversion_call,
    digests,
    manifest,
    meta_graph,
    model_files,
    published,
    saved_model,
    statefulness,
    variant_refusals,
    versions,
    warmup,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Gates, Judged
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Manifest, Source
from ansible_collections.tfserving.fleet.plugins.module_utils._model.meta_graph import SavedModel
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import (
    Signature,
    chosen,
    faults,
    lost,
    refusal,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import NONE, SAVED_MODEL, VARIANTS

_JUDGING = (
    "metric",
    "metric_output",
    "metric_goal",
    "allowed_loss",
    "maximum_difference",
    "accept_unjudged",
    "through_server",
)
_MAKING = ("select_tf_ops", "batch_sizes")
_TENSORRT = ("precision", "workspace_mib", "compute_capability", "server_release")
_REQUESTED = ("signature", "form", "tags", "progress", "metric_function", "memory_mib") + _JUDGING + _MAKING + _TENSORRT


class Conversion:
    """One variant of one model. options: those of model_conversion. serve: a temporary server, as _embedded.temporary_server.version is one."""

    source: str
    destination: str
    name: str
    model: SavedModel
    contract: Signature | None  # Of the converted signature.
    samples: str | None
    dropped: list[str]  # The source's signatures that the variant does not have.
    warnings: tuple[str, ...]  # Of the account of the program, and of the versions.
    newer: list[int]  # Versions in the destination with a higher number.

    def __init__(self, options: Mapping[str, Any], check_mode: bool, serve: conversion_call.Serve) -> None:
        self.options, self.check_mode, self._serve = options, check_mode, serve
        self.source, self.destination = os.path.abspath(options["source"]), os.path.abspath(options["destination"])
        self.name, self.converted = os.path.basename(os.path.dirname(self.destination)), options["form"] != NONE
        self.needs_program = self.converted or bool(options["batch_sizes"])
        self.dropped, self.warnings, self.newer = [], (), []
        self.digests = digests.Digests(options["rehash"])

    def run(self) -> dict[str, Any]:
        """Return the module's result."""
        self._check_options()
        shared_folders.accept(self.options["folder_owner"])
        missing = [
            path
            for path in (self.source, self.options["samples"], self.options["metric_function"])
            if path and not os.path.exists(path)
        ]
        if self.check_mode and missing:
            return self._not_yet(missing[0])
        self.model = saved_model.read(self.source, self.options["tags"])
        if VARIANTS[self.options["form"]].lite:
            self.dropped = sorted(set(self.model["signatures"]) - {self.options["signature"]})
        self.contract = chosen(self.model["signatures"], self.options["signature"]) if self.needs_program else None
        self.samples = self.options["samples"] or self._own_samples()
        refused = self._refusal(None)
        if refused:
            return self._refused(refused, None)
        if self.needs_program and not (self.options["trusted"] or self.options["container_image"]):
            statefulness.refuse_untrusted(
                self.model["untrusted_ops"], self.source, "or convert it in a container (container_image)"
            )
        files = published.inventory(self.source, self.digests)
        source: Source = {
            "path": self.source,
            "digest": manifest.digest(files),
            "tensorflow_version": self.model["tensorflow_version"],
        }
        if self.needs_program:
            self._choose_account()
        release = conversion_call.call(self.options, {"action": "release"}) if self.needs_program else None
        refused = self._refusal((release or {}).get("tensorflow"))
        if refused:
            return self._refused(refused, None)
        key = manifest.key(source["digest"], self._deciding(), release)
        content_key = manifest.content_key(source["digest"], self._deciding())
        held = published.held(self.destination, content_key, self.digests)
        version, there = versions.place(
            held,
            manifest.holding(held, content_key) | self._same_files(held, files),
            self._number(),
            both=lambda number: f"{manifest.origin(held[number])}; the source is {manifest.shown(self.source, files)}",
        )
        self.newer = versions.newer(held, version)
        self.warnings += versions.newer_sentences(self.newer, version, self.destination)
        found = held.get(version)
        if there and found and found["key"] == manifest.key(source["digest"], self._deciding(), found["converter"]):
            return self._found(version, found, release)
        known = published.refusal(self.destination, key)
        if known:
            return self._refused(known["reason"], known["gates"])
        newest = held.get(version if there else max(held, default=0))
        if self.check_mode:
            unknown = acceptance.ending(None, "not known before the conversion")
            judged = unknown if self.converted else acceptance.ending(True, self._reason(None))
            content = manifest.build(source, self._deciding(), release, judged, {})
            return self._result(self._decision(newest, content, version), judged, version)
        try:
            return self._make(source, release, version, newest, key)
        except OSError as fault:
            raise FleetError(
                f"cannot be written: {fault.strerror or fault}", where=self.destination, remedy="Nothing was published."
            ) from fault

    def _choose_account(self) -> None:
        """Set the option convert_user to the account that the program runs as, or None for this one."""
        options = self.options
        python = None if options["container_image"] else conversion_call.python_of(options)
        places = [self.samples, options["metric_function"], self.destination]
        user, self.warnings = account.for_model(
            options["convert_user"], account.needed(python, places, [self.source]), self.source
        )
        self.options = {**options, "convert_user": user}

    def _number(self) -> int | None:
        """Return the version's number if the user gives one, by the option or by the name of the source's folder."""
        return versions.named_by(self.source) if self.options["version"] is None else self.options["version"]

    def _same_files(self, held: Mapping[int, Manifest | None], files: manifest.Content) -> set[int]:
        """Return the versions without a manifest that have the files of the source, such as those that a user copied."""
        if self.converted or not held:
            return set()
        there = published.numbered(self.destination)
        folders = {number: os.path.join(self.destination, there[number]) for number in held if held[number] is None}
        return {number for number, path in folders.items() if published.is_sound(path, files, self.digests)}

    def _refusal(self, release: str | None) -> str | None:
        name = self.options["signature"]
        return refusal(self.model["signatures"], name) or variant_refusals.refusal(
            self.options,
            self.contract,
            self.samples,
            release,
            self.model["ops"].get(name, ()),
            self.model["optional_inputs"].get(name, ()),
        )

    def _not_yet(self, path: str) -> dict[str, Any]:
        """Return what check mode reports if an earlier task would have made the source, the samples or the metric function."""
        decision = Decision(
            True,
            actions=(f"publish below {self.destination}",),
            warnings=(f"{path} does not exist; a run without check mode fails if it is still missing.",),
        )
        what = "the source" if path == self.source else path
        return self._result(decision, acceptance.ending(None, f"{what} does not exist yet"))

    def _check_options(self) -> None:
        options = self.options
        for name in ("source", "destination"):
            absolute_path(name, options[name])
        bounded("version", 1 if options["version"] is None else options["version"], 1, manifest.LARGEST_NUMBER)
        bounded("allowed_loss", options["allowed_loss"], 0)
        bounded("maximum_difference", options["maximum_difference"] or 0, 0)
        bounded("timeout_s", options["timeout_s"], 0.001, LONGEST_S, "s")
        bounded("memory_mib", 1 if options["memory_mib"] is None else options["memory_mib"], 1, unit="MiB")
        bounded("workspace_mib", options["workspace_mib"], 1, unit="MiB")
        if options["server_release"]:
            questions.parse(options["server_release"], "server_release")
        variant_refusals.check(options)
        inside = os.path.commonpath([self.source, self.destination])
        if inside == self.source:
            raise FleetError(
                f"{self.destination!r} is the source, or is inside the source",
                where="destination",
                remedy="Set a directory outside the source.",
            )

    def _own_samples(self) -> str | None:
        """Return the source's warm-up file if it is valid and nothing needs labels; refuse a source whose file would crash a server."""
        held = self.model["warmup"]
        if not held or self.options["batch_sizes"]:
            return None
        warmup.refuse(held, self.source, "Remove the file, or set samples and batch_sizes to make a new one.")
        usable = held["kinds"].get("predict") and self.options["metric"] in (None, "function")
        return os.path.join(self.source, manifest.WARMUP) if self.converted and usable else None

    def _deciding(self) -> dict[str, Any]:
        """Return the options that determine the content and how it is checked."""
        options = self.options
        tags = (
            {}
            if tuple(sorted(set(options["tags"]))) == meta_graph.SERVED_TAGS
            else {"tags": sorted(set(options["tags"]))}
        )
        if not self.needs_program:
            return dict({"form": NONE}, **tags)
        names = (
            ("form", "signature")
            + _MAKING
            + (_JUDGING if self.converted else ())
            + (_TENSORRT if options["form"] == "tensorrt" else ())
        )
        files = {
            name: path and self.digests.of(path)
            for name, path in (("samples", self.samples), ("metric_function", options["metric_function"]))
        }
        return dict({name: options[name] for name in names}, **files, **tags)

    def _found(
        self, version: int, found: Manifest, release: Mapping[str, str] | None, warnings: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the result for a version that exists already; an older server may refuse what a newer one accepted."""
        problem = variant_refusals.runtime_problem(found.get("lowest_runtime"), self.options["server_release"])
        if problem:
            return self._refused(problem, found["gates"])
        stays = found["converter"] if self.converted and found["converter"] != release else None
        judged: Judged = {
            "accepted": True,
            "reason": self._reason(found["gates"])
            + (f"; it stays as TensorFlow {stays['tensorflow']} converted it" if stays else ""),
            "lowest_runtime": found.get("lowest_runtime"),
            "warmup_batch_sizes": found.get("warmup_batch_sizes", []),
            "gates": found["gates"],
        }
        return self._result(Decision(False, warnings=warnings), judged, version)

    def _make(
        self, source: Source, release: Mapping[str, str] | None, version: int, newest: Manifest | None, key: str
    ) -> dict[str, Any]:
        staged = published.stage(self.destination)
        try:
            judged = self._convert(staged, key) if self.converted else self._copy(staged, source["digest"])
            if not judged["accepted"]:
                return self._refused(judged["reason"], judged["gates"])
            content = manifest.build(
                source, self._deciding(), release, judged, published.inventory(staged, self.digests)
            )
            there = version in published.numbered(self.destination)
            if there and newest and manifest.digest(newest["files"]) != manifest.digest(content["files"]):
                if self._number() is not None:
                    return self._found(version, newest, release, (self._other(version),))
                version, there = versions.place(published.numbered(self.destination), ())
            if there:
                published.renew(staged, os.path.join(self.destination, str(version)), content)
            else:
                published.finish(staged, self.destination, version, content)
            published.remember_refusal(self.destination, None)
        finally:
            published.abandon(staged, self.destination)
        return self._result(self._decision(newest, content, version), judged, version)

    def _convert(self, staged: str, key: str) -> Judged:
        with account.lent_directory(self.options["convert_user"]) as compared, self._made(staged) as made:
            request = self._request("convert", made, compared)
            judged = conversion_call.converted(self.options, request)
            reason = None
            if made != staged and judged["accepted"]:
                published.copy(made, staged)
                request["staged"] = staged
            if judged["accepted"]:
                reason = variant_refusals.runtime_problem(judged["lowest_runtime"], self.options["server_release"])
                if not reason and self.options["through_server"]:
                    reason = conversion_call.served(self.options, request, judged, self._serve)
            elif judged["gates"]:
                published.remember_refusal(
                    self.destination, {"key": key, "reason": judged["reason"], "gates": judged["gates"]}
                )
        return {**judged, "accepted": False, "reason": reason} if reason else judged

    def _made(self, staged: str) -> contextlib.AbstractContextManager[str]:
        """Return where the program writes the version: to a folder of its account, whose files are then copied, or to the version itself."""
        user = self.options["convert_user"]
        return account.lent_directory(user, self.destination) if user else contextlib.nullcontext(staged)

    def _request(self, action: str, staged: str, compared: str | None = None) -> dict[str, Any]:
        return dict(
            {name: self.options[name] for name in _REQUESTED},
            action=action,
            source=self.source,
            size_bytes=self.model["size_bytes"],
            contract=self.contract,
            staged=staged,
            samples=self.samples,
            asked=compared,
            model=self.name,
        )

    def _copy(self, staged: str, digest: str) -> Judged:
        published.copy(self.source, staged)
        if manifest.digest(published.inventory(staged, self.digests)) != digest:
            raise FleetError(
                "it changed during the copy", where=self.source, remedy="Run again when no other process writes to it."
            )
        judged = acceptance.ending(True, self._reason(None))
        if self.needs_program:
            with self._made(staged) as made:
                judged.update(conversion_call.call(self.options, self._request("warm_up", made)))
                if made != staged:
                    published.copy(made, staged, manifest.WARMUP)
        elif self.model["warmup"]:
            judged["warmup_batch_sizes"] = self.model["warmup"]["batch_sizes"]
        return judged

    def _other(self, version: int) -> str:
        return (
            f"Converted again with other options for judging or warm-up, {self.options['form']} has different files than version {version}, which "
            "stays unchanged. Set a new version to publish these files."
        )

    def _reason(self, judged: Gates | None) -> str:
        if judged is None:
            return "the source, unchanged"
        return acceptance.decide(
            judged["outputs"], judged["metric"], self.options["maximum_difference"], self.options["accept_unjudged"]
        )[1]

    def _decision(self, newest: Manifest | None, content: Manifest, version: int) -> Decision:
        path = os.path.join(self.destination, str(version))
        before = manifest.text(newest) if newest else ""
        return Decision(
            True,
            before,
            manifest.text(content),
            (f"publish {path}",),
            self._warnings(),
            os.path.join(path, model_files.MANIFEST),
        )

    def _warnings(self) -> tuple[str, ...]:
        """Return warnings: why requests fail, what may run, and lost signatures, other than another name for the same."""
        all_signatures = self.model["signatures"]
        kept = {name: one for name, one in all_signatures.items() if name not in self.dropped}
        missed = lost(all_signatures, kept)
        found = faults(all_signatures)
        if self.converted:
            found += analysis.perhaps_warnings(self.model["uncertain_ops"].get(self.options["signature"], ()))
        if missed:
            found.append(
                f"TensorFlow Lite serves only one signature: {self.options['signature']} stays, but clients cannot call {', '.join(missed)}."
            )
        return tuple(found)

    def _refused(self, reason: str, judged: Gates | None) -> dict[str, Any]:
        if self.options["required"]:
            remedy = self._without_it() if self.converted else None
            raise FleetError(f"{self.options['form']} is refused: {reason}", where=self.source, remedy=remedy)
        return self._result(Decision(False), acceptance.ending(False, reason, judged))

    def _without_it(self) -> str:
        """Return what serves on without the new version of a variant, and what to do."""
        form = self.options["form"]
        newest = max(published.numbered(self.destination), default=None) if os.path.isdir(self.destination) else None
        stays = f"Version {newest} of {form} in {self.destination} stays, and servers of this variant go on with it. "
        return (
            f"{'' if newest is None else stays}Correct the model, or serve the SavedModel: set optimize: none for the model, or remove the file of the tuning "
            "that chose this variant."
        )

    def _result(self, decision: Decision, judged: Judged, version: int | None = None) -> dict[str, Any]:
        decision = replace(decision, warnings=(*self.warnings, *decision.warnings))
        return decision.result(
            **judged,
            model=self.name,
            form=self.options["form"] if self.converted else SAVED_MODEL,
            version=version,
            path=None if version is None else os.path.join(self.destination, str(version)),
            newer=self.newer,
            dropped_signatures=self.dropped,
        )
