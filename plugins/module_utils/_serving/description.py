# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host, described for whoever compares it with a plan (docs/architecture.md, "What runs on a host")."""

from __future__ import annotations

import posixpath

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader, schema

FORMS = ("saved_model", "tflite_dynamic_range", "tflite_float16", "tflite_int8", "tflite_int16x8", "tensorrt")
_BATCHING_FLAGS = ("enable_batching", "enable_per_model_batching_parameters")
# What a wrapper message without a value holds, where that is not 0.
_UNSET = {"thread_pool_name": "", "enable_large_batch_splitting": False}


def of_embedded(specification, alive, batching_text=None):
    """An embedded server. specification: as its state has it; batching_text: the text proto of its batching parameters, where it has any."""
    models = specification.get("models") or [{"name": specification["model_name"], "base_path": specification["model_base_path"]}]
    return {
        "name": specification["name"], "backend": specification["backend"], "state": "started" if alive else "stopped", "image": None,
        "models": [_model(specification, model, batching_text) for model in models], "flags": _flags(specification),
        "environment": specification["environment"], "cpu_set": specification["cpu_set"], "devices": [], "address": specification["address"],
        "grpc_port": specification["grpc_port"], "rest_port": specification["rest_port"]}


def of_container(specification, alive, batching_text=None):
    """A server in a container. specification: as its label has it; the rest as for of_embedded."""
    models = [dict(_model(specification, model, batching_text), version_policy=model["version_policy"], labels=model["labels"])
              for model in specification["models"]]
    return {
        "name": specification["name"], "backend": "docker", "state": "started" if alive else "stopped", "image": specification["image"], "models": models,
        "flags": _flags(specification),
        "environment": specification["environment"], "cpu_set": specification["cpu_set"], "devices": specification["devices"],
        "address": specification["address"], "grpc_port": specification["grpc_port"], "rest_port": specification["rest_port"],
        "tls": "ssl.pbtxt" in specification["files"]}


def _model(specification, model, batching_text):
    """A model, without `batching` where it is not known what the server loaded it with: each has its own file, or the file cannot be read."""
    known = {"name": model["name"], "form": form_of(model["base_path"]), "base_path": model["base_path"]}
    if specification["flags"].get("enable_per_model_batching_parameters"):
        return known
    parameters = parameters_of(batching_text) if batching_text is not None else None
    return known if batching_text is not None and parameters is None else dict(known, batching=parameters)


def _flags(specification):
    return {name: value for name, value in specification["flags"].items() if name not in _BATCHING_FLAGS}


def form_of(base_path):
    """The form of the models below a folder of published models, or None."""
    name = posixpath.basename(base_path.rstrip("/"))
    return name if name in FORMS else None


def parameters_of(text):
    """{name: value} of a text proto of BatchingParameters; None where the text is not one, and what a server loaded is not known."""
    try:
        fields = reader.read(text, schema.BATCHING, "batching")
    except FleetError:
        return None
    found = {}
    for name, value in fields:
        if name == "allowed_batch_sizes":
            found.setdefault(name, []).append(value)
        else:
            found[name] = dict(value).get("value", _UNSET.get(name, 0)) if isinstance(value, list) else value
    return found
