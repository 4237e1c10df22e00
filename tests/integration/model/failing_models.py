# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SavedModels that load, and whose requests fail or do more than answer."""

from __future__ import annotations

import os

import tensorflow as tf

tf1 = tf.compat.v1
ROWS, PATH, NUMBERS = (
    tf.TensorSpec([None, 4], name="x"),
    tf.TensorSpec([], tf.string, name="x"),
    tf.TensorSpec([None, 1], tf.int64, name="x"),
)
ADD = b"""module @twice {
  func.func public @main(%arg0: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %0 = stablehlo.add %arg0, %arg0 : tensor<2x4xf32>
    return %0 : tensor<2x4xf32>
  }
}"""


def ragged(_module, x):
    return {"y": tf.RaggedTensor.from_row_lengths(tf.reshape(x, [-1]), tf.fill([tf.shape(x)[0]], 4))}


def sparse(_module, x):
    return {"y": tf.sparse.from_dense(x), "sum": tf.reduce_sum(x)}


def dense_of_ragged(_module, x):
    return {"y": tf.RaggedTensor.from_row_lengths(tf.reshape(x, [-1]), tf.fill([tf.shape(x)[0]], 4)).to_tensor()}


def compiled(module, x):
    return {"y": tf.matmul(x, module.weights)}


def compiled_inside(module, x):
    return {"y": tf.nn.relu(module.inner(x))}


def scoped(_module, x):
    with tf.xla.experimental.jit_scope():
        return {"y": x * 2.0}


def clustered(_module, x):
    return {"y": tf.xla.experimental.compile(lambda rows: rows * 2.0, [x])[0]}


def stablehlo(_module, x):
    from tensorflow.compiler.tf2xla.python import xla

    return {"y": xla.call_module([x], version=9, module=ADD, Tout=[tf.float32], Sout=[(2, 4)], platforms=["CPU"])[0]}


def product(module, x):
    return tf.matmul(x, module.weights)


def plain(module, x):
    return {"y": tf.matmul(x, module.weights)}


def reads(_module, x):
    return {"y": tf.io.read_file(x)}


def lists(_module, x):
    return {"y": tf.io.matching_files(x)}


def writes(_module, x):
    tf.io.write_file(x, "from a request")
    return {"y": tf.strings.length(x)}


def saves(module, x):
    tf.raw_ops.SaveV2(prefix=x, tensor_names=["w"], shape_and_slices=[""], tensors=[module.weights.read_value()])
    return {"y": tf.strings.length(x)}


def reads_records(_module, x):
    return {"y": tf.data.TFRecordDataset(x).reduce(tf.constant(0, tf.int64), lambda total, _one: total + 1)}


def reads_one_file(_module, x):
    return {"y": tf.strings.join([x, tf.io.read_file("/proc/version")])}


def trains(module, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.matmul(x, module.weights))
    gradient = tape.gradient(loss, module.weights)
    tf.raw_ops.ResourceApplyGradientDescent(var=module.weights.handle, alpha=0.1, delta=gradient)
    return {"y": loss}


def trains_rows(module, x):
    tf.raw_ops.ResourceSparseApplyAdagrad(
        var=module.weights.handle, accum=module.sums.handle, lr=0.1, grad=x, indices=[0, 1]
    )
    return {"y": tf.reduce_sum(x)}


def candidates(_module, x):
    return {"y": tf.random.uniform_candidate_sampler(x, 1, 3, True, 100).sampled_candidates}


def random_integers(_module, x):
    return {"y": x + tf.cast(tf.raw_ops.NonDeterministicInts(shape=[4]), tf.float32)}


def time_stamp(_module, x):
    return {"y": tf.cast(x, tf.float64) + tf.timestamp()}


def bound(make, module):
    """A function of x alone."""
    return lambda x: make(module, x)


COMPOSITE = {"ragged": "RaggedTensor", "sparse": "SparseTensor", "sparse_of_tensorflow1": "SparseTensor"}
XLA = ("compiled", "compiled_inside", "scoped", "clustered", "stablehlo")
# Of each signature: what is random, what keeps state, what works with files, and whether requests choose the file.
EFFECTS = {
    "plain": ([], [], [], False),
    "reads": ([], [], ["ReadFile"], True),
    "lists": ([], [], ["MatchingFiles"], True),
    "writes": ([], [], ["WriteFile"], True),
    "saves": ([], [], ["SaveV2"], True),
    "reads_records": ([], [], ["TFRecordDataset"], True),
    "reads_one_file": ([], [], ["ReadFile"], False),
    "trains": ([], ["ResourceApplyGradientDescent"], [], False),
    "trains_rows": ([], ["ResourceSparseApplyAdagrad"], [], False),
    "candidates": (["UniformCandidateSampler"], [], [], False),
    "random_integers": (["NonDeterministicInts"], [], [], False),
    "time_stamp": (["Timestamp"], [], [], False),
}


def build(directory):
    """Write a model for each function above, below directory, as version 1 of a base path; and those that no function makes."""

    def path(name):
        return os.path.join(directory, name, "1")

    makes = [
        ragged,
        sparse,
        dense_of_ragged,
        compiled,
        compiled_inside,
        scoped,
        clustered,
        stablehlo,
        plain,
        reads,
        lists,
        writes,
        saves,
        reads_records,
        reads_one_file,
        trains,
        trains_rows,
        candidates,
        random_integers,
        time_stamp,
    ]
    for make in makes:
        module = tf.Module()
        module.weights, module.sums = tf.Variable(tf.ones([4, 3])), tf.Variable(tf.ones([4, 4]))
        if make is trains_rows:
            module.weights = tf.Variable(tf.ones([4, 4]))
        module.inner = tf.function(bound(product, module), jit_compile=True)
        spec = (
            PATH
            if make in (reads, lists, writes, saves, reads_records, reads_one_file)
            else NUMBERS
            if make is candidates
            else ROWS
        )
        if make in (stablehlo, trains_rows):
            spec = tf.TensorSpec([2, 4], name="x")
        module.call = tf.function(bound(make, module), input_signature=[spec], jit_compile=make is compiled or None)
        tf.saved_model.save(module, path(make.__name__), signatures=module.call)
    module = tf.Module()
    module.call = tf.function(lambda x: x * 2)
    tf.saved_model.save(module, path("no_signature"))

    with tf1.Graph().as_default(), tf1.Session() as session:
        fed = tf1.placeholder(tf.float32, [None, 4])
        info = (
            {"x": tf1.saved_model.build_tensor_info(fed)},
            {"y": tf1.saved_model.build_tensor_info(tf.sparse.from_dense(fed))},
        )
        builder = tf1.saved_model.Builder(path("sparse_of_tensorflow1"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": tf1.saved_model.build_signature_def(*info)}
        )
        builder.save()
    with tf1.Graph().as_default(), tf1.Session() as session:
        fed = tf1.placeholder(tf.float32, [None, 4])
        builder = tf1.saved_model.Builder(path("two_tags"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve", "gpu"],
            {"serving_default": tf1.saved_model.predict_signature_def({"x": fed}, {"y": fed * 2})},
        )
        builder.add_meta_graph(
            ["serve"], {"serving_default": tf1.saved_model.predict_signature_def({"x": fed}, {"y": fed * 3})}
        )
        builder.save()
