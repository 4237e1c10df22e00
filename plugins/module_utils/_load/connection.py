# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that sends pre-encoded requests over plain sockets: gRPC (HTTP/2) and REST (HTTP/1.1), with as little CPU time as possible.

A connection never blocks and never raises for a network fault: each request ends in one call of ended(connection, token, code).
code is the name of a gRPC status, or NOT_TAKEN. A connection takes one request at a time, or more once ready says that the server's limits are known.
Requests are encoded before the load begins, so that sending one costs a copy and a system call. gRPC libraries for Python need
several times the CPU time, which would be measured as the server's latency.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

from ansible_collections.tfserving.fleet.plugins.module_utils._load import load_test
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, http2

_READ_BYTES = 1 << 18
_LOST = "UNAVAILABLE"
# The server reports that it has not started the request. It may be sent again, as gRPC clients do.
NOT_TAKEN = "NOT_TAKEN"


# Family and address of a socket.
Place = tuple[socket.AddressFamily, Any]
Connection = Union["_RestConnection", "_GrpcConnection"]
# Called with a connection, the token of a request, and its code.
Ended = Callable[[Optional[Any], int, str], None]


class _Connection:
    """What both protocols share: a socket that does not block, watched by a poll object (select.epoll)."""

    ready: bool
    _tokens: Callable[[], list[int]]
    _read: Callable[[bytes], None]

    def __init__(self, place: Place, poll: select.epoll, ended: Ended) -> None:
        family, address = place
        self.listed = False
        self.alive = True
        self._poll, self._ended = poll, ended
        self._unsent = b""
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self._socket.fileno()
        self._socket.connect_ex(address)
        poll.register(self.number, select.EPOLLIN)

    def happened(self, events: int) -> None:
        """Handle the events of the poll object. Close the connection when the other side does."""
        if events & select.EPOLLOUT:
            self._write(b"")
        if events & ~select.EPOLLOUT and self.alive:
            try:
                content = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                content = b""
            try:
                if content:
                    self._read(content)
                    return
            except (ValueError, IndexError, struct.error):
                pass  # the other side does not speak the protocol
            self.close()

    def close(self) -> None:
        """End the connection; requests in flight end as UNAVAILABLE."""
        if self.alive:
            self.alive = False
            self._poll.unregister(self.number)
            self._socket.close()
        for token in self._tokens():
            self._ended(self, token, _LOST)

    def _write(self, content: bytes) -> None:
        if self._unsent:
            content = self._unsent + content
        try:
            sent = self._socket.send(content)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        rest = content[sent:]
        if bool(rest) != bool(self._unsent):
            self._poll.modify(self.number, select.EPOLLIN | (select.EPOLLOUT if rest else 0))
        self._unsent = rest


class RestMessages:
    """Pre-encoded Predict requests of one model over REST."""

    def __init__(self, target: load_test.Target, bodies: Sequence[bytes], _deadline_s: float) -> None:
        head = (
            f"POST /v1/models/{target['model']}:predict HTTP/1.1\r\nHost: {load_test.authority(target)}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self.requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]

    def connect(self, place: Place, poll: select.epoll, ended: Ended) -> Connection:
        """Open a connection for these messages."""
        return _RestConnection(self, place, poll, ended)


class _RestConnection(_Connection):
    """One request at a time over a connection that is kept alive."""

    ready = True

    def __init__(self, messages: RestMessages, place: Place, poll: select.epoll, ended: Ended) -> None:
        self._requests = messages.requests
        self._token: int | None = None
        super().__init__(place, poll, ended)
        self._unread, self._awaited = bytearray(), 0

    @property
    def room(self) -> bool:
        """Return whether another request may be sent now."""
        return self.alive and self._token is None

    def send(self, token: int, index: int) -> None:
        """Send the message of that index; ended() will name token."""
        self._token = token
        self._write(self._requests[index])

    def cancel(self, token: int) -> None:
        """Cancel the request: its answer is not reported. HTTP/1.1 can only close the connection."""
        self._token = None
        self.close()

    def _tokens(self) -> list[int]:
        token, self._token = self._token, None
        return [] if token is None else [token]

    def _read(self, content: bytes) -> None:
        self._unread += content
        if len(self._unread) < self._awaited:
            return
        head, separator, body = bytes(self._unread).partition(b"\r\n\r\n")
        fields = head.lower()
        whole, length = _whole_body(fields, body) if separator else (False, 0)
        if not whole:
            self._awaited = len(head) + 4 + length if length else 0
            return
        token, self._token, self._unread, self._awaited = self._token, None, bytearray(), 0
        if token is None:
            self.close()
            return
        if b"\r\nconnection: close" in fields:
            self.close()
        status = fields[9:12]
        self._ended(
            self, token, "OK" if status == b"200" else grpc_api.code_of_http(int(status) if status.isdigit() else 0)
        )


def _whole_body(fields: bytes, body: bytes) -> tuple[bool, int]:
    """Return (whether the body of an HTTP/1.1 answer has arrived, its length or 0). fields: the answer's head in lower case."""
    _before, found, after = fields.partition(b"\r\ncontent-length:")
    if found:
        length = int(after.partition(b"\r\n")[0])
        return len(body) >= length, length
    if b"\r\ntransfer-encoding: chunked" not in fields:
        return True, 0
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16) if end >= 0 else None
        if not size:
            return size == 0 and body.find(b"\r\n\r\n", end) >= 0, 0
        at = end + 2 + size + 2


_CODES_OF_RESET = {
    http2.REFUSED_STREAM: NOT_TAKEN,
    http2.CANCEL: "CANCELLED",
    11: "RESOURCE_EXHAUSTED",
    12: "PERMISSION_DENIED",
}
# More streams on one connection than servers commonly allow (100) would only queue.
_MOST_STREAMS = 90


class GrpcMessages:
    """Pre-encoded Predict requests over gRPC. bodies: serialized PredictRequests."""

    def __init__(self, target: load_test.Target, bodies: Sequence[bytes], deadline_s: float) -> None:
        block = http2.request_block(grpc_api.PREDICT, load_test.authority(target), deadline_s)
        self.before_stream = len(block).to_bytes(3, "big") + bytes((http2.HEADERS, http2.END_HEADERS))
        self.block = block
        self.bodies = [b"\x00" + http2.STREAM.pack(len(body)) + body for body in bodies]
        self.before_data = [
            len(body).to_bytes(3, "big") + bytes((http2.DATA, http2.END_STREAM))
            if len(body) <= http2.FIRST_FRAME_SIZE
            else None
            for body in self.bodies
        ]
        self.codes: dict[bytes, str] = {}

    def connect(self, place: Place, poll: select.epoll, ended: Ended) -> Connection:
        """Open a connection for these messages."""
        return _GrpcConnection(self, place, poll, ended)

    def code(self, block: bytes) -> str:
        """Return the name of the gRPC status in a block of trailers, and cache it."""
        if block not in self.codes:
            if len(self.codes) > 1000:
                self.codes.clear()
            number, http, _message = http2.status(block)
            self.codes[block] = grpc_api.code_name(number) if number is not None else grpc_api.code_without_status(http)
        return self.codes[block]


class _GrpcConnection(_Connection):
    """Many requests at a time over one HTTP/2 connection, within what the server's flow control allows."""

    def __init__(self, messages: GrpcMessages, place: Place, poll: select.epoll, ended: Ended) -> None:
        self._messages = messages
        self._streams: dict[int, int] = {}  # stream -> token, in flight
        self._blocked: dict[
            int, tuple[memoryview, int]
        ] = {}  # stream -> (rest of the body, the server's window for it)
        self._next, self._most, self._ending, self.ready = 1, 1, False, False
        self._window, self._stream_window, self._frame_size = (
            http2.FIRST_WINDOW,
            http2.FIRST_WINDOW,
            http2.FIRST_FRAME_SIZE,
        )
        self._received, self._block, self._block_ends, self._unread = 0, b"", False, b""
        super().__init__(place, poll, ended)
        self._write(http2.PREFACE)

    @property
    def room(self) -> bool:
        """Return whether another request may be sent now."""
        return self.alive and not self._ending and len(self._streams) < self._most

    def send(self, token: int, index: int) -> None:
        """Send the message of that index; ended() will name token."""
        messages, number = self._messages, self._next
        self._next += 2
        self._streams[number] = token
        body, stream = messages.bodies[index], http2.STREAM.pack(number)
        before_data, size = messages.before_data[index], len(body)
        if before_data and size <= self._window and size <= self._stream_window and not self._blocked:
            self._window -= size
            self._write(b"".join((messages.before_stream, stream, messages.block, before_data, stream, body)))
        else:
            self._blocked[number] = (memoryview(body), self._stream_window)
            self._write(messages.before_stream + stream + messages.block)
            self._unblock()

    def cancel(self, token: int) -> None:
        """Cancel the request: its answer is not reported."""
        number = next(number for number, mine in self._streams.items() if mine == token)
        del self._streams[number]
        self._blocked.pop(number, None)
        self._write(http2.frame(http2.RST_STREAM, 0, number, http2.STREAM.pack(http2.CANCEL)))

    def _tokens(self) -> list[int]:
        tokens = list(self._streams.values())
        self._streams.clear()
        return tokens

    def _unblock(self) -> None:
        for number, waiting in list(self._blocked.items()):
            rest, window = waiting
            while rest and self._window > 0 and window > 0:
                size = min(len(rest), self._window, window, self._frame_size)
                self._write(
                    http2.frame(http2.DATA, http2.END_STREAM if size == len(rest) else 0, number, bytes(rest[:size]))
                )
                rest, window, self._window = rest[size:], window - size, self._window - size
                if not self.alive:
                    return
            if rest:
                self._blocked[number] = (rest, window)
            else:
                del self._blocked[number]

    def _read(self, content: bytes) -> None:
        buffer = self._unread + content if self._unread else content
        at, end = 0, len(buffer)
        while end - at >= 9 and self.alive:
            length = int.from_bytes(buffer[at : at + 3], "big")
            after = at + 9 + length
            if after > end:
                break
            self._take(
                buffer[at + 3],
                buffer[at + 4],
                http2.STREAM.unpack_from(buffer, at + 5)[0] & http2.LARGEST_WINDOW,
                buffer[at + 9 : after],
            )
            at = after
        self._unread = buffer[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.DATA:
            self._received += len(payload)
            if self._received > http2.LARGEST_WINDOW // 2:
                self._write(http2.frame(http2.WINDOW_UPDATE, 0, 0, http2.STREAM.pack(self._received)))
                self._received = 0
            if flags & http2.END_STREAM:
                self._end(stream, "UNKNOWN")
        elif kind in (http2.HEADERS, http2.CONTINUATION):
            if kind == http2.HEADERS:
                self._block, self._block_ends = b"", bool(flags & http2.END_STREAM)
                payload = http2.unpadded(flags, payload)
            self._block += payload
            if flags & http2.END_HEADERS and self._block_ends:
                self._end(stream, self._messages.code(self._block))
        elif kind == http2.RST_STREAM:
            reason = http2.STREAM.unpack(payload)[0]
            if reason == http2.REFUSED_STREAM:
                self._most = max(1, len(self._streams) - 1)
            self._end(stream, _CODES_OF_RESET.get(reason, "INTERNAL"))
        elif kind == http2.WINDOW_UPDATE:
            more = http2.STREAM.unpack(payload)[0] & http2.LARGEST_WINDOW
            if stream == 0:
                self._window += more
            elif stream in self._blocked:
                rest, window = self._blocked[stream]
                self._blocked[stream] = (rest, window + more)
            self._unblock()
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self._set(payload)
        elif kind == http2.PING and not flags & http2.ACK:
            self._write(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.GOAWAY:
            self._ending = True
            last = http2.STREAM.unpack_from(payload)[0] & http2.LARGEST_WINDOW
            for number in [number for number in self._streams if number > last]:
                self._end(number, NOT_TAKEN)
            if not self._streams:
                self.close()

    def _set(self, payload: bytes) -> None:
        if not self.ready:
            self.ready, self._most = True, _MOST_STREAMS
        for name, value in struct.iter_unpack(">HI", payload):
            if name == http2.MAX_CONCURRENT_STREAMS:
                self._most = min(value, _MOST_STREAMS)
            elif name == http2.MAX_FRAME_SIZE:
                self._frame_size = value
            elif name == http2.INITIAL_WINDOW_SIZE:
                more = value - self._stream_window
                self._blocked = {number: (rest, window + more) for number, (rest, window) in self._blocked.items()}
                self._stream_window = value
        self._write(http2.frame(http2.SETTINGS, http2.ACK, 0))
        self._unblock()

    def _end(self, stream: int, code: str) -> None:
        token = self._streams.pop(stream, None)
        self._blocked.pop(stream, None)
        if token is not None:
            self._ended(self, token, code)
            if self._ending and not self._streams:
                self.close()
