# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorFlow Serving's gRPC methods, the codes of gRPC, which of them HTTP's stand for, and the fault that carries one."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RELOAD_CONFIG = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
_CODES_OF_HTTP = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED", 429: "RESOURCE_EXHAUSTED",
                  499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
_CODES_OF_FOREIGN_HTTP = {400: "INTERNAL", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED", 429: "UNAVAILABLE", 502: "UNAVAILABLE",
                          503: "UNAVAILABLE", 504: "UNAVAILABLE"}
CODES = ("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION "
          "ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED").split()


class ServerFault(FleetError):
    """What a server answered instead of a result, or why it could not be reached. code: the name of a gRPC status, such as UNAVAILABLE."""

    def __init__(self, code, message, where=None):
        super().__init__(f"{code}: {message}", where=where)
        self.code = code
        self.message = message


def code_name(number):
    """The name of a gRPC status by its number: UNAVAILABLE for 14, UNKNOWN for a number that gRPC does not define."""
    return CODES[number] if 0 <= number < len(CODES) else "UNKNOWN"


def code_of_http(status):
    """The name of the gRPC status that an HTTP status stands for: UNAVAILABLE for 503."""
    return _CODES_OF_HTTP.get(status, "UNKNOWN")


def code_without_status(http):
    """The name of the gRPC status for an answer without one, by its HTTP status, as gRPC prescribes: whoever answers 404 there knows nothing of models."""
    return _CODES_OF_FOREIGN_HTTP.get(http, "UNKNOWN")
