# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a configuration comes to: the flags that follow from it, the digest that tells it from others, and how two differ."""

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

# What this collection sets where nobody says otherwise.
_OWN_DEFAULTS = {"max_num_load_retries": 0, "num_load_threads": 2, "enable_profiler": False}
_LABELS = "allow_version_labels_for_unavailable_models"


@dataclass(frozen=True)
class Place:
    """What a server finds where it runs: its ports (0 for no REST), the paths of its files (of configuration.FILE_FLAGS), and its unix socket."""

    grpc_port: int
    rest_port: int
    files: Mapping[str, str] = field(default_factory=dict)
    socket: str | None = None


def of(configuration: ServingConfiguration, place: Place | None = None) -> dict[str, Any]:
    """The flags that follow from other fields, as far as the release knows them; those that somebody chose win over them. place: None for
    the flags alone that do not depend on where the server runs."""
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
    """The flag of a server that is started again with labels before it has loaded their versions: model_version gives labels while a model is served."""
    needed = configuration.backend == "docker" or any(model.labels for model in configuration.models)
    return {_LABELS: True} if needed else {}


def chosen_flags(configuration: ServingConfiguration) -> dict[str, Any]:
    """The flags that somebody chose other than they follow."""
    derived = of(configuration)
    return {name: value for name, value in configuration.flags.items() if derived.get(name) != value}


def all_flags(configuration: ServingConfiguration, place: Place | None = None) -> dict[str, Any]:
    """The flags that the server is started with."""
    return {**of(configuration, place), **configuration.flags}


def digest(configuration: ServingConfiguration) -> str:
    """A text that two configurations share only if they make the same server."""
    data = configuration.to_dict()
    defaults = questions.flags(_release(configuration))
    data["flags"] = {
        name: value
        for name, value in {**_for_labels(configuration), **all_flags(configuration)}.items()
        if name not in defaults or value != defaults[name][1]
    }
    # What the release decides stands in the flags; by itself it makes no other server.
    del data["release"]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def diff(
    before: ServingConfiguration, after: ServingConfiguration, keys: Collection[str] | None = None
) -> dict[str, tuple[Any, Any]]:
    """{dotted path: (value before, value after)} of what differs, a model's below models.NAME. keys: names of fields, also of models, that
    are compared; all by default. What one side does not know is not compared."""
    release = after.release or before.release
    was, now = (_leaves(one, release, keys) for one in (before, after))
    unknown = _unknown(before) | _unknown(after)
    return {
        path: (was.get(path), now.get(path))
        for path in sorted({*was, *now})
        if was.get(path) != now.get(path) and not any(path == of or path.startswith(f"{of}.") for of in unknown)
    }


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """{dotted path: leaf} of nested mappings, without leaves that say nothing."""
    if isinstance(value, Mapping):
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in flat(inner, f"{path}.{name}" if path else str(name)).items()
        }
    return {path: value} if value not in (None, [], (), {}) else {}


def _leaves(configuration: ServingConfiguration, release: str | None, keys: Collection[str] | None) -> dict[str, Any]:
    """The leaves that are compared. Flags are all that hold, the release's defaults among them, but those that other fields say for themselves."""
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
    """The paths of what a configuration does not know of its models."""
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
