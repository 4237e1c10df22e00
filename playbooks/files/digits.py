# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the demonstration's model: a small convolutional network that classifies the handwritten digits of scikit-learn.

    python digits.py --model DIRECTORY --samples FILE

DIRECTORY becomes a SavedModel (serving_default: image float32 [-1, 8, 8, 1] to output_0 float32 [-1, 10]), FILE a NumPy archive of the
360 held-out examples (inputs.image, labels). The network enlarges an image and averages what it sees in five views of it, each moved by a
pixel, so that one example costs a core some milliseconds, as a real model would, and training, one view at a time, takes seconds.
A second run with the same program and the same TensorFlow does nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

SEED = 20260101
HELD_OUT = 360
ROWS = 32
EPOCHS = 2
LEARNING_RATE = 0.001
SIDE = 16
WIDTHS = (32, 64, 128)
VIEWS = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
LINE_EVERY_S = 5.0
NOTE = os.path.join("assets.extra", "digits.json")


def main(arguments=None):
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory of the SavedModel to write")
    parser.add_argument("--samples", required=True, help="file of labeled samples to write (.npz)")
    options = parser.parse_args(arguments)
    parameters = parameters_digest()
    if is_current(options.model, options.samples, parameters):
        say(f"{options.model} is there already, made by this program")
        return 0
    train_and_write(options.model, options.samples, parameters)
    return 0


def parameters_digest():
    """What decides the outputs: this program, and the libraries it trains with."""
    from importlib.metadata import version

    releases = {name: version(name) for name in ("tensorflow", "keras", "scikit-learn")}
    with open(__file__, "rb") as stream:
        return hashlib.sha256(stream.read() + json.dumps([releases, platform.machine()]).encode()).hexdigest()


def is_current(model, samples, parameters):
    """Whether both outputs exist and come from a run with these parameters."""
    try:
        with open(os.path.join(model, NOTE), encoding="utf-8") as stream:
            note = json.load(stream)
        return (
            note["parameters"] == parameters
            and note["samples"] == file_digest(samples)
            and os.path.exists(os.path.join(model, "saved_model.pb"))
        )
    except (OSError, ValueError, KeyError):
        return False


def train_and_write(model_directory, samples_file, parameters):
    """Train, then put both outputs in place; the model last, as its note says that all is complete."""
    say("loading TensorFlow")
    import keras
    import numpy
    import tensorflow

    keras.utils.set_random_seed(SEED)
    tensorflow.config.experimental.enable_op_determinism()
    training, held_out = load()
    images_to_views, one_view, network = build(keras)
    views = numpy.concatenate([numpy.asarray(view) for view in images_to_views(training[0])])
    train(keras, one_view, views, numpy.tile(training[1], len(VIEWS)))
    accuracy = float((network.predict(held_out[0], batch_size=120, verbose=0).argmax(axis=1) == held_out[1]).mean())
    say(f"accuracy on {HELD_OUT} held-out images: {accuracy:.4f}")
    write_samples(samples_file, held_out)
    write_model(
        network, model_directory, {"parameters": parameters, "samples": file_digest(samples_file), "accuracy": accuracy}
    )
    say(f"wrote {model_directory} and {samples_file}")


def load():
    """((images, labels) to train on, the same held out): float32 [n, 8, 8, 1] in 0..1, int64 [n]."""
    import numpy
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(numpy.float32).reshape(-1, 8, 8, 1)
    split = train_test_split(images, labels.astype(numpy.int64), test_size=HELD_OUT, random_state=SEED, stratify=labels)
    return (split[0], split[2]), (split[1], split[3])


def build(keras):
    """(from image to its views; the network for one view; the network that is served: its mean over the views). All Keras models."""
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    framed = layers.ZeroPadding2D(1)(layers.UpSampling2D(SIDE // 8, interpolation="bilinear")(image))
    views = [layers.Cropping2D(((down, 2 - down), (right, 2 - right)))(framed) for down, right in VIEWS]
    view = signal = keras.Input((SIDE, SIDE, 1))
    for width in WIDTHS:
        for _half in range(2):
            signal = layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal")(signal)
        signal = layers.MaxPooling2D()(signal)
    signal = layers.GlobalAveragePooling2D()(signal)
    one_view = keras.Model(view, layers.Dense(10, activation="softmax")(signal))
    return (
        keras.Model(image, views),
        one_view,
        keras.Model(image, layers.Average()([one_view(view) for view in views]), name="digits"),
    )


def train(keras, one_view, views, labels):
    """Fit the network for one view to all views of all images."""
    steps = EPOCHS * -(-len(labels) // ROWS)
    say(f"training on {len(labels)} views of images, {one_view.count_params()} parameters, {EPOCHS} epochs")
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    one_view.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    one_view.fit(views, labels, batch_size=ROWS, epochs=EPOCHS, verbose=0, callbacks=[progress(keras)])


def progress(keras):
    """A callback that says where the training is, every few seconds and after each epoch."""
    state = {"said": time.monotonic(), "epoch": 0}

    def tell(where, logs):
        state["said"] = time.monotonic()
        say(
            f"epoch {state['epoch'] + 1} of {EPOCHS}, {where}: loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}"
        )

    class Progress(keras.callbacks.Callback):
        """Keras's hooks."""

        def on_epoch_begin(self, epoch, logs=None):
            """Remember the epoch."""
            state["epoch"] = epoch

        def on_train_batch_end(self, batch, logs=None):
            """Say something when it has been quiet."""
            if time.monotonic() - state["said"] > LINE_EVERY_S:
                tell(f"batch {batch + 1}", logs)

        def on_epoch_end(self, epoch, logs=None):
            """Say how the epoch ended."""
            tell("done", logs)

    return Progress()


def write_samples(path, held_out):
    """The held-out examples as a NumPy archive, whole or not at all."""
    import numpy

    staged = staging_name(path)
    with open(staged, "wb") as stream:
        numpy.savez(stream, **{"inputs.image": held_out[0], "labels": held_out[1]})
    os.replace(staged, path)


def write_model(network, directory, note):
    """The SavedModel and its note under directory, whole or not at all; what was there before is replaced."""
    staged = staging_name(directory)
    shutil.rmtree(staged, ignore_errors=True)
    network.export(staged, format="tf_saved_model", verbose=False)
    os.makedirs(os.path.dirname(os.path.join(staged, NOTE)))
    with open(os.path.join(staged, NOTE), "w", encoding="utf-8") as stream:
        json.dump(note, stream, indent=2, sort_keys=True)
    shutil.rmtree(directory, ignore_errors=True)
    os.rename(staged, directory)


def staging_name(path):
    """Return the hidden name next to path under which it is written, and make the parent directory."""
    parent, name = os.path.split(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    return os.path.join(parent, f".{name}.partial")


def file_digest(path):
    """SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def say(line):
    """One line, at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
