# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU lists, cgroup places and the least of the limits."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits, system
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from hypothesis import given
from hypothesis import strategies as st

NO_LIMIT_V1 = "9223372036854771712"


@pytest.mark.parametrize(
    "text, cpus",
    [
        ("", []),
        ("\n", []),
        ("0", [0]),
        ("0-3,8\n", [0, 1, 2, 3, 8]),
        ("3,1-2", [1, 2, 3]),
        ("0-0", [0]),
        (" 2 , 4-5 ", [2, 4, 5]),
    ],
)
def test_cpu_list(text, cpus):
    assert sorted(limits.parse_cpu_list(text)) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "0-999999", "1;2", "١", "0x3"])
def test_cpu_list_that_is_none(text):
    with pytest.raises(FleetError, match="CPU"):
        limits.parse_cpu_list(text)


@given(st.frozensets(st.integers(0, 4095), max_size=64))
def test_cpu_list_comes_back(cpus):
    assert limits.parse_cpu_list(limits.format_cpu_list(cpus)) == cpus


@given(st.text())
def test_no_cpu_list_raises_anything_but_a_fleet_error(text):
    try:
        limits.parse_cpu_list(text)
    except FleetError:
        pass


@pytest.mark.parametrize(
    "version, first, period, cpus",
    [
        (2, "max 100000\n", None, None),
        (2, "150000 100000\n", None, 1.5),
        (2, "33333 100000", None, 0.33),
        (2, "", None, None),
        (2, "100000", None, None),
        (2, "1 0", None, None),
        (2, "1000 1000000", None, 0.01),
        (1, "1000\n", "1000000\n", 0.01),
        (2, "9" * 5000 + " 100000", None, None),
        (2, "9" * 400 + " 1", None, None),
        (2, "max", None, None),
        (1, "-1\n", "100000\n", None),
        (1, "250000\n", "50000\n", 5.0),
        (1, "250000", "", None),
        (1, "", "100000", None),
    ],
)
def test_quota(version, first, period, cpus):
    assert limits.quota(version, first, period) == cpus


def test_places_of_version_2_reach_from_the_cgroup_to_the_mount():
    found = limits.directories(
        "0::/a.slice/b.service\n", "35 24 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n"
    )
    assert (
        found["cpu"]
        == found["memory"]
        == (2, ["/sys/fs/cgroup/a.slice/b.service", "/sys/fs/cgroup/a.slice", "/sys/fs/cgroup"])
    )


def test_places_of_version_1_are_below_the_root_of_their_mount():
    found = limits.directories(
        "8:cpu,cpuacct:/docker/3f1c/in\n",
        "1 0 0:30 /docker/3f1c /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
    )
    assert found == {"cpu": (1, ["/sys/fs/cgroup/cpu,cpuacct/in", "/sys/fs/cgroup/cpu,cpuacct"])}


@pytest.mark.parametrize("path", ["/../../elsewhere", "/docker/other", "relative", ""])
def test_a_cgroup_outside_of_the_mount_is_the_mount_itself(path):
    found = limits.directories(f"4:memory:{path}\n", "1 0 0:30 /docker/3f1c /m ro - cgroup cgroup rw,memory\n")
    assert found == {"memory": (1, ["/m"])}


def test_a_cgroup_whose_name_begins_with_dots_is_inside():
    found = limits.directories("0::/..x/y\n", "35 24 0:30 / /c rw shared:9 - cgroup2 cgroup2 rw\n")
    assert found["cpu"] == (2, ["/c/..x/y", "/c/..x", "/c"])


def test_hybrid_hierarchies_use_the_version_that_has_the_controller():
    mounts = "1 0 0:1 / /v1/memory rw - cgroup cgroup rw,memory\n2 0 0:2 / /v2 rw - cgroup2 cgroup2 rw\n"
    found = limits.directories("4:memory:/x\n0::/y\n", mounts)
    assert found == {
        "cpu": (2, ["/v2/y", "/v2"]),
        "cpuset": (2, ["/v2/y", "/v2"]),
        "memory": (1, ["/v1/memory/x", "/v1/memory"]),
    }


def test_a_mount_point_with_a_blank_is_unescaped():
    assert limits.directories("0::/", "1 0 0:2 / /c\\040g rw - cgroup2 cgroup2 rw\n")["cpu"] == (2, ["/c g"])


@given(st.text(), st.text())
def test_no_cgroup_text_raises(cgroup, mountinfo):
    limits.directories(cgroup, mountinfo)
    limits.directories(f"0::/{cgroup}", f"1 0 0:2 /{mountinfo} /m rw - cgroup2 cgroup2 rw")


def test_the_least_of_affinity_cpuset_and_quota():
    four, two = frozenset(range(4)), frozenset({1, 3})
    assert limits.cpus(four, None, [None], four, 4) == {"usable": 4.0, "affinity": "0-3", "cpuset": None, "quota": None}
    assert limits.cpus(four, two, [], four, 4)["usable"] == 2.0
    assert limits.cpus(four, two, [3.0, 1.5, None], four, 4) == {
        "usable": 1.5,
        "affinity": "0-3",
        "cpuset": "1,3",
        "quota": 1.5,
    }
    assert limits.cpus(None, None, [], None, 8)["usable"] == 8.0
    assert limits.cpus(None, None, [2.5], None, None)["usable"] == 2.5
    assert limits.cpus(None, None, [], None, None)["usable"] is None


def test_cpus_online_that_lxcfs_numbers_anew_do_not_count():
    """LXCFS with --enable-cfs shows a container's CPUs as 0 to n-1, while affinity and cpuset keep the host's numbers."""
    held = frozenset({4, 5})
    assert limits.cpus(held, held, [], frozenset({0, 1}), 2)["usable"] == 2.0
    assert limits.cpus(frozenset(range(100, 104)), None, [1.5], frozenset(range(8)), 8)["usable"] == 1.5


@pytest.mark.parametrize(
    "total_kib, texts, expected",
    [
        (1024 * 1024, [NO_LIMIT_V1], (1024, None, 1024)),
        (1024 * 1024, ["max\n", "", None], (1024, None, 1024)),
        (1024 * 1024, ["536870912\n", NO_LIMIT_V1], (1024, 512, 512)),
        (1024 * 1024, [str(1 << 30)], (1024, None, 1024)),
        (None, [NO_LIMIT_V1], (None, None, None)),
        (None, ["1048576"], (None, 1, 1)),
        (1024 * 1024, ["9" * 5000], (1024, None, 1024)),
    ],
)
def test_memory(total_kib, texts, expected):
    assert tuple(limits.memory(total_kib, texts).values()) == expected


@pytest.mark.parametrize(
    "architecture, hypervisor, maker, product, clocks, kind",
    [
        ("x86_64", False, "Amazon EC2", "m5.metal", "tsc", None),
        ("x86_64", True, "Amazon EC2", "m5.large", "kvm-clock tsc", "amazon"),
        ("aarch64", False, "Amazon EC2", "m7g.metal", "arch_sys_counter", None),
        ("aarch64", False, "Microsoft Corporation", "Surface Pro X", "arch_sys_counter", None),
        ("aarch64", False, "Microsoft Corporation", "Virtual Machine", "arch_sys_counter", "microsoft"),
        ("x86_64", True, "VMware, Inc.", "VMware7,1", "tsc", "vmware"),
        ("x86_64", True, "", "", "tsc hyperv_clocksource_tsc_page", "microsoft"),
        ("x86_64", True, "", "", "tsc", "vm-other"),
        ("x86_64", False, "QEMU", "", "kvm-clock", None),
    ],
)
def test_virtualization(architecture, hypervisor, maker, product, clocks, kind):
    assert system.virtualization(architecture, hypervisor, maker, product, clocks) == kind


@pytest.mark.parametrize(
    "marks, kind",
    [
        ((False, False, "", "0::/user.slice"), None),
        ((True, False, "", ""), "docker"),
        ((True, True, "", ""), "podman"),
        ((False, False, "systemd-nspawn\n", ""), "systemd-nspawn"),
        ((False, False, "", "4:memory:/kubepods/burstable/pod1"), "kubernetes"),
        ((False, False, "", "4:memory:/docker/3f"), "docker"),
    ],
)
def test_container(marks, kind):
    assert system.container(*marks) == kind


@pytest.mark.parametrize(
    "held, online, usable",
    [("2-5", "0-3", 4), ("3-10", "0-7", 8), ("0-1,8-9", "0-3", 4), ("1", "0", 1), ("0-7", "0-7", 8)],
)
def test_a_container_whose_cpus_lxcfs_numbers_from_0_has_all_of_them(held, online, usable):
    """proc_cpuinfo and sys_devices_system_cpu_online of LXCFS (src/sysfs_fuse.c) count the CPUs of the cpuset; the kernel's files keep the host's numbers."""
    held, online = limits.parse_cpu_list(held), limits.parse_cpu_list(online)
    for affinity, cpuset in ((held, held), (held, None), (None, held)):
        assert limits.cpus(affinity, cpuset, [], online, len(online))["usable"] == usable


def test_cpus_that_are_offline_do_not_count():
    """A guest that may get more CPUs later: its affinity names all that are possible (Cpus_allowed of proc(5)), its cpuset those online."""
    possible, online = frozenset(range(128)), frozenset(range(4))
    for cpuset, quotas in ((None, []), (online, []), (None, [16.0])):
        found = limits.cpus(possible, cpuset, quotas, online, 4)
        assert (found["usable"], found["affinity"]) == (4, "0-3")


def test_a_cpu_that_is_offline_is_not_in_the_affinity():
    """sched_getaffinity(2) returns only CPUs that are active, so TensorFlow sees these."""
    found = limits.cpus(frozenset(range(4)), None, [], frozenset((1, 2, 3)), 3)
    assert (found["usable"], found["affinity"]) == (3, "1-3")


def test_lxcfs_shows_as_many_cpus_as_the_quota_permits_and_the_affinity_stays():
    """With lxcfs --enable-cfs, the list of online CPUs is the quota, rounded up: the kernel's files still name all CPUs, which TensorFlow sees."""
    found = limits.cpus(frozenset(range(128)), None, [3.5], frozenset(range(4)), 4)
    assert (found["usable"], found["affinity"], found["quota"]) == (3.5, "0-127", 3.5)
