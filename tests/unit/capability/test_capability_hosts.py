# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of hosts, read as a whole, against what hosts.yml works out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes, host

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "capability"
HOSTS = yaml.safe_load((FIXTURES / "hosts.yml").read_text(encoding="utf-8"))["hosts"]
ROOMS = ("architecture", "cpu", "memory", "gpus", "container", "os", "virtualization")
NVIDIA = {"vendor": "0x10de", "device": "0x2330", "class": "0x030200"}


def part_of(expected, found):
    """What of found expected speaks of, so that a difference shows itself."""
    return {
        key: part_of(value, found[key]) if isinstance(value, dict) else found[key] for key, value in expected.items()
    }


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in HOSTS])
def test_host(row, host_tree):
    root = str(host_tree(row["name"]))
    found, warnings, _details = host.read(root, row["machine"])
    expected = {key: row[key] for key in ROOMS if key in row}
    assert part_of(expected, found) == expected
    assert warnings == row.get("warnings", [])
    host_classes = classes.classes(found)
    for name in ("image", "tuning"):
        assert host_classes[name] == row.get(name, host_classes[name])
    assert host.read(root, row["machine"])[0] == found


def test_every_host_has_all_keys(host_tree):
    shapes = set()
    for row in HOSTS:
        found, _warnings, _details = host.read(str(host_tree(row["name"])), row["machine"])
        shapes.add(
            json.dumps({key: sorted(value) if isinstance(value, dict) else None for key, value in found.items()})
        )
    assert len(shapes) == 1


def test_empty_root_is_a_host_of_which_nothing_is_known(tmp_path):
    found, warnings, _details = host.read(str(tmp_path), "x86_64")
    assert (
        found["cpu"]["level"] == "x86-64-v1"
        and found["cpu"]["usable"] is None
        and found["memory"]["usable_mib"] is None
    )
    assert warnings
    assert classes.classes(found) == {"image": "x86-64-v1", "tuning": "x86-64-v1-unknown-unknownc-1n"}


def test_the_widest_machine_fits_the_budget(host_tree):
    """Sixteen GPUs and the most flags that a machine of machines.yml has: 6 KB of facts at most, classes included."""
    root = host_tree("two_sockets_gpu")
    (root / "proc/cpuinfo").write_text(
        (FIXTURES / "cpuinfo/intel_sapphirerapids.txt").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for number in range(14):
        device = root / f"sys/bus/pci/devices/0000:{number + 16:02x}:01.0"
        device.mkdir()
        for name, content in NVIDIA.items():
            (device / name).write_text(content, encoding="utf-8")
    found, _warnings, _details = host.read(str(root), "x86_64")
    assert sum(group["count"] for group in found["gpus"]) == 16
    assert len(json.dumps(dict(found, classes=classes.classes(found)))) <= 6000


@pytest.mark.parametrize("damage", ["garbage\x00\n", "", "-1", "999999999999999999999", "0-", "max max max"])
def test_damaged_files_are_as_good_as_absent(damage, host_tree):
    root = host_tree("slice_limits_v2")
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name != "cpuinfo":
            path.write_text(damage, encoding="utf-8")
    found, _warnings, _details = host.read(str(root), "x86_64")
    assert found["cpu"]["threads"] == 8 and found["cpu"]["usable"] == 8.0


def test_names_are_as_long_as_they_may_be(host_tree):
    root = host_tree("slice_limits_v2")
    (root / "proc/sys/kernel").mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/osrelease").write_text("6" * 5000, encoding="utf-8")
    assert host.read(str(root), "x86_64")[0]["os"]["kernel"] == "6" * 128


def test_directories_in_place_of_files_do_not_matter(host_tree):
    root = host_tree("firecracker_v1")
    for name in ("proc/meminfo", "proc/self/cgroup", "etc/os-release", "sys/devices/system/cpu/online"):
        (root / name).unlink()
        (root / name).mkdir()
    found, _warnings, _details = host.read(str(root), "x86_64")
    assert found["memory"]["total_mib"] is None and found["cpu"]["threads"] == 2


def test_cpuinfo_of_another_architecture_is_not_believed(host_tree):
    """An aarch64 container under user-mode emulation shows the cpuinfo of the x86-64 machine."""
    found, warnings, _details = host.read(str(host_tree("two_sockets_gpu")), "aarch64")
    assert (found["architecture"], found["cpu"]["level"], found["cpu"]["flags"]) == ("aarch64", "aarch64", [])
    assert any("x86_64" in warning for warning in warnings)


def test_this_machine():
    """What the kernel tells this very process, by other ways than ours."""
    import os

    found, _warnings, _details = host.read()
    assert found["architecture"] == {"arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)
    assert found["os"]["kernel"] == os.uname().release
    assert found["cpu"]["usable"] <= len(os.sched_getaffinity(0))
    assert found["memory"]["total_mib"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def test_affinity_of_this_process_counts():
    import os

    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        cpu = host.read()[0]["cpu"]
    finally:
        os.sched_setaffinity(0, allowed)
    assert (cpu["usable"], cpu["affinity"]) == (1.0, str(min(allowed)))
