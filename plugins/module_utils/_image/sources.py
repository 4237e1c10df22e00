# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that brings a recipe's sources to a builder: downloaded or from a path, checked against git's id of all files, packed reproducibly."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
from collections.abc import Mapping
from typing import IO, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core import (
    archive_errors,
    atomic_files,
    bounded_archives,
    downloads,
    urls,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import source_tree
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import Recipe

_TIMEOUT_S = 60
_MOST_BYTES, _MOST_MEMBERS, _READ_BYTES = 1 << 30, 100_000, 1 << 20


class Sources:
    """The checked sources of a recipe, as one tar file below directory; fetched once for all images of a release."""

    def __init__(self, recipe: Recipe, directory: str, mirrors: Mapping[str, str] | None = None) -> None:
        self.wanted = recipe["sources"]
        self.path = os.path.join(directory, f"sources-{self.wanted['tree']}.tar")
        if not self._is_whole():
            os.makedirs(directory, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory) as stream:
                self._bring(stream, mirrors or {})
                self._keep(stream)

    def text(self, name: str) -> str:
        """Return a file's text."""
        with tarfile.open(self.path) as archive:
            try:
                return cast(IO[bytes], archive.extractfile(name)).read().decode()
            except KeyError:
                raise FleetError(
                    f"the sources have no file {name!r}",
                    where=urls.public(self.wanted["archive"]),
                    remedy="Use sources of TensorFlow Serving.",
                ) from None

    def _is_whole(self) -> bool:
        try:
            with open(self.path, "rb") as stream:
                return _tree_id(_opened(stream, self.path)[1]) == self.wanted["tree"]
        except (*archive_errors.FAULTS, FleetError):
            return False

    def _bring(self, stream: IO[bytes], mirrors: Mapping[str, str]) -> None:
        archive = self.wanted["archive"]
        if os.path.isdir(archive):
            self._pack_git(stream, archive)
        elif "://" in archive:
            for prefix, mirror in sorted(mirrors.items()):
                if archive.startswith(prefix):
                    archive = mirror + archive[len(prefix) :]
            try:
                with downloads.opener().open(archive, timeout=_TIMEOUT_S) as answer:
                    shutil.copyfileobj(answer, stream)
            except (urllib.error.URLError, http.client.HTTPException, ValueError, OSError) as fault:
                raise FleetError(
                    f"cannot download the sources: {getattr(fault, 'reason', None) or fault}",
                    where=urls.public(archive),
                    remedy="Give the builder access to this address, set a mirror, or copy the archive to the builder and set its path.",
                ) from fault
        else:
            try:
                with open(archive, "rb") as given:
                    shutil.copyfileobj(given, stream)
            except OSError as fault:
                raise FleetError(
                    f"cannot read the sources: {fault.strerror}",
                    where=urls.public(archive),
                    remedy="Set the path of an archive on the builder.",
                ) from fault
        stream.seek(0)

    def _pack_git(self, stream: IO[bytes], directory: str) -> None:
        if not shutil.which("git"):
            raise FleetError(
                "git is not installed on this host", where=directory, remedy="Install git, or use an archive."
            )
        done = subprocess.run(
            [
                "git",
                "-c",
                f"safe.directory={os.path.abspath(directory)}",
                "-C",
                directory,
                "archive",
                "--format=tar",
                self.wanted["commit"],
            ],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FleetError(
                f"git cannot pack commit {self.wanted['commit']}: {done.stderr.strip()}",
                where=directory,
                remedy="Run git fetch there first.",
            )

    def _keep(self, stream: IO[bytes]) -> None:
        try:
            archive, members = _opened(stream, urls.public(self.wanted["archive"]))
        except archive_errors.FAULTS as fault:
            raise FleetError(
                f"this is not a complete tar archive: {archive_errors.why(fault)}",
                where=urls.public(self.wanted["archive"]),
                remedy="Download it again. It must be the archive of the sources of a TensorFlow Serving release.",
            ) from None
        for candidate in (members, _without_top(members)):
            found = _tree_id(candidate)
            if found == self.wanted["tree"]:
                atomic_files.write_file(self.path, _packed(archive, candidate))
                return
        raise FleetError(
            f"the sources do not match commit {self.wanted['commit']}: the checksum of their files is {found}, not {self.wanted['tree']}",
            where=urls.public(self.wanted["archive"]),
            remedy="Download them again from a source that you trust. Nothing was built.",
        )


# {path: (mode as git writes it, git's id of the content, where that lies in the archive)}
_Members = dict[str, "tuple[str, str, tarfile.TarInfo]"]


def _opened(stream: IO[bytes], where: str) -> tuple[tarfile.TarFile, _Members]:
    """Return an archive and its members. No content is kept in memory, because it is not trusted until its checksum matches."""
    limits = bounded_archives.Limits(where, _MOST_BYTES, _MOST_MEMBERS)
    archive = bounded_archives.open_tar(stream, limits)
    found: _Members = {}
    for member in bounded_archives.members(archive, limits):
        name = member.name[2:] if member.name.startswith("./") else member.name
        if member.issym():
            found[name] = ("120000", source_tree.blob_id(os.fsencode(member.linkname)), member)
        elif member.isfile():
            content = cast(IO[bytes], archive.extractfile(member))
            identity = source_tree.blob_id_of(iter(functools.partial(content.read, _READ_BYTES), b""), member.size)
            found[name] = ("100755" if member.mode & 0o100 else "100644", identity, member)
    return archive, found


def _without_top(members: _Members) -> _Members:
    """Return the files without their common top directory, which GitHub adds."""
    return {name.partition("/")[2]: entry for name, entry in members.items() if "/" in name}


def _tree_id(members: _Members) -> str:
    return source_tree.tree_id({name: (mode, identity) for name, (mode, identity, _member) in members.items()})


def _packed(archive: tarfile.TarFile, members: _Members) -> bytes:
    """Pack files reproducibly, so that an engine reuses its layers."""
    packed = io.BytesIO()
    with contextlib.closing(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)) as target:
        for name, (mode, _identity, given) in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if mode == "100755" else 0o644
            if mode == "120000":
                member.type, member.linkname = tarfile.SYMTYPE, given.linkname
                target.addfile(member)
            else:
                member.size = given.size
                target.addfile(member, archive.extractfile(given))
    return packed.getvalue()
