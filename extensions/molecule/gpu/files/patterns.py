# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a convolutional model and labelled samples with nothing but TensorFlow: `python patterns.py DIRECTORY`, below it patterns and patterns.npz.

The weights are random and fixed. The labels are the model's own, so accuracy after a conversion says how many answers it changed.
"""

from __future__ import annotations

import os
import sys

import numpy
import tensorflow as tf

SIDE, CLASSES, SAMPLES = 64, 10, 256
WIDTHS = (3, 32, 64, 128)


class Patterns(tf.Module):
    """Three convolutions and a dense layer."""

    def __init__(self):
        super().__init__()
        random = numpy.random.default_rng(20260101)
        self.filters = [
            tf.Variable(random.normal(0, (2 / (9 * width)) ** 0.5, (3, 3, width, more)).astype("float32"))
            for width, more in zip(WIDTHS, WIDTHS[1:])
        ]
        self.dense = tf.Variable(random.normal(0, 0.1, (WIDTHS[-1], CLASSES)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, WIDTHS[0]], tf.float32, "image")])
    def answer(self, image):
        """Scores of the classes."""
        for weights in self.filters:
            image = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(image, weights, 1, "SAME")), 2, 2, "SAME")
        return {"scores": tf.linalg.matmul(tf.reduce_mean(image, [1, 2]), self.dense)}


if __name__ == "__main__":
    model = Patterns()
    tf.saved_model.save(model, os.path.join(sys.argv[1], "patterns"), {"serving_default": model.answer})
    images = numpy.random.default_rng(1).normal(size=(SAMPLES, SIDE, SIDE, WIDTHS[0])).astype("float32")
    scores = model.answer(tf.constant(images))["scores"].numpy()
    numpy.savez(
        os.path.join(sys.argv[1], "patterns.npz"),
        **{"inputs.image": images, "outputs.scores": scores, "labels": scores.argmax(axis=1)},
    )
