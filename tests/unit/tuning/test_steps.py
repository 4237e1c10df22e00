# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The candidates of a tuning, their servers and CPUs, and the steps of the report."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration as configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import comparison, steps

FASTER = comparison.compare([comparison.Pair(100.0, 150.0, 2)] * 2, comparison.Scatter(), comparison.Rules((2,)))
GOOD = {"before": 0.98, "after": 0.98}


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
