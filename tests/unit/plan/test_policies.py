# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: conditions evaluated by the real JMESPath, in the filter."""

from __future__ import annotations

import pytest

pytest.importorskip("jmespath")
pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import serving_plan

HOST = {
    "schema": 1,
    "architecture": "x86_64",
    "cpu": {
        "vendor": "GenuineIntel",
        "level": "x86-64-v4",
        "flags": ["avx", "avx2", "sse4_2"],
        "ai": [],
        "threads": 8,
        "usable": 8.0,
        "affinity": "0-7",
    },
    "memory": {"total_mib": 64000, "limit_mib": None, "usable_mib": 64000},
    "gpus": [
        {
            "pci_bus_id": "0000:01:00.0",
            "device_id": "10de:2330",
            "driver": "nvidia",
            "driver_version": "550.54",
            "compute": {"major": 9, "minor": 0},
        }
    ],
    "container": {
        "engine": "docker",
        "version": "24.0.7",
        "answers": True,
        "runtimes": ["nvidia"],
        "cdi_directories": [],
    },
    "classes": {"image": "x86-64-v4", "tuning": "x86-64-v4-intel-8c"},
}


def planned(*policies, **request):
    return serving_plan(HOST, dict({"models": [{"name": "m"}], "policies": list(policies)}, **request))


def fault(condition):
    with pytest.raises(AnsibleFilterError) as raised:
        planned({"when": condition, "choose": {"goal": "bulk"}})
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("gpus[?compute.major >= `8`]", True),
        ("gpus[?compute.major >= `10`]", False),
        ("cpu.level == 'x86-64-v4'", True),
        ("cpu.level == 'x86-64-v3'", False),
        ("contains(cpu.flags, 'avx2') && memory.usable_mib > `1000`", True),
        ("!gpus", False),
        ("length(gpus) > `1`", False),
        ("gpus[0].compute.major == `9`", True),
        ("gpus[*].compute.major | [0] == `9`", True),
        ("cpu.[level, threads][0] == 'x86-64-v4'", True),
        ("max_by(gpus, &compute.major).compute.minor == `0`", True),
        ("gpus[].compute[] | [?major == `9`]", True),
        ("{a: cpu.level}.a == 'x86-64-v4'", True),
        ("cpu.flags[?@ == 'avx']", True),
        ("contains(['x86-64-v3', 'x86-64-v4'], cpu.level)", True),
        ("os.distribution", False),
        ("memory.limit_mib", False),
        ("gpus[0:1].compute.major", True),
        ("starts_with(classes.image, 'x86')", True),
        ('cpu."threads" == `8`', True),
    ],
)
def test_conditions(condition, holds):
    made = planned({"when": condition, "choose": {"gpu": "none"}})
    assert bool([item for item in made["decisions"] if item["subject"] == "policy 1"]) is holds
    assert bool(made["server"]["devices"]) is not holds


@pytest.mark.parametrize(
    ("condition", "position", "words"),
    [
        ("cpu.levle == 'x86-64-v4'", 5, "did you mean level"),
        ("gpu[0]", 1, "did you mean gpus"),
        ("gpus[?compute.mayor >= `8`]", 15, "did you mean major"),
        ("memory.usable_mib > `1` && cpu.cors", 32, "did you mean cores"),
        ("length(gpuz) > `0`", 8, "gpus"),
        ("max_by(gpus, &compute.majr)", 23, "major"),
        ("cpu.[level, thread]", 13, "threads"),
        ("{level: cpu.lvl}", 13, "level"),
        ("gpus[*].compute.level", 17, "major"),
        ("cpu.level ==", 13, "JMESPath"),
        ("cpu.level = 'a'", 11, "JMESPath"),
        ("cpu.level >= 'x86-64-v3'", 14, "orders numbers only"),
        ("cpu.level == 'x86-64-v3' || cpu.level > 'x86-64-v3'", 41, "orders numbers only"),
        ("contains(cpu.flags, 'avx') && gpus[?compute.major > `true`]", 53, "orders numbers only"),
    ],
)
def test_faulty_conditions_are_refused_with_their_position(condition, position, words):
    text = fault(condition)
    assert f"at character {position} of" in text and words in text and "tfserving_policies[0].when" in text


def test_unknown_functions_are_refused():
    assert "nofunction" in fault("nofunction(cpu)")


def test_the_first_match_wins_and_shadowed_ones_are_reported():
    made = planned(
        {"when": "cpu.level == 'x86-64-v3'", "choose": {"goal": "online"}},
        {"when": "gpus", "choose": {"gpu": "none"}},
        {"when": "cpu.threads > `4`", "choose": {"backend": "embedded"}},
    )
    assert made["backend"] == "docker" and made["server"]["devices"] == []
    assert [
        text
        for text in made["warnings"]
        if text.startswith("policy 3 (cpu.threads > `4`)") and "policy 2 comes first" in text
    ]


def test_a_model_that_says_for_itself_is_left_alone():
    models = [{"name": "a"}, {"name": "b", "optimize": "none"}]
    made = planned({"when": "cpu", "choose": {"optimize": "tflite_dynamic_range", "gpu": "none"}}, models=models)
    assert [model["form"] for model in made["models"]] == ["tflite_dynamic_range", "saved_model"]


@pytest.mark.parametrize(
    "policy",
    [
        {"when": "cpu"},
        {"when": 3, "choose": {}},
        {"when": "cpu", "choose": []},
        "cpu",
        {"when": "cpu", "choose": {}, "otherwise": {}},
    ],
)
def test_policies_out_of_form(policy):
    with pytest.raises(AnsibleFilterError, match=r"tfserving_policies\[0\]"):
        planned(policy)


def test_a_policy_chooses_only_what_it_may():
    with pytest.raises(AnsibleFilterError, match="'modles' is not known.*allowed: version"):
        planned({"when": "cpu", "choose": {"modles": []}})
