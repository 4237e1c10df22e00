# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of HTTP/1.1 whose framing two servers could read differently, written from RFC 9112, and a reader that takes the grammar literally."""

from __future__ import annotations

import re

BODY = b'{"instances": [[1.0]]}'
HIDDEN = b"GET /v1/models/hidden HTTP/1.1\r\nHost: h\r\n\r\n"
_POST = b"POST /v1/models/half:predict HTTP/1.1\r\n"
_CHUNKS = b"16\r\n" + BODY + b"\r\n0\r\n\r\n"


def post(*fields, body=BODY, first=_POST, host=b"Host: h\r\n"):
    return first + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def chunked(body, *fields):
    return post(b"Transfer-Encoding: chunked", *fields, body=body)


LENGTH, CHUNKED = b"Content-Length: 22", b"Transfer-Encoding: chunked"

# What RFC 9112 (or RFC 9110, where it says so) lets a server refuse or tells it to; each is followed by a request that must not be found.
REFUSED = {
    "2.2 lines end with LF": (post(LENGTH).replace(b"\r\n", b"\n")),
    "2.2 the first line ends with LF": post(LENGTH, first=_POST.replace(b"\r", b"")),
    "2.2 a field ends with LF": post(LENGTH).replace(b"Host: h\r\n", b"Host: h\n"),
    "2.2 the head ends with LF": post(LENGTH).replace(b"\r\n\r\n", b"\r\n\n"),
    "2.2 a lone CR in a field": post(b"X: a\rContent-Length: 0", LENGTH),
    "2.2 CR CR LF": post(b"X: a\r", LENGTH),
    "2.2 blanks before the first field": post(LENGTH, host=b" X: a\r\nHost: h\r\n"),
    "2.2 two empty lines": b"\r\n\r\n" + post(LENGTH),
    "2.3 another major version": post(LENGTH, first=_POST.replace(b"1.1", b"2.0")),
    "2.3 a version of two digits": post(LENGTH, first=_POST.replace(b"1.1", b"1.10")),
    "2.3 a version in lower case": post(LENGTH, first=_POST.replace(b"HTTP", b"http")),
    "3 two blanks": post(LENGTH, first=_POST.replace(b"T /", b"T  /")),
    "3 a tab": post(LENGTH, first=_POST.replace(b"T /", b"T\t/")),
    "3 a blank at the end": post(LENGTH, first=_POST.replace(b"1.1", b"1.1 ")),
    "3 a blank at the start": post(LENGTH, first=b" " + _POST),
    "3 no version": post(LENGTH, first=b"POST /v1/models/half:predict\r\n"),
    "3 a blank in the target": post(LENGTH, first=_POST.replace(b"half", b"ha lf")),
    "3 NUL in the target": post(LENGTH, first=_POST.replace(b"half", b"ha\0lf")),
    "3 bytes above 127 in the target": post(LENGTH, first=_POST.replace(b"half", b"h\xc3\xa4lf")),
    "3.1 a method that is not a token": post(LENGTH, first=_POST.replace(b"POST", b"PO(ST")),
    "3.2 no host": post(LENGTH, host=b""),
    "3.2 two hosts": post(LENGTH, b"Host: g"),
    "3.2 the same host twice": post(LENGTH, b"Host: h"),
    "3.2 a host with a path": post(LENGTH, host=b"Host: h/v1\r\n"),
    "3.2 a host with a user": post(LENGTH, host=b"Host: a@h\r\n"),
    "5 no colon": post(b"X", LENGTH),
    "5 no name": post(b": a", LENGTH),
    "5 a name that is not a token": post(b"X(a): b", LENGTH),
    "5.1 a blank before the colon": post(b"Content-Length : 22"),
    "5.1 a tab before the colon": post(b"Content-Length\t: 22"),
    "5.1 a blank before the colon of a coding": post(b"Transfer-Encoding : chunked", body=_CHUNKS),
    "5.2 a folded field": post(b"X: a\r\n b", LENGTH),
    "5.2 a folded length": post(b"Content-Length:\r\n 22"),
    "5.2 a folded coding": post(b"Transfer-Encoding:\r\n\tchunked", body=_CHUNKS),
    "5.5 of RFC 9110: NUL in a field": post(b"X: a\0b", LENGTH),
    "5.5 of RFC 9110: a control character in a field": post(b"X: a\x0bb", LENGTH),
    "6.1 a length and a coding": post(CHUNKED, b"Content-Length: 3", body=_CHUNKS),
    "6.1 a coding and a length": post(b"Content-Length: 32", CHUNKED, body=_CHUNKS),
    "6.1 a coding in HTTP/1.0": post(CHUNKED, body=_CHUNKS, first=_POST.replace(b"1.1", b"1.0")),
    "6.1 chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=_CHUNKS),
    "6.1 two fields of chunked": post(CHUNKED, CHUNKED, body=_CHUNKS),
    "6.1 another coding": post(b"Transfer-Encoding: gzip", LENGTH),
    "6.1 another coding before chunked": post(b"Transfer-Encoding: gzip, chunked", body=_CHUNKS),
    "6.1 chunked before another coding": post(b"Transfer-Encoding: chunked, identity", body=_CHUNKS),
    "6.1 a coding with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=_CHUNKS),
    "6.1 a coding in quotes": post(b'Transfer-Encoding: "chunked"', body=_CHUNKS),
    "6.1 a coding that is nearly chunked": post(b"Transfer-Encoding: xchunked", body=_CHUNKS),
    "6.1 an empty coding": post(b"Transfer-Encoding:", LENGTH),
    "6.1 a coding with a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=_CHUNKS),
    "6.3 two lengths": post(LENGTH, b"Content-Length: 3"),
    "6.3 two lengths, the longer one last": post(b"Content-Length: 3", LENGTH),
    "6.3 two lengths in one field": post(b"Content-Length: 3, 22"),
    "6.3 a length with a sign": post(b"Content-Length: +22"),
    "6.3 a length below zero": post(b"Content-Length: -1"),
    "6.3 minus zero": post(b"Content-Length: -0"),
    "6.3 a length with an underscore": post(b"Content-Length: 2_2"),
    "6.3 a hexadecimal length": post(b"Content-Length: 0x16"),
    "6.3 a length with a point": post(b"Content-Length: 22.0"),
    "6.3 a length with an exponent": post(b"Content-Length: 22e0"),
    "6.3 a length with a blank": post(b"Content-Length: 2 2"),
    "6.3 a length with a comma": post(b"Content-Length: 22,"),
    "6.3 an empty length": post(b"Content-Length:"),
    "6.3 a length in quotes": post(b'Content-Length: "22"'),
    "6.3 a length in superscript": post(b"Content-Length: 2\xb2"),
    "6.3 a length of 20 digits": post(b"Content-Length: 99999999999999999999"),
    "6.3 a length of 5000 digits": post(b"Content-Length: " + b"9" * 5000),
    "6.3 a length of 2^64 and 22": post(b"Content-Length: 18446744073709551638"),
    "7.1 no size": chunked(b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size with a sign": chunked(b"+16\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size below zero": chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size with 0x": chunked(b"0x16\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size with an underscore": chunked(b"1_6\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size after a blank": chunked(b" 16\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size before a blank": chunked(b"16 \r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size that ends with LF": chunked(b"16\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size of 2^64 and 22": chunked(b"10000000000000016\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a size of 2^31": chunked(b"80000000\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 more than the size": chunked(b"15\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1 a chunk that ends with LF": chunked(b"16\r\n" + BODY + b"\n0\r\n\r\n"),
    "7.1 a chunk without an end": chunked(b"16\r\n" + BODY + b"0\r\n\r\n"),
    "7.1 a chunk that ends with other bytes": chunked(b"16\r\n" + BODY + b"xx0\r\n\r\n"),
    "7.1 the last chunk ends with LF": chunked(b"16\r\n" + BODY + b"\r\n0\n\r\n"),
    "7.1.1 an extension": chunked(b"16;a=b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1.1 an extension with LF": chunked(b"16;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1.1 a long extension": chunked(b"16;" + b"a" * 5000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "7.1.2 a trailer without a colon": chunked(b"16\r\n" + BODY + b"\r\n0\r\nX\r\n\r\n"),
    "7.1.2 a trailer that ends with LF": chunked(b"16\r\n" + BODY + b"\r\n0\r\nX: a\n\r\n"),
    "7.1.2 a folded trailer": chunked(b"16\r\n" + BODY + b"\r\n0\r\nX: a\r\n b\r\n\r\n"),
    "a first line of 3 MiB": post(LENGTH, first=b"POST /" + b"a" * (3 << 20) + b" HTTP/1.1\r\n"),
    "a field of 3 MiB": post(b"X: " + b"a" * (3 << 20), LENGTH),
    "thousands of fields": post(*[b"X: a"] * 5000, LENGTH),
}
# Well-formed requests of all these kinds, with how many answers they get.
ACCEPTED = {
    "a length": (post(LENGTH), 1),
    "6.3 the same length twice": (post(LENGTH, LENGTH), 1),
    "8.6 of RFC 9110: the same length twice in one field": (post(b"Content-Length: 22, 22"), 1),
    "8.6 of RFC 9110: zeros before a length": (post(b"Content-Length: 0022"), 1),
    "5.1 blanks around a value": (post(b"Content-Length:  \t22\t "), 1),
    "5.1 no blank": (post(b"Content-Length:22"), 1),
    "5 names in capitals": (post(b"CONTENT-LENGTH: 22"), 1),
    "2.2 an empty line before a request": (b"\r\n" + post(LENGTH), 1),
    "2.2 an empty line between requests": (post(LENGTH) + b"\r\n" + post(LENGTH), 2),
    "2.3 a later minor version": (post(LENGTH, first=_POST.replace(b"1.1", b"1.2")), 1),
    "3.2 HTTP/1.0 without a host": (post(LENGTH, host=b"", first=_POST.replace(b"1.1", b"1.0")), 1),
    "3.2 an empty host": (post(LENGTH, host=b"Host:\r\n"), 1),
    "3.2 an address of IPv6": (post(LENGTH, host=b"Host: [::1]:8501\r\n"), 1),
    "5.5 of RFC 9110: a tab, and bytes above 127": (post(b"X: a\tb \xe4\xff", LENGTH), 1),
    "7 a coding in capitals": (post(b"Transfer-Encoding: Chunked", body=_CHUNKS), 1),
    "7.1 two chunks": (chunked(b"05\r\n" + BODY[:5] + b"\r\n11\r\n" + BODY[5:] + b"\r\n0\r\n\r\n"), 1),
    "7.1 capitals and zeros": (chunked(b"016\r\n" + BODY + b"\r\n000\r\n\r\n"), 1),
    "7.1.2 a trailer": (chunked(b"16\r\n" + BODY + b"\r\n0\r\nX: a\r\n\r\n"), 1),
    "9.3.2 three requests": (post(LENGTH) + chunked(_CHUNKS) + post(LENGTH), 3),
    "a field of 60 KiB": (post(b"X: " + b"a" * (60 << 10), LENGTH), 1),
}

# --- What is well-formed, after the grammar of RFC 9112 (3, 5, 6, 7.1)

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(
    rb"(?:\r\n)?(?P<method>" + _TOKEN + rb") [!-~]+ HTTP/1\.(?P<minor>\d)\r\n"
    rb"(?P<fields>(?:" + _TOKEN + rb":[\t -~\x80-\xff]*\r\n)*)\r\n"
)
_HOST = re.compile(rb"([A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]*\])(:[0-9]*)?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)\r\n")
_TRAILER = re.compile(rb"(?:" + _TOKEN + rb":[\t -~\x80-\xff]*\r\n)*\r\n")


def well_formed(stream: bytes) -> int:
    """How many requests a strict reader finds in a stream before the first that is not whole or not well-formed."""
    found = at = 0
    while head := _HEAD.match(stream, at):
        named = {}
        for line in head["fields"].split(b"\r\n")[:-1]:
            name, _colon, value = line.partition(b":")
            named.setdefault(name.lower(), []).append(value.strip(b" \t"))
        hosts = named.get(b"host", [b""] if head["minor"] == b"0" else [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return found
        if b"transfer-encoding" in named:
            at = -1 if b"content-length" in named or head["minor"] == b"0" else head.end()
            at = (
                after_chunks(stream, at) if [one.lower() for one in named[b"transfer-encoding"]] == [b"chunked"] else -1
            )
        else:
            lengths = {
                one.strip(b" \t").lstrip(b"0") or one[:1]
                for one in b",".join(named.get(b"content-length", [b"0"])).split(b",")
            }
            length = lengths.pop()
            at = head.end() + int(length) if not lengths and re.fullmatch(rb"[0-9]{1,18}", length) else -1
        if not 0 <= at <= len(stream):
            return found
        found += 1
    return found


def after_chunks(stream, at):
    """Where the chunks and the trailer end that begin at a place; -1 where they are not whole or not well-formed."""
    while at >= 0 and (chunk := _CHUNK.match(stream, at)):
        end = chunk.end() + int(chunk[1], 16)
        if end == chunk.end():
            trailer = _TRAILER.match(stream, end)
            return trailer.end() if trailer else -1
        at = end + 2 if stream[end : end + 2] == b"\r\n" else -1
    return -1


# --- Other framings

_MARKS = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\r",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b",",
    b";",
    b":",
    b"+",
    b"-",
    b"_",
    b"0",
    b"1",
    b"x",
    b"\x85",
    b"\xa0",
    b"\xff",
    b'"',
)
_FIELDS = (
    LENGTH,
    CHUNKED,
    b"Content-Length: 0",
    b"Content-Length: 3",
    b"Content-Length: 66",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: keep-alive, Transfer-Encoding",
    b"Expect: 100-continue",
    b"Content-Encoding: gzip",
    b"Upgrade: h2c",
)


def mutated(dice):
    """A stream drawn from those above: a few bytes added, taken or changed, lines swapped and doubled, cut off, and one after another."""
    parts = dice.choice((list(REFUSED.values()), [stream for stream, _answers in ACCEPTED.values()]))
    stream = bytearray(dice.choice([part for part in parts if len(part) < 10000]))
    for _time in range(dice.randrange(5)):
        at, way = dice.randrange(len(stream) + 1), dice.randrange(7)
        if way == 0:
            stream[at:at] = dice.choice(_MARKS) * dice.choice((1, 1, 1, 2, 300))
        elif way == 1:
            del stream[at : at + dice.randrange(1, 4)]
        elif way == 2 and at < len(stream):
            stream[at] = dice.randrange(256)
        elif way == 3:
            lines = stream.split(b"\r\n")
            lines.insert(dice.randrange(1, len(lines) + 1), dice.choice([*_FIELDS, *lines]))
            stream = bytearray(b"\r\n".join(lines))
        elif way == 4:
            lines = stream.split(b"\r\n")
            one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
            lines[one], lines[other] = lines[other], lines[one]
            stream = bytearray(b"\r\n".join(lines))
        elif way == 5:
            stream += dice.choice((HIDDEN, post(LENGTH), b"0\r\n\r\n" + HIDDEN))
        elif dice.random() < 0.3:
            del stream[at:]
    return bytes(stream) + (HIDDEN if dice.random() < 0.7 else b"")
