# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage which versions of which models are served.

Folders are polled, new versions are loaded before old ones are unloaded, clients can query states, and versions have
labels. The whole list of models can be replaced while it serves.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import log, status
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import Session
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api

_PATIENCE_S = 0.2
_UNKNOWN, START, LOADING, AVAILABLE, UNLOADING, END = grpc_api.STATES


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve.

    base_path: the folder of its versions. latest: how many of the newest are served; 0 serves all. specific: only these
    numbers, unless None. labels: ((label, number), …).
    """

    name: str
    base_path: str
    latest: int = 1
    specific: tuple[int, ...] | None = None
    labels: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Requested:
    """The model of a request. number: a version, or None for the latest. label: a version's label, or None."""

    name: str
    number: int | None = None
    label: str | None = None


@dataclass
class Version:
    """A version that the library manages; the library's lock guards it."""

    name: str
    number: int
    path: str
    state: str = START
    fault: status.Status | None = None
    servable: Any = None
    running: int = 0
    dropped: threading.Event = field(default_factory=threading.Event)

    def __str__(self) -> str:
        return f"{{name: {log.shown(self.name)} version: {self.number}}}"


class Library:
    """Keeps the versions in the folders loaded. load(name, number, path) returns a servable, an object with close(), or raises."""

    # The refusal of a list that TensorFlow Serving repeats for every later list until it is restarted.
    poison: status.Status | None
    _turns: contextlib.AbstractContextManager[Any]
    _configs: list[ModelConfig] | None
    _versions: dict[str, dict[int, Version]]
    _labels: dict[str, dict[str, int]]

    def __init__(
        self,
        load: Callable[[str, int, str], Session],
        retries: int,
        retry_interval_s: float,
        poll_interval_s: float,
        early_labels: bool = False,
        load_threads: int = 0,
    ) -> None:
        """Create a library without models.

        early_labels: whether a label that the model does not have yet may be given to a version that is not available.
        load_threads: how many versions are loaded in parallel, with the retries of each, after the first list of models
        is served; 0 is equivalent to 1.
        """
        self._load, self._early_labels = load, early_labels
        self._retries, self._retry_interval_s, self._poll_interval_s = retries, retry_interval_s, poll_interval_s
        self._configs, self._versions, self._labels = None, {}, {}
        self._abandoned: set[str] = (
            set()
        )  # Models whose clients stopped waiting for them. A later request that names them waits.
        self._changed = threading.Condition()
        self._loading, self._polling, self._reloading = threading.Lock(), threading.Lock(), threading.Lock()
        self._load_threads, self._turns = load_threads, contextlib.nullcontext()
        self.poison = None

    def apply(self, configs: list[ModelConfig], is_active: Callable[[], bool] = lambda: True) -> None:
        """Serve these models and no others. Return when each new model has a version AVAILABLE.

        Raise Status if labels name versions that are not available; then nothing has changed. Also raise Status if all
        versions of a new model have failed and all others are decided. Without retries, one failed version is enough,
        because it fails before others are loaded.

        Like TensorFlow Serving, it waits forever if a new model has no version, and later lists wait for it; the first
        list waits for all retries. Unlike TensorFlow Serving, it waits only while is_active() is true. Then a list that
        waits for another one is not served, and one that is served stays.
        """
        with self._turn_to_reload(is_active):
            before = self._configs
            labels = {config.name: dict(config.labels) for config in configs}
            self._check_labels(labels)
            if configs != before:
                log.info("Adding/updating models.")
                for config in configs:
                    log.info(f" (Re-)adding model: {log.shown(config.name)}")
            new = {config.name for config in configs} - ({config.name for config in before or ()} - self._abandoned)
            self._abandoned = set()
            with self._changed:
                self._labels, self._configs = labels, configs
                known = {id(version): version for versions in self._versions.values() for version in versions.values()}
            self._poll_once()
            if before is None:
                threading.Thread(target=self._poll, name="versions", daemon=True).start()
            self._wait_for(new, known, before is None, is_active)
            if before is None:
                self._turns = threading.BoundedSemaphore(max(1, self._load_threads))
            if configs != before:
                log.info("Finished adding/updating models")

    @contextlib.contextmanager
    def _turn_to_reload(self, is_active: Callable[[], bool]) -> Iterator[None]:
        while not self._reloading.acquire(timeout=_PATIENCE_S):
            if not is_active():
                raise _gone()
        try:
            yield
        finally:
            self._reloading.release()

    def _check_labels(self, wanted: Mapping[str, Mapping[str, int]]) -> None:
        with self._changed:
            for name, labels in wanted.items():
                for label, number in labels.items():
                    version, before = (
                        self._versions.get(name, {}).get(number),
                        self._labels.get(name, {}).get(label, number),
                    )
                    if not (version and version.state == AVAILABLE) and not (self._early_labels and before == number):
                        raise status.Status(
                            "FAILED_PRECONDITION",
                            f"Request to assign label to version {number} of model {name}, which is not currently "
                            "available for inference",
                        )

    def _wait_for(
        self, names: Collection[str], known: Collection[int], first: bool, is_active: Callable[[], bool]
    ) -> None:
        """Wait for models. known: {id: version} of the versions that existed before, which do not count for the new list."""
        whole = first or not self._retries

        def fresh(name: str) -> list[Version]:
            return [
                version
                for version in self._versions.get(name, {}).values()
                if id(version) not in known or (version.state == AVAILABLE and not version.dropped.is_set())
            ]

        with self._changed:
            while not self._changed.wait_for(lambda: all(_settled(fresh(name), whole) for name in names), _PATIENCE_S):
                if not is_active():
                    self._abandoned = set(names)
                    raise _gone()
            failed = [
                version
                for name in sorted(names)
                if not self._retries or not _any_in(AVAILABLE, fresh(name))
                for version in fresh(name)
                if version.fault
            ]
        if failed:
            words = "servable(s)" if first else "model(s)"
            listed = "".join(f"{{{version} due to error: {version.fault}}}, " for version in failed)
            raise status.Status("UNKNOWN", f"{len(failed)} {words} did not become available: {{{listed}}}")

    @contextlib.contextmanager
    def use(self, requested: Requested) -> Iterator[tuple[int, Session]]:
        """Return (number, servable) of an available version, which stays loaded within the context. Raise Status."""
        name, number = requested.name, requested.number
        if not name:
            raise status.invalid("ModelSpec has no name specified.")
        with self._changed:
            if requested.label is not None:
                number = self._labels.get(name, {}).get(requested.label)
                if number is None:
                    raise status.invalid(f"Unrecognized servable version label: {requested.label}")
            available = [
                version
                for version in self._versions.get(name, {}).values()
                if version.state == AVAILABLE and number in (None, version.number)
            ]
            if not available:
                meant = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise status.Status("NOT_FOUND", f"Servable not found for request: {meant}")
            version = max(available, key=lambda one: one.number)
            version.running += 1
        try:
            yield version.number, version.servable
        finally:
            with self._changed:
                version.running -= 1
                if version.state == UNLOADING:
                    self._changed.notify_all()

    def states(self, name: str, number: int | None = None) -> list[tuple[int, str, status.Status | None]]:
        """Return [(number, state, Status or None)] of all versions ever seen, or of one, newest first. Raise Status NOT_FOUND."""
        with self._changed:
            found = [
                (one.number, one.state, one.fault)
                for one in self._versions.get(name, {}).values()
                if number in (None, one.number)
            ]
        if not found:
            what = "any versions" if number is None else f"version {number}"
            raise status.Status("NOT_FOUND", f"Could not find {what} of model {name}")
        return sorted(found, key=lambda one: -one[0])

    def _poll(self) -> None:
        while self._poll_interval_s > 0:
            time.sleep(self._poll_interval_s)
            try:
                self._poll_once()
            except Exception as fault:  # The cause may be fixed at the next poll.
                log.error(f"Polling the models' folders failed: {type(fault).__name__}: {fault}")

    def _poll_once(self) -> None:
        with self._polling:
            for config in self._configs or ():
                try:
                    aspired = aspired_versions(config, os.listdir(config.base_path))
                except (OSError, ValueError) as fault:  # ValueError: a path with a NUL in it, which cannot exist.
                    log.error(
                        "FileSystemStoragePathSource encountered a filesystem access error: Could not find base path "
                        f"{config.base_path} for servable {config.name} with error NOT_FOUND: {getattr(fault, 'strerror', fault)}"
                    )
                    continue
                for number in config.specific or ():
                    if number not in aspired:
                        log.warning(
                            f"Version {number} of servable {config.name}, which was requested to be served as a 'specific' version in the servable's "
                            "version policy, was not found in the file system"
                        )
                if not aspired:
                    log.warning(
                        f"No versions of servable {config.name} found under base path {config.base_path}. "
                        "Did you forget to name your leaf directory as a number (eg. '/1/')?"
                    )
                self._reconcile(config, aspired)
            self._let_go()

    def _let_go(self) -> None:
        """Unload the models that are no longer listed."""
        with self._changed:
            listed = {config.name for config in self._configs or ()}
            for name, versions in self._versions.items():
                if name not in listed:
                    for version in versions.values():
                        version.dropped.set()
                    self._retire(versions.values())

    def _reconcile(self, config: ModelConfig, aspired: Mapping[int, str]) -> None:
        with self._changed:
            versions = self._versions.setdefault(config.name, {})
            for number, folder in aspired.items():
                known = versions.get(number)
                if known is not None and known.state == AVAILABLE:
                    known.dropped.clear()
                elif known is None or (known.state == END and known.dropped.is_set()):
                    versions[number] = Version(config.name, number, os.path.join(config.base_path, folder))
                    threading.Thread(target=self._bring_up, args=(versions[number],), daemon=True).start()
            gone = [version for version in versions.values() if version.number not in aspired]
            for version in gone:
                version.dropped.set()
            self._retire(versions.values())

    def _retire(self, versions: Collection[Version]) -> None:
        """Unload versions that are no longer desired, once a desired one is available. The caller holds the lock."""
        wanted = [version for version in versions if not version.dropped.is_set()]
        if wanted and not _any_in(AVAILABLE, wanted):
            return
        for version in versions:
            if version.dropped.is_set() and version.state == AVAILABLE:
                self._enter(version, UNLOADING)
                threading.Thread(target=self._take_down, args=(version,), daemon=True).start()

    def _bring_up(self, version: Version) -> None:
        log.info(f"Loading servable version {version}")
        self._enter(version, LOADING)
        with self._turns:
            servable, fault = self._try_to_load(version)
        if fault:
            log.error(f"Encountered an error for servable version {version}: {fault}")
        else:
            log.info(f"Successfully loaded servable version {version}")
        with self._changed:
            version.servable, version.fault = servable, fault
            self._enter(version, END if fault else AVAILABLE)
            self._retire(self._versions[version.name].values())

    def _try_to_load(self, version: Version) -> tuple[Any, status.Status | None]:
        tried = 0
        while True:
            try:
                with self._loading:
                    return self._load(version.name, version.number, version.path), None
            except Exception as raised:
                fault = status.of(raised)
                log.error(f"Loading servable: {version} failed: {fault}")
            if tried >= self._retries:
                log.info(f"Retrying of Loading servable: {version} exhausted max_num_retries: {self._retries}")
                return None, fault
            if version.dropped.wait(max(0.0, self._retry_interval_s)):
                log.info(f"Retrying of Loading servable: {version} was cancelled.")
                return None, fault
            tried += 1
            log.info(f"Retrying of Loading servable: {version} retry: {tried}")

    def _take_down(self, version: Version) -> None:
        with self._changed:
            self._changed.wait_for(lambda: version.running == 0)
            servable, version.servable = version.servable, None
        servable.close()
        self._enter(version, END)
        log.info(f"Done unloading servable version {version}")

    def _enter(self, version: Version, state: str) -> None:
        with self._changed:
            version.state = state
            self._changed.notify_all()


def _gone() -> status.Status:
    return status.Status("CANCELLED", "The client no longer waits for the reload")


def _any_in(state: str, versions: Iterable[Version]) -> bool:
    return any(version.state == state for version in versions)


def _settled(versions: Collection[Version], whole: bool) -> bool:
    """Return whether it is certain that one of a model's versions is available, or that none will be. whole: whether all must be decided."""
    known = bool(versions) and all(version.state in (AVAILABLE, END) for version in versions)
    return known or (not whole and _any_in(AVAILABLE, versions))


def aspired_versions(config: ModelConfig, names: Iterable[str]) -> dict[int, str]:
    """Return {number: folder name} of the folder names that the model's policy selects. Names that are not numbers are ignored."""
    numbered = {int(name): name for name in sorted(names) if name.isascii() and name.isdigit() and int(name) < 2**63}
    if config.specific is not None:
        chosen = [number for number in config.specific if number in numbered]
    else:
        chosen = sorted(numbered)[-config.latest :]
    return {number: numbered[number] for number in chosen}
