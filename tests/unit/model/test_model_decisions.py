# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures, TensorFlow Lite's limits, gates and manifests."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    analysis,
    manifest,
    tensorrt_ops,
    tflite,
    versions,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature

DIGITS = {
    "inputs": {"image": {"dtype": "float32", "shape": [None, 8, 8, 1], "tensor": "a:0"}},
    "outputs": {"y": {"dtype": "float32", "shape": [None, 10], "tensor": "b:0"}},
}


def inputs(**shapes):
    return {name: {"dtype": "float32", "shape": shape} for name, shape in shapes.items()}


def test_a_misspelt_signature_is_named_with_the_right_spelling():
    with pytest.raises(
        FleetError, match="no signature 'serving_defualt'; it has: serve, serving_default; did you mean serving_default"
    ):
        signature.chosen({"serve": {}, "serving_default": {}}, "serving_defualt")


@pytest.mark.parametrize(
    "specified, given, expected",
    [
        ({"x": [None, 4]}, {"x": (10, 4)}, (None, set())),
        ({"x": [None, None]}, {"x": (10, 7)}, (None, set())),
        ({"x": None}, {"x": (10, 7, 3)}, (None, set())),
        ({"x": [1, 4]}, {"x": (10, 4)}, (1, set())),
        ({"x": [8, 4]}, {"x": (10, 4)}, (8, set())),
        ({"x": [4]}, {"x": (10, 4)}, (1, {"x"})),
        ({"x": []}, {"x": (10,)}, (1, {"x"})),
        ({"x": [None, 4], "t": []}, {"x": (10, 4), "t": (10,)}, (1, {"t"})),
        ({"x": [1, 4], "t": []}, {"x": (10, 4), "t": (10,)}, (1, {"t"})),
    ],
)
def test_feeding(specified, given, expected):
    assert signature.feeding(inputs(**specified), given) == expected


@pytest.mark.parametrize(
    "specified, given, words",
    [
        ({"x": [None, 4]}, {"y": (10, 4)}, "missing: inputs.x; unknown: inputs.y"),
        ({"x": [None, 4], "z": [None]}, {"x": (10, 4)}, "missing: inputs.z"),
        ({"x": [None, 4]}, {"x": (10, 5)}, r"inputs.x has shape \[10, 5\]; the signature takes \[\?, 4\]"),
        ({"x": [None, 4]}, {"x": (10,)}, r"inputs.x has shape \[10\]"),
        ({"x": [None, 4]}, {"x": (10, 2, 2)}, r"inputs.x has shape \[10, 2, 2\]"),
        ({"x": [8, 4], "z": [4, 4]}, {"x": (16, 4), "z": (16, 4)}, "different fixed numbers of rows: x 8, z 4"),
        ({"x": [8, 4], "t": []}, {"x": (16, 4), "t": (16,)}, "cannot be sent one example at a time"),
    ],
)
def test_samples_that_do_not_fit_are_refused(specified, given, words):
    with pytest.raises(FleetError, match=words):
        signature.feeding(inputs(**specified), given)


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint32", "uint64", "bfloat16"])
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_types_that_the_server_cannot_take_are_refused(dtype, side):
    other = dict(DIGITS, **{side: {"t": {"dtype": dtype, "shape": [None], "tensor": "t:0"}}})
    assert f"{side[:-1]} t is {dtype}" in tflite.refusal(other)
    assert tflite.refusal(DIGITS) is None


def test_an_output_that_holds_nothing_is_refused():
    assert "has no elements" in tflite.refusal(
        dict(DIGITS, outputs={"y": {"dtype": "float32", "shape": [None, 0], "tensor": "b:0"}})
    )


def test_analysis_names_what_stands_in_the_way():
    found = analysis.analyse(
        "s", DIGITS, ["Conv2D", "MatMul", "ParseExampleV2", "RegexReplace", "LookupTableFindV2", "Mine>Op"]
    )
    assert found["tensorflow_lite"]["blocking_ops"] == [
        "LookupTableFindV2",
        "Mine>Op",
        "ParseExampleV2",
        "RegexReplace",
    ]
    assert not found["tensorflow_lite"]["likely"] and found["parses_examples"]
    assert found["tables"] == ["LookupTableFindV2"] and found["custom_ops"] == ["Mine>Op"]
    assert found["malformed_request"]["can_kill"] and any(
        "trap 41" in reason for reason in found["malformed_request"]["reasons"]
    )
    assert found["tensorrt"]["likely"] and found["tensorrt"]["ops_outside"] == [
        "LookupTableFindV2",
        "Mine>Op",
        "ParseExampleV2",
        "RegexReplace",
    ]
    assert analysis.analyse("s", DIGITS, ["MatMul", "Const"]) == {
        "string_inputs": [],
        "parses_examples": False,
        "tables": [],
        "custom_ops": [],
        "state_ops": [],
        "random_ops": [],
        "file_ops": [],
        "batching": {
            "legal": True,
            "first_dimensions": {"image": "any"},
            "shared": True,
            "reasons": [],
            "warnings": [],
        },
        "tensorflow_lite": {"likely": True, "blocking_ops": [], "reasons": []},
        "tensorrt": {"likely": True, "ops_outside": [], "reasons": []},
        "malformed_request": {"can_kill": False, "reasons": []},
    }


@pytest.mark.parametrize(
    "ops, optional, words",
    [
        (
            ["MatMul", "AssignAddVariableOp"],
            [],
            "It keeps state between requests (AssignAddVariableOp)",
        ),
        (["MatMul", "LookupTableInsertV2"], [], "(LookupTableInsertV2)"),
        (["Add", "RandomUniform"], [], "Its answers are random (RandomUniform)"),
        (
            ["EagerPyFunc"],
            [],
            "It calls Python code of the process that exported it (EagerPyFunc), which servers do not have",
        ),
        (["MatMul"], ["scale"], "The signature has defaults for scale"),
    ],
)
def test_what_a_converted_form_cannot_stand_for(ops, optional, words):
    found = analysis.analyse("s", DIGITS, ops, optional)["tensorflow_lite"]
    assert (
        not found["likely"]
        and words in found["reasons"][0]
        and len([line for line in found["reasons"] if "Variable" in line]) <= 1
    )


def test_what_concerns_all_servers_of_a_model_is_a_warning():
    described = {
        "ops": {"s": ["EagerPyFunc", "AssignVariableOp"]},
        "tensorflow_version": None,
        "exporter": "tensorflow2",
        "warmup": None,
    }
    python, state = analysis.warnings(described)
    assert (
        python.startswith("EagerPyFunc: ")
        and "Servers do not have this code" in python
        and "different servers do not" in state
    )


@pytest.mark.parametrize(
    "ops, dtype, words",
    [
        (["Add"], "float32", "neither convolutions nor matrix products"),
        (["MatMul"], "float64", "computes in float64"),
        (["MatMul", "StatelessWhile"], "float32", "inside loops"),
    ],
)
def test_where_tensorrt_is_not_likely(ops, dtype, words):
    one = {"x": {"dtype": dtype, "shape": [None], "tensor": "x:0"}}
    found = tensorrt_ops.likelihood({"inputs": one, "outputs": one}, ops)
    assert not found["likely"] and words in " ".join(found["reasons"])


@pytest.mark.parametrize(
    "shapes, first, shared, legal",
    [
        ({"x": [None, 4]}, {"x": "any"}, True, True),
        ({"x": [None, 4], "t": []}, {"t": "none", "x": "any"}, False, False),
        ({"x": [8, 4]}, {"x": 8}, False, False),
        ({"x": None}, {"x": "unknown"}, False, True),
    ],
)
def test_the_batch_dimension(shapes, first, shared, legal):
    found = analysis.batching("s", {"inputs": inputs(**shapes), "outputs": DIGITS["outputs"]})
    assert (found["first_dimensions"], found["shared"], found["legal"]) == (first, shared, legal) and bool(
        found["reasons"]
    ) is not legal


def described(**others):
    return dict(
        {"ops": {"s": ["MatMul"]}, "tensorflow_version": "2.21.0", "exporter": "tensorflow2", "warmup": None}, **others
    )


@pytest.mark.parametrize(
    "model, release, words",
    [
        (described(), None, None),
        (described(), "2.21", None),
        (described(), "2.21.3", None),
        (described(), "2.20.0", "TensorFlow 2.21.0 wrote the model, but the server is 2.20.0"),
        (described(tensorflow_version="2.9.1"), "2.20.0", None),
        (described(tensorflow_version=None), "2.20.0", None),
        (described(exporter="tensorflow1"), None, "graph of TensorFlow 1"),
        (described(ops={"s": ["Addons>Thing"]}), None, "Addons>Thing: not operations of TensorFlow"),
        (
            described(warmup={"faults": ["record 1 lacks the input x"]}),
            None,
            "Its warm-up file: record 1 lacks the input x.",
        ),
    ],
)
def test_warnings_about_the_whole_model(model, release, words):
    found = analysis.warnings(model, release)
    assert not found if words is None else len(found) == 1 and words in found[0]


FINE = {"y": {"max_abs": 0.02, "max_rel": 0.5, "difference": None}}
BROKEN = {"y": {"max_abs": None, "max_rel": None, "difference": "shape [3] became [4]"}}


def metric(before, after, allowed=0.01, name="accuracy"):
    return {"name": name, "before": before, "after": after, "allowed_loss": allowed}


@pytest.mark.parametrize(
    "outputs, judged, others, accepted, words",
    [
        (FINE, metric(0.99, 0.985), {}, True, "within the allowed 0.01"),
        (FINE, metric(0.99, 0.98), {}, True, "within"),  # a loss of exactly what is allowed
        (FINE, metric(0.99, 0.9799), {}, False, "above the allowed 0.01"),
        (FINE, metric(0.9, 0.95, 0), {}, True, "within"),  # better than before
        (FINE, metric(1.0, 1.2, 0.1, "rmse"), {}, False, "above"),  # rmse: more is worse
        (FINE, metric(1.0, 0.8, 0.1, "rmse"), {}, True, "within"),
        (FINE, metric(0.9, float("nan")), {}, False, "above"),
        (BROKEN, metric(0.9, 0.9), {}, False, "it answers differently: y: shape [3] became [4]"),
        (BROKEN, None, {"accept_unjudged": True}, False, "answers differently"),
        (FINE, None, {}, False, "was not judged"),
        (FINE, None, {"accept_unjudged": True}, True, "without judging"),
        (None, None, {"accept_unjudged": True}, False, "could not be compared"),
        (None, metric(0.9, 0.9), {}, True, "within"),
        (FINE, metric(0.9, 0.9), {"maximum_difference": 0.01}, False, "differ by up to 0.02; allowed: 0.01"),
        (FINE, metric(0.9, 0.9), {"maximum_difference": 0.02}, True, "within"),
        (None, None, {"maximum_difference": 0.02, "accept_unjudged": True}, False, "could not be compared"),
    ],
)
def test_gates(outputs, judged, others, accepted, words):
    found, reason = acceptance.decide(outputs, judged, **others)
    assert found is accepted and words in reason


@pytest.mark.parametrize(
    "given, needed",
    [
        ((True, "accuracy", False), None),
        ((False, None, True), None),
        ((True, None, False), "no metric is set"),
        ((False, "accuracy", False), "no samples are set"),
    ],
)
def test_a_lossy_form_needs_a_judgement(given, needed):
    found = acceptance.needs_judgement(*given)
    assert found is None if needed is None else needed in found


def made(content):
    return manifest.build(
        {"path": "/s", "digest": content, "tensorflow_version": None},
        {"form": "none"},
        None,
        acceptance.ending(True, ""),
        {},
    )


def test_keys_follow_source_options_and_converter_alone():
    base = manifest.key("d", {"form": "none"}, None)
    assert base == manifest.key("d", {"form": "none"}, None) == made("d")["key"]
    others = {
        manifest.key("e", {"form": "none"}, None),
        manifest.key("d", {"form": "x"}, None),
        manifest.key("d", {"form": "none"}, {"tensorflow": "2.21.0"}),
    }
    assert base not in others and len(others) == 3


def test_how_a_form_is_judged_and_warmed_up_does_not_make_it_another_one():
    def content(**options):
        return manifest.content_key("d", {"form": "tflite_int8", "samples": "s", **options})

    assert content() == content(allowed_loss=0.1, metric="auc") == content(batch_sizes=[1, 8])
    assert content() != content(samples="others it is calibrated with")
    assert content(form="tflite_float16") == content(form="tflite_float16", samples="others it is judged with")
    assert content(form="tensorrt") != content(form="tensorrt", samples="others its engines are built on")
    assert content() != content(select_tf_ops=True)
    copies = [{"form": "none"}, {"form": "none", "samples": "s", "batch_sizes": [1, 8]}]
    assert len({manifest.content_key("d", options) for options in copies}) == 1
    assert manifest.content_key("d", {"form": "none", "tags": ["a"]}) != manifest.content_key("d", copies[0])


def test_a_manifest_survives_its_text_and_foreign_ones_are_none():
    assert manifest.parse(manifest.text(made("d")).encode()) == made("d")
    for foreign in (b"", b"{}", b"[]", b"\xff", b'{"schema": 2, "key": "a", "files": {}}', b'{"schema": 1}'):
        assert manifest.parse(foreign) is None


A, B = made("a"), made("b")


@pytest.mark.parametrize(
    "published, version, expected",
    [
        ({}, None, (1, False)),
        ({}, 7, (7, False)),
        ({3: A}, None, (3, True)),
        ({3: A}, 3, (3, True)),
        ({3: A}, 4, (4, False)),
        ({3: B}, None, (4, False)),
        ({3: None}, None, (4, False)),
        ({3: A, 4: B}, None, (5, False)),  # the newest serves, so what is wanted must become the newest
        ({3: A, 4: B}, 3, (3, True)),
    ],
)
def test_places(published, version, expected):
    assert versions.place(published, manifest.holding(published, manifest.held_key(A)), version) == expected


@pytest.mark.parametrize("there", [B, None])
def test_a_version_is_never_replaced(there):
    with pytest.raises(FleetError, match="version 3 already exists .* Set a new version"):
        versions.place([3], manifest.holding({3: there}, A["key"]), 3)


@pytest.mark.parametrize(
    "name, before, after, allowed, accepted",
    [
        ("accuracy", 0.0, 0.0, 0.01, False),
        ("accuracy", 0.9, 0.9, 1.0, False),
        ("auc", 0.5, 0.1, 0.5, False),
        ("top_k", 0.02, 0.02, 0.01, True),
        ("rmse", 0.0, 0.0, 0.01, True),
        ("function", 0.0, 0.0, 0.01, True),
    ],
)
def test_a_metric_that_could_not_fall_too_low_judges_nothing(name, before, after, allowed, accepted):
    found, reason = acceptance.decide(FINE, metric(before, after, allowed, name))
    assert found is accepted and ("no loss can be above the allowed" in reason) is not accepted


def test_a_manifest_that_tells_only_of_files_judges_nothing():
    files = {"saved_model.pb": {"bytes": 1, "sha256": "0"}}
    own = manifest.build({"digest": "d"}, {}, None, acceptance.ending(True, "", {"metric": None}), files)
    fetched = manifest.parse(manifest.text({"schema": manifest.SCHEMA, "key": "k", "files": files}).encode())
    assert (
        manifest.judged(own) == {"metric": None} and manifest.judged(fetched) is None and manifest.judged(None) is None
    )
