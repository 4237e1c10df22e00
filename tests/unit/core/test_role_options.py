# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of role variables that Ansible takes and nobody can mean."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

OPTIONS = {
    "r_directory": {"type": "path"},
    "r_title": {},
    "r_hosts": {"type": "list", "elements": "str"},
    "r_sizes": {"type": "list", "elements": "int"},
    "r_models": {"type": "list", "elements": "dict"},
    "r_port": {"type": "int"},
    "r_batching": {"type": "dict"},
    "r_any": {"type": "raw"},
    "r_image": {"type": "str"},
    "r_extra": {"type": "list", "elements": "dict"},
    "r_share": {"type": "float"},
    "r_on": {"type": "bool"},
    "r_state": {"type": "str", "choices": ["no", "on-failure", "always"]},
    "r_login": {"type": "dict", "no_log": True},
    "r_policy": {"type": "dict", "options": {"latest": {"type": "int"}}},
    "r_served": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "labels": {"type": "dict"}},
    },
}
DEFAULTS = {"r_directory": "/srv", "r_title": "{{ inventory_hostname }}", "r_hosts": [], "r_image": "", "r_extra": None}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "r_directory": "/x",
            "r_title": "",
            "r_hosts": [],
            "r_sizes": [1],
            "r_models": [{}],
            "r_port": 3,
            "r_batching": None,
            "r_any": [1],
        },
        {"r_title": 7},
        {"r_hosts": ["a", 7]},
        {"r_image": None, "r_extra": None},
        {"r_port": None},
        {"other": [1]},
        {"r_port": "3", "r_share": "0.5", "r_on": "no", "r_sizes": ["1", 2]},
        {"r_on": True},
        {"r_on": 0},
        {"r_share": 1},
        {"r_state": "on-failure"},
        {"r_state": False},
        {"r_login": {"username": "u"}},
    ],
)
def test_what_a_variable_can_mean_passes(values):
    role_options.refuse_wrong(OPTIONS, values, DEFAULTS)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"r_directory": ["/a", "/b"]}, "r_directory: ['/a', '/b'] is a list; allowed: a text."),
        ({"r_directory": 7}, "r_directory: 7 is a number; allowed: a text."),
        ({"r_title": {"a": 1}}, "r_title: {'a': 1} is a mapping; allowed: a text."),
        ({"r_image": [7]}, "r_image: [7] is a list; allowed: a text."),
        ({"r_directory": None}, "r_directory: null is not a valid value; allowed: a text; omit it for the default."),
        ({"r_title": None}, "r_title: null is not a valid value; allowed: a text; omit it for the default."),
        ({"r_hosts": None}, "r_hosts: null is not a valid value; allowed: a list of texts; omit it for the default."),
        ({"r_hosts": "build-1"}, "r_hosts: 'build-1' is a text; allowed: a list of texts."),
        ({"r_hosts": {"a": 1}}, "r_hosts: {'a': 1} is a mapping; allowed: a list of texts."),
        ({"r_sizes": 3}, "r_sizes: 3 is a number; allowed: a list of whole numbers."),
        ({"r_models": True}, "r_models: True is true or false; allowed: a list of mappings."),
        ({"r_hosts": ["a", ["b"]]}, "r_hosts: the list contains ['b'], which is a list; allowed: a list of texts."),
        ({"r_hosts": [None]}, "r_hosts: the list contains None, which is null; allowed: a list of texts."),
        ({"r_port": "many"}, "r_port: 'many' is a text; allowed: a whole number."),
        ({"r_port": 2.5}, "r_port: 2.5 is a number; allowed: a whole number."),
        ({"r_port": [1]}, "r_port: [1] is a list; allowed: a whole number."),
        ({"r_port": "-1"}, "r_port: '-1' is below 0; allowed: a whole number, 0 or more."),
        ({"r_sizes": [4, -1]}, "r_sizes: -1 is below 0; allowed: a list of whole numbers, 0 or more."),
        ({"r_sizes": ["x"]}, "r_sizes[0]: 'x' is not a whole number."),
        ({"r_share": "much"}, "r_share: 'much' is a text; allowed: a number."),
        ({"r_share": float("inf")}, "r_share: inf is not a finite number."),
        ({"r_on": "maybe"}, "r_on: 'maybe' is a text; allowed: true or false."),
        ({"r_on": 7}, "r_on: 7 is a number; allowed: true or false."),
        ({"r_batching": "a=b"}, "r_batching: 'a=b' is a text; allowed: a mapping."),
        ({"r_models": ["x"]}, "r_models[0]: 'x' is not a mapping."),
        ({"r_policy": {"latest": "few"}}, "r_policy.latest: 'few' is not a whole number."),
        ({"r_policy": {"lates": 3}}, "r_policy.lates: no such key; allowed: latest; did you mean latest?"),
        ({"r_served": [{"name": "a", "labels": {"b": 1}}, {"labels": {}}]}, "r_served[1]: {'labels': {}} lacks name."),
        ({"r_served": [{"name": "a", "form": 1}]}, "r_served[0].form: no such key; allowed: labels, name."),
        (
            {"r_state": "on-faliure"},
            "r_state: 'on-faliure' is not known; allowed: no, on-failure, always; did you mean on-failure?",
        ),
        ({"r_state": [1]}, "r_state: [1] is a list; allowed: no, on-failure, always."),
        ({"r_login": "s3cret"}, "r_login: the value is a text; allowed: a mapping."),
    ],
)
def test_what_it_cannot_mean_is_one_line(values, words):
    with pytest.raises(FleetError) as fault:
        role_options.refuse_wrong(OPTIONS, values, DEFAULTS)
    assert str(fault.value) == words
