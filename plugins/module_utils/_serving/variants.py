# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the variants in which a model can be served, by the names of their folders."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A variant. lite: it is a TensorFlow Lite file. calibrated: the converter runs the model on samples.

    memory_times: memory of the conversion per byte of the model.
    """

    lite: bool = True
    calibrated: bool = False
    memory_times: int = 6


# The unconverted model: its name as a conversion, and the name of its folder.
NONE, SAVED_MODEL = "none", "saved_model"
VARIANTS = {
    NONE: Variant(lite=False, memory_times=0),
    "tflite_dynamic_range": Variant(),
    "tflite_float16": Variant(),
    "tflite_int8": Variant(calibrated=True, memory_times=12),
    "tflite_int16x8": Variant(calibrated=True, memory_times=9),
    "tensorrt": Variant(lite=False),
}
SERVED = (SAVED_MODEL, *(name for name in VARIANTS if name != NONE))
