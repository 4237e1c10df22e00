# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SavedModels of which some lack what restores a variable or fills a table."""

from __future__ import annotations

import os

import tensorflow

tf1 = tensorflow.compat.v1
BROKEN = (
    "keras_held_by_a_module",
    "keras_held_by_a_module_in_a_function",
    "saver_of_one_variable",
    "table_nobody_fills",
)
WHOLE = (
    "keras_exported",
    "module_with_variables",
    "variable_set_by_the_initializer",
    "table_filled",
    "table_of_tensorflow2",
    "partitioned",
    "two_modules",
)


def build(directory):
    """Write all of them below directory."""
    import keras

    spec = tensorflow.TensorSpec([None, 4])

    def save(name, module, call):
        tensorflow.saved_model.save(
            module, os.path.join(directory, name), signatures=tensorflow.function(call, input_signature=[spec])
        )

    def network():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])

    held = tensorflow.Module()
    held.network = network()
    save("keras_held_by_a_module", held, lambda x: {"y": held.network(x)})
    inner = tensorflow.function(lambda x: held.network(x) * 2.0)
    save(
        "keras_held_by_a_module_in_a_function",
        held,
        lambda x: {"y": tensorflow.cond(tensorflow.constant(True), lambda: inner(x), lambda: x[:, :3])},
    )
    network().export(os.path.join(directory, "keras_exported"), verbose=False)
    module = tensorflow.Module()
    module.weights, module.bias = (
        tensorflow.Variable(tensorflow.ones([4, 3])),
        tensorflow.Variable(tensorflow.ones([3])),
    )
    save("module_with_variables", module, lambda x: {"y": x @ module.weights + module.bias})
    outer = tensorflow.Module()
    outer.one, outer.other = module, tensorflow.Module()
    outer.other.weights = tensorflow.Variable(
        tensorflow.ones([4, 3]), name="Variable"
    )  # Of the same name as the other's.
    save("two_modules", outer, lambda x: {"y": x @ module.weights + x @ outer.other.weights})
    module = tensorflow.Module()
    module.table = tensorflow.lookup.StaticHashTable(
        tensorflow.lookup.KeyValueTensorInitializer([1, 2], [1.0, 2.0]), 0.0
    )
    save("table_of_tensorflow2", module, lambda x: {"y": module.table.lookup(tensorflow.cast(x, tensorflow.int32))})

    def save1(name, make):
        with tensorflow.Graph().as_default(), tf1.Session() as session:
            x = tf1.placeholder(tensorflow.float32, [None, 4])
            y, saver, initializer = make(x)
            session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
            builder = tf1.saved_model.Builder(os.path.join(directory, name))
            builder.add_meta_graph_and_variables(
                session,
                ["serve"],
                {"serving_default": tf1.saved_model.predict_signature_def({"x": x}, {"y": y})},
                saver=saver() if saver else None,
                main_op=initializer() if initializer else None,
            )
            builder.save()

    def variable(name, resource=True, **kinds):
        return tf1.get_variable(name, [4, 3], initializer=tf1.ones_initializer(), use_resource=resource, **kinds)

    def two(x, resource, initialized):
        one, other = variable("one", resource), variable("other", resource)
        return (
            x @ one + x @ other,
            lambda: tf1.train.Saver([one]),
            (lambda: tensorflow.group(other.initializer)) if initialized else None,
        )

    def table(x, filled):
        words = tf1.lookup.StaticHashTable(tensorflow.lookup.KeyValueTensorInitializer([1, 2], [1.0, 2.0]), 0.0)
        return words.lookup(tensorflow.cast(x, tensorflow.int32)), None, tf1.tables_initializer if filled else None

    save1("saver_of_one_variable", lambda x: two(x, False, False))
    save1("variable_set_by_the_initializer", lambda x: two(x, True, True))
    save1("table_nobody_fills", lambda x: table(x, False))
    save1("table_filled", lambda x: table(x, True))
    save1(
        "partitioned",
        lambda x: (
            x @ tensorflow.convert_to_tensor(variable("parts", partitioner=tf1.fixed_size_partitioner(2))),
            None,
            None,
        ),
    )
