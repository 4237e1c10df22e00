# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of the text files that TensorFlow Serving reads: models, batching, monitoring and TLS.

Names, numbers and types are those of upstream's .proto files in tensorflow_serving/config and
tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
"""

from __future__ import annotations

from typing import Any, Union

# A scalar, "enum:NAME" or a message's full name; ("map", type of its values) for a map.
Kind = Union[str, tuple[str, str]]
# (field, value) in their order: a text, bytes, a number, a bool, a message, or reader.Verbatim.
Message = list[tuple[str, Any]]

SERVER_CONFIG = "tensorflow.serving.ModelServerConfig"
BATCHING = "tensorflow.serving.BatchingParameters"
MONITORING = "tensorflow.serving.MonitoringConfig"

_POLICY = "tensorflow.serving.FileSystemStoragePathSourceConfig.ServableVersionPolicy"

# name -> {field: (number, type)}; type is a scalar, "enum:NAME" or a message's name, after "repeated " or "map " (string keys) if it is one.
MESSAGES = {
    BATCHING: {
        "max_batch_size": (1, "google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, "google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, "google.protobuf.Int64Value"),
        "num_batch_threads": (4, "google.protobuf.Int64Value"),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, "google.protobuf.Int64Value"),
    },
    "tensorflow.serving.FileSystemStoragePathSourceConfig": {},
    _POLICY: {
        "latest": (100, f"{_POLICY}.Latest"),
        "all": (101, f"{_POLICY}.All"),
        "specific": (102, f"{_POLICY}.Specific"),
    },
    f"{_POLICY}.Latest": {"num_versions": (1, "uint32")},
    f"{_POLICY}.All": {},
    f"{_POLICY}.Specific": {"versions": (1, "repeated int64")},
    "tensorflow.serving.LogCollectorConfig": {"type": (1, "string"), "filename_prefix": (2, "string")},
    "tensorflow.serving.SamplingConfig": {"sampling_rate": (1, "double"), "attributes": (2, "int32")},
    "tensorflow.serving.LoggingConfig": {
        "log_collector_config": (1, "tensorflow.serving.LogCollectorConfig"),
        "sampling_config": (2, "tensorflow.serving.SamplingConfig"),
        "custom_logging_config": (3, "google.protobuf.Any"),
    },
    "tensorflow.serving.ModelConfig": {
        "name": (1, "string"),
        "base_path": (2, "string"),
        "model_type": (3, "enum:tensorflow.serving.ModelType"),
        "model_platform": (4, "string"),
        "logging_config": (6, "tensorflow.serving.LoggingConfig"),
        "model_version_policy": (7, _POLICY),
        "version_labels": (8, "map int64"),
    },
    "tensorflow.serving.ModelConfigList": {"config": (1, "repeated tensorflow.serving.ModelConfig")},
    SERVER_CONFIG: {
        "model_config_list": (1, "tensorflow.serving.ModelConfigList"),
        "custom_model_config": (2, "google.protobuf.Any"),
    },
    "tensorflow.serving.SSLConfig": {
        "server_key": (1, "string"),
        "server_cert": (2, "string"),
        "custom_ca": (3, "string"),
        "client_verify": (4, "bool"),
    },
    "tensorflow.serving.PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    MONITORING: {"prometheus_config": (1, "tensorflow.serving.PrometheusConfig")},
}

# Messages of protobuf itself that those above hold.
_KNOWN = {
    "google.protobuf.Int64Value": {"value": (1, "int64")},
    "google.protobuf.StringValue": {"value": (1, "string")},
    "google.protobuf.BoolValue": {"value": (1, "bool")},
    "google.protobuf.Any": {"type_url": (1, "string"), "value": (2, "bytes")},
}

ENUMS = {"tensorflow.serving.ModelType": {"MODEL_TYPE_UNSPECIFIED": 0, "TENSORFLOW": 1, "OTHER": 2}}

# Message -> {name of the oneof: its fields}.
ONEOFS: dict[Kind, dict[str, tuple[str, ...]]] = {
    SERVER_CONFIG: {"config": ("model_config_list", "custom_model_config")},
    _POLICY: {"policy_choice": ("latest", "all", "specific")},
}


def fields(kind: Kind) -> dict[str, tuple[int, Kind, bool]]:
    """Return {field: (number, type, whether it is repeated)} of a message."""
    if isinstance(kind, tuple):
        return {"key": (1, "string", False), "value": (2, kind[1], False)}
    return {name: (number, *_parts(spelt)) for name, (number, spelt) in {**_KNOWN, **MESSAGES}[kind].items()}


def is_message(kind: Kind) -> bool:
    """Return whether a type of fields() is a message."""
    return isinstance(kind, tuple) or "." in kind and not kind.startswith("enum:")


def _parts(spelt: str) -> tuple[Kind, bool]:
    shape, _space, kind = spelt.rpartition(" ")
    return (("map", kind), True) if shape == "map" else (kind, shape == "repeated")
