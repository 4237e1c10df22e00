# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage an image on a host: whether it is present, how it gets there (built, pulled, or from an archive), and which images to remove."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import cpuinfo
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Image
from ansible_collections.tfserving.fleet.plugins.module_utils._image import archives, builder, trial_start
from ansible_collections.tfserving.fleet.plugins.module_utils._image import recipe as recipes
from ansible_collections.tfserving.fleet.plugins.module_utils._image.archives import Manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import UNSTARTED
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels as labels


class Options(builder.Settings):
    """Options of the module serving_image that are not the builder's."""

    state: str
    recipe: dict[str, Any] | None
    image: str | None
    registry: str | None
    archive: str | None
    keep: list[str]
    stock_image: str | None
    capabilities: dict[str, Any] | None
    start_timeout_s: float
    engine_socket: str | None


class Proof(TypedDict):
    """What the log of a trial start says about instructions. unused_before: of the stock image."""

    unused: list[str]
    unused_before: list[str] | None
    conclusive: bool


class HostImage:
    """One image on one host: read, decide, act."""

    def __init__(self, options: Options, check_mode: bool) -> None:
        self.options, self.check_mode = options, check_mode
        self.recipe = recipes.check(options["recipe"]) if options["recipe"] is not None else None
        self.name = self.recipe["image"] if self.recipe else options["image"] or ""
        self.digest = self.recipe["digest"] if self.recipe else ""
        self.registry, self.archive = options["registry"] or "", options["archive"] or ""
        if not self.name and options["state"] != "pruned":
            raise FleetError(
                "both recipe and image are empty",
                where="recipe",
                remedy="Set recipe to `build` of the plan, or image to the name of an image.",
            )
        self.engine = engine.Engine(options["engine_socket"])
        self.architecture, self.cpu_flags, self.compute = self._host()

    def reach(self) -> dict[str, Any]:
        """Bring the image into the requested state, and return the module's result."""
        if self.options["state"] == "pruned":
            return self._pruned()
        return self._built(self.recipe) if self.options["state"] == "built" and self.recipe else self._present()

    def _built(self, recipe: recipes.Recipe) -> dict[str, Any]:
        held, reference, manifest = self._held(), self._in_registry(), self._kept()
        actions = []
        if not (held or reference or manifest):
            actions.append(f"build {self.name}")
        if self.registry and not reference:
            actions.append(f"push {self._remote(self.name)}")
        if self.archive and not manifest:
            actions.append(f"write {self.options['archive']}")
        decision = Decision(
            bool(actions), self._shown(held, reference), self._shown(True, True), tuple(actions), header=self.name
        )
        results: dict[str, Any] = {"build": None, "proof": None}
        if actions and not self.check_mode:
            work = builder.Builder(self.engine, self.options)
            with work.alone():
                held, reference, manifest = (
                    self._held(),
                    self._in_registry(),
                    self._kept(),
                )  # another run may have ended while this one waited
                if not (held or reference or manifest):
                    held, results = self._build(recipe, work)
                if held and self.registry and not reference:
                    reference = self._push(held)
                if held and self.archive and not manifest:
                    shutil.rmtree(self.archive, ignore_errors=True)
                    manifest = archives.write(self.archive, self._described(held), self.engine.save(held["id"]))
        return decision.result(
            image=self.name,
            id=held["id"] if held else None,
            reference=reference,
            started_once=self._is_started(held, reference, manifest),
            files=self._files(manifest),
            **results,
        )

    def _present(self) -> dict[str, Any]:
        held = self.engine.image(self.name)
        if held and self.recipe:
            labels.check_recipe(held["labels"], self.digest, self.name)
        promised = labels.of(self.recipe) if self.recipe else held["labels"] if held else {}
        self._refuse(promised)
        actions = () if held else (f"get {self.name}", "start it once", f"tag it {self.name}")
        decision = Decision(not held, self._shown(held, None), self._shown(True, None), actions, header=self.name)
        proof, reference = None, None
        if not self.check_mode and not (held and self.recipe):
            reference = self._in_registry()
            found = held or self._bring(reference)
            proof = self._verify(found, keep=bool(held))
            if self.recipe:
                self._tag(found["id"], self.name)
            held = self.engine.image(self.name)
            if self.archive:
                shutil.rmtree(self.archive, ignore_errors=True)
        return decision.result(
            image=self.name, id=held["id"] if held else None, reference=reference, started_once=bool(held), proof=proof
        )

    def _pruned(self) -> dict[str, Any]:
        wanted = {name for kept in self.options["keep"] for name in (kept, kept + UNSTARTED)}
        known = {
            image["id"]: image
            for label in (labels.RECIPE, f"{labels.STAGE}=base")
            for image in self.engine.images(label)
        }
        going = [
            image
            for image in known.values()
            if not wanted.intersection(map(self._local, image["tags"])) and not self.engine.in_use(image["id"])
        ]
        names = [name for image in going for name in image["tags"] or [image["id"]]]
        decision = Decision(
            bool(names),
            "".join(f"{name}\n" for name in names),
            "",
            tuple(f"remove {name}" for name in names),
            header="images",
        )
        if not self.check_mode:
            for name in names:
                self.engine.remove_image(name)
        return decision.result(removed=names)

    def _host(self) -> tuple[str, list[str], list[tuple[int, int]]]:
        capabilities: Any = self.options["capabilities"]
        if not capabilities:
            capabilities = cpuinfo.read(Files().text("proc/cpuinfo"), os.uname().machine)
        compute = [
            (gpu["compute"]["major"], gpu["compute"]["minor"])
            for gpu in capabilities.get("gpus") or ()
            if gpu.get("compute")
        ]
        return capabilities["architecture"], capabilities["cpu"]["flags"], compute

    def _held(self) -> Image | None:
        """Return the image by its name, or by its name before the first start. Raise FleetError if another image has that name."""
        for name in (self.name, self.name + UNSTARTED):
            found = self.engine.image(name)
            if found:
                labels.check_recipe(found["labels"], self.digest, name)
                return found
        return None

    def _in_registry(self) -> str | None:
        if not self.registry:
            return None
        return self.engine.in_registry(self._remote(self.name)) or self.engine.in_registry(
            self._remote(self.name + UNSTARTED)
        )

    def _archive(self) -> Manifest | None:
        manifest = archives.read(self.archive) if self.archive else None
        return manifest if manifest and self.digest and manifest["labels"].get(labels.RECIPE) == self.digest else None

    def _kept(self) -> Manifest | None:
        """Return the manifest of an undamaged archive, so that a damaged one is written again."""
        try:
            manifest = self._archive()
        except FleetError:
            return None
        return manifest if manifest and archives.is_whole(self.archive, manifest) else None

    def _build(self, recipe: recipes.Recipe, work: builder.Builder) -> tuple[Image, dict[str, Any]]:
        """Return (the image, the results of its build and its first start). If that start fails, remove the image."""
        done = work.build(recipe)
        made = self._there(done["id"])
        proof = None
        if labels.refusal(made["labels"], self.architecture, self.cpu_flags) is None:
            proof = self._verify(made)
        self._tag(made["id"], self.name if proof else self.name + UNSTARTED)
        return self._there(made["id"]), {
            "build": {key: done[key] for key in ("seconds", "jobs", "notes", "log")},
            "proof": proof,
        }

    def _push(self, held: Image) -> str:
        name = self.name if self.name in held["tags"] else self.name + UNSTARTED
        self._tag(held["id"], self._remote(name))
        try:
            return self.engine.push(self._remote(name))
        finally:
            self.engine.remove_image(self._remote(name), keep_parents=True)

    def _bring(self, reference: str | None) -> Image:
        if self.archive:
            manifest = self._archive()
            if not manifest:
                raise FleetError(
                    f"there is no archive of the image {self.name!r}",
                    where=self.archive,
                    remedy="Ship the image from its builder first.",
                )
            self._refuse(manifest["labels"])
            self.engine.load(archives.stream(self.archive, manifest))
            return self._there(manifest["id"])
        if self.registry and self.recipe:
            if not reference:
                raise FleetError(
                    f"the registry does not have the image {self.name!r}",
                    where=self.registry,
                    remedy="Build the image first (state: built).",
                )
            self.engine.pull(reference)
            return self._there(reference)
        self.engine.pull(self.name)
        return self._there(self.name)

    def _there(self, reference: str) -> Image:
        found = self.engine.image(reference)
        if not found:
            raise FleetError(
                f"the engine does not have the image {self.name!r} after loading it",
                where=self.engine.url,
                remedy="Run again.",
            )
        return found

    def _verify(self, found: Image, keep: bool = False) -> Proof:
        """Start the image once and check it. Remove an image that fails, unless it was present before. A fault of the engine does not count."""
        with self._judging(found, keep):
            if self.recipe:
                labels.check_recipe(found["labels"], self.digest, self.name)
            self._refuse(found["labels"])
        started = trial_start.start_once(self.engine, found["id"], self.options["start_timeout_s"])
        with self._judging(found, keep):
            trial_start.judge(self.name, found["labels"], started)
        stock = self.options["stock_image"]
        before = (
            trial_start.start_once(self.engine, stock, self.options["start_timeout_s"])["log"]
            if stock and self.engine.image(stock)
            else None
        )
        return {
            "unused": started["log"]["judged"],
            "unused_before": before["judged"] if before else None,
            "conclusive": started["log"]["conclusive"],
        }

    @contextlib.contextmanager
    def _judging(self, found: Image, keep: bool) -> Iterator[None]:
        try:
            yield
        except FleetError:
            if not keep:
                self.engine.remove_image(found["id"], keep_parents=True)
            raise

    def _refuse(self, image_labels: dict[str, str]) -> None:
        fault = labels.refusal(image_labels, self.architecture, self.cpu_flags, self.compute)
        if fault:
            raise FleetError(
                fault, where=self.name, remedy="Build the image of this host's class: use `build` of its plan."
            )

    def _tag(self, image_id: str, name: str) -> None:
        """Tag an image, and remove its tag from before the first start."""
        self.engine.tag(image_id, name)
        if not name.endswith(UNSTARTED) and self.engine.image(name + UNSTARTED):
            self.engine.remove_image(name + UNSTARTED, keep_parents=True)

    def _remote(self, name: str) -> str:
        return f"{self.registry.rstrip('/')}/{name}"

    def _local(self, name: str) -> str:
        prefix = f"{self.registry.rstrip('/')}/"
        return name[len(prefix) :] if len(prefix) > 1 and name.startswith(prefix) else name

    def _described(self, held: Image) -> archives.Described:
        return {"image": self.name, "id": held["id"], "labels": held["labels"], "started": self.name in held["tags"]}

    def _is_started(self, held: Image | None, reference: str | None, manifest: Manifest | None) -> bool:
        if held:
            return self.name in held["tags"]
        if manifest:
            return manifest["started"]
        return bool(reference and self.engine.in_registry(self._remote(self.name)))

    def _files(self, manifest: Manifest | None) -> list[str]:
        return (
            [
                os.path.join(self.archive, name)
                for name in [part["name"] for part in manifest["parts"]] + [archives.MANIFEST]
            ]
            if manifest
            else []
        )

    def _shown(self, held: object, reference: object) -> str:
        where = [
            word for word, there in (("on this host", held), ("in the registry", reference and self.registry)) if there
        ]
        return f"{self.name}: {' and '.join(where) or 'absent'}\n"
