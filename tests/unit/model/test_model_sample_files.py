# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples from JSON lines, from tf.Example records made by hand after feature.proto, and from warm-up files; metrics that users write."""

from __future__ import annotations

import functools
import struct

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("google.protobuf")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance, metric_function, samples, warmup
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, stdlib_client, tfrecord


def tensors(**held):
    return {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in held.items()}


def read(tmp_path, content, metric=None, signature="serving_default", **specified):
    path = tmp_path / "samples"
    path.write_bytes(content)
    return samples.read(str(path), metric=metric, tensors=tensors(**specified), signature=signature)


def test_json_lines(tmp_path):
    inputs, labels = read(
        tmp_path,
        b'{"inputs": {"x": [1, 2.5], "t": "a"}, "label": 1}\n\n{"inputs": {"x": [3, 4], "t": "b"}, "label": 0}\n',
        "accuracy",
        x=("float32", [None, 2]),
        t=("string", [None]),
    )
    assert (
        inputs["x"].tolist() == [[1, 2.5], [3, 4]]
        and inputs["t"].tolist() == [b"a", b"b"]
        and labels.tolist() == [1, 0]
    )
    inputs, labels = read(tmp_path, b'{"inputs": {"raw": {"b64": "AAE="}}}\n')
    assert inputs["raw"].tolist() == [b"\x00\x01"] and labels is None
    inputs, _labels = read(tmp_path, b'{"inputs": {"raw": [{"b64": "AAEA"}, "a\\u0000", ""]}}\n')
    assert inputs["raw"].tolist() == [[b"\x00\x01\x00", b"a\0", b""]], "every byte counts, NULs at the end, too"
    inputs, _labels = read(tmp_path, b'\xef\xbb\xbf{"inputs": {"x": 7}}\n')
    assert inputs["x"].tolist() == [7], "some editors mark UTF-8"
    inputs, _labels = read(tmp_path, b'{"inputs": {"x": 7}}\r\n\r\n{"inputs": {"x": 8}}\r\n')
    assert inputs["x"].tolist() == [7, 8], "some editors end lines with CR LF"


def test_only_a_line_feed_ends_a_json_line(tmp_path):
    """RFC 8259 allows U+2028, U+2029, U+0085 and DEL in a string as they are; jsonlines.org: the line separator is LF."""
    text = "a\u2028b\u2029c\u0085d\x7f"
    line = f'{{"inputs": {{"t": "{text}"}}}}\n'.encode()
    inputs, _labels = read(tmp_path, line * 2)
    assert inputs["t"].tolist() == [text.encode()] * 2


@pytest.mark.parametrize(
    "content, words",
    [
        (b'{"inputs": {"x": 1}}\n{"x": 1}\n', "line 2 is not"),
        (b"{broken\n", "line 1 is not"),
        (
            b'{"inputs": {"t": "a"}}\n{"inputs": {"t": "caf\xe9"}}\n',
            'line 2 is not {"inputs": {name: value}, "label": value}: \'utf-8\' codec can\'t decode byte 0xe9',
        ),
        (b'{"inputs": {"t": "\xed\xa0\x80"}}\n', "'utf-8' codec can't decode byte 0xed"),  # UTF-8 has no surrogates.
        (b'{"inputs": {"x": [1]}}\n{"inputs": {"x": [1, 2]}}\n', "x has examples of different shapes. Pad them"),
        (b'{"inputs": {"x": 1, "y": 1}}\n{"inputs": {"x": 1}}\n', "y is missing in 1 of 2 examples"),
        (b'{"inputs": {"x": [[1, 2], [3]]}}\n', "line 1 is not"),
        (b'{"inputs": {"x": 1}, "label": {"a": 1}}\n', "line 1 is not"),
        (b'{"inputs": {"x": {"b64": "@@@"}}}\n', "line 1 is not"),
        (b'{"inputs": {"x": [1, "a"]}}\n', "neither all numbers nor all texts"),
        (b'{"inputs": {"x": [1, null]}}\n', "neither all numbers nor all texts"),
        (b"[1, 2]\n", "line 1 is not"),
        (b'{\n "inputs": {"x": 1}\n}\n', "line 1 is not"),
        (tfrecord.frame(b"\xff\xff"), "cannot be read as a TFRecord file of PredictionLog or tf.Example messages"),
        (tfrecord.frame(b"")[:-1], "is truncated"),
    ],
)
def test_what_is_no_file_of_samples_is_one_clear_line(tmp_path, content, words):
    with pytest.raises(FleetError) as caught:
        read(tmp_path, content, x=("float32", [None]))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def held(field, *parts):
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return bytes([field << 3 | 2, len(content)]) + content


def example(**features):
    """Features by their list: bytes 1, float 2, int64 3, packed as TensorFlow writes them."""

    def one(value):
        if isinstance(value, bytes):
            return held(1, held(1, value))
        if isinstance(value[0], float):
            return held(2, held(1, b"".join(struct.pack("<f", number) for number in value)))
        return held(3, held(1, bytes(value)))

    return held(1, *[held(1, held(1, name), held(2, one(value))) for name, value in features.items()])


EXAMPLES = b"".join(tfrecord.frame(example(x=[1.0, 2.0, 3.0, 4.0], n=[n], word=b"w", label=[n])) for n in (5, 6))


def test_examples_of_a_tfrecord_file_take_the_signatures_shape(tmp_path):
    inputs, labels = read(tmp_path, EXAMPLES, "accuracy", x=("float32", [None, 2, 2]), n=("int64", [None]))
    assert (
        inputs["x"].tolist() == [[[1, 2], [3, 4]]] * 2
        and inputs["n"].tolist() == [5, 6]
        and labels.tolist() == [5, 6]
        and set(inputs) == {"x", "n"}
    )
    inputs, labels = read(tmp_path, EXAMPLES, word=("string", [None]))
    assert inputs["word"].tolist() == [b"w", b"w"]


def test_examples_go_whole_to_a_signature_that_parses_them(tmp_path):
    inputs, labels = read(tmp_path, EXAMPLES, "accuracy", examples=("string", [None]))
    assert inputs["examples"].tolist() == [
        bytes(record) for record in tfrecord.records(EXAMPLES)
    ] and labels.tolist() == [5, 6]


def test_warm_up_requests_are_samples(tmp_path):
    one, two = numpy.ones([1, 3], "float32"), numpy.zeros([2, 3], "float32")
    content = warmup.file(
        [
            client.predict_request("m", {"x": one, "t": numpy.float32(4)}),
            client.predict_request("m", {"x": two, "t": numpy.float32(5)}),
            client.predict_request("m", {"z": two}, "other"),
        ]
    )
    inputs, labels = read(tmp_path, content, x=("float32", [None, 3]), t=("float32", []))
    assert (
        inputs["x"].tolist() == [[1, 1, 1], [0, 0, 0], [0, 0, 0]]
        and inputs["t"].tolist() == [4, 5, 5]
        and labels is None
    )
    assert read(tmp_path, content, signature="other", z=("float32", [None, 3]))[0]["z"].shape == (2, 3)
    with pytest.raises(FleetError, match="none of its requests is for the signature third"):
        read(tmp_path, content, signature="third", z=("float32", [None, 3]))
    with pytest.raises(FleetError, match="it has no labels"):
        read(tmp_path, content, "accuracy", x=("float32", [None, 3]), t=("float32", []))


def test_requests_of_any_size_come_from_few_samples():
    inputs = {"x": numpy.arange(6).reshape(3, 2), "t": numpy.array([7, 8, 9])}
    made = samples.batch(inputs, (None, {"t"}), 5)
    assert made["x"].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]] and made["t"] == 7


def test_a_metric_of_the_users_own(tmp_path):
    path = tmp_path / "metric.py"
    path.write_text(
        "import numpy\ndef metric(outputs, labels):\n    return numpy.abs(outputs['y'] - labels).max()\n",
        encoding="utf-8",
    )
    request = {"metric": "function", "metric_function": str(path), "metric_output": None}
    assert metric_function.measure(request, {"y": numpy.array([1.0, 5.0])}, numpy.array([1.0, 2.0])) == 3.0
    for text, words in (
        ("def metric(outputs, labels):\n    return 1 / 0\n", "ZeroDivisionError: division by zero. Correct metric"),
        ("import sys\ndef metric(outputs, labels):\n    sys.exit(3)\n", "SystemExit: 3"),
        ("x = 1\n", "it has no function"),
        ("import sys\ndef metric(outputs, labels):\n    sys.exit(3)\n", "SystemExit: 3"),
        ("def metric(outputs, labels):\n    return 'much'\n", "ValueError"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FleetError) as caught:
            metric_function.measure(request, {}, None)
        assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "goal, before, after, accepted",
    [("lower", 1.0, 1.5, False), ("lower", 1.5, 1.0, True), ("higher", 1.0, 0.5, False)],
)
def test_which_value_of_it_is_better_is_the_users(goal, before, after, accepted):
    judged = {"name": "function", "before": before, "after": after, "allowed_loss": 0.1, "goal": goal}
    assert acceptance.decide({}, judged)[0] is accepted


def test_warm_up_requests_have_a_limit():
    inputs = {"x": numpy.zeros((2, 1 << 18), "float32"), "t": numpy.zeros(2, "float32")}  # 1 MiB a row
    samples.refuse_what_is_too_much(inputs, (None, {"t"}), [1, 1023])
    with pytest.raises(
        FleetError,
        match="batch_sizes: warm-up requests with 1025 rows in total take 1025 MiB; allowed: 1024 MiB. Leave out the largest",
    ):
        samples.refuse_what_is_too_much(inputs, (None, {"t"}), [1, 1024])


def test_the_answers_that_travel_with_a_version(tmp_path):
    """Some examples, never more than 4 MiB of them; how far the form was is absolute below 1 and relative above."""
    x = numpy.arange(1600, dtype="float32").reshape(400, 4)
    samples.write_answers(
        str(tmp_path / "a" / "b.npz"),
        {"x": x},
        {"y": x * 2, "class": x.argmax(axis=1)},
        {"y": x * 2 + 0.5, "class": x.argmax(axis=1)},
    )
    left = numpy.load(tmp_path / "a" / "b.npz")
    assert left["inputs.x"].tolist() == x[:256].tolist() and left["outputs.y"].tolist() == (x * 2)[:256].tolist()
    assert left["tolerance.y"] == 0.5 and left["tolerance.class"] == 0
    large = numpy.zeros((40, 1 << 18), "float32")
    samples.write_answers(str(tmp_path / "c" / "large.npz"), {"x": large}, {"y": large[:, 0]}, {"y": large[:, 0]})
    assert len(numpy.load(tmp_path / "c" / "large.npz")["inputs.x"]) == 3
    for rows, left in ((3, 255), (64, 256), (300, 300)):  # Whole requests, however many rows each has.
        samples.write_answers(str(tmp_path / "f" / f"{rows}.npz"), {"x": x[:300]}, {"y": x[:300]}, {"y": x[:300]}, rows)
        assert len(numpy.load(tmp_path / "f" / f"{rows}.npz")["inputs.x"]) == left
    labels, outputs = numpy.arange(400) % 4, {"y": numpy.tile(numpy.eye(4, dtype="float32"), (100, 1))}
    worse = {"y": numpy.roll(outputs["y"], 1, axis=0)}
    for rows, known in (
        (400, True),
        (2, False),
    ):  # The two are of one class: an area under a curve needs more, and the archive goes without.
        measure = functools.partial(
            metric_function.measure, {"metric": "accuracy" if known else "auc", "metric_output": None}
        )
        path = tmp_path / "e" / f"{rows}.npz"
        few = ({"x": numpy.zeros((rows, 1))}, {"y": outputs["y"][:rows]}, {"y": worse["y"][:rows]})
        samples.write_answers(str(path), *few, labels=labels[:rows] * known, measure=measure)
        held = numpy.load(path)
        assert ("labels" in held, "metric.before" in held) == (known, known) and len(held["inputs.x"]) == min(rows, 256)
        if known:
            assert held["labels"].tolist() == labels[:256].tolist() and (
                held["metric.before"],
                held["metric.after"],
            ) == (1, 0)
    for value, known in (
        (0.5, True),
        (float("nan"), False),
    ):  # A function of the user's own may need no labels, and make nothing of a few examples.
        path = tmp_path / "g" / f"{value}.npz"
        samples.write_answers(
            str(path),
            {"x": x[:9]},
            {"y": x[:9]},
            {"y": x[:9]},
            measure=lambda outputs, labels, value=value: value if labels is None else 0,
        )
        held = numpy.load(path)
        assert (
            "labels" not in held
            and [float(held[name]) for name in ("metric.before", "metric.after") if name in held] == [0.5, 0.5] * known
        )
    for reference in ({"y": numpy.float32(1)}, {"y": x[:7]}, {"y": x.astype("complex64")}):
        samples.write_answers(str(tmp_path / "d" / "none.npz"), {"x": x}, reference, reference)
    assert not (tmp_path / "d").exists()


def archive_of(path, *texts):
    """An archive of samples x and answers y, all of these texts, as we write it."""
    array = numpy.array([*texts, None], object)[:-1]
    samples.write(str(path), {"x": array}, array, {"y": array})


@pytest.mark.parametrize(
    "texts",
    [[b"a\0", b"\0\0\0", b"", b"ab"], [b"\0"], [b"", b""], [b"plain", b"texts"], [b"\xff" * 300 + b"\0", b"\0x"]],
)
def test_texts_keep_every_byte_in_an_archive(tmp_path, texts):
    path = tmp_path / "a.npz"
    archive_of(path, *texts)
    inputs, labels = samples.read(str(path), metric="accuracy")
    assert inputs["x"].tolist() == labels.tolist() == samples.outputs(str(path))["y"].tolist() == texts
    for prefix in ("inputs.", "outputs."):
        tensor = next(iter(stdlib_client.arrays(str(path), prefix).values()))
        assert tensor.values() == texts and tensor.shape == (len(texts),)
        assert (
            stdlib_client.arrays(str(path), prefix, 1)[{"inputs.": "x", "outputs.": "y"}[prefix]].values() == texts[:1]
        )
    samples.write_answers(
        str(tmp_path / "b" / "answers.npz"), {"x": inputs["x"]}, {"y": inputs["x"]}, {"y": inputs["x"]}
    )
    assert stdlib_client.arrays(str(tmp_path / "b" / "answers.npz"), "outputs.")["y"].values() == texts


@pytest.mark.parametrize(
    "lengths", [numpy.array([1]), numpy.array([1.5, 2]), numpy.array(["a", "b"]), numpy.array([[1, 2]])]
)
def test_lengths_that_do_not_fit_are_one_clear_line(tmp_path, lengths):
    path = tmp_path / "a.npz"
    numpy.savez(path, **{"inputs.x": numpy.array([b"a", b"bc"]), "lengths.inputs.x": lengths})
    for call in (samples.read, lambda path: stdlib_client.arrays(path, "inputs.")):
        with pytest.raises(FleetError) as caught:
            call(str(path))
        assert "array" in str(caught.value) and "\n" not in str(caught.value)
