# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A zoo of small models, each with what must become of it, written down before any of them was converted.

`python model_zoo.py DIRECTORY` makes it, with odd_models.py; needs TensorFlow.

EXPECTED: name -> (outcome, words). Outcome "accepted": converted, and its outputs agree with the source's; "refused": a normal end, its reason holds the
words; "fault": the model is broken, and the one line that says so holds the words.
"""

from __future__ import annotations

import os
import shutil
import sys

EXPECTED = {
    "dense": ("accepted", "accuracy"),
    "convolution": ("accepted", "accuracy"),  # a Keras 3 export
    "depthwise": ("accepted", "unjudged"),
    "two_in_two_out": ("accepted", "rmse"),
    "several_signatures": ("accepted", "unjudged"),
    "variable_length": ("accepted", "unjudged"),
    "embedding": ("accepted", "unjudged"),  # integers in
    "no_batch": ("accepted", "unjudged"),
    "scalar_input": ("accepted", "unjudged"),
    "scalar_output": ("accepted", "unjudged"),
    "fixed_batch": ("accepted", "unjudged"),
    "decision_tree": ("accepted", "accuracy"),  # comparisons alone, no neural network
    "loop": ("accepted", "unjudged"),
    "branch": ("accepted", "unjudged"),
    "attention": ("accepted", "accuracy"),
    "recurrent": ("accepted", "unjudged"),  # unrolled, so that nothing is left of its loop
    "recurrent_loop": ("refused", "TensorList"),  # its list of steps has no size of its own while the batch is open
    "integer": ("accepted", "unjudged"),
    "tensorflow1": ("accepted", "unjudged"),
    "unusual_names": ("accepted", "unjudged"),
    "hostile": ("refused", "above the allowed"),  # 8-bit weights round everything that matters to 0
    "float64": ("refused", "float64"),
    "float16": ("refused", "float16"),
    "strings": ("refused", "StringLength"),
    "example_parsing": ("refused", "ParseExampleV2"),
    "features": ("refused", "ParseExampleV2"),  # parsing in front of a network
    "vocabulary": ("refused", "for"),  # a lookup table that is read from an asset
    "gigabyte": ("fault", "the conversion needs about"),  # where 4 GiB of memory may be used
    "cut_short": ("fault", "not a SavedModel"),
    "empty_file": ("fault", "it is empty"),
    "no_variables": ("fault", "variables are missing"),
    "no_asset": ("fault", "the asset 'words.txt' is missing"),
}


# (name, form, whether TensorFlow's operations are allowed) -> (outcome, words), as EXPECTED, which is for tflite_dynamic_range without them.
EXPECTED_FORMS = {
    ("dense", "tflite_float16", False): ("accepted", "accuracy"),
    ("dense", "tflite_int8", False): ("accepted", "accuracy"),
    ("dense", "tflite_int16x8", False): ("accepted", "accuracy"),
    ("convolution", "tflite_float16", False): ("accepted", "accuracy"),
    ("convolution", "tflite_int8", False): ("accepted", "accuracy"),
    ("attention", "tflite_float16", False): ("accepted", "accuracy"),
    ("attention", "tflite_int16x8", False): ("accepted", "accuracy"),
    ("two_in_two_out", "tflite_float16", False): ("accepted", "rmse"),
    ("fixed_batch", "tflite_float16", False): ("accepted", "unjudged"),
    ("recurrent", "tflite_float16", False): ("accepted", "unjudged"),
    # Converted, and refused because TensorFlow 2.21's own interpreter has no Flex delegate: what nobody can run here, nobody can compare.
    ("recurrent_loop", "tflite_dynamic_range", True): ("refused", "Flex delegate"),
    ("strings", "tflite_dynamic_range", True): ("refused", "Flex delegate"),
    ("features", "tflite_float16", True): ("refused", "Flex delegate"),
    ("depthwise", "tflite_int8", False): ("refused", "calibration needs representative examples"),
    ("float64", "tflite_float16", True): ("refused", "float64"),
    ("hostile", "tflite_float16", False): ("accepted", "accuracy"),  # 16 bits hold both ends of its scale
    ("hostile", "tflite_int8", False): ("refused", "above the allowed"),
}


def build(directory):
    """Write all models of EXPECTED below directory, <name>/, and samples of some, <name>.npz."""
    import keras
    import numpy
    import tensorflow as tf

    random = numpy.random.default_rng(7)

    def spec(shape, dtype=tf.float32, name="x"):
        return tf.TensorSpec(shape, dtype, name)

    def save(name, function, *specs, **others):
        module = tf.Module()
        module.variables_of_it = [
            cell.cell_contents for cell in function.__closure__ or () if isinstance(cell.cell_contents, tf.Variable)
        ]
        module.call = tf.function(function, input_signature=specs)
        signatures = {"serving_default": module.call}
        for key, (other, other_specs) in others.items():
            setattr(module, key, tf.function(other, input_signature=other_specs))
            signatures[key] = getattr(module, key)
        tf.saved_model.save(module, os.path.join(directory, name), signatures=signatures)

    def samples(name, labels=None, **inputs):
        arrays = {f"inputs.{key}": value for key, value in inputs.items()}
        numpy.savez(os.path.join(directory, f"{name}.npz"), **arrays, **({} if labels is None else {"labels": labels}))

    def normal(*shape):
        return random.standard_normal(shape).astype("float32")

    # dense: labels are the model's own answers, so the source is right in all cases.
    weights = tf.Variable(normal(64, 32))
    save("dense", lambda x: {"scores": tf.nn.softmax(tf.matmul(x, weights))}, spec([None, 64]))
    x = normal(200, 64)
    samples("dense", (x @ weights.numpy()).argmax(axis=1), x=x)

    network = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Conv2D(16, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    network.export(os.path.join(directory, "convolution"), verbose=False)
    images = normal(100, 8, 8, 1)
    samples("convolution", network.predict(images, verbose=0).argmax(axis=1), image=images)

    kernel = tf.Variable(normal(3, 3, 8, 1))
    save("depthwise", lambda x: {"y": tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME")}, spec([None, 6, 6, 8]))

    left = tf.Variable(normal(16, 80))
    save(
        "two_in_two_out",
        lambda a, b: {"sum": tf.matmul(a, left) + b, "difference": tf.matmul(a, left) - b},
        spec([None, 16], name="a"),
        spec([None, 80], name="b"),
    )
    a, b = normal(50, 16), normal(50, 80)
    samples("two_in_two_out", a @ left.numpy() - b, a=a, b=b)

    save(
        "several_signatures",
        lambda x: {"y": tf.matmul(x, weights)},
        spec([None, 64]),
        double=(lambda z: {"twice": z * 2}, [spec([None, 3], name="z")]),
    )
    save("variable_length", lambda x: {"mean": tf.reduce_mean(x, axis=1)}, spec([None, None]))

    vectors = tf.Variable(normal(50, 24))
    save(
        "embedding",
        lambda ids: {"vector": tf.reduce_sum(tf.gather(vectors, ids), axis=1)},
        spec([None, 5], tf.int32, "ids"),
    )
    save("no_batch", lambda x: {"y": tf.linalg.matvec(tf.transpose(weights), x)}, spec([64]))
    samples("no_batch", x=normal(5, 64))
    save(
        "scalar_input",
        lambda x, temperature: {"y": tf.nn.softmax(tf.matmul(x, weights) / temperature)},
        spec([None, 64]),
        spec([], name="temperature"),
    )
    samples("scalar_input", x=normal(6, 64), temperature=numpy.linspace(0.5, 3, 6, dtype="float32"))
    save("scalar_output", lambda x: {"total": tf.reduce_sum(tf.matmul(x, weights))}, spec([None, 64]))
    save("fixed_batch", lambda x: {"y": tf.reshape(tf.matmul(x, weights), [4, 32])}, spec([4, 64]))
    samples("fixed_batch", x=normal(10, 64))

    def tree(x):
        return {"leaf": tf.where(x[:, 0] > 0.5, tf.where(x[:, 1] > 0.2, 3, 2), tf.where(x[:, 2] > 0.7, 1, 0))}

    save("decision_tree", tree, spec([None, 3]))
    points = random.random((300, 3)).astype("float32")
    leaves = numpy.where(
        points[:, 0] > 0.5, numpy.where(points[:, 1] > 0.2, 3, 2), numpy.where(points[:, 2] > 0.7, 1, 0)
    )
    samples("decision_tree", leaves, x=points)

    def loop(x):
        return {
            "y": tf.while_loop(
                lambda step, _value: step < 5, lambda step, value: (step + 1, value * 0.5 + 1), [tf.constant(0), x]
            )[1]
        }

    save("loop", loop, spec([None, 4]))
    save("branch", lambda x: {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x - 1)}, spec([None, 4]))
    save("integer", lambda x: {"y": x * 3 + 1, "largest": tf.argmax(x, axis=1)}, spec([None, 6], tf.int32))

    mixed = [tf.Variable(normal(8, 8)) for _part in range(3)]
    query, key, value = mixed

    def attention(x):
        scores = tf.nn.softmax(
            tf.einsum("bqd,bkd->bqk", tf.einsum("bsd,de->bse", x, query), tf.einsum("bsd,de->bse", x, key)) / 8.0
        )
        return {
            "scores": tf.nn.softmax(
                tf.reduce_sum(tf.einsum("bqk,bkd->bqd", scores, tf.einsum("bsd,de->bse", x, value)), axis=1)
            )
        }

    save("attention", attention, spec([None, 5, 8]))
    x = normal(100, 5, 8)
    samples("attention", attention(tf.constant(x))["scores"].numpy().argmax(axis=1), x=x)

    for name, unroll in (("recurrent", True), ("recurrent_loop", False)):
        keras.Sequential(
            [keras.Input((6, 3), name="steps"), keras.layers.LSTM(8, unroll=unroll), keras.layers.Dense(2)]
        ).export(os.path.join(directory, name), verbose=False)
    save("unusual_names", lambda x: {"out/put-1": x * 2, "1": x + 1}, spec([None, 4], name="in_1"))

    # hostile: one huge weight a column sets the scale of 8 bits, on an input that is always 0; the weights that decide become 0.
    small = normal(128, 10)
    small[0] = 1000
    huge = tf.Variable(small)
    save("hostile", lambda x: {"scores": tf.matmul(x, huge)}, spec([None, 128]))
    x = normal(200, 128)
    x[:, 0] = 0
    samples("hostile", (x @ small).argmax(axis=1), x=x)

    wide, narrow = tf.Variable(normal(4, 4).astype("float64")), tf.Variable(normal(4, 4).astype("float16"))
    save("float64", lambda x: {"y": tf.matmul(x, wide)}, spec([None, 4], tf.float64))
    save("float16", lambda x: {"y": tf.matmul(x, narrow)}, spec([None, 4], tf.float16))
    save("strings", lambda text: {"length": tf.strings.length(text)}, spec([None], tf.string, "text"))
    save(
        "example_parsing",
        lambda examples: tf.io.parse_example(examples, {"age": tf.io.FixedLenFeature([1], tf.float32)}),
        spec([None], tf.string, "examples"),
    )

    slopes = tf.Variable(normal(3, 4))

    def features(examples):
        parsed = tf.io.parse_example(
            examples, {"age": tf.io.FixedLenFeature([2], tf.float32), "colour": tf.io.FixedLenFeature([1], tf.int64)}
        )
        return {"scores": tf.matmul(tf.concat([parsed["age"], tf.cast(parsed["colour"], tf.float32)], axis=1), slopes)}

    save("features", features, spec([None], tf.string, "examples"))
    with tf.io.TFRecordWriter(os.path.join(directory, "features.tfrecord")) as records:
        for ages in normal(60, 2):
            colour = int(random.integers(0, 5))
            label = int((numpy.append(ages, colour) @ slopes.numpy()).argmax())
            records.write(
                tf.train.Example(
                    features=tf.train.Features(
                        feature={
                            "age": tf.train.Feature(float_list=tf.train.FloatList(value=ages)),
                            "colour": tf.train.Feature(int64_list=tf.train.Int64List(value=[colour])),
                            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                        }
                    )
                ).SerializeToString(deterministic=True)
            )

    large = tf.Variable(tf.zeros([1 << 14, 1 << 14]))
    save("gigabyte", lambda x: {"y": tf.matmul(x, large)}, spec([None, 1 << 14]))

    words = os.path.join(directory, "words.txt")
    with open(words, "w", encoding="utf-8") as stream:
        stream.write("red\ngreen\nblue\n")
    vocabulary = tf.Module()
    vocabulary.vectors = vectors
    vocabulary.asset = tf.saved_model.Asset(words)
    vocabulary.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            vocabulary.asset,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        1,
    )
    vocabulary.call = tf.function(
        lambda word: {"vector": tf.gather(vectors, vocabulary.table.lookup(word))},
        input_signature=[spec([None], tf.string, "word")],
    )
    tf.saved_model.save(vocabulary, os.path.join(directory, "vocabulary"), signatures=vocabulary.call)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        fed = tf.compat.v1.placeholder(tf.float32, [None, 64], "fed")
        variable = tf.compat.v1.get_variable("w", initializer=normal(64, 32), use_resource=False)
        answer = tf.matmul(fed, variable)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, os.path.join(directory, "tensorflow1"), {"x": fed}, {"y": answer})

    for broken in ("cut_short", "empty_file", "no_variables"):
        shutil.copytree(os.path.join(directory, "dense"), os.path.join(directory, broken))
    shutil.copytree(os.path.join(directory, "vocabulary"), os.path.join(directory, "no_asset"))
    with open(os.path.join(directory, "cut_short", "saved_model.pb"), "r+b") as stream:
        stream.truncate(os.path.getsize(stream.name) - 100)
    with open(os.path.join(directory, "empty_file", "saved_model.pb"), "wb"):
        pass
    shutil.rmtree(os.path.join(directory, "no_variables", "variables"))
    os.unlink(os.path.join(directory, "no_asset", "assets", "words.txt"))


if __name__ == "__main__":
    import odd_models

    build(sys.argv[1])
    odd_models.build(sys.argv[1], os.path.join(sys.argv[1], "dense"))
