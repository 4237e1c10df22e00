# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of models on a host, and the batching parameters that a server reads from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.text_files import Texts
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest, published
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import UNKNOWN

_MODEL_FILES = ("saved_model.pb", "model.tflite")


def of_server(configuration: ServingConfiguration | None) -> Texts:
    """Return the files that a server needs in the versions of its models, as far as its configuration knows their parameters."""
    if configuration is None or not configuration.batched_per_model:
        return {}
    models: list[Any] = [
        {
            "name": model.name,
            "signatures": None,
            "batching": model.batching,
            "directory": model.base_path,
            "version": None,
        }
        for model in configuration.models
        if model.batching is not UNKNOWN
    ]
    _server, made, _warnings = files.per_model(files.Request({}, tuple(models)), True)
    texts = {file.model: file.text for file in made}
    return {
        os.path.join(version, manifest.BATCHING): texts.get(model["name"])
        for model in models
        for version in directories(model)
    }


def directories(model: Mapping[str, Any]) -> list[str]:
    """Return the path of the requested version of a model, or without one the paths of all, the highest first."""
    there = numbered(model["directory"]) if model["directory"] else {}
    numbers = sorted(there, reverse=True) if model["version"] is None else [model["version"]]
    return [os.path.join(model["directory"], there[number]) for number in numbers if number in there]


def numbered(directory: str) -> dict[int, str]:
    """Return {number: name} of the versions with a model in a directory; empty if it cannot be listed."""
    try:
        found = published.numbered(directory)
    except OSError:
        return {}
    return {
        number: name
        for number, name in found.items()
        if any(os.path.exists(os.path.join(directory, name, file)) for file in _MODEL_FILES)
    }
