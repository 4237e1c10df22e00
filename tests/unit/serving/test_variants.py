# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of a model, by TensorFlow's guide to post-training quantization: integer forms need a representative data set."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._serving import variants

LITE = ["tflite_dynamic_range", "tflite_float16", "tflite_int8", "tflite_int16x8"]


def test_the_forms_of_a_model():
    assert list(variants.VARIANTS) == ["none", *LITE, "tensorrt"]
    assert list(variants.SERVED) == ["saved_model", *LITE, "tensorrt"]
    assert [name for name, form in variants.VARIANTS.items() if form.lite] == LITE
    assert [name for name, form in variants.VARIANTS.items() if form.calibrated] == ["tflite_int8", "tflite_int16x8"]


def test_a_conversion_takes_more_memory_where_it_watches_the_model():
    times = {name: form.memory_times for name, form in variants.VARIANTS.items()}
    assert times.pop("none") == 0
    assert min(times["tflite_int8"], times["tflite_int16x8"]) > times["tflite_dynamic_range"] > 1
    assert times["tflite_dynamic_range"] == times["tflite_float16"]
