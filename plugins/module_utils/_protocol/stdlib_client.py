# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call a server over gRPC, or get a page of its REST port, with only the standard library, for hosts without gRPC and NumPy."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import time
from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._core import archive_errors, bounded_archives
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, http2, tensors, text_arrays
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault, VersionStatus
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.tensors import Tensor

_READ_BYTES = 1 << 16
_PAGE_S = 5.0


class Server:
    """A server's gRPC port. Each call opens a new connection, so that a stopped server is noticed at once.

    secure: whether it uses TLS. Its certificate is not verified, because the server was just started here.
    """

    def __init__(self, address: str, port: int, deadline_s: float = 10.0, secure: bool = False) -> None:
        self.address, self.port = address, port
        self._where, self._deadline_s, self._secure = f"grpc://{address}:{port}", deadline_s, secure

    def within(self, deadline_s: float) -> Server:
        """Return the same port with another deadline."""
        return Server(self.address, self.port, deadline_s, self._secure)

    def status(self, model: str) -> list[VersionStatus]:
        """Return the state of all versions that the server knows."""
        return tensors.status_response(self.call(grpc_api.GET_MODEL_STATUS, tensors.status_request(model)))

    def signatures(self, model: str) -> dict[str, Signature]:
        """Return the signatures of the version that the server uses by default."""
        return tensors.metadata_response(self.call(grpc_api.GET_MODEL_METADATA, tensors.metadata_request(model)))

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Tensor],
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, Tensor]:
        """Return the outputs for inputs."""
        return tensors.predict_response(
            self.call(grpc_api.PREDICT, tensors.predict_request(model, inputs, signature, version, label))
        )

    def call(self, path: str, message: bytes) -> bytes:
        """Return the bytes of the answer. Raise ServerFault."""
        try:
            with self._connect() as connection:
                return _Call(connection, time.monotonic() + self._deadline_s, self._where).run(
                    path, f"{self.address}:{self.port}", message, self._deadline_s, self._secure
                )
        except socket.timeout as fault:
            raise ServerFault("DEADLINE_EXCEEDED", f"no answer within {self._deadline_s:g} s", self._where) from fault
        except (OSError, EOFError, ValueError, IndexError, struct.error) as fault:
            raise ServerFault("UNAVAILABLE", str(fault) or "the connection ended", self._where) from fault

    def _connect(self) -> socket.socket:
        plain = socket.create_connection((self.address, self.port), timeout=self._deadline_s)
        if not self._secure:
            return plain
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(plain)


class _Call:
    """A call on its own connection: stream 1."""

    def __init__(self, connection: socket.socket, end: float, where: str) -> None:
        self._connection, self._end, self._where = connection, end, where
        self._unread, self._answer = b"", bytearray()
        self._window = self._stream_window = http2.FIRST_WINDOW

    def run(self, path: str, authority: str, message: bytes, deadline_s: float, secure: bool) -> bytes:
        block = http2.request_block(path, authority, deadline_s, secure)
        self._connection.sendall(http2.PREFACE + http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block))
        rest, done = b"\x00" + http2.STREAM.pack(len(message)) + message, False
        while not done:
            while rest and min(self._window, self._stream_window) > 0:
                size = min(len(rest), self._window, self._stream_window, http2.FIRST_FRAME_SIZE)
                self._connection.sendall(
                    http2.frame(http2.DATA, http2.END_STREAM if size == len(rest) else 0, 1, rest[:size])
                )
                rest, self._window, self._stream_window = rest[size:], self._window - size, self._stream_window - size
            done = self._take()
        if self._answer[:1] != b"\x00":
            raise ValueError("the answer is not a message")
        return bytes(self._answer[5:])

    def _take(self) -> bool:
        """Read the next frame. Return True after the last one. Raise ServerFault for a status that is not OK."""
        head = self._bytes(9)
        kind, flags, stream = head[3], head[4], http2.STREAM.unpack_from(head, 5)[0] & http2.LARGEST_WINDOW
        payload = self._bytes(int.from_bytes(head[:3], "big"))
        if kind in (http2.HEADERS, http2.CONTINUATION) and flags & http2.END_STREAM:
            number, http, message = http2.status(http2.unpadded(flags, payload))
            if number != 0:
                if number is None:
                    raise ServerFault(
                        grpc_api.code_without_status(http),
                        message or f"no gRPC server answers at this address (HTTP status {http})",
                        self._where,
                    )
                raise ServerFault(grpc_api.code_name(number), message, self._where)
            return True
        if kind == http2.DATA:
            self._answer += payload
            if flags & http2.END_STREAM:
                raise ServerFault(
                    "UNAVAILABLE", "no gRPC server answers at this address: the answer is a web page", self._where
                )
        elif kind == http2.RST_STREAM:
            raise ServerFault(
                "INTERNAL",
                f"the server ended the call with HTTP/2 error {http2.STREAM.unpack(payload)[0]}; its log may say why",
                self._where,
            )
        elif kind == http2.GOAWAY:
            raise EOFError("the server ended the connection")
        elif kind == http2.PING and not flags & http2.ACK:
            self._connection.sendall(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.WINDOW_UPDATE:
            more = http2.STREAM.unpack(payload)[0] & http2.LARGEST_WINDOW
            if stream:
                self._stream_window += more
            else:
                self._window += more
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == http2.INITIAL_WINDOW_SIZE:
                    self._stream_window += value - http2.FIRST_WINDOW
            self._connection.sendall(http2.frame(http2.SETTINGS, http2.ACK, 0))
        return False

    def _bytes(self, size: int) -> bytes:
        while len(self._unread) < size:
            left = self._end - time.monotonic()
            if left <= 0:
                raise socket.timeout()
            self._connection.settimeout(left)
            part = self._connection.recv(_READ_BYTES)
            if not part:
                raise EOFError("the connection ended without an answer")
            self._unread += part
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken


def page(address: str, port: int, path: str) -> tuple[int, str] | None:
    """Return (HTTP status, text) that a server's REST port answers, or None where nothing answers there."""
    try:
        connection = http.client.HTTPConnection(address, port, timeout=_PAGE_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None


def arrays(path: str, prefix: str, limit: int | None = None, needed: bool = True) -> dict[str, Tensor]:
    """Return {name: Tensor} of the arrays of a NumPy archive whose names begin with prefix, at most limit examples of each.

    Raise FleetError, also if needed and no array has the prefix.
    """
    try:
        with bounded_archives.arrays(path) as reading:
            found = {
                name: tensors.from_file(
                    read(),
                    f"{path}: {name}",
                    *(reading[one]() for one in {text_arrays.LENGTHS + name} & reading.keys()),
                )
                for name, read in sorted(reading.items())
                if name.startswith(prefix)
            }
    except archive_errors.FAULTS as fault:
        raise FleetError(
            f"cannot read the file as a NumPy archive (.npz): {getattr(fault, 'strerror', None) or archive_errors.why(fault)}",
            where=path,
        ) from fault
    if needed and not found:
        raise FleetError(
            f"the archive has no array {prefix}<name>",
            where=path,
            remedy=f"Save arrays {prefix}<name> with the examples along the first axis.",
        )
    return {name[len(prefix) :]: tensor.rows(limit) if limit else tensor for name, tensor in found.items()}
