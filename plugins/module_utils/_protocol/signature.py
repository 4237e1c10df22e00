# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of models: their types, which one to use, and how samples go into its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf

UNSET_REMEDY = "Export a Keras model with model.export(directory); keep each variable of a tf.Module in an attribute of the module."
XLA_FLAG = "xla_cpu_compilation_enabled"
XLA_REMEDY = f"Set {XLA_FLAG}: true in tfserving_flags (2.5.1 or later), or export it without jit_compile."
COMPOSITE_REMEDY = (
    "Return its parts instead, .values and .row_lengths() of a ragged tensor, .indices, .values and .dense_shape of a sparse one, or a dense "
    "tensor: .to_tensor(), tf.sparse.to_dense()."
)
NO_SIGNATURE = (
    "it has no signature that clients can call, so every request fails. Export it with one: tf.saved_model.save(model, directory, "
    "signatures=model.__call__.get_concrete_function(tf.TensorSpec([None, ...], tf.float32)))."
)
INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")


# None for an unknown dimension, [] of a scalar; None of a tensor whose rank is unknown.
Shape = Optional[list[Optional[int]]]
# (rows, squeezed): the rows that every request must have, or None if any number works; the names of inputs without a batch
# dimension, which get an example without its first axis, so that a request holds one example.
Feeding = tuple[Optional[int], set[str]]


class _Tensor(TypedDict):
    dtype: str
    shape: Shape


class TensorInfo(_Tensor, total=False):
    """An input or an output. tensor: its name in the graph. composite, components: kind and tensors of a composite tensor, which no server supports.

    values_below: how many rows the smallest table has of which the values of an input select rows.
    """

    tensor: str
    values_below: int
    composite: str
    components: list[str]


class _Sides(TypedDict):
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


class Signature(_Sides, total=False):
    """What clients can call. unset_variables: those that it reads and no server restores. needs_xla: only XLA can compile a part of it."""

    method_name: str
    unset_variables: list[str]
    needs_xla: bool


Signatures = Mapping[str, Signature]


def sides(signature: Signature) -> tuple[tuple[str, dict[str, TensorInfo]], ...]:
    """Return ("input", its inputs), ("output", its outputs)."""
    return ("input", signature["inputs"]), ("output", signature["outputs"])


def lost(before: Signatures, after: Signatures) -> list[str]:
    """Return the names of the signatures that clients could call before and cannot call after. Another name for a remaining signature is not lost."""

    def face(signature: Signature) -> list[dict[str, tuple[str, Shape]]]:
        return [
            {name: (tensor["dtype"], tensor["shape"]) for name, tensor in tensors.items()}
            for _side, tensors in sides(signature)
        ]

    kept = [face(one) for one in after.values()]
    return sorted(name for name, one in before.items() if name not in (*after, *INTERNAL) and face(one) not in kept)


def chosen(signatures: Signatures, name: str, where: str = "signature") -> Signature:
    """Return the signature of that name. Raise FleetError with the available names."""
    if name not in signatures:
        known = ", ".join(sorted(signatures)) or "none"
        raise FleetError(
            f"the model has no signature {name!r}; it has: {known}{did_you_mean(name, signatures)}", where=where
        )
    return signatures[name]


def feeding(inputs: Mapping[str, TensorInfo], shapes: Mapping[str, Sequence[int]], where: str = "samples") -> Feeding:
    """Return how samples go into requests. shapes: of the sample arrays, whose first axis counts examples. Raise FleetError if names or shapes do not fit."""
    missing, foreign = sorted(set(inputs) - set(shapes)), sorted(set(shapes) - set(inputs))
    if missing or foreign:
        faults = [f"missing: {', '.join('inputs.' + name for name in missing)}"] * bool(missing)
        faults += [f"unknown: {', '.join('inputs.' + name for name in foreign)}"] * bool(foreign)
        raise FleetError(
            f"the samples do not fit the signature's inputs ({', '.join(sorted(inputs))}); {'; '.join(faults)}",
            where=where,
        )
    squeezed: set[str] = set()
    fixed: dict[str, int] = {}
    for name, tensor in inputs.items():
        shape, given = tensor["shape"], shapes[name]
        if shape is None:
            continue
        if len(given) == len(shape) + 1:
            squeezed.add(name)
            example, expected = given[1:], shape
        else:
            example, expected = given[1:], shape[1:]
            if shape and shape[0] is not None:
                fixed[name] = shape[0]
        if len(example) != len(expected) or any(size not in (None, found) for size, found in zip(expected, example)):
            raise FleetError(
                f"inputs.{name} has shape {list(given)}; the signature takes {describe(shape)} with examples along the first axis",
                where=where,
            )
    if squeezed and any(size != 1 for size in fixed.values()):
        raise FleetError(
            "inputs with a fixed number of rows and inputs without rows cannot be sent one example at a time",
            where=where,
        )
    if len(set(fixed.values())) > 1:
        raise FleetError(
            f"the signature's inputs have different fixed numbers of rows: {', '.join(f'{name} {size}' for name, size in sorted(fixed.items()))}",
            where=where,
        )
    return (1 if squeezed else next(iter(fixed.values()), None)), squeezed


def problems(signatures: Signatures | None, xla_remedy: str = XLA_REMEDY) -> list[str]:
    """Return sentences about why every request to these signatures fails. signatures: of a model, None if they are not known."""
    if signatures is None:
        return []
    found = [] if set(signatures) - set(INTERNAL) else [NO_SIGNATURE]
    found += [
        f"signature {name}: {problem}"
        for name, problem in ((name, composite(one)) for name, one in sorted(signatures.items()))
        if problem
    ]
    compiled = sorted(name for name, signature in signatures.items() if signature.get("needs_xla"))
    if compiled:
        found.append(
            f"signature {', '.join(compiled)}: only XLA can compile it (jit_compile=True), and servers disable XLA, so every request fails with "
            f'"XLA compilation disabled". {xla_remedy}'
        )
    return found


def faults(signatures: Signatures | None) -> list[str]:
    """Return sentences about why requests to these signatures fail."""
    return problems(signatures) + [
        f"signature {name}: {unset(one)}" for name, one in sorted((signatures or {}).items()) if unset(one)
    ]


def refusal(signatures: Signatures, name: str) -> str | None:
    """Return why a model is not published, or None: the named signature (or any, if that does not exist) reads what loading does not restore."""
    meant = {name: signatures[name]} if name in signatures else signatures
    return next((f"signature {one}: {unset(meant[one])}" for one in sorted(meant) if unset(meant[one])), None)


def composite(signature: Signature) -> str | None:
    """Return a sentence about the first input or output that is a composite tensor, or None."""
    for side, tensors in sides(signature):
        for key, tensor in sorted(tensors.items()):
            if "components" in tensor:
                return f"{side} {key} is a {tensor['composite']}, which no server takes or returns, so every request fails. {COMPOSITE_REMEDY}"
    return None


def unset(signature: Signature) -> str | None:
    """Return a sentence about variables that a signature reads and that no server restores, or None."""
    names = signature.get("unset_variables")
    if not names:
        return None
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f'it reads {shown}, which loading the model does not restore, so every request fails ("Could not find variable"). {UNSET_REMEDY}'


def shape_of(message: protobuf.Buffer) -> Shape:
    """Return the shape of a TensorShapeProto."""
    shape = protobuf.grouped(message)
    sizes = [protobuf.signed(protobuf.last(protobuf.grouped(dim), 1, 0)) for dim in shape.get(2, [])]
    return None if protobuf.last(shape, 3, 0) else [None if size < 0 else size for size in sizes]


def describe(shape: Shape) -> str:
    """Return a shape as text: [?, 8, 8, 1]; "any shape" where the rank is unknown."""
    return "any shape" if shape is None else "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
