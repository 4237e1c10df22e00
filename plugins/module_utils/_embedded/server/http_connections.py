# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of the REST API: limits of their number, of their duration, and of the bytes that they occupy together.

If there are too many connections or bytes, the connection that has waited longest for its client is closed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import http_request
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.http_request import Refused

# A kept-alive connection may be idle this many times as long as a request may take. For a body or an answer, a second
# is added per this many bytes.
IDLE_TIMES, _BYTES_PER_S = 10, 64 << 10
# Bytes of a connection that do not count: small requests are answered whatever others occupy.
_FREE = 64 << 10
_PIECE, _MAX_HEAD, _MAX_LINES, _MAX_CHUNK_LINE, _LINGER_S, _PATIENCE_S = 64 << 10, 2 << 20, 1000, 256, 1.0, 1.0


class Connections:
    """All connections of a service. most: their largest number. most_bytes: of all together. timeout_s: for a request to arrive."""

    def __init__(self, most: int, most_bytes: int, timeout_s: float) -> None:
        self.most_bytes, self.timeout_s = most_bytes, timeout_s
        self._most, self._left, self._changed = most, most_bytes, threading.Condition()
        self._open: set[Connection] = set()
        self._leaving: set[Connection] = set()
        # Connections that wait for their clients, in the order of the last byte.
        self._waiting: dict[Connection, None] = {}

    def admit(self, one: Connection) -> None:
        """Add a connection. Raise OSError if all others are processing requests."""
        with self._changed:
            if len(self._open) - len(self._leaving) >= self._most and not self._close_one():
                raise OSError(f"{self._most} requests are in progress")
            self._open.add(one)
            self._waiting[one] = None

    def shed(self) -> None:
        """Close one connection."""
        with self._changed:
            self._close_one()

    def heard_of(self, one: Connection) -> None:
        """Note that a connection's client has sent something."""
        with self._changed:
            if one in self._waiting:
                del self._waiting[one]
                self._waiting[one] = None

    @contextlib.contextmanager
    def at_work(self, one: Connection) -> Iterator[None]:
        """Do not close the connection within this context. Raise ConnectionError if it is already closed."""
        with self._changed:
            if one in self._leaving:
                raise ConnectionAbortedError
            del self._waiting[one]
        try:
            yield
        finally:
            with self._changed:
                self._waiting[one] = None

    def take(self, one: Connection, size: int) -> None:
        """Count this many bytes more for a connection. Raise Refused, or ConnectionError if it is already closed."""
        with self._changed:
            if one.held + size > self.most_bytes:
                raise Refused(413)
            while self._left < size:
                if one in self._leaving:
                    raise ConnectionAbortedError
                if self._left + sum(other.held for other in self._leaving) >= size:
                    self._changed.wait(_PATIENCE_S)
                elif not self._close_one(one):
                    raise Refused(503)
            self._left -= size
            one.held += size

    def give_back(self, one: Connection) -> None:
        """Count no bytes for a connection any more."""
        with self._changed:
            self._left, one.held = self._left + one.held, 0
            self._changed.notify_all()

    def remove(self, one: Connection) -> None:
        """Remove a closed connection."""
        with self._changed:
            self._open.discard(one)
            self._leaving.discard(one)
            self._waiting.pop(one, None)
        self.give_back(one)

    def _close_one(self, taker: Connection | None = None) -> bool:
        """Close the connection that has waited longest. If one needs bytes, close one of the others that occupy some. The caller holds the lock."""
        for one in self._waiting:
            if taker is None or (one is not taker and one.held):
                del self._waiting[one]
                self._leaving.add(one)
                self._changed.notify_all()
                one.end()
                return True
        return False


class Connection:
    """One client's connection. Its thread reads requests from it. held: the bytes that Connections counts for it."""

    def __init__(self, connection: socket.socket, connections: Connections) -> None:
        self.socket, self.held = connection, 0
        self._connections, self._size, self._ahead = connections, 0, bytearray()

    def head(self) -> http_request.Head | None:
        """Return the head of the next request, or None if none comes. Raise Refused, OSError."""
        try:
            if not self._ahead and not self._more(time.monotonic() + self._connections.timeout_s * IDLE_TIMES):
                return None
        except socket.timeout:
            return None
        with _in_time():
            return self._head()

    def body(self, head: http_request.Head) -> bytearray:
        """Return the body after a head. Raise Refused, OSError."""
        with _in_time():
            return self._body(head)

    def hold(self, size: int) -> None:
        """Count this many bytes more for this request. Raise Refused, OSError."""
        self._size += size
        wanted = self._size - _FREE - self.held
        if wanted > 0:
            self._connections.take(self, wanted)

    def at_work(self) -> contextlib.AbstractContextManager[None]:
        """Do not close this connection within the context, as in Connections."""
        return self._connections.at_work(self)

    def answer(self, content: bytes) -> None:
        """Send the answer, which ends the request. Raise OSError."""
        self.socket.settimeout(self._connections.timeout_s + len(content) / _BYTES_PER_S)
        self.socket.sendall(content)
        self._size = len(self._ahead)
        if self.held:
            self._connections.give_back(self)

    def refuse(self, content: bytes) -> None:
        """Send the last answer, and give the client time to read it before its next bytes are refused."""
        with contextlib.suppress(OSError, Refused):
            self._ahead.clear()
            self.answer(content)
            self.socket.shutdown(socket.SHUT_WR)
            until = time.monotonic() + _LINGER_S
            while self._more(until):
                self._size = 0
                self._ahead.clear()

    def end(self) -> None:
        """Let the connection's own thread close it, with a reset.

        Without one, a client whose window is full learns of the end when the kernel forgets the connection: after 60 s.
        """
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, and release its bytes."""
        self.socket.close()
        self._connections.remove(self)

    def _more(self, until: float) -> bool:
        """Wait for bytes, and return whether any arrived. Raise OSError (including socket.timeout) and Refused."""
        self.socket.settimeout(max(0.001, until - time.monotonic()))
        piece = self.socket.recv(_PIECE)
        self._connections.heard_of(self)
        self.hold(len(piece))
        self._ahead += piece
        return bool(piece)

    def _line(self, until: float, most: int) -> bytes:
        """Return the next line without its end, CR LF. Raises Refused, OSError."""
        start = 0
        while (end := self._ahead.find(b"\n", start)) < 0:
            start = len(self._ahead)
            if start > most:
                raise Refused()
            if not self._more(until):
                raise ConnectionAbortedError
        line = bytes(self._ahead[: end + 1])
        del self._ahead[: end + 1]
        if not line.endswith(b"\r\n") or len(line) > most:  # 2.2: elsewhere, LF alone may end a line.
            raise Refused()
        return line[:-2]

    def _lines(self, until: float) -> list[bytes]:
        """Return the lines of a head or a trailer, up to the empty one."""
        lines: list[bytes]
        lines, left = [], _MAX_HEAD
        while line := self._line(until, left):
            if len(lines) >= _MAX_LINES:
                raise Refused()
            lines.append(line)
            left -= len(line) + 2
        return lines

    def _head(self) -> http_request.Head:
        until = time.monotonic() + self._connections.timeout_s
        first = self._line(until, _MAX_HEAD) or self._line(
            until, _MAX_HEAD
        )  # 2.2: an empty line may precede a request.
        return http_request.head(first, self._lines(until))

    def _body(self, head: http_request.Head) -> bytearray:
        body = bytearray()
        began = time.monotonic()
        if (head.length or 0) > self._connections.most_bytes:
            raise Refused(413)
        if "expect" in head.headers and not head.old:
            self._continue(head.headers["expect"])
        if head.length is not None:
            self._move(body, head.length, began)
            return body
        while size := http_request.chunk_size(self._line(self._until(body, began), _MAX_CHUNK_LINE), len(body)):
            self._move(body, size, began)
            if self._line(self._until(body, began), 2):
                raise Refused()
        http_request.fields(self._lines(self._until(body, began)))
        return body

    def _until(self, body: bytearray, began: float) -> float:
        return began + self._connections.timeout_s + len(body) / _BYTES_PER_S

    def _move(self, body: bytearray, size: int, began: float) -> None:
        """Add this many bytes to the body. A length that is only announced allocates no memory."""
        if len(body) + size > self._connections.most_bytes:
            raise Refused(413)
        while size:
            if not self._ahead and not self._more(self._until(body, began)):
                raise ConnectionAbortedError
            piece = self._ahead[:size]
            del self._ahead[:size]
            body += piece
            size -= len(piece)

    def _continue(self, expectation: str) -> None:
        """Request a body that the client holds back. A body that has already arrived needs no request."""
        if expectation.lower() != "100-continue":
            raise Refused(417)
        with contextlib.suppress(socket.timeout):
            if self._ahead or self._more(0):
                return
        self.socket.settimeout(self._connections.timeout_s)
        self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Refuse a request that does not arrive in time."""
    try:
        yield
    except socket.timeout:
        raise Refused(408) from None
