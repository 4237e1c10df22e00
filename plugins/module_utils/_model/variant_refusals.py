# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide why a variant is refused before a conversion starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    meta_graph,
    statefulness,
    task_metrics,
    tensorrt,
    tflite,
    warmup,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature, composite
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import NONE, VARIANTS


def check(options: Mapping[str, Any]) -> None:
    """Refuse options that the variant does not support. options: those of model_conversion. Raises FleetError."""
    form = options["form"]
    for name, fits in (
        ("select_tf_ops", VARIANTS[form].lite),
        ("container_image", form != NONE),
        ("through_server", form != NONE),
    ):
        if options[name] and not fits:
            raise FleetError(f"the variant {form} does not support {name}", where=name, remedy="Leave it out.")
    if tuple(options.get("tags", meta_graph.SERVED_TAGS)) != meta_graph.SERVED_TAGS and form == "tensorrt":
        raise FleetError("TF-TRT supports only the tag serve", where="tags", remedy="Export the model with this tag.")
    task_metrics.check_function(options["metric"], options["metric_function"])
    if options["compute_capability"]:
        tensorrt.compute_capability(options["compute_capability"])
    if options["container_image"] and options["through_server"]:
        raise FleetError(
            "the server runs on the host, but the converter runs in a container",
            where="through_server",
            remedy="Leave it out, and check the deployed model with tfserving.fleet.model_server_check.",
        )
    wrong = [size for size in options["batch_sizes"] if size < 1]
    if wrong or len(set(options["batch_sizes"])) != len(options["batch_sizes"]):
        raise FleetError(
            f"{options['batch_sizes']} is not a list of different sizes, each 1 or more", where="batch_sizes"
        )
    if len(options["batch_sizes"]) > warmup.MOST_RECORDS:
        raise FleetError(
            f"{len(options['batch_sizes'])} sizes need as many warm-up requests; servers refuse more than {warmup.MOST_RECORDS}",
            where="batch_sizes",
            remedy="List only those that the server will run.",
        )


def refusal(
    options: Mapping[str, Any],
    signature: Signature | None,
    samples: object,
    converter: str | None,
    ops: Collection[str] = (),
    optional_inputs: Collection[str] = (),
) -> str | None:
    """Return why the variant is refused before the conversion starts, or None.

    samples: whether there are real ones. converter: its release of TensorFlow. ops, optional_inputs: as in
    statefulness.refusal.
    """
    name = options["form"]
    form = VARIANTS[name]
    if name == NONE or signature is None:
        return None
    if form.lite:
        problem = tflite.refusal(signature)
    else:
        problem = composite(signature) or tensorrt.refusal(options, samples, converter)
    problem = problem or statefulness.refusal(ops, optional_inputs)
    if not problem and form.calibrated and not samples:
        problem = "calibration needs representative examples, but no samples are set"
    return problem or acceptance.needs_judgement(samples, options["metric"], options["accept_unjudged"])


def runtime_problem(lowest: str | None, server_release: str | None) -> str | None:
    """Return why a server cannot run a file, or None.

    lowest: the release in the file that its converter wrote, or None. server_release: a release, or None.
    """
    if lowest and server_release and questions.numbers(lowest) > questions.numbers(server_release):
        return (
            f"the file needs TensorFlow Lite {lowest}, but the server is {server_release}; convert with the server's release of TensorFlow, "
            "use a newer server, or serve the SavedModel"
        )
    return None
