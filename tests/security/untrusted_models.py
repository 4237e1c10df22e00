# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make SavedModels that write a file: for a request, for a signature that nobody names, while they are loaded, and by what prints. Usage: PROGRAM DIRECTORY."""

from __future__ import annotations

import os
import sys

import tensorflow as tf

WRITTEN = "/tmp/tfserving-security-written"  # The models are made once for all tests.


def spec():
    return tf.TensorSpec((None, 2), tf.float32, "x")


class Base(tf.Module):
    """Doubles."""

    def touch(self):
        """What a model does beside."""

    @tf.function(input_signature=[spec()])
    def serve(self, x):
        self.touch()
        return {"y": x * 2.0}


class InSignature(Base):
    def touch(self):
        tf.io.write_file(WRITTEN, "in a signature")


class Printing(Base):
    def touch(self):
        tf.print("printed", output_stream=f"file://{WRITTEN}")


class OnLoad(Base):
    def __init__(self):
        super().__init__()
        self.table = Writing()


class Writing(tf.saved_model.experimental.TrackableResource):
    """Initialized when the model is loaded."""

    def __init__(self):
        super().__init__(device="")
        self.resource_handle  # noqa: B018 - makes it

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self):
        tf.io.write_file(WRITTEN, "on load")


class Reading(Base):
    """Answers with the lines of any file, by means of an operation that models with vocabularies contain."""

    def touch(self):
        fill(tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string), tf.strings.join(["/etc/", "passwd"]))


class ReadingOnLoad(Base):
    def __init__(self):
        super().__init__()
        self.table = FromFile()


class FromFile(Writing):
    def _initialize(self):
        fill(tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string), tf.constant("/etc/passwd"))


class ReadingBy(Base):
    """Reads while it is loaded. call: runs a function of a path, in one of the ways in which graphs call functions."""

    def __init__(self, call):
        super().__init__()
        self.table = FromArgument(call)


class FromArgument(Writing):
    def __init__(self, call):
        super().__init__()
        self._call, self._path = call, tf.constant("/etc/passwd")

    def _create_resource(self):
        return tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string)

    def _initialize(self):
        self._call(lambda path: fill(self.resource_handle, path), self._path)


def by_capture(run, path):
    run(path)


def by_function(run, path):
    def outer(inner):
        tf.function(run)(tf.identity(inner))

    tf.function(outer)(tf.strings.join([path, ""]))


def by_branch(run, path):
    tf.cond(tf.random.uniform(()) < 2.0, lambda: run(path), lambda: None)


def by_loop(run, path):
    def body(number, inner):
        run(inner)
        return number + 1, tf.strings.join([inner, ""])

    tf.while_loop(lambda number, _inner: number < 1, body, [0, path])


def fill(table, path):
    tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=path, key_index=-1, value_index=-2, vocab_size=-1, delimiter="\t"
    )


KINDS = {
    "plain": Base,
    "in_signature": InSignature,
    "printing": Printing,
    "on_load": OnLoad,
    "reading": Reading,
    "reading_on_load": ReadingOnLoad,
    "reading_by_capture": lambda: ReadingBy(by_capture),
    "reading_by_function": lambda: ReadingBy(by_function),
    "reading_by_branch": lambda: ReadingBy(by_branch),
    "reading_by_loop": lambda: ReadingBy(by_loop),
}


def main(directory):
    for name, kind in KINDS.items():
        model = kind()
        tf.saved_model.save(model, os.path.join(directory, name), signatures=model.serve)
    words = tf.lookup.TextFileInitializer(_words(directory), tf.string, 0, tf.int64, -1)

    class WithWords(Base):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticHashTable(words, -1)

        def touch(self):
            self.table.lookup(tf.constant(["a"]))

    model = WithWords()
    tf.saved_model.save(model, os.path.join(directory, "with_words"), signatures=model.serve)
    loaded = tf.saved_model.load(os.path.join(directory, "with_words"))
    tf.saved_model.save(loaded, os.path.join(directory, "with_words_again"), signatures=loaded.signatures)


def _words(directory):
    path = os.path.join(directory, "words.txt")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("a\nb\n")
    return path


if __name__ == "__main__":
    main(sys.argv[1])
