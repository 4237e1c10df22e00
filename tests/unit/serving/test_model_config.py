# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of models: rules of TensorFlow Serving's model_server_config.proto, file_system_storage_path_source.proto and server_core.cc."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config

POLICIES = [None, {"latest": 2}, {"specific": [1, 2]}, {"all": True}]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/m/", "/m"), ("/m", "/m"), ("/m//", "/m"), ("/", "/"), ("", ""), (None, ""), ("s3://b/m/", "s3://b/m")],
)
def test_a_path_has_no_slash_at_its_end(given, expected):
    assert model_config.model("m", given).base_path == expected


def test_a_model_has_a_policy_and_numbers_for_labels():
    whole = model_config.model("m", "/m", {"latest": 1, "specific": [], "all": False}, {"a": "2", "b": 3, "c": "x"})
    assert (whole.name, whole.base_path, whole.version_policy) == ("m", "/m", {"latest": 1})
    assert whole.labels == {"a": 2, "b": 3, "c": "x"}
    assert model_config.model("m", "/m", {"latest": None}).version_policy is None
    assert model_config.model("m", "/m", {"all": True}).version_policy == {"all": True}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("path", ["/m", "s3://b/m", "gs://b:1/m"])
def test_models_that_a_server_takes(policy, path):
    model_config.check([model_config.model("m", path, policy, {"a": 0, "b": 2**63 - 1}), model_config.model("n", "/n")])


@pytest.mark.parametrize(
    ("models", "where", "words"),
    [
        ([], "models", "there is no model"),
        ([("m", "/m"), ("m", "/n")], "models[0].name", "m is listed twice"),
        *(
            ([("n", "/n"), (name, "/m")], "models[1].name", f"{name!r} is not a valid name")
            for name in ("a/b", "a:b", "a b", "")
        ),
        *(
            ([("m", path)], "models[0].base_path", f"{path!r} is not an absolute path")
            for path in ("m", "./m", "/m:1", "")
        ),
        ([("m", "/m", {"newest": 1})], "models[0].version_policy", "latest, specific and all"),
        ([("m", "/m", {"latest": 1, "all": True})], "models[0].version_policy", "latest, specific and all"),
        ([("m", "/m", {"latest": 0})], "models[0].version_policy.latest", "0 is out of range"),
        ([("m", "/m", {"specific": [1, -1]})], "models[0]: version", "-1 is out of range"),
        ([("m", "/m", {"specific": [2**63]})], "models[0]: version", "is out of range"),
        ([("m", "/m", None, {"a": -1})], "models[0]: version", "-1 is out of range"),
        ([("m", "/m", None, {"a": 2**63})], "models[0]: version", "is out of range"),
    ],
)
def test_models_that_a_server_refuses(models, where, words):
    with pytest.raises(FleetError) as fault:
        model_config.check([model_config.model(*one) for one in models])
    assert fault.value.where == where and words in str(fault.value)


@pytest.mark.parametrize(
    ("policy", "present", "wanted"),
    [
        (None, {1, 10, 9}, [10]),
        ({"latest": 2}, {1, 10, 9}, [9, 10]),
        ({"latest": 9}, {2, 1}, [1, 2]),
        ({"all": True}, {3, 1}, [1, 3]),
        ({"specific": [3, 1]}, {1, 2, 3}, [1, 3]),
    ],
)
def test_the_versions_that_a_policy_asks_for(policy, present, wanted):
    assert model_config.wanted_versions(model_config.model("m", "/m", policy, {"stable": wanted[0]}), present) == wanted


@pytest.mark.parametrize(
    ("policy", "labels", "present", "where", "words"),
    [
        (None, {}, set(), "/m", "contains no version"),
        ({"specific": [1]}, {}, set(), "/m", "contains no version"),
        ({"specific": [1, 4, 5]}, {}, {10, 9, 1}, "/m", "version 4 is missing; present: 1, 9, 10"),
        (None, {"a": 2, "b": 1}, {1, 2}, "labels of m", "b: 1; served: 2"),
    ],
)
def test_versions_that_are_not_there(policy, labels, present, where, words):
    with pytest.raises(FleetError) as fault:
        model_config.wanted_versions(model_config.model("m", "/m", policy, labels), present)
    assert fault.value.where == where and words in str(fault.value) and fault.value.remedy


def test_the_texts_that_a_server_reads():
    def text(*given):
        return " ".join(model_config.text([model_config.model("m", "/m", *given)]).split())

    plain = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow"'
    policy = "model_version_policy"
    assert text() == f"{plain} }} }}"
    assert text({"latest": 2}) == f"{plain} {policy} {{ latest {{ num_versions: 2 }} }} }} }}"
    assert text({"specific": [2, 1]}) == f"{plain} {policy} {{ specific {{ versions: 1 versions: 2 }} }} }} }}"
    assert text({"all": True}).replace(" ", "") == f"{plain} {policy} {{ all {{ }} }} }} }}".replace(" ", "")
    labels = 'version_labels { key: "a" value: 1 } version_labels { key: "b" value: 2 }'
    assert (
        text({"latest": 1}, {"b": 2, "a": 1}) == f"{plain} {policy} {{ latest {{ num_versions: 1 }} }} {labels} }} }}"
    )
    prometheus = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }'
    assert " ".join(model_config.monitoring().split()) == prometheus


def test_the_folders_of_the_host():
    models = [model_config.model("b", "/b"), model_config.model("s", "s3://b/m"), model_config.model("a", "/a")]
    assert model_config.folders([*models, model_config.model("c", "/a")]) == ["/a", "/b"]
    assert [model_config.is_remote(path) for path in ("s3://b", "gs://b", "S3://b", "/s3://b", "file")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "form", ["saved_model", "tflite_dynamic_range", "tflite_float16", "tflite_int8", "tflite_int16x8", "tensorrt"]
)
def test_the_folder_of_a_published_model_tells_its_form(form):
    assert model_config.variant_of(f"/srv/m/{form}") == model_config.variant_of(f"/srv/m/{form}/") == form
    assert model_config.variant_of(f"/srv/{form}/m") is None


def model_with(labels, *specific):
    return (model_config.model("m", "/m", {"specific": list(specific)} if specific else None, labels),)


@pytest.mark.parametrize(
    "described, then, described_now, now, expected",
    [
        # Moved after the deployment, which did not name another version for it.
        ({"a": 1}, {"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}),
        ({}, {}, {}, {"b": 2}, {"b": 2}),
        # Moved before the deployment, which kept it; then once more, or not.
        ({"a": 1}, {"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 3}),
        # Set by the deployment itself, which is undone.
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}, {"a": 1}),
        ({}, {}, {"a": 2}, {"a": 2}, {}),
        ({}, {"b": 2}, {"b": 3}, {"b": 3}, {"b": 2}),
        ({"a": 1}, {"a": 1}, {}, {}, {"a": 1}),
        ({}, {"b": 2}, {"b": None}, {}, {"b": 2}),
        # Set by the deployment, and moved afterwards: what the two descriptions say differently is the deployment's.
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 3}, {"a": 1}),
        # Nothing moved.
        ({"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}),
    ],
)
def test_a_rollback_undoes_the_labels_of_a_deployment_and_no_others(described, then, described_now, now, expected):
    groups = [model_with(labels, 1, 2, 3) for labels in (then, described, described_now, now)]
    assert model_config.rolled_back(*groups) == model_with(expected, 1, 2, 3)


def test_versions_that_a_label_needs_come_with_it():
    """model_version lists version 2, gives it the label, and then removes version 1 from the list."""
    old, new = model_with({"a": 1}, 1), model_with({"a": 2}, 2)
    assert model_config.rolled_back(old, old, old, new) == new
    assert model_config.rolled_back(old, old, model_with({"a": 1}, 1, 5), model_with({"a": 2}, 1, 2, 5)) == model_with(
        {"a": 2}, 1, 2
    )
    assert model_config.rolled_back(old, old, (), ()) == old, "a model that the current server does not serve"


def test_labels_that_a_rollback_sets_again_are_named():
    then, now = model_with({"a": 1, "b": 1, "c": 1}), model_with({"a": 2, "c": 1})
    given = ["give the label a of m to version 1", "give the label b of m to version 1"]
    assert model_config.labels_set_again(then, now) == given
    assert model_config.labels_set_again(now, now) == model_config.labels_set_again((), now) == []
