# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tuning keeps for later runs."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tunings

PLAIN = {
    "protocol": "rest",
    "form": "saved_model",
    "batching": None,
    "environment": {"A": "1"},
    "flags": {"num_load_threads": 2, "enable_profiler": False},
}
BEST = {
    "protocol": "rest",
    "form": "tflite_dynamic_range",
    "batching": {"max_batch_size": 8},
    "environment": {"A": "1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    "flags": {"num_load_threads": 2, "enable_profiler": False, "grpc_max_threads": 80},
}
CHANGE = {
    "form": "tflite_dynamic_range",
    "batching": {"max_batch_size": 8},
    "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "flags": {"grpc_max_threads": 80},
}


def measured(after=None, kept=True):
    return {
        "model": "half",
        "backend": "docker",
        "image": "tensorflow/serving:2.20.0",
        "start": PLAIN,
        "configuration": BEST if after is None else after,
        "total": {"kept": kept, "gain": 0.5, "gain_interval": [0.4, 0.6]},
        "method": {"confidence": 0.95, "concurrency": 8, "examples": 32},
        "scatter": {"squares": 0.01, "degrees": 7, "measured_as": "0d4c3a5b"},
    }


def record(**keys):
    return tunings.Tuning.from_dict(
        {**tunings.kept(measured(), "x86-64-v3-8c", "2.20.0", "web-1", "2026-01-02 03:04 UTC").as_dict(), **keys},
        "half.yml",
    )


def test_a_tuning_keeps_what_beat_the_plan_and_not_the_settings_that_both_share():
    kept = record()
    assert kept.change == CHANGE and kept.gain == {"fraction": 0.5, "interval": [0.4, 0.6], "confidence": 0.95}
    assert kept.measured["host"] == "web-1" and kept.measured["protocol"] == "rest"
    assert tunings.Tuning.from_dict(kept.as_dict(), "x") == kept
    nothing = tunings.kept(measured(PLAIN, kept=False), "c", "2.20.0", "h", "t")
    assert nothing.change == {} and nothing.gain is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "not a valid tuning"),
        ({"model": "m"}, "Undo the change of the file, or remove it and tune again."),
        (dict(record().as_dict(), scatter=[1]), "not a valid tuning"),
        (dict(record().as_dict(), scatter={"squares": "x", "degrees": 3}), "not a valid tuning"),
        (dict(record().as_dict(), confirmed_on="web-2"), "not a valid tuning"),
        (dict(record().as_dict(), refuted="web-2"), "refuted: 'web-2' is not a mapping"),
        (dict(record().as_dict(), change={"protocol": "grpc"}), "'protocol' is not known"),
        (dict(record().as_dict(), change=[]), "change: [] is not a mapping"),
        (dict(record().as_dict(), change={"form": "tflite_int4"}), "change.form: 'tflite_int4' is not known"),
        (
            dict(record().as_dict(), change={"batching": {"max_batch_size": 0}}),
            "change.batching.max_batch_size: 0 is out",
        ),
        (dict(record().as_dict(), model="../x"), "not a valid name for a model"),
    ],
)
def test_a_file_that_somebody_damaged_is_one_line_with_its_name(data, words):
    with pytest.raises(FleetError) as fault:
        tunings.Tuning.from_dict(data, "half.yml")
    assert words in str(fault.value) and str(fault.value).startswith("half.yml") and "\n" not in str(fault.value)


def test_another_release_or_image_makes_a_tuning_stale():
    plan = {"backend": "docker", "image": "tensorflow/serving:2.20.0", "release": "2.20.0"}
    assert tunings.stale(record(), plan) == []
    assert tunings.stale(record(), dict(plan, image="own:1")) == ["image tensorflow/serving:2.20.0 -> own:1"]
    assert tunings.stale(record(), dict(plan, backend="embedded", image=None))[0] == "backend docker -> embedded"


def test_another_graph_or_signature_makes_a_tuning_stale_and_new_weights_do_not():
    plan = {"backend": "docker", "image": "tensorflow/serving:2.20.0", "release": "2.20.0"}
    of_model = {"signatures": "5", "graph": "6"}
    tuned = record(valid_for={**plan, **of_model})
    assert tunings.stale(tuned, plan, of_model) == [], "what weights are, a structure does not say"
    assert tunings.stale(tuned, plan, dict(of_model, graph="7")) == ["other graph of the model"]
    assert tunings.stale(tuned, plan, dict(of_model, signatures="7")) == ["other signatures of the model"]
    assert tunings.stale(tuned, plan) == [] and tunings.stale(record(), plan, of_model) == [], "not known, not compared"
    made = tunings.kept(measured(), "c", "2.20.0", "h", "t", of_model)
    assert made.valid_for == {**plan, **of_model}


def test_what_the_user_sets_later_holds():
    assert tunings.without_settings(CHANGE, {}, {"name": "half", "optimize": "auto"}) == CHANGE
    settings = {"flags": {"grpc_max_threads": 100}, "environment": {"TF_ENABLE_ONEDNN_OPTS": "1"}}
    assert tunings.without_settings(CHANGE, settings, {"name": "half", "batching": "none", "optimize": "none"}) == {}


def test_flags_that_the_release_does_not_know_are_left_out():
    assert tunings.legal({"flags": {"no_such_flag": 1, "num_load_threads": 2}}, "2.20.0") == {
        "flags": {"num_load_threads": 2}
    }


def test_tunings_lie_beside_the_inventory_file_and_not_inside_of_an_inventory_directory():
    assert tunings.directory_beside("/fleet", ["/fleet/hosts.yml"], []) == "/fleet/tunings"
    assert tunings.directory_beside("/fleet/prod", ["/fleet/prod"], ["/fleet/prod"]) == "/fleet/tunings"
    assert tunings.directory_beside(None, [], []) is None and tunings.directory_beside("/work", [], []) is None
    assert tunings.path("/fleet/tunings", "x86-64-v3-8c", "half") == "/fleet/tunings/x86-64-v3-8c/half.yml"
