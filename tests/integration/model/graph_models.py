# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SavedModels with operations that a signature does not run: behind its inputs, or in branches that a constant switches off."""

from __future__ import annotations

import os

import tensorflow

tf1 = tensorflow.compat.v1


def weights():
    """A variable of TensorFlow 1."""
    return tf1.get_variable("w", [4, 3], initializer=tf1.random_normal_initializer(seed=1), use_resource=False)


def fed():
    """The tensor that requests feed."""
    return tf1.placeholder(tensorflow.float32, [None, 4])


def dropped(x):
    """x with half of it dropped."""
    return tf1.nn.dropout(x, rate=0.5)


def repeated(x, times, step):
    """What step makes of x, so many times."""
    return tf1.while_loop(
        lambda number, _hidden: number < times, lambda number, hidden: (number + 1, step(hidden)), [0, x]
    )[1]


def scored(x, hidden, **others):
    """(inputs, outputs) of a signature."""
    return {"x": x, **others}, {"y": tensorflow.nn.softmax(tensorflow.matmul(hidden, weights()))}


def python_before():
    x = tensorflow.ensure_shape(tf1.py_func(lambda raw: raw, [fed()], tensorflow.float32), [None, 4])
    return scored(x, x)


def python_tensor_fed():
    x = tf1.py_func(lambda raw: raw, [fed()], tensorflow.float32)
    return scored(x, tensorflow.reshape(x, [-1, 4]))


def examples_before():
    x = tf1.parse_example(
        tf1.placeholder(tensorflow.string, [None]), {"x": tf1.FixedLenFeature([4], tensorflow.float32)}
    )["x"]
    return scored(x, x)


def queue_before():
    x = tf1.FIFOQueue(3, [tensorflow.float32], [[2, 4]]).dequeue()
    return scored(x, x)


def iterator_before():
    x = tf1.data.make_initializable_iterator(
        tensorflow.data.Dataset.from_tensor_slices(tensorflow.ones([8, 4])).batch(2)
    ).get_next()
    return scored(x, x)


def dropout_off():
    x, training = fed(), tf1.placeholder_with_default(False, [], name="whatever_it_is_called")
    return scored(x, tf1.cond(training, lambda: dropped(x), lambda: x))


def dropout_off_by_not():
    x, serving = fed(), tf1.placeholder_with_default(True, [])
    return scored(x, tf1.cond(tensorflow.logical_not(tensorflow.identity(serving)), lambda: dropped(x), lambda: x))


def dropout_off_by_number():
    x, mode = fed(), tf1.placeholder_with_default(0, [])
    return scored(x, tf1.cond(tensorflow.equal(mode, 1), lambda: dropped(x), lambda: x))


def dropout_off_in_two_branches():
    x, training = fed(), tf1.placeholder_with_default(False, [])
    return scored(
        x, tf1.cond(tf1.reduce_sum(x) > 0, lambda: tf1.cond(training, lambda: dropped(x), lambda: x), lambda: x * 2)
    )


def dropout_off_in_a_loop():
    x, training = fed(), tf1.placeholder_with_default(False, [])
    return scored(x, repeated(x, 3, lambda hidden: tf1.cond(training, lambda: dropped(hidden), lambda: hidden * 2)))


def noisy_loop_off():
    x, times = fed(), tf1.placeholder_with_default(0, [])
    return scored(x, repeated(x, times, lambda hidden: hidden + tf1.random_normal([4])))


def noise_that_is_not_taken():
    x, training, noise = fed(), tf1.placeholder_with_default(False, []), tf1.random_normal([4])
    return scored(x, tf1.cond(training, lambda: x + noise, lambda: x))


def nothing_to_drop():
    x, keep = fed(), tf1.placeholder_with_default(1.0, [])
    return scored(x, tf1.nn.dropout(x, keep_prob=keep))


def counter_off():
    x, training = fed(), tf1.placeholder_with_default(False, [])
    count = tf1.get_variable("count", [], initializer=tf1.zeros_initializer(), use_resource=True)
    return scored(x, tf1.cond(training, lambda: x + count.assign_add(1.0), lambda: x))


def dropout_on():
    x, training = fed(), tf1.placeholder_with_default(True, [])
    return scored(x, tf1.cond(training, lambda: dropped(x), lambda: x))


def noisy_loop():
    x, times = fed(), tf1.placeholder_with_default(2, [])
    return scored(x, repeated(x, times, lambda hidden: hidden + tf1.random_normal([4])))


def something_to_drop():
    x, keep = fed(), tf1.placeholder_with_default(0.9, [])
    return scored(x, tf1.nn.dropout(x, keep_prob=keep))


def counter_in_a_branch_of_the_request():
    x = fed()
    count = tf1.get_variable("count", [], initializer=tf1.zeros_initializer(), use_resource=True)
    return scored(x, tf1.cond(tf1.reduce_sum(x) > 0, lambda: x + count.assign_add(1.0), lambda: x))


def python_needed_by_another_output():
    both = tf1.py_func(lambda raw: (raw, raw), [fed()], [tensorflow.float32, tensorflow.float32])
    return {"x": both[0]}, {"y": tensorflow.matmul(tensorflow.reshape(both[0], [-1, 4]), weights()), "raw": both[1]}


def dropout_that_requests_switch():
    x, training = fed(), tf1.placeholder_with_default(False, [])
    return scored(x, tf1.cond(training, lambda: dropped(x), lambda: x), training=training)


def dropout_that_a_variable_switches():
    x, training = fed(), tf1.get_variable("training", [], tensorflow.bool, initializer=tf1.zeros_initializer())
    return scored(x, tf1.cond(training, lambda: dropped(x), lambda: x))


# What a session runs of what is random, keeps state, or calls Python; and what it may run, as a value decides that is not in the graph.
CLEAN = (
    python_before,
    python_tensor_fed,
    examples_before,
    queue_before,
    iterator_before,
    dropout_off,
    dropout_off_by_not,
    dropout_off_by_number,
    dropout_off_in_two_branches,
    dropout_off_in_a_loop,
    noisy_loop_off,
    noise_that_is_not_taken,
    nothing_to_drop,
    counter_off,
)
IMPURE = (
    dropout_on,
    noisy_loop,
    something_to_drop,
    counter_in_a_branch_of_the_request,
    python_needed_by_another_output,
)
OPEN = (dropout_that_requests_switch, dropout_that_a_variable_switches)
MODELS = {f"{make.__name__}_v{version}": (make, version) for make in CLEAN + IMPURE + OPEN for version in (1, 2)}


def build(directory):
    """Write all of MODELS below directory, with the control flow of TensorFlow 1 and of TensorFlow 2."""
    for name, (make, version) in MODELS.items():
        (tf1.enable_control_flow_v2 if version == 2 else tf1.disable_control_flow_v2)()
        with tensorflow.Graph().as_default(), tf1.Session() as session:
            inputs, outputs = make()
            session.run(tf1.global_variables_initializer())
            builder = tf1.saved_model.Builder(os.path.join(directory, name))
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": tf1.saved_model.predict_signature_def(inputs, outputs)}
            )
            builder.save()
    tf1.enable_control_flow_v2()
