# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorFlow Serving's gRPC methods, states of a version, and codes: of gRPC, and of HTTP for them."""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


class VersionStatus(TypedDict):
    """What a server reports about a version. state: a number of STATES. error_code: that of a gRPC status."""

    version: int
    state: int
    error_code: int
    error_message: str


PREDICT = "/tensorflow.serving.PredictionService/Predict"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
REGRESS = "/tensorflow.serving.PredictionService/Regress"
MULTI_INFERENCE = "/tensorflow.serving.PredictionService/MultiInference"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD_CONFIG = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
# By number.
CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION "
    "ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split()
INVALID_ARGUMENT = "INVALID_ARGUMENT"
# The statuses of TensorFlow Serving's REST API. If several codes have the same HTTP status, the first one is assumed.
_HTTP_OF_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_CODES_OF_HTTP = {http: code for code, http in reversed(_HTTP_OF_CODES.items())}
_CODES_OF_FOREIGN_HTTP = {
    400: "INTERNAL",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    429: "UNAVAILABLE",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}
# tensorflow.serving.ModelVersionState
STATES = {"UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}
AVAILABLE, UNLOADING, END = (STATES[name] for name in ("AVAILABLE", "UNLOADING", "END"))


class ServerFault(FleetError):
    """A server's error, or why it is not reachable. code: the name of a gRPC status, such as UNAVAILABLE."""

    code: str

    def __init__(self, code: str, message: str, where: str | None = None) -> None:
        super().__init__(f"{code}: {message}", where=where, code=code)
        self.message = message


def code_name(number: int) -> str:
    """Return the name of a gRPC status by its number: UNAVAILABLE for 14, UNKNOWN for a number that gRPC does not define."""
    return CODES[number] if 0 <= number < len(CODES) else "UNKNOWN"


def http_of_code(code: str) -> int:
    """Return the HTTP status with which the REST API answers a gRPC status, by its name."""
    return _HTTP_OF_CODES.get(code, 500)


def code_of_http(http: int) -> str:
    """Return the name of the gRPC status that an HTTP status of the REST API stands for: UNAVAILABLE for 503."""
    return _CODES_OF_HTTP.get(http, "UNKNOWN")


def code_without_status(http: int | None) -> str:
    """Return the name of the gRPC status for an answer without one, by its HTTP status, as gRPC prescribes: a 404 there does not come from a model server."""
    return _CODES_OF_FOREIGN_HTTP.get(http or 0, "UNKNOWN")
