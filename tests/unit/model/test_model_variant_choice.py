# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which forms are worth making, for hosts whose plans differ."""

from __future__ import annotations

from pathlib import Path

import pytest

jinja2 = pytest.importorskip("jinja2")
nativetypes = pytest.importorskip("jinja2.nativetypes")
yaml = pytest.importorskip("yaml")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance
from ansible_collections.tfserving.fleet.plugins.module_utils._model.variant_choice import (
    conversions,
    plans_by_converter,
    version,
)

ROLES = Path(__file__).resolve().parents[3] / "roles"


def plan(form, candidate=None, name="m"):
    candidates = [{"name": "c", "model": name, "change": {"form": candidate}, "reason": "r"}] if candidate else []
    return {
        "models": [{"name": name, "form": form, "batching": None}],
        "candidates": [*candidates, {"name": "g", "model": None, "change": {"protocol": "grpc"}, "reason": "r"}],
    }


@pytest.mark.parametrize(
    "optimize, plans, expected",
    [
        (None, [], [("none", True), ("tflite_dynamic_range", False)]),
        ("auto", [None], [("none", True), ("tflite_dynamic_range", False)]),
        ("none", [], [("none", True)]),
        ("tflite_int8", [], [("none", True), ("tflite_int8", True)]),
        ("auto", [plan("saved_model"), plan("saved_model")], [("none", True)]),
        ("auto", [plan("saved_model", "tflite_dynamic_range")] * 3, [("none", True), ("tflite_dynamic_range", False)]),
        # A policy gave one class of hosts another form than the others. What a host would serve must not be refused silently.
        (
            "none",
            [plan("saved_model"), plan("tflite_float16"), plan("tensorrt")],
            [("none", True), ("tensorrt", True), ("tflite_float16", True)],
        ),
        # The tuning of one class chose what is only a candidate for the other.
        (
            "auto",
            [plan("saved_model", "tflite_dynamic_range"), plan("tflite_dynamic_range")],
            [("none", True), ("tflite_dynamic_range", True)],
        ),
        ("tflite_int8", [plan("tflite_int8"), plan("saved_model")], [("none", True), ("tflite_int8", True)]),
        ("auto", [plan("tflite_int8", name="other")], [("none", True)]),
    ],
)
def test_each_form_that_a_class_needs_is_made_once(optimize, plans, expected):
    model = {"name": "m", "source": "/s", **({"optimize": optimize} if optimize else {})}
    found = conversions([model], plans)
    assert [(one["form"], one["required"]) for one in found] == expected and all(one["model"] is model for one in found)


@pytest.mark.parametrize(
    "model, plans, unjudged",
    [
        ({}, [plan("saved_model", "tflite_int8")], True),
        ({"samples": "/s.npz"}, [plan("saved_model", "tflite_int8")], True),
        ({"samples": "/s.npz", "metric": "accuracy"}, [plan("saved_model", "tflite_int8")], False),
        # A limit of the differences makes acceptance stricter, but only a metric judges (acceptance.needs_judgement).
        ({"samples": "/s.npz", "maximum_difference": 0.1}, [plan("saved_model", "tflite_int8")], True),
        (
            {"samples": "/s.npz", "metric": "accuracy", "maximum_difference": 0.1},
            [plan("saved_model", "tflite_int8")],
            False,
        ),
        # A plan serves it, or the user named it: it is made only if it is judged.
        ({}, [plan("tflite_int8")], False),
        ({}, [plan("saved_model", "tflite_int8"), plan("tflite_int8")], False),
        ({"optimize": "tflite_int8"}, [plan("saved_model", "tflite_int8")], False),
    ],
)
def test_what_nothing_judges_is_made_only_to_be_measured(model, plans, unjudged):
    found = conversions([{"name": "m", "source": "/s", **model}], plans)
    assert [(one["form"], one["unjudged"]) for one in found] == [("none", False), ("tflite_int8", unjudged)]
    only_tried = not any(served["form"] == "tflite_int8" for one in plans for served in one["models"])
    if only_tried and "optimize" not in model:  # Then the conversion must not end before it begins.
        assert acceptance.needs_judgement(model.get("samples"), model.get("metric"), found[1]["unjudged"]) is None


@pytest.mark.parametrize(
    "model, accepts",
    [({}, None), ({"maximum_difference": 0.1}, None), ({"accept_unjudged": True}, True), ({"accept_unjudged": 0}, 0)],
)
def test_a_tuning_keeps_only_what_a_conversion_accepts_for_the_plan_that_serves_it(model, accepts):
    """A conversion of a served variant needs a metric or accept_unjudged. If a tuning kept it without, no later version would be converted."""
    (text,) = {
        task["tfserving.fleet.tuning"]["accept_unjudged"]
        for task in yaml.safe_load((ROLES / "tfs_tuning/tasks/main.yml").read_text(encoding="utf-8"))
        if "tfserving.fleet.tuning" in task
    }
    assert nativetypes.NativeEnvironment().from_string(text).render(item={"name": "m", **model}, omit=None) == accepts


def of_docker(release):
    return dict(plan("tensorrt"), backend="docker", release=release)


@pytest.mark.parametrize(
    "given, release",
    [
        ({"tfs_model_plans": [of_docker("2.17.1"), None, of_docker("2.17.1")]}, "2.17.1"),
        ({"tfs_model_plans": [of_docker("2.17.1")], "tfserving_version": "2.16.1"}, "2.16.1"),
        ({"tfs_model_plans": [of_docker("2.17.1"), of_docker("2.16.1")]}, ""),
        ({"tfs_model_plans": [of_docker(None)]}, ""),
        # The embedded server runs any release of TensorFlow, and a plan that the user passes may be a part of one.
        ({"tfs_model_plans": [dict(of_docker("2.17.1"), backend="embedded"), plan("saved_model")]}, ""),
        ({"tfs_model_plans": []}, ""),
    ],
)
def test_models_are_converted_for_the_release_that_the_plans_chose(given, release):
    """The tag of tfserving_image can be the only place that names it, and TF-TRT models need it."""
    known = dict(given)
    for folder, name in (("vars", "__tfs_model_releases"), ("defaults", "tfs_model_server_release")):
        text = yaml.safe_load((ROLES / "tfs_model" / folder / "main.yml").read_text(encoding="utf-8"))[name]
        known[name] = nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined).from_string(text).render(known)
    assert (known["tfs_model_server_release"] or "") == release


def test_an_unknown_wish_is_one_clear_line():
    with pytest.raises(
        FleetError, match=r"tfserving_models\[0\].optimize: 'tflite_int' is not known.*did you mean tflite_int8"
    ):
        conversions([{"name": "m", "optimize": "tflite_int"}])


@pytest.mark.parametrize("source", ["https://u:hunter2@h/m", "https:/u:hunter2@h/m", "u:hunter2@h/m"])
def test_a_source_that_is_an_address_is_refused_without_its_password(source):
    with pytest.raises(FleetError, match="h/m' is a URL, not a folder") as caught:
        conversions([{"name": "m", "source": source}])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "converters, hosts, expected",
    [
        (["c"], {"c": {}, "a": {"plan": 1}, "b": {"plan": 2}}, {"c": [1, 2]}),  # one for all
        (["c"], {"c": {"plan": 3}, "a": {"plan": 1}}, {"c": [3, 1]}),  # it serves, too
        (["c"], {"c": {}, "a": {}}, {"c": []}),  # nobody planned
        (
            ["c", "d"],
            {"c": {}, "d": {}, "a": {"plan": 1}, "b": {"plan": 2, "converter": "d"}},
            {"c": [1], "d": [2]},
        ),  # each its own
        (
            ["c", "d"],
            {"c": {}, "d": {}, "a": {"plan": 1, "converter": "d"}, "b": {"plan": 2, "converter": "d"}},
            {"d": [1, 2]},
        ),  # nobody needs c
        (["c", "d"], {"c": {}, "d": {"plan": 3}, "a": {"plan": 1}}, {"c": [1], "d": [3]}),
        (["c", "d"], {"c": {}, "d": {}}, {"c": [], "d": []}),  # they convert for themselves
        (["a"], {"a": {"plan": 1}}, {"a": [1]}),
    ],
)
def test_who_converts_for_whom(converters, hosts, expected):
    assert (
        plans_by_converter(
            converters, {name: {"plan": None, "converter": None, **host} for name, host in hosts.items()}
        )
        == expected
    )


def test_a_converter_that_is_none_is_one_clear_line():
    with pytest.raises(FleetError, match="^a: tfs_model_converter: 'dd' is not known; allowed: c, d; did you mean d"):
        plans_by_converter(["c", "d"], {"a": {"plan": None, "converter": "dd"}})


@pytest.mark.parametrize(
    "names, words",
    [
        (
            ["../../up"],
            "tfserving_models[0].name: '../../up' is not a valid name for a model; allowed: text without '/', ':' and spaces.",
        ),
        ([".."], "tfserving_models[0].name: '..' is not a valid name"),
        ([""], "tfserving_models[0].name: '' is not a valid name"),
        ([None], "tfserving_models[0].name: None is not a valid name"),
        (["a", "b", "a"], "tfserving_models: two models are named 'a'. Give each model its own name."),
    ],
)
def test_names_are_part_of_paths_and_differ(names, words):
    with pytest.raises(FleetError) as caught:
        conversions([{"name": name} for name in names])
    assert str(caught.value).startswith(words)


def test_all_hosts_give_a_form_the_same_number():
    copy, lite = conversions([{"name": "m", "source": "/s"}])
    looked = [
        {"model": "m", "form": "saved_model", "version": 2},
        {"model": "m", "form": "saved_model", "version": 4},
        {"model": "m", "form": "tflite_dynamic_range", "version": None},
        {"model": "other", "form": "saved_model", "version": 9},
        {"failed": False, "msg": "what a host says that cannot tell"},
    ]
    assert version(copy, looked) == 4 and version(lite, looked) is None and version(copy, []) is None
    (named,) = conversions([{"name": "m", "source": "/s", "version": 3, "optimize": "none"}])
    assert version(named, looked) == 3
