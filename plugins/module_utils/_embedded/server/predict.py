# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a signature of a model version, with the checks and texts of TensorFlow Serving's Predict, for gRPC and REST."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import examples, metrics, status
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import DEFAULT_SIGNATURE, Session
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client

_METHODS = ("tensorflow/serving/predict", *examples.METHODS)


@dataclass(frozen=True)
class Request:
    """A Predict request. model: its name, for the metrics. inputs: {name: TensorProto or array}. outputs: the requested ones, () for all."""

    model: str
    signature: str
    inputs: Mapping[str, Any]
    outputs: Iterable[str] = ()


@dataclass(frozen=True)
class Predictor:
    """Answers requests with a loaded version. bfloat16: numpy's dtype for it. check_method_names: refuse signatures of other methods."""

    bfloat16: Any
    check_method_names: bool

    def predict(self, session: Session, request: Request, timeout_ms: int = 0) -> dict[str, Any]:
        """Return {output: array}. Raises Status or TensorFlow's errors."""
        with _timed(request.model, "Predict"):
            name = request.signature or DEFAULT_SIGNATURE
            if name not in session.signatures:
                raise status.Status("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
            signature = session.signatures[name]
            if self.check_method_names and signature.method_name not in _METHODS:
                raise status.Status(
                    "INTERNAL",
                    f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. Was: {signature.method_name}",
                )
            feeds = _feeds(signature, request.inputs, self.bfloat16)
            outputs = _outputs(signature, request.outputs)
            arrays = session.run(feeds, [signature.outputs[output].name for output in outputs], timeout_ms)
            return dict(zip(outputs, arrays))

    def infer(self, method: examples.Method, session: Session, request: Any, timeout_ms: int = 0) -> Any:
        """Return the response message for a request of this method, without the version."""
        with _timed(request.model_spec.name, method.api):
            return examples.one(method, session, request, timeout_ms, self.check_method_names)

    def infer_several(self, session: Session, request: Any, timeout_ms: int = 0) -> Any:
        """Return the response message for a MultiInferenceRequest, without the version."""
        return examples.several(session, request, timeout_ms, self.check_method_names)


@contextlib.contextmanager
def _timed(model: str, api: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    metrics.RUNTIME_LATENCY.add((time.monotonic() - began) * 1e6, model, api, "TF1")


def _feeds(signature: Any, inputs: Mapping[str, Any], bfloat16: Any) -> dict[str, Any]:
    missing = sorted(set(signature.inputs) - set(inputs))
    extra = sorted(set(inputs) - set(signature.inputs))
    if len(inputs) > len(signature.inputs) or (len(inputs) < len(signature.inputs) and not signature.defaults):
        raise status.Status(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({{{_listed(inputs)}}}) != "
            f"len({{{_listed(signature.inputs)}}}). Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}.",
        )
    feeds = {}
    for alias in sorted(signature.inputs):
        given = inputs[alias] if alias in inputs else signature.defaults[alias] if alias in signature.defaults else None
        if given is None:
            raise status.Status(
                "INVALID_ARGUMENT",
                f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_listed(inputs)}}}, or default input alias set: {_listed(signature.defaults)}",
            )
        feeds[signature.inputs[alias].name] = _array(alias, given, bfloat16)
    if extra:
        raise status.Status(
            "INVALID_ARGUMENT",
            f"Inputs contains invalid name. Used request inputs: {_listed(set(inputs) - set(extra))}, request input: {_listed(inputs)}",
        )
    return feeds


def _array(alias: str, given: Any, bfloat16: Any) -> Any:
    if not hasattr(given, "tensor_content"):
        return given
    try:
        return client.decode_tensor(given, bfloat16)
    except FleetError as fault:
        raise status.Status("INVALID_ARGUMENT", f"tensor parsing error: {alias}: {fault.what}") from fault


def _outputs(signature: Any, output_filter: Iterable[str]) -> list[str]:
    wanted = list(output_filter)
    for position, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise status.Status(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_listed(signature.outputs)}}}.",
            )
        if alias in wanted[:position]:
            raise status.Status("INVALID_ARGUMENT", f"duplicate output tensor alias: {alias}")
    return wanted or sorted(signature.outputs)


def _listed(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
