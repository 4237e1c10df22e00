# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The REST API over a small HTTP/1.1 server: a thread for each connection, kept alive; so many requests at work at once as there are threads."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import Mapping
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    examples,
    log,
    metrics,
    models,
    rest_answer,
    rest_inputs,
    rest_parse,
    status,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.predict import Predictor, Request
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import DEFAULT_SIGNATURE, Session
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, grpc_api

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(rf"(?i:/v1/models/(?P<name>[^/:]+){_VERSION}):(?P<method>classify|regress|predict)")
_OVER_EXAMPLES = {"classify": examples.CLASSIFY, "regress": examples.REGRESS}
_LOOK = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<method>metadata))?", re.IGNORECASE)
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    417: "Expectation Failed",
    429: "Too Many Requests",
    499: "Client Closed Request",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_PAGE = "<HTML><HEAD>\n<TITLE>{0} {1}</TITLE>\n</HEAD><BODY>\n<H1>{1}</H1>\n</BODY></HTML>\n"
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]+)(?: .*)?\r?\n")
_PAUSE_S = 0.1
_MAX_LINE, _MAX_HEADERS, _MAX_INFLATED, _MAX_BODY, _PIECE = 65536, 128, 100 << 20, (1 << 31) - 1, 1 << 20


class _Refused(ValueError):
    """A request that the HTTP server of TensorFlow Serving answers itself, with the HTTP status that is its argument; then it closes the connection."""


class RestService:
    """The server's REST side. predictor: a predict.Predictor. activity: a context manager around each request."""

    _listener: Any

    def __init__(
        self,
        predictor: Predictor,
        library: models.Library,
        options: Mapping[str, Any],
        activity: contextlib.AbstractContextManager[None],
        metrics_path: str | None = None,
    ) -> None:
        """options: {flag: value}; of rest_api_num_threads one would wait for connections, as in TensorFlow Serving, and the others work.
        metrics_path: where Prometheus finds the metrics, None for nowhere."""
        self._predictor, self._library, self._activity = predictor, library, activity
        self._timeout_ms = options["rest_api_timeout_in_ms"]
        self._cors = options["rest_api_enable_cors_support"]
        self._slots = threading.BoundedSemaphore(max(1, options["rest_api_num_threads"] - 1))
        self._metrics_path, self._listener, self._stopped = metrics_path, None, False

    def start(self, address: str, port: int) -> None:
        """Listen. Raises Status where the port is not to be had."""
        try:
            self._listener = socket.create_server(
                (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=1024
            )
        except (OSError, OverflowError) as fault:
            raise status.Status(
                "UNAVAILABLE", f"Couldn't bind to port {port} of {address}: {getattr(fault, 'strerror', fault)}"
            ) from fault
        threading.Thread(target=self._accept, name="rest", daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        self._stopped = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                connection, _peer = self._listener.accept()
            except OSError as fault:  # Whoever went away again, or no descriptor left until somebody else does.
                self._pause(fault)
                continue
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
            except (OSError, RuntimeError) as fault:  # It has gone, or no thread can be had for it.
                connection.close()
                self._pause(fault)

    def _pause(self, fault: BaseException) -> None:
        if not self._stopped:
            log.error(f"The REST port could not take a connection: {fault}")
            time.sleep(_PAUSE_S)

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while self._exchange(connection, stream):
                    pass
            except ValueError as fault:
                code = fault.args[0] if isinstance(fault, _Refused) else 400
                page = _PAGE.format(code, _REASONS[code])
                head = f"HTTP/1.1 {code} {_REASONS[code]}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close"
                connection.sendall(f"{head}\r\n\r\n{page}".encode())
            except OSError:
                pass  # The client went away.

    def _exchange(self, connection: socket.socket, stream: io.BufferedReader) -> bool:
        """Answer one request; returns whether the connection stays open."""
        first = stream.readline(_MAX_LINE)
        if not first.strip():
            return bool(first)
        verb, target, protocol = first.decode("latin-1").split()
        headers = _read_headers(stream)
        old = protocol == "HTTP/1.0"
        if "expect" in headers and not old:
            _send_continue(headers["expect"], connection, stream)
        body = _read_body(stream, headers)
        wish = headers.get("connection", "").lower()
        stays = wish == "keep-alive" if old else wish != "close"
        with self._activity:  # A request waits for its turn in it, and ends with the last byte of its answer.
            with self._slots:
                code, kind, content = self.answer(verb, target, body, headers)
            head = [
                f"HTTP/1.{'0' if old else '1'} {code} {_REASONS[code]}",
                f"Content-Type: {kind}",
                f"Content-Length: {len(content)}",
            ]
            if self._cors:
                head += [
                    "Access-Control-Allow-Origin: *",
                    "Access-Control-Allow-Methods: POST, GET",
                    "Access-Control-Allow-Headers: Content-Type",
                ]
            if stays == old:  # Not what the protocol implies.
                head.append(f"Connection: {'keep-alive' if old else 'close'}")
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + (b"" if verb == "HEAD" else content))
        return stays

    def answer(self, verb: str, target: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """(HTTP status, content type, content) for a request."""
        if target == self._metrics_path:
            return 200, "text/plain", metrics.page().encode()
        if not _API.fullmatch(target):
            raise _Refused(404)
        if verb == "OPTIONS":
            allowed = headers.get("origin", "").startswith(("http://", "https://"))
            return 200 if allowed else 400, "text/html; charset=ISO-8859-1", b""
        found = _CALL.fullmatch(target) if verb == "POST" else _LOOK.fullmatch(target) if verb == "GET" else None
        began, name, method, code = time.monotonic(), *(_named(found) if found else ("", "")), "OK"
        try:
            return 200, "application/json", self._process(verb, target, found, _inflated(body, headers))
        except Exception as fault:
            told = status.of(fault)
            code = told.code
            if code == "UNKNOWN" and not isinstance(fault, status.Status):
                log.error(f"A request failed: {told}")
            return grpc_api.http_of_code(code), "application/json", rest_answer.error(told.message)
        finally:
            metrics.REQUEST_COUNT.add(name, code)
            if code == "OK":
                metrics.REQUEST_LATENCY.add((time.monotonic() - began) * 1e6, name, method, "REST")

    def _process(self, verb: str, target: str, found: Any, body: bytes) -> bytes:
        if not found:
            raise status.Status("INVALID_ARGUMENT", f"Malformed request: {verb} {target}")
        asked = _asked(found)
        method = found["method"]
        if method == "predict":
            return self._predict(asked, body)
        if method in _OVER_EXAMPLES:
            return self._infer(_OVER_EXAMPLES[method], asked, body)
        if not asked.name:
            raise status.Status("INVALID_ARGUMENT", "Missing model name in request.")
        if method != "metadata":
            return rest_answer.statuses(self._library.states(asked.name, asked.number))
        with self._library.use(asked) as (number, session):
            return rest_answer.metadata(asked.name, number, session.signatures)

    def _predict(self, asked: models.Asked, body: bytes) -> bytes:
        request = rest_parse.parse(body)
        with self._library.use(asked) as (_number, session):
            name, form, inputs = rest_inputs.predict_inputs(request, lambda signature: _dtypes(session, signature))
            outputs = self._predictor.predict(session, Request(asked.name, name, inputs), self._timeout_ms)
        return rest_answer.answer(outputs, form)

    def _infer(self, method: examples.Method, asked: models.Asked, body: bytes) -> bytes:
        request = rest_inputs.example_request(rest_parse.parse(body), method.request)
        request.model_spec.name = asked.name
        with self._library.use(asked) as (_number, session):
            return rest_answer.results(self._predictor.infer(method, session, request, self._timeout_ms).result)


def _named(found: Any) -> tuple[str, str]:
    """(model, method) of a request, as the metrics name them: the method is empty for what only looks."""
    return urllib.parse.unquote(found["name"] or ""), found["method"] if found.re is _CALL else ""


def _asked(found: Any) -> models.Asked:
    name = urllib.parse.unquote(found["name"] or "")
    if found["version"] is None:
        return models.Asked(name, label=urllib.parse.unquote(found["label"]) if found["label"] else None)
    digits = found["version"].lstrip("0") or "0"
    if len(digits) > 19 or int(digits) >= 2**63:
        raise status.Status("INVALID_ARGUMENT", f"Failed to convert version: {found['version']} to numeric.")
    return models.Asked(name, int(digits))


def _dtypes(session: Session, signature_name: str) -> dict[str, str]:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in session.signatures:
        raise status.Status("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
    return {alias: dtypes.name_of(info.dtype) for alias, info in session.signatures[name].inputs.items()}


def _send_continue(wish: str, connection: socket.socket, stream: io.BufferedReader) -> None:
    """Ask for a body that the client holds back; one that is there already needs no word."""
    if wish.lower() != "100-continue":
        raise _Refused(417)
    connection.setblocking(False)
    there = stream.peek(1)
    connection.setblocking(True)
    if not there:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _read_headers(stream: IO[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _line in range(_MAX_HEADERS):
        line = stream.readline(_MAX_LINE).decode("latin-1")
        if not line.strip():
            return headers
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("too many headers")


def _read_body(stream: IO[bytes], headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return _read_exactly(stream, int(headers.get("content-length", 0)))
    chunks: list[bytes]
    chunks, left = [], _MAX_BODY
    while True:
        found = _CHUNK_SIZE.fullmatch(stream.readline(_MAX_LINE))
        if not found:
            raise _Refused(413)
        size = int(found[1], 16)
        if not size:
            _read_headers(stream)
            return b"".join(chunks)
        chunks.append(_read_exactly(stream, size, left))
        left -= size
        stream.readline(_MAX_LINE)


def _read_exactly(stream: IO[bytes], size: int, most: int = _MAX_BODY) -> bytes:
    if not 0 <= size <= most:
        raise ValueError("a length that nobody can mean, or too much")
    content = bytearray()
    while len(content) < size:  # A length that is only announced takes no memory.
        piece = stream.read(min(size - len(content), _PIECE))
        if not piece:
            raise ConnectionError("the request was cut short")
        content += piece
    return bytes(content)


def _inflated(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body itself; nothing of a body that is not one whole member of gzip, as in TensorFlow Serving."""
    if "gzip" not in headers.get("content-encoding", ""):
        return body
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(body, _MAX_INFLATED)
    except zlib.error:
        return b""
    return inflated if inflater.eof and not inflater.unused_data else b""
