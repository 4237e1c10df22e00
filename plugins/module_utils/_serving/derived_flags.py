# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derive flags from a configuration, its digest, and the differences between two configurations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING,
    FILE_FLAGS,
    PER_MODEL_BATCHING,
    ServingConfiguration,
)

# Defaults of this collection where they differ from TensorFlow Serving's.
_OWN_DEFAULTS = {"max_num_load_retries": 0, "num_load_threads": 2, "enable_profiler": False}
_LABELS = "allow_version_labels_for_unavailable_models"


@dataclass(frozen=True)
class Place:
    """The ports (0 without REST), files (of configuration.FILE_FLAGS) and Unix socket of a server, as the server itself sees them."""

    grpc_port: int
    rest_port: int
    files: Mapping[str, str] = field(default_factory=dict)
    socket: str | None = None


def of(configuration: ServingConfiguration, place: Place | None = None) -> dict[str, Any]:
    """Return the flags that follow from other fields and that the release knows. Chosen flags override them.

    place: None for only those flags that do not depend on where the server runs.
    """
    found: dict[str, Any] = {}
    if place:
        found.update({"port": place.grpc_port, "rest_api_port": place.rest_port})
        found.update({FILE_FLAGS[file]: path for file, path in place.files.items()})
        if place.socket:
            found["grpc_socket_path"] = place.socket
    found.update(_OWN_DEFAULTS)
    if configuration.is_batched:
        found[BATCHING] = True
    if configuration.batched_per_model:
        found[PER_MODEL_BATCHING] = True
    release = _release(configuration)
    lite = questions.tflite_flag(release)
    if lite and any((model.form or "").startswith("tflite") for model in configuration.models):
        found[lite] = True
    if place or any(model.labels for model in configuration.models):
        found.update(_for_labels(configuration))
    known = questions.flags(release)
    return {name: value for name, value in found.items() if name in known}


def _for_labels(configuration: ServingConfiguration) -> dict[str, Any]:
    """Return the flag for a server that starts with labels before their versions are loaded, because model_version gave them to the running server."""
    needed = configuration.backend == "docker" or any(model.labels for model in configuration.models)
    return {_LABELS: True} if needed else {}


def chosen_flags(configuration: ServingConfiguration) -> dict[str, Any]:
    """Return the chosen flags that differ from the derived ones."""
    derived = of(configuration)
    return {name: value for name, value in configuration.flags.items() if derived.get(name) != value}


def all_flags(configuration: ServingConfiguration, place: Place | None = None) -> dict[str, Any]:
    """Return all flags that the server is started with."""
    return {**of(configuration, place), **configuration.flags}


def digest(configuration: ServingConfiguration) -> str:
    """Return a text that is equal for two configurations only if they make the same server."""
    data = configuration.to_dict()
    defaults = questions.flags(_release(configuration))
    data["flags"] = {
        name: value
        for name, value in {**_for_labels(configuration), **all_flags(configuration)}.items()
        if name not in defaults or value != defaults[name][1]
    }
    # The flags contain everything that depends on the release; a release alone does not change the server.
    del data["release"]
    data["models"].sort(key=lambda model: model["name"])  # A server does not depend on their order.
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def diff(
    before: ServingConfiguration, after: ServingConfiguration, keys: Collection[str] | None = None
) -> dict[str, tuple[Any, Any]]:
    """Return {dotted path: (value before, value after)} of the differences. Those of a model are below models.NAME.

    keys: names of the compared fields, also of models; by default all. Values that one side does not know are not
    compared.
    """
    release = after.release or before.release
    was, now = (_leaves(one, release, keys) for one in (before, after))
    unknown = _unknown(before) | _unknown(after)
    return {
        path: (was.get(path), now.get(path))
        for path in sorted({*was, *now})
        if was.get(path) != now.get(path) and not any(path == of or path.startswith(f"{of}.") for of in unknown)
    }


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return {dotted path: leaf} of nested mappings, without empty leaves."""
    if isinstance(value, Mapping):
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in flat(inner, f"{path}.{name}" if path else str(name)).items()
        }
    return {path: value} if value not in (None, [], (), {}) else {}


def _leaves(configuration: ServingConfiguration, release: str | None, keys: Collection[str] | None) -> dict[str, Any]:
    """Return the leaves to compare. Flags include the defaults of the release, but not the flags that follow from other fields."""
    data = configuration.to_dict()
    defaults = {name: default for name, (_kind, default) in questions.flags(release or _newest()).items()}
    own = {name: value for name, value in {**_OWN_DEFAULTS, **_for_labels(configuration)}.items() if name in defaults}
    data["flags"] = {**defaults, **own, **chosen_flags(configuration)}
    models = {
        model["name"]: {key: value for key, value in model.items() if key != "name" and (keys is None or key in keys)}
        for model in data.pop("models")
    }
    for model in models.values():
        if model.get("batching") == {}:
            model["batching"] = {"enabled": True}
    del data["release"]
    return flat({**{key: value for key, value in data.items() if keys is None or key in keys}, "models": models})


def _unknown(configuration: ServingConfiguration) -> set[str]:
    """Return the paths of the values of models that a configuration does not know."""
    found = set()
    for model in configuration.models:
        known = model.to_dict()
        found |= {
            f"models.{model.name}.{key}"
            for key in ("form", "batching")
            if key == "form" and not known["form"] or key not in known
        }
    return found


def _release(configuration: ServingConfiguration) -> str:
    return configuration.release or _newest()


def _newest() -> str:
    return questions.releases()[-1]
