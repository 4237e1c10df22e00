# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception of the collection: what is wrong, where, and what to do, in one line."""

from __future__ import annotations

import re
from typing import TypedDict

# Line breaks, terminal sequences and lone surrogates, which names in untrusted files can contain.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Fault(TypedDict):
    """A FleetError as data."""

    what: str
    where: str | None
    remedy: str | None


class FleetError(Exception):
    """An error that the user can act on.

    what: the fault, with the offending value and what is allowed. where: the option, file or host it was found in.
    remedy: what to do, as an imperative sentence.
    """

    def __init__(self, what: str, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if not text.endswith((".", "!", "?")):
            text += "."
        text = f"{text} {self.remedy}" if self.remedy else text
        return _CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)

    def as_dict(self) -> Fault:
        """Return the error as data."""
        return {"what": self.what, "where": self.where, "remedy": self.remedy}

    @classmethod
    def from_dict(cls, data: Fault) -> FleetError:
        """Return the error that as_dict() describes."""
        return cls(data["what"], data.get("where"), data.get("remedy"))
