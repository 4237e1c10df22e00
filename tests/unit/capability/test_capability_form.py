# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities from elsewhere: the example passes, and a value of another type is refused by its place."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import validation
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import policies

yaml = pytest.importorskip("yaml")
EXAMPLE = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / "fixtures" / "capability" / "example.yml").read_text(encoding="utf-8")
)

# What the plan reads, by the type that the example shows. A list's elements are given by the first.
TEXTS = [
    "architecture",
    "classes.image",
    "classes.tuning",
    "cpu.level",
    "cpu.flags[0]",
    "cpu.affinity",
    "gpus[0].product",
    "gpus[0].device_id",
    "gpus[0].driver",
    "gpus[0].problem",
    "gpus[0].mig[0].profile",
    "gpus[0].devices[0].pci_bus_id",
    "gpus[0].devices[0].uuid",
    "gpus[0].devices[0].mig_uuids[0]",
    "gpus[0].devices[0].cpu_affinity",
    "container.engine",
    "container.version",
    "container.reason",
    "container.runtimes[0]",
    "container.cdi_directories[0]",
    "container.nvidia.cdi.names",
]
NUMBERS = [
    "memory.usable_mib",
    "cpu.usable",
    "cpu.threads",
    "gpus[0].compute.major",
    "gpus[0].compute.minor",
    "gpus[0].memory_mib",
    "gpus[0].count",
    "gpus[0].mig[0].memory_mib",
    "gpus[0].devices[0].index",
]
LISTS = [
    "cpu.flags",
    "gpus",
    "gpus[0].mig",
    "gpus[0].devices",
    "gpus[0].devices[0].mig_uuids",
    "container.runtimes",
    "container.cdi_directories",
]
MAPPINGS = [
    "classes",
    "memory",
    "cpu",
    "gpus[0]",
    "gpus[0].compute",
    "gpus[0].mig[0]",
    "gpus[0].devices[0]",
    "container",
    "container.nvidia",
    "container.nvidia.cdi",
]
WRONG = (
    [(place, 7) for place in TEXTS]
    + [(place, "seven") for place in NUMBERS + LISTS + MAPPINGS]
    + [(place, True) for place in TEXTS + NUMBERS]
)


def changed(place, value):
    """The example with a value put at a place such as gpus[0].compute.major."""
    whole = copy.deepcopy(EXAMPLE)
    whole["container"]["cdi_directories"] = ["/etc/cdi"]
    steps = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", place)]
    holder = whole
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    return whole


def shape(value):
    """The names in a value: a mapping, [mapping] for a list of mappings, None for the rest."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def test_the_example_of_the_architecture_page_is_taken_as_it_is():
    assert validation.check(copy.deepcopy(EXAMPLE)) == EXAMPLE


def test_policies_know_the_fields_of_the_architecture_page():
    assert policies.FIELDS == shape(EXAMPLE)


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_value_of_another_type_is_refused_by_its_place(place, value):
    with pytest.raises(FleetError, match="is not what tfserving.fleet.capability_facts returns here") as fault:
        validation.check(changed(place, value))
    assert (
        fault.value.where == f"ansible_facts.tfserving_capabilities.{place}"
        and fault.value.remedy == "Detect the host again."
    )


@pytest.mark.parametrize("place", [place for place in TEXTS + NUMBERS + LISTS + MAPPINGS if not place.endswith("]")])
def test_a_value_that_is_not_known_is_null(place):
    assert validation.check(changed(place, None))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("gpus[0]", None),
        ("cpu.flags[0]", None),
        ("cpu.usable", math.inf),
        ("cpu.usable", math.nan),
        ("cpu.threads", 2.0),
        ("cpu", {1: "x"}),
    ],
)
def test_what_no_detection_returns_is_refused(place, value):
    with pytest.raises(FleetError):
        validation.check(changed(place, value))


def test_the_user_knows_them_by_the_name_that_is_given():
    with pytest.raises(FleetError, match=r"^capabilities: 3 is not what"):
        validation.check(3, "capabilities")
    assert validation.check({"cpu": {"usable": 1}, "memory": {"usable_mib": 0.5}, "more": object})
