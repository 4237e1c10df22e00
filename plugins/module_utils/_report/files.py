# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the files of the report, decide whether to replace them, and write them."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._report import summary
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import Document


def replace(directory: str, data: str | None, page: str | None, check_mode: bool) -> dict[str, Any]:
    """Write the report, unless it has no measurements and the existing one has some. Return the module's result.

    data: the document as JSON. page: the page as HTML. Raise FleetError if the directory cannot be written.
    """
    wanted = _document((data or "").encode())
    if wanted is None:
        raise FleetError(
            "this is not a report", where="data", remedy="Run tfserving.fleet.report as a task, which sets data itself."
        )
    data_path, page_path = (os.path.join(directory, name) for name in ("report.json", "report.html"))
    contents = {data_path: (data or "").encode(), page_path: (page or "").encode()}
    try:
        present = {path: _read(path) for path in contents}
        earlier = _document(present[data_path])
        if earlier and earlier["total"] and not wanted["total"]:
            kept = f"{data_path} contains measurements and this run has none, so the report was not changed"
            decision, wanted = Decision(changed=False, warnings=(kept,)), earlier
        else:
            decision = Decision(
                changed=present != contents,
                before=_described(present, earlier),
                after=_described(contents, wanted),
                actions=tuple(f"write {path}" for path in contents if present[path] != contents[path]),
                header=data_path,
            )
        if decision.changed and not check_mode:
            os.makedirs(directory, exist_ok=True)
            for path, content in contents.items():
                if present[path] != content:
                    atomic_files.write_file(path, content)
    except OSError as fault:
        raise FleetError(
            f"cannot write the report to {directory!r}: {fault.strerror} ({fault.filename})",
            where="destination",
            remedy="Set a directory that this user can write to.",
        ) from fault
    return decision.result(
        page=page_path, data=data_path, headline=summary.headline(wanted), summary=summary.lines(wanted)
    )


def _document(content: bytes | None) -> Document | None:
    """Return the document in the bytes of a report.json, or None if this version cannot read it."""
    try:
        found: Document = json.loads(content or b"null")
        summary.lines(found)
        return found
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _described(contents: dict[str, bytes] | dict[str, bytes | None], document: Document | None) -> str:
    """Return the summary and a line for each file, for a readable diff."""
    files = [
        f"{os.path.basename(path)}: sha256 {hashlib.sha256(content).hexdigest()}"
        for path, content in contents.items()
        if content is not None
    ]
    return "".join(f"{line}\n" for line in (summary.lines(document) if document else []) + files)
