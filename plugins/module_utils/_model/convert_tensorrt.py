# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run TF-TRT. This needs a TensorFlow with TensorRT, and a GPU of the kind that will serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._model import refused, tensorrt
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import Arrays


def convert(request: Mapping[str, Any], calibration: Sequence[Arrays], rows_of: Callable[[int], Arrays]) -> None:
    """Write the converted SavedModel, with its engines, to request["staged"]. Raise Refused.

    calibration: [{input: array}] of one shape, for INT8. rows_of: a function from a batch size to {input: array}.
    """
    import tensorflow
    from tensorflow.python.compiler.tensorrt import trt_convert

    _refuse_other_gpus(tensorflow, request)
    arguments = tensorrt.arguments(
        request["precision"], request["batch_sizes"], request["workspace_mib"], request["signature"]
    )

    def fed(parts: Iterable[Arrays]) -> Callable[[], Iterator[dict[str, Any]]]:
        return lambda: iter([{name: tensorflow.constant(array) for name, array in part.items()} for part in parts])

    try:
        converter = trt_convert.TrtGraphConverterV2(input_saved_model_dir=request["source"], **arguments)
        converter.convert(calibration_input_fn=fed(calibration) if request["precision"] == "INT8" else None)
        converter.build(input_fn=fed([rows_of(size) for size in request["batch_sizes"]]))
        converter.save(request["staged"], save_gpu_specific_engines=True)
    except Exception as fault:  # TF-TRT raises whatever its parts raise; all of it means the same to the user.
        raise refused.Refused(f"TF-TRT cannot convert it: {refused.first_line(fault)}") from fault


def _refuse_other_gpus(tensorflow: Any, request: Mapping[str, Any]) -> None:
    wanted = tensorrt.compute_capability(request["compute_capability"])
    found = [
        tensorflow.config.experimental.get_device_details(gpu).get("compute_capability")
        for gpu in tensorflow.config.list_physical_devices("GPU")
    ]
    if wanted not in found:
        there = ", ".join(".".join(map(str, one)) for one in found if one) or "no GPU that TensorFlow can use"
        raise refused.Refused(
            f"engines must be built on the GPU model that serves them (compute capability {request['compute_capability']}), "
            f"but this converter has {there}"
        )
