# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image class and tuning class: what they are keyed by, and what they ignore."""

from __future__ import annotations

import copy
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes
from hypothesis import given, settings
from hypothesis import strategies as st

HOST = {
    "architecture": "x86_64",
    "cpu": {
        "vendor": "AuthenticAMD",
        "family": 25,
        "model": 17,
        "brand": "AMD EPYC",
        "level": "x86-64-v4",
        "ai": ["avx512_vnni"],
        "usable": 2.0,
        "numa_nodes": 1,
    },
    "gpus": [],
    "memory": {"total_mib": 24000},
    "os": {"kernel": "6.1.0"},
}
H200 = {
    "count": 1,
    "device_id": "10de:2335",
    "driver": "nvidia",
    "product": "NVIDIA H200",
    "compute": {"major": 9, "minor": 0},
    "memory_mib": 143771,
    "mig": None,
}
SILENT = dict(H200, product=None, compute=None, memory_mib=None)


def changed(**parts):
    found = copy.deepcopy(HOST)
    for key, value in parts.items():
        found[key] = dict(found[key], **value) if isinstance(value, dict) else value
    return found


def test_the_example_of_the_architecture_page():
    assert classes.classes(HOST) == {"image": "x86-64-v4", "tuning": "x86-64-v4+avx512_vnni-amd-2c-1n"}


@pytest.mark.parametrize(
    "parts, image, tuning",
    [
        ({"cpu": {"level": "x86-64-v3", "ai": []}}, "x86-64-v3", "x86-64-v3-amd-2c-1n"),
        (
            {"cpu": {"usable": 1.5, "numa_nodes": 2, "vendor": "GenuineIntel"}},
            "x86-64-v4",
            "x86-64-v4+avx512_vnni-intel-1.5c-2n",
        ),
        ({"cpu": {"usable": 128.0}}, "x86-64-v4", "x86-64-v4+avx512_vnni-amd-128c-1n"),
        ({"gpus": [dict(H200, count=2)]}, "x86-64-v4-cc9", "x86-64-v4-cc9+avx512_vnni-amd-2c-1n-2xnvidia.h200-140g"),
        (
            {"gpus": [dict(H200, mig=[{"profile": "3g.71gb"}, {"profile": "1g.18gb"}])]},
            "x86-64-v4-cc9",
            "x86-64-v4-cc9+avx512_vnni-amd-2c-1n-1xnvidia.h200-140g-mig-1g.18gb-3g.71gb",
        ),
        ({"gpus": [SILENT]}, "x86-64-v4", "x86-64-v4+avx512_vnni-amd-2c-1n-1x10de.2335"),
        (
            {"gpus": [H200, dict(H200, compute={"major": 8, "minor": 6}, product="NVIDIA A10", memory_mib=23028)]},
            "x86-64-v4-cc8-cc9",
            "x86-64-v4-cc8-cc9+avx512_vnni-amd-2c-1n-1xnvidia.a10-22g-1xnvidia.h200-140g",
        ),
        (
            {"architecture": "riscv64", "cpu": {"level": None, "ai": [], "vendor": None, "usable": None}},
            "riscv64",
            "riscv64-unknown-unknownc-1n",
        ),
    ],
)
def test_classes(parts, image, tuning):
    assert classes.classes(changed(**parts)) == {"image": image, "tuning": tuning}


@pytest.mark.parametrize(
    "parts",
    [
        {"cpu": {"brand": "another name", "model": 1, "family": 26}},
        {"memory": {"total_mib": 1}},
        {"os": {"kernel": "7.0"}},
    ],
)
def test_names_and_the_rest_of_the_host_do_not_matter(parts):
    assert classes.classes(changed(**parts)) == classes.classes(HOST)


def test_the_order_of_gpus_and_their_places_do_not_matter():
    other = dict(H200, product="NVIDIA A10", device_id="10de:2236", devices=[{"pci_bus_id": "0000:99:00.0"}])
    assert classes.classes(changed(gpus=[H200, other])) == classes.classes(
        changed(gpus=[dict(other, devices=[{"pci_bus_id": "0000:00:00.0"}]), H200])
    )


GPUS = st.lists(
    st.fixed_dictionaries(
        {
            "device_id": st.sampled_from(["10de:2330", "10de:2204"]),
            "product": st.none() | st.text(max_size=20),
            "compute": st.none() | st.fixed_dictionaries({"major": st.integers(5, 12), "minor": st.integers(0, 9)}),
            "memory_mib": st.none() | st.integers(0, 10**6),
            "mig": st.none() | st.lists(st.sampled_from([{"profile": "1g.10gb"}, {"profile": "3g.40gb"}])),
            "count": st.integers(1, 16),
        }
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(
    GPUS,
    st.none() | st.text(max_size=20),
    st.none() | st.floats(0.1, 512),
    st.sampled_from(["x86-64-v1", "aarch64", None]),
)
def test_every_host_has_classes_and_the_image_class_fits_a_tag(gpus, vendor, usable, level):
    found = classes.classes(changed(gpus=gpus, cpu={"vendor": vendor, "usable": usable, "level": level}))
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]{0,127}", found["image"])
    assert found["tuning"].startswith(found["image"]) and " " not in found["tuning"]
