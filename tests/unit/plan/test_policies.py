# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies: conditions evaluated by the real JMESPath, in the filter."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path

import pytest

pytest.importorskip("jmespath")
pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import serving_plan
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import facts
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan, policies

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
        ("contains(map(&driver, gpus), 'nvidia')", True),
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
        ("map(&driver, gpuz)", 14, "did you mean gpus"),
        ("cpu.[level, thread]", 13, "threads"),
        ("{level: cpu.lvl}", 13, "level"),
        ("gpus[*].compute.level", 17, "major"),
        ("gpus[?driver == 'nvidia'] | [0].compute.majr", 41, "did you mean major"),
        ("gpus[?driver == 'nvidia'].compute | [0].majr", 41, "did you mean major"),
        ("gpus[*].compute | [0].majr", 23, "did you mean major"),
        ("gpus[].devices[].uid", 18, "did you mean uuid"),
        ("gpus[0].devices[0].uid", 20, "did you mean uuid"),
        ("gpus[0:1].compute.majr", 19, "did you mean major"),
        ("cpu.cachs.* | [0]", 5, "did you mean caches"),
        ("{a: cpu.caches.*, b: cpu.levle}", 26, "did you mean level"),
        ("@.cpu.levle", 7, "did you mean level"),
        ("cpu | levle", 7, "did you mean level"),
        ("!(cpu.levle)", 7, "did you mean level"),
        ("contains(cpu.levle, 'a')", 14, "did you mean level"),
        ("gpus[?compute.major > `8` && compute.mior == `0`]", 38, "did you mean minor"),
        ("cpu.threads > `4` && cpu.level <= 'x86-64-v3'", 35, "compares only numbers"),
        ("cpu.level < 'x86-64-v3'", 13, "compares only numbers"),
        ("cpu.level ==", 13, "JMESPath"),
        ("cpu.level = 'a'", 11, "JMESPath"),
        ("cpu.level >= 'x86-64-v3'", 14, "compares only numbers"),
        ("cpu.level == 'x86-64-v3' || cpu.level > 'x86-64-v3'", 41, "compares only numbers"),
        ("contains(cpu.flags, 'avx') && gpus[?compute.major > `true`]", 53, "compares only numbers"),
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


# What the author of a condition may write: every field of docs/architecture.md's "Capabilities", as _capability/facts.py types it.
def paths(kind, name=""):
    """The JMESPath expressions of all values below a type."""
    origin, parts = typing.get_origin(kind), [part for part in typing.get_args(kind) if part is not type(None)]
    if origin in (typing.Union, types.UnionType):
        return [path for part in parts for path in paths(part, name)]
    if origin is list and typing.is_typeddict(parts[0]):
        return paths(parts[0], f"{name}[0]")
    if typing.is_typeddict(kind):
        fields = typing.get_type_hints(kind).items()
        return [path for key, inner in fields for path in paths(inner, f"{name}.{key}" if name else key)]
    return [name]


# The SDK is of the controller's Python, and no reason to plan otherwise.
FIELDS = [path for path in paths(facts.Capabilities) if not path.startswith("container.sdk")]


@pytest.mark.parametrize("field", FIELDS)
def test_a_condition_may_name_every_field(field):
    assert "policy 1" not in [one["subject"] for one in planned({"when": f"{field} == 'x'", "choose": {}})["decisions"]]
    parent, _dot, name = field.rpartition(".")
    wrong = f"{name}_".lstrip("_")
    assert f"{wrong!r} is not a field here" in fault(f"{parent}.{wrong}" if parent else wrong)


@pytest.mark.parametrize(
    "key",
    [
        "version",
        "backend",
        "gpu",
        "image",
        "build",
        "build_options",
        "goal",
        "flags",
        "environment",
        "optimize",
        "batching",
    ],
)
def test_a_policy_may_choose(key):
    values = {"version": "2.19.1", "backend": "docker", "gpu": "none", "image": "a/b:1", "build": False, "goal": "bulk"}
    values.update(build_options=None, flags={}, environment={}, optimize="none", batching="none")
    value = values[key]
    (decision,) = [
        one
        for one in planned({"when": "cpu", "choose": {key: value}}, gpu="none")["decisions"]
        if one["subject"] == "policy 1"
    ]
    assert decision["choice"] == f"{key}: {value}" and decision["reason"] == "its condition is true on this host: cpu"


def test_what_a_policy_chooses_goes_over_the_request():
    request = {
        "flags": {"num_load_threads": 1, "num_unload_threads": 1},
        "environment": {"A": "a", "B": "b"},
        "gpu": "none",
    }
    choose = {
        "flags": {"num_load_threads": 2},
        "environment": {"A": "c"},
        "batching": {"max_batch_size": 8},
        "goal": "bulk",
    }
    models = [{"name": "a"}, {"name": "b", "batching": "none"}, {"name": "c", "batching": "auto"}]
    made = planned({"when": "cpu", "choose": choose}, models=models, **request)
    flags = made["server"]["flags"]
    assert (flags["num_load_threads"], flags["num_unload_threads"]) == (2, 1)
    assert made["server"]["environment"] == {"A": "c", "B": "b"}
    assert [(model["batching"] or {}).get("max_batch_size") for model in made["models"]] == [8, None, 8]


def test_a_policy_must_not_hold_a_secret():
    with pytest.raises(AnsibleFilterError, match="MY_PASSWORD looks like a secret.*tfs_server_secret_environment"):
        planned({"when": "cpu", "choose": {"environment": {"A": "b", "MY_PASSWORD": "x"}}})


@pytest.mark.parametrize(
    ("policies", "where"),
    [
        ([{"when": "cpu"}], "tfserving_policies[0]: "),
        ([{"when": "cpu", "choose": {}, "holds": False}, {"when": 1, "choose": {}}], "tfserving_policies[1]: "),
        ([{"when": "cpu", "choose": {"modles": 1}}], "tfserving_policies[0].choose: "),
        ({"when": "cpu"}, "tfserving_policies: "),
    ],
)
def test_the_plan_itself_refuses_policies_out_of_form(policies, where):
    with pytest.raises(FleetError) as fault_:
        plan.plan(HOST, {"models": [], "policies": policies})
    assert str(fault_.value).startswith(where)


def test_the_page_lists_what_a_policy_may_choose():
    page = (Path(__file__).resolve().parents[3] / "docs" / "plan.md").read_text(encoding="utf-8")
    sentences = page.partition("`choose` takes")[2].partition("The plan applies")[0]
    assert set(re.findall(r"`(\w+)`", sentences)) - {"tfserving_"} == set(policies.CHOICES)
