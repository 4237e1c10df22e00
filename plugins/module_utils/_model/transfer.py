# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a version's files to this host: from a folder or an archive here, over HTTP, or in pieces from the controller.

A partial transfer is in a hidden folder alongside the versions, which servers ignore, named after its content: the next run for the same source
continues the transfer of a run that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import pathlib
import posixpath
import shutil
import stat
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import (
    archive_errors,
    bounded_archives,
    downloads,
    shared_folders,
    urls,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.bounded_archives import Limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    manifest,
    model_files,
    published,
    versions,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.digests import Digests
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Content, FileEntry

PREFIX = ".tfserving-partial-"
_BLOCK, _RECEIVED = 1 << 20, 1 << 16  # Received data is written soon, so that a killed run loses little.
_SILENCE_S = 60
_KEPT_S = 86400


class Partial:
    """The hidden folder of a partial transfer. key: identifies the content."""

    def __init__(self, parent: str, key: str) -> None:
        self._parent, self.path = parent, os.path.join(parent, f"{PREFIX}{key[:32]}")

    def begin(self, needed_bytes: int) -> None:
        """Make the folder, and remove others that did not change for a day. Raise FleetError if the disk has no space for it."""
        for name in os.listdir(self._parent):
            path = os.path.join(self._parent, name)
            if name.startswith(PREFIX) and path != self.path and time.time() - os.path.getmtime(path) > _KEPT_S:
                shutil.rmtree(path, ignore_errors=True)
        disk = os.statvfs(self._parent)
        free = disk.f_bavail * disk.f_frsize
        if needed_bytes > free:
            raise FleetError(
                f"the version needs {_mib(needed_bytes)} MiB more, but only {_mib(free)} MiB are free",
                where=self._parent,
                remedy="Make room, for example with keep.",
            )
        shared_folders.own_folder(self.path)

    def file(self, name: str) -> str:
        """Return the path of one of its files, after creating its parent folders."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def sizes(self, content: Content) -> dict[str, int]:
        """Return {path: bytes} of the received parts of a content. A file that is too long counts as missing."""
        found = {}
        for name, one in content.items():
            with contextlib.suppress(OSError):
                size = os.path.getsize(os.path.join(self.path, name))
                found[name] = size if size <= one["bytes"] else 0
        return found

    def verify(self, content: Content, where: str) -> None:
        """Check that the folder has the content and nothing else. Raise FleetError; a damaged file is removed, so that the next run fetches it again."""
        for name in model_files.files(self.path):
            if name not in content:
                os.unlink(os.path.join(self.path, name))
        for name, one in sorted(content.items()):
            path = os.path.join(self.path, name)
            if not os.path.isfile(path) or model_files.file_digest(path) != one["sha256"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                raise FleetError(
                    f"{name} was damaged in transit: its checksum differs from the source's",
                    where=where,
                    remedy="Run again.",
                )
        for folder, _names, names in os.walk(self.path):
            os.chmod(folder, 0o755)
            for name in names:
                os.chmod(os.path.join(folder, name), 0o644)

    def drop(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def disk_faults(partial: Partial) -> Iterator[None]:
    """Turn errors of the disk into a FleetError; on a full disk the partial transfer is removed to free its space."""
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            partial.drop()
            raise FleetError(
                "the disk is full; the partial transfer was removed",
                where=partial.path,
                remedy="Make room, for example with keep.",
            ) from fault
        raise FleetError(
            f"cannot be written: {fault.strerror or fault}", where=fault.filename or partial.path
        ) from fault
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(partial.path)  # Nothing was received.


def check_digest(archive: str, checksum: str | None) -> str:
    """Return the SHA-256 of an archive, in hexadecimal. Raise FleetError if it is not the requested one."""
    found = model_files.file_digest(archive)
    if checksum and checksum.lower() != f"sha256:{found}":
        raise FleetError(
            f"its checksum is sha256:{found}, not the requested one",
            where=archive,
            remedy="Check whether the source was changed, and set the checksum of the archive that you want.",
        )
    return found


def write_piece(stream: IO[bytes], folder: str, piece: Iterable[versions.Part]) -> None:
    """Write a piece for take_piece(): some bytes of some files, as versions.pieces lists them, of a folder."""
    stream.write(json.dumps([list(one) for one in piece]).encode() + b"\n")
    for name, offset, count in piece:
        with shared_folders.open_inside(folder, name) as source:
            source.seek(offset)
            while count:
                block = source.read(min(count, _BLOCK))
                if not block:
                    raise FleetError(f"{name} became shorter while it was read", where=folder)
                stream.write(block)
                count -= len(block)
    stream.flush()


def take_piece(partial: Partial, content: Content, piece: str) -> None:
    """Add a piece from the controller: a line that lists its parts of files, and their bytes."""
    with open(piece, "rb") as stream:
        for name, offset, count in json.loads(stream.readline()):
            if name not in content:
                raise FleetError(
                    f"a piece of the transfer contains {name}, which the source does not have", where="piece"
                )
            path = partial.file(name)
            with open(path, "r+b" if os.path.exists(path) else "wb") as target:
                target.truncate(offset)
                target.seek(offset)
                while count:
                    block = stream.read(min(count, _BLOCK))
                    if not block:
                        raise FleetError("a piece of the transfer is truncated", where="piece", remedy="Run again.")
                    target.write(block)
                    count -= len(block)


def copy(source: str, partial: Partial, content: Content) -> None:
    """Copy a folder's files, except for those that already exist."""
    for name, one in content.items():
        path = partial.file(name)
        if not (
            os.path.isfile(path)
            and os.path.getsize(path) == one["bytes"]
            and model_files.file_digest(path) == one["sha256"]
        ):
            shared_folders.copy_inside(source, name, path, one["bytes"])


@contextlib.contextmanager
def unpacked(archive: str, checksum: str | None) -> Iterator[str]:
    """Provide a temporary folder with the version that an archive contains."""
    check_digest(archive, checksum)
    parent = tempfile.mkdtemp(prefix="tfserving-")
    try:
        partial = Partial(parent, "archive")
        with disk_faults(partial):
            partial.begin(os.path.getsize(archive))
            unpack(archive, partial)
        yield partial.path
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def unpack(archive: str, partial: Partial) -> None:
    """Unpack one version from an archive. Raise FleetError for a file that is not an archive, contains links or devices, or would write elsewhere."""
    try:
        limits = Limits(archive, bounded_archives.unpacked_bytes(os.path.getsize(archive)), shared_folders.MOST_ENTRIES)
        if zipfile.is_zipfile(archive):
            with open(archive, "rb") as file, bounded_archives.open_zip(file, limits) as opened:
                packed = {one.filename: one for one in opened.infolist() if not one.filename.endswith("/")}
                _refuse_strange(
                    [
                        name
                        for name, one in packed.items()
                        if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG)
                    ],
                    archive,
                )
                _unpack(packed, opened.open, limits, partial)
            return
        with open(archive, "rb") as file, bounded_archives.open_tar(file, limits) as opened:
            members = [member for member in bounded_archives.members(opened, limits) if not member.isdir()]
            stream: Any = opened.fileobj
            stream.seek(opened.offset)
            if (
                stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE
            ):  # tarfile accepts an archive that is truncated between two files.
                raise EOFError("its end is missing")
            while stream.read(_BLOCK):  # Checksums of compressed archives are at their end.
                pass
            _refuse_strange([member.name for member in members if not member.isfile()], archive)
            _unpack({member.name: member for member in members}, opened.extractfile, limits, partial)
    except archive_errors.FAULTS as fault:
        if archive_errors.is_of_disk(fault):
            raise
        partial.drop()
        raise FleetError(
            f"cannot read the archive: {archive_errors.why(fault)}",
            where=archive,
            remedy=f"Copy it again, or use a complete archive of another format: {', '.join(versions.ARCHIVES)}.",
        ) from fault


def _refuse_strange(names: Sequence[str], archive: str) -> None:
    if names:
        raise FleetError(f"{names[0]} is a link or a device", where=archive, remedy="Pack only regular files.")


def _unpack(members: Mapping[str, Any], opened: Callable[[Any], Any], limits: Limits, partial: Partial) -> None:
    archive, left = limits.where, limits.bytes
    named = {posixpath.normpath(name): member for name, member in members.items()}
    for name in named:
        if posixpath.isabs(name) or name.startswith("../") or name in ("..", "."):
            raise FleetError(f"{name} would be written outside the version", where=archive)
    root = versions.root_of(named, archive)
    partial.begin(limits.bytes)
    for name, member in named.items():
        inside = posixpath.relpath(name, root) if root else name
        if not inside.startswith("../"):
            with opened(member) as source, open(partial.file(inside), "wb") as target:
                while block := source.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise limits.fault("it contains more than it declares")
                    target.write(block)


def fingerprint_of_url(source: str, checksum: str | None) -> str:
    """Return what identifies this download among those of the same URL: its checksum, or the headers of the server."""
    if checksum:
        return hash_of([urls.public(source), checksum])
    with _open(source, {}, "HEAD") as answer:
        headers = [
            answer.headers.get("ETag"),
            answer.headers.get("Last-Modified"),
            answer.headers.get("Content-Length"),
        ]
    if not headers[0] and not headers[1]:
        raise FleetError(
            "the server sends neither ETag nor Last-Modified, so it is not known whether the version is already here",
            where=urls.public(source),
            remedy="Set checksum.",
        )
    return hash_of([urls.public(source), *headers])


def download(source: str, partial: Partial, checksum: str | None) -> str:
    """Return the path of the complete archive behind a URL; a partial download continues if the server supports it."""
    path, notes = partial.file("archive"), partial.file("validator")
    have, validator = _noted(path, notes)
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    try:
        answer = _open(source, headers)
    except FleetError as fault:
        if "HTTP status 416" not in fault.what:
            raise
        answer = _open(source, {})
    with answer, open(path, "ab" if answer.status == 206 else "wb") as target:
        strong = answer.headers.get("ETag") or ""
        validator = strong if strong.startswith('"') else answer.headers.get("Last-Modified") or ""
        pathlib.Path(notes).write_text(validator, encoding="utf-8")
        expected = answer.headers.get("Content-Length")
        end = target.tell() + int(expected) if expected else None
        try:
            shutil.copyfileobj(answer, target, _RECEIVED)
        except (OSError, http.client.HTTPException) as fault:
            if getattr(fault, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise FleetError(
                f"the transfer was interrupted: {fault}",
                where=urls.public(source),
                remedy="Run again: the transfer continues where it stopped.",
            ) from fault
        if end is not None and target.tell() != end:
            raise FleetError(
                f"the transfer was interrupted after {target.tell()} of {end} bytes",
                where=urls.public(source),
                remedy="Run again: the transfer continues where it stopped.",
            )
    try:
        check_digest(path, checksum)
    except FleetError as fault:
        partial.drop()
        raise FleetError(fault.what, where=urls.public(source), remedy=fault.remedy) from fault
    return path


def described(folder: str, where: str, rehash: bool) -> dict[str, Any]:
    """Return {inventory, manifest} of a folder, which a host needs before it receives pieces. Raise FleetError."""
    return {"inventory": content_of(folder, where, Digests(rehash)), "manifest": published.manifest_of(folder)}


def content_of(folder: str, where: str, digests: Digests) -> dict[str, FileEntry]:
    """Return the content of a folder, checked against its manifest, if it has one. Raise FleetError."""
    content = published.inventory(folder, digests)
    versions.check_content(content, where)
    brought = published.manifest_of(folder)
    for name, one in sorted(brought["files"].items() if brought else ()):
        if content.get(name) != one:
            raise FleetError(
                f"{name} differs from the version's manifest",
                where=where,
                remedy="Copy or convert the whole model again.",
            )
    if brought and manifest.BATCHING not in brought["files"]:
        content.pop(manifest.BATCHING, None)  # The host that it comes from wrote this file for its own server.
    foreign = sorted(set(content) - set(brought["files"])) if brought else []
    if foreign:
        raise FleetError(
            f"{foreign[0]} is not in the version's manifest",
            where=where,
            remedy=f"If an older version left it there, remove it; if it belongs to the model, remove {model_files.MANIFEST}.",
        )
    return content


def _noted(path: str, notes: str) -> tuple[int, str]:
    try:
        return os.path.getsize(path), pathlib.Path(notes).read_text(encoding="utf-8")
    except OSError:
        return 0, ""


def _open(source: str, headers: Mapping[str, str], method: str = "GET") -> Any:
    try:
        parts = urllib.parse.urlsplit(source)
    except ValueError as fault:
        raise FleetError(f"not a valid URL: {fault}", where=urls.public(source)) from fault
    if parts.username:
        source = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(
            None,
            source,
            urllib.parse.unquote(parts.username),
            urllib.parse.unquote(parts.password or ""),
            is_authenticated=True,
        )
        opener = downloads.opener(urllib.request.HTTPBasicAuthHandler(passwords))
    else:
        opener = downloads.opener()
    request = urllib.request.Request(source, headers=dict(headers, **{"User-Agent": "tfserving.fleet"}), method=method)
    try:
        return opener.open(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as fault:
        raise FleetError(
            f"the server answers with HTTP status {fault.code} {fault.reason}", where=urls.public(source)
        ) from fault
    except (OSError, ValueError, http.client.HTTPException) as fault:
        raise FleetError(
            f"cannot be fetched: {getattr(fault, 'reason', None) or fault}", where=urls.public(source)
        ) from fault


def hash_of(data: Any) -> str:
    """Return the SHA-256 of JSON data, in hexadecimal."""
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def _mib(count: int) -> int:
    return -(-count // (1 << 20))
