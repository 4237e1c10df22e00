# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that builds images: one build at a time on a builder, from checked sources, with fewer jobs after running out of memory."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.engine import BuildFailed, Engine
from ansible_collections.tfserving.fleet.plugins.module_utils._image import (
    bazel_cache,
    build_progress,
    dockerfile,
    preflight,
    sources,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import Recipe, Stage
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels

_LAST_LINES = 40
_SHOWN_LINES = 8
_FULL = "Free disk space where the engine stores its images, and run again. Compiled files are kept."
_RULES = dockerfile.DOWNLOADER
_BASE, _BASE_STAGE = "tfserving-fleet/build-base", "base_build"


class Settings(preflight.Needs):
    """How to build."""

    directory: str  # sources, cache and logs are kept below it
    cache_mib: int
    mirrors: dict[str, str]
    proxies: dict[str, str]
    network: str
    progress: str | None


class Done(TypedDict):
    """A finished build. jobs: None if nothing had to be compiled."""

    id: str
    log: str
    notes: list[str]
    jobs: int | None
    seconds: float


@dataclass(frozen=True)
class _Work:
    """A recipe with its sources, and the log of its build."""

    recipe: Recipe
    tree: sources.Sources
    stream: IO[str]


class Builder:
    """Builds recipes on one engine."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        self.directory = settings["directory"]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of this host's builds, and remove what an interrupted build left. The file `lock` contains the process id."""
        try:
            os.makedirs(self.directory, exist_ok=True)
            with open(os.path.join(self.directory, "lock"), "a", encoding="utf-8") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._say("waiting for another build on this host")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
                self.clear()
                try:
                    yield
                finally:
                    lock.truncate(0)
        except OSError as fault:
            raise FleetError(
                f"cannot write files of the build: {fault.strerror or fault}",
                where=fault.filename or self.directory,
                remedy="Free disk space there, or set another directory. Compiled files are kept.",
            ) from fault

    def clear(self) -> None:
        """Remove containers of builds. While the lock is held, no running build owns them."""
        for container in self.engine.labelled(f"{image_labels.BUILDING}=1"):
            self.engine.remove_container(container)

    def build(self, recipe: Recipe) -> Done:
        """Build the image of a recipe without a tag. Use the complete image of an interrupted run if there is one."""
        began = time.monotonic()
        log = os.path.join(self.directory, "logs", f"{recipe['image'].rpartition(':')[2]}.log")
        left = self._whole(recipe, "runtime")
        if left:
            self._forget_devel(recipe)
            return {
                "id": left[0],
                "log": log,
                "notes": ["an earlier run built the image, but ended before starting it once"],
                "jobs": None,
                "seconds": 0.0,
            }
        running, notes = preflight.jobs(self._facts(), self.settings)
        for note in notes:
            self._say(note)
        tree = sources.Sources(recipe, os.path.join(self.directory, "sources"), self.settings["mirrors"])
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "a", encoding="utf-8") as stream, contextlib.ExitStack() as stack:
            if self.settings["cache_mib"]:
                cache = stack.enter_context(
                    bazel_cache.serving(os.path.join(self.directory, "bazel-cache"), self.settings["cache_mib"])
                )
            else:
                cache = None
            work = _Work(recipe, tree, stream)
            self._bring_bases(work)
            self._say(f"{recipe['image']}: building with {running} jobs; full output: {log}")
            self._base(work)
            devel, running = self._devel(work, running, cache, notes)
            made = self._run(work, "runtime", {"TF_SERVING_BUILD_IMAGE": devel})
        self._forget_devel(recipe)
        return {"id": made, "log": log, "notes": notes, "jobs": running, "seconds": round(time.monotonic() - began, 1)}

    def _whole(self, recipe: Recipe, stage: str) -> list[str]:
        """Return the ids of the images of a stage. The label is set last, so an image that has it is complete."""
        return [
            image["id"]
            for image in self.engine.images(f"{image_labels.RECIPE}={recipe['digest']}")
            if image["labels"].get(image_labels.STAGE) == stage
        ]

    def _forget_devel(self, recipe: Recipe) -> None:
        for image in self._whole(recipe, "devel"):
            self.engine.remove_image(image)

    def _bring_bases(self, work: _Work) -> None:
        """Pull the base images of both Dockerfiles first, so that a missing one fails at once and not after hours."""
        for stage in ("devel", "runtime"):
            for name in dockerfile.base_images(self._docker_file(work, stage)):
                if not self.engine.image(name):
                    self._say(f"{work.recipe['image']}: pulling {name}")
                    try:
                        self.engine.pull(name)
                    except FleetError as fault:
                        raise FleetError(
                            f"cannot pull the base image: {fault.what}",
                            where=name,
                            remedy=_FULL
                            if preflight.disk_full([fault.what])
                            else (
                                "Give the builder's engine access to the registry, set a mirror (mirrors), or load the image on the builder."
                            ),
                        ) from fault

    def _docker_file(self, work: _Work, stage: Stage) -> str:
        return dockerfile.fixed(
            work.tree.text(work.recipe[stage]["dockerfile"]), work.recipe, stage == "devel", self.settings["mirrors"]
        )

    def _base(self, work: _Work) -> None:
        """Build and tag the stage with the tools, so that it remains for the next class when the devel image is removed."""
        recipe = work.recipe
        tools: Recipe = {**recipe, "devel": {**recipe["devel"], "target": _BASE_STAGE}}
        base = self._run(replace(work, recipe=tools), "devel", {}, {image_labels.STAGE: "base"})
        self.engine.tag(base, f"{_BASE}:{recipe['release']}-{recipe['kind']}")

    def _devel(self, work: _Work, running: int, cache: str | None, notes: list[str]) -> tuple[str, int]:
        done = self._whole(work.recipe, "devel")
        while not done:
            options = preflight.bazel_options(
                running,
                self._bazel_memory_mib(running),
                cache,
                f"/tensorflow-serving/{_RULES}" if self._rules() else None,
            )
            try:
                done = [self._run(work, "devel", {"TF_SERVING_BAZEL_OPTIONS": options})]
            except OutOfMemory as fault:
                fewer = preflight.fewer(running)
                if not fewer:
                    raise FleetError(
                        "the build ran out of memory with one job",
                        where=work.stream.name,
                        remedy="Build on a host with more memory.",
                    ) from fault
                running = fewer
                notes.append(f"the build ran out of memory and continues with {running} jobs; compiled files are kept")
                self._say(notes[-1])
        return done[0], running

    def _run(
        self, work: _Work, stage: Stage, arguments: Mapping[str, str], labelled: Mapping[str, str] | None = None
    ) -> str:
        recipe, stream = work.recipe, work.stream
        part, last = recipe[stage], collections.deque[str](maxlen=_LAST_LINES)
        progress = build_progress.Progress(f"{recipe['image'].rpartition(':')[2]} {stage}")

        def on_line(line: str) -> None:
            line = build_progress.plain(line)
            stream.write(line + "\n")
            stream.flush()
            if line.strip():
                last.append(line)
            message = progress.line(line, time.monotonic())
            if message:
                self._say(message)

        text = self._docker_file(work, stage)
        if stage == "devel" and self._rules():
            added = f"ADD {dockerfile.SOURCES} /tensorflow-serving/"
            text = text.replace(added, f"{added}\nCOPY {_RULES} /tensorflow-serving/")
        try:
            with self._context(text, work.tree if stage == "devel" else None) as context:
                return self.engine.build(
                    context,
                    on_line,
                    dockerfile="Dockerfile",
                    target=part.get("target") or "",
                    buildargs={**self._proxies(), **part["arguments"], **arguments},
                    labels=labelled or image_labels.of(recipe, stage),
                    network_mode=self.settings["network"],
                )
        except BuildFailed as fault:
            if stage == "devel" and preflight.out_of_memory([*last, fault.words], fault.status):
                raise OutOfMemory(fault.words) from fault
            words = " | ".join([*list(last)[-_SHOWN_LINES:], fault.words])
            raise FleetError(
                f"the {stage} build failed; last output: {words}",
                where=stream.name,
                remedy=_FULL
                if preflight.disk_full([*last, fault.words])
                else "Read the full output there. Compiled files are kept, and the next run continues.",
            ) from fault
        finally:
            self.clear()

    @contextlib.contextmanager
    def _context(self, text: str, tree: sources.Sources | None) -> Iterator[IO[bytes]]:
        """Yield the build context as an open tar file: the Dockerfile and, if needed, the sources."""
        with tempfile.TemporaryFile(dir=self.directory) as stream:
            with tarfile.open(fileobj=stream, mode="w") as context:
                for name, content in (("Dockerfile", text), (_RULES, self._rules())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content.encode())
                    context.addfile(member, io.BytesIO(content.encode()))
                if tree:
                    member = tarfile.TarInfo(dockerfile.SOURCES)
                    member.size = os.path.getsize(tree.path)
                    with open(tree.path, "rb") as packed:
                        context.addfile(member, packed)
            stream.seek(0)
            yield stream

    def _facts(self) -> preflight.BuilderFacts:
        information = self.engine.information()
        cpus = os.cpu_count() or 1
        root = information.get("DockerRootDir") or ""
        return {
            "cpus": min(information.get("NCPU") or cpus, cpus),
            "memory_mib": (Files().memory_kib("MemAvailable") or 0) >> 10,
            "disk_free_mib": shutil.disk_usage(root).free >> 20 if os.path.isdir(root) else None,
        }

    def _bazel_memory_mib(self, running: int) -> int:
        return running * self.settings["memory_per_job_mib"]

    def _rules(self) -> str:
        return dockerfile.downloader_rules(self.settings["mirrors"])

    def _proxies(self) -> dict[str, str]:
        return {
            spelling: value
            for name, value in (self.settings["proxies"] or {}).items()
            if value
            for spelling in (name.upper(), name.lower())
        }

    def _say(self, line: str) -> None:
        program.say(self.settings["progress"], line)


class OutOfMemory(Exception):
    """The compiler or Bazel was killed during a build."""
