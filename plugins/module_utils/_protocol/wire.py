# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages of TensorFlow Serving's gRPC API and of its text files (textproto.schema), without TensorFlow.

Names, numbers and types are those of upstream's .proto files (tensorflow_serving/apis, tensorflow/core/framework/{tensor,tensor_shape,types}.proto,
tensorflow/core/example/{example,feature}.proto and tensorflow/core/protobuf/meta_graph.proto). They have their own descriptor pool, so that a process
can also load TensorFlow. Needs the protobuf package. message("tensorflow.serving.PredictRequest") is a message class.
"""

from __future__ import annotations

import functools
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, grpc_api
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import schema

try:
    from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
    from google.protobuf import message as protobuf_message

    DecodeError = protobuf_message.DecodeError
except ImportError:
    descriptor_pb2 = None  # type: ignore[assignment]


# Log of a call -> what its messages are called.
_LOGGED = {
    "Classify": "Classification",
    "Regress": "Regression",
    "Predict": "Predict",
    "MultiInference": "MultiInference",
}
# name -> {field: (number, type)}; type is a scalar, "enum:NAME" or a message's name, after "repeated " or "map " (string keys) if it is one.
_MESSAGES = {
    **schema.MESSAGES,
    "tensorflow.TensorShapeProto.Dim": {"size": (1, "int64"), "name": (2, "string")},
    "tensorflow.TensorShapeProto": {
        "dim": (2, "repeated tensorflow.TensorShapeProto.Dim"),
        "unknown_rank": (3, "bool"),
    },
    "tensorflow.TensorProto": {
        "dtype": (1, "enum:tensorflow.DataType"),
        "tensor_shape": (2, "tensorflow.TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "scomplex_val": (9, "repeated float"),
        "int64_val": (10, "repeated int64"),
        "bool_val": (11, "repeated bool"),
        "dcomplex_val": (12, "repeated double"),
        "half_val": (13, "repeated int32"),
        "uint32_val": (16, "repeated uint32"),
        "uint64_val": (17, "repeated uint64"),
    },
    "tensorflow.TensorInfo": {
        "name": (1, "string"),
        "dtype": (2, "enum:tensorflow.DataType"),
        "tensor_shape": (3, "tensorflow.TensorShapeProto"),
    },
    "tensorflow.SignatureDef": {
        "inputs": (1, "map tensorflow.TensorInfo"),
        "outputs": (2, "map tensorflow.TensorInfo"),
        "method_name": (3, "string"),
        "defaults": (4, "map tensorflow.TensorProto"),
    },
    "tensorflow.serving.ModelSpec": {
        "name": (1, "string"),
        "version": (2, "google.protobuf.Int64Value"),
        "version_label": (4, "string"),
        "signature_name": (3, "string"),
    },
    "tensorflow.serving.PredictRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "inputs": (2, "map tensorflow.TensorProto"),
        "output_filter": (3, "repeated string"),
    },
    "tensorflow.serving.PredictResponse": {
        "outputs": (1, "map tensorflow.TensorProto"),
        "model_spec": (2, "tensorflow.serving.ModelSpec"),
    },
    "tensorflow.serving.SignatureDefMap": {"signature_def": (1, "map tensorflow.SignatureDef")},
    "tensorflow.serving.GetModelMetadataRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "metadata_field": (2, "repeated string"),
    },
    "tensorflow.serving.GetModelMetadataResponse": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "metadata": (2, "map google.protobuf.Any"),
    },
    "tensorflow.serving.GetModelStatusRequest": {"model_spec": (1, "tensorflow.serving.ModelSpec")},
    "tensorflow.serving.StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "tensorflow.serving.ModelVersionStatus": {
        "version": (1, "int64"),
        "state": (2, "enum:tensorflow.serving.ModelVersionState"),
        "status": (3, "tensorflow.serving.StatusProto"),
    },
    "tensorflow.serving.GetModelStatusResponse": {
        "model_version_status": (1, "repeated tensorflow.serving.ModelVersionStatus")
    },
    "grpc.health.v1.HealthCheckRequest": {"service": (1, "string")},
    "tensorflow.serving.ReloadConfigRequest": {"config": (1, "tensorflow.serving.ModelServerConfig")},
    "tensorflow.serving.ReloadConfigResponse": {"status": (1, "tensorflow.serving.StatusProto")},
    "tensorflow.BytesList": {"value": (1, "repeated bytes")},
    "tensorflow.FloatList": {"value": (1, "repeated float")},
    "tensorflow.Int64List": {"value": (1, "repeated int64")},
    "tensorflow.Feature": {
        "bytes_list": (1, "tensorflow.BytesList"),
        "float_list": (2, "tensorflow.FloatList"),
        "int64_list": (3, "tensorflow.Int64List"),
    },
    "tensorflow.Features": {"feature": (1, "map tensorflow.Feature")},
    "tensorflow.Example": {"features": (1, "tensorflow.Features")},
    "tensorflow.serving.ExampleList": {"examples": (1, "repeated tensorflow.Example")},
    "tensorflow.serving.ExampleListWithContext": {
        "examples": (1, "repeated tensorflow.Example"),
        "context": (2, "tensorflow.Example"),
    },
    "tensorflow.serving.Input": {
        "example_list": (1, "tensorflow.serving.ExampleList"),
        "example_list_with_context": (2, "tensorflow.serving.ExampleListWithContext"),
    },
    # A label is a string there, yet what a model says need not be UTF-8.
    "tensorflow.serving.Class": {"label": (1, "bytes"), "score": (2, "float")},
    "tensorflow.serving.Classifications": {"classes": (1, "repeated tensorflow.serving.Class")},
    "tensorflow.serving.ClassificationResult": {"classifications": (1, "repeated tensorflow.serving.Classifications")},
    "tensorflow.serving.Regression": {"value": (1, "float")},
    "tensorflow.serving.RegressionResult": {"regressions": (1, "repeated tensorflow.serving.Regression")},
    "tensorflow.serving.InferenceTask": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "method_name": (2, "string"),
    },
    "tensorflow.serving.InferenceResult": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "classification_result": (2, "tensorflow.serving.ClassificationResult"),
        "regression_result": (3, "tensorflow.serving.RegressionResult"),
    },
    "tensorflow.serving.MultiInferenceRequest": {
        "tasks": (1, "repeated tensorflow.serving.InferenceTask"),
        "input": (2, "tensorflow.serving.Input"),
    },
    "tensorflow.serving.MultiInferenceResponse": {"results": (1, "repeated tensorflow.serving.InferenceResult")},
    **{
        f"tensorflow.serving.{kind}Request": {
            "model_spec": (1, "tensorflow.serving.ModelSpec"),
            "input": (2, "tensorflow.serving.Input"),
        }
        for kind in ("Classification", "Regression")
    },
    **{
        f"tensorflow.serving.{kind}Response": {
            "result": (1, f"tensorflow.serving.{kind}Result"),
            "model_spec": (2, "tensorflow.serving.ModelSpec"),
        }
        for kind in ("Classification", "Regression")
    },
    **{
        f"tensorflow.serving.{log}Log": {
            "request": (1, f"tensorflow.serving.{kind}Request"),
            "response": (2, f"tensorflow.serving.{kind}Response"),
        }
        for log, kind in _LOGGED.items()
    },
    # Logs of calls that no server replays keep their bytes, because only their presence matters.
    "tensorflow.serving.PredictionLog": {
        "classify_log": (2, "tensorflow.serving.ClassifyLog"),
        "regress_log": (3, "tensorflow.serving.RegressLog"),
        "predict_log": (6, "tensorflow.serving.PredictLog"),
        "predict_streamed_log": (7, "bytes"),
        "multi_inference_log": (4, "tensorflow.serving.MultiInferenceLog"),
        "session_run_log": (5, "bytes"),
    },
}

_ONEOFS: dict[Any, dict[str, tuple[str, ...]]] = {
    **schema.ONEOFS,
    "tensorflow.Feature": {"kind": ("bytes_list", "float_list", "int64_list")},
    "tensorflow.serving.Input": {"kind": ("example_list", "example_list_with_context")},
    "tensorflow.serving.InferenceResult": {"result": ("classification_result", "regression_result")},
    "tensorflow.serving.PredictionLog": {
        "log_type": tuple(
            f"{log}_log" for log in "classify regress predict predict_streamed multi_inference session_run".split()
        )
    },
}

_ENUMS = {
    **schema.ENUMS,
    "tensorflow.DataType": dtypes.ENUM,
    "tensorflow.serving.ModelVersionState": grpc_api.STATES,
}


def message(name: str) -> Any:
    """Return the message class of a full name, for instance "tensorflow.TensorProto"."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def enum_name(enum: str, number: int) -> str:
    """Return the name of an enum's value, DT_FLOAT for 1 of tensorflow.DataType, or the number as text if it is unknown."""
    return next((name for name, value in _ENUMS[enum].items() if value == number), str(number))


@functools.cache
def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for known in (wrappers_pb2, any_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    for package in ("tensorflow", "tensorflow.serving", "grpc.health.v1"):
        pool.Add(_file(package))
    return pool


def _file(package: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=package.replace(".", "/") + "/messages.proto", package=package, syntax="proto3"
    )
    file.dependency.extend(
        ["google/protobuf/wrappers.proto", "google/protobuf/any.proto"]
        + ([] if package == "tensorflow" else ["tensorflow/messages.proto"])
    )
    for name, values in _ENUMS.items():
        if name.rpartition(".")[0] == package:
            enum = file.enum_type.add(name=name.rpartition(".")[2])
            for value, number in values.items():
                enum.value.add(name=value, number=number)
    made: dict[str, Any] = {}
    for name in sorted(_MESSAGES, key=lambda key: key.count(".")):
        relative = name[len(package) + 1 :] if name.startswith(package + ".") else ""
        parent, _dot, short = relative.rpartition(".")
        if not relative or (parent and parent not in made):
            continue
        made[relative] = made[parent].nested_type.add(name=short) if parent else file.message_type.add(name=short)
        for field, (number, kind) in _MESSAGES[name].items():
            _add_field(made[relative], name, field, number, kind)
        for index, (oneof, members) in enumerate(_ONEOFS.get(name, {}).items()):
            made[relative].oneof_decl.add(name=oneof)
            for member in made[relative].field:
                if member.name in members:
                    member.oneof_index = index
    return file


def _add_field(owner: Any, owner_name: str, field: str, number: int, kind: str) -> None:
    added = owner.field.add(name=field, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    shape, _space, element = kind.rpartition(" ")
    if shape:
        added.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    if shape == "map":
        entry_name = "".join(part.capitalize() for part in field.split("_")) + "Entry"
        entry = owner.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, "", "key", 1, "string")
        _add_field(entry, "", "value", 2, element)
        added.type, added.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, f".{owner_name}.{entry_name}"
    elif element.startswith("enum:"):
        added.type, added.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM, "." + element[5:]
    elif "." in element:
        added.type, added.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, "." + element
    else:
        added.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{element.upper()}")
