# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose safe start values for batching on a host, each with a reason. Only a measurement shows the best values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import (
    DEFAULT_MAX_BATCH_SIZE,
    given_of,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import validation
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import DTYPES
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signatures, TensorInfo

Choice = tuple[Any, str]  # A value and the reason for it.
GOALS = ("online", "bulk")

# (has a GPU, goal) -> rows per executed batch, microseconds that a batch waits for more rows. The ranges are those of
# upstream's batching guide: on a CPU no waiting or a few ms, on a GPU hundreds to thousands of rows and a few ms.
_EXECUTED = {
    (False, "online"): (32, 0),
    (False, "bulk"): (256, 1_000),
    (True, "online"): (128, 1_000),
    (True, "bulk"): (1_024, 5_000),
}
# At least the server's limit without a file, so that batching does not refuse requests that worked before.
_LARGEST_REQUEST = 1_024
_SIZE_NAMES = ("max_batch_size", "allowed_batch_sizes", "enable_large_batch_splitting", "max_execution_batch_size")
_BULK_QUEUE = 1_000
_BULK_QUEUE_UNKNOWN = 100
_BULK_MEMORY_SHARE = 8


def start_values(
    capabilities: Mapping[str, Any],
    goal: str,
    given: Mapping[str, Any] | None = None,
    signatures: Signatures | None = None,
) -> dict[str, Choice]:
    """Return {name: (value, reason)} of the parameters to set in addition to the given ones. Raise FleetError for an invalid given parameter.

    The result is valid together with the given parameters if these are. capabilities: of the host, for cpu.usable, gpus
    and memory.usable_mib. goal: 'online' (latency) or 'bulk' (throughput). given: the user's parameters ({name: value
    or None}). signatures: of the model, for the size of a row, or None.
    """
    one_of("goal", goal, GOALS)
    given = given_of(given or {})
    usable, gpu, memory_mib = _read(capabilities)
    threads = given.get("num_batch_threads", max(1, math.floor(usable)))
    batch, timeout = _EXECUTED[gpu, goal]
    chosen = dict(_sizes(given, batch, gpu, goal))
    sizes = dict({name: value for name, (value, _reason) in chosen.items()}, **given)
    chosen["batch_timeout_micros"] = timeout, _timeout_reason(timeout)
    chosen["num_batch_threads"] = (
        threads,
        (
            f"one batch at a time for each usable CPU ({usable:g}), over all models; "
            "the server itself would ignore a CPU quota"
        ),
    )
    chosen["max_enqueued_batches"] = _queue(sizes, threads, goal, memory_mib, signatures)
    return {name: choice for name, choice in chosen.items() if name not in given}


def _read(capabilities: Mapping[str, Any]) -> tuple[float, bool, float | None]:
    """Return (usable CPUs, whether a GPU computes, usable memory in MiB or None)."""
    validation.check(capabilities, "capabilities")
    if not {"cpu", "gpus", "memory"} <= set(capabilities):
        raise FleetError(
            "cpu.usable, gpus and memory.usable_mib are needed",
            where="capabilities",
            remedy="Pass what tfserving.fleet.capability_facts returned.",
        )
    cpu, memory = (capabilities[key] or {} for key in ("cpu", "memory"))
    computing = [gpu for gpu in capabilities["gpus"] or () if gpu.get("driver") == "nvidia"]
    return cpu.get("usable") or 1, bool(computing), memory.get("usable_mib")


def _sizes(given: Mapping[str, Any], batch: int, gpu: bool, goal: str) -> Iterator[tuple[str, Choice]]:
    """Return the size parameters that are not given. If the user gives sizes, requests are not split, so that the sizes keep their plain meaning."""
    allowed = given.get("allowed_batch_sizes")
    size = given.get("max_batch_size") or (allowed[-1] if allowed else _largest_request(**given))
    if allowed:
        yield "max_batch_size", (size, "the server requires it to equal the last of allowed_batch_sizes")
    else:
        yield (
            "max_batch_size",
            (size, f"the most rows of one request; at least the server's default ({DEFAULT_MAX_BATCH_SIZE})"),
        )
    splitting = given.get("enable_large_batch_splitting")
    if not any(name in given for name in _SIZE_NAMES):
        splitting = True
        yield (
            "enable_large_batch_splitting",
            (True, "large requests are split, so the limit for requests can exceed the size of a batch"),
        )
    if splitting:
        rows = _executed_rows(batch, size, allowed, given.get("max_enqueued_batches", size))
        yield (
            "max_execution_batch_size",
            (
                rows,
                f"rows executed at once on a {'GPU' if gpu else 'CPU'}, goal {goal}: enough for a gain, "
                "few enough to limit time and memory",
            ),
        )


def _largest_request(
    max_execution_batch_size: int = 0, max_enqueued_batches: int = _LARGEST_REQUEST, **_others: Any
) -> int:
    """Return the default for the rows of the largest request: at least one batch, and at most what the queue can hold."""
    return min(
        max(_LARGEST_REQUEST, max_execution_batch_size),
        (max_execution_batch_size or _LARGEST_REQUEST) * max_enqueued_batches,
    )


def _executed_rows(batch: int, size: int, allowed: Sequence[int] | None, enqueued: int) -> int:
    """Return the allowed number of rows nearest to batch with which the queue can hold a request of size rows."""
    fewest = math.ceil(size / enqueued)
    most = min(size, max(batch, fewest))
    fitting = [rows for rows in allowed or [most] if rows >= fewest]
    return max((rows for rows in fitting if rows <= most), default=fitting[0] if fitting else most)


def _timeout_reason(timeout: int) -> str:
    if timeout == 0:
        return "on a CPU, waiting seldom helps: batches form from requests that queue while others run, and a single client does not wait"
    return f"a batch waits {timeout / 1000:g} ms for more rows; a single client waits that long on every request"


def _queue(
    sizes: Mapping[str, Any], threads: int, goal: str, memory_mib: float | None, signatures: Signatures | None
) -> tuple[int, str]:
    """Return (max_enqueued_batches, reason) of each queue. There is one for each signature of each loaded version."""
    executed = sizes.get("max_execution_batch_size") or sizes["max_batch_size"]
    for_one_request = math.ceil(sizes["max_batch_size"] / executed)
    least = max(threads, for_one_request, 2)
    if goal == "online":
        return (
            least,
            "about one for each batch thread and enough for the largest request: more would only wait; beyond it, clients get UNAVAILABLE at once",
        )
    of_row = row_bytes(signatures or {})
    if of_row is None or memory_mib is None:
        unknown = "the size of a row" if of_row is None else "the memory"
        return max(
            least, _BULK_QUEUE_UNKNOWN
        ), f"generous, for clients that keep many requests in flight; {unknown} is unknown"
    fitting = int(memory_mib * 2**20 / _BULK_MEMORY_SHARE // (executed * of_row))
    return max(least, min(_BULK_QUEUE, fitting)), (
        f"generous, for clients that keep many requests in flight; full queues of {of_row} bytes a row stay "
        f"below one part in {_BULK_MEMORY_SHARE} of the usable memory, or hold the largest request"
    )


def row_bytes(signatures: Signatures) -> int | None:
    """Return the bytes of one example over all inputs, of the largest signature, or None if a shape or type is open."""
    sizes = [
        [_tensor_bytes(tensor) for tensor in signature["inputs"].values()]
        for signature in signatures.values()
        if signature["inputs"]
    ]
    known = [sum(size for size in signature if size is not None) for signature in sizes if None not in signature]
    return max(known) if known and len(known) == len(sizes) else None


def _tensor_bytes(tensor: TensorInfo) -> int | None:
    dtype = DTYPES.get(tensor["dtype"])
    if tensor["shape"] is None or None in tensor["shape"][1:] or not dtype or not dtype.size:
        return None
    return max(1, math.prod(size for size in tensor["shape"][1:] if size is not None) * dtype.size)
