# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations and changes to them, and what a server of several models is served with."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import served_models
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration as configuration


def test_a_change_replaces_what_it_names_and_merges_environment_and_flags():
    before = configuration.complete({"protocol": "rest", "environment": {"A": "1"}, "flags": {"port": 1}})
    after = configuration.changed(before, {"protocol": "grpc", "environment": {"B": "2"}, "flags": {"port": None}})
    assert after == {
        "protocol": "grpc",
        "form": "saved_model",
        "batching": None,
        "environment": {"A": "1", "B": "2"},
        "flags": {},
    }
    assert before["environment"] == {"A": "1"}


@pytest.mark.parametrize(
    "change, told",
    [
        ({"protocl": "grpc"}, "did you mean protocol?"),
        ({"protocol": "http"}, "allowed: grpc, rest"),
    ],
)
def test_a_misspelt_change_is_refused_with_what_is_allowed(change, told):
    with pytest.raises(FleetError) as fault:
        configuration.changed({}, change)
    assert told in str(fault.value)


PLAN = {
    "models": [
        {"name": "m", "form": "saved_model", "batching": None},
        {"name": "n", "form": "tflite_dynamic_range", "batching": {"max_batch_size": 4}},
    ],
    "server": {"flags": {"max_num_load_retries": 0}, "environment": {"TF_ENABLE_ONEDNN_OPTS": "1"}},
}


def served(*tunings, names=("m", "n")):
    """What the models are served with after tunings."""
    plan = dict(PLAN, models=[model for model in PLAN["models"] if model["name"] in names])
    return configuration.with_results(served_models.planned(plan), tunings)


def test_a_server_serves_what_the_plan_chose_until_a_tuning_proved_better():
    by_plan = served(names=["m"])
    assert [(model.form, model.batching) for model in by_plan.models] == [("saved_model", None)]
    assert by_plan.environment == {"TF_ENABLE_ONEDNN_OPTS": "1"} and by_plan.flags == {}, "0 retries hold anyway"
    tuned = {
        "form": "tflite_dynamic_range",
        "batching": {"max_batch_size": 8},
        "environment": {},
        "flags": {"grpc_max_threads": 64},
    }
    other = dict(tuned, form="saved_model", batching=None)
    found = served({"model": "n", "configuration": other}, {"model": "m", "configuration": tuned}, names=["m"])
    assert [(model.form, model.batching) for model in found.models] == [("tflite_dynamic_range", {"max_batch_size": 8})]
    assert found.environment == {} and found.flags == {"grpc_max_threads": 64}


def test_several_models_share_what_is_the_servers_and_keep_what_is_theirs():
    both = served()
    assert [(model.form, model.batching) for model in both.models] == [
        ("saved_model", None),
        ("tflite_dynamic_range", {"max_batch_size": 4}),
    ]
    assert both.batched_per_model
    tuned = {
        "form": "saved_model",
        "batching": {"max_batch_size": 4},
        "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"},
        "flags": {"grpc_max_threads": 80},
    }
    alike = served({"model": "m", "configuration": tuned})
    assert [model.batching for model in alike.models] == [{"max_batch_size": 4}] * 2 and not alike.batched_per_model
    assert alike.environment == {"TF_ENABLE_ONEDNN_OPTS": "0"} and alike.flags == {"grpc_max_threads": 80}


def test_a_model_that_the_plan_does_not_have_is_named():
    with pytest.raises(FleetError) as fault:
        configuration.planned(PLAN, "x")
    assert "does not contain the model 'x'" in str(fault.value)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (3, "start: 3 is not a mapping; allowed: some of protocol, form, batching, environment, flags."),
        ({"form": [1]}, "start.form: [1] is not a text, such as saved_model."),
        ({"batching": "x"}, "start.batching: 'x' is neither a mapping nor null."),
        ({"environment": ["A=b"]}, "start.environment: ['A=b'] is neither a mapping nor null."),
        ({"protocol": 3}, "start.protocol: 3 is not known; allowed: grpc, rest."),
    ],
)
def test_a_configuration_out_of_form_is_one_line(of, told):
    for read in (lambda: configuration.complete(of), lambda: configuration.changed({}, of, "start")):
        with pytest.raises(FleetError) as fault:
            read()
        assert str(fault.value) == told


@pytest.mark.parametrize("tuning", [3, {"x": 1}, {"model": 3, "configuration": {}}, {"model": "m"}])
def test_a_tuning_that_is_none_is_one_line(tuning):
    with pytest.raises(FleetError) as fault:
        served(None, tuning)
    assert str(fault.value) == "tunings[1]: it is not a result of the module tuning, which has model and configuration."


@pytest.mark.parametrize("plan", [3, "x", [1], {"candidates": []}, {"models": []}])
def test_a_plan_that_is_none_is_one_line(plan):
    with pytest.raises(FleetError) as fault:
        configuration.planned(plan, "m")
    assert (
        str(fault.value)
        == "plan: it is not a plan, which has models and server. Use the plan that the role tfserving.fleet.tfs_capabilities computes."
    )
