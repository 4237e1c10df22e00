# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Define the one description of how a host serves.

The plan makes a ServingConfiguration, and a tuning changes it. model_server applies it. The labels of the container or
the state of the embedded server store it. model_server_info reads it back, and the plan compares the desired
configuration with the current one.

`flags` contains only flags that the user or the plan chose. derived_flags.of computes the flags that follow from other
fields (batching, TensorFlow Lite, ports, files). derived_flags.digest and derived_flags.diff compare all flags of a
server, so a flag that is set to its default makes no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import UNKNOWN, ModelConfiguration

BATCHING, PER_MODEL_BATCHING, LITE = "enable_batching", "enable_per_model_batching_parameters", "prefer_tflite_model"
GRPC_THREADS = "grpc_max_threads"
# Files of a server's configuration, and the flags that name them.
MODELS_FILE, BATCHING_FILE, MONITORING_FILE, SESSION_FILE, TLS_FILE = (
    f"{name}.pbtxt" for name in ("models", "batching", "monitoring", "session", "ssl")
)
FILE_FLAGS = {
    BATCHING_FILE: "batching_parameters_file",
    MONITORING_FILE: "monitoring_config_file",
    SESSION_FILE: "tensorflow_session_config_file",
    TLS_FILE: "ssl_config_file",
    MODELS_FILE: "model_config_file",
}


@dataclass(frozen=True)
class ServingConfiguration:
    """The complete configuration of a server."""

    name: str = ""
    backend: str = "docker"  # or embedded
    models: tuple[ModelConfiguration, ...] = ()
    batched_per_model: bool = False  # whether each model has a file in its versions
    flags: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # keyed digest by variable
    files: Mapping[str, str | None] = field(default_factory=dict)  # {file of FILE_FLAGS: digest}, without MODELS_FILE
    image: str | None = None
    release: str | None = None  # the release whose flags the server knows; None for the newest
    address: str = "127.0.0.1"
    grpc_port: int = 0  # on the host; 0 until one is chosen
    rest_port: int | None = None  # on the host; 0 until one is chosen, None without REST
    cpu_set: str | None = None
    devices: tuple[Mapping[str, Any], ...] = ()  # {pci_bus_id, id, by}; the engine knows the GPU by id
    # Of containers.
    memory_mib: int | None = None
    grpc_socket_directory: str | None = None
    network: str = "bridge"
    user: str = "65534:65534"
    read_only: bool = True
    capabilities: tuple[str, ...] = ()
    restart_policy: str = "unless-stopped"
    log_max_mib: int = 10
    log_files: int = 3
    # Of the embedded server.
    python: str | None = None
    program: str | None = None  # digest of the server's program
    batching_parameters_file: str | None = None
    idle_exit_s: float | None = None

    @property
    def speaks_tls(self) -> bool:
        """Return whether clients need TLS for gRPC."""
        return TLS_FILE in self.files

    @property
    def is_batched(self) -> bool:
        """Return whether the server is known to batch any model."""
        return (
            self.batched_per_model
            or BATCHING_FILE in self.files
            or any(model.batching not in (None, UNKNOWN) for model in self.models)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON data, the inverse of from_dict."""
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        data["models"] = [model.to_dict() for model in self.models]
        found: dict[str, Any] = json.loads(json.dumps(data))
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServingConfiguration:
        """Return the configuration of to_dict().

        Also accept the part of one that model_server_info returns or that an earlier version of the collection wrote.
        Raise KeyError, TypeError or AttributeError for invalid data.
        """
        given = {"name": data["name"], **{one.name: data[one.name] for one in fields(cls) if one.name in data}}
        models = data.get("models") or (
            [{"name": data["model_name"], "base_path": data["model_base_path"]}] if data.get("model_name") else []
        )
        given["models"] = tuple(map(ModelConfiguration.from_dict, models))
        for key in ("devices", "capabilities"):
            given[key] = tuple(data.get(key) or ())
        for key in ("flags", "environment", "secrets", "files"):
            given[key] = dict(data[key]) if isinstance(data.get(key), Mapping) else {}
        return cls(**given).normalized()

    def normalized(self) -> ServingConfiguration:
        """Return the configuration with batching as a field of each model instead of a flag."""
        flags = {name: value for name, value in self.flags.items() if name not in (BATCHING, PER_MODEL_BATCHING)}
        batching, per_model = self.flags.get(BATCHING), self.flags.get(PER_MODEL_BATCHING)
        if per_model and not self.batched_per_model:
            models = tuple(
                replace(model, batching=UNKNOWN if model.batching is None else model.batching) for model in self.models
            )
            return replace(self, flags=flags, batched_per_model=True, models=models)
        if batching and not self.is_batched and not any(model.batching is UNKNOWN for model in self.models):
            return replace(self, flags=flags, models=tuple(replace(model, batching={}) for model in self.models))
        return replace(self, flags=flags)

    def with_ports(self, grpc_port: int, rest_port: int | None) -> ServingConfiguration:
        """Return the configuration with the chosen ports."""
        return replace(self, grpc_port=grpc_port, rest_port=rest_port)

    def of_models(self, names: Iterable[str]) -> ServingConfiguration:
        """Return the configuration with only these models, in this order."""
        known = {model.name: model for model in self.models}
        return replace(self, models=tuple(known[name] for name in names)).per_model_where_needed()

    def per_model_where_needed(self) -> ServingConfiguration:
        """Return the configuration with a batching file for each model if the models are batched differently."""
        return replace(self, batched_per_model=any(model.batching != self.models[0].batching for model in self.models))

    def tuned(self, model: str, change: Mapping[str, Any]) -> ServingConfiguration:
        """Return the configuration after a tuning's change of one model.

        The change sets the variant and batching of the model, and environment and flags of the whole server; the value
        None removes a name. Of the numbers of gRPC threads that the models need, the largest applies.
        """
        of_model = {key: change[key] for key in ("form", "batching") if key in change}
        models = tuple(replace(one, **of_model) if one.name == model else one for one in self.models)
        environment, flags = (
            {name: value for name, value in {**of, **(change.get(key) or {})}.items() if value is not None}
            for key, of in (("environment", self.environment), ("flags", self.flags))
        )
        threads = [of[GRPC_THREADS] for of in (self.flags, flags) if of.get(GRPC_THREADS)]
        if threads:
            flags[GRPC_THREADS] = max(threads)
        return replace(self, models=models, environment=environment, flags=flags).per_model_where_needed()
