# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorFlow's operations in TensorFlow Lite, converted, compared and served. The converter is the last TensorFlow with the Flex delegate."""

from __future__ import annotations

import os
import sys

import pytest
from ansible_collections.tfserving.fleet.tests.support import environments, modules


@pytest.fixture(scope="module", name="python")
def converter():
    """A Python with that TensorFlow."""
    if sys.version_info >= (3, 13):
        (pytest.fail if os.environ.get("REQUIRE_ALL") else pytest.skip)(
            "there is no TensorFlow with the Flex delegate for this Python; take 3.11 or 3.12"
        )
    return environments.programs("flex") / "python"


@pytest.mark.parametrize(
    "name, judged",
    [
        ("strings", {}),
        ("inline_table", {}),
        ("inner_float64", {}),
        ("growing_list", {}),
        ("recurrent_loop", {}),
        ("features", {"samples": "features.tfrecord", "metric": "accuracy", "allowed_loss": 0.05}),
    ],
)
def test_it_answers_like_its_source_through_a_server(zoo, python, tmp_path, name, judged):
    options = {
        "python": python,
        "source": zoo / name,
        "destination": tmp_path / name / "tflite_dynamic_range",
        "form": "tflite_dynamic_range",
        "select_tf_ops": True,
        "through_server": True,
        "accept_unjudged": not judged,
        **judged,
    }
    if judged:
        options["samples"] = zoo / judged["samples"]
    made = modules.call("model_conversion", **options)
    assert made.get("accepted"), made
    assert b"Flex" in (tmp_path / name / "tflite_dynamic_range" / "1" / "model.tflite").read_bytes(), (
        "it has what it was to prove"
    )
    for key, output in made["gates"]["served"]["outputs"].items():
        assert (
            output["difference"] is None and output["max_abs"] <= made["gates"]["outputs"][key]["max_abs"] * 1.5 + 1e-4
        )
