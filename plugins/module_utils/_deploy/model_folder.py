# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for a model's folder on a host: find, publish, verify and remove its versions while its lock is held."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    manifest,
    model_files,
    published,
    transfer,
    versions,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.digests import Digests
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Content

_OF_THIS_HOST = ("fetched_from", "fingerprint", "proven")  # The keys that publish() adds to the manifest of the source.
_LOCK_S = 60.0


class Folder:
    """A model's folder on this host, with its versions by number."""

    def __init__(self, path: str, rehash: bool = False) -> None:
        self.path, self.digests = path, Digests(rehash)

    @contextlib.contextmanager
    def locked(self, create: bool) -> Iterator[None]:
        """Hold the folder's lock, so that two runs do not interleave. create: create a missing folder; without it a missing folder needs no lock."""
        stream = self._lock(create)
        if stream is None:
            yield
            return
        with stream:
            atomic_files.lock(stream, _LOCK_S, "model", self.path)
            atomic_files.sweep(self.path)
            yield

    def _lock(self, create: bool) -> IO[bytes] | None:
        """Return the open file of the lock, which child processes also hold, or None without a folder."""
        shared_folders.refuse_foreign(self.path)
        try:
            if create:
                os.makedirs(self.path, mode=0o755, exist_ok=True)
            if not os.path.isdir(self.path):
                return None
            stream = shared_folders.lock_file(os.path.join(self.path, ".tfserving-lock"))
        except OSError as fault:
            remedy = "Run as the user that owns the folder." if isinstance(fault, PermissionError) else None
            raise FleetError(
                f"cannot write it: {fault.strerror}", where=fault.filename or self.path, remedy=remedy
            ) from fault
        os.set_inheritable(stream.fileno(), True)
        return stream

    def numbers(self) -> list[int]:
        """Return the versions, ascending. Leading zeros are read as the server does."""
        return sorted(self._names())

    def of(self, number: int) -> str:
        """Return the path of a version."""
        return os.path.join(self.path, self._names().get(number, str(number)))

    def _names(self) -> dict[int, str]:
        return published.numbered(self.path) if os.path.isdir(self.path) else {}

    def manifest(self, number: int) -> Any:
        """Return a version's manifest, or None."""
        return published.manifest_of(self.of(number))

    def holding(self, content: Content | None = None, fingerprint: str | None = None) -> set[int]:
        """Return the versions with a content, or from a source with this fingerprint if they are unchanged."""
        found = set()
        for number in self.numbers():
            path, record = self.of(number), self.manifest(number) or {}
            files: Any = record.get("files", content)
            same = (
                manifest.content_of(files) == manifest.content_of(content)
                if content is not None
                else record.get("fingerprint") == fingerprint
            )
            if same and published.is_sound(path, files, self.digests):
                found.add(number)
        return found

    def publish(
        self,
        partial: transfer.Partial,
        number: int,
        content: Content,
        fetched: Mapping[str, Any],
        brought: Mapping[str, Any] | None,
    ) -> None:
        """Rename a received version to its number, complete with a manifest that marks it as unverified.

        fetched: {fetched_from, fingerprint} of its source. brought: the source's own manifest, or None.
        """
        record: dict[str, Any] = dict(
            brought or {"schema": manifest.SCHEMA, "key": manifest.key(versions.digest(content), {}, None)}
        )
        record.update(files=content, proven=False, **fetched)
        published.carry_batching(partial.path, self.path)
        atomic_files.write_file(os.path.join(partial.path, model_files.MANIFEST), manifest.text(record).encode())
        try:
            atomic_files.publish_directory(partial.path, self.of(number))
        except (FileExistsError, NotADirectoryError) as fault:
            raise FleetError(
                "a file of this name exists, and it is not a version", where=self.of(number), remedy="Remove it."
            ) from fault

    def renewed(self, number: int, content: Content, brought: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return a version's manifest with the source's new warm-up requests, answers and judgement of the same model, or None if it has them.

        Without a manifest of the source (brought), only a version that publish() made follows its source.
        """
        current = self.manifest(number)
        if current is None or brought is None and "fetched_from" not in current:
            return None
        files = {name: one for name, one in current["files"].items() if name not in manifest.RENEWED}
        files.update({name: content[name] for name in manifest.RENEWED if name in content})
        news = {name: one for name, one in (brought or {}).items() if name not in _OF_THIS_HOST}
        record = {**current, **news, "files": files}
        return None if record == current else record

    def mark_verified(self, number: int) -> None:
        """Mark a version as verified."""
        record = self.manifest(number)
        if record is not None and record.get("proven") is False:
            atomic_files.write_file(
                os.path.join(self.of(number), model_files.MANIFEST), manifest.text(dict(record, proven=True)).encode()
            )

    def is_unverified(self, number: int) -> bool:
        """Return whether a version was published by a run that did not verify it."""
        return (self.manifest(number) or {}).get("proven") is False

    def remove(self, number: int) -> None:
        """Remove a version at once: first rename it to a name that servers ignore."""
        gone = atomic_files.staging_directory(self.path)
        os.rename(self.of(number), os.path.join(gone, str(number)))
        shutil.rmtree(gone, ignore_errors=True)
