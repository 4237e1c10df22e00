# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the requirements of TF-TRT before a conversion: server, converter and TensorRT must belong to one release, and engines to one GPU model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

PRECISIONS = ("FP32", "FP16", "INT8")
_COMPUTE = re.compile(r"(\d+)\.(\d)$")


def compute_capability(text: str) -> tuple[int, int]:
    """Return (8, 6) for "8.6". Raise FleetError."""
    found = _COMPUTE.match(text)
    if not found:
        raise FleetError(f"{text!r} is not a compute capability, such as 8.6", where="compute_capability")
    return int(found.group(1)), int(found.group(2))


def refusal(options: Mapping[str, Any], samples: object, converter: str | None) -> str | None:
    """Return why these options cannot make a TF-TRT model that serves, and which options can, or None.

    options: server_release, compute_capability, precision, batch_sizes. samples: whether there are any. converter: the release of its TensorFlow.
    """
    if not options["server_release"] or not options["compute_capability"]:
        return "engines work only with one release of the server and one GPU model; set server_release and compute_capability"
    release = questions.nearest(options["server_release"])
    support = questions.tensorrt_support(release, compute_capability(options["compute_capability"]))
    if not support["supported"]:
        return f"{support['reason']}. {support['remedy']}"
    if converter is not None and questions.numbers(converter)[:2] != questions.numbers(release)[:2]:
        return (
            f"the converter is TensorFlow {converter}, but the server is {release}: engines run only on the TensorRT that built them. "
            f"Convert with TensorFlow {release.rpartition('.')[0]}, for example in the container tensorflow/tensorflow:{release}-gpu"
        )
    if not options["batch_sizes"]:
        return "engines are built in advance for the batch sizes that the server will run; set them in batch_sizes"
    if options["precision"] == "INT8" and not samples:
        return "INT8 needs representative examples for calibration, but no samples are set"
    return None


def arguments(precision: str, batch_sizes: Sequence[int], workspace_mib: int, signature: str) -> dict[str, Any]:
    """Return the arguments of TrtGraphConverterV2 except the source: static shapes, one engine kept for each batch size."""
    return {
        "input_saved_model_tags": ["serve"],
        "input_saved_model_signature_key": signature,
        "use_dynamic_shape": False,
        "precision_mode": precision,
        "max_workspace_size_bytes": workspace_mib << 20,
        "maximum_cached_engines": len(batch_sizes),
        "use_calibration": precision == "INT8",
        "allow_build_at_runtime": True,
    }
