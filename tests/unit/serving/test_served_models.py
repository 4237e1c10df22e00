# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models a host's server has, of the inventory, the plan and the user."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.served_models import (
    check_known,
    description,
    planned,
)

KNOWN = [
    {"name": "digits", "samples": "/s.npz", "metric": "accuracy", "optimize": "auto"},
    {"name": "letters", "reference": "/r.npz", "signature": "predict"},
]
PLAN = {
    "models": [
        {"name": "digits", "form": "tflite_float16", "batching": {"max_batch_size": 8}},
        {"name": "letters", "form": "saved_model", "batching": None},
    ],
    "server": {"flags": {"num_load_threads": 2}, "environment": {"A": "b"}},
}


def described(known, given, plan=None, names=None, directory="/m"):
    made = plan or {
        "models": [{"name": one["name"], "form": "saved_model", "batching": None} for one in known],
        "server": {"flags": {}, "environment": {}},
    }
    made = dict(made, models=[one for one in made["models"] if names is None or one["name"] in names])
    return description(planned(made), known, directory, given)


def test_a_model_that_the_inventory_does_not_describe_has_its_name_and_folder():
    found = described([], {}, PLAN)
    assert {"name": "letters", "base_path": "/m/letters/saved_model"} in found["models"]


def test_all_models_of_the_inventory_are_served_by_one_server():
    found = described(KNOWN, {"base_path": "/only/for/one", "samples": ""}, PLAN)
    assert found["models"] == [
        {"name": "digits", "base_path": "/m/digits/tflite_float16", "samples": "/s.npz"},
        {"name": "letters", "base_path": "/m/letters/saved_model", "reference": "/r.npz", "signature": "predict"},
    ]
    assert found["per_model"] == [
        {"name": "digits", "directory": "/m/digits/tflite_float16", "batching": {"max_batch_size": 8}},
        {"name": "letters", "directory": "/m/letters/saved_model", "batching": None},
    ]
    assert found["checks"] == [{"name": "digits", "samples": "/s.npz", "metric": "accuracy", "batch": 8}]


def test_one_is_served_alone_where_it_is_named():
    found = described(KNOWN, {"base_path": "/elsewhere", "samples": "/mine.npz", "metric": "auc"}, PLAN, ["letters"])
    assert found["per_model"] == [] and found["models"] == [
        {
            "name": "letters",
            "base_path": "/elsewhere",
            "samples": "/mine.npz",
            "reference": "/r.npz",
            "signature": "predict",
        }
    ]
    assert found["checks"] == [{"name": "letters", "samples": "/mine.npz", "metric": "auc", "batch": 32}]


def test_samples_are_asked_where_the_host_has_them_in_a_form_that_its_gates_read():
    known = [{"name": "m", "samples": "/s.jsonl"}, {"name": "n", "samples": "/s.npz"}]
    here, elsewhere = (described(known, {"has_samples": has}) for has in (True, False))
    assert [one.get("samples") for one in here["models"]] == [None, "/s.npz"] and [
        one["samples"] for one in here["checks"]
    ] == ["/s.jsonl", "/s.npz"]
    assert [one.get("samples") for one in elsewhere["models"]] == [None, None] and elsewhere["checks"] == []
    mine = described(known[:1], {"has_samples": False, "samples": "/mine"})
    assert mine["models"][0]["samples"] == mine["checks"][0]["samples"] == "/mine"


def test_a_function_of_the_users_own_is_handed_on_where_it_judges_here_too():
    known = [{"name": "m", "samples": "/s.npz", "metric": "function", "metric_function": "/far.py"}]
    plain, judging = (described(known, {"metric_functions": judges}) for judges in (False, True))
    assert plain["models"] == [{"name": "m", "base_path": "/m/m/saved_model", "samples": "/s.npz"}]
    assert (
        judging["models"] == [{**plain["models"][0], "metric_function": "/far.py"}]
        and judging["checks"][0]["metric"] == ""
    )


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ("x", "tfserving_models: 'x' is not a list of mappings, each with name and source."),
        ({"a": 1}, "tfserving_models: {'a': 1} is not a list of mappings, each with name and source."),
        ([{"name": "m"}, 3], "tfserving_models[1]: 3 is not a mapping with a name that is a text."),
        ([{"source": "/s"}], "tfserving_models[0]: {'source': '/s'} is not a mapping with a name that is a text."),
    ],
)
def test_models_that_are_none_are_one_line(known, told):
    with pytest.raises(FleetError) as fault:
        check_known(known)
    assert str(fault.value) == told
