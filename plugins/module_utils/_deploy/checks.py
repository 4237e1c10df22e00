# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that a candidate must pass before it replaces the current server: their names, requests and messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, tensors
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import VersionStatus
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import (
    INTERNAL,
    Signatures,
    describe,
    lost,
)

COMPATIBLE, RUNNING, AVAILABLE, PREDICT, GPU, SIGNATURE, AGREEMENT, MALFORMED = (
    "compatible with this host",
    "running",
    "available",
    "answers",
    "uses its GPU",
    "same signature",
    "agrees with the reference",
    "survives malformed requests",
)

NO_ROWS = "no rows"
# For each dtype, another one that a client could send by mistake.
_OTHER_DTYPE = {"float32": "float64", "float64": "float32", "int64": "int32", "int32": "int64", "string": "float32"}
ONEDNN_REMEDY = (
    'Set TF_ENABLE_ONEDNN_OPTS: "0" in environment, so that TensorFlow rejects such a request, or accept the risk with '
    "accept_fragile: true."
)
PADDING_REMEDY = (
    "Leave pad_variable_length_inputs out of the batching parameters, or accept the risk with accept_fragile: true and keep "
    "malformed requests away."
)
FRAGILE_REMEDY = "Fix the model, or accept the risk with accept_fragile: true and keep malformed requests away."


def closed(check: str, what: str, where: str | None = None, remedy: str | None = None) -> FleetError:
    """Return the FleetError of a check that failed."""
    return FleetError(f'check "{check}" failed: {what}', where=where, remedy=remedy)


def is_loading(statuses: Sequence[VersionStatus], wanted: Sequence[int]) -> bool:
    """Return whether versions that are not AVAILABLE may still become so: a server answers as soon as the newest version of each model is loaded."""
    return not any(one["state"] == grpc_api.END for one in statuses if one["version"] in wanted)


def unavailable(statuses: Sequence[VersionStatus], wanted: Sequence[int]) -> str | None:
    """Return what is wrong with a model's versions, or None. statuses: of the server. wanted: version numbers."""
    found = {one["version"]: one for one in statuses}
    for version in wanted:
        if version not in found:
            return (
                f"version {version} is not known to the server; known: {', '.join(map(str, sorted(found))) or 'none'}"
            )
        if found[version]["state"] != grpc_api.AVAILABLE:
            return f"version {version} is not AVAILABLE: {found[version]['error_message'] or 'still loading'}"
    return None


def changed_signature(before: Signatures, after: Signatures) -> list[str]:
    """Return sentences about changes that clients of the earlier signatures would notice."""
    found = [f"the signature {name} is missing" for name in lost(before, after)]
    for name, one in sorted(before.items()):
        if name not in after or name in INTERNAL:
            continue
        for side in ("inputs", "outputs"):
            was, now = one[side], after[name][side]
            for key in sorted(set(was) | set(now)):
                if was.get(key) != now.get(key):
                    found.append(f"{name}.{side}.{key}: {_tensor(was.get(key))} became {_tensor(now.get(key))}")
    return found


def made_up(inputs: Mapping[str, Any]) -> dict[str, tensors.Tensor] | None:
    """Return {name: Tensor} of one example for a signature's inputs, or None if a rank or a dtype is too open."""
    made = {}
    for name, one in inputs.items():
        tensor = (
            tensors.filled(one["dtype"], [size or 1 for size in one["shape"]]) if one["shape"] is not None else None
        )
        if tensor is None:
            return None
        made[name] = tensor
    return made


def malformed(inputs: Mapping[str, Any], good: dict[str, tensors.Tensor]) -> list[tuple[str, dict[str, Any]]]:
    """Return malformed requests as [(what, {name: Tensor})]. inputs: of the signature. good: a valid request."""
    found: list[tuple[str, dict[str, Any]]] = []
    name = next((key for key in sorted(inputs) if inputs[key]["shape"]), None)
    if name is None:
        return found
    shape, tensor = list(good[name].shape), good[name]
    wrong: list[tuple[str, tensors.Tensor | None]] = []
    if len(shape) > 1:
        wrong.append(("a rank that is too low", tensor.reshaped([*shape[:-2], shape[-2] * shape[-1]])))
    if len(shape) > 2:
        wrong.append(("rank 1", tensor.reshaped([math.prod(shape)])))
    wrong.append(("a rank that is too high", tensor.reshaped([*shape, 1])))
    wrong.append(("another dtype", tensors.filled(_OTHER_DTYPE.get(tensor.dtype, "float32"), shape)))
    found += [(what, dict(good, **{name: one})) for what, one in wrong]
    if all(one["shape"] and one["shape"][0] is None for one in inputs.values()):
        empty = {
            key: tensors.Tensor(one.dtype, (0, *one.shape[1:]), () if one.dtype == "string" else b"")
            for key, one in good.items()
        }
        found.append((NO_ROWS, empty))
    return found


def _tensor(one: Any) -> str:
    return f"{one['dtype']} {describe(one['shape'])}" if one else "nothing"
