# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A variant that servers need and that is refused: the error says what goes on serving, and what to do. TensorFlow is not needed for that."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.tests.support import modules
from ansible_collections.tfserving.fleet.tests.unit.model import test_model_saved_model as by_hand

pytest.importorskip("ansible")

FORM = "tflite_dynamic_range"
# DT_DOUBLE is 2 in TensorFlow's types.proto. TensorFlow Serving does not accept it from TensorFlow Lite.
DOUBLE = by_hand.held(1, "in:0") + by_hand.number(2, 2) + by_hand.shape(-1, 3)
SIGNATURE = by_hand.signature("serving_default", {"x": DOUBLE}, {"y": by_hand.held(1, "call:0") + by_hand.number(2, 2)})


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(by_hand.model(by_hand.SIMPLE[0], SIGNATURE))
    return folder


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("there", [(), ("1",), ("9", "10")])
def test_a_refused_variant_that_servers_need_is_one_line_with_a_remedy(source, tmp_path, there, check):
    destination = tmp_path / "models" / "digits" / FORM
    for name in there:
        (destination / name).mkdir(parents=True)
    result = modules.call(
        "model_conversion", check=check, source=source, destination=destination, form=FORM, required=True
    )
    assert result["failed"] and "\n" not in result["msg"]
    newest = "".join(there[-1:])
    stays = f"Version {newest} of {FORM} in {destination} stays, and servers of this variant go on with it. "
    assert re.fullmatch(
        f"{source}: {FORM} is refused: .*x is float64.*[.] {stays if there else ''}"
        "Correct the model, or serve the SavedModel: set optimize: none for the model, or remove the file of the tuning that chose this variant[.]",
        result["msg"],
    ), result["msg"]
    assert sorted(path.name for path in destination.glob("*")) == sorted(there)


def test_a_refused_variant_that_only_a_tuning_would_try_is_a_normal_end(source, tmp_path):
    result = modules.call("model_conversion", source=source, destination=tmp_path / "m" / FORM, form=FORM)
    assert not result.get("failed") and result["accepted"] is False and "float64" in result["reason"]
