# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a tuning: candidates, servers, CPUs, and what is kept."""

from __future__ import annotations

from importlib import import_module

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration as configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison, steps

MODULES = "ansible_collections.tfserving.fleet.plugins.modules"
FASTER, EQUAL = (
    comparison.compare([comparison.Pair(100.0, rate, 2)] * 2, comparison.Scatter(), comparison.Rules((2,)))
    for rate in (150.0, 100.0)
)
GOOD = {"before": 0.98, "after": 0.98}
FAST_ENOUGH = {"before": 20.0, "after": 15.0}


def test_configurations_that_differ_only_in_protocol_share_a_server():
    over_rest, over_grpc = configuration.complete({"protocol": "rest"}), configuration.complete({"protocol": "grpc"})
    batched = configuration.changed(over_grpc, {"batching": {"max_batch_size": 8}})
    assert steps.server_key(over_rest) == steps.server_key(over_grpc) != steps.server_key(batched)


@pytest.mark.parametrize(
    "usable, server, generator",
    [
        ([0, 1], [1], [0]),
        ([5, 2, 3], [3, 5], [2]),
        (range(8), [2, 3, 4, 5, 6, 7], [0, 1]),
    ],
)
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
    assert not kept and "accuracy 0.98 before, 0.96 after" in reason and "above the allowed 0.01" in reason


@pytest.mark.parametrize(
    ("metric", "goal", "before", "after", "kept"),
    [
        ("rmse", None, 2.0, 2.3, False),
        ("rmse", None, 2.0, 1.2, True),
        ("rmse", None, 2.0, 2.05, True),
        ("auc", None, 0.9, 0.7, False),
        ("function", "lower", 5.0, 6.0, False),
        ("function", "lower", 6.0, 5.0, True),
        ("function", "higher", 6.0, 5.0, False),
    ],
)
def test_which_of_two_values_is_worse_is_the_metrics_to_say(metric, goal, before, after, kept):
    assert steps.judge(FASTER, {"before": before, "after": after}, 0.1, FAST_ENOUGH, 100, metric, goal)[0] is kept


@pytest.mark.parametrize(
    ("before", "after", "allowed", "accepted"),
    [
        (0.98, 0.975, 0.01, True),
        (0.98, 0.97, 0.01, True),
        (0.3, 0.2, 0.1, True),
        (0.98, 0.98, 0.0, True),  # 0.98 - 0.97 > 0.01 in floats
        (0.98, 0.9699, 0.01, False),
        (0.98, float("nan"), 0.01, False),
        (0.01, 0.01, 0.01, False),
    ],
)
def test_what_the_conversion_accepts_the_tuning_keeps(before, after, allowed, accepted):
    assert steps.judge(FASTER, {"before": before, "after": after}, allowed, FAST_ENOUGH, 100)[0] is accepted
    judged = {"name": "accuracy", "before": before, "after": after, "allowed_loss": allowed, "goal": "higher"}
    assert acceptance.decide(None, judged)[0] is accepted


def test_conversion_and_tuning_allow_the_same_loss_by_default():
    documented = {
        name: yaml.safe_load(import_module(f"{MODULES}.{name}").DOCUMENTATION)["options"]["allowed_loss"]["default"]
        for name in ("model_conversion", "tuning")
    }
    assert documented == {"model_conversion": 0.01, "tuning": 0.01}
    spec = import_module("ansible_collections.tfserving.fleet.plugins.module_utils._tuning.options").ARGUMENTS
    assert spec["allowed_loss"]["default"] == 0.01


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
    wanted = {
        "name",
        "kept",
        "reason",
        "change",
        "goodput_rps",
        "p50_ms",
        "p99_ms",
        "requests",
        "gain",
        "gain_interval",
        "noise_floor",
        "instances",
        "rounds",
        "accuracy",
    }
    assert set(steps.step("x", {}, False, "why", None, None, GOOD)) == wanted
    figures = {"goodput_rps": 150.0, "p50_ms": 5.0, "p99_ms": 9.0, "requests": 1200, "curve": []}
    measured = steps.step("x", {}, True, "why", FASTER, figures, GOOD)
    assert set(measured) == wanted and measured["requests"] == 1200 and len(measured["gain_interval"]) == 2


@pytest.mark.parametrize(
    "candidate, told",
    [
        ({"name": "x"}, "candidates[0]: it needs a name (a text) and a change"),
        ({"name": 3, "change": {}}, "candidates[0]: it needs a name"),
        ({"name": "x", "change": {}, "resaon": "y"}, "did you mean reason?"),
        ({"name": "x", "change": {"protocol": "http"}}, "candidates[0] (x).protocol"),
    ],
)
def test_a_candidate_out_of_form_is_named(candidate, told):
    with pytest.raises(FleetError) as fault:
        steps.candidates([candidate], "m", {})
    assert told in str(fault.value)


def test_candidates_for_other_models_are_passed_over():
    given = [
        {"name": "all", "change": {}},
        {"name": "mine", "change": {}, "model": "m"},
        {"name": "other", "change": {}, "model": "n"},
    ]
    assert [candidate["name"] for candidate in steps.candidates(given, "m", {})] == ["all", "mine"]
