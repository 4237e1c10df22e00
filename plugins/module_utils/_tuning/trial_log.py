# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the log of a tuning on the controller: one line with the result of each pair of servers. A killed tuning continues from it."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_LATEST_S = 24 * 3600  # older results are measured again


class TrialLog:
    """The results of a tuning's pairs of servers, by a key for what was compared and how. path: None stores nothing."""

    def __init__(self, path: str | None) -> None:
        self._path = pathlib.Path(path).expanduser() if path else None
        self._known: dict[str, Any] = {}
        if self._path and self._path.exists():
            self._read(self._path)

    def get(self, key: str) -> Any:
        """Return the value that was logged with a key, or None."""
        return self._known.get(key)

    def add(self, key: str, value: Any) -> None:
        """Log a JSON value."""
        if self._path is None:
            return
        line = json.dumps({"key": key, "at": time.time(), "value": value})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as fault:
            raise FleetError(f"cannot write the log of the tuning: {fault.strerror}", where=str(self._path)) from fault

    def remove(self) -> None:
        """Remove the log at the end of the tuning."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def _read(self, path: pathlib.Path) -> None:
        """Read the lines of the last day. The last one can be incomplete."""
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                if time.time() - entry["at"] < _LATEST_S:
                    self._known[entry["key"]] = entry["value"]
            except (ValueError, TypeError, KeyError):
                continue
