# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a tuning: configurations, changes, CPUs, and what is kept."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison, steps

FASTER = comparison.compare([(100, 150), (101, 152), (99, 149), (100, 151)])
EQUAL = comparison.compare([(100, 100.1), (100, 99.9), (100, 100.2), (100, 99.8)])
GOOD = {"before": 0.98, "after": 0.98}
FAST_ENOUGH = {"before": 20.0, "after": 15.0}


def test_a_change_replaces_what_it_names_and_merges_environment_and_flags():
    before = steps.configuration({"protocol": "rest", "environment": {"A": "1"}, "flags": {"port": 1}})
    after = steps.changed(before, {"protocol": "grpc", "environment": {"B": "2"}, "flags": {"port": None}})
    assert after == {"protocol": "grpc", "form": "saved_model", "batching": None, "environment": {"A": "1", "B": "2"}, "flags": {}}
    assert before["environment"] == {"A": "1"}


@pytest.mark.parametrize("change, told", [
    ({"protocl": "grpc"}, "did you mean protocol?"),
    ({"protocol": "http"}, "allowed: grpc, rest"),
])
def test_a_misspelt_change_is_refused_with_what_is_allowed(change, told):
    with pytest.raises(FleetError) as fault:
        steps.changed({}, change)
    assert told in str(fault.value)


def test_configurations_that_differ_only_in_protocol_share_a_server():
    over_rest, over_grpc = steps.configuration({"protocol": "rest"}), steps.configuration({"protocol": "grpc"})
    batched = steps.changed(over_grpc, {"batching": {"max_batch_size": 8}})
    assert steps.server_key(over_rest) == steps.server_key(over_grpc) != steps.server_key(batched)


@pytest.mark.parametrize("usable, server, generator", [
    ([0, 1], [1], [0]),
    ([5, 2, 3], [3, 5], [2]),
    (range(8), [2, 3, 4, 5, 6, 7], [0, 1]),
])
def test_server_and_generator_get_cpus_of_their_own(usable, server, generator):
    assert steps.cpu_sets(usable) == (server, generator, None)


def test_a_single_cpu_is_shared_and_said_to_be():
    server, generator, note = steps.cpu_sets([3])
    assert server is None and generator is None and "shared" in note


def test_a_gain_beyond_the_noise_is_kept():
    kept, reason = steps.judge(FASTER, GOOD, 0.0, FAST_ENOUGH, 100)
    assert kept and "faster" in reason


def test_no_gain_keeps_the_baseline():
    assert steps.judge(EQUAL, GOOD, 0.0, FAST_ENOUGH, 100)[0] is False


def test_lost_accuracy_outweighs_any_gain():
    kept, reason = steps.judge(FASTER, {"before": 0.98, "after": 0.96}, 0.01, FAST_ENOUGH, 100)
    assert not kept and "0.9800 to 0.9600" in reason


@pytest.mark.parametrize(("metric", "goal", "before", "after", "kept"), [
    ("rmse", None, 2.0, 2.3, False), ("rmse", None, 2.0, 1.2, True), ("rmse", None, 2.0, 2.05, True), ("auc", None, 0.9, 0.7, False),
    ("function", "lower", 5.0, 6.0, False), ("function", "lower", 6.0, 5.0, True), ("function", "higher", 6.0, 5.0, False),
])
def test_which_of_two_values_is_worse_is_the_metrics_to_say(metric, goal, before, after, kept):
    assert steps.judge(FASTER, {"before": before, "after": after}, 0.1, FAST_ENOUGH, 100, metric, goal)[0] is kept


def test_accuracy_may_fall_as_far_as_allowed():
    assert steps.judge(FASTER, {"before": 0.98, "after": 0.975}, 0.01, FAST_ENOUGH, 100)[0] is True


def test_a_candidate_that_misses_the_objective_is_not_kept():
    kept, reason = steps.judge(FASTER, GOOD, 0.0, {"before": 20.0, "after": 120.0}, 100)
    assert not kept and "120.0 ms" in reason and "100 ms" in reason


def test_where_the_baseline_misses_the_objective_too_a_better_candidate_is_kept():
    assert steps.judge(FASTER, GOOD, 0.0, {"before": 200.0, "after": 120.0}, 100)[0] is True


def test_without_labels_or_objective_the_gain_decides():
    assert steps.judge(FASTER, {"before": None, "after": None}, 0.0, {"before": None, "after": None}, None)[0] is True


def test_nothing_measured_is_not_kept():
    kept, reason = steps.judge(None, GOOD, 0.0, FAST_ENOUGH, 100)
    assert not kept and "nothing was measured" in reason


def test_a_step_has_every_key_of_the_contract_also_when_nothing_was_measured():
    wanted = {"name", "kept", "reason", "change", "goodput_rps", "p50_ms", "p99_ms", "requests", "gain", "gain_interval", "noise_floor", "accuracy"}
    assert set(steps.step("x", {}, False, "why", None, None, GOOD)) == wanted
    figures = {"goodput_rps": 150.0, "p50_ms": 5.0, "p99_ms": 9.0, "requests": 1200, "curve": []}
    measured = steps.step("x", {}, True, "why", FASTER, figures, GOOD)
    assert set(measured) == wanted and measured["requests"] == 1200 and len(measured["gain_interval"]) == 2


PLAN = {"models": [{"name": "m", "form": "saved_model", "batching": None}, {"name": "n", "form": "tflite_dynamic_range", "batching": {"max_batch_size": 4}}],
        "server": {"flags": {"max_num_load_retries": 0}, "environment": {"TF_ENABLE_ONEDNN_OPTS": "1"}}}


def test_a_server_serves_what_the_plan_chose_until_a_tuning_proved_better():
    by_plan = steps.of_server(PLAN, ["m"])
    assert by_plan == {"forms": {"m": "saved_model"}, "batching": None, "per_model": {}, "environment": {"TF_ENABLE_ONEDNN_OPTS": "1"},
                       "flags": {"max_num_load_retries": 0}}
    tuned = {"form": "tflite_dynamic_range", "batching": {"max_batch_size": 8}, "environment": {}, "flags": {"grpc_max_threads": 64}}
    other = dict(tuned, form="saved_model", batching=None)
    found = steps.of_server(PLAN, ["m"], [{"model": "n", "configuration": other}, {"model": "m", "configuration": tuned}])
    assert found == {"forms": {"m": "tflite_dynamic_range"}, "batching": {"max_batch_size": 8}, "per_model": {}, "environment": {},
                     "flags": {"grpc_max_threads": 64, "prefer_tflite_model": True}}


def test_several_models_share_what_is_the_servers_and_keep_what_is_theirs():
    both = steps.of_server(PLAN, ["m", "n"])
    assert both["forms"] == {"m": "saved_model", "n": "tflite_dynamic_range"} and both["batching"] is None
    assert both["per_model"] == {"m": None, "n": {"max_batch_size": 4}}
    assert both["flags"] == {"max_num_load_retries": 0, "prefer_tflite_model": True, "enable_batching": True, "enable_per_model_batching_parameters": True}
    tuned = {"form": "saved_model", "batching": {"max_batch_size": 4}, "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}, "flags": {"grpc_max_threads": 80}}
    alike = steps.of_server(PLAN, ["m", "n"], [{"model": "m", "configuration": tuned}])
    assert alike["batching"] == {"max_batch_size": 4} and alike["per_model"] == {} and alike["environment"] == {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert alike["flags"] == {"grpc_max_threads": 80, "prefer_tflite_model": True}


def test_the_form_decides_the_flag_that_makes_a_server_look_for_it():
    lite = steps.planned(PLAN, "n")
    assert lite["flags"]["prefer_tflite_model"] is True and lite["batching"] == {"max_batch_size": 4}
    assert "prefer_tflite_model" not in steps.changed(lite, {"form": "saved_model"})["flags"]


def test_a_model_that_the_plan_does_not_have_is_named():
    with pytest.raises(FleetError) as fault:
        steps.planned(PLAN, "x")
    assert "no model 'x'" in str(fault.value)


@pytest.mark.parametrize("candidate, told", [
    ({"name": "x"}, "candidates[0]: needs a name, a text, and a change"),
    ({"name": 3, "change": {}}, "candidates[0]: needs a name"),
    ({"name": "x", "change": {}, "resaon": "y"}, "did you mean reason?"),
    ({"name": "x", "change": {"protocol": "http"}}, "candidates[0] (x).protocol"),
])
def test_a_candidate_out_of_form_is_named(candidate, told):
    with pytest.raises(FleetError) as fault:
        steps.candidates([candidate], "m", {})
    assert told in str(fault.value)


def test_candidates_for_other_models_are_passed_over():
    given = [{"name": "all", "change": {}}, {"name": "mine", "change": {}, "model": "m"}, {"name": "other", "change": {}, "model": "n"}]
    assert [candidate["name"] for candidate in steps.candidates(given, "m", {})] == ["all", "mine"]


@pytest.mark.parametrize(("of", "told"), [
    (3, "start: 3 is not a mapping; allowed: some of protocol, form, batching, environment, flags."),
    ({"form": [1]}, "start.form: [1] is not a text, such as saved_model."),
    ({"batching": "x"}, "start.batching: 'x' is neither a mapping nor null."),
    ({"environment": ["A=b"]}, "start.environment: ['A=b'] is neither a mapping nor null."),
    ({"protocol": 3}, "start.protocol: 3 is not known; allowed: grpc, rest."),
])
def test_a_configuration_out_of_form_is_one_line(of, told):
    for read in (lambda: steps.configuration(of), lambda: steps.changed({}, of, "start")):
        with pytest.raises(FleetError) as fault:
            read()
        assert str(fault.value) == told


@pytest.mark.parametrize("tuning", [3, {"x": 1}, {"model": 3, "configuration": {}}, {"model": "m"}])
def test_a_tuning_that_is_none_is_one_line(tuning):
    with pytest.raises(FleetError) as fault:
        steps.of_server(PLAN, ["m"], [None, tuning])
    assert str(fault.value) == "tunings[1]: needs a model, a text, and a configuration, as the module tuning returns them."


@pytest.mark.parametrize("plan", [3, "x", [1], {"candidates": []}, {"models": []}])
def test_a_plan_that_is_none_is_one_line(plan):
    with pytest.raises(FleetError) as fault:
        steps.planned(plan, "m")
    assert str(fault.value) == "plan: this is no plan, which has models and server. Let tfserving.fleet.tfs_capabilities make it."
