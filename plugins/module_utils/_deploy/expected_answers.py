# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that collects what a server's models are expected to answer: the versions, the samples with their answers, and the metrics."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core import program, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import verification
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    manifest,
    metric_program,
    model_files,
    published,
    task_metrics,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL

_JUDGE = metric_program.__name__.partition("module_utils.")[2]
_MODELS = {"saved_model.pb", "saved_model.pbtxt", "model.tflite"}
_FUNCTION, _FUNCTION_S = "function", 600
_EXAMPLES = 8
_TIMES = 2  # How much a converted variant may differ from its source on another CPU, as a multiple of the difference where it was converted.


def versions(model: ModelConfiguration) -> tuple[int, ...]:
    """Return the numbers of the versions of a model to serve; () for a model that the server downloads itself. Raise FleetError."""
    if model_config.is_remote(model.base_path):
        return ()
    try:
        present = published.numbered(model.base_path)
    except OSError as fault:
        raise FleetError(
            f"cannot read it: {fault.strerror}; the server would wait forever with closed ports",
            where=model.base_path,
            remedy=meant(model.base_path) or "Publish the model there, or correct the path.",
        ) from fault
    if not present and meant(model.base_path):
        raise FleetError(
            "it contains no version (a folder with a number as its name)",
            where=model.base_path,
            remedy=meant(model.base_path),
        )
    return tuple(model_config.wanted_versions(model, sorted(present)))


def meant(base_path: str) -> str | None:
    """Return a remedy for a base path without versions, or None: its parent if it is a version, a folder below it, or to move the model."""
    parent, name = os.path.split(base_path.rstrip("/"))
    above, version = os.path.split(parent)
    if name.isdecimal():
        return f"Did you mean {parent!r}? This path is one of its versions."
    if version.isdecimal() and _MODELS & {name, *_names(parent)}:
        return f"Did you mean {above!r}? This path is inside one of its versions."
    names = sorted(_names(base_path))
    if _MODELS & set(names):
        return f"Move the model into a folder with a number as its name, such as {base_path}/1."
    below = [name for name in names if any(other.isdecimal() for other in _names(os.path.join(base_path, name)))]
    if below:
        return f"Did you mean {os.path.join(base_path, below[0])!r}?" + (
            f" Other models there: {', '.join(below[1:4])}." if below[1:] else ""
        )
    unnumbered = [name for name in names if _MODELS & set(_names(os.path.join(base_path, name)))]
    if unnumbered:
        return f"Rename {os.path.join(base_path, unnumbered[0])} to a number, such as 1: each version is a folder with a number as its name."
    near = "" if os.path.exists(base_path) else did_you_mean(name, _names(parent))
    return f"D{near[3:]} {parent} contains it." if near else None


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def of_earlier_versions(models: Sequence[ModelConfiguration]) -> list[str]:
    """Return sentences about models that are served from a converted variant of an earlier version than the newest SavedModel alongside it."""
    found = []
    for model in models:
        directory, form = os.path.split(model.base_path)
        if model.form in (None, SAVED_MODEL) or model.version_policy not in (None, {"latest": 1}):
            continue
        with contextlib.suppress(OSError, ValueError):
            (number, variant), (newest, source) = (
                _newest(os.path.join(directory, name)) for name in (form, SAVED_MODEL)
            )
            if manifest.is_of_another_model(variant, source):
                found.append(
                    f"{model.name}: version {number} of {form} was not made from version {newest} of saved_model, the newest, so clients get another model. "
                    "Run tfserving.fleet.convert, or serve the SavedModel (optimize: none)"
                )
    return found


def _newest(base_path: str) -> tuple[int, manifest.Manifest | None]:
    """Return (number, manifest) of the newest version in a folder. Raise OSError or ValueError without one."""
    number, name = max(published.numbered(base_path).items())
    return number, published.manifest_of(os.path.join(base_path, name))


def questions(
    options: Mapping[str, Any],
    models: Sequence[ModelConfiguration],
    wanted_versions: Mapping[str, Sequence[int]],
    serving: stdlib_client.Server | None = None,
) -> verification.Questions:
    """Return the verification.Questions about models.

    options: the module's. models: as in model_config. wanted_versions: {model: its versions}; empty if no answers are
    compared. serving: the stdlib_client.Server of the current server, or None. Its signatures are read here, because it
    may be stopped before its successor starts.
    """
    known = {one["name"]: one for one in options["models"] or ()}
    described = []
    for model in models:
        one = known.get(model.name) or {}
        numbers = wanted_versions.get(model.name, ())
        files = [f"{model.base_path}/{version}/{manifest.BATCHING}" for version in numbers]
        most = min(_largest_batch(path) for path in [options["batching_parameters_file"], *files])
        described.append(
            verification.Model(
                model.name,
                numbers,
                model_config.labels_of(model),
                one.get("signature") or "serving_default",
                most,
                *_right_answers(
                    model.base_path, one, numbers, options["tolerance"], options["python"] or sys.executable
                )
                if wanted_versions
                else (None, None, 0.0, None),
            )
        )
    return verification.Questions(
        described,
        options["ready_timeout_s"],
        options["accept_fragile"],
        options["accept_signature_change"],
        before=_signatures(serving, models) if wanted_versions else {},
    )


def _right_answers(
    base_path: str, one: Mapping[str, Any], numbers: Sequence[int], tolerance: float, python: str
) -> tuple[Any, Any, Any, Any]:
    """Return (inputs, reference, tolerance, judged) of a model: those of the user, or those that a conversion stored with the newest of its versions."""
    version = os.path.join(base_path, str(max(numbers, default="")))
    left = os.path.join(version, manifest.ANSWERS)
    judged = _judged(version, left, one, python)
    if not one.get("reference") and os.path.isfile(left):
        allowed = {
            name: _TIMES * far.values()[0] + tolerance for name, far in stdlib_client.arrays(left, "tolerance.").items()
        }
        return stdlib_client.arrays(left, "inputs."), stdlib_client.arrays(left, "outputs."), allowed, judged
    return (
        stdlib_client.arrays(one["samples"], "inputs.") if one.get("samples") else None,
        stdlib_client.arrays(one["reference"], "outputs.") if one.get("reference") else None,
        tolerance,
        judged,
    )


def _signatures(serving: stdlib_client.Server | None, models: Sequence[ModelConfiguration]) -> dict[str, Any]:
    """Return {model: {signature: ...}} of the current server, as far as it answers."""
    found = {}
    for model in models:
        with contextlib.suppress(ServerFault):
            found.update({model.name: serving.signatures(model.name)} if serving else {})
    return found


def _judged(version: str, left: str, one: Mapping[str, Any], python: str) -> verification.Judged | None:
    """Return the verification.Judged of a version, or None if it was not accepted by a metric, or by one that this host cannot compute.

    one: an entry of the option models. python: an interpreter for the user's own function.
    """
    found = published.manifest_of(version)
    judged = manifest.judged(found)
    metric = judged["metric"] if judged else None
    if (
        not found
        or not metric
        or not os.path.isfile(left)
        or metric["name"] == _FUNCTION
        and not one.get("metric_function")
    ):
        return None
    figures = stdlib_client.arrays(left, "metric.", needed=False)
    if not figures:
        return None
    before, after = (figures[name].values()[0] for name in ("before", "after"))
    if metric["name"] == _FUNCTION:
        measure = functools.partial(
            _measure_by_function, _same_function(one["metric_function"], found["options"]["metric_function"]), python
        )
    else:
        measure = functools.partial(_measure, metric["name"], found["options"]["metric_output"])
    return verification.Judged(
        metric,
        stdlib_client.arrays(left, "inputs."),
        stdlib_client.arrays(left, "labels", needed=False).get(""),
        before,
        after,
        measure,
    )


def _same_function(path: str, digest: str) -> str:
    """Return the path of the function that evaluated a version where it was converted. Raise FleetError for a different function."""
    try:
        found = model_files.file_digest(path)
    except OSError as fault:
        raise FleetError(
            f"cannot read the metric function: {fault.strerror}",
            where=path,
            remedy="Copy the metric function to this host, or leave metric_function out.",
        ) from fault
    if found != digest:
        raise FleetError(
            "it is not the metric function that this version was converted with",
            where=path,
            remedy="Convert the model again with this function, or copy the other one to this host.",
        )
    return path


def _measure(name: str, output: str | None, answers: Any, labels: Any) -> Any:
    return task_metrics.measure(
        name,
        {key: task_metrics.of_tensor(tensor) for key, tensor in answers.items()},
        task_metrics.of_tensor(labels),
        output,
    )


def _measure_by_function(path: str, python: str, answers: Any, labels: Any) -> Any:
    arrays = {name: metric_program.held(tensor.dtype, tensor.shape, tensor.content) for name, tensor in answers.items()}
    given = labels and metric_program.held(labels.dtype, labels.shape, labels.content)
    return program.call(
        _JUDGE, {"metric_function": path, "outputs": arrays, "labels": given}, python, timeout_s=_FUNCTION_S
    )["value"]


def _largest_batch(path: str) -> int:
    """Return the largest number of rows of a request of the checks under a file of batching parameters."""
    with contextlib.suppress(OSError, TypeError):
        text = shared_folders.read(path).decode()
        return min(_EXAMPLES, (parameters.read(text) or {}).get("max_batch_size") or _EXAMPLES)
    return _EXAMPLES
