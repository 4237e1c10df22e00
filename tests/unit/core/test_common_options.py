# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A value of the wrong type is named with its option and what is allowed; what Ansible would take is left alone."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import unusable, wrong_type

SPECIFICATION = {
    "port": {"type": "int"},
    "rate": {"type": "float"},
    "wait": {"type": "bool"},
    "sizes": {"type": "list", "elements": "int"},
    "targets": {
        "type": "list",
        "elements": "dict",
        "options": {"port": {"type": "int"}, "name": {}, "samples": {"type": "path"}},
    },
    "labels": {"type": "dict"},
    "secret": {"type": "int", "no_log": True},
}


@pytest.mark.parametrize(
    "values, told",
    [
        ({"port": "abc"}, "port: 'abc' is not a whole number"),
        ({"port": 1.5}, "port: 1.5 is not a whole number"),
        ({"port": True}, "port: True is not a whole number"),
        ({"rate": False}, "rate: False is not a number"),
        ({"sizes": [True]}, "sizes[0]: True is not a whole number"),
        ({"port": float("inf")}, "port: inf is not a whole number"),
        ({"rate": "fast"}, "rate: 'fast' is not a number"),
        ({"wait": "maybe"}, "wait: 'maybe' is not true or false"),
        ({"sizes": [1, "two"]}, "sizes[1]: 'two' is not a whole number"),
        ({"sizes": "1,two"}, "sizes[1]: 'two' is not a whole number"),
        ({"sizes": {"a": 1}}, "sizes: {'a': 1} is not a list"),
        ({"targets": ["none"]}, "targets[0]: 'none' is not a mapping"),
        ({"targets": "none"}, "targets[0]: 'none' is not a mapping"),
        ({"targets": [{"port": 1}, {"port": "x"}]}, "targets[1].port: 'x' is not a whole number"),
        ({"labels": "none"}, "labels: 'none' is not a mapping"),
        ({"targets": [{"name": ["a"]}]}, "targets[0].name: ['a'] is not a text"),
        ({"targets": [{"samples": {"a": 1}}]}, "targets[0].samples: {'a': 1} is not a text"),
    ],
)
def test_wrong_types(values, told):
    assert str(wrong_type(SPECIFICATION, values)).startswith(told)


@pytest.mark.parametrize(
    "values, told",
    [
        ({"rate": float("inf")}, "rate: inf is not a finite number."),
        ({"rate": float("nan")}, "rate: nan is not a finite number."),
        ({"rate": "1e400"}, "rate: '1e400' is not a finite number."),
        (
            {"targets": [{"name": "x"}, {"samples": "y\0z"}]},
            "targets[1].samples: it contains a NUL character, which no file name can contain.",
        ),
    ],
)
def test_values_that_nothing_can_take(values, told):
    assert str(unusable(SPECIFICATION, values)) == told


def test_values_that_are_of_use():
    texts = [{"name": "ü\u2028\0"}, {"name": "inf"}]
    assert (
        unusable(SPECIFICATION, {"rate": 1e30, "targets": texts, "labels": {"somebody's": "data\0"}, "sizes": None})
        is None
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        None,
        {"port": 1, "rate": 1, "wait": "yes", "sizes": [], "targets": [], "labels": {}},
        {"port": "8500"},
        {"rate": "1.5"},
        {"sizes": "1,2"},
        {"sizes": 4},
        {"port": None},
        {"labels": "a=b"},
        {"labels": '{"a": 1}'},
        {"targets": ["port=1"]},
        {"secret": "not a number"},
        {"unknown": []},
    ],
)
def test_what_ansible_takes(values):
    assert wrong_type(SPECIFICATION, values) is None
