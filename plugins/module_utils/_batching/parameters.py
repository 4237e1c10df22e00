# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BatchingParameters of TensorFlow Serving: the rules that its server applies late, by crashing, or not at all; and the text it reads.

A server loads what these functions let through: a value it would reject costs five minutes of retries with closed ports, or the whole process.
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

# What the server takes where the file says nothing.
DEFAULT_MAX_BATCH_SIZE = 1000
DEFAULT_MAX_ENQUEUED_BATCHES = 10

# minimum, maximum, unit. The maxima keep the server's own arithmetic (microseconds to nanoseconds, sizes in 32 bits, threads of a process) in range.
RANGES = {
    "max_batch_size": (1, 2**31 - 1, "rows"),
    "batch_timeout_micros": (0, 3_600_000_000, "microseconds"),
    "max_enqueued_batches": (1, 2**31 - 1, "batches"),
    "num_batch_threads": (1, 10_000, "threads"),
    "max_execution_batch_size": (1, 2**31 - 1, "rows"),
}
# What a wrapper message without a value holds, where that is not 0.
_UNSET = {"thread_pool_name": "", "enable_large_batch_splitting": False}
POOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Parameters:
    """What a file sets; None, and () for the allowed sizes, leave the server's own default. Sizes count rows, that is examples."""

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
        """All nine parameters by name; allowed_batch_sizes is a list, those not set are None."""
        return dict(asdict(self), allowed_batch_sizes=list(self.allowed_batch_sizes) or None)


NAMES = tuple(field.name for field in fields(Parameters))
# What may stand in the place of a model's own parameters: it is not batched, or as all are.
CHOICES = ("none", "auto")


def check(values: Mapping[str, Any]) -> Parameters:
    """Parameters of values ({name: value or None}); raise FleetError for the first that a server would reject, crash on or silently misuse."""
    given = given_of(values)
    parameters = Parameters(**dict(given, allowed_batch_sizes=tuple(given.get("allowed_batch_sizes", ()))))
    _check_splitting(parameters)
    _check_allowed_sizes(parameters)
    return parameters


def given_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """values without those that are None or empty, each right by itself; raise FleetError for the first unknown name or wrong value."""
    given = {name: typed(name, value) for name, value in values.items() if value is not None}
    for name, value in given.items():
        one_of("parameter", name, NAMES)
        _check_alone(name, value)
    return {name: value for name, value in given.items() if value not in ((), [])}


def typed(name: str, value: Any) -> Any:
    """The value of a parameter; a text that spells a number or a truth value as that."""
    if name in RANGES:
        return number_of(value, int)
    if name == "allowed_batch_sizes":
        sizes = [part for part in value.replace(",", " ").split() if part] if isinstance(value, str) else value
        return [number_of(size, int) for size in sizes] if isinstance(sizes, (list, tuple)) else value
    return number_of(value, bool) if name in ("pad_variable_length_inputs", "enable_large_batch_splitting") else value


def check_choice(batching: Any, where: str) -> Any:
    """Return how a model shall be batched: one of CHOICES, None, or a mapping, which is not checked yet. Raises FleetError for anything else."""
    if not (batching is None or isinstance(batching, dict) or isinstance(batching, str) and batching in CHOICES):
        raise FleetError(
            f"{batching!r} is not known; allowed: {', '.join(CHOICES)}, or a mapping of parameters", where=where
        )
    return batching


def text(parameters: Parameters) -> str:
    """The text proto of parameters: what is set, in the order of the fields; scalars in their wrapper messages, as the server reads them."""
    return HEADER + writer.text([field for name in NAMES for field in _fields(name, getattr(parameters, name))])


def read(text: str) -> dict[str, Any] | None:
    """{parameter: value} of a text proto of BatchingParameters; None where the text is not one."""
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
            "true needs max_batch_size; without it, the server would execute batches of at most 0 rows",
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
