# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host serves: the one description of a server.

The plan makes a ServingConfiguration, a tuning changes it, model_server applies it, the labels of the container and the state of the
embedded server carry it, model_server_info reads it back, and the plan compares what it wants with what runs.

`flags` holds what somebody chose. What follows from other fields (batching, TensorFlow Lite, ports, files) stands there no second time:
derived_flags.of derives it. derived_flags.digest and derived_flags.diff compare configurations by what they come to, so a flag with the value
that it has anyway makes no difference.
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
    """A server in full."""

    name: str = ""
    backend: str = "docker"  # or embedded
    models: tuple[ModelConfiguration, ...] = ()
    batched_per_model: bool = False  # each model by the file in its versions
    flags: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # keyed digest by variable
    files: Mapping[str, str | None] = field(default_factory=dict)  # {file of FILE_FLAGS: digest}, less MODELS_FILE
    image: str | None = None
    release: str | None = None  # whose flags the server knows; None for the newest
    address: str = "127.0.0.1"
    grpc_port: int = 0  # on the host, 0 until chosen
    rest_port: int | None = None  # the same; None for no REST
    cpu_set: str | None = None
    devices: tuple[Mapping[str, Any], ...] = ()  # {pci_bus_id, id, by}, id being what the engine knows a GPU by
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
        """Whether clients need TLS for gRPC."""
        return TLS_FILE in self.files

    @property
    def is_batched(self) -> bool:
        """Whether the server batches any model, as far as that is known."""
        return (
            self.batched_per_model
            or BATCHING_FILE in self.files
            or any(model.batching not in (None, UNKNOWN) for model in self.models)
        )

    def to_dict(self) -> dict[str, Any]:
        """As data of JSON; from_dict is the inverse."""
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        data["models"] = [model.to_dict() for model in self.models]
        found: dict[str, Any] = json.loads(json.dumps(data))
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServingConfiguration:
        """The configuration of to_dict(), and as much as there is of one in what model_server_info tells or an earlier version of the
        collection wrote. Raises KeyError, TypeError or AttributeError for what is none."""
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
        """The same without flags that say what other fields say: batching that a flag turns on is the models'."""
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
        """The same with ports that are chosen."""
        return replace(self, grpc_port=grpc_port, rest_port=rest_port)

    def of_models(self, names: Iterable[str]) -> ServingConfiguration:
        """The same with some of the models alone, in this order."""
        known = {model.name: model for model in self.models}
        return replace(self, models=tuple(known[name] for name in names)).per_model_where_needed()

    def per_model_where_needed(self) -> ServingConfiguration:
        """The same; each model is batched by a file of its own where they are batched differently."""
        return replace(self, batched_per_model=any(model.batching != self.models[0].batching for model in self.models))

    def tuned(self, model: str, change: Mapping[str, Any]) -> ServingConfiguration:
        """The same with what a tuning of a model changes: its form and batching, and of the whole server environment and flags, of which None
        takes one away. The largest number of gRPC threads that any model needs holds."""
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
