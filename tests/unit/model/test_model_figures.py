# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences and metrics. Expected values are computed by hand, by numpy.testing's definition, or by scikit-learn."""

from __future__ import annotations

import io
import warnings

import pytest

numpy = pytest.importorskip("numpy")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    metric_function,
    parity,
    samples,
    task_metrics,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import tensors

NAN, INF = float("nan"), float("inf")


def one(reference, candidate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return parity.compare({"y": reference}, {"y": candidate})["y"]


@pytest.mark.parametrize(
    "reference, candidate, max_abs, max_rel",
    [
        ([1.0, 2.0, 4.0], [1.0, 2.5, 4.0], 0.5, 0.25),
        ([0.0, 2.0], [0.5, 2.0], 0.5, 0.0),  # relative to 0 is undefined and left out, as numpy does
        ([-2.0], [2.0], 4.0, 2.0),
        ([NAN, INF, -INF, 1.0], [NAN, INF, -INF, 1.25], 0.25, 0.25),
        ([], [], 0.0, 0.0),
        ([3, 4], [3, 5], 1.0, 0.25),
        ([True, False], [True, True], 1.0, 0.0),
        ([3 + 4j], [0j], 5.0, 1.0),
    ],
)
def test_differences(reference, candidate, max_abs, max_rel):
    reference = numpy.array(reference)
    found = one(reference, numpy.array(candidate, reference.dtype))
    assert found == {"max_abs": max_abs, "max_rel": max_rel, "difference": None}


def test_extremes_of_unsigned_integers_do_not_wrap():
    assert one(numpy.array([0], "uint8"), numpy.array([255], "uint8"))["max_abs"] == 255
    assert one(numpy.array([-128], "int8"), numpy.array([127], "int8"))["max_abs"] == 255


@pytest.mark.parametrize(
    "reference, candidate, words",
    [
        (numpy.zeros(3), numpy.zeros(4), "shape [3] became [4]"),
        (numpy.zeros(3, "float32"), numpy.zeros(3), "dtype float32 became float64"),
        (numpy.array([1.0]), numpy.array([NAN]), "1 values are NaN or infinite on one side only"),
        (numpy.array([INF]), numpy.array([-INF]), "1 values are NaN"),
        (numpy.array([b"a", b"b"], object), numpy.array([b"a", b"c"], object), "1 of 2 strings differ"),
    ],
)
def test_what_cannot_be_compared_is_said(reference, candidate, words):
    found = one(reference, candidate)
    assert found["max_abs"] is None and found["max_rel"] is None and words in found["difference"]


def test_equal_strings_and_lost_and_new_outputs():
    assert one(numpy.array([b"a"], object), numpy.array([b"a"], object))["max_abs"] == 0
    found = parity.compare({"a": numpy.zeros(1)}, {"b": numpy.zeros(1)})
    assert parity.structural(found) == ["a: the output is missing; outputs: b", "b: the output is new"]


def test_differences_are_those_that_numpys_own_assertion_prints():
    random = numpy.random.default_rng(1)
    reference = random.standard_normal((50, 7)).astype("float32")
    candidate = reference + random.standard_normal((50, 7)).astype("float32") / 100
    with pytest.raises(AssertionError) as caught:
        numpy.testing.assert_allclose(candidate.astype("float64"), reference.astype("float64"), rtol=0, atol=0)
    printed = {
        line.partition(":")[0].strip(): float(line.partition(":")[2].split()[0])
        for line in str(caught.value).splitlines()
        if "among violations" in line
    }
    found = one(reference, candidate)
    assert found["max_abs"] == pytest.approx(printed["Max absolute difference among violations"], rel=1e-6)
    assert found["max_rel"] == pytest.approx(printed["Max relative difference among violations"], rel=1e-6)


def plain(array):
    """As samples and answers arrive: texts are bytes."""
    array = numpy.array(array)
    return numpy.char.encode(array, "utf-8").astype(object) if array.dtype.kind == "U" else array


def measure(metric, scores, labels):
    """By NumPy's arrays, and by a host's tensors where these have the dtype: they agree."""
    scores, labels = plain(scores), plain(labels)
    value = metric_function.measure({"metric": metric, "metric_output": None}, {"y": scores}, labels)
    assert task_metrics.measure(
        metric, {"y": task_metrics.of_tensor(tensor(scores))}, task_metrics.of_tensor(tensor(labels))
    ) == pytest.approx(value, nan_ok=True)
    return value


def tensor(array):
    stream = io.BytesIO()
    numpy.save(stream, array.astype("S") if array.dtype == object else array)
    return tensors.from_file(stream.getvalue(), "array")


@pytest.mark.parametrize(
    "scores, labels, expected",
    [
        ([[0.1, 0.9], [0.8, 0.2]], [1, 1], 0.5),
        ([[0.1, 0.9], [0.8, 0.2]], [[0, 1], [1, 0]], 1.0),  # one-hot
        ([[0.1, 0.9], [0.8, 0.2]], [[1], [0]], 1.0),  # a column of class numbers
        ([0.2, 0.5, 0.7], [0, 1, 0], 2 / 3),  # one score a row
        ([[0.2], [0.7]], [0, 1], 1.0),
        ([3, 0, 2], [3, 1, 2], 2 / 3),  # classes themselves
        (["cat", "dog"], ["cat", "cat"], 0.5),
        ([[float("nan"), 0.1], [0.8, 0.2]], [0, 0], 0.5),  # a row with NaN is never right
        ([float("nan"), 0.7], [0, 1], 0.5),
    ],
)
def test_accuracy(scores, labels, expected):
    assert measure("accuracy", scores, labels) == pytest.approx(expected)


def test_metrics_are_scikit_learns():
    reference = pytest.importorskip("sklearn.metrics")
    random = numpy.random.default_rng(2)
    scores, labels = random.random((200, 12)).round(1), random.integers(0, 12, 200)
    assert measure("accuracy", scores, labels) == pytest.approx(reference.accuracy_score(labels, scores.argmax(axis=1)))
    distinct = random.random((200, 12))
    assert measure("top_k", distinct, labels) == pytest.approx(
        reference.top_k_accuracy_score(labels, distinct, k=5, labels=range(12))
    )
    ties, binary = scores[:, 0], labels % 2  # many equal scores
    assert measure("auc", ties, binary) == pytest.approx(reference.roc_auc_score(binary, ties))
    assert measure("auc", scores[:, :2], binary) == pytest.approx(reference.roc_auc_score(binary, scores[:, 1]))
    assert measure("rmse", scores, distinct) == pytest.approx(reference.mean_squared_error(distinct, scores) ** 0.5)


@pytest.mark.parametrize(
    "metric, scores, labels, words",
    [
        ("accuracy", [[0.1, 0.9]], [1, 1], "there are 2 labels"),
        ("accuracy", 0.5, [1], "there are 1 labels"),
        ("accuracy", [[[0.1]]], [1], "needs a row of scores"),
        ("top_k", [[0.1] * 5], [1], "more than 5 classes, but the output has 5"),
        ("auc", [0.1, 0.2], [1, 1], "both labels, 0 and 1"),
        ("auc", [[0.1] * 3], [1], "one score for each example"),
        ("rmse", [[0.1, 0.2]], [0.1], r"labels with the output's shape \[1, 2\]"),
        ("acuracy", [0.1], [1], "did you mean accuracy"),
        ("accuracy", [[0.1, 0.9]], [2], "the label 2 is not a class number from 0 to 1"),
        ("accuracy", [[0.1, 0.9]], [-1], "the label -1 is not a class number"),
        ("accuracy", [[0.1, 0.9]], [0.5], "the label 0.5 is not a class number"),
        ("accuracy", [[0.1, 0.9]], [float("nan")], "the label nan is not a class number"),
        ("accuracy", [[0.1, 0.9]], ["cat"], "the labels are texts, but the output's classes are not"),
        ("accuracy", ["cat"], [1], "the labels are numbers, but the output's classes are not"),
        (
            "accuracy",
            [[0.1, 0.9]],
            [[1, 0, 0]],
            r"labels of shape \[1, 3\] are neither class numbers nor one-hot rows of 2 classes",
        ),
        ("accuracy", [[0.1, 0.9]], [[[1, 0]]], "neither class numbers nor one-hot rows"),
        ("accuracy", [0.1], [2], "the label 2 is not a class number from 0 to 1"),
        ("top_k", [[0.1] * 6], [6], "the label 6 is not a class number from 0 to 5"),
        ("rmse", [0.1], ["a"], "rmse needs numbers as labels"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(metric, scores, labels, words):
    with pytest.raises(FleetError, match=words):
        measure(metric, scores, labels)


def test_the_judged_output_is_named_where_there_are_several():
    def judged(output):
        outputs = {"a": numpy.array([1.0, 0.0]), "b": numpy.array([0.0, 0.0])}
        return metric_function.measure({"metric": "accuracy", "metric_output": output}, outputs, numpy.array([1, 0]))

    with pytest.raises(FleetError, match="several outputs: a, b. Set metric_output"):
        judged(None)
    with pytest.raises(FleetError, match="metric_output: 'c' is not known"):
        judged("c")
    assert judged("b") == 0.5


@pytest.mark.parametrize(
    "metric, examples, before, after, here, allowed, words",
    [
        ("accuracy", 256, 0.98, 0.98, 0.98, 0.0, None),
        ("accuracy", 100, 0.98, 0.98, 0.97, 0.0, None),  # one of them
        (
            "accuracy",
            100,
            0.98,
            0.98,
            0.96,
            0.001,
            "accuracy 0.96 over 100 examples, 0.98 of the source: a loss of 0.02 is above the allowed 0.01",
        ),
        ("accuracy", 100, 0.98, 0.90, 0.90, 0.01, None),  # it lost as much over these where it was converted
        ("accuracy", 100, 0.98, 0.90, 0.89, 0.01, "above the allowed 0.08"),
        ("auc", 100, 0.98, 0.98, 0.97, 0.005, "above the allowed 0.005"),
        ("rmse", 10, 1.0, 1.0, 1.2, 0.1, "a loss of 0.2 is above the allowed 0.1"),
        ("rmse", 10, 1.0, 1.0, 0.2, 0.0, None),
    ],
)
def test_a_form_is_judged_again_where_it_is_served(metric, examples, before, after, here, allowed, words):
    accepted, said = task_metrics.verdict_where_served(metric, examples, before, after, here, allowed)
    assert accepted is (words is None) and (words or "is within the allowed") in said


def archive(path, **arrays):
    numpy.savez(path, **{name.replace("__", "."): array for name, array in arrays.items()})
    return str(path)


def test_samples_are_read_and_limited(tmp_path):
    path = archive(
        tmp_path / "s.npz",
        inputs__x=numpy.arange(6).reshape(3, 2),
        inputs__text=numpy.array(["a", "\u00fc", "c"]),
        labels=numpy.array([1, 0, 1]),
    )
    inputs, labels = samples.read(path, limit=2)
    assert (
        inputs["x"].tolist() == [[0, 1], [2, 3]]
        and inputs["text"].tolist() == [b"a", "\u00fc".encode()]
        and labels.tolist() == [1, 0]
    )


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x": [1]}, "has no arrays inputs.<name>; it has: x"),
        ({"inputs__x": [1, 2], "inputs__z": [1]}, "different numbers of examples: x 2, z 1"),
        ({"inputs__x": [1, 2], "labels": [1]}, "different numbers of examples: labels 1, x 2"),
        ({"inputs__x": 1}, "x none"),
        ({"inputs__x": []}, "no examples"),
        ({"inputs__x": numpy.array([{}], object)}, "not a NumPy archive"),
    ],
)
def test_samples_that_are_none_are_refused(tmp_path, arrays, words):
    with pytest.raises(FleetError, match=words):
        samples.read(archive(tmp_path / "s.npz", **{name: numpy.array(array) for name, array in arrays.items()}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"text", b"\x93NUMPY\x01\x00"])
def test_foreign_files_are_refused(tmp_path, content):
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(FleetError) as caught:
        samples.read(str(tmp_path / "s.npz"))
    assert "not a NumPy archive" in str(caught.value) and "\n" not in str(caught.value)
    numpy.save(tmp_path / "one.npy", numpy.zeros(2))
    with pytest.raises(FleetError, match="single array"):
        samples.read(str(tmp_path / "one.npy"))
    with pytest.raises(FleetError, match="No such file"):
        samples.read(str(tmp_path / "absent.npz"))


def test_dtypes_are_fitted_or_refused():
    wanted = {"x": {"dtype": "float32"}, "t": {"dtype": "string"}}
    fitted = samples.fit({"x": numpy.array([1.5]), "t": numpy.array([b"a"], object)}, wanted)
    assert fitted["x"].dtype == "float32" and fitted["t"].dtype == object
    for wrong in (numpy.array([1 + 1j]), numpy.array([b"a"], object)):
        with pytest.raises(FleetError, match="the signature expects float32"):
            samples.fit({"x": wrong}, wanted)
    with pytest.raises(FleetError, match="the signature expects int32"):
        samples.fit({"x": numpy.array([1.5])}, {"x": {"dtype": "int32"}})


@pytest.mark.parametrize(
    "numbers, wanted, words",
    [
        ([0, 255], "uint8", None),
        ([0, 256], "uint8", r"has values from 0 to 256, but the signature expects uint8 \(0 to 255\)"),
        ([-1, 3], "uint8", "has values from -1 to 3"),
        ([-128, 127], "int8", None),
        ([2**31], "int32", "from 2147483648 to 2147483648"),
        ([0, 1], "bool", None),
        ([2], "bool", r"the signature expects bool \(0 to 1\)"),
        ([2**63 - 1], "int64", None),
    ],
)
def test_integers_of_files_become_what_the_signature_takes_where_they_fit(numbers, wanted, words):
    """JSON lines and tf.Example know one type of integer."""
    asked = {"x": numpy.array(numbers)}, {"x": {"dtype": wanted}}
    if words:
        with pytest.raises(FleetError, match=words):
            samples.fit(*asked)
    else:
        fitted = samples.fit(*asked)["x"]
        assert fitted.dtype == wanted and fitted.tolist() == numbers


@pytest.mark.parametrize(
    "feeding, requests, shape",
    [((None, set()), [3, 3, 1], (7, 2)), ((2, set()), [2, 2, 2], (6, 2)), ((1, {"x"}), [None] * 7, (7, 2))],
)
def test_answers_are_joined_example_by_example(feeding, requests, shape):
    seen = []

    def predict(rows):
        seen.append(len(rows["x"]) if rows["x"].ndim == 2 else None)
        return {"y": rows["x"] * 2}

    x = numpy.arange(14.0).reshape(7, 2)
    asked, outputs = samples.answers(predict, {"x": x}, feeding, batch=3)
    assert (
        seen == requests and asked == shape[0] and (outputs["y"] == x[:asked] * 2).all() and outputs["y"].shape == shape
    )


def test_too_few_samples_for_fixed_rows():
    with pytest.raises(FleetError, match="expects 8 rows in each request, but there are 7 samples"):
        samples.answers(lambda rows: rows, {"x": numpy.zeros((7, 2))}, (8, set()), 32)
