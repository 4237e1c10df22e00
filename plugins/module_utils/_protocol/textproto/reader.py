# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read protobuf's text format with the standard library, as protobuf's own reader does (protobuf.dev/reference/protobuf/textformat-spec).

A message is a list of (field, value). A value is a text, bytes, a number, a bool, a message, or Verbatim for what is written back unchanged: names of
enum values, and the values of fields that the schema does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import schema
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto.schema import Kind, Message

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<hex>0[xX][0-9A-Fa-f]+(?![A-Za-z0-9_.]))|(?P<whole>[0-9]+(?![A-Za-z0-9_.]))"""
    r"""|(?P<real>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?(?![A-Za-z0-9_.]))|(?P<mark>[-{}:<>;,\[\]./])"""
)
_ESCAPE = re.compile(
    rb"""\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})"""
    rb"""|u([dD][89abAB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([abfnrtv\\'"?])|)"""
)
_PLAIN = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\\": b"\\",
    b"'": b"'",
    b'"': b'"',
    b"?": b"?",
}
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_WORDS = {"inf": float("inf"), "infinity": float("inf"), "nan": float("nan")}
_ENDS = {"{": "}", "<": ">", "[": "]"}
_DEEPEST = 100


class Verbatim(str):
    """A value as the source contains it."""


class Fault(FleetError):
    """A text that is not a valid message. line and column count from 1; detail is the fault without its position."""

    def __init__(self, detail: str, line: int, column: int, where: str, remedy: str | None = None) -> None:
        super().__init__(f"line {line}: {detail}", where=where, remedy=remedy)
        self.line, self.column, self.detail = line, column, detail


def read(text: str, kind: str, where: str, keep_unknown: bool = False) -> Message:
    """Return the message of a text. kind: its full name in the schema. where: the file, for messages. keep_unknown: keep fields that the schema does not know.

    Raises Fault.
    """
    reader = _Reader(text, where, keep_unknown)
    return reader.message(kind, None)


def decoded(content: bytes, where: str) -> str:
    """Return the text of a file's bytes. Raise FleetError if they are not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise FleetError(
            f"byte {fault.start + 1} is not UTF-8", where=where, remedy="Save the file as UTF-8."
        ) from fault


def comments(text: str) -> list[int]:
    """Return the numbers of the lines with a comment in a text that read() accepts."""
    return [text.count("\n", 0, found.start()) + 1 for found in _TOKEN.finditer(text) if found.group().startswith("#")]


class _Reader:
    """Walks the tokens of one text: (kind, word, start, end)."""

    def __init__(self, text: str, where: str, keep_unknown: bool) -> None:
        self._text, self._where, self._keep_unknown, self._next, self._depth = text, where, keep_unknown, 0, 0
        self._tokens = list(self._read_tokens())

    def _read_tokens(self) -> Iterator[tuple[str, str, int, int]]:
        position = 0
        while position < len(self._text):
            found = _TOKEN.match(self._text, position)
            if not found:
                raise self._fault(f"unexpected {self._text[position]!r}", position)
            if found.lastgroup != "space":
                yield str(found.lastgroup), found.group(), position, found.end()
            position = found.end()

    def message(self, kind: Kind, end: str | None) -> Message:
        """Read the fields up to and including end, or up to the end of the text for None."""
        known = schema.fields(kind)
        found: Message = []
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._unexpected("messages are nested too deeply")
        while not (self._take(end) if end else self._at_end()):
            if self._at_end():
                raise self._fault(f"the text ends without {end!r}", len(self._text))
            place = self._place()
            name = self._field_name()
            if name in known:
                self._add(kind, known[name], name, found, place)
            elif self._keep_unknown:
                found.append((name, self._unknown()))
            else:
                raise self._fault(
                    f'Message type "{kind}" has no field named "{name}". Known fields: {", ".join(known) or "nothing"}',
                    place,
                )
            if not self._take(","):
                self._take(";")
        self._depth -= 1
        return found

    def _add(self, owner: Kind, described: tuple[int, Kind, bool], name: str, found: Message, place: int) -> None:
        _number, kind, repeated = described
        for oneof in schema.ONEOFS.get(owner, {}).values():
            other = next((given for given, _value in found if name in oneof and given in oneof and given != name), None)
            if other:
                raise self._fault(f"{name!r} and {other!r} are both set, but only one of them is allowed", place)
        if not self._take(":") and not schema.is_message(kind):
            raise self._unexpected("':' was expected")
        if repeated and self._take("["):
            while not self._take("]"):
                found.append((name, self._value(kind)))
                if not self._take(",") and self._word() != "]":
                    raise self._unexpected("',' or ']' was expected")
                if self._word() == "]" and self._tokens[self._next - 1][1] == ",":
                    raise self._unexpected("a value was expected")
            return
        if not repeated and any(
            given == name and (schema.is_message(kind) or value not in ("", b"", 0)) for given, value in found
        ):
            raise self._fault(f"{name!r} is set twice", place, "Remove one of the two.")
        found.append((name, self._value(kind)))

    def _value(self, kind: Kind) -> Any:
        if schema.is_message(kind):
            return self._message(kind)
        if kind in _RANGES:
            return self._whole(*_RANGES[kind])
        name = str(kind)
        if name in ("string", "bytes"):
            return self._string(name)
        if kind == "bool":
            return self._bool()
        return self._enum(name[len("enum:") :]) if name.startswith("enum:") else self._real()

    def _message(self, kind: Kind) -> Message:
        for begin in "{<":
            if self._take(begin):
                return self.message(kind, _ENDS[begin])
        raise self._unexpected("a message in braces was expected")

    def _whole(self, minimum: int, maximum: int) -> int:
        place, sign = self._place(), -1 if self._take("-") else 1
        kind, word = self._kind(), self._word()
        value: int | None
        if kind == "hex":
            value = int(word, 16)
        elif kind == "whole" and word.startswith("0"):
            value = int(word, 8) if not set(word) & set("89") else None
        else:
            value = int(word) if kind == "whole" and len(word) < 30 else None
        if value is None or not minimum <= sign * value <= maximum:
            raise self._fault(f"{word!r} is not a whole number from {minimum} to {maximum}", place)
        self._next += 1
        return sign * value

    def _real(self) -> float:
        sign, kind, word = -1.0 if self._take("-") else 1.0, self._kind(), self._word()
        value = _WORDS.get(word.lower()) if kind == "word" else None
        if kind == "real" or kind == "whole" and (word == "0" or not word.startswith("0")):
            value = float(word.rstrip("fF"))
        if value is None:
            raise self._unexpected("a number was expected")
        self._next += 1
        return sign * value

    def _bool(self) -> bool:
        word = self._word()
        if self._kind() == "word" and word in ("true", "True", "t", "false", "False", "f"):
            self._next += 1
            return word[0] in "tT"
        if self._kind() in ("whole", "hex"):
            return bool(self._whole(0, 1))
        raise self._unexpected("true or false was expected")

    def _enum(self, name: str) -> Verbatim | int:
        if self._kind() == "word":
            if self._word() not in schema.ENUMS[name]:
                raise self._unexpected(f"one of {', '.join(schema.ENUMS[name])} was expected")
            self._next += 1
            return Verbatim(self._tokens[self._next - 1][1])
        return self._whole(*_RANGES["int32"])

    def _string(self, kind: str) -> str | bytes:
        place, content = self._place(), b""
        if self._kind() != "text":
            raise self._unexpected("a text in quotes was expected")
        while self._kind() == "text":
            content += self._unescaped(self._word()[1:-1], self._place())
            self._next += 1
        try:
            return content if kind == "bytes" else content.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise self._fault("the text is not UTF-8", place) from fault

    def _unescaped(self, quoted: str, place: int) -> bytes:
        def plain(found: re.Match[bytes]) -> bytes:
            octal, pair, high, low, short, long, letter = found.groups()
            if octal or pair:
                value = int(octal, 8) if octal else int(pair, 16)
                if value < 256:
                    return bytes([value])
            elif high:
                return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00).encode()
            elif short or long:
                value = int(short or long, 16)
                if value < 0xD800 or 0xE000 <= value < 0x110000:
                    return chr(value).encode()
            elif letter:
                return _PLAIN[letter]
            raise self._fault("unknown escape sequence in the text", place)

        return _ESCAPE.sub(plain, quoted.encode())

    def _field_name(self) -> str:
        """Return a name, or that of an extension or a packed message in brackets, which no schema knows."""
        if self._take("["):
            name = ""
            while not self._take("]"):
                if self._kind() not in ("word", "whole") and self._word() not in (".", "/", "-"):
                    raise self._unexpected("a name was expected")
                name += self._word()
                self._next += 1
            return f"[{name}]"
        if self._kind() not in ("word", "whole"):
            raise self._unexpected(f"unexpected {self._word()!r}")
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _unknown(self) -> Verbatim:
        """Read the unchanged value of a field that the schema does not know."""
        colon = self._take(":")
        start = self._place()
        self._skip(message=not colon)
        return Verbatim(self._text[start : self._tokens[self._next - 1][3]])

    def _skip(self, message: bool) -> None:
        word, kind = self._word(), self._kind()
        if word in ("{", "<") or word == "[" and not message:
            ends = []
            while True:
                word = self._word()
                if self._kind() == "mark" and word in _ENDS:
                    ends.append(_ENDS[word])
                elif self._kind() == "mark" and word in _ENDS.values() and ends.pop() != word or not word:
                    raise self._unexpected("a bracket does not match")
                self._next += 1
                if not ends:
                    return
        self._take("-")
        if message or self._kind() in ("mark", ""):
            raise self._unexpected("a value was expected")
        self._next += 1
        while kind == "text" and self._kind() == "text":
            self._next += 1

    def _at_end(self) -> bool:
        return self._next >= len(self._tokens)

    def _kind(self) -> str:
        return "" if self._at_end() else self._tokens[self._next][0]

    def _word(self) -> str:
        return "" if self._at_end() else self._tokens[self._next][1]

    def _place(self) -> int:
        return len(self._text) if self._at_end() else self._tokens[self._next][2]

    def _take(self, mark: str | None) -> bool:
        """Skip the mark if it is next. Return whether it was."""
        if mark is None or self._kind() != "mark" or self._word() != mark:
            return False
        self._next += 1
        return True

    def _unexpected(self, detail: str) -> Fault:
        return self._fault(
            detail if not self._word() or self._word() in detail else f"{detail}, found {self._word()!r}", self._place()
        )

    def _fault(self, detail: str, position: int, remedy: str | None = None) -> Fault:
        line = self._text.count("\n", 0, position) + 1
        return Fault(detail, line, position - self._text.rfind("\n", 0, position), self._where, remedy)
