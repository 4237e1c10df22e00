# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception of the collection: what is wrong, where, and what to do, in one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TypedDict

# Line breaks, terminal sequences, changes of the direction of a text, and lone surrogates, which names in untrusted files can contain.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_CHARACTERS = 200


def one_line(text: str) -> str:
    """Return a text with its control characters escaped."""
    return _CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)


class _Fault(TypedDict):
    what: str
    where: str | None
    remedy: str | None


class Fault(_Fault, total=False):
    """A FleetError as data. Without a code, the key is missing."""

    code: str


class FleetError(Exception):
    """An error that the user can act on.

    what: the fault, with the offending value and what is allowed. where: the option, file or host it was found in.
    remedy: what to do, as an imperative sentence. code: the name of the gRPC status that a server answered, for callers that treat it differently.
    """

    def __init__(self, what: str, where: str | None = None, remedy: str | None = None, code: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.code = code

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if not text.endswith((".", "!", "?")):
            text += "."
        text = f"{text} {self.remedy}" if self.remedy else text
        return one_line(text)

    def as_dict(self) -> Fault:
        """Return the error as data."""
        fault: Fault = {"what": self.what, "where": self.where, "remedy": self.remedy}
        if self.code:
            fault["code"] = self.code
        return fault

    @classmethod
    def from_dict(cls, data: Fault) -> FleetError:
        """Return the error that as_dict() describes."""
        return cls(data["what"], data.get("where"), data.get("remedy"), data.get("code"))


@contextlib.contextmanager
def refuse_malformed(where: str) -> Iterator[None]:
    """Turn the exceptions of code that reads data of another form into a FleetError. where: whose data it is."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as fault:
        raise FleetError(
            f"this is not the data that the collection expects here ({type(fault).__name__} {str(fault)[:_MOST_CHARACTERS]})",
            where=where,
            remedy="Pass results of this collection unchanged. If they are, check the host that returned them.",
        ) from fault
