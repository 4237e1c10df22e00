# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the JSON of a REST request as RapidJSON does for TensorFlow Serving, with its texts for errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.status import invalid

_DEBUG_BYTES = 256
_MARK = b"\xef\xbb\xbf"
# Memory per occurrence of these bytes: a number with its place in a list, a list, half a text, an object.
_VALUE_SIZES, _SMALL = {b",": 48, b"[": 112, b'"': 40, b"{": 256}, 64 << 10
_PIECE = 1 << 20
_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)')
# RapidJSON's short spelling of infinity, outside of texts.
_INFINITY = re.compile(r'("(?:[^"\\]|\\.)*"|Infinity)|Inf')
# A number is too large for a double only if it has this many digits or an exponent of at least two digits.
_FEW_DIGITS = 298
_MANY_DIGITS = re.compile(rf"(?<!\d)\d{{{_FEW_DIGITS}}}")
_LARGE_EXPONENT = re.compile(r"[eE]\+?\d\d")
_EXPONENT = re.compile(r"e\+?(-?)0*(\d)")
_PARSE_ERRORS = (
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid control character", "Invalid encoding in string."),
    ("Invalid \\u", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\", "Invalid escape character in string."),
)


class Repeated(dict):  # type: ignore[type-arg]
    """An object with several members of the same name; RapidJSON finds the first. last: the object with the last of each."""

    last: dict[str, Any]


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated = Repeated(reversed(pairs))
    repeated.last = members
    return repeated


_DECODER = json.JSONDecoder(object_pairs_hook=_first_of_each)


def size_of_values(body: bytes | bytearray) -> int:
    """Return the largest number of bytes that the text and the values of a request's body can take in CPython; 0 for small ones."""
    if len(body) <= _SMALL:
        return 0
    text = len(body) if body.isascii() else 4 * len(body)
    return text + sum(size * body.count(mark) for mark, size in _VALUE_SIZES.items())


def parse(body: bytes | bytearray) -> dict[str, Any]:
    """Return the object of a request's body. Raises Status."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = str(memoryview(body)[3:] if body.startswith(_MARK) else body, "utf-8", "surrogateescape")
    if "Inf" in text:
        text = _INFINITY.sub(lambda found: found[1] or "Infinity", text)
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as fault:
        raise invalid(f"JSON Parse error: {_parse_error(fault, text)} at offset: {_offset(text, fault.pos)}") from fault
    except RecursionError as fault:
        raise invalid("JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from fault
    except ValueError as fault:  # A number with more digits than Python converts.
        _refuse_too_big(text)
        raise invalid("JSON Parse error: Number too big to be stored in double.") from fault
    _refuse_too_big(text[:end])
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {shown(value)} Is not object")
    return value


def _parse_error(fault: json.JSONDecodeError, text: str) -> str:
    at = text[fault.pos : fault.pos + 1]
    if fault.msg == "Expecting ',' delimiter" and text[fault.pos - 1].isdigit() and at in (".", "e", "E"):
        return "Miss fraction part in number." if at == "." else "Miss exponent in number."
    if fault.msg == "Expecting ',' delimiter":
        inside = _container(text[: fault.pos])
        return (
            "Missing a comma or '}' after an object member."
            if inside == "{"
            else "Missing a comma or ']' after an array element."
        )
    if fault.msg == "Expecting value":
        return "Invalid value." if text[: fault.pos].strip() or at not in ("", *"]}:,") else "The document is empty."
    if at == "\0":
        return "Missing a closing quotation mark in string."
    return next((words for start, words in _PARSE_ERRORS if fault.msg.startswith(start)), "Invalid value.")


def _container(text: str) -> str:
    """Return the bracket that is open at the end of a valid beginning of a text."""
    opened = []
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if found[0] in "[{":
            opened.append(found[0])
        elif found[0] in "]}":
            opened.pop()
    return opened[-1] if opened else "["


def _offset(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8", "surrogateescape"))


def _refuse_too_big(text: str) -> None:
    """Refuse a number that is too large for a double. TensorFlow Serving also does; Python would read it as infinity."""
    # Checking each number takes longer than parsing, so it happens only with a reason.
    if not _LARGE_EXPONENT.search(text) and not (
        any(
            len(part) >= _FEW_DIGITS
            for start in range(0, len(text), _PIECE)
            for part in text[start : start + _PIECE + _FEW_DIGITS].split(",")
        )
        and _MANY_DIGITS.search(text)
    ):
        return
    for found in _NUMBER.finditer(text):
        if found[1] and math.isinf(float(found[1])):
            raise invalid(
                f"JSON Parse error: Number too big to be stored in double. at offset: {_offset(text, found.start())}"
            )


def shown(value: Any) -> str:
    """Return a value as TensorFlow Serving shows it in an error: objects indented, arrays on one line, cut after the token that exceeds 256 bytes."""
    pieces, length = [], 0
    for piece in _tokens(value, 0, ""):
        if length >= _DEBUG_BYTES:
            break
        pieces.append(piece)
        length += len(piece.encode("utf-8", "surrogatepass"))
    return "".join(pieces)


def _tokens(value: Any, depth: int, before: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield before + "{"
        for position, (key, item) in enumerate(value.items()):
            yield f"{',' if position else ''}\n{'    ' * (depth + 1)}{json.dumps(key, ensure_ascii=False)}"
            yield from _tokens(item, depth + 1, ": ")
        yield f"\n{'    ' * depth}}}" if value else "}"
    elif isinstance(value, list):
        yield before + "["
        for position, item in enumerate(value):
            yield from _tokens(item, depth + 1, ", " if position else "")
        yield "]"
    else:
        text = json.dumps(value, ensure_ascii=False)
        yield before + (_EXPONENT.sub(r"e\1\2", text) if isinstance(value, float) else text)
