# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read files of samples: NumPy archives with inputs.<name> for each input and, if labeled, labels; or what sample_files reads."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import bounded_archives
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files, parity, sample_files
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import text_arrays
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import Arrays
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Feeding, TensorInfo

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

Tensors = Mapping[str, TensorInfo]
Ask = Callable[[Arrays], dict[str, Array]]  # A model: a function from the arrays of one request to its outputs.
_ARRAY = b"\x93NUMPY"
_INPUTS, _LABELS = "inputs.", "labels"
_MOST_ANSWERS, _MOST_BYTES = 256, 4 << 20
_MOST_WARM_UP = 1 << 30  # A message can contain at most 2 GiB.


def read(
    path: str,
    limit: int | None = None,
    metric: str | None = None,
    tensors: Tensors | None = None,
    signature: str = "serving_default",
) -> tuple[dict[str, Array], Array | None]:
    """Return ({name: array}, labels or None) of a file of samples. The first axis counts examples, at most limit of them.

    metric: what to compute on them, if anything; only the user's own function works without labels. tensors: the inputs
    of the signature, {name: {dtype, shape}}; files other than NumPy archives are read according to them. Raise
    FleetError for a file that is missing, of another kind, without inputs or examples, whose arrays have different
    numbers of examples, or that lacks labels for the metric.
    """
    arrays = _arrays(path, tensors or {}, signature)
    inputs = {name[len(_INPUTS) :]: array for name, array in arrays.items() if name.startswith(_INPUTS)}
    if not inputs:
        raise FleetError(
            f"it has no arrays inputs.<name>; it has: {', '.join(sorted(arrays)) or 'nothing'}",
            where=path,
            remedy="Save one array for each input, named inputs.<name>, with examples along the first axis.",
        )
    labels = arrays.get(_LABELS)
    if metric not in (None, "function") and labels is None:
        raise FleetError(
            "it has no labels",
            where=path,
            remedy=f"Save an array named labels for the metric {metric}, or leave metric out.",
        )
    counted = dict(inputs, **({} if labels is None else {_LABELS: labels}))
    counts = {name: len(array) if array.ndim else None for name, array in counted.items()}
    if len(set(counts.values())) > 1 or None in counts.values():
        raise FleetError(
            "its arrays have different numbers of examples: "
            + ", ".join(f"{name} {count or 'none'}" for name, count in sorted(counts.items())),
            where=path,
        )
    if 0 in counts.values():
        raise FleetError("it has no examples", where=path)
    return {name: array[:limit] for name, array in inputs.items()}, None if labels is None else labels[:limit]


def _arrays(path: str, tensors: Tensors, signature: str) -> dict[str, Array]:
    """Return the content of a file of any kind with the names of an archive."""
    _need_numpy()
    kind = sample_files.kind_of(model_files.read_file(path, sample_files.HEAD))
    if kind == "archive":
        return archive(path, "not {}, TFRecords, or JSON lines")
    content = model_files.read_file(path)
    held = (
        sample_files.from_lines(content, path)
        if kind == "lines"
        else sample_files.from_records(content, path, tensors, signature)
    )
    return {name if name == _LABELS else _INPUTS + name: array for name, array in held.items()}


def outputs(path: str) -> dict[str, Array]:
    """Return {name: array} of the outputs.<name> of a NumPy archive. Raise FleetError as read() does."""
    found = {name[len("outputs.") :]: array for name, array in archive(path).items() if name.startswith("outputs.")}
    if not found:
        raise FleetError(
            "it has no arrays outputs.<name>",
            where=path,
            remedy="Save one array for each output, named outputs.<name>.",
        )
    return found


def archive(path: str, unlike: str = "not {}") -> dict[str, Array]:
    """Return {name: array} of a NumPy archive, with strings as object arrays of bytes. Raise FleetError.

    unlike: how the message describes a file of another kind; {} is an archive.
    """
    _need_numpy()
    try:
        if model_files.read_file(path, len(_ARRAY)) == _ARRAY:
            raise ValueError("it is a single array")
        with bounded_archives.arrays(path) as reading:
            held = {name: _array(read()) for name, read in reading.items()}
        return {name: _plain(array, held.get(text_arrays.LENGTHS + name)) for name, array in held.items()}
    except FleetError:
        raise
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror or fault}", where=path) from fault
    except (
        Exception
    ) as fault:  # NumPy reads headers with parts of Python's own parser, and raises whatever these raise.
        words = "" if "pickle" in str(fault) else f": {fault}"  # NumPy advises this only for trusted files.
        raise FleetError(
            unlike.format("a NumPy archive (.npz) of plain arrays") + words,
            where=path,
            remedy="Write it with numpy.savez; strings as arrays of bytes (dtype S) or text, never as objects.",
        ) from fault


def _array(content: bytes) -> Array:
    """Return an array of an archive. The sizes in its header are compared with its data first, because NumPy allocates memory for them."""
    stream = io.BytesIO(content)
    header = numpy.lib.format
    first = header.read_magic(stream) == (1, 0)
    shape, _fortran, dtype = (header.read_array_header_1_0 if first else header.read_array_header_2_0)(stream)
    there = len(content) - stream.tell()
    if not dtype.hasobject and (math.prod(shape) * dtype.itemsize != there or math.prod(shape) > len(content)):
        raise ValueError(f"its header says {shape} of {dtype}, but its data has another size")
    return numpy.load(io.BytesIO(content), allow_pickle=False)


def _need_numpy() -> None:
    if numpy is None:
        raise FleetError(
            "the Python package numpy is missing",
            where="samples",
            remedy="Install it for the Python that the option python sets.",
        )


def _plain(array: Array, lengths: Array | None = None) -> Array:
    if array.dtype.kind == "U":
        return numpy.char.encode(array, "utf-8").astype(object)
    if array.dtype.kind != "S":
        return array
    if lengths is None:
        return array.astype(object)
    if lengths.shape != array.shape or lengths.dtype.kind not in "iu":
        raise ValueError("lengths of texts must be whole numbers in an array of the same shape")
    return sample_files.objects(text_arrays.cut(array.tobytes(), array.dtype.itemsize, lengths.ravel())).reshape(
        array.shape
    )


def fit(inputs: Arrays, tensors: Tensors, where: str = "samples") -> dict[str, Array]:
    """Return inputs with the dtypes of a signature's inputs ({name: {dtype}}). Raise FleetError for a dtype of another kind."""
    fitted = {}
    for name, array in inputs.items():
        wanted = tensors[name]["dtype"]
        if (wanted == "string") != (array.dtype == object):
            raise FleetError(
                f"inputs.{name} has the type {array.dtype}, but the signature expects {wanted}", where=where
            )
        if array.dtype.kind in "iu" and numpy.dtype(numpy.sctypeDict.get(wanted, "V")).kind in "biu":
            array = _whole(name, array, wanted, where)
        elif wanted in numpy.sctypeDict and wanted != "string":
            if not numpy.can_cast(array.dtype, wanted, "same_kind"):
                raise FleetError(
                    f"inputs.{name} has the type {array.dtype}, but the signature expects {wanted}", where=where
                )
            array = array.astype(wanted)
        fitted[name] = array
    return fitted


def _whole(name: str, array: Array, wanted: str, where: str) -> Array:
    """Return integers in the desired type. Raise FleetError if it cannot represent all of them."""
    lowest, highest = (0, 1) if wanted == "bool" else (numpy.iinfo(wanted).min, numpy.iinfo(wanted).max)
    found = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if found[0] < lowest or found[1] > highest:
        raise FleetError(
            f"inputs.{name} has values from {found[0]} to {found[1]}, but the signature expects {wanted} ({lowest} to {highest})",
            where=where,
        )
    return array.astype(wanted)


def synthetic(tensors: Tensors, examples: int) -> dict[str, Array] | None:
    """Return generated values for a signature's inputs, always the same, or None if a rank or a dtype is too open."""
    random, inputs = numpy.random.default_rng(0), {}
    for name, tensor in sorted(tensors.items()):
        if tensor["shape"] is None:
            return None
        batched = bool(tensor["shape"]) and tensor["shape"][0] is None
        shape = [examples] + [size or 1 for size in tensor["shape"][1 if batched else 0 :]]
        kind = (
            "S"
            if tensor["dtype"] == "string"
            else numpy.dtype(tensor["dtype"]).kind
            if tensor["dtype"] in numpy.sctypeDict
            else None
        )
        if kind == "S":
            inputs[name] = numpy.full(shape, b"text", object)
        elif kind in ("i", "u", "b"):
            inputs[name] = random.integers(0, 2, shape).astype(tensor["dtype"])
        elif kind in ("f", "c"):
            inputs[name] = random.standard_normal(shape).astype(tensor["dtype"])
        else:
            return None
    return inputs


def answers(predict: Ask, inputs: Arrays, feeding: Feeding, batch: int) -> tuple[int, dict[str, Array]]:
    """Return (number of examples, {name: array}) of a model over samples.

    predict: a function from {name: array} to {name: array}. feeding: (rows, squeezed) of signature.feeding. batch: rows
    of a request if any number works. Examples that do not fill a request with fixed rows are left out. Outputs have
    examples along the first axis if the model answers one row for each, or else one entry for each request.
    """
    rows, squeezed = feeding
    total = len(next(iter(inputs.values())))
    step = rows or batch
    if rows and total < rows:
        raise FleetError(
            f"the signature expects {rows} rows in each request, but there are {total} samples", where="samples"
        )
    asked = total - total % rows if rows else total
    parts: dict[str, list[Array]] = {}
    sizes = []
    for start in range(0, asked, step):
        end = min(start + step, asked)
        answer = predict(
            {name: array[start] if name in squeezed else array[start:end] for name, array in inputs.items()}
        )
        sizes.append(end - start)
        for name, array in answer.items():
            parts.setdefault(name, []).append(numpy.asarray(array))
    return asked, {name: _joined(arrays, sizes) for name, arrays in parts.items()}


def _joined(arrays: Sequence[Array], sizes: Sequence[int]) -> Array:
    if all(array.ndim and len(array) == size for array, size in zip(arrays, sizes)):
        if len({array.shape[1:] for array in arrays}) == 1:
            return numpy.concatenate(arrays)
    if len({array.shape for array in arrays}) == 1:
        return numpy.stack(arrays)
    return numpy.concatenate([array.ravel() for array in arrays])


def write_answers(
    path: str,
    inputs: Arrays,
    reference: Arrays,
    answered: Arrays,
    rows: int | None = None,
    labels: Array | None = None,
    measure: Callable[[Arrays, Array | None], float] | None = None,
) -> None:
    """Write an archive for the hosts that will serve a converted variant: inputs, the source's answers, and the variant's difference for each output.

    The difference is agreement.Distance's tolerance, as a deployment measures it. rows: those of each request if the
    signature fixes them; the archive then contains whole requests. labels, measure: if a metric was evaluated, the
    labels, if any, and a function of ({name: array}, labels) that returns its value. The archive contains them and both
    models' values over these examples, unless there are too few. Nothing is written if an output does not have a row
    for each example, or for types that such an archive cannot contain unchanged.
    """
    given = [] if labels is None else [labels]
    examples, arrays = len(next(iter(inputs.values()))), [*inputs.values(), *reference.values(), *given]
    if any(not array.ndim or len(array) != examples for array in reference.values()) or not all(map(_keeps, arrays)):
        return
    size = sum(array.nbytes for array in arrays) // examples
    few = min(examples, _MOST_ANSWERS, max(1, _MOST_BYTES // max(1, size)))
    few = max(rows, few - few % rows) if rows else few
    left = {
        f"tolerance.{name}": numpy.float32(parity.distance(array[:few], answered[name][:few]).tolerance)
        for name, array in reference.items()
    }
    if measure:
        held = None if labels is None else labels[:few]
        with contextlib.suppress(FleetError):
            figures = {
                f"metric.{name}": numpy.float64(measure({key: array[:few] for key, array in outputs.items()}, held))
                for name, outputs in (("before", reference), ("after", answered))
            }
            if all(map(numpy.isfinite, figures.values())):
                left.update(figures, **({} if held is None else {_LABELS: held}))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _save(
        path,
        left,
        {name: array[:few] for name, array in inputs.items()},
        {name: array[:few] for name, array in reference.items()},
    )


def _keeps(array: Array) -> bool:
    """Return whether an array contains plain numbers or texts."""
    if array.dtype == object:
        return all(isinstance(one, bytes) for one in array.ravel())
    return array.dtype.kind in "biu" or array.dtype in ("float32", "float64")


def write(path: str, inputs: Arrays, labels: Array | None, reference: Arrays) -> None:
    """Write an archive of the inputs and the source's answers: inputs.<name>, labels, outputs.<name>; strings as fixed-length bytes, and their lengths."""
    _save(path, {} if labels is None else {_LABELS: labels}, inputs, reference)


def _save(path: str, arrays: dict[str, Array], inputs: Arrays, reference: Arrays) -> None:
    arrays.update(
        {_INPUTS + name: array for name, array in inputs.items()},
        **{f"outputs.{name}": array for name, array in reference.items()},
    )
    held = {name: array for name, array in arrays.items() if array.dtype == object}
    stored: dict[str, Any] = {
        text_arrays.LENGTHS + name: numpy.reshape([len(text) for text in array.ravel()], array.shape)
        for name, array in held.items()
    }
    stored.update(
        {
            name: array.astype("S") if array.dtype == object else numpy.asarray(array, order="C")
            for name, array in arrays.items()
        }
    )
    numpy.savez(path, **stored)


def refuse_what_is_too_much(inputs: Arrays, feeding: Feeding, sizes: Sequence[int]) -> None:
    """Raise FleetError if requests with this many rows are too large for a file. A server reads the whole file at each start."""
    row = sum(array.nbytes // len(array) for name, array in inputs.items() if name not in feeding[1])
    if row * sum(sizes) > _MOST_WARM_UP:
        raise FleetError(
            f"warm-up requests with {sum(sizes)} rows in total take {row * sum(sizes) >> 20} MiB; allowed: {_MOST_WARM_UP >> 20} MiB",
            where="batch_sizes",
            remedy="Leave out the largest sizes, or those that the server will not run.",
        )


def batch(inputs: Arrays, feeding: Feeding, size: int) -> dict[str, Array]:
    """Return {name: array} of one request with this many rows of the samples in turn. Inputs without a batch dimension get the first example."""
    _rows, squeezed = feeding
    return {
        name: array[0] if name in squeezed else array[[row % len(array) for row in range(size)]]
        for name, array in inputs.items()
    }
