# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the models of the recorded exchanges: `python make_conformance_models.py DIRECTORY`, below it NAME/VERSION. Needs TensorFlow.

Names of models, signatures and tensors, and the seed of the weights, are those that the recorded server served.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

tf1 = tf.compat.v1
FOLDER = Path(sys.argv[1])
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))
FLOATS, INTS, TEXTS = ([None], tf.float32), ([None], tf.int32), ([None], tf.string)


def export(name, signatures, version=1, **tracked):
    """Save functions of TensorFlow 2. signatures: {name: (function of keywords, {input: (shape, dtype)})}."""
    module = tf.Module()
    for attribute, value in tracked.items():
        setattr(module, attribute, value)
    traced = {
        key: tf.function(function).get_concrete_function(
            **{alias: tf.TensorSpec(shape, dtype, alias) for alias, (shape, dtype) in inputs.items()}
        )
        for key, (function, inputs) in signatures.items()
    }
    tf.saved_model.save(module, str(FOLDER / name / str(version)), signatures=traced)


def graph_model(name):
    """Save what the decorated function builds in a graph of TensorFlow 1: {signature: (inputs, outputs, method name)}."""

    def saved(build):
        with tf1.Graph().as_default(), tf1.Session() as session:
            info = tf1.saved_model.build_tensor_info
            signatures = {
                key: tf1.saved_model.build_signature_def(
                    {alias: info(tensor) for alias, tensor in inputs.items()},
                    {alias: info(tensor) for alias, tensor in outputs.items()},
                    method,
                )
                for key, (inputs, outputs, method) in build().items()
            }
            session.run(tf1.global_variables_initializer())
            builder = tf1.saved_model.Builder(str(FOLDER / name / "1"))
            builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
            builder.save()

    return saved


@graph_model("half")
def _half():
    """What TensorFlow Serving calls half_plus_two: lines through 2 and 3 with slope 1/2, over numbers and over tf.Example."""
    slope, two, three = (
        tf1.get_variable(name, initializer=value) for name, value in (("a", 0.5), ("b", 2.0), ("c", 3.0))
    )
    examples = tf1.placeholder(tf.string, name="tf_example")
    features = {
        "x": tf.io.FixedLenFeature([1], tf.float32),
        "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
    }
    parsed = tf1.parse_example(examples, features)
    x = tf.identity(parsed["x"], name="x")
    y, y2 = tf.add(slope * x, two, name="y"), tf.add(slope * x, three, name="y2")
    y3 = tf.add(slope * tf.identity(parsed["x2"], name="x2"), three, name="y3")
    scores = tf.concat([y, y2], 1, name="two")
    labels = tf.identity(tf.tile(tf.constant([["plus two", "plus three"]]), [tf.shape(y)[0], 1]), name="labels")
    number = tf1.placeholder(tf.float32, [None, 1], name="px")
    result, serialized = tf.add(slope * number, two, name="py"), {"inputs": examples}
    return {
        "serving_default": ({"x": number}, {"y": result}, PREDICT),
        "regress_x_to_y": (serialized, {"outputs": y}, REGRESS),
        "regress_x_to_y2": (serialized, {"outputs": y2}, REGRESS),
        "regress_x2_to_y3": (serialized, {"outputs": y3}, REGRESS),
        "classify_x_to_y": (serialized, {"scores": scores}, CLASSIFY),
        "classify_labelled": (serialized, {"scores": scores, "classes": labels}, CLASSIFY),
        "classify_classes": (serialized, {"classes": labels}, CLASSIFY),
        "predict_examples": ({"examples": examples}, {"y": y, "y2": y2}, PREDICT),
        "regress_as_predict": (serialized, {"outputs": y}, PREDICT),
        "odd_method": ({"x": number}, {"y": result}, "some/other/method"),
        "no_method": ({"x": number}, {"y": result}, ""),
    }


@graph_model("est")
def _estimator():
    """A classifier over tf.Example, as Estimators exported them."""
    examples = tf1.placeholder(tf.string, [None], name="input_example")
    features = {
        "age": tf.io.FixedLenFeature([], tf.int64, 30),
        "w": tf.io.FixedLenFeature([2], tf.float32),
        "city": tf.io.FixedLenFeature([], tf.string, "?"),
        "tags": tf.io.VarLenFeature(tf.string),
    }
    parsed = tf1.parse_example(examples, features)
    age = tf.cast(tf.expand_dims(parsed["age"], 1), tf.float32) / 100
    score = tf.reduce_sum(parsed["w"], 1, keepdims=True) + age
    tags, ones = parsed["tags"], tf.ones_like(parsed["tags"].values, tf.int32)
    marks = tf.sparse.to_dense(tf.SparseTensor(tags.indices, ones, tags.dense_shape))
    scores = tf.concat([score, tf.cast(tf.reduce_sum(marks, 1, keepdims=True), tf.float32)], 1)
    city = parsed["city"]
    classes = tf.stack([city, tf.strings.join([city, "!"])], 1)
    return {
        "serving_default": ({"inputs": examples}, {"scores": scores, "classes": classes}, CLASSIFY),
        "regression": ({"inputs": examples}, {"outputs": score}, REGRESS),
        "predict": ({"examples": examples}, {"score": score, "city": city}, PREDICT),
    }


@graph_model("sparse")
def _sparse():
    sparse = tf1.sparse_placeholder(tf.float32, [None, 4], name="sp")
    dense = tf.sparse.to_dense(sparse)
    parts = {"indices": sparse.indices, "values": sparse.values, "shape": sparse.dense_shape}
    return {
        "serving_default": ({"sp": sparse}, {"dense": dense}, PREDICT),
        "parts": (parts, {"dense": dense}, PREDICT),
        "out": (parts, {"sp2": sparse}, PREDICT),
    }


def functions():
    """Models of TensorFlow 2 over every dtype, shape and kind of answer."""
    export(
        "two",
        {
            "serving_default": (
                lambda a, b: {"sum": a + tf.cast(b, tf.float32)[:, None], "neg": -b},
                {"a": ([None, 2], tf.float32), "b": INTS},
            )
        },
    )
    export(
        "text",
        {
            "serving_default": (lambda s: {"out": tf.strings.upper(s, encoding="utf-8")}, {"s": TEXTS}),
            "bytes": (lambda s: {"out_bytes": s, "n": tf.strings.length(s)}, {"s": TEXTS}),
            "one_bytes": (lambda s: {"out_bytes": s}, {"s": TEXTS}),
            "image": (lambda image_bytes: {"n": tf.strings.length(image_bytes)}, {"image_bytes": TEXTS}),
            "matrix": (lambda s: {"out": s, "out_bytes": s}, {"s": ([None, None], tf.string)}),
        },
    )
    dtypes = {
        "i64": tf.int64,
        "i32": tf.int32,
        "i16": tf.int16,
        "i8": tf.int8,
        "u8": tf.uint8,
        "u16": tf.uint16,
        "u32": tf.uint32,
        "u64": tf.uint64,
        "f64": tf.float64,
        "f32": tf.float32,
        "f16": tf.float16,
        "bf16": tf.bfloat16,
        "boo": tf.bool,
        "c64": tf.complex64,
        "str": tf.string,
    }
    export("dtypes", {key: (lambda x: {"y": tf.identity(x)}, {"x": ([None], dtype)}) for key, dtype in dtypes.items()})
    export(
        "scalar",
        {
            "serving_default": (lambda x: {"total": tf.reduce_sum(x)}, {"x": FLOATS}),
            "mixed": (lambda x: {"total": tf.reduce_sum(x), "each": x * 2.0}, {"x": FLOATS}),
            "in": (lambda x: {"y": x + 1.0}, {"x": ([], tf.float32)}),
        },
    )
    export(
        "nobatch",
        {
            "serving_default": (lambda x: {"y": x * 2.0}, {"x": ([3], tf.float32)}),
            "fixed": (lambda x: {"y": x * 2.0}, {"x": ([2, 2], tf.float32)}),
            "constant": (lambda: {"y": tf.constant([1.0, 2.0])}, {}),
            "wider": (lambda x: {"y": tf.concat([x, x], 0)}, {"x": FLOATS}),
        },
    )
    export(
        "anyrank",
        {
            "serving_default": (lambda x: {"y": x * 2.0, "shape": tf.identity(x)}, {"x": (None, tf.float32)}),
            "one": (lambda x: {"y": x + 1.0}, {"x": (None, tf.float32)}),
            "strings": (lambda x: {"y": x}, {"x": (None, tf.string)}),
        },
    )
    export(
        "ragged",
        {
            "serving_default": (lambda x: {"sum": tf.reduce_sum(x, 1)}, {"x": ([None, None], tf.float32)}),
            "echo": (lambda x: {"y": tf.identity(x)}, {"x": ([None, None], tf.float32)}),
            "ints": (lambda x: {"y": tf.identity(x)}, {"x": ([None, None], tf.int32)}),
        },
    )
    words = FOLDER / "vocabulary.txt"
    words.write_text("red\ngreen\nblue\n", encoding="utf-8")
    whole_line, line_number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    lines = tf.lookup.TextFileInitializer(str(words), tf.string, whole_line, tf.int64, line_number)
    table = tf.lookup.StaticVocabularyTable(lines, 2)
    export("vocab", {"serving_default": (lambda word: {"id": table.lookup(word)}, {"word": TEXTS})}, table=table)
    for name, number in (("versions", 1), ("versions", 2), ("versions", 3), ("latest", 1), ("latest", 12)):
        constant = functools.partial(lambda number, x: {"y": x * 0.0 + float(number)}, number)
        export(name, {"serving_default": (constant, {"x": FLOATS})}, number)
        if name == "versions":
            export("labels", {"serving_default": (constant, {"x": FLOATS})}, number)
    export(
        "special",
        {
            "serving_default": (lambda x: {"log": tf.math.log(x), "inv": 1.0 / x}, {"x": FLOATS}),
            "one": (lambda x: {"log": tf.math.log(x)}, {"x": FLOATS}),
            "double": (lambda x: {"inv": 1.0 / x}, {"x": ([None], tf.float64)}),
            "big": (lambda n: {"y": tf.zeros([tf.shape(n)[0], tf.reduce_max(n)])}, {"n": INTS}),
            "third": (lambda x: {"y": x / 3.0}, {"x": FLOATS}),
            "third64": (lambda x: {"y": x / 3.0}, {"x": ([None], tf.float64)}),
        },
    )
    counter = tf.Variable(0.0, name="counter")
    export(
        "counter",
        {
            "serving_default": (lambda: {"value": tf.identity(counter)}, {}),
            "incr": (lambda: {"value": counter.assign_add(1.0)}, {}),
            "incr_by": (lambda delta: {"value": counter.assign_add(delta)}, {"delta": ([], tf.float32)}),
        },
        counter=counter,
    )


def control_flow():
    """Loops, branches, and ops that fail at some values."""

    def collatz(x):
        steps = tf.zeros_like(x)
        _last, steps = tf.while_loop(
            lambda v, n: tf.reduce_any(v > 1),
            lambda v, n: (
                tf.where(v > 1, tf.where(v % 2 == 0, v // 2, 3 * v + 1), v),
                tf.where(v > 1, n + 1, n),
            ),
            (x, steps),
        )
        large = tf.cond(
            tf.reduce_sum(x) > 100, lambda: tf.fill(tf.shape(x), "large"), lambda: tf.fill(tf.shape(x), "small")
        )
        return {"steps": steps, "kind": large}

    def checked(x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x >= 0.0), ["negative values", x])]):
            return {"root": tf.sqrt(x)}

    def slow(n):
        ones = tf.ones([64, 64])
        _last, product = tf.while_loop(
            lambda i, _m: i < tf.reduce_max(n),
            lambda i, m: (i + 1, tf.tanh(tf.matmul(m, ones))),
            (tf.constant(0), ones),
            parallel_iterations=1,
        )
        return {"y": tf.cast(n, tf.float32) + product[0, 0] * 0.0}

    export(
        "control",
        {
            "serving_default": (collatz, {"x": INTS}),
            "checked": (checked, {"x": FLOATS}),
            "gather": (lambda i: {"y": tf.gather(tf.constant([10.0, 20.0, 30.0]), i)}, {"i": INTS}),
            "numerics": (lambda x: {"y": tf.debugging.check_numerics(x, "not a number")}, {"x": FLOATS}),
            "reshape": (lambda x: {"y": tf.reshape(x, [-1, 2])}, {"x": FLOATS}),
            "matmul": (lambda x: {"y": tf.matmul(x, tf.ones([3, 2]))}, {"x": ([None, None], tf.float32)}),
            "parse": (lambda s: {"y": tf.strings.to_number(s)}, {"s": TEXTS}),
            "json": (lambda s: {"y": tf.io.decode_base64(s)}, {"s": TEXTS}),
            "divide": (lambda x: {"y": 12 // x}, {"x": INTS}),
        },
    )
    export("slow", {"serving_default": (slow, {"n": INTS})})


def names():
    """Names that need care, and a signature with a default for one of its inputs."""
    function = (lambda Z, a: {"Zed": Z, "alpha": a, "m_bytes": tf.as_string(a)}, {"Z": FLOATS, "a": FLOATS})
    export("names", {"serving_default": function})
    path = FOLDER / "names/1/saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    signatures["with_default"].CopyFrom(signatures["serving_default"])
    signatures["with_default"].defaults["a"].CopyFrom(tf.make_tensor_proto([7.0, 8.0]))
    path.write_bytes(saved.SerializeToString())


def networks():
    """Small networks as Keras exports them, and models of TensorFlow Lite. The weights depend on the seed and on the order."""
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(7)
    networks = {
        "keras": lambda: [layers.Input([4], name="features"), layers.Dense(8, "relu"), layers.Dense(3, "softmax")],
        "conv": lambda: [
            layers.Input([8, 8, 1], name="image"),
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(2),
        ],
        "embed": lambda: [layers.Input([None], dtype="int32", name="tokens"), layers.Embedding(10, 4), layers.Dense(2)],
        "flat": lambda: [layers.Input([2, 2], name="grid"), layers.Flatten(), layers.Dense(2)],
        "one": lambda: [layers.Input([1], name="x"), layers.Dense(1)],
    }
    for name, made in networks.items():
        tf.keras.Sequential(made()).export(str(FOLDER / name / "1"), verbose=False)
    lite("lite", tf.lite.TFLiteConverter.from_saved_model(str(FOLDER / "keras/1")))
    module = tf.Module()
    inputs = [tf.TensorSpec([2], tf.float32, "s"), tf.TensorSpec([2], tf.int32, "n")]
    module.both = tf.function(lambda s, n: {"n2": n * 2, "s2": s})
    both = module.both.get_concrete_function(*inputs)
    lite("lite2", tf.lite.TFLiteConverter.from_concrete_functions([both], module))
    module.flat = tf.function(lambda x: {"y": tf.reshape(x, [-1]) * 2.0})
    flat = module.flat.get_concrete_function(tf.TensorSpec([None, 2], tf.float32, "x"))
    lite("lite3", tf.lite.TFLiteConverter.from_concrete_functions([flat], module))


def lite(name, converter):
    """Save what a converter makes."""
    path = FOLDER / name / "1/model.tflite"
    path.parent.mkdir(parents=True)
    path.write_bytes(converter.convert())


for make in (functions, control_flow, names, networks):
    make()
