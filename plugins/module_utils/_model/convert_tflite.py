# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create TensorFlow Lite files with TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import meta_graph, refused, tflite_file
from ansible_collections.tfserving.fleet.plugins.module_utils._model.samples import Ask
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import Arrays
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Feeding, Signature, sides

FILE = "model.tflite"
WITHOUT_FLEX = "link the Flex delegate"
FLEX_UP_TO = "2.18"  # Looked for in TensorFlow's packages for Python: 2.18 exports TF_AcquireFlexDelegate, 2.19, 2.20 and 2.21 do not.


def convert(request: Mapping[str, Any], calibration: Sequence[Arrays]) -> bytes:
    """Return the bytes of the model with TensorFlow Serving's metadata. Raise Refused.

    calibration: [{input: array}] for the variants that need it.
    """
    import tensorflow

    name = request["signature"]
    try:
        tags = set(request.get("tags", meta_graph.SERVED_TAGS))
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(
            request["source"], signature_keys=[name], tags=tags
        )
        _set(tensorflow, converter, request, calibration)
        content = converter.convert()
    except Exception as fault:  # The converter raises whatever its parts raise; all of it means the same to the user.
        raise refused.Refused(_why_not(fault)) from fault
    try:
        details = tensorflow.lite.Interpreter(model_content=content).get_signature_runner(name)
        content = tflite_file.with_signatures(content, {name: _serialized(request["contract"], details)})
    except (ValueError, RuntimeError) as fault:
        raise refused.Refused(
            f"TensorFlow Lite cannot load the file that its converter wrote: {refused.first_line(fault)}"
        ) from fault
    if name not in tflite_file.signatures_of(content):
        raise FleetError("cannot read the signature metadata that was just written", where=FILE)
    return content


def runner(content: bytes, request: Mapping[str, Any], feeding: Feeding, inputs: Arrays) -> Ask:
    """Return a function that runs the model: {name: array} in and out."""
    import tensorflow

    run = tensorflow.lite.Interpreter(model_content=content).get_signature_runner(request["signature"])
    if feeding[0] is None:  # The first call has one row, because interpreters are created for it.
        run(**{key: array[:1] for key, array in inputs.items()})
    return lambda rows: run(**rows)


def _set(tensorflow: Any, converter: Any, request: Mapping[str, Any], calibration: Sequence[Arrays]) -> None:
    form, sets = request["form"], tensorflow.lite.OpsSet
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    ops = {
        "tflite_int8": sets.TFLITE_BUILTINS_INT8,
        "tflite_int16x8": sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    }.get(form, sets.TFLITE_BUILTINS)
    converter.target_spec.supported_ops = [ops] + ([sets.SELECT_TF_OPS] if request["select_tf_ops"] else [])
    if form == "tflite_float16":
        converter.target_spec.supported_types = [tensorflow.float16]
    if calibration:
        converter.representative_dataset = lambda: iter([(request["signature"], rows) for rows in calibration])


def _serialized(contract: Signature, details: Any) -> bytes:
    """Return the bytes of the SignatureDef for TensorFlow Serving: the source's names and shapes, and the tensor names of the file."""
    from tensorflow.core.protobuf import meta_graph_pb2

    definition = meta_graph_pb2.SignatureDef(method_name=contract["method_name"])
    _refuse_shared_outputs(
        {name: detail["name"] for name, detail in details.get_output_details().items() if name in contract["outputs"]}
    )
    found = {"input": details.get_input_details(), "output": details.get_output_details()}
    for side, tensors in sides(contract):
        for name, tensor in tensors.items():
            held = found[side]
            if name not in held:
                raise refused.Refused(
                    f"TensorFlow Lite dropped {side} {name}, which does not affect the answer; serve the SavedModel"
                )
            info = getattr(definition, f"{side}s")[name]
            info.name, info.dtype = held[name]["name"], dtypes.ENUM[dtypes.enum_name(tensor["dtype"])]
            if tensor["shape"] is None:
                info.tensor_shape.unknown_rank = True
            for size in (
                tensor["shape"] or ()
            ):  # A scalar has no tensor_shape at all: an empty one would write a NUL into the bytes.
                info.tensor_shape.dim.add(size=-1 if size is None else size)
    content: bytes = definition.SerializeToString(deterministic=True)
    return content


def _refuse_shared_outputs(tensors: Mapping[str, str]) -> None:
    """Raise Refused if a file lists one tensor as two outputs, which TensorFlow Serving does not load. tensors: {output: name of its tensor}."""
    shared = sorted(name for name, tensor in tensors.items() if list(tensors.values()).count(tensor) > 1)
    if shared:
        raise refused.Refused(
            f"the outputs {', '.join(shared)} are the same tensor in TensorFlow Lite, and TensorFlow Serving cannot load such a file; "
            "export only one of them, or serve the SavedModel"
        )


def _why_not(fault: BaseException) -> str:
    """Return a converter's error as one line; the unsupported operations if it lists them."""
    words = str(fault)
    select = _listed(words, "TF Select")
    custom = _listed(words, "Custom")
    if custom:
        return (
            f"TensorFlow Lite has no built-in operation for {', '.join(sorted(select | custom))}; serve the SavedModel"
        )
    if select:
        return f"TensorFlow Lite has no built-in operation for {', '.join(sorted(select))}; set select_tf_ops, or serve the SavedModel"
    unknown = re.search(r"Op type not registered '([^']+)'", words)
    if unknown:
        return f"the converter's TensorFlow does not know the operation {unknown.group(1)}; convert with a TensorFlow that has it, or serve the SavedModel"
    found = re.search(
        r"error:(?: loc\(.*\):)? *'(?:tf|tfl)\.(\w+)' op ([^\n]+)", words
    )  # Without the location that MLIR adds.
    return (
        f"TensorFlow Lite's converter fails on it: {' '.join(found.groups()) if found else refused.first_line(fault)}"
    )


def _listed(words: str, kind: str) -> set[str]:
    return {op for found in re.findall(rf"{kind} ops: ([^\n]+)", words) for op in re.split(r",\s*", found.strip())}
