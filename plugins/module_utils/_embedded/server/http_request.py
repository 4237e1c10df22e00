# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The head and the framing of an HTTP/1.x request. Requests that RFC 9112 forbids, or that two parsers could interpret differently, are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Larger bodies are refused whatever the limits, because TensorFlow Serving counts in 32 bits.
TOO_LARGE, _LONGEST_LENGTH = 1 << 31, 1000
_TOKEN = rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)"
_FIRST_LINE = re.compile(_TOKEN + rb" ([\x21-\x7e]+) HTTP/1\.([0-9])")
_FIELD = re.compile(_TOKEN + rb":([\t\x20-\x7e\x80-\xff]*)")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_LENGTH = re.compile(r"0*([0-9]{1,10})(?:[ \t]*,[ \t]*0*\1)*")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,32}")


class Refused(Exception):
    """A request that is answered with an HTTP status and a page outside of the API. Then the connection is closed."""

    def __init__(self, code: int = 400) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Head:
    """The head of a request.

    old: whether it is HTTP/1.0. headers: {name in lower case: values separated by commas}. length: of the body, or None
    for chunks.
    """

    verb: str
    target: str
    old: bool
    headers: Mapping[str, str]
    length: int | None


def head(first: bytes, lines: Sequence[bytes]) -> Head:
    """Return the Head in lines without their ends. Raise Refused."""
    found = _FIRST_LINE.fullmatch(first)
    if not found:
        raise Refused()
    verb, target, minor = (part.decode("ascii") for part in found.groups())
    headers, old = fields(lines), minor == "0"
    if not _HOST.fullmatch(headers.get("host", "" if old else "none given")):  # 3.2
        raise Refused()
    return Head(verb, target, old, headers, _length(headers, old))


def fields(lines: Sequence[bytes]) -> dict[str, str]:
    """Return {name in lower case: values separated by commas} of the lines of a head or a trailer. Raise Refused."""
    found: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)  # 5.1: no blank before the colon. 5.2: no line continues another.
        if not field:
            raise Refused()
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1").strip(" \t")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _length(headers: Mapping[str, str], old: bool) -> int | None:
    """Return the length of the body, None for chunks (6.1 to 6.3). Raises Refused."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length", "0")
    if coding is not None:
        if coding.lower() != "chunked" or old or "content-length" in headers:
            raise Refused()
        return None
    found = _LENGTH.fullmatch(length) if len(length) <= _LONGEST_LENGTH else None
    if not found or int(found[1]) >= TOO_LARGE:
        raise Refused()
    return int(found[1])


def chunk_size(line: bytes, before: int) -> int:
    """Return the size in the first line of a chunk. before: the bytes of earlier chunks.

    Raise Refused. TensorFlow Serving supports no extensions, and answers 413 to an invalid size.
    """
    if not _CHUNK_SIZE.fullmatch(line):
        raise Refused(413)
    size = int(line, 16)
    if before + size >= TOO_LARGE:
        raise Refused()
    return size
