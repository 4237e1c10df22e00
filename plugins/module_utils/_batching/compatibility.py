# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide from its signatures whether a server may batch requests to a model.

Batching joins the rows of several requests along the first dimension, and splits the outputs along theirs.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import (
    INTERNAL,
    Shape,
    Signatures,
    describe,
    sides,
)

PADDABLE_RANKS = range(1, 7)
LEAVE_OUT = "Serve this model without batching, or export it with an unknown first dimension"


def well_formed(signatures: Any) -> Signatures:
    """Return signatures. Raise FleetError if they are malformed."""
    try:
        tensors = [
            tensor
            for signature in signatures.values()
            for kind in ("inputs", "outputs")
            for tensor in signature[kind].values()
        ]
        sound = all(isinstance(tensor["dtype"], str) and _is_shape(tensor["shape"]) for tensor in tensors)
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise FleetError(
            "it does not have the structure of a model's signatures (dtype and shape of each input and output, null for an unknown dimension)",
            where="signatures",
            remedy="Pass what tfserving.fleet.saved_model_info returned.",
        )
    sound_signatures: Signatures = signatures
    return sound_signatures


def judge(signatures: Signatures, pad_variable_length_inputs: bool | None = None) -> tuple[list[FleetError], list[str]]:
    """Return (faults, warnings) of batching a model.

    pad_variable_length_inputs: the parameter; None if it is not set. faults: FleetErrors, one for each tensor that
    makes batched requests fail. warnings: texts about what the signatures leave open.
    """
    faults: list[FleetError] = []
    warnings: list[str] = []
    for signature, tensors in sorted(signatures.items()):
        if signature in INTERNAL:
            continue
        if not tensors["inputs"]:
            faults.append(
                FleetError(
                    "it has no input whose rows can be joined",
                    where=f"signature {signature}",
                    remedy="Serve this model without batching.",
                )
            )
        for kind, held in sides(tensors):
            for name, tensor in sorted(held.items()):
                where, shape = f"signature {signature}, {kind} {name}", tensor["shape"]
                faults += filter(None, [_first_dimension_fault(where, kind, shape)])
                if shape is None:
                    warnings.append(f"{where}: its rank is unknown; batching fails at run time if it has no dimension")
                elif kind == "input" and None in shape[1:]:
                    fault, warning = _variable_length(where, shape, pad_variable_length_inputs)
                    faults += filter(None, [fault])
                    warnings += filter(None, [warning])
    return faults, warnings


def _is_shape(shape: Any) -> bool:
    return shape is None or (isinstance(shape, list) and all(map(_is_dimension, shape)))


def _is_dimension(size: Any) -> bool:
    return size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 0)


def _first_dimension_fault(where: str, kind: str, shape: Shape) -> FleetError | None:
    if shape == []:
        what = "it is a scalar; batching needs a first dimension to " + (
            "join requests" if kind == "input" else "split answers"
        )
        return FleetError(what, where=where, remedy=f"{LEAVE_OUT}.")
    if shape and shape[0] is not None:
        what = f"its first dimension is always {shape[0]}; " + (
            "joined requests would have more rows" if kind == "input" else "answers cannot be split"
        )
        return FleetError(what, where=where, remedy=f"{LEAVE_OUT}.")
    return None


def _variable_length(where: str, shape: list[int | None], padding: bool | None) -> tuple[FleetError | None, str | None]:
    """Return (fault, warning) for an input whose examples may differ in shape."""
    if padding is None:
        return FleetError(
            f"shape {describe(shape)} can vary between examples; if a batch contains different shapes, all its requests fail",
            where=where,
            remedy="Set pad_variable_length_inputs to true if the model ignores padding (copies of the tensor's first element), "
            "to false if all requests have the same shape, or serve this model without batching.",
        ), None
    if not padding:
        return None, (
            f"{where}: shape {describe(shape)} can vary and pad_variable_length_inputs is false; "
            "if a batch contains different shapes, all its requests fail"
        )
    if len(shape) not in PADDABLE_RANKS:
        return FleetError(
            f"it has rank {len(shape)}; the server pads only ranks 1 to 6",
            where=where,
            remedy="Serve this model without batching.",
        ), None
    return (
        None,
        f"{where}: shorter examples are padded with copies of the tensor's first element; the model must ignore padding",
    )
