# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gRPC API: Predict, GetModelMetadata, GetModelStatus and the health check; anything else is UNIMPLEMENTED."""

from __future__ import annotations

import threading
from concurrent import futures

from ansible_collections.tfserving.fleet.plugins.module_utils.server import client, wire
from ansible_collections.tfserving.fleet.plugins.module_utils.server.embedded import log, status
from ansible_collections.tfserving.fleet.plugins.module_utils.server.embedded.predict import Asked

try:
    import grpc
except ImportError:
    grpc = None

_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
_HEALTHY = (b"", b"\n\x0cModelService", b"\n\x11PredictionService")
_SIGNATURES = "signature_def"


class GrpcService:
    """The server's gRPC side. predictor: a predict.Predictor. activity: a context manager around each call, or one that refuses it."""

    def __init__(self, predictor, library, options, activity):
        """options: {flag: value}."""
        self._predictor, self._library, self._activity = predictor, library, activity
        self._as_content = options["enable_serialization_as_tensor_content"]
        self._threads, self._running, self._lock = options["grpc_max_threads"], 0, threading.Lock()
        self._methods = {wire.PREDICT: self._predict, wire.GET_MODEL_METADATA: self._metadata, wire.GET_MODEL_STATUS: self._status}
        if options["enable_grpc_healthcheck_service"]:
            self._methods[_HEALTH_CHECK] = self._health
        self._predict_request = wire.message("tensorflow.serving.PredictRequest")
        self._predict_response = wire.message("tensorflow.serving.PredictResponse")
        # Two workers more than calls are served at once, so that there is one to refuse the next.
        self._server = grpc.server(futures.ThreadPoolExecutor(self._threads + 2), handlers=[_Handlers(self._methods, self._serve)], options=[
            ("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            *_channel_arguments(options["grpc_channel_arguments"])])

    def start(self, address, port):
        """Listen. Raises Status where the port is not to be had."""
        try:
            self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError as fault:
            raise status.Status("UNAVAILABLE", f"Couldn't bind to port {port} of {address}: {fault}") from fault
        self._server.start()

    def stop(self, grace_s):
        """Take no more calls, and wait so long for those that run."""
        self._server.stop(grace_s).wait()

    def _serve(self, method, content, context):
        with self._lock:
            self._running += 1
            refused = self._running > self._threads
        try:
            if refused:
                raise status.Status("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
            with self._activity:
                return method(content)
        except Exception as fault:
            found = _status_of(fault)
            context.set_code(getattr(grpc.StatusCode, found.code))
            context.set_details(found.message)
            return b""
        finally:
            with self._lock:
                self._running -= 1

    def _predict(self, content):
        request = _parsed(self._predict_request, content)
        asked = _asked(request)
        response = self._predict_response()
        with self._predictor.use(asked) as (number, session):
            outputs = self._predictor.predict(session, request.model_spec.signature_name, request.inputs, request.output_filter)
        spec = response.model_spec
        spec.name, spec.version.value, spec.signature_name = asked.name, number, request.model_spec.signature_name or "serving_default"
        for name, array in outputs.items():
            client.encode_tensor(array, typed=not self._as_content, into=response.outputs[name])
        return response.SerializeToString()

    def _metadata(self, content):
        request = _parsed(wire.message("tensorflow.serving.GetModelMetadataRequest"), content)
        asked = _asked(request)
        if not request.metadata_field:
            raise status.Status("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURES:
                raise status.Status("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        response = wire.message("tensorflow.serving.GetModelMetadataResponse")()
        with self._predictor.use(asked) as (number, session):
            response.metadata[_SIGNATURES].Pack(signature_map(session))
        response.model_spec.name, response.model_spec.version.value = asked.name, number
        return response.SerializeToString()

    def _status(self, content):
        asked = _asked(_parsed(wire.message("tensorflow.serving.GetModelStatusRequest"), content))
        response = wire.message("tensorflow.serving.GetModelStatusResponse")()
        for number, state, fault in self._library.states(asked.name, asked.number):
            added = response.model_version_status.add(version=number, state=wire.enum_number("tensorflow.serving.ModelVersionState", state))
            added.status.error_code = status.CODES.index(fault.code) if fault else 0
            added.status.error_message = fault.message if fault else ""
        return response.SerializeToString()

    def _health(self, content):
        if content not in _HEALTHY:
            raise status.Status("NOT_FOUND", "service name unknown")
        return _SERVING


if grpc is not None:
    class _Handlers(grpc.GenericRpcHandler):
        """Hands the bytes of a known method's request to serve(method, bytes, context)."""

        def __init__(self, methods, serve):
            def handler(method):
                return grpc.unary_unary_rpc_method_handler(lambda content, context: serve(method, content, context))
            self._handlers = {path: handler(method) for path, method in methods.items()}

        def service(self, handler_call_details):
            """The method's handler; None makes it UNIMPLEMENTED."""
            return self._handlers.get(handler_call_details.method)


def signature_map(session):
    """The SignatureDefMap message of a session's signatures."""
    made = wire.message("tensorflow.serving.SignatureDefMap")()
    for name, signature in session.signatures.items():
        made.signature_def[name].CopyFrom(signature)
    return made


def _parsed(kind, content):
    try:
        return kind.FromString(content)
    except Exception as fault:
        raise status.Status("INTERNAL", "Failed to parse the request") from fault


def _asked(request):
    if not request.HasField("model_spec"):
        raise status.Status("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    return Asked(spec.name, spec.version.value if spec.HasField("version") else None, spec.version_label or None)


def _status_of(fault):
    found = status.of(fault)
    if found.code == "UNKNOWN" and not isinstance(fault, status.Status):
        log.error(f"A call failed: {found}")
    return found


def _channel_arguments(text):
    pairs = [argument.partition("=") for argument in text.split(",") if argument]
    return [(key, int(value) if value.lstrip("-").isdigit() else value) for key, _equals, value in pairs]
