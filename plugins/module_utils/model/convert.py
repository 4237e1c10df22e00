# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a Python that has TensorFlow: converts one signature of a SavedModel and says how far the result is from its source."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys

from ansible_collections.tfserving.fleet.plugins.module_utils.common import program
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.model import gates, lite_file, metrics, parity, samples, signature

FILE = "model.tflite"
_PACKAGES = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu")
_BATCH = 32
_SYNTHETIC_EXAMPLES = 8
_MEMORY_BASE_MIB, _MEMORY_TIMES = 800, 6     # What TensorFlow alone takes, and what dynamic range takes for each byte of the model.
_MIB = 1 << 20


class Refused(Exception):
    """The conversion cannot end in a model that serves; its text is the reason."""


def main():
    """The program's entry. TensorFlow would import Keras, which takes a third of its start and is not needed here; None keeps it out."""
    sys.modules.update(keras=None, tf_keras=None)
    return program.answer(sys.argv, work)


def work(request):
    """Answer a request of release() or convert(), told apart by its key action."""
    return {"release": release, "convert": convert}[request["action"]](request)


def release(_request):
    """{tensorflow: release} without loading it. Raises FleetError where it is missing."""
    for name in _PACKAGES:
        try:
            return {"tensorflow": importlib.metadata.version(name)}
        except importlib.metadata.PackageNotFoundError:
            continue
    raise FleetError(f"{sys.executable} has no TensorFlow", where="python", remedy="Install the package tensorflow for it, or name a Python that has it.")


def convert(request):
    """Convert, check and judge.

    request: {source, size_bytes, signature (its name), contract (the signature), staged (the directory for the file), samples (path or None), metric,
    metric_output, allowed_loss, maximum_difference, accept_unjudged, progress (path or None)}.
    Returns {accepted, reason, gates: {examples, synthetic, outputs, metric}}; the file is in staged where accepted.
    """
    _refuse_what_does_not_fit(request["size_bytes"])
    judged = {"examples": 0, "synthetic": request["samples"] is None, "outputs": None, "metric": None}
    try:
        content = _converted(request)
        inputs, labels = _inputs(request)
        if inputs is not None:
            _compare(request, content, inputs, labels, judged)
    except Refused as reason:
        return {"accepted": False, "reason": str(reason), "gates": judged}
    accepted, reason = gates.decide(judged["outputs"], judged["metric"], request["maximum_difference"], request["accept_unjudged"])
    if accepted:
        with open(os.path.join(request["staged"], FILE), "wb") as stream:
            stream.write(content)
    return {"accepted": accepted, "reason": reason, "gates": judged}


def _converted(request):
    """The bytes of the TensorFlow Lite model, with TensorFlow Serving's metadata."""
    program.say(request["progress"], "loading TensorFlow")
    import tensorflow
    name = request["signature"]
    program.say(request["progress"], f"converting the signature {name} to TensorFlow Lite")
    try:
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(request["source"], signature_keys=[name], tags={"serve"})
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        content = converter.convert()
    except Exception as fault:      # The converter raises whatever its parts raise; all of it means the same to the user.
        raise Refused(_why_not(fault)) from fault
    try:
        details = tensorflow.lite.Interpreter(model_content=content).get_signature_runner(name)
        content = lite_file.with_signatures(content, {name: _serialized(request["contract"], details)})
    except (ValueError, RuntimeError) as fault:
        raise Refused(f"TensorFlow Lite cannot load what its converter wrote: {_first_line(fault)}") from fault
    if name not in lite_file.signatures_of(content):
        raise FleetError("the signature metadata cannot be read back", where=FILE)
    return content


def _serialized(contract, details):
    """The bytes of the SignatureDef that TensorFlow Serving is to read: the source's names and shapes, the tensor names of the file."""
    from tensorflow.core.protobuf import meta_graph_pb2
    definition = meta_graph_pb2.SignatureDef(method_name=contract["method_name"])
    for side, held in (("inputs", details.get_input_details()), ("outputs", details.get_output_details())):
        for name, tensor in contract[side].items():
            if name not in held:
                raise Refused(f"TensorFlow Lite lost {side[:-1]} {name}, on which the answer does not depend; serve the SavedModel")
            info = getattr(definition, side)[name]
            info.name, info.dtype = held[name]["name"], _number(tensor["dtype"])
            if tensor["shape"] is None:
                info.tensor_shape.unknown_rank = True
            for size in tensor["shape"] or ():      # A scalar has no tensor_shape at all: an empty one would put a NUL into the bytes.
                info.tensor_shape.dim.add(size=-1 if size is None else size)
    return definition.SerializeToString(deterministic=True)


def _inputs(request):
    tensors = request["contract"]["inputs"]
    if request["samples"] is None:
        return samples.synthetic(tensors, _SYNTHETIC_EXAMPLES), None
    return samples.read(request["samples"], metric=request["metric"])


def _compare(request, content, inputs, labels, judged):
    """Fill judged: the outputs of both models over the same inputs, asked alike."""
    import tensorflow
    contract, name = request["contract"], request["signature"]
    feeding = signature.feeding(contract["inputs"], {key: array.shape for key, array in inputs.items()})
    inputs = samples.fit(inputs, contract["inputs"])
    program.say(request["progress"], f"asking the source for {len(next(iter(inputs.values())))} examples")
    model = tensorflow.saved_model.load(request["source"], tags=["serve"])
    source = model.signatures[name]
    try:
        examples, reference = samples.answers(
            lambda rows: {key: value.numpy() for key, value in source(**_tensors(tensorflow, rows)).items()}, inputs, feeding, _BATCH
        )
    except (tensorflow.errors.OpError, ValueError, TypeError) as fault:
        if judged["synthetic"]:
            return
        raise FleetError(f"the source cannot answer the samples: {_first_line(fault)}", where=request["samples"]) from fault
    program.say(request["progress"], f"asking TensorFlow Lite for {examples} examples")
    try:
        runner = tensorflow.lite.Interpreter(model_content=content).get_signature_runner(name)
        lone, _squeezed = feeding
        if lone is None:
            runner(**{key: array[:1] for key, array in inputs.items()})
        _count, candidate = samples.answers(lambda rows: runner(**rows), inputs, feeding, _BATCH)
    except (RuntimeError, ValueError) as fault:
        raise Refused(f"TensorFlow Lite cannot answer what the source answers: {_first_line(fault)}") from fault
    judged.update(examples=examples, outputs=parity.compare(reference, candidate))
    if request["metric"]:
        before, after = (metrics.measure(request["metric"], outputs, labels[:examples], request["metric_output"]) for outputs in (reference, candidate))
        judged["metric"] = {"name": request["metric"], "before": before, "after": after, "allowed_loss": request["allowed_loss"]}


def _tensors(tensorflow, rows):
    return {key: tensorflow.constant(array) for key, array in rows.items()}


def _number(dtype):
    return next(number for number, name in signature.DTYPES.items() if name == dtype)


def _why_not(fault):
    """A converter's fault as one line; the operations that stand in the way, where it lists them."""
    words = str(fault)
    ops = sorted({op for found in re.findall(r"(?:TF Select|Custom) ops: ([^\n]+)", words) for op in re.split(r",\s*", found.strip())})
    if ops:
        return f"TensorFlow Lite has no operation of its own for {', '.join(ops)}; serve the SavedModel"
    return f"TensorFlow Lite's converter cannot take it: {_first_line(fault)}"


def _first_line(fault):
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(fault).__name__


def _refuse_what_does_not_fit(size_bytes):
    needed = _MEMORY_BASE_MIB + _MEMORY_TIMES * size_bytes // _MIB
    available = _available_mib()
    if available is not None and needed > available:
        raise FleetError(f"the conversion needs about {needed} MiB of memory, {available} MiB are free", where="source",
                         remedy="Convert on a host with more memory, or use the form none.")


def _available_mib():
    """What Linux says can be had without swapping, within the limit of this process's control group; None where it says nothing."""
    figures = [value // 1024 for name, value in _table("/proc/meminfo") if name == "MemAvailable:"]
    for folder, limit, usage, cache in (("", "memory.max", "memory.current", "inactive_file"),
                                        ("memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")):
        most, used = (_table(f"/sys/fs/cgroup/{folder}{name}") for name in (limit, usage))
        if most and used:
            reclaimable = sum(value for name, value in _table(f"/sys/fs/cgroup/{folder}memory.stat") if name == cache)
            figures.append((most[0][1] - used[0][1] + reclaimable) // _MIB)
    return min(figures, default=None)


def _table(path):
    """[(name, number)] of a kernel's file with a number in each line, the name before it where there is one; empty where there is no such file or number."""
    try:
        with open(path, encoding="ascii") as stream:
            words = [line.split() for line in stream]
    except OSError:
        return []
    return [(line[0], int(line[1 if len(line) > 1 else 0])) for line in words if line and line[1 if len(line) > 1 else 0].isdigit()]
