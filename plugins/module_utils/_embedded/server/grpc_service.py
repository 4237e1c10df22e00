# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gRPC API: PredictionService, ModelService and the health check. Other calls are answered with UNIMPLEMENTED."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    configuration,
    examples,
    log,
    metrics,
    models,
    status,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.predict import Predictor, Request
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import DEFAULT_SIGNATURE, Session
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, grpc_api, wire

try:
    import grpc
except ImportError:
    grpc = None

_HEALTH_CHECK, _HEALTH_WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
_SERVING, _SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x03"
_HEALTHY = ("", "ModelService", "PredictionService")
# Workers in addition to those that serve: for calls whose message has not arrived, for refused calls, and for clients
# that wait.
_MORE_WORKERS, _MOST_RELOADS, _MOST_WATCHES = 512, 16, 64
# How long connections may be idle, how long a client may take to begin to speak HTTP/2, and when gRPC checks whether a
# client still exists.
_TIMES = (
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
_LONGEST_S = 1e9  # For a call without a deadline gRPC says the largest number.
# Streams of a connection; its clients wait with more. gRPC keeps about a MiB of one whose headers refer to a long one thousands of times.
_STREAMS = 100
_SIGNATURES = "signature_def"
_MOST_CHARACTERS = 1024
_HIGHEST_PORT = 65535
_WHOLE = re.compile(r"-?[0-9]{1,10}")


# (request, milliseconds until the client's deadline or 0; for a reload, whether its client still exists) -> answer
_Method = Callable[[bytes, Any], bytes]


class GrpcService:
    """The server's gRPC side. predictor: a predict.Predictor. activity: a context manager around each call, or one that refuses it."""

    def __init__(
        self,
        predictor: Predictor,
        library: models.Library,
        options: Mapping[str, Any],
        activity: contextlib.AbstractContextManager[None],
        most_connections: int,
    ) -> None:
        """options: {flag: value}."""
        self._predictor, self._library, self._activity = predictor, library, activity
        self._as_content = options["enable_serialization_as_tensor_content"]
        threads = options["grpc_max_threads"]
        self._stopped = threading.Event()
        self._calls, self._reloads, self._watches = map(
            threading.BoundedSemaphore, (threads, _MOST_RELOADS, _MOST_WATCHES)
        )
        self._methods: dict[str, _Method] = {
            grpc_api.PREDICT: self._counted("Predict", "tensorflow.serving.PredictRequest", self._predict),
            grpc_api.CLASSIFY: self._inferring(examples.CLASSIFY),
            grpc_api.REGRESS: self._inferring(examples.REGRESS),
            grpc_api.MULTI_INFERENCE: self._infer_several,
            grpc_api.GET_MODEL_METADATA: self._metadata,
            grpc_api.GET_MODEL_STATUS: self._status,
            grpc_api.RELOAD_CONFIG: self._reload,
        }
        if options["enable_grpc_healthcheck_service"]:
            self._methods[_HEALTH_CHECK] = self._health
        self._predict_response = wire.message("tensorflow.serving.PredictResponse")
        self._server = grpc.server(
            futures.ThreadPoolExecutor(threads + _MORE_WORKERS),
            handlers=[
                _Handlers(
                    self._methods, self._serve, self._watch if options["enable_grpc_healthcheck_service"] else None
                )
            ],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_allowed_incoming_connections", most_connections),
                ("grpc.max_concurrent_streams", _STREAMS),
                *_TIMES,
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                *_channel_arguments(options["grpc_channel_arguments"]),
            ],
            maximum_concurrent_rpcs=threads + _MORE_WORKERS,
        )

    def start(self, addresses: Sequence[str], tls: Any = None) -> None:
        """Listen on these addresses, HOST:PORT or unix:PATH. tls: an SSLConfig message. Raise Status if an address or a certificate is not available."""
        for address in addresses:
            if not address.startswith("unix:") and not 0 < int(address.rpartition(":")[2]) <= _HIGHEST_PORT:
                raise _start_fault(address, None)
            try:
                if tls is None:
                    self._server.add_insecure_port(address)
                else:
                    self._server.add_secure_port(address, _credentials(tls))
            except RuntimeError as fault:
                raise _start_fault(address, tls) from fault
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Accept no more calls, and wait this long for those that run."""
        self._stopped.set()
        self._server.stop(grace_s).wait()

    def _serve(self, method: _Method, content: bytes, context: Any) -> bytes:
        try:
            if method == self._reload:  # It may take forever, and shutting down does not wait for it.
                with _one_of(self._reloads):
                    return method(content, context.is_active)
            with _one_of(self._calls), self._activity:
                return method(content, _timeout_ms(context.time_remaining()))
        except Exception as fault:
            return _failed(context, _status_of(fault))

    def _counted(self, api: str, kind: str, answer: Callable[[Any, models.Requested, int], Any]) -> _Method:
        """Return the method that answers and counts requests of this kind. answer(request, model, timeout_ms): returns the response."""
        expected = wire.message(kind)

        def method(content: bytes, timeout_ms: int) -> bytes:
            began, name, code = time.monotonic(), "", "OK"
            try:
                request = _parsed(expected, content)
                name = request.model_spec.name
                return _bytes(answer(request, _requested(request), timeout_ms))
            except Exception as fault:
                code = status.of(fault).code
                raise
            finally:
                metrics.count_request(name, code)
                if code == "OK":
                    metrics.REQUEST_LATENCY.add((time.monotonic() - began) * 1e6, name, api, "GRPC")

        return method

    def _predict(self, request: Any, requested: models.Requested, timeout_ms: int) -> Any:
        response = self._predict_response()
        with self._library.use(requested) as (number, session):
            wanted = Request(requested.name, request.model_spec.signature_name, request.inputs, request.output_filter)
            outputs = self._predictor.predict(session, wanted, timeout_ms)
        spec = response.model_spec
        spec.name, spec.version.value, spec.signature_name = (
            requested.name,
            number,
            request.model_spec.signature_name or DEFAULT_SIGNATURE,
        )
        for name, array in outputs.items():
            client.encode_tensor(array, typed=not self._as_content, into=response.outputs[name])
        return response

    def _inferring(self, method: examples.Method) -> _Method:
        def infer(request: Any, requested: models.Requested, timeout_ms: int) -> Any:
            with self._library.use(requested) as (number, session):
                response = self._predictor.infer(method, session, request, timeout_ms)
            response.model_spec.version.value = number
            return response

        return self._counted(method.api, method.request, infer)

    def _infer_several(self, content: bytes, timeout_ms: int) -> bytes:
        request = _parsed(wire.message("tensorflow.serving.MultiInferenceRequest"), content)
        first = request.tasks[0] if request.tasks else wire.message("tensorflow.serving.InferenceTask")()
        with self._library.use(_requested_by(first.model_spec)) as (number, session):
            response = self._predictor.infer_several(session, request, timeout_ms)
        for result in response.results:
            result.model_spec.version.value = number
        return _bytes(response)

    def _metadata(self, content: bytes, _timeout_ms: int) -> bytes:
        request = _parsed(wire.message("tensorflow.serving.GetModelMetadataRequest"), content)
        requested = _requested(request)
        if not request.metadata_field:
            raise status.Status("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURES:
                raise status.Status("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        response = wire.message("tensorflow.serving.GetModelMetadataResponse")()
        with self._library.use(requested) as (number, session):
            response.metadata[_SIGNATURES].Pack(signature_map(session))
        response.model_spec.name, response.model_spec.version.value = requested.name, number
        return _bytes(response)

    def _status(self, content: bytes, _timeout_ms: int) -> bytes:
        requested = _requested(_parsed(wire.message("tensorflow.serving.GetModelStatusRequest"), content))
        response = wire.message("tensorflow.serving.GetModelStatusResponse")()
        for number, state, fault in self._library.states(requested.name, requested.number):
            added = response.model_version_status.add(version=number, state=grpc_api.STATES[state])
            added.status.error_code = grpc_api.CODES.index(fault.code) if fault else 0
            added.status.error_message = fault.message if fault else ""
        return _bytes(response)

    def _reload(self, content: bytes, is_active: Callable[[], bool]) -> bytes:
        request = _parsed(wire.message("tensorflow.serving.ReloadConfigRequest"), content)
        configuration.reload(self._library, request.config, is_active)
        response = wire.message("tensorflow.serving.ReloadConfigResponse")()
        response.status.SetInParent()
        return _bytes(response)

    def _health(self, content: bytes, _timeout_ms: int) -> bytes:
        if not _is_healthy(content):
            raise status.Status("NOT_FOUND", "service name unknown")
        return _SERVING

    def _watch(self, content: bytes, context: Any) -> Iterator[bytes]:
        """Send a service's health once, because it does not change while the server runs."""
        try:
            with _one_of(self._watches):
                yield _SERVING if _is_healthy(content) else _SERVICE_UNKNOWN
                while context.is_active() and not self._stopped.wait(1):
                    pass
        except status.Status as fault:
            _failed(context, fault)


if grpc is not None:

    class _Handlers(grpc.GenericRpcHandler):
        """Routes the bytes of a known method's request to serve(method, bytes, context), and clients that watch the health to watch(bytes, context)."""

        def __init__(
            self,
            methods: Mapping[str, _Method],
            serve: Callable[[_Method, bytes, Any], bytes],
            watch: Callable[[bytes, Any], Iterator[bytes]] | None,
        ) -> None:
            def handler(method: _Method) -> Any:
                return grpc.unary_unary_rpc_method_handler(lambda content, context: serve(method, content, context))

            self._handlers = {path: handler(method) for path, method in methods.items()}
            if watch:
                self._handlers[_HEALTH_WATCH] = grpc.unary_stream_rpc_method_handler(watch)

        def service(self, handler_call_details: Any) -> Any:
            """Return the method's handler, or None for UNIMPLEMENTED."""
            return self._handlers.get(handler_call_details.method)


@contextlib.contextmanager
def _one_of(places: threading.BoundedSemaphore) -> Iterator[None]:
    """Occupy one of some places within the context. Raise Status if none is free."""
    if not places.acquire(blocking=False):
        raise status.Status("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
    try:
        yield
    finally:
        places.release()


def _failed(context: Any, fault: status.Status) -> bytes:
    """End a call with a fault. Return what to send as an answer."""
    context.set_code(getattr(grpc.StatusCode, fault.code))
    context.set_details(fault.message[:_MOST_CHARACTERS])
    return b""


def _timeout_ms(left_s: float | None) -> int:
    """Return TensorFlow's timeout for a deadline, rounded up to a few different values, because TensorFlow prepares a run for each value."""
    if left_s is None or left_s > _LONGEST_S:
        return 0
    left_ms = max(1, round(left_s * 1000))
    step = 1 << max(0, left_ms.bit_length() - 3)
    return -(-left_ms // step) * step


def _is_healthy(content: bytes) -> bool:
    try:
        service = wire.message("grpc.health.v1.HealthCheckRequest").FromString(content).service
    except Exception as fault:
        raise status.Status("INVALID_ARGUMENT", "could not parse request") from fault
    return service in _HEALTHY


def _bytes(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content


def _credentials(tls: Any) -> Any:
    pair = (tls.server_key.encode(), tls.server_cert.encode())
    return grpc.ssl_server_credentials([pair], tls.custom_ca.encode() or None, tls.client_verify)


def _start_fault(address: str, tls: Any) -> status.Status:
    if tls is not None:
        return status.Status("INVALID_ARGUMENT", "Failed to BuildAndStart gRPC server")
    host, _colon, port = address.rpartition(":")
    return status.Status(
        "UNAVAILABLE",
        f"Couldn't bind to port {port} of {host}" if host != "unix" else f"Couldn't bind to the UNIX socket {port}",
    )


def signature_map(session: Session) -> Any:
    """Return the SignatureDefMap message of a session's signatures."""
    made = wire.message("tensorflow.serving.SignatureDefMap")()
    for name, signature in session.signatures.items():
        made.signature_def[name].CopyFrom(signature)
    return made


def _parsed(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except Exception as fault:
        raise status.Status("INTERNAL", "Failed to parse the request") from fault


def _requested(request: Any) -> models.Requested:
    if not request.HasField("model_spec"):
        raise status.Status("INVALID_ARGUMENT", "Missing ModelSpec")
    return _requested_by(request.model_spec)


def _requested_by(spec: Any) -> models.Requested:
    return models.Requested(
        spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label or None
    )


def _status_of(fault: BaseException) -> status.Status:
    found = status.of(fault)
    if found.code == "UNKNOWN" and not isinstance(fault, status.Status):
        log.error(f"A call failed: {log.shown(str(found))}")
    return found


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    pairs = [argument.partition("=") for argument in text.split(",") if argument]
    return [
        (key, int(value) if _WHOLE.fullmatch(value) and -(2**31) <= int(value) < 2**31 else value)
        for key, _equals, value in pairs
    ]
