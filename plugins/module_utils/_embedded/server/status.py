# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors while serving, with TensorFlow Serving's names: a gRPC code and a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes, grpc_api


class Status(Exception):
    """An error. code: one of grpc_api.CODES. message: the text without the code. str() is "CODE: message", as TensorFlow prints it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid(message: str) -> Status:
    """Return the Status for an invalid request."""
    return Status("INVALID_ARGUMENT", message)


def of(fault: Any) -> Status:
    """Return the Status of any exception: itself, that of TensorFlow's OpError, UNIMPLEMENTED for an unsupported dtype, or UNKNOWN."""
    if isinstance(fault, Status):
        return fault
    if isinstance(fault, MemoryError):
        return Status("RESOURCE_EXHAUSTED", f"No memory is left: {fault}")
    if isinstance(fault, FleetError):
        return Status("UNIMPLEMENTED", fault.what)
    if isinstance(
        fault, UnicodeDecodeError
    ):  # TensorFlow's own message, which Python could not decode; then the code is also lost.
        return Status("UNKNOWN", fault.object.decode("utf-8", "replace"))
    number = getattr(fault, "error_code", None)
    if isinstance(number, int) and 0 < number < len(grpc_api.CODES):
        return Status(grpc_api.CODES[number], fault.message)
    return Status("UNKNOWN", f"{type(fault).__name__}: {fault}")


def wrong_type(position: int, expected: str, given: str) -> Status:
    """Return the Status for an input of another dtype than the model's.

    expected, given: numpy's names. position: the input's index in the order of tensor names.
    """
    words = ["string" if name == "object" else dtypes.word(name) for name in (expected, given)]
    return invalid(f"Expects arg[{position}] to be {words[0]} but {words[1]} is provided")


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as TensorFlow shows it: [2,3]."""
    return f"[{','.join(map(str, shape))}]"
