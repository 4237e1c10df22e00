# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes models for the tests of deployments: `python make_deployment_models.py DIRECTORY`, below it NAME/1. Needs TensorFlow.

All take x of shape [n, 4]. right and again: y = 2x, wrong: y = 3x, renamed: z = 2x, fatal: y = 2x and the process ends when a request has no rows,
fixed: as right, in requests of FIXED rows alone. weighted: as right, and the 2 is a variable.
"""

from __future__ import annotations

import os
import sys

import numpy
import tensorflow as tf


def deadly(x):
    """2x, unless there are no rows."""

    def die():
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="no rows")]):
            return tf.identity(x)

    return {"y": tf.cond(tf.equal(tf.shape(x)[0], 0), die, lambda: x) * 2.0}


MODELS = {
    "right": lambda x: {"y": x * 2.0},
    "again": lambda x: {"y": x + x},
    "wrong": lambda x: {"y": x * 3.0},
    "renamed": lambda x: {"z": x * 2.0},
    "fatal": deadly,
}
FIXED = 16  # rows in each request

if __name__ == "__main__":
    for name, function in MODELS.items():
        traced = tf.function(function).get_concrete_function(tf.TensorSpec([None, 4], tf.float32, "x"))
        tf.saved_model.save(tf.Module(), os.path.join(sys.argv[1], name, "1"), {"serving_default": traced})
    traced = tf.function(MODELS["right"]).get_concrete_function(tf.TensorSpec([FIXED, 4], tf.float32, "x"))
    tf.saved_model.save(tf.Module(), os.path.join(sys.argv[1], "fixed", "1"), {"serving_default": traced})
    weighted = tf.Module()
    weighted.factor = tf.Variable(2.0)
    traced = tf.function(lambda x: {"y": x * weighted.factor}).get_concrete_function(
        tf.TensorSpec([None, 4], tf.float32, "x")
    )
    tf.saved_model.save(weighted, os.path.join(sys.argv[1], "weighted", "1"), {"serving_default": traced})
    os.makedirs(os.path.join(sys.argv[1], "broken", "1"))
    with open(os.path.join(sys.argv[1], "broken", "1", "saved_model.pb"), "wb") as stream:
        stream.write(b"this is no model")
    x = numpy.arange(24, dtype="float32").reshape(6, 4)
    numpy.savez(os.path.join(sys.argv[1], "samples.npz"), **{"inputs.x": x, "outputs.y": 2 * x})
