# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classify, Regress and MultiInference over tf.Example: TensorFlow Serving's checks and texts. The models themselves parse the examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import DEFAULT_SIGNATURE, Session
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.status import Status, invalid, shape_text
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, wire

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

_INPUT = "inputs"


@dataclass(frozen=True)
class Method:
    """The requirements of Classify or Regress on a signature.

    api: its name. kind: the name of its messages. outputs: those that it reads, at least one. numbers: the permitted
    numbers of outputs; number_text, outputs_text: what is wrong with others. fill: writes arrays, {output: array}, of
    this many examples to a result message.
    """

    api: str
    kind: str
    outputs: tuple[str, ...]
    numbers: tuple[int, ...]
    number_text: str
    outputs_text: str
    fill: Callable[[Mapping[str, Any], int, Any], None]

    @property
    def name(self) -> str:
        """The method name of its signatures."""
        return f"tensorflow/serving/{self.api.lower()}"

    @property
    def request(self) -> str:
        """The full name of its request message."""
        return f"tensorflow.serving.{self.kind}Request"

    def check(self, signature: Any, by_name: bool) -> None:
        """Raise Status for a signature of another method. by_name: also check its method name."""
        word = self.kind.lower()
        if by_name and signature.method_name != self.name:
            raise invalid(f"Expected {word} signature method_name to be {self.name}. Was: {signature.method_name}")
        if len(signature.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        if len(signature.outputs) not in self.numbers:
            raise invalid(self.number_text.format(len(signature.outputs)))
        if _INPUT not in signature.inputs:
            raise invalid(f"No {word} inputs found in SignatureDef: {signature}")
        if not self.tensors(signature):
            raise invalid(f"{self.outputs_text}: {signature}")

    def tensors(self, signature: Any) -> dict[str, str]:
        """Return {output: name of its tensor} of a signature."""
        return {alias: signature.outputs[alias].name for alias in self.outputs if alias in signature.outputs}


def one(method: Method, session: Session, request: Any, timeout_ms: int = 0, by_name: bool = False) -> Any:
    """Return the response message for a request of this method, without the version. Raise Status or TensorFlow's errors. by_name: as in Method.check."""
    response, name = wire.message(f"tensorflow.serving.{method.kind}Response")(), _signature_name(request.model_spec)
    if name not in session.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    method.check(session.signatures[name], by_name)
    _describe(request.model_spec, response.model_spec)
    _run(session, [(method, session.signatures[name], response.result)], request.input, timeout_ms)
    return response


def several(session: Session, request: Any, timeout_ms: int = 0, by_name: bool = False) -> Any:
    """Return the response message for a MultiInferenceRequest, with all its tasks in one run. Otherwise as one()."""
    response, tasks = wire.message("tensorflow.serving.MultiInferenceResponse")(), {}
    for task in request.tasks:
        name, result = _signature_name(task.model_spec), response.results.add()
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if name in tasks:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        if name not in session.signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name not in METHODS:
            raise Status("UNIMPLEMENTED", f"Unsupported signature method_name: {task.method_name}")
        method = METHODS[task.method_name]
        method.check(session.signatures[name], by_name)
        _describe(task.model_spec, result.model_spec)
        tasks[name] = method, session.signatures[name], getattr(result, f"{method.kind.lower()}_result")
    _run(session, list(tasks.values()), request.input, timeout_ms)
    return response


def _run(session: Session, tasks: Iterable[tuple[Method, Any, Any]], given: Any, timeout_ms: int) -> None:
    """Fill the result message of each task: (method, signature, message)."""
    examples = _serialized(given)
    fetches = sorted({name for method, signature, _result in tasks for name in method.tensors(signature).values()})
    feeds = {signature.inputs[_INPUT].name: examples for _method, signature, _result in tasks}
    arrays = dict(zip(fetches, session.run(feeds, fetches, timeout_ms)))
    for method, signature, result in tasks:
        method.fill({alias: arrays[name] for alias, name in method.tensors(signature).items()}, len(examples), result)


def _serialized(given: Any) -> Any:
    """Return the array of the serialized examples of an Input message, each after the context."""
    context = given.example_list_with_context.context.SerializeToString()
    listed = getattr(given, given.WhichOneof("kind") or "example_list").examples
    if not listed:
        raise invalid("Input is empty.")
    return numpy.array([context + example.SerializeToString() for example in listed], object)


def _fill_classifications(arrays: Mapping[str, Any], count: int, result: Any) -> None:
    for alias, array in arrays.items():
        if array.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}")
        expected = "DT_STRING" if alias == "classes" else "DT_FLOAT"
        if _dtype(array) != expected:
            raise invalid(f"Expected {alias} Tensor of {expected}. Got: {_dtype(array)}")
        if len(array) != count:
            raise invalid(f"Expected {alias} output batch size of {count}. Got: {len(array)}")
    sizes = [array.shape[1] for array in arrays.values()]
    if sizes[0] != sizes[-1]:
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {sizes[0]} vs. {sizes[1]}")
    columns = {"classes": "label", "scores": "score"}
    for row in range(count):
        added = result.classifications.add()
        for values in zip(*(array[row].tolist() for array in arrays.values())):
            added.classes.add(**dict(zip((columns[alias] for alias in arrays), values)))


def _fill_regressions(arrays: Mapping[str, Any], count: int, result: Any) -> None:
    (array,) = arrays.values()
    if array.ndim != 1 and (array.ndim != 2 or array.shape[1] != 1):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape_text(array.shape)}"
        )
    if len(array) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if _dtype(array) != "DT_FLOAT":
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _signature_name(spec: Any) -> str:
    return spec.signature_name or DEFAULT_SIGNATURE


def _describe(spec: Any, into: Any) -> None:
    into.name, into.signature_name = spec.name, _signature_name(spec)


def _dtype(array: Any) -> str:
    return dtypes.enum_name("string" if array.dtype.name == "object" else array.dtype.name)


CLASSIFY = Method(
    "Classify",
    "Classification",
    ("classes", "scores"),
    (1, 2),
    "Expected one or two output Tensors, found {}",
    'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was',
    _fill_classifications,
)
REGRESS = Method(
    "Regress",
    "Regression",
    ("outputs",),
    (1,),
    "Expected one output Tensor.",
    "No regression outputs found in SignatureDef",
    _fill_regressions,
)
METHODS = {method.name: method for method in (CLASSIFY, REGRESS)}
