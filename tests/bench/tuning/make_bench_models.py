# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes unlike models: `python make_bench_models.py DIRECTORY`, below it NAME/saved_model/1. Needs TensorFlow."""

from __future__ import annotations

import os
import sys

import tensorflow as tf


def save(path, module, function, **inputs):
    """Save function with signature serving_default; inputs: {name: (dtype, shape)}."""
    specs = {name: tf.TensorSpec(shape, dtype, name) for name, (dtype, shape) in inputs.items()}
    traced = tf.function(function).get_concrete_function(**specs)
    tf.saved_model.save(module, path, {"serving_default": traced})


def variables(*shapes):
    """Return a module with random variables of these shapes, as module.all."""
    module = tf.Module()
    module.all = [tf.Variable(tf.random.stateless_normal(shape, [1, 2]) * 0.02) for shape in shapes]
    return module


def wide(path):
    """Batching pays: two layers of 2048, whose 21 MB of weights are read once for a batch."""
    module = variables((512, 2048), (2048, 2048), (2048, 10))
    first, second, last = module.all
    save(path, module, lambda x: {"y": tf.nn.relu(tf.nn.relu(x @ first) @ second) @ last}, x=(tf.float32, [None, 512]))


def deep(path):
    """Batching cannot win: convolutions, whose time is that of the rows."""
    module = variables((3, 3, 8, 64), (3, 3, 64, 64), (3, 3, 64, 64), (3, 3, 64, 8))

    def run(image):
        for kernel in module.all:
            image = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME"))
        return {"y": tf.reduce_mean(image, [1, 2])}

    save(path, module, run, image=(tf.float32, [None, 32, 32, 8]))


def quick(path):
    """Small and quick: y = 2 x + 1."""
    save(path, tf.Module(), lambda x: {"y": 2.0 * x + 1.0}, x=(tf.float32, [None, 4]))


def transformer(path, words=30522, width=512, layers=4, heads=8, length=32):
    """BERT-like, 28 million parameters: 4 layers of width 512."""
    of_layer = ((width, width),) * 4 + ((width, 4 * width), (4 * width, width))
    module = variables((words, width), (length, width), *of_layer * layers)
    embedding, positions, *kernels = module.all

    def split(x):
        return tf.transpose(tf.reshape(x, [-1, length, heads, width // heads]), [0, 2, 1, 3])

    def norm(x):
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-6)

    def run(ids):
        x = norm(tf.gather(embedding, ids) + positions)
        for number in range(layers):
            query, key, value, out, up, down = kernels[6 * number : 6 * number + 6]
            weights = tf.nn.softmax(
                tf.matmul(split(x @ query), split(x @ key), transpose_b=True) / (width / heads) ** 0.5
            )
            mixed = tf.reshape(tf.transpose(tf.matmul(weights, split(x @ value)), [0, 2, 1, 3]), [-1, length, width])
            x = norm(x + mixed @ out)
            x = norm(x + tf.nn.gelu(x @ up) @ down)
        return {"y": x[:, 0]}

    save(path, module, run, ids=(tf.int32, [None, length]))


MODELS = {"wide": wide, "deep": deep, "quick": quick, "transformer": transformer}

if __name__ == "__main__":
    for name, make in MODELS.items():
        make(os.path.join(sys.argv[1], name, "saved_model", "1"))
