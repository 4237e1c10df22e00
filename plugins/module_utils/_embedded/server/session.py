# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of every loaded version, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# The signature of a request that names none.
DEFAULT_SIGNATURE = "serving_default"
# {tensor name: array}
Feeds = Mapping[str, Any]


class Session(Protocol):
    """A loaded version. signatures: {name: SignatureDef of _protocol.wire}. Many threads call run() in parallel."""

    signatures: dict[str, Any]

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = 0) -> list[Any]:
        """Return the arrays of the tensors named fetches, in order. timeout_ms: 0 for none."""

    def close(self) -> None:
        """Free the model's resources."""


class Checked(Session, Protocol):
    """A session that checks its inputs before it runs."""

    def check(self, feeds: Feeds) -> None:
        """Raise Status for inputs that the model does not accept."""
