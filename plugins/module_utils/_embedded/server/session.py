# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every loaded version can do, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# What a request means that names no signature.
DEFAULT_SIGNATURE = "serving_default"
# {tensor name: array}
Feeds = Mapping[str, Any]


class Session(Protocol):
    """A loaded version. signatures: {name: SignatureDef of _protocol.wire}. run() is called from many threads at once."""

    signatures: dict[str, Any]

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = 0) -> list[Any]:
        """Return the arrays of the tensors named fetches, in order. timeout_ms: 0 for none."""

    def close(self) -> None:
        """Free what the model holds."""


class Checked(Session, Protocol):
    """A session that looks at its feeds first."""

    def check(self, feeds: Feeds) -> None:
        """Raise Status for feeds that the model does not take."""
