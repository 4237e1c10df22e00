# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a Python with TensorFlow, on a host or in a container: convert a SavedModel, check the result, and write its warm-up file."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    conversion_memory,
    convert_tensorrt,
    convert_tflite,
    manifest,
    meta_graph,
    metric_function,
    parity,
    sample_files,
    samples,
    saved_model,
    task_metrics,
    tflite_file,
    warmup,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Gates, Judged
from ansible_collections.tfserving.fleet.plugins.module_utils._model.refused import Refused, first_line
from ansible_collections.tfserving.fleet.plugins.module_utils._model.samples import Ask
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, signature
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import Arrays
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import VARIANTS, Variant

_PACKAGES = ("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu")
_BATCH = 32
_SYNTHETIC_EXAMPLES, _CALIBRATION_EXAMPLES = 8, 100
ASKED = "asked.npz"


def main() -> int:
    """Run the program. TensorFlow would import Keras, which takes a third of its start and is not needed here; None prevents that."""
    sys.modules.update({"keras": None, "tf_keras": None})  # type: ignore[dict-item]
    return program.answer(sys.argv, work)


def work(request: Mapping[str, Any]) -> Any:
    """Answer a request of release(), convert() or warm_up(); its key action selects which."""
    return {"release": release, "convert": convert, "warm_up": warm_up}[request["action"]](request)


def release(_request: object) -> dict[str, str]:
    """Return {tensorflow: release} without loading it. Raise FleetError if it is missing."""
    for name in _PACKAGES:
        try:
            return {"tensorflow": importlib.metadata.version(name)}
        except importlib.metadata.PackageNotFoundError:
            continue
    raise FleetError(
        f"{sys.executable} has no TensorFlow",
        where="python",
        remedy="Install the Python package tensorflow for it, or set python to one that has it.",
    )


def convert(request: Mapping[str, Any]) -> Judged:
    """Convert a model and check the result. If it is accepted, its files are in staged.

    request: {source, tags (of its graph), size_bytes, form, signature (its name), contract (the signature), staged (the
    directory for the files), samples (path or None), metric, metric_output, metric_function, metric_goal, allowed_loss,
    maximum_difference, accept_unjudged, select_tf_ops, batch_sizes, precision, workspace_mib, compute_capability,
    memory_mib, asked (a directory for the requests and answers, or None), progress (path or None)}.
    """
    form = VARIANTS[request["form"]]
    conversion_memory.refuse_what_does_not_fit(
        request["size_bytes"], form.memory_times, conversion_memory.available_mib(Files(), request["memory_mib"])
    )
    gates: Gates = {"examples": 0, "synthetic": request["samples"] is None, "outputs": None, "metric": None}
    ended = acceptance.ending(False, "", gates)
    try:
        _convert(request, form, ended, gates)
    except Refused as reason:
        ended["accepted"], ended["reason"] = False, str(reason)
    return ended


def warm_up(request: Mapping[str, Any]) -> dict[str, list[int]]:
    """Write the warm-up file of a source that is published unchanged. request: as in convert(). Return {warmup_batch_sizes}."""
    sampled = _Samples(request)
    ask = _signature(request["source"], request["signature"], request.get("tags", meta_graph.SERVED_TAGS))
    return {"warmup_batch_sizes": _warm_up(request, sampled, ask)}


def _convert(request: Mapping[str, Any], form: Variant, ended: Judged, judged: Gates) -> None:
    import numpy

    program.say(request["progress"], "loading TensorFlow")
    sampled = _Samples(request)
    program.say(request["progress"], f"converting the signature {request['signature']} to {request['form']}")
    calibration = sampled.rows(_CALIBRATION_EXAMPLES) if form.calibrated or request["precision"] == "INT8" else []
    strange = sorted(
        {
            key
            for rows in calibration
            for key, array in rows.items()
            if array.dtype.kind == "f" and not numpy.isfinite(array).all()
        }
    )
    if strange:
        raise Refused(
            f"calibration needs representative examples, but {', '.join(strange)} has NaN or infinite values in the samples"
        )
    if form.lite:
        content = convert_tflite.convert(request, calibration)
        ended["lowest_runtime"] = tflite_file.lowest_runtime(content)
    else:
        convert_tensorrt.convert(request, calibration, sampled.batch)
    ask = _compare(
        request,
        sampled,
        judged,
        lambda: (
            convert_tflite.runner(content, request, sampled.feeding, sampled.inputs)
            if form.lite
            else _signature(request["staged"], request["signature"], meta_graph.SERVED_TAGS)
        ),
    )
    ended["accepted"], ended["reason"] = acceptance.decide(
        judged["outputs"], judged["metric"], request["maximum_difference"], request["accept_unjudged"]
    )
    if ended["accepted"]:
        if form.lite:
            pathlib.Path(request["staged"], convert_tflite.FILE).write_bytes(content)
        left = {key: array[: judged["examples"]] for key, array in sampled.inputs.items()}
        labels = None if request["metric"] is None or sampled.labels is None else sampled.labels[: judged["examples"]]
        samples.write_answers(
            os.path.join(request["staged"], manifest.ANSWERS),
            left,
            *sampled.compared,
            sampled.feeding[0],
            labels,
            functools.partial(metric_function.measure, request) if request["metric"] else None,
        )
        ended["warmup_batch_sizes"] = _warm_up(request, sampled, ask)


class _Samples:
    """The examples for checking a conversion. inputs is None if none are set and none can be generated. compared: both models' answers."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        tensors = request["contract"]["inputs"]
        self.inputs: Any
        self.labels: Array | None = None
        self.compared: tuple[Arrays, Arrays] = ({}, {})
        if request["samples"] is None:
            self.inputs = samples.synthetic(tensors, _SYNTHETIC_EXAMPLES)
        else:
            self.inputs, self.labels = samples.read(
                request["samples"], metric=request["metric"], tensors=tensors, signature=request["signature"]
            )
        if self.inputs is not None:
            self.feeding = signature.feeding(tensors, {key: array.shape for key, array in self.inputs.items()})
            self.inputs = samples.fit(self.inputs, tensors)

    def batch(self, size: int) -> dict[str, Array]:
        """Return one request with this many rows."""
        return samples.batch(self.inputs, self.feeding, size)

    def rows(self, most: int) -> list[dict[str, Array]]:
        """Return requests with the smallest number of rows that the signature accepts, over the first examples."""
        step = self.feeding[0] or 1
        held = len(next(iter(self.inputs.values())))
        return [
            samples.batch({key: array[start : start + step] for key, array in self.inputs.items()}, self.feeding, step)
            for start in range(0, min(most, held - held % step), step)
        ]


def _signature(directory: str, name: str, tags: Sequence[str]) -> Ask:
    """Return a function that runs a SavedModel: {name: array} in and out."""
    import tensorflow

    model = tensorflow.saved_model.load(directory, tags=tags)
    called = model.signatures[name]

    def ask(rows: Arrays, _model: Any = model) -> dict[str, Array]:
        return {
            key: value.numpy()
            for key, value in called(**{key: tensorflow.constant(array) for key, array in rows.items()}).items()
        }

    return ask


def _compare(request: Mapping[str, Any], sampled: _Samples, judged: Gates, candidate: Callable[[], Ask]) -> Ask:
    """Fill judged with the outputs of both models for the same inputs. Return the function that runs the candidate. Raise Refused."""
    import tensorflow

    if sampled.inputs is None:
        raise Refused(
            "its outputs cannot be compared with the source's, because no inputs can be generated for this signature; set samples"
        )
    program.say(request["progress"], f"running the source on {len(next(iter(sampled.inputs.values())))} examples")
    source = _signature(request["source"], request["signature"], request.get("tags", meta_graph.SERVED_TAGS))
    try:
        examples, reference = samples.answers(source, sampled.inputs, sampled.feeding, _BATCH)
    except (tensorflow.errors.OpError, ValueError, TypeError) as fault:
        if judged["synthetic"]:
            raise Refused(
                f"its outputs cannot be compared with the source's, because the source fails on generated inputs ({first_line(fault)}); set samples"
            ) from fault
        raise FleetError(f"the source fails on the samples: {first_line(fault)}", where=request["samples"]) from fault
    program.say(request["progress"], f"running {request['form']} on {examples} examples")
    try:
        ask = candidate()
        _count, answered = samples.answers(ask, sampled.inputs, sampled.feeding, _BATCH)
    except (RuntimeError, ValueError, tensorflow.errors.OpError) as fault:
        if convert_tflite.WITHOUT_FLEX in str(fault):
            raise Refused(
                "the file calls operations of TensorFlow, but this converter's Python package tensorflow lacks the Flex delegate that runs "
                f"them, so its answers cannot be verified; convert with TensorFlow {convert_tflite.FLEX_UP_TO} or older (python, container_image), "
                "or serve the SavedModel"
            ) from fault
        raise Refused(f"{request['form']} fails on inputs that the source answers: {first_line(fault)}") from fault
    judged["examples"], judged["outputs"] = examples, parity.compare(reference, answered)
    if request["metric"]:
        labels = None if sampled.labels is None else sampled.labels[:examples]
        before, after = (metric_function.measure(request, outputs, labels) for outputs in (reference, answered))
        if not math.isfinite(before):
            raise FleetError(
                f"{request['metric']} of the source is {before}",
                where=request["samples"],
                remedy="Correct the samples, their labels, or the metric.",
            )
        judged["metric"] = {
            "name": request["metric"],
            "before": before,
            "after": after,
            "allowed_loss": request["allowed_loss"],
            "goal": request["metric_goal"] or task_metrics.goal_of(request["metric"]),
        }
    if request["asked"]:
        samples.write(os.path.join(request["asked"], ASKED), sampled.inputs, sampled.labels, reference)
    sampled.compared = (reference, answered)
    return ask


def _warm_up(request: Mapping[str, Any], sampled: _Samples, ask: Ask) -> list[int]:
    """Write the warm-up file and return its batch sizes: one request for each size that the server will run, or those of the source.

    Each request is replayed first, because a request that fails would prevent the version from loading.
    """
    own = saved_model.warmup_requests(request["source"])
    sizes = request["batch_sizes"]
    if not sizes and own is None:
        return []
    if sampled.inputs is None:
        raise FleetError(
            "warm-up requests of these sizes need samples, because no inputs can be generated for this signature",
            where="batch_sizes",
            remedy="Set samples.",
        )
    if sizes and sampled.feeding[0]:  # The signature determines the number of rows.
        sizes = [sampled.feeding[0]]
    program.say(request["progress"], "replaying the warm-up requests")
    if sizes:
        samples.refuse_what_is_too_much(sampled.inputs, sampled.feeding, sizes)
        requests = [sampled.batch(size) for size in sizes]
        content = warmup.file(
            [client.predict_request(request["model"], rows, request["signature"]) for rows in requests]
        )
    else:
        requests, content = sample_files.requests(own or b"", request["signature"]), own or b""
        held = warmup.look(content, {request["signature"]: request["contract"]})
        if held["faults"] or set(held["kinds"]) - {
            "predict"
        }:  # Requests to signatures and methods that this variant does not have.
            content = warmup.file(
                [client.predict_request(request["model"], rows, request["signature"]) for rows in requests]
            )
    for number, rows in enumerate(requests, 1):
        try:
            ask(rows)
        except Exception as fault:  # Whatever it raises, a server would not load the version.
            raise FleetError(
                f"warm-up request {number} fails: {first_line(fault)}",
                where=request["samples"] or request["source"],
                remedy="Set samples that the model answers, or leave batch_sizes of the model out: then no warm-up file is written.",
            ) from fault
    if not requests:
        return []
    path = pathlib.Path(request["staged"], manifest.WARMUP)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return warmup.look(content, {request["signature"]: request["contract"]})["batch_sizes"]
