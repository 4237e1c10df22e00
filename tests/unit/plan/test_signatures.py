# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan says of models whose signatures show that requests will fail."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.plan import plan

SIDE = {"x": {"dtype": "float32", "shape": [None, 4], "tensor": "x:0"}}
PLAIN = {"method_name": "tensorflow/serving/predict", "inputs": SIDE, "outputs": SIDE}
RAGGED = {
    "y": {"dtype": "DT_INVALID", "shape": [], "tensor": "", "composite": "RaggedTensor", "components": ["a:0", "a:1"]}
}


def planned(signatures, **others):
    host = {
        "architecture": "x86_64",
        "cpu": {
            "level": "x86-64-v3",
            "flags": ["avx", "avx2", "fma", "sse4_2"],
            "threads": 4,
            "usable": 4.0,
            "affinity": "0-3",
        },
        "memory": {"usable_mib": 16000},
        "gpus": [],
        "classes": {"image": "x86-64-v3", "tuning": "x86-64-v3"},
        "container": None,
    }
    return plan(
        host,
        dict(
            {"version": "2.20.0", "backend": "embedded", "models": [dict({"name": "m"}, signatures=signatures)]},
            **others,
        ),
    )


@pytest.mark.parametrize(
    "signatures, others, words",
    [
        ({}, {}, "m: it has no signature that clients can call"),
        ({"s": dict(PLAIN, outputs=RAGGED)}, {}, "m: signature s: output y is a RaggedTensor"),
        ({"s": dict(PLAIN, inputs=RAGGED)}, {}, "m: signature s: input y is a RaggedTensor"),
        ({"s": dict(PLAIN, needs_xla=True)}, {}, "Set xla_cpu_compilation_enabled: true in tfserving_flags"),
        # main.cc has had the flag since 2.5.1, https://github.com/tensorflow/serving/blob/2.5.1/tensorflow_serving/model_servers/main.cc
        ({"s": dict(PLAIN, needs_xla=True)}, {"version": "2.4.4"}, "2.4.4 has no flag that switches XLA on"),
    ],
)
def test_a_model_that_fails_every_request_is_a_warning_of_the_plan(signatures, others, words):
    assert any(words in warning for warning in planned(signatures, **others)["warnings"])


@pytest.mark.parametrize(
    "signatures, others",
    [
        (None, {}),
        ({"s": PLAIN}, {}),
        ({"s": dict(PLAIN, needs_xla=True)}, {"flags": {"xla_cpu_compilation_enabled": True}}),
    ],
)
def test_a_model_without_such_faults_is_planned_without_a_word(signatures, others):
    found = planned(signatures, **others)
    assert not [warning for warning in found["warnings"] if warning.startswith("m:")] and not found["refusals"]


def test_variables_that_nothing_restores_are_refused_with_what_to_do():
    found = planned({"s": dict(PLAIN, unset_variables=["conv3_block3_2_bn/moving_variance"])})["refusals"]
    assert [
        (
            one["subject"],
            "conv3_block3_2_bn/moving_variance" in one["reason"],
            "model.export(directory)" in one["remedy"],
        )
        for one in found
    ] == [("model m: source", True, True)]
