# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide about the versions in a model's folder: the number of a new one, their state on a server, which to prune, and the pieces of a transfer."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest, other_files
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Content
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import VersionStatus

Part = tuple[str, int, int]  # A part of a file: its path, offset, and number of bytes.
PIECE_BYTES = 64 << 20
MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "model.tflite")
STORES = {"s3": ("aws",), "gs": ("gcloud", "gsutil")}
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_DIGEST = re.compile(r"sha256:[0-9a-fA-F]{64}")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


def named_by(source: str) -> int | None:
    """Return the number in the name of a source's folder, such as 42 for /srv/digits/42, or None."""
    return manifest.number_of(posixpath.basename(urls.public(source).rstrip("/")))


def refuse_many_numbers(options: Mapping[str, Any], hosts: int) -> None:
    """Raise FleetError if several hosts would each choose a number, so that one model would have several."""
    source = options.get("source")
    if isinstance(source, str) and options.get("version") is None and named_by(source) is None and hosts > 1:
        raise FleetError(
            f"{hosts} hosts of this play would each choose their own number for it",
            where="version",
            remedy="Set version, or use a number as the name of the source's folder.",
        )


def kind_of(source: str) -> str:
    """ "path", "file", "http" or "store" of a source. Raises FleetError."""
    found = _SCHEME.match(source)
    if not found:
        return "path"
    scheme = found.group(1).lower()
    if scheme in ("http", "https"):
        if not source.partition("?")[0].lower().endswith(ARCHIVES):
            raise FleetError(
                f"{urls.public(source)} is not an archive; allowed: {', '.join(ARCHIVES)}",
                where="source",
                remedy="Pack the version into one archive.",
            )
        return "http"
    if scheme not in (*STORES, "file"):
        raise FleetError(
            f"{scheme}:// is not supported; allowed: a path, file, http, https, {', '.join(STORES)}", where="source"
        )
    return "file" if scheme == "file" else "store"


def check(options: Mapping[str, Any]) -> None:
    """Raise FleetError for options that exclude each other."""
    version, server = options["version"], options["server"]
    bounded("version", version or 0, 0, manifest.LARGEST_NUMBER)
    if options["checksum"] and not _DIGEST.fullmatch(options["checksum"]):
        raise FleetError(
            f"{options['checksum']!r} is not a valid checksum; allowed: sha256: and 64 hexadecimal digits",
            where="checksum",
        )
    if options["checksum"] and options["source"] is not None and kind_of(options["source"]) == "store":
        raise no_checksum_of_a_folder(urls.public(options["source"]))
    if options["source"] == "":
        raise FleetError(
            "it is empty", where="source", remedy="Set a version, or leave it out to use the published one."
        )
    if options["source"] is None and version is None:
        raise FleetError(
            "neither source nor version is set",
            where="version",
            remedy="Set the number of a published version, or a source to publish.",
        )
    bounded("keep", 1 if options["keep"] is None else options["keep"], 1)
    for name in ("keep", "samples", "label"):
        if options[name] is not None and not server:
            raise FleetError(
                "it needs a server",
                where=name,
                remedy="Set server.port and server.model of the server that serves this folder.",
            )
    if options["state"] == "absent" and not server:
        raise FleetError(
            "a version is removed only if its server reports that it does not serve it",
            where="server",
            remedy="Set server.port and server.model of the server that serves this folder.",
        )
    if options["label"] is not None and not options["config_file"]:
        raise FleetError("it needs the file that lists the server's models", where="label", remedy="Set config_file.")
    bounded("sample_rows", options["sample_rows"], 1)
    bounded("tolerance", options["tolerance"], 0)
    for name in ("ready_timeout_s", "transfer_timeout_s"):
        bounded(name, options[name], 0.001, LONGEST_S, "s")
    if server:
        bounded("server.port", server["port"], 1, 65535)
        if not server["model"]:
            raise FleetError(
                "it is empty", where="server.model", remedy="Set the name under which the server serves this folder."
            )
        bounded("server.deadline_s", server["deadline_s"], 0.001, LONGEST_S, "s")


def not_on_the_controller(source: str) -> FleetError:
    """Return the error about a source of which the controller has nothing."""
    return FleetError(
        "the controller has no folder or archive at this path",
        where=urls.public(source),
        remedy="Set remote_src: true for a path on the host.",
    )


def no_checksum_of_a_folder(source: str) -> FleetError:
    """Return the FleetError for a checksum that cannot be checked."""
    return FleetError(
        f"it is the checksum of an archive, but {source} is a folder",
        where="checksum",
        remedy="Leave it out: folders are compared file by file, and with their manifest if they have one.",
    )


def check_content(content: Collection[str], where: str) -> None:
    """Raise FleetError for paths that would leave the version's folder, or a content that no server can load."""
    for path in content:
        if not path or posixpath.isabs(path) or ".." in path.split("/") or "\0" in path or "\n" in path:
            raise FleetError(f"{path!r} is not a path inside a version", where=where)
    if not any(name in content for name in MODEL_FILES):
        raise FleetError(
            f"it is not a version of a model: it has none of {', '.join(MODEL_FILES)}",
            where=where,
            remedy="Set the folder of one version, not the folder of all versions.",
        )


def digest(content: Content) -> str:
    """Return the SHA-256 of a content, in hexadecimal."""
    return hashlib.sha256(
        json.dumps(sorted((path, one["sha256"], one["bytes"]) for path, one in content.items())).encode()
    ).hexdigest()


def place(
    published: Collection[int],
    same: Collection[int],
    version: int | None = None,
    known: Iterable[int] = (),
    both: Callable[[int], str] | None = None,
) -> tuple[int, bool]:
    """Return (number, whether it already exists).

    published: the numbers in the folder. same: those with the content of the source. Without a number from the user, it
    is the newest one if that is the same, or else the next one that the server does not know, because the server's
    report about a withdrawn version could be mistaken for the new one. known: the numbers that the server knows. Raise
    FleetError if the number has other content; both(number) describes its content and that of the source.
    """
    if version is None:
        newest = max(published, default=0)
        if newest not in same and max(newest, *known, 0) == manifest.LARGEST_NUMBER:
            raise FleetError(
                f"there is no version number above {manifest.LARGEST_NUMBER}", where="version", remedy="Set version."
            )
        return (newest, True) if newest in same else (max(newest, *known, 0) + 1, False)
    if version in published and version not in same:
        raise FleetError(
            f"version {version} already exists with other content" + (f": {both(version)}" if both else ""),
            where="version",
            remedy="Set a new version, or use a new number as the name of the source's folder; a server does not notice a replaced version.",
        )
    return version, version in published


def newer(published: Iterable[int], version: int) -> list[int]:
    """Return the published versions with a higher number, ascending."""
    return sorted(number for number in published if number > version)


def newer_sentences(found: Sequence[int], version: int, path: str) -> tuple[str, ...]:
    """Return the warning about versions of newer() in the folder path, if there are any."""
    if not found:
        return ()
    return (
        f"{path}: version {found[-1]} is newer, and a server that serves only the newest version (without version_policy) serves it instead of {version}",
    )


def used(statuses: Iterable[VersionStatus]) -> set[int]:
    """Return the versions that a server has or is loading: all that have not ended."""
    return {one["version"] for one in statuses if one["state"] != grpc_api.END}


def available(statuses: Iterable[VersionStatus]) -> list[int]:
    """Return the versions that a server serves, newest first."""
    return sorted((one["version"] for one in statuses if one["state"] == grpc_api.AVAILABLE), reverse=True)


def pruned(published: Iterable[int], keep: int, kept: Iterable[int]) -> list[int]:
    """Return the versions to remove so that at most keep are left, oldest first. kept: those that stay whatever their age."""
    stays = set(sorted(published, reverse=True)[:keep]) | set(kept)
    return sorted(set(published) - stays)


def verdict(
    statuses: Iterable[VersionStatus], version: int, before: Collection[VersionStatus] = ()
) -> tuple[bool, str | None]:
    """Return (whether the state of the version is final, why it cannot be served or None). before: earlier statuses, whose ends do not count."""
    for one in statuses:
        if one["version"] == version and one["state"] == grpc_api.AVAILABLE:
            return True, None
        if one["version"] == version and one["state"] == grpc_api.END and one["error_code"] and one not in before:
            return True, one["error_message"]
    return False, None


def missing(content: Content, there: Mapping[str, int]) -> list[Part]:
    """Return the parts that must still be sent, in order. there: {path: bytes that already exist}."""
    return [
        (path, there.get(path, 0), one["bytes"] - there.get(path, 0))
        for path, one in sorted(content.items())
        if path not in there or there[path] < one["bytes"]
    ]


def pieces(wanted: Iterable[Part], size: int = PIECE_BYTES) -> Iterator[list[Part]]:
    """Yield lists of the wanted parts with at most size bytes each."""
    piece: list[Part] = []
    room = size
    for path, offset, count in wanted:
        while True:
            part = min(count, room)
            piece.append((path, offset, part))
            offset, count, room = offset + part, count - part, room - part
            if room == 0:
                yield piece
                piece, room = [], size
            if count == 0:
                break
    if piece:
        yield piece


def root_of(names: Collection[str], where: str) -> str:
    """Return the folder within an archive that contains the model, "" for its top. names: the files' paths."""
    roots = sorted({posixpath.dirname(name) for name in names if posixpath.basename(name) in MODEL_FILES})
    known = None if roots else other_files.of_names(names)
    if known:
        raise FleetError(f"the archive contains no model: {known[0]}", where=where, remedy=known[1])
    if not roots:
        raise FleetError(f"the archive contains no model: none of {', '.join(MODEL_FILES)}", where=where)
    if len(roots) > 1:
        raise FleetError(
            f"the archive contains several models: {', '.join(root or 'its top level' for root in roots)}",
            where=where,
            remedy="Pack only one version.",
        )
    return roots[0]
