# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tuning keeps: gains beyond the noise that cost neither accuracy nor the latency objective."""

from __future__ import annotations

from importlib import import_module

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison, judgment

MODULES = "ansible_collections.tfserving.fleet.plugins.modules"
FASTER, EQUAL, NOTHING = (
    comparison.compare(pairs, comparison.Scatter(), comparison.Rules((2,)))
    for pairs in ([comparison.Pair(100.0, 150.0, 2)] * 2, [comparison.Pair(100.0, 100.0, 2)] * 2, [])
)
GOOD = {"before": 0.98, "after": 0.98}
FAST_ENOUGH = {"before": 20.0, "after": 15.0}


def judge(compared, accuracy, allowed_loss, latency, objective_p99_ms, metric=None, goal=None):
    """Whether a change is kept, and why. latency: p99 in ms."""
    before, after = ({"p99_ms": latency[side]} for side in ("before", "after"))
    options = {
        "allowed_loss": allowed_loss,
        "objective_p99_ms": objective_p99_ms,
        "metric": metric,
        "metric_goal": goal,
    }
    return judgment.judge(judgment.Measured(compared, [], accuracy, before, after), options)


def test_a_gain_beyond_the_noise_is_kept():
    kept, reason = judge(FASTER, GOOD, 0.0, FAST_ENOUGH, 100)
    assert kept and "faster" in reason


def test_no_gain_keeps_the_baseline():
    assert judge(EQUAL, GOOD, 0.0, FAST_ENOUGH, 100)[0] is False


def test_lost_accuracy_outweighs_any_gain():
    kept, reason = judge(FASTER, {"before": 0.98, "after": 0.96}, 0.01, FAST_ENOUGH, 100)
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
    assert judge(FASTER, {"before": before, "after": after}, 0.1, FAST_ENOUGH, 100, metric, goal)[0] is kept


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
    assert judge(FASTER, {"before": before, "after": after}, allowed, FAST_ENOUGH, 100)[0] is accepted
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
    kept, reason = judge(FASTER, GOOD, 0.0, {"before": 20.0, "after": 120.0}, 100)
    assert not kept and "120.0 ms" in reason and "100 ms" in reason


def test_where_the_baseline_misses_the_objective_too_a_better_candidate_is_kept():
    assert judge(FASTER, GOOD, 0.0, {"before": 200.0, "after": 120.0}, 100)[0] is True


def test_without_labels_or_objective_the_gain_decides():
    assert judge(FASTER, {"before": None, "after": None}, 0.0, {"before": None, "after": None}, None)[0] is True


def test_nothing_measured_is_not_kept():
    kept, reason = judge(NOTHING, GOOD, 0.0, FAST_ENOUGH, 100)
    assert not kept and "0 rounds on 0 pairs of servers" in reason
