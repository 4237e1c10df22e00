# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorFlow Lite models: a pool of interpreters with the interface of a SavedModel's session."""

from __future__ import annotations

import pathlib
import queue
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import log, status
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import Feeds
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, wire

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

FILE = "model.tflite"
_SIGNATURES = b"signature_defs_metadata"
_MOST_DIMENSIONS = 6
# TensorFlow Serving refuses other types by their number in the file format.
_NUMBERS_OF_OTHERS = {"float16": 10, "float64": 11, "complex128": 12, "uint64": 13, "uint32": 16, "uint16": 17}


class _Tensor(TypedDict):
    """A tensor of an interpreter. dtype: numpy's name, or string."""

    name: str
    index: int
    shape: list[int]
    dtype: str


class LiteSession:
    """A loaded model.tflite. signatures: {name: SignatureDef of _protocol.wire}. Each interpreter has one thread and serves one call at a time."""

    def __init__(self, path: str, interpreters: int) -> None:
        """Load path/model.tflite with this many interpreters (at least one). Raise Status."""
        content = pathlib.Path(path, FILE).read_bytes()
        first = _Interpreter(content)
        self._inputs, self._outputs = first.inputs, first.outputs
        self.signatures = _signatures_of_file(content, self._inputs, self._outputs)
        if not self.signatures:
            log.warning("No signature def found in TFLite model. Generating one.")
            self.signatures = {"serving_default": _generated(self._inputs, self._outputs)}
        self._pool: queue.LifoQueue[_Interpreter] = queue.LifoQueue()
        for interpreter in [first] + [_Interpreter(content) for _another in range(1, interpreters)]:
            self._pool.put(interpreter)

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = 0) -> list[Any]:
        """Run as SavedModelSession.run, but without observing timeout_ms."""
        self.check(feeds)
        arrays = {self._input(name)["index"]: array for name, array in feeds.items()}
        wanted = [
            self._outputs[_existing(name, self._outputs, "Missing output TFLite tensor: ")]["index"] for name in fetches
        ]
        interpreter = self._pool.get()
        try:
            return interpreter.run(arrays, wanted)
        finally:
            self._pool.put(interpreter)

    def check(self, feeds: Feeds) -> None:
        """Refuse inputs that TensorFlow Serving would read as values of another type, or abort on."""
        for position, name in enumerate(sorted(feeds)):
            array, expected = feeds[name], self._input(name)["dtype"]
            if _dtype(array.dtype) != expected:
                raise status.wrong_type(position, expected, _dtype(array.dtype))
            if array.ndim > max(_MOST_DIMENSIONS, len(self._input(name)["shape"])):
                raise status.Status(
                    "INVALID_ARGUMENT",
                    f"Tensor {name} has {array.ndim} dimensions, and TensorFlow Lite would die of it; allowed: "
                    f"{_MOST_DIMENSIONS}",
                )
            if not array.size:
                raise status.Status(
                    "INVALID_ARGUMENT",
                    f"Tensor {name} of shape {list(array.shape)} has no values, and TensorFlow Lite would die of it",
                )

    def _input(self, name: str) -> _Tensor:
        return self._inputs[_existing(name, self._inputs, "Missing input TFLite tensor: ")]

    def close(self) -> None:
        """Free the interpreters."""
        while not self._pool.empty():
            self._pool.get()


class _Interpreter:
    """One interpreter; inputs and outputs: {tensor name: {name, index, shape, dtype}}."""

    def __init__(self, content: bytes) -> None:
        from tensorflow.lite.python.interpreter import Interpreter

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._interpreter = Interpreter(model_content=content, num_threads=1)
            self.inputs = _by_name(self._interpreter.get_input_details(), "Input")
            self.outputs = _by_name(self._interpreter.get_output_details(), "Output")
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as fault:
            raise status.Status("INVALID_ARGUMENT", f"Cannot build FlatBufferModel from buffer: {fault}") from fault
        self._shapes: dict[int, Any] = {tensor["index"]: tuple(tensor["shape"]) for tensor in self.inputs.values()}

    def run(self, arrays: Mapping[int, Any], wanted: Iterable[int]) -> list[Any]:
        """Return the arrays of the output tensors with the wanted numbers. arrays: {index of an input: array}."""
        if any(self._shapes[index] != array.shape for index, array in arrays.items()):
            self._resize({index: array.shape for index, array in arrays.items()})
        try:
            for index, array in arrays.items():
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in wanted]
        except (ValueError, RuntimeError) as fault:
            log.error(" ".join(f"TensorFlow Lite: {fault}".split()))
            raise status.Status("INTERNAL", "Failed to invoke TfLite interpreter") from fault

    def _resize(self, shapes: Mapping[int, tuple[int, ...]]) -> None:
        try:
            for index, shape in shapes.items():
                self._interpreter.resize_tensor_input(index, shape)
                self._shapes[index] = None
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as fault:
            raise status.Status("INTERNAL", "Failed to allocate tensors") from fault
        self._shapes.update(shapes)


def _by_name(details: Iterable[Mapping[str, Any]], side: str) -> dict[str, _Tensor]:
    found: dict[str, _Tensor] = {}
    for tensor in details:
        if tensor["name"] in found:
            raise status.Status("ALREADY_EXISTS", f"{side} tensor name: {tensor['name']} has multiple indices")
        name = _dtype(numpy.dtype(tensor["dtype"]))
        if name not in dtypes.LITE:
            raise status.Status("INTERNAL", f"Unknown TfLite type: {_NUMBERS_OF_OTHERS.get(name, name)}")
        found[tensor["name"]] = {
            "name": tensor["name"],
            "index": tensor["index"],
            "shape": [int(size) for size in tensor["shape"]],
            "dtype": name,
        }
    return found


def _dtype(dtype: Any) -> str:
    return "string" if dtype.kind in "OSU" else dtype.name


def _existing(name: str, tensors: Collection[str], words: str) -> str:
    """Return the name, or the name without the part after its colon, which early converters added."""
    for candidate in (name, name.partition(":")[0]):
        if candidate in tensors:
            return candidate
    raise status.Status("INTERNAL", f"{words}{name}: Unknown tensor '{name}'.")


def _signatures_of_file(
    content: bytes, inputs: Mapping[str, _Tensor], outputs: Mapping[str, _Tensor]
) -> dict[str, Any]:
    """Return the SignatureDefs in the file's metadata as TensorFlow Serving reads them: each ends at its first zero byte."""
    from flatbuffers import flexbuffers
    from tensorflow.lite.python import schema_py_generated

    model = schema_py_generated.Model.GetRootAs(content)
    signature_def = wire.message("tensorflow.SignatureDef")
    found = {}
    for position in range(model.MetadataLength()):
        entry = model.Metadata(position)
        if entry.Name() == _SIGNATURES:
            stored = flexbuffers.GetRoot(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()).AsMap
            try:
                for key, value in zip(stored.Keys, stored.Values):
                    found[key.AsKey] = signature_def.FromString(value.AsStringBytes.partition(b"\0")[0])
            except Exception as fault:
                raise status.Status(
                    "INVALID_ARGUMENT", f"Invalid SignatureDefs found in TfLite model: {fault}"
                ) from fault
    for signature in found.values():
        for side, infos, tensors in (("input", signature.inputs, inputs), ("output", signature.outputs, outputs)):
            for alias, info in infos.items():
                info.name = _existing(info.name, tensors, f"Signature {side} {alias} references an unknown tensor: ")
    return found


def _generated(inputs: Mapping[str, _Tensor], outputs: Mapping[str, _Tensor]) -> Any:
    """Return the signature that TensorFlow Serving generates. Its keys are the tensors' names up to the colon, so outputs of the same op are merged."""
    signature = wire.message("tensorflow.SignatureDef")(method_name="tensorflow/serving/predict")
    for tensors, target in ((inputs, signature.inputs), (outputs, signature.outputs)):
        for name in sorted(tensors):
            info = target[name.partition(":")[0]]
            info.Clear()
            info.name, info.dtype = name, dtypes.DTYPES[tensors[name]["dtype"]].number
            for size in tensors[name]["shape"]:
                info.tensor_shape.dim.add(size=size)
    return signature
