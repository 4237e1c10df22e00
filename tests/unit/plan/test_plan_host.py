# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as the plan sees it, also where next to nothing is known of it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import (
    Host,
    compute_capability,
    driver_major,
    numbers,
)


def cpu(**keys):
    return Host({"architecture": "x86_64", "cpu": keys})


@pytest.mark.parametrize(
    "capabilities",
    [{}, {"cpu": None, "gpus": None, "memory": None, "container": None, "classes": None, "architecture": None}],
)
def test_a_host_of_which_nothing_is_known(capabilities):
    host = Host(capabilities)
    assert (host.architecture, host.level, host.cpu_flags, host.image_class, host.tuning_class) == (
        "unknown",
        "unknown",
        frozenset(),
        "unknown",
        "unknown",
    )
    assert (
        host.affinity,
        host.usable_cpus,
        host.memory_mib,
        host.has_quota,
        host.is_pinned,
        host.gpus,
        host.gpu_groups,
    ) == ([], 1, None, False, False, [], [])
    assert (host.container, host.engine, host.engine_problem) == (
        {},
        None,
        "no container engine was found on this host",
    )


@pytest.mark.parametrize(
    ("architecture", "level", "seen"),
    [
        ("x86_64", "x86-64-v3", "x86-64-v3"),
        ("x86_64", None, "x86-64-v1"),
        ("x86_64", "aarch64", "x86-64-v1"),
        ("x86_64", "x86-64-v9", "x86-64-v1"),
        ("aarch64", "aarch64", "aarch64"),
        ("aarch64", None, "aarch64"),
        ("ppc64le", None, "ppc64le"),
        ("ppc64le", "x86-64-v3", "ppc64le"),
    ],
)
def test_the_level_is_at_least_that_of_the_architecture(architecture, level, seen):
    assert Host({"architecture": architecture, "cpu": {"level": level}}).level == seen


def test_classes_are_those_of_the_capabilities_or_the_level():
    assert Host({"architecture": "x86_64", "classes": {"image": "i", "tuning": "t"}}).image_class == "i"
    assert Host({"architecture": "x86_64", "classes": {"image": "i", "tuning": "t"}}).tuning_class == "t"
    assert (
        Host({"architecture": "x86_64", "classes": {"image": "i"}}).tuning_class == "i"
        and cpu(level="x86-64-v2").tuning_class == "x86-64-v2"
    )


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"usable": 2.9}, 2),
        ({"usable": 0.3}, 1),
        ({"usable": None, "threads": 8}, 8),
        ({"affinity": "0-2,7"}, 4),
        ({"usable": 3.0, "threads": 8, "affinity": "0"}, 3),
    ],
)
def test_whole_cpus_worth_using(keys, count):
    assert cpu(**keys).usable_cpus == count


@pytest.mark.parametrize(
    ("keys", "quota", "pinned"),
    [
        ({"usable": 2.0, "affinity": "0-3", "threads": 4}, True, False),
        ({"usable": 4.0, "affinity": "0-3", "threads": 8}, False, True),
        ({"usable": 4.0, "affinity": "0-3", "threads": 4}, False, False),
        ({"usable": 2.0, "affinity": None, "threads": 8}, False, False),
        ({"usable": None, "affinity": "0-3", "threads": None}, False, False),
        ({"usable": 5.0, "affinity": "0-3", "threads": 2}, False, False),
    ],
)
def test_a_quota_and_a_mask_are_told_apart(keys, quota, pinned):
    assert (cpu(**keys).has_quota, cpu(**keys).is_pinned) == (quota, pinned)
    assert cpu(affinity="8,0-1").affinity == [0, 1, 8]


def test_cpus_that_are_offline_are_no_quota():
    """A guest whose CPUs can be plugged in later: 128 are possible, 4 are online."""
    host = cpu(threads=4, **limits.cpus(frozenset(range(128)), None, [], frozenset(range(4)), 4))
    assert (host.has_quota, host.is_pinned, host.usable_cpus, host.affinity) == (False, False, 4, [0, 1, 2, 3])


def test_gpus_are_nvidias_one_by_one_in_the_order_of_the_bus():
    groups = [
        {
            "device_id": "10de:2",
            "driver": "a",
            "devices": [{"pci_bus_id": "0000:09:00.0"}, {"pci_bus_id": "0000:01:00.0", "driver": "own"}],
        },
        {"device_id": "1002:1", "devices": [{"pci_bus_id": "0000:00:00.0"}]},
        {"device_id": None},
        {"device_id": "10de:1", "driver": "b"},
    ]
    host = Host({"gpus": groups})
    assert [(gpu.get("pci_bus_id"), gpu["driver"]) for gpu in host.gpus] == [
        ("0000:01:00.0", "own"),
        ("0000:09:00.0", "a"),
        (None, "b"),
    ]
    assert host.gpu_groups == groups


@pytest.mark.parametrize(
    ("container", "problem"),
    [
        ({"engine": "docker", "answers": True, "version": "20.10.24"}, None),
        (
            {"engine": "docker", "answers": True, "version": "20.9"},
            "Docker Engine 20.9 on this host is older than 20.10",
        ),
        (
            {"engine": "docker", "answers": True, "version": "19.03.1"},
            "Docker Engine 19.03.1 on this host is older than 20.10",
        ),
        ({"engine": "docker", "answers": True, "version": "odd"}, None),
        ({"engine": "podman", "answers": True, "version": "4.9"}, None),
        ({"engine": "docker", "answers": False}, "docker does not answer on this host"),
        (
            {"engine": "docker", "answers": None, "reason": "no permission"},
            "docker does not answer on this host (no permission)",
        ),
        ({"engine": None, "answers": True}, "no container engine was found on this host"),
    ],
)
def test_why_no_container_starts(container, problem):
    assert Host({"container": container}).engine_problem == problem


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("20.10.24", (20, 10)),
        ("470.82-ubuntu", (470, 82)),
        ("12", (12,)),
        ("v1.x", (1,)),
        ("x.1", ()),
        ("", ()),
        (None, ()),
        (0, (0,)),
        (12.4, (12, 4)),
    ],
)
def test_the_first_two_numbers_of_a_version(version, found):
    assert numbers(version) == found


def test_what_no_driver_told_is_not_known():
    assert (
        compute_capability({"compute": {"major": 8, "minor": 6}}) == (8, 6)
        and compute_capability({"compute": None}) is None
    )
    assert compute_capability({}) is None
    assert (
        driver_major({"driver_version": "550.54.15"}) == 550
        and driver_major({"driver_version": "odd"}) is None
        and driver_major({}) is None
    )
