# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The REST API on a small HTTP/1.1 server, with a thread for each kept-alive connection.

The number of threads limits the requests that are processed in parallel.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    examples,
    http_connections,
    http_request,
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
    408: "Request Timeout",
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
_PAUSE_S = 0.1
_MAX_INFLATED, _PIECE = 100 << 20, 1 << 20


class RestService:
    """The server's REST side. predictor: a predict.Predictor. activity: a context manager around each request."""

    _listener: Any
    _connections: http_connections.Connections

    def __init__(
        self,
        predictor: Predictor,
        library: models.Library,
        options: Mapping[str, Any],
        activity: contextlib.AbstractContextManager[None],
        metrics_path: str | None = None,
    ) -> None:
        """Create the service.

        options: {flag: value}; in TensorFlow Serving one of the rest_api_num_threads waits for connections, so one less
        works here. metrics_path: where Prometheus finds the metrics, or None.
        """
        self._predictor, self._library, self._activity = predictor, library, activity
        self._timeout_ms = options["rest_api_timeout_in_ms"]
        self._cors = options["rest_api_enable_cors_support"]
        self._slots = threading.BoundedSemaphore(max(1, options["rest_api_num_threads"] - 1))
        self._metrics_path, self._listener, self._stopped = metrics_path, None, False

    def start(self, address: str, port: int, most_connections: int) -> None:
        """Listen. Raise Status if the port is not available."""
        self._connections = http_connections.Connections(
            most_connections,
            int(os.environ.get("TFSERVING_EMBEDDED_BODIES_MIB", "160")) << 20,
            float(os.environ.get("TFSERVING_EMBEDDED_REQUEST_TIMEOUT_S", "30")),
        )
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
        """Accept no more connections."""
        self._stopped = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                accepted, _peer = self._listener.accept()
            except OSError as fault:  # The client has already gone, or no descriptor is left.
                self._pause(fault)
                continue
            connection = http_connections.Connection(accepted, self._connections)
            try:
                self._connections.admit(connection)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
            except (OSError, RuntimeError) as fault:  # The client has gone, or there is no place or no thread for it.
                connection.close()
                self._pause(fault)

    def _pause(self, fault: BaseException) -> None:
        if not self._stopped:
            log.error(f"The REST port could not accept a connection: {fault}")
            self._connections.shed()
            time.sleep(_PAUSE_S)

    def _converse(self, connection: http_connections.Connection) -> None:
        try:
            while self._exchange(connection):
                pass
        except http_request.Refused as fault:
            page = _PAGE.format(fault.code, _REASONS[fault.code])
            head = f"HTTP/1.1 {fault.code} {_REASONS[fault.code]}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close"
            connection.refuse(f"{head}\r\n\r\n{page}".encode())
        except (OSError, MemoryError):
            pass  # The client has gone, or there is not enough memory for its request.
        finally:
            connection.close()

    def _exchange(self, connection: http_connections.Connection) -> bool:
        """Answer one request. Return whether the connection stays open."""
        requested = connection.head()
        if requested is None:
            return False
        header = requested.headers.get("connection", "").lower()
        stays = header == "keep-alive" if requested.old else header != "close"  # As TensorFlow Serving, also for lists.
        # A request counts from its head to the last byte of its answer, including its time in the queue.
        with self._activity:
            body = connection.body(requested)
            with connection.at_work(), self._slots:
                code, kind, content = self.answer(requested, body, connection.hold)
            head = [
                f"HTTP/1.{'0' if requested.old else '1'} {code} {_REASONS[code]}",
                f"Content-Type: {kind}",
                f"Content-Length: {len(content)}",
            ]
            if self._cors:
                head += [
                    "Access-Control-Allow-Origin: *",
                    "Access-Control-Allow-Methods: POST, GET",
                    "Access-Control-Allow-Headers: Content-Type",
                ]
            if stays == requested.old:  # Not what the protocol implies.
                head.append(f"Connection: {'keep-alive' if requested.old else 'close'}")
            connection.answer("\r\n".join(head).encode() + b"\r\n\r\n" + (b"" if requested.verb == "HEAD" else content))
        return stays

    def answer(
        self, requested: http_request.Head, body: bytearray, hold: Callable[[int], None]
    ) -> tuple[int, str, bytes]:
        """Return (HTTP status, content type, content) for a request. Raise Refused. hold: counts the bytes that it occupies."""
        verb, target = requested.verb, requested.target
        if target == self._metrics_path:
            return 200, "text/plain", metrics.page().encode()
        if not _API.fullmatch(target):
            raise http_request.Refused(404)
        if verb == "OPTIONS":
            allowed = requested.headers.get("origin", "").startswith(("http://", "https://"))
            return 200 if allowed else 400, "text/html; charset=ISO-8859-1", b""
        found = _CALL.fullmatch(target) if verb == "POST" else _LOOK.fullmatch(target) if verb == "GET" else None
        body = _inflated(body, requested.headers, hold)
        hold(rest_parse.size_of_values(body))
        began, name, method, code = time.monotonic(), *(_named(found) if found else ("", "")), "OK"
        try:
            return 200, "application/json", self._process(verb, target, found, body)
        except Exception as fault:
            code, message = _explained(fault)
            return grpc_api.http_of_code(code), "application/json", rest_answer.error(message)
        finally:
            metrics.count_request(name, code)
            if code == "OK":
                metrics.REQUEST_LATENCY.add((time.monotonic() - began) * 1e6, name, method, "REST")

    def _process(self, verb: str, target: str, found: Any, body: bytearray) -> bytes:
        if not found:
            raise status.Status("INVALID_ARGUMENT", f"Malformed request: {verb} {target}")
        requested = _requested(found)
        method = found["method"]
        if method == "predict":
            return self._predict(requested, body)
        if method in _OVER_EXAMPLES:
            return self._infer(_OVER_EXAMPLES[method], requested, body)
        if not requested.name:
            raise status.Status("INVALID_ARGUMENT", "Missing model name in request.")
        if method != "metadata":
            return rest_answer.statuses(self._library.states(requested.name, requested.number))
        with self._library.use(requested) as (number, session):
            return rest_answer.metadata(requested.name, number, session.signatures)

    def _predict(self, requested: models.Requested, body: bytearray) -> bytes:
        request = rest_parse.parse(body)
        with self._library.use(requested) as (_number, session):
            name, form, inputs = rest_inputs.predict_inputs(request, lambda signature: _dtypes(session, signature))
            del request
            outputs = self._predictor.predict(session, Request(requested.name, name, inputs), self._timeout_ms)
        return rest_answer.answer(outputs, form)

    def _infer(self, method: examples.Method, requested: models.Requested, body: bytearray) -> bytes:
        request = rest_inputs.example_request(rest_parse.parse(body), method.request)
        request.model_spec.name = requested.name
        with self._library.use(requested) as (_number, session):
            return rest_answer.results(self._predictor.infer(method, session, request, self._timeout_ms).result)


def _explained(fault: Exception) -> tuple[str, str]:
    """Return (code, message). The status is no variable of a caller: it refers to their frames, which would keep their requests in memory."""
    problem = status.of(fault)
    if problem.code == "UNKNOWN" and not isinstance(fault, status.Status):
        log.error(f"A request failed: {log.shown(str(problem))}")
    return problem.code, problem.message


def _named(found: Any) -> tuple[str, str]:
    """Return (model, method) of a request for the metrics. The method is empty for status and metadata."""
    return urllib.parse.unquote(found["name"] or ""), found["method"] if found.re is _CALL else ""


def _requested(found: Any) -> models.Requested:
    name = urllib.parse.unquote(found["name"] or "")
    if found["version"] is None:
        return models.Requested(name, label=urllib.parse.unquote(found["label"]) if found["label"] else None)
    digits = found["version"].lstrip("0") or "0"
    if len(digits) > 19 or int(digits) >= 2**63:
        raise status.Status("INVALID_ARGUMENT", f"Failed to convert version: {found['version']} to numeric.")
    return models.Requested(name, int(digits))


def _dtypes(session: Session, signature_name: str) -> dict[str, str]:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in session.signatures:
        raise status.Status("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
    return {alias: dtypes.name_of(info.dtype) for alias, info in session.signatures[name].inputs.items()}


def _inflated(body: bytearray, headers: Mapping[str, str], hold: Callable[[int], None]) -> bytearray:
    """Return the decompressed body. It is empty unless the body is exactly one gzip member, as in TensorFlow Serving. Raise Refused."""
    if "gzip" not in headers.get("content-encoding", ""):
        return body
    inflater, inflated = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    for start in range(0, len(body), _PIECE):
        rest: bytes | bytearray = body[start : start + _PIECE]
        while rest:
            if inflater.eof or len(inflated) >= _MAX_INFLATED:
                return bytearray()
            try:
                piece = inflater.decompress(rest, _PIECE)
            except zlib.error:
                return bytearray()
            hold(len(piece))
            inflated += piece
            rest = inflater.unconsumed_tail
    return inflated if inflater.eof and not inflater.unused_data else bytearray()
