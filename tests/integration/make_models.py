# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the models that the server's tests serve: `python make_models.py DIRECTORY`, below it NAME/1. Needs TensorFlow."""

from __future__ import annotations

import os
import sys

import flatbuffers
import numpy
import tensorflow as tf
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

tf1 = tf.compat.v1


def save(path, module, function, **inputs):
    """Save function with signature serving_default; inputs: {name: (dtype, shape)}."""
    specs = {name: tf.TensorSpec(shape, dtype, name) for name, (dtype, shape) in inputs.items()}
    traced = tf.function(function).get_concrete_function(**specs)
    tf.saved_model.save(module, path, {"serving_default": traced})


def half_plus_two(path, more=2.0, forgotten=False):
    """A graph of TensorFlow 1 with variables and an explicit signature: y = x / 2 + 2, or another number. forgotten: nothing restores that number."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 1], "x")
        half, two = tf1.Variable(0.5, use_resource=False), tf1.Variable(more, use_resource=False)
        y = tf.add(x * half, two, "y")
        session.run(tf1.global_variables_initializer())
        signature = tf1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = tf1.saved_model.Builder(path)
        saver = tf1.train.Saver([half]) if forgotten else None
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, saver=saver)
        builder.save()


def over_examples(path):
    """Signatures that parse tf.Examples with a feature x: classify and regress as they should be, the others each with something odd."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        serialized, other = (
            tf1.placeholder(tf.string, [None], "serialized"),
            tf1.placeholder(tf.string, [None], "other"),
        )
        x = tf1.parse_example(serialized, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        column, pair = x[:, None], tf.stack([x, -x], 1)
        names, scores = tf.as_string(pair, precision=1), {"scores": pair}
        signatures = {
            ("classify", "classify"): {"classes": names, **scores},
            ("classify", "one_score_of_two_outputs"): {"more": x, **scores},
            ("classify", "three_outputs"): {"classes": names, "more": x, **scores},
            ("classify", "flat_scores"): {"scores": x},
            ("classify", "double_scores"): {"scores": tf.cast(pair, tf.float64)},
            ("classify", "number_classes"): {"classes": tf.cast(pair, tf.int64), **scores},
            ("classify", "few_scores"): {"classes": names, "scores": pair[:1]},
            ("classify", "unlike"): {"classes": names, "scores": column},
            ("regress", "regress"): {"outputs": x},
            ("regress", "column"): {"outputs": column},
            ("regress", "two_outputs"): {"outputs": x, "more": x},
            ("regress", "other_output"): {"y": x},
            ("regress", "wide"): {"outputs": pair},
            ("regress", "short"): {"outputs": x[:1]},
            ("regress", "whole"): {"outputs": tf.cast(x, tf.int32)},
            ("regress", "two_inputs"): {"outputs": x},
        }
        info, made = tf1.saved_model.build_tensor_info, {}
        for (method, name), outputs in signatures.items():
            inputs = {"inputs": info(serialized), **({"other": info(other)} if name == "two_inputs" else {})}
            made[name] = tf1.saved_model.build_signature_def(
                inputs, {alias: info(tensor) for alias, tensor in outputs.items()}, f"tensorflow/serving/{method}"
            )
        builder = tf1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, ["serve"], made)
        builder.save()


def table(path):
    """A graph of TensorFlow 1 with a lookup table, an asset and an init op: the length of a word."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        words = os.path.join(os.path.dirname(path), "words.txt")
        with open(words, "w", encoding="utf-8") as stream:
            stream.write("zero\none\ntwo\n")
        asset = tf.constant(words)
        tf1.add_to_collection(tf1.GraphKeys.ASSET_FILEPATHS, asset)
        lookup = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            -1,
        )
        word = tf1.placeholder(tf.string, [None], "word")
        number = lookup.lookup(word)
        session.run(tf1.tables_initializer())
        builder = tf1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": tf1.saved_model.predict_signature_def({"word": word}, {"number": number})},
            main_op=tf1.tables_initializer(),
            assets_collection=tf1.get_collection(tf1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
        os.unlink(words)


def scaled(path, factor):
    """y = factor * x, n = the number of rows the graph saw, began and ended: when, for every row; spends about 20 ms."""

    def run(x):
        began = tf.timestamp()
        with tf.control_dependencies([began]):
            work = (
                tf.random.stateless_uniform([700, 700], [1, 2]) + x[0, 0] * 1e-9
            )  # What does not depend on x is computed but once.
            for _step in range(4):
                work = tf.linalg.matmul(work, work) * 1e-3
        with tf.control_dependencies([work]):
            ended = tf.timestamp()
        rows = tf.shape(x)[0]
        row = tf.ones([rows], tf.float64)
        y = tf.where(tf.math.is_nan(work[0, 0]), -x, x * factor)  # What nothing depends on is not computed at all.
        return {"y": y, "n": tf.fill([rows], rows), "began": row * began, "ended": row * ended}

    save(path, tf.Module(), run, x=(tf.float32, [None, 4]))


def lite(path, metadata):
    """A TensorFlow Lite file with two outputs, sum and diff of x [None, 2]; metadata: with the signature that TensorFlow Serving reads."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def run(x):
        both = tf.matmul(x, [[1.0, 1.0], [1.0, -1.0]])
        return {"sum": both[:, 0], "diff": both[:, 1]}

    module = tf.Module()
    module.run = run
    content = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()], module).convert()
    if metadata:
        model = schema.ModelT.InitFromPackedBuf(content)
        subgraph = model.subgraphs[0]
        names = {
            key: subgraph.tensors[index].name.decode()
            for key, index in (("in", subgraph.inputs[0]), ("0", subgraph.outputs[0]), ("1", subgraph.outputs[1]))
        }
        interpreter = tf.lite.Interpreter(model_content=content)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], numpy.array([[3, 1]], "float32"))
        interpreter.invoke()
        first = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        named = {"sum": names["0"] if first == 4 else names["1"], "diff": names["1"] if first == 4 else names["0"]}
        signature = tf1.MetaGraphDef().signature_def["serving_default"]
        signature.method_name = "tensorflow/serving/predict"
        for target, aliases, shape in (
            (signature.inputs, {"x": names["in"]}, [-1, 2]),
            (signature.outputs, named, [-1]),
        ):
            for alias, name in aliases.items():
                target[alias].name, target[alias].dtype = name, 1
                for size in shape:
                    target[alias].tensor_shape.dim.add(size=size)
        builder = flexbuffers.Builder()
        with builder.Map():
            builder.Key("serving_default")
            builder._WriteBlob(signature.SerializeToString(), append_zero=True, type_=flexbuffers.Type.STRING)
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = list(builder.Finish())
        entry = schema.MetadataT()
        entry.name, entry.buffer = b"signature_defs_metadata", len(model.buffers) - 1
        model.metadata = (model.metadata or []) + [entry]
        packed = flatbuffers.Builder(1024)
        packed.Finish(model.Pack(packed), b"TFL3")
        content = bytes(packed.Output())
    os.makedirs(path)
    with open(os.path.join(path, "model.tflite"), "wb") as stream:
        stream.write(content)


def half_lite(path):
    """A TensorFlow Lite file whose input and output are float16: an identity, changed in the file itself."""
    lite(path, metadata=False)
    file = os.path.join(path, "model.tflite")
    with open(file, "rb") as stream:
        model = schema.ModelT.InitFromPackedBuf(stream.read())
    for tensor in model.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.FLOAT32:
            tensor.type = schema.TensorType.FLOAT16
    packed = flatbuffers.Builder(1024)
    packed.Finish(model.Pack(packed), b"TFL3")
    with open(file, "wb") as stream:
        stream.write(bytes(packed.Output()))


def dense(path):
    """y = x times a matrix of variables."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.reshape(tf.range(64 * 8, dtype=tf.float32), [64, 8]) / 512)
    save(path, module, lambda x: {"y": tf.matmul(x, module.kernel)}, x=(tf.float32, [None, 64]))


def convolution(path):
    """y = x through a 3x3 convolution of ones with two filters."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones([3, 3, 1, 2]))
    save(path, module, lambda x: {"y": tf.nn.conv2d(x, module.kernel, 1, "SAME")}, x=(tf.float32, [None, 8, 8, 1]))


def plain(function, **inputs):
    """A maker of a model without variables."""
    return lambda path: save(path, tf.Module(), function, **inputs)


MODELS = {
    "half_plus_two": half_plus_two,
    "half_plus_three": lambda path: half_plus_two(path, 3.0),
    "half_forgotten": lambda path: half_plus_two(path, forgotten=True),
    "over_examples": over_examples,
    "table": table,
    "dense": dense,
    "convolution": convolution,
    "double": lambda path: scaled(path, 2.0),
    "triple": lambda path: scaled(path, 3.0),
    "two": plain(lambda a, b: {"sum": a + b, "diff": a - b}, a=(tf.float32, [None, 2]), b=(tf.float32, [None, 2])),
    "strings": plain(lambda s: {"upper": tf.strings.upper(s), "raw_bytes": s}, s=(tf.string, [None])),
    "scalar_input": plain(lambda x: {"y": x * 2.0}, x=(tf.float32, [])),
    "fixed": plain(lambda x: {"y": x * 2.0}, x=(tf.float32, [1, 4])),
    "scalar": plain(lambda x: {"mean": tf.reduce_mean(x)}, x=(tf.float32, [None, 4])),
    "ragged": plain(lambda x: {"sum": tf.reduce_sum(x, 1)}, x=(tf.float32, [None, None])),
    "float64": plain(lambda x: {"y": x * 2}, x=(tf.float64, [None])),
    "int64": plain(lambda x: {"y": x + 1}, x=(tf.int64, [None])),
    "half": plain(lambda x: {"y": x + x}, x=(tf.float16, [None])),
    "bfloat16": plain(lambda x: {"y": x + x}, x=(tf.bfloat16, [None])),
    "kilobytes": plain(lambda x: {"y": x + 1.0}, x=(tf.float32, [None, 1024])),
    "lite": lambda path: lite(path, metadata=True),
    "lite_plain": lambda path: lite(path, metadata=False),
    "lite_half": half_lite,
}


if __name__ == "__main__":
    for name in MODELS:
        os.makedirs(os.path.join(sys.argv[1], name))
        MODELS[name](os.path.join(sys.argv[1], name, "1"))
