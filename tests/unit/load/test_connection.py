# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generator's own HTTP/2 and HTTP/1.1 against a peer that says what few servers say; frames are written by hand after RFC 9113 and RFC 7541."""

from __future__ import annotations

import select
import socket
import struct

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._load import connection

TARGET = {"address": "127.0.0.1", "port": 1, "model": "m"}
SETTINGS = "000000 04 00 00000000"
PLAIN_STATUS = "00 0b 677270632d737461747573 01 30"


def trailers(block, stream="00000001", flags="05", kind="01"):
    """A HEADERS frame (END_STREAM and END_HEADERS) in hexadecimal digits."""
    size = len(bytes.fromhex(block))
    return f"{size:06x} {kind} {flags} {stream} {block}"


class Peer:
    """The other end of a connection: a listening socket that the test answers from by hand."""

    def __init__(self, messages):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.poll, self.ends = select.epoll(), []
        self.mine = messages.connect(
            (socket.AF_INET, self.listening.getsockname()),
            self.poll,
            lambda using, token, code: self.ends.append((token, code)),
        )
        self.theirs, _address = self.listening.accept()
        self.theirs.settimeout(5)

    def says(self, text):
        """Send bytes, or hexadecimal digits, and let the connection take them."""
        content = bytes.fromhex(text) if isinstance(text, str) else text
        self.theirs.sendall(content)
        self.turn()

    def turn(self):
        """Let the connection take what has arrived."""
        patience = 1
        while self.mine.alive:
            events = self.poll.poll(patience)
            if not events:
                break
            for _number, event in events:
                self.mine.happened(event)
            patience = 0

    def heard(self, size):
        content = b""
        while len(content) < size:
            content += self.theirs.recv(size - len(content))
        return content

    def close(self):
        self.mine.close()
        for one in (self.theirs, self.listening, self.poll):
            one.close()


@pytest.fixture
def peer():
    peers = []

    def make(kind=connection.GrpcMessages, bodies=(b"body",)):
        peers.append(Peer(kind(TARGET, list(bodies), 1.5)))
        return peers[-1]

    yield make
    for one in peers:
        one.close()


def frames(content):
    """[(kind, flags, stream, payload)] of whole frames."""
    found = []
    while content:
        length = int.from_bytes(content[:3], "big")
        found.append((content[3], content[4], struct.unpack(">I", content[5:9])[0], content[9 : 9 + length]))
        content = content[9 + length :]
    return found


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFACE_SIZE = len(PREFACE) + 9 + 18 + 9 + 4


@pytest.mark.parametrize(
    "block, code",
    [
        (PLAIN_STATUS, "OK"),
        ("40 0b 677270632d737461747573 02 3134", "UNAVAILABLE"),  # with incremental indexing
        ("10 0b 677270632d737461747573 01 38", "RESOURCE_EXHAUSTED"),  # never indexed
        (
            "20 40 88 9acac8b21234da8f 82 0b5f",
            "UNAVAILABLE",
        ),  # what the PyPI package hpack makes of grpc-status: 14 with Huffman's code
        (
            "88 5f 10 6170706c69636174696f6e2f67727063" + PLAIN_STATUS,
            "OK",
        ),  # an answer of trailers only: :status 200, content-type, grpc-status
        ("00 0c 677270632d6d657373616765 03 6f682e" + PLAIN_STATUS.replace("01 30", "01 33"), "INVALID_ARGUMENT"),
        ("88", "UNKNOWN"),  # no gRPC status at all
        ("8d", "UNIMPLEMENTED"),
        ("08 03 353033", "UNAVAILABLE"),  # a proxy's answer: :status 404, :status 503
        ("00 0b 677270632d737461747573 02 3939", "UNKNOWN"),  # a number that gRPC does not define
        ("00 7f 0d" + "61" * 140 + "01 61" + PLAIN_STATUS, "OK"),  # a name of 140 bytes: 127 + 13
    ],
)
def test_a_status_is_found_in_every_form_of_header(peer, block, code):
    one = peer()
    one.says(SETTINGS)
    one.mine.send("token", 0)
    one.says(trailers(block))
    assert one.ends == [("token", code)]


def test_the_request_is_what_grpc_prescribes(peer):
    one = peer()
    assert one.heard(PREFACE_SIZE).startswith(PREFACE)
    one.mine.send("token", 0)
    head, data = frames(one.heard(9 + len(one.mine._messages.block) + 9 + 5 + 4))
    assert head[:3] == (1, 4, 1) and data == (0, 1, 1, b"\x00\x00\x00\x00\x04body")
    for text in (
        b"/tensorflow.serving.PredictionService/Predict",
        b"127.0.0.1:1",
        b"application/grpc",
        b"trailers",
        b"1500m",
    ):
        assert bytes((len(text),)) + text in head[3]


def test_headers_may_be_padded_prioritised_and_continued(peer):
    one = peer()
    one.says(SETTINGS)
    one.mine.send("token", 0)
    block = bytes.fromhex(PLAIN_STATUS).hex()
    padded = "02" + "00000000" + "10" + block[:10] + "0000"
    one.says(trailers(padded, flags="29") + trailers(block[10:], flags="04", kind="09"))
    assert one.ends == [("token", "OK")]


def test_answers_may_arrive_byte_by_byte_and_out_of_order(peer):
    one = peer()
    one.says(SETTINGS)
    for token in "ab":
        one.mine.send(token, 0)
    for byte in bytes.fromhex(trailers(PLAIN_STATUS, "00000003") + trailers(PLAIN_STATUS)):
        one.says(bytes((byte,)))
    assert one.ends == [("b", "OK"), ("a", "OK")]


def test_only_one_request_goes_out_before_the_server_told_its_limits(peer):
    one = peer()
    assert one.mine.room and not one.mine.ready
    one.mine.send("a", 0)
    assert not one.mine.room
    one.says("000006 04 00 00000000 0003 00000002")
    assert one.mine.ready and one.mine.room
    one.mine.send("b", 0)
    assert not one.mine.room


def test_settings_and_pings_are_acknowledged(peer):
    one = peer()
    one.heard(PREFACE_SIZE)
    one.says(SETTINGS + "000008 06 00 00000000 0102030405060708")
    assert frames(one.heard(9 + 17)) == [(4, 1, 0, b""), (6, 1, 0, bytes(range(1, 9)))]


def test_a_large_body_waits_for_the_servers_windows(peer):
    one = peer(bodies=[bytes(100_000)])
    one.heard(PREFACE_SIZE)
    one.says("00000c 04 00 00000000 0004 00001000 0005 00008000")  # stream window 4,096 bytes, frames up to 32,768
    one.heard(9)
    one.mine.send("token", 0)
    head = one.heard(9 + len(one.mine._messages.block))
    assert frames(head)[0][:2] == (1, 4)
    sent = [frames(one.heard(9 + 4096))[0]]
    one.says("000004 08 00 00000001 000f4240")  # 1,000,000 more for the stream: now the connection's 65,535 count
    while sum(len(item[3]) for item in sent) < 65535:
        sent += frames_of(one)
    one.says("000004 08 00 00000000 000f4240")
    while not sent[-1][1]:
        sent += frames_of(one)
    assert b"".join(item[3] for item in sent) == b"\x00" + struct.pack(">I", 100_000) + bytes(100_000)
    assert all(item[0] == 0 and item[2] == 1 and len(item[3]) <= 32768 for item in sent)
    assert [item[1] for item in sent] == [0] * (len(sent) - 1) + [1]


def frames_of(one):
    head = one.heard(9)
    return frames(head + one.heard(int.from_bytes(head[:3], "big")))


@pytest.mark.parametrize(
    "reset, code",
    [
        ("00000007", "NOT_TAKEN"),
        ("00000008", "CANCELLED"),
        ("0000000b", "RESOURCE_EXHAUSTED"),
        ("00000002", "INTERNAL"),
    ],
)
def test_a_reset_stream_is_an_error_by_grpcs_table(peer, reset, code):
    one = peer()
    one.says(SETTINGS)
    one.mine.send("token", 0)
    one.says("000004 03 00 00000001" + reset)
    assert one.ends == [("token", code)] and one.mine.room


def test_a_server_that_goes_away_finishes_what_it_took(peer):
    one = peer()
    one.says(SETTINGS)
    for token in "abc":
        one.mine.send(token, 0)
    one.says("000008 07 00 00000000 00000003 00000000")
    assert one.ends == [("c", "NOT_TAKEN")] and one.mine.alive and not one.mine.room
    one.says(trailers(PLAIN_STATUS) + trailers(PLAIN_STATUS, "00000003"))
    assert one.ends[1:] == [("a", "OK"), ("b", "OK")] and not one.mine.alive


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(4000),
        bytes.fromhex("000001 03 00 00000001 00"),
        bytes.fromhex(trailers("7f")),
    ],
)
def test_a_peer_that_speaks_something_else_gives_errors(peer, garbage):
    one = peer()
    one.mine.send("token", 0)
    one.says(garbage)
    one.theirs.shutdown(socket.SHUT_WR)
    one.turn()
    assert one.ends == [("token", "UNAVAILABLE")] and not one.mine.alive


def test_a_cancelled_request_is_reset_and_its_late_answer_ignored(peer):
    one = peer()
    one.heard(PREFACE_SIZE)
    one.says(SETTINGS)
    one.mine.send("token", 0)
    one.mine.cancel("token")
    one.says(trailers(PLAIN_STATUS))
    assert one.ends == []
    assert one.heard(9 + 9 + len(one.mine._messages.block) + 9 + 9 + 13)[-13:] == bytes.fromhex(
        "000004 03 00 00000001 00000008"
    )


REST_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n"


@pytest.mark.parametrize(
    "answer, code",
    [
        (REST_OK, "OK"),
        (b"HTTP/1.1 200 OK\r\ncontent-length:   0\r\n\r\n", "OK"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n{}\n\r\n0\r\n\r\n", "OK"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", "INVALID_ARGUMENT"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", "UNAVAILABLE"),
        (b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 2\r\n\r\n{}", "DEADLINE_EXCEEDED"),
        (b"HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\n\r\n{}", "UNKNOWN"),
    ],
)
def test_rest_answers_in_pieces(peer, answer, code):
    one = peer(connection.RestMessages)
    for round_trip in (1, 2):
        one.mine.send(round_trip, 0)
        for byte in answer[:-1]:
            one.says(bytes((byte,)))
        assert len(one.ends) == round_trip - 1 and not one.mine.room
        one.says(answer[-1:])
    assert one.ends == [(1, code), (2, code)] and one.mine.room


def test_a_rest_request_is_complete(peer):
    one = peer(connection.RestMessages, [b'{"instances":[1]}'])
    one.mine.send(1, 0)
    expected = (
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
        b'{"instances":[1]}'
    )
    assert one.heard(len(expected)) == expected


def test_a_rest_server_may_close_after_an_answer_or_while_idle(peer):
    one = peer(connection.RestMessages)
    one.mine.send(1, 0)
    one.says(REST_OK.replace(b"\r\nC", b"\r\nConnection: close\r\nC"))
    assert one.ends == [(1, "OK")] and not one.mine.alive
    idle = peer(connection.RestMessages)
    idle.theirs.close()
    idle.turn()
    assert idle.ends == [] and not idle.mine.alive


def test_a_dead_connection_ends_what_is_sent_on_it(peer):
    for kind in (connection.GrpcMessages, connection.RestMessages):
        one = peer(kind)
        one.theirs.close()
        one.turn()
        one.mine.send("token", 0)
        assert one.ends == [("token", "UNAVAILABLE")]
