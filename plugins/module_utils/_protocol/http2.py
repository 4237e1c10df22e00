# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 (RFC 9113) and HPACK (RFC 7541) as far as clients of gRPC need them: frames, header blocks to send, and the status in those that come."""

from __future__ import annotations

import struct
from urllib.parse import unquote

# Frame types, flags, settings, errors.
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
REFUSED_STREAM, CANCEL = 7, 8
LARGEST_WINDOW, FIRST_WINDOW, FIRST_FRAME_SIZE = (1 << 31) - 1, 65535, 16384
STREAM = struct.Struct(">I")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame's bytes."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + STREAM.pack(stream) + payload


# Header compression off (table size 0) makes equal answers equal bytes, so that each distinct one is parsed once.
PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(
        SETTINGS,
        0,
        0,
        b"".join(
            struct.pack(">HI", *setting)
            for setting in ((HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
        ),
    )
    + frame(WINDOW_UPDATE, 0, 0, STREAM.pack(LARGEST_WINDOW - FIRST_WINDOW))
)


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the content of a headers frame without padding and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        start += 5
    return payload[start:end]


def request_block(path: str, authority: str, deadline_s: float, secure: bool = False) -> bytes:
    """Return the header block of a gRPC call."""
    fields = [
        (b"\x04", path),
        (b"\x01", authority),
        (b"\x0f\x10", "application/grpc"),
        (b"\x00" + text("te"), "trailers"),
        (b"\x00" + text("grpc-timeout"), f"{max(1, round(deadline_s * 1000))}m"),
    ]
    # 0x83, 0x86 and 0x87 are ":method: POST", ":scheme: http" and https of the static table, which also contains :path
    # (4), :authority (1) and content-type (31).
    return (b"\x83\x87" if secure else b"\x83\x86") + b"".join(name + text(value) for name, value in fields)


def text(value: str) -> bytes:
    """Return a string of HPACK, not compressed."""
    content = value.encode()
    length = len(content)
    if length < 127:
        return bytes((length,)) + content
    head, length = b"\x7f", length - 127
    while length >= 128:
        head, length = head + bytes((length & 0x7F | 0x80,)), length >> 7
    return head + bytes((length,)) + content


# A status is a number, so only the ten digits of HPACK's Huffman code (RFC 7541, appendix B) are needed.
_HUFFMAN_DIGITS = {
    "00000": "0",
    "00001": "1",
    "00010": "2",
    "011001": "3",
    "011010": "4",
    "011011": "5",
    "011100": "6",
    "011101": "7",
    "011110": "8",
    "011111": "9",
}
_STATUS_NAMES = (b"grpc-status", bytes.fromhex("9acac8b21234da8f"))  # plain, and in that code
_MESSAGE = b"grpc-message"
_STATIC_STATUS = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404", 14: "500"}


def status(block: bytes) -> tuple[int | None, int | None, str]:
    """Return (gRPC's status or None, HTTP's status or None, the message as far as it can be read) of a header block that uses no dynamic table."""
    at, number, http, message = 0, None, None, ""
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _whole(block, at, 7)
            http = _STATIC_STATUS.get(index, http)
        elif first & 0xE0 == 0x20:
            _size, at = _whole(block, at, 5)
        else:
            index, at = _whole(block, at, 6 if first & 0x40 else 4)
            name = b""
            if index == 0:
                name, _coded, at = _string(block, at)
            value, coded, at = _string(block, at)
            if name in _STATUS_NAMES:
                number = _digits(value) if coded else value.decode("latin-1")
            elif name == _MESSAGE and not coded:
                message = unquote(value.decode("latin-1"))
            elif 8 <= index <= 14:
                http = _digits(value) if coded else value.decode("latin-1")
    return _integer(number), _integer(http), message


def _integer(digits: str | None) -> int | None:
    return int(digits) if digits and digits.isdigit() else None


def _whole(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Return an integer of HPACK and the position after it."""
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    if value == most:
        shift = 0
        while True:
            value += (block[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if not block[at - 1] & 0x80:
                break
    return value, at


def _string(block: bytes, at: int) -> tuple[bytes, bool, int]:
    """Return (bytes, whether they are Huffman-coded, the position after them)."""
    coded = bool(block[at] & 0x80)
    length, at = _whole(block, at, 7)
    return block[at : at + length], coded, at + length


def _digits(coded: bytes) -> str:
    bits, digits, at = "".join(f"{byte:08b}" for byte in coded), "", 0
    while True:
        for length in (5, 6):
            if bits[at : at + length] in _HUFFMAN_DIGITS:
                digits, at = digits + _HUFFMAN_DIGITS[bits[at : at + length]], at + length
                break
        else:
            return digits
