# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that costs next to nothing, so that the load generator is the bottleneck: canned answers to whatever comes, gRPC or REST on one port.

It prints its port and serves until it is killed. Of HTTP/2 it does what a well-behaved client needs and no more.
"""

from __future__ import annotations

import select
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REST_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{"predictions": [1.0]}'


def frame(kind, flags, stream, payload):
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def field(name, value):
    """A header field of HPACK: literal, not indexed, not compressed."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


HEAD = b"\x88" + field(b"content-type", b"application/grpc")
MESSAGE = b"\x00" + struct.pack(">I", 64) + bytes(64)
TRAILERS = field(b"grpc-status", b"0")


def grpc_answers(content):
    """(answers to the whole frames in content, what is left of it)."""
    answers, at, received = [], 0, 0
    while len(content) - at >= 9:
        end = at + 9 + int.from_bytes(content[at : at + 3], "big")
        if end > len(content):
            break
        kind, flags = content[at + 3], content[at + 4]
        if kind == 0:
            received += end - at - 9
            if flags & 1:
                stream = int.from_bytes(content[at + 5 : at + 9], "big")
                answers.append(frame(1, 4, stream, HEAD) + frame(0, 0, stream, MESSAGE) + frame(1, 5, stream, TRAILERS))
        elif kind == 4 and not flags & 1:
            answers.append(frame(4, 1, 0, b""))
        at = end
    if received:
        answers.append(frame(8, 0, 0, struct.pack(">I", received)))
    return b"".join(answers), content[at:]


def rest_answers(content):
    """The same for HTTP/1.1."""
    answers = []
    while True:
        head, found, body = content.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) if found else 0
        if not found or len(body) < length:
            return b"".join(answers), content
        answers.append(REST_ANSWER)
        content = body[length:]


def main():
    """Serve."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listening.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    connections, left, answering = {}, {}, {}
    while True:
        for number, _events in poll.poll():
            if number == listening.fileno():
                connection, _address = listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()], left[connection.fileno()] = connection, b""
                poll.register(connection, select.EPOLLIN)
                continue
            try:
                content = connections[number].recv(1 << 18)
                if not content:
                    raise ConnectionError
                content = left[number] + content
                if number not in answering:
                    if content.startswith(PREFACE):
                        content, answering[number] = content[len(PREFACE) :], grpc_answers
                        connections[number].sendall(frame(4, 0, 0, b""))
                    else:
                        answering[number] = rest_answers
                answers, left[number] = answering[number](content)
                connections[number].sendall(answers)
            except ConnectionError:
                poll.unregister(number)
                answering.pop(number, None)
                connections.pop(number).close()


if __name__ == "__main__":
    main()
