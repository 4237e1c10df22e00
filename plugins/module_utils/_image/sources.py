# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that brings a recipe's sources to a builder: fetched or taken from a path, checked against git's id of all their files, packed the same each time."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core import archive_errors, atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import source_tree
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import Recipe

_TIMEOUT_S = 60


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
        """A file's text."""
        with tarfile.open(self.path) as archive:
            try:
                return cast(IO[bytes], archive.extractfile(name)).read().decode()
            except KeyError:
                raise FleetError(
                    f"the sources have no {name}",
                    where=self.wanted["archive"],
                    remedy="Name sources of TensorFlow Serving.",
                ) from None

    def _is_whole(self) -> bool:
        try:
            with open(self.path, "rb") as stream:
                return source_tree.tree_id(_identities(_members(stream))) == self.wanted["tree"]
        except archive_errors.FAULTS:
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
                with urllib.request.build_opener().open(archive, timeout=_TIMEOUT_S) as answer:
                    shutil.copyfileobj(answer, stream)
            except (urllib.error.URLError, http.client.HTTPException, ValueError, OSError) as fault:
                raise FleetError(
                    f"cannot fetch the sources: {getattr(fault, 'reason', None) or fault}",
                    where=archive,
                    remedy="Let the builder reach it, name a mirror, or bring the archive to the builder and name its path.",
                ) from fault
        else:
            try:
                with open(archive, "rb") as given:
                    shutil.copyfileobj(given, stream)
            except OSError as fault:
                raise FleetError(
                    f"cannot read the sources: {fault.strerror}",
                    where=archive,
                    remedy="Name an archive on the builder.",
                ) from fault
        stream.seek(0)

    def _pack_git(self, stream: IO[bytes], directory: str) -> None:
        if not shutil.which("git"):
            raise FleetError(
                "the program git is missing on this host", where=directory, remedy="Install it, or name an archive."
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
                remedy="Fetch it there first.",
            )

    def _keep(self, stream: IO[bytes]) -> None:
        try:
            members = _members(stream)
        except archive_errors.FAULTS as fault:
            raise FleetError(
                f"this is no whole tar archive: {archive_errors.why(fault)}",
                where=self.wanted["archive"],
                remedy="Name the archive of a release's sources.",
            ) from None
        for candidate in (members, _without_top(members)):
            found = source_tree.tree_id(_identities(candidate))
            if found == self.wanted["tree"]:
                atomic_files.write_file(self.path, _packed(candidate))
                return
        raise FleetError(
            f"the sources are not those of commit {self.wanted['commit']}: the checksum of their files is {found}, not {self.wanted['tree']}",
            where=self.wanted["archive"],
            remedy="Fetch them anew from a source you trust; nothing was built.",
        )


# {path: (mode as git writes it, content)}
_Members = dict[str, "tuple[str, bytes]"]


def _members(stream: IO[bytes]) -> _Members:
    found: _Members = {}
    with tarfile.open(fileobj=stream) as archive:
        for member in archive:
            name = member.name[2:] if member.name.startswith("./") else member.name
            if member.issym():
                found[name] = ("120000", member.linkname.encode())
            elif member.isfile():
                found[name] = (
                    "100755" if member.mode & 0o100 else "100644",
                    cast(IO[bytes], archive.extractfile(member)).read(),
                )
    return found


def _without_top(members: _Members) -> _Members:
    """The files without the one directory that holds them all, as GitHub packs them."""
    return {name.partition("/")[2]: entry for name, entry in members.items() if "/" in name}


def _identities(members: _Members) -> dict[str, tuple[str, str]]:
    return {name: (mode, source_tree.blob_id(content)) for name, (mode, content) in members.items()}


def _packed(members: _Members) -> bytes:
    """The same bytes for the same files, so that an engine finds its layers again."""
    packed = io.BytesIO()
    with contextlib.closing(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)) as archive:
        for name, (mode, content) in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if mode == "100755" else 0o644
            if mode == "120000":
                member.type, member.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
