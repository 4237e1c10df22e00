# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""More models for the zoo: what people export without thinking of a converter. EXPECTED as in model_zoo.py, written down before."""

from __future__ import annotations

import os
import shutil

EXPECTED = {
    "bytes_image": ("accepted", "unjudged"),  # uint8 in, scaled inside
    "booleans": ("accepted", "unjudged"),
    "complex": ("accepted", "unjudged"),
    "bfloat16": ("refused", "bfloat16"),
    "unsigned": ("refused", "uint32"),
    "counting": ("refused", "keeps state between requests (AssignAddVariableOp)"),
    "stateful_recurrent": ("refused", "keeps state between requests (AssignVariableOp)"),
    "random": ("refused", "random (RandomStandardNormal)"),  # the source itself answers otherwise each time
    "unused_input": ("accepted", "unjudged"),  # it stays an input
    "one_answer_two_names": (
        "refused",
        "the same tensor",
    ),  # no server loads a file that lists one tensor as two outputs
    "passing_through": ("accepted", "unjudged"),
    "constant_output": ("accepted", "unjudged"),
    "many_outputs": ("accepted", "unjudged"),
    "foreign_letters": ("accepted", "unjudged"),  # in the names of inputs and outputs
    "best_three": ("accepted", "unjudged"),
    "not_a_number": ("accepted", "unjudged"),
    "as_many_as_there_are": ("accepted", "unjudged"),  # rows of the answer depend on the values
    "inner_float64": ("refused", "for"),
    "inline_table": ("refused", "for"),
    "ragged": ("refused", "fails on generated inputs"),  # the lengths have to fit the values
    "sparse": ("accepted", "unjudged"),
    "jpeg": ("refused", "DecodeJpeg"),
    "python_inside": ("refused", "Python code of the process that exported it (EagerPyFunc)"),
    "out_of_range": ("refused", "indices[0] = -9 is not in [0, 2)); set samples"),
    "growing_list": ("refused", "TensorListReserve"),  # a TensorArray in a loop over an unknown number of steps
    "convolution3d": ("accepted", "unjudged"),
    "grouped": ("accepted", "unjudged"),
    "transposed": ("accepted", "unjudged"),
    "both_ways": ("accepted", "unjudged"),  # a bidirectional network, unrolled
    "several_heads": ("accepted", "unjudged"),  # Keras' attention
    "normalised": ("accepted", "unjudged"),  # batch normalisation and dropout, as they serve
    "constant_weights": ("accepted", "unjudged"),  # 16 MB in the graph itself
    "no_fingerprint": ("accepted", "accuracy"),
    "two_graphs": ("accepted", "unjudged"),
    "optional_input": ("refused", "default"),
    "foreign_op": ("refused", "does not know the operation Foreign"),
    "no_signature": ("fault", "it has: none"),
    "text_form": ("fault", "saved_model.pbtxt is not supported"),
    "chunked": ("fault", "saved_model.cpb"),
    "base_path": ("fault", "Set one version"),
    "nothing": ("fault", "it contains no saved_model.pb"),
    "keras_file": ("fault", "model.export"),
    "dangling_link": ("fault", "a broken or circular link"),
    "pipe": ("fault", "pipe"),
}


def build(directory, dense):
    """Write all models of EXPECTED below directory. dense: the directory of a sound model to take apart."""
    import keras
    import numpy
    import tensorflow as tf

    random = numpy.random.default_rng(11)

    def spec(shape, dtype=tf.float32, name="x"):
        return tf.TensorSpec(shape, dtype, name)

    def save(name, function, *specs, **held):
        module = tf.Module()
        for key, value in held.items():
            setattr(module, key, value)
        module.call = tf.function(function, input_signature=specs)
        tf.saved_model.save(module, os.path.join(directory, name), signatures=module.call)

    def network(name, layers, shape, **kinds):
        inputs = keras.Input(shape, **kinds)
        keras.Model(inputs, layers(inputs)).export(os.path.join(directory, name), verbose=False)

    def normal(*shape):
        return random.standard_normal(shape).astype("float32")

    kernel, flat = tf.Variable(normal(3, 3, 3, 4)), tf.Variable(normal(16, 8))
    save(
        "bytes_image",
        lambda image: {
            "mean": tf.reduce_mean(tf.nn.conv2d(tf.cast(image, tf.float32) / 255.0, kernel, 1, "SAME"), [1, 2])
        },
        spec([None, 8, 8, 3], tf.uint8, "image"),
        kernel=kernel,
    )
    save(
        "booleans",
        lambda a, b: {"both": a & b, "count": tf.reduce_sum(tf.cast(a | b, tf.int32), axis=1)},
        spec([None, 5], tf.bool, "a"),
        spec([None, 5], tf.bool, "b"),
    )
    save("complex", lambda x: {"y": x * tf.complex(0.5, 2.0)}, spec([None, 4], tf.complex64))
    save("bfloat16", lambda x: {"y": x * 2}, spec([None, 4], tf.bfloat16))
    save("unsigned", lambda x: {"y": x + 1}, spec([None, 4], tf.uint32))
    counter = tf.Variable(0.0)
    save("counting", lambda x: {"y": x + counter.assign_add(1.0)}, spec([None, 4]), counter=counter)
    network("stateful_recurrent", keras.layers.LSTM(4, stateful=True, unroll=True), (3, 2), batch_size=2)
    save("random", lambda x: {"y": x + tf.random.normal(tf.shape(x))}, spec([None, 4]))
    save(
        "unused_input",
        lambda x, spare: {"y": tf.matmul(x, flat)},
        spec([None, 16]),
        spec([None, 2], name="spare"),
        flat=flat,
    )

    def twice(x):
        y = tf.matmul(x, flat)
        return {"one": y, "two": y}

    save("one_answer_two_names", twice, spec([None, 16]), flat=flat)
    save("passing_through", lambda x: {"y": tf.matmul(x, flat), "x": x}, spec([None, 16]), flat=flat)
    save(
        "constant_output",
        lambda x: {"y": tf.matmul(x, flat), "classes": tf.constant([3, 1, 2])},
        spec([None, 16]),
        flat=flat,
    )
    save("many_outputs", lambda x: {f"output_{number}": x * number for number in range(60)}, spec([None, 4]))
    save("foreign_letters", lambda x: {"größe": tf.matmul(x, flat), "重さ": x}, spec([None, 16], name="x"), flat=flat)
    save("best_three", lambda x: dict(zip(("values", "classes"), tf.math.top_k(tf.round(x * 2), 3))), spec([None, 9]))
    save("not_a_number", lambda x: {"y": tf.math.log(x)}, spec([None, 4]))
    save(
        "as_many_as_there_are",
        lambda x: {"where": tf.where(x > 0), "values": tf.boolean_mask(x, x > 0)},
        spec([None, 4]),
    )
    wide = tf.Variable(normal(4, 4).astype("float64"))
    save(
        "inner_float64",
        lambda x: {
            "y": tf.cast(
                tf.linalg.inv(tf.matmul(tf.cast(x, tf.float64), wide) + tf.eye(4, dtype=tf.float64)), tf.float32
            )
        },
        spec([4, 4]),
        wide=wide,
    )
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([3, 5], tf.int64), tf.constant([30, 50], tf.int64)), -1
    )
    save("inline_table", lambda x: {"y": table.lookup(x)}, spec([None], tf.int64), table=table)
    save(
        "ragged",
        lambda values, splits: {
            "sums": tf.reduce_sum(tf.RaggedTensor.from_row_splits(values, splits, validate=False), axis=1)
        },
        spec([None], name="values"),
        spec([None], tf.int64, "splits"),
    )
    save(
        "sparse",
        lambda at, values: {"dense": tf.sparse.to_dense(tf.SparseTensor(at, values, [4, 4]), validate_indices=False)},
        spec([None, 2], tf.int64, "at"),
        spec([None], name="values"),
    )
    save(
        "jpeg",
        lambda image: {
            "mean": tf.map_fn(
                lambda one: tf.reduce_mean(tf.cast(tf.io.decode_jpeg(one, 3), tf.float32)), image, tf.float32
            )
        },
        spec([None], tf.string, "image"),
    )
    save(
        "python_inside",
        lambda x: {"y": tf.ensure_shape(tf.py_function(lambda part: part * 2, [x], tf.float32), [None, 4])},
        spec([None, 4]),
    )
    save("out_of_range", lambda x: {"y": tf.gather(tf.constant([1.0, 2.0]), x - 10)}, spec([None], tf.int32))

    def growing(x):
        steps = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
        for step in tf.range(tf.shape(x)[1]):
            steps = steps.write(step, x[:, step] * 2.0)
        return {"y": tf.transpose(steps.stack())}

    save("growing_list", growing, spec([None, None]))
    network("convolution3d", keras.layers.Conv3D(3, 2), (4, 4, 4, 2))
    network("grouped", keras.layers.Conv2D(4, 3, groups=2), (6, 6, 4))
    network("transposed", keras.layers.Conv2DTranspose(3, 3, strides=2), (4, 4, 2))
    network("both_ways", keras.layers.Bidirectional(keras.layers.GRU(4, unroll=True)), (4, 3))
    network(
        "several_heads",
        lambda x: keras.layers.LayerNormalization()(keras.layers.MultiHeadAttention(2, 4)(x, x)),
        (5, 8),
    )
    network(
        "normalised",
        lambda x: keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))),
        (6,),
    )
    matrix = normal(2048, 2048)
    save("constant_weights", lambda x: {"y": tf.matmul(x, tf.constant(matrix))}, spec([None, 2048]))

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        builder = tf.compat.v1.saved_model.Builder(os.path.join(directory, "two_graphs"))
        fed = tf.compat.v1.placeholder(tf.float32, [None, 4], "fed")
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": fed}, {"y": fed * 2.0})
        builder.add_meta_graph_and_variables(session, ["train"])
        builder.add_meta_graph(["serve"], {"serving_default": signature})
        builder.save()

    two = tf.constant(2.0)

    def scaled(x, scale=two):
        return {"y": x * scale}

    save("optional_input", scaled, spec([None, 4]), spec([], name="scale"))
    module = tf.Module()
    module.call = tf.function(lambda x: x * 2)
    tf.saved_model.save(module, os.path.join(directory, "no_signature"))

    def copied(name):
        shutil.copytree(dense, os.path.join(directory, name))
        return os.path.join(directory, name)

    path = os.path.join(copied("foreign_op"), "saved_model.pb")
    with open(path, "r+b") as stream:
        content = stream.read()
        stream.seek(0)
        stream.write(content.replace(b"Softmax", b"Foreign"))
    os.unlink(os.path.join(copied("no_fingerprint"), "fingerprint.pb"))
    shutil.copyfile(f"{dense}.npz", os.path.join(directory, "no_fingerprint.npz"))
    for name, ending in (("text_form", "pbtxt"), ("chunked", "cpb")):
        os.rename(os.path.join(copied(name), "saved_model.pb"), os.path.join(directory, name, f"saved_model.{ending}"))
    shutil.copytree(dense, os.path.join(directory, "base_path", "7"))
    os.mkdir(os.path.join(directory, "nothing"))
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(os.path.join(directory, "keras_file.keras"))
    os.rename(os.path.join(directory, "keras_file.keras"), os.path.join(directory, "keras_file"))
    os.symlink("gone", os.path.join(copied("dangling_link"), "assets.extra"))
    os.mkfifo(os.path.join(copied("pipe"), "pipe"))
