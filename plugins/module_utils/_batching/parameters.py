# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check BatchingParameters of TensorFlow Serving, and read and write their text.

TensorFlow Serving checks them late, by crashing, or not at all. A value that it rejects costs five minutes of retries
with closed ports, or ends the whole process.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import bounded, number_of, one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader, schema, writer
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto.schema import Message

HEADER = "# BatchingParameters of TensorFlow Serving. Managed by tfserving.fleet.batching_parameters: changes made here are overwritten.\n"

# The server's defaults.
DEFAULT_MAX_BATCH_SIZE = 1000
DEFAULT_MAX_ENQUEUED_BATCHES = 10

# minimum, maximum, unit. The maxima prevent overflows in the server (microseconds to nanoseconds, sizes in 32 bits,
# threads of a process).
RANGES = {
    "max_batch_size": (1, 2**31 - 1, "rows"),
    "batch_timeout_micros": (0, 3_600_000_000, "microseconds"),
    "max_enqueued_batches": (1, 2**31 - 1, "batches"),
    "num_batch_threads": (1, 10_000, "threads"),
    "max_execution_batch_size": (1, 2**31 - 1, "rows"),
}
# The value of a wrapper message without content, if it is not 0.
_UNSET = {"thread_pool_name": "", "enable_large_batch_splitting": False}
POOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Parameters:
    """The content of a file. None, and () for the allowed sizes, mean the server's default. Sizes are counts of rows, that is of examples."""

    max_batch_size: int | None = None
    batch_timeout_micros: int | None = None
    max_enqueued_batches: int | None = None
    num_batch_threads: int | None = None
    thread_pool_name: str | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool | None = None
    enable_large_batch_splitting: bool | None = None
    max_execution_batch_size: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all nine parameters by name. allowed_batch_sizes is a list, and unset parameters are None."""
        return dict(asdict(self), allowed_batch_sizes=list(self.allowed_batch_sizes) or None)


NAMES = tuple(field.name for field in fields(Parameters))
# Words in place of a model's own parameters: no batching, or the parameters of the server.
CHOICES = ("none", "auto")


def check(values: Mapping[str, Any]) -> Parameters:
    """Return the Parameters of {name: value or None}. Raise FleetError for the first value that a server would reject, crash on or silently ignore."""
    given = given_of(values)
    parameters = Parameters(**dict(given, allowed_batch_sizes=tuple(given.get("allowed_batch_sizes", ()))))
    _check_splitting(parameters)
    _check_allowed_sizes(parameters)
    return parameters


def given_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are set, each checked separately. Raise FleetError for the first unknown name or wrong value."""
    given = {name: typed(name, value) for name, value in values.items() if value is not None}
    for name, value in given.items():
        one_of("parameter", name, NAMES)
        _check_alone(name, value)
    return {name: value for name, value in given.items() if value not in ((), [])}


def typed(name: str, value: Any) -> Any:
    """Return the value of a parameter. Convert a text that spells a number or a Boolean."""
    if name in RANGES:
        return number_of(value, int)
    if name == "allowed_batch_sizes":
        sizes = [part for part in value.replace(",", " ").split() if part] if isinstance(value, str) else value
        return [number_of(size, int) for size in sizes] if isinstance(sizes, (list, tuple)) else value
    return number_of(value, bool) if name in ("pad_variable_length_inputs", "enable_large_batch_splitting") else value


def check_choice(batching: Any, where: str) -> Any:
    """Return how to batch a model: one of CHOICES, None, or a mapping (which is not checked yet). Raise FleetError for anything else."""
    if not (batching is None or isinstance(batching, dict) or isinstance(batching, str) and batching in CHOICES):
        raise FleetError(
            f"{batching!r} is not known; allowed: {', '.join(CHOICES)}, or a mapping of parameters", where=where
        )
    return batching


def with_room(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters whose queue can hold the largest request, if the queue was long enough but for the size of a batch."""
    size, rows = values.get("max_batch_size"), values.get("max_execution_batch_size")
    enqueued = values.get("max_enqueued_batches")
    if not (size and rows and enqueued):
        return dict(values)
    return {**values, "max_enqueued_batches": max(enqueued, -(-size // rows))}


def text(parameters: Parameters) -> str:
    """Return the text proto of the set parameters in the order of the fields. Scalars are in wrapper messages, as the server reads them."""
    return HEADER + writer.text([field for name in NAMES for field in _fields(name, getattr(parameters, name))])


def read(text: str) -> dict[str, Any] | None:
    """Return {parameter: value} of a text proto of BatchingParameters, or None if it is not one."""
    try:
        found = reader.read(text, schema.BATCHING, "batching")
    except FleetError:
        return None
    values: dict[str, Any] = {}
    for name, value in found:
        if name == "allowed_batch_sizes":
            values.setdefault(name, []).append(value)
        else:
            values[name] = dict(value).get("value", _UNSET.get(name, 0)) if isinstance(value, list) else value
    return values


def _fields(name: str, value: Any) -> Message:
    if name == "allowed_batch_sizes":
        return [(name, size) for size in value]
    return [] if value is None else [(name, value if name == "pad_variable_length_inputs" else [("value", value)])]


def _check_alone(name: str, value: Any) -> None:
    if name in RANGES:
        minimum, maximum, unit = RANGES[name]
        bounded(name, _whole(name, value), minimum, maximum, unit)
    elif name == "thread_pool_name":
        if not isinstance(value, str) or not POOL_NAME.fullmatch(value):
            raise FleetError(
                f"{value!r} is not a valid name for a thread pool; allowed: 1 to 64 letters, digits, '_', '.' and '-'",
                where=name,
            )
    elif name == "allowed_batch_sizes":
        if not isinstance(value, (list, tuple)):
            raise FleetError(f"{value!r} is not a list; allowed: whole numbers in increasing order", where=name)
        for size in value:
            bounded(name, _whole(name, size), *RANGES["max_batch_size"])
    elif not isinstance(value, bool):
        raise FleetError(f"{value!r} is neither true nor false", where=name)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FleetError(f"{value!r} is not a whole number", where=name)
    return value


def _check_splitting(parameters: Parameters) -> None:
    size, cap = parameters.max_batch_size, parameters.max_execution_batch_size
    if not parameters.enable_large_batch_splitting:
        if cap is not None:
            raise FleetError(
                f"{cap} has no effect without large batch splitting",
                where="max_execution_batch_size",
                remedy="Set enable_large_batch_splitting to true, or set max_batch_size alone.",
            )
        return
    if size is None:
        raise FleetError(
            "true needs max_batch_size; without max_batch_size, the server would execute batches of at most 0 rows",
            where="enable_large_batch_splitting",
            remedy="Set max_batch_size to the most rows that one request may have.",
        )
    if cap is not None and cap > size:
        raise FleetError(
            f"{cap} is larger than max_batch_size ({size}); allowed: 1 to {size}", where="max_execution_batch_size"
        )
    enqueued, rows = parameters.max_enqueued_batches or DEFAULT_MAX_ENQUEUED_BATCHES, cap or size
    if enqueued * rows < size:
        needed = -(-size // rows)
        of = "" if parameters.max_enqueued_batches else ", the server's default,"
        raise FleetError(
            f"{enqueued}{of} holds {enqueued * rows} rows in batches of {rows}, so a request of max_batch_size ({size}) rows would always be "
            f"answered UNAVAILABLE; allowed: {needed} or more",
            where="max_enqueued_batches",
        )


def _check_allowed_sizes(parameters: Parameters) -> None:
    allowed = list(parameters.allowed_batch_sizes)
    if not allowed:
        return
    if any(later <= earlier for earlier, later in zip(allowed, allowed[1:])):
        raise FleetError(
            f"{allowed} does not increase strictly, so the server would silently skip sizes",
            where="allowed_batch_sizes",
            remedy=f"Set it to {sorted(set(allowed))}.",
        )
    size = parameters.max_batch_size or DEFAULT_MAX_BATCH_SIZE
    if allowed[-1] != size:
        of = "" if parameters.max_batch_size else ", the server's default"
        raise FleetError(
            f"the last entry {allowed[-1]} is not max_batch_size ({size}{of}), so no model would load",
            where="allowed_batch_sizes",
            remedy=f"End the list with {size}, or set max_batch_size to {allowed[-1]}.",
        )
    cap = parameters.max_execution_batch_size
    if cap is not None and cap not in allowed:
        padded = next(entry for entry in allowed if entry > cap)
        raise FleetError(
            f"{cap} is not among allowed_batch_sizes {allowed}, so each full batch would be padded to {padded} rows",
            where="max_execution_batch_size",
            remedy=f"Choose one of them, or add {cap} to allowed_batch_sizes.",
        )
