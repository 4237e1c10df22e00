# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that bring a version's files to this host: from a folder or an archive here, over HTTP, from an object store, or in pieces from the controller.

What is on its way lies in a hidden folder beside the versions, which no server takes for one, named after what it will hold: a run that was killed is
gone on with by the next one for the same source.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import http.client
import json
import os
import posixpath
import shutil
import signal
import stat
import subprocess
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

from ansible_collections.tfserving.fleet.plugins.module_utils._core import archive_errors
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    model_files,
    published,
    versions,
)

PREFIX = ".tfserving-partial-"
_BLOCK, _RECEIVED = 1 << 20, 1 << 16  # What came is written soon, so that little is lost with a run that is killed.
_SILENCE_S = 60
_KEPT_S = 86400
_LAST_WORDS = 400
_PR_SET_PDEATHSIG = 1


class Partial:
    """The hidden folder for what is on its way. key: what tells this content from another."""

    def __init__(self, parent, key):
        self._parent, self.path = parent, os.path.join(parent, f"{PREFIX}{key[:32]}")

    def begin(self, needed_bytes):
        """Make the folder, and remove those of others that nobody touched for a day. Raises FleetError where the disk has no room for it."""
        for name in os.listdir(self._parent):
            path = os.path.join(self._parent, name)
            if name.startswith(PREFIX) and path != self.path and time.time() - os.path.getmtime(path) > _KEPT_S:
                shutil.rmtree(path, ignore_errors=True)
        disk = os.statvfs(self._parent)
        free = disk.f_bavail * disk.f_frsize
        if needed_bytes > free:
            raise FleetError(
                f"the version needs {_mib(needed_bytes)} MiB more, {_mib(free)} MiB are free",
                where=self._parent,
                remedy="Make room, for instance with keep.",
            )
        os.makedirs(self.path, exist_ok=True)

    def file(self, name):
        """The path of one of its files; the folders above it are made."""
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def sizes(self, content):
        """{path: bytes} of what is there of a content; a file that is too long counts as none."""
        found = {}
        for name, one in content.items():
            with contextlib.suppress(OSError):
                size = os.path.getsize(os.path.join(self.path, name))
                found[name] = size if size <= one["bytes"] else 0
        return found

    def verify(self, content, where):
        """Return when the folder holds the content and nothing else. Raises FleetError; what is damaged is removed, so that the next run brings it again."""
        for name in model_files.files(self.path):
            if name not in content:
                os.unlink(os.path.join(self.path, name))
        for name, one in sorted(content.items()):
            path = os.path.join(self.path, name)
            if not os.path.isfile(path) or model_files.file_digest(path) != one["sha256"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                raise FleetError(
                    f"{name} was damaged on its way: its checksum is not the source's", where=where, remedy="Run again."
                )
        for folder, _names, names in os.walk(self.path):
            os.chmod(folder, 0o755)
            for name in names:
                os.chmod(os.path.join(folder, name), 0o644)

    def drop(self):
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def disk_faults(partial):
    """What the disk refuses becomes a FleetError; on a full disk what is on its way is removed, so that it stands in nobody's way."""
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            partial.drop()
            raise FleetError(
                "the disk is full; what was on its way is removed",
                where=partial.path,
                remedy="Make room, for instance with keep.",
            ) from fault
        raise FleetError(
            f"cannot be written: {fault.strerror or fault}", where=fault.filename or partial.path
        ) from fault
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(partial.path)  # Nothing came.


def check_digest(archive, checksum):
    """The SHA-256 of an archive, in hexadecimal. Raises FleetError where another one was asked for."""
    found = model_files.file_digest(archive)
    if checksum and checksum.lower() != f"sha256:{found}":
        raise FleetError(
            f"it has the checksum sha256:{found}, not the one that was asked for",
            where=archive,
            remedy="Look whether the source was changed, and give the checksum of what you want.",
        )
    return found


def take_piece(partial, content, piece):
    """Add a piece that the controller sent: a line that says which bytes of which files it holds, and these bytes."""
    with open(piece, "rb") as stream:
        for name, offset, count in json.loads(stream.readline()):
            if name not in content:
                raise FleetError(f"a piece holds {name}, which the source does not have", where="piece")
            path = partial.file(name)
            with open(path, "r+b" if os.path.exists(path) else "wb") as target:
                target.truncate(offset)
                target.seek(offset)
                while count:
                    block = stream.read(min(count, _BLOCK))
                    if not block:
                        raise FleetError("a piece is cut short", where="piece", remedy="Run again.")
                    target.write(block)
                    count -= len(block)


def copy(source, partial, content):
    """Copy a folder's files, those that are there already excepted."""
    for name, one in content.items():
        path = partial.file(name)
        if not (
            os.path.isfile(path)
            and os.path.getsize(path) == one["bytes"]
            and model_files.file_digest(path) == one["sha256"]
        ):
            shutil.copyfile(os.path.join(source, name), path)


def unpack(archive, partial):
    """Unpack one version from an archive. Raises FleetError for an archive that is none, holds links or devices, or would write elsewhere."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                members = {one.filename: one for one in opened.infolist() if not one.is_dir()}
                _refuse_strange(
                    [
                        name
                        for name, one in members.items()
                        if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG)
                    ],
                    archive,
                )
                _unpack(members, opened.open, archive, partial)
            return
        with tarfile.open(archive) as opened:
            members = [member for member in opened.getmembers() if not member.isdir()]
            opened.fileobj.seek(opened.offset)
            if (
                opened.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE
            ):  # tarfile takes what is cut between two files for whole.
                raise EOFError("its end is missing")
            while opened.fileobj.read(_BLOCK):  # Checksums of compressed archives stand at their end.
                pass
            _refuse_strange([member.name for member in members if not member.isfile()], archive)
            _unpack({member.name: member for member in members}, opened.extractfile, archive, partial)
    except archive_errors.FAULTS as fault:
        if archive_errors.is_of_disk(fault):
            raise
        partial.drop()
        raise FleetError(
            f"it is no archive that can be read: {archive_errors.why(fault)}",
            where=archive,
            remedy=f"Allowed: {', '.join(versions.ARCHIVES)}.",
        ) from fault


def _refuse_strange(names, archive):
    if names:
        raise FleetError(f"{names[0]} is a link or a device", where=archive, remedy="Pack plain files.")


def _unpack(members, opened, archive, partial):
    named = {posixpath.normpath(name): member for name, member in members.items()}
    for name in named:
        if posixpath.isabs(name) or name.startswith("../") or name == "..":
            raise FleetError(f"{name} would be written outside of the version", where=archive)
    root = versions.root_of(named, archive)
    for name, member in named.items():
        inside = posixpath.relpath(name, root) if root else name
        if not inside.startswith("../"):
            with opened(member) as source, open(partial.file(inside), "wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)


def fingerprint_of_url(source, checksum):
    """What tells this download from a later one of the same address: its checksum, else what the server says about it."""
    if checksum:
        return _hash([versions.public(source), checksum])
    with _open(source, {}, "HEAD") as answer:
        told = [answer.headers.get("ETag"), answer.headers.get("Last-Modified"), answer.headers.get("Content-Length")]
    if not told[0] and not told[1]:
        raise FleetError(
            "the server tells neither ETag nor Last-Modified, so that nobody knows whether it is here already",
            where=versions.public(source),
            remedy="Give its checksum.",
        )
    return _hash([versions.public(source), *told])


def download(source, partial, checksum):
    """The path of the archive behind an address, whole; what is there of it already is not fetched again where the server can go on."""
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
        with open(notes, "w", encoding="utf-8") as stream:
            stream.write(strong if strong.startswith('"') else answer.headers.get("Last-Modified") or "")
        expected = answer.headers.get("Content-Length")
        end = target.tell() + int(expected) if expected else None
        try:
            shutil.copyfileobj(answer, target, _RECEIVED)
        except (OSError, http.client.HTTPException) as fault:
            if getattr(fault, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise FleetError(
                f"the transfer broke off: {fault}",
                where=versions.public(source),
                remedy="Run again: it goes on where it ended.",
            ) from fault
        if end is not None and target.tell() != end:
            raise FleetError(
                f"the transfer broke off after {target.tell()} of {end} bytes",
                where=versions.public(source),
                remedy="Run again: it goes on where it ended.",
            )
    try:
        check_digest(path, checksum)
    except FleetError as fault:
        partial.drop()
        raise FleetError(fault.what, where=versions.public(source), remedy=fault.remedy) from fault
    return path


def listing(source, timeout_s):
    """{path: bytes} of the objects below an address of an object store, and what tells them from later ones."""
    client = _client(source)
    base = source.rstrip("/") + "/"
    if client == "aws":
        bucket, _slash, prefix = base[len("s3://") :].partition("/")
        lines = [line.split(None, 3) for line in _told([client, "s3", "ls", "--recursive", base], timeout_s, source)]
        found = {
            key[len(prefix) :]: (int(size), f"{day} {hour}")
            for day, hour, size, key in lines
            if key.startswith(prefix) and not key.endswith("/")
        }
    else:
        command = (
            [client, "storage", "ls", "--long", f"{base}**"]
            if client == "gcloud"
            else [client, "ls", "-l", f"{base}**"]
        )
        lines = [line.split(None, 2) for line in _told(command, timeout_s, source) if not line.startswith("TOTAL:")]
        found = {
            url[len(base) :]: (int(size), moment)
            for size, moment, url in lines
            if url.startswith(base) and not url.endswith("/")
        }
    if not found:
        raise FleetError(
            "there is nothing below it",
            where=versions.public(source),
            remedy="Name the folder of one version, not an archive.",
        )
    versions.check_content(found, versions.public(source))
    return {name: size for name, (size, _moment) in found.items()}, _hash(
        [versions.public(base), sorted(found.items())]
    )


def fetch_objects(source, partial, sizes, timeout_s):
    """Bring the objects below an address of an object store, with its own client, which checks them on their way and leaves out what is there."""
    client, base = _client(source), source.rstrip("/") + "/"
    commands = {
        "aws": ["s3", "sync", "--no-progress", "--only-show-errors", base, partial.path],
        "gcloud": ["storage", "rsync", "--recursive", base, partial.path],
        "gsutil": ["-m", "-q", "rsync", "-r", base, partial.path],
    }
    _told([client, *commands[client]], timeout_s, source)
    for name in _all_files(partial.path):
        if name not in sizes:  # What a killed client left.
            os.unlink(os.path.join(partial.path, name))
    wrong = [
        name
        for name, size in sorted(sizes.items())
        if not os.path.isfile(partial.file(name)) or os.path.getsize(partial.file(name)) != size
    ]
    if wrong:
        raise FleetError(f"{wrong[0]} did not come whole", where=versions.public(source), remedy="Run again.")


def content_of(folder, where, digests):
    """The content of a folder, checked against the manifest that it may bring. Raises FleetError."""
    content = published.inventory(folder, digests)
    versions.check_content(content, where)
    brought = published.manifest_of(folder)
    for name, one in sorted((brought or {}).get("files", {}).items()):
        if content.get(name) != one:
            raise FleetError(
                f"{name} is not what the version's manifest says",
                where=where,
                remedy="Copy or convert the model again, whole.",
            )
    if brought and published.manifest.BATCHING not in brought["files"]:
        content.pop(published.manifest.BATCHING, None)  # The host that it comes from wrote it for its own server.
    foreign = sorted(set(content) - set(brought["files"])) if brought else []
    if foreign:
        raise FleetError(
            f"{foreign[0]} is not in the version's manifest",
            where=where,
            remedy=f"Remove it, where an older version left it there, or {model_files.MANIFEST}, where it belongs to the model.",
        )
    return content


def _noted(path, notes):
    try:
        with open(notes, encoding="utf-8") as stream:
            return os.path.getsize(path), stream.read()
    except OSError:
        return 0, ""


def _open(source, headers, method="GET"):
    try:
        parts = urllib.parse.urlsplit(source)
    except ValueError as fault:
        raise FleetError(f"is no address: {fault}", where=versions.public(source)) from fault
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
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    else:
        opener = urllib.request.build_opener()
    request = urllib.request.Request(source, headers=dict(headers, **{"User-Agent": "tfserving.fleet"}), method=method)
    try:
        return opener.open(request, timeout=_SILENCE_S)
    except urllib.error.HTTPError as fault:
        raise FleetError(
            f"the server answers with HTTP status {fault.code} {fault.reason}", where=versions.public(source)
        ) from fault
    except (OSError, ValueError, http.client.HTTPException) as fault:
        raise FleetError(
            f"cannot be fetched: {getattr(fault, 'reason', None) or fault}", where=versions.public(source)
        ) from fault


def _client(source):
    scheme = source.partition("://")[0].lower()
    for name in versions.STORES[scheme]:
        if shutil.which(name):
            return name
    raise FleetError(
        f"{scheme}:// needs the command line client {' or '.join(versions.STORES[scheme])} on this host",
        where="source",
        remedy="Install it and let it log in, or bring the version another way.",
    )


def _told(command, timeout_s, source):
    """The lines that a client says, times in UTC. Raises FleetError with its last words."""
    where, death = versions.public(source), ctypes.CDLL(None).prctl
    # The client ends with this run. What it started itself may outlive it, and holds the folder's lock meanwhile: all that it inherits.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, TZ="UTC"),
        close_fds=False,
        start_new_session=True,
        preexec_fn=lambda: death(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    try:
        said, complained = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as fault:
        raise FleetError(
            f"{command[0]} did not end within {timeout_s:g} s", where=where, remedy="Run again, or allow more."
        ) from fault
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    words, code = " ".join(complained.decode("utf-8", "replace").split())[-_LAST_WORDS:], process.returncode
    if code < 0:
        raise FleetError(
            f"{command[0]} was killed by signal {-code}",
            where=where,
            remedy="Run again: what came whole is not fetched again.",
        )
    if code and (words or said or code != 1):  # aws ends with status 1, without a word, where it finds nothing.
        raise FleetError(f"{command[0]} ended with exit status {code}: {words or 'no words'}", where=where)
    return [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]


def _all_files(folder):
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _names, names in os.walk(folder)
        for name in names
    )


def _hash(told):
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _mib(count):
    return -(-count // (1 << 20))
