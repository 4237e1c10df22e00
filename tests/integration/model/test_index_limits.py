# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which integers a model takes, against TensorFlow: the largest index of an embedding is answered, and the next one is an error."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
numpy = pytest.importorskip("numpy")
tf = pytest.importorskip("tensorflow")
from ansible_collections.tfserving.fleet.plugins.module_utils._model import saved_model


def table(rows, width=3):
    return tf.Variable(tf.ones([rows, width]))


def of(**shapes):
    return {name: tf.TensorSpec(shape, tf.int32, name) for name, shape in shapes.items()}


def gathered(rows):
    vectors = table(rows)
    return [vectors], lambda ids: {"y": tf.reduce_sum(tf.gather(vectors, ids), 1)}, of(ids=[None, 4])


def reshaped():
    """The index passes through other operations, and two tables limit it."""
    small, large = table(7), table(50)

    def run(ids):
        ids = tf.reshape(tf.cast(ids, tf.int64), [-1])
        return {"y": tf.gather(small, ids) + tf.gather(large, tf.identity(ids))}

    return [small, large], run, of(ids=[None, 1])


def in_a_function():
    vectors = table(11)
    inner = tf.function(lambda ids: tf.nn.embedding_lookup(vectors, ids), autograph=False)
    return [vectors], lambda ids: {"y": inner(ids)}, of(ids=[None])


def two_inputs():
    users, items, constant = table(5), table(9), tf.constant(numpy.ones((6, 3), "float32"))

    def run(user, item, day):
        return {"y": tf.gather(users, user) * tf.gather(items, item) + tf.gather(constant, day)}

    return [users, items], run, of(user=[None], item=[None], day=[None])


MODELS = {
    "gathered": (gathered(20), {"ids": 20}),
    "reshaped": (reshaped(), {"ids": 7}),
    "in_a_function": (in_a_function(), {"ids": 11}),
    "two_inputs": (two_inputs(), {"user": 5, "item": 9, "day": 6}),
}


def described(path):
    return saved_model.read(str(path))["signatures"]["serving_default"]["inputs"]


@pytest.mark.parametrize("name", MODELS)
def test_tables(tmp_path, name):
    (variables, function, specs), limits = MODELS[name]
    module = tf.Module()
    module.all = variables
    tf.saved_model.save(module, str(tmp_path), tf.function(function).get_concrete_function(**specs))
    inputs = described(tmp_path)
    assert {key: one.get("values_below") for key, one in inputs.items()} == limits
    answer = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]

    def ask(**values):
        return answer(
            **{
                key: tf.fill([size or 1 for size in spec.shape.as_list()], values.get(key, limits[key] - 1))
                for key, spec in specs.items()
            }
        )

    ask()
    for key, limit in limits.items():
        with pytest.raises(tf.errors.InvalidArgumentError):  # On a CPU; a GPU answers with zeros.
            ask(**{key: limit})


def test_keras(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input([4], dtype="int32"), tf.keras.layers.Embedding(13, 2)])
    model.export(str(tmp_path), verbose=False)
    (ids,) = described(tmp_path).values()
    assert ids["values_below"] == 13


def test_values_that_are_no_index_have_no_limit(tmp_path):
    vectors, module = table(8), tf.Module()
    module.all = [vectors]

    def run(ids, more):
        """Computed indexes, and another axis than the first."""
        return {
            "y": tf.gather(vectors, ids % 8) + tf.cast(ids, tf.float32)[:, None],
            "z": tf.gather(vectors, more, axis=1),
        }

    tf.saved_model.save(module, str(tmp_path), tf.function(run).get_concrete_function(**of(ids=[None], more=[None])))
    assert not any("values_below" in one for one in described(tmp_path).values())
