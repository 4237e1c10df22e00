# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers of NVML and of nvidia-smi become. Codes, bits and families are those of nvml.h, of the Xid catalog and of GPU feature discovery."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import gpu_details, gpu_use, gpus

# nvmlReturn_t of nvml.h: the word that its comment and ours share.
NVML_CODES = {
    1: "not initialized",
    2: "argument was invalid",
    3: "not supported",
    4: "permission",
    6: "not found",
    7: "buffer",
    8: "power cables",
    9: "driver is not loaded",
    10: "timed out",
    11: "interrupt",
    12: "libnvidia-ml.so.1",
    13: "does not support the query",
    14: "infoROM",
    15: "fallen off the bus",
    16: "reset",
    17: "operating system",
    18: "library differ",
    19: "in use",
    20: "memory",
    21: "no data",
    22: "ECC",
    23: "resources",
    24: "clock",
    25: "another version",
    26: "outdated",
    27: "not ready",
    28: "no GPU",
    29: "wrong state",
    30: "reset",
    "crash": "library crashed",
    "hang": "in time",
    "odd": "not valid",
}
# What a person can do about it.
REMEDIES = {
    4: "/dev/nvidia",
    8: "cables",
    9: "modprobe nvidia",
    11: "kernel's log",
    12: "libraries",
    15: "Xid 79",
    16: "nvidia-smi -r",
    17: "/dev/nvidia",
    18: "reboot",
    "crash": "install the driver again",
    "hang": "persistence mode",
}
# nvmlClocksEventReason… of nvml.h that slow a GPU down against its user's will; 1, 2 and 256 are idle and clocks that somebody set.
SLOWED = {
    4: "sw_power_cap",
    8: "hw_slowdown",
    16: "sync_boost",
    32: "sw_thermal_slowdown",
    64: "hw_thermal_slowdown",
    128: "hw_power_brake_slowdown",
}


def told(gpu=0, **answers):
    """Answers about one GPU that answers everything, changed; a fault is given as (code,)."""
    whole = dict(
        {
            "handle": None,
            "name": "Tesla T4",
            "uuid": "GPU-0",
            "compute": [7, 5],
            "memory": {"total": 15 << 30, "free": 14 << 30},
            "pci": [0, 0x3B, 0, 0x1EB810DE],
        },
        **answers,
    )
    return {
        (gpu, question): (value[0], None) if isinstance(value, tuple) else (None, value)
        for question, value in whole.items()
    }


@pytest.mark.parametrize("code", NVML_CODES)
def test_a_code_of_nvml_is_explained_in_words(code):
    text = gpus.explained(code)
    assert NVML_CODES[code] in text.partition(": ")[0]
    assert REMEDIES[code] in text.partition(": ")[2] if code in REMEDIES else ": " not in text


@pytest.mark.parametrize("code", [5, 999])
def test_a_code_that_nvml_does_not_explain_is_named(code):
    assert gpus.explained(code) == f"an unknown error of the driver (code {code})"


@pytest.mark.parametrize(
    ("compute", "family"),
    [
        ((2, 0), "fermi"),
        ((3, 7), "kepler"),
        ((5, 2), "maxwell"),
        ((6, 1), "pascal"),
        ((7, 0), "volta"),
        ((7, 2), "volta"),
        ((7, 5), "turing"),
        ((8, 0), "ampere"),
        ((8, 6), "ampere"),
        ((8, 7), "ampere"),
        ((8, 9), "ada-lovelace"),
        ((9, 0), "hopper"),
        ((10, 0), "blackwell"),
        ((12, 0), "blackwell"),
        ((13, 0), "rubin"),
        ((1, 3), None),
        ((4, 0), None),
        ((11, 0), None),
    ],
)
def test_the_family_of_a_compute_capability(compute, family):
    assert gpus.family(*compute) == family


@pytest.mark.parametrize(
    ("domain", "bus", "device", "text"), [(0, 0x3B, 0, "0000:3b:00.0"), (0x10001, 0xD8, 0x1F, "10001:d8:1f.0")]
)
def test_an_address_is_spelt_as_in_sysfs(domain, bus, device, text):
    assert gpus.address(domain, bus, device) == text


@pytest.mark.parametrize(
    ("question", "value", "is_sensible"),
    [
        ("cuda", 12040, True),
        ("cuda", 0, True),
        ("cuda", 99999, True),
        ("cuda", 100000, False),
        ("cuda", -1, False),
        ("compute", [9, 0], True),
        ("compute", [99, 99], True),
        ("compute", [1, 0], True),
        ("compute", [0, 0], False),
        ("compute", [100, 0], False),
        ("compute", [9, 100], False),
        ("compute", [9, -1], False),
        ("memory", {"total": 1}, True),
        ("memory", {"total": (1 << 50) - 1}, True),
        ("memory", {"total": 0}, False),
        ("memory", {"total": 1 << 50}, False),
        ("name", "T4", True),
        ("name", "", False),
        ("name", " ", False),
        ("uuid", "GPU-0", True),
        ("uuid", "", False),
        ("ecc", 77, True),
    ],
)
def test_answers_without_sense_are_faults(question, value, is_sensible):
    assert gpus.sensible({(0, question): (None, value)}) == {
        (0, question): (None, value) if is_sensible else ("odd", None)
    }


def test_texts_lose_their_control_characters_and_faults_stay():
    assert gpus.sensible({(0, "name"): (None, " A\x00B\n")}) == {(0, "name"): (None, "A?B?")}
    assert gpus.sensible({(0, "name"): (15, None), (0, "uuid"): (None, None)}) == {
        (0, "name"): (15, None),
        (0, "uuid"): (None, None),
    }


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n", "535.129.03"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n", "570.86.15"),
        ("", None),
    ],
)
def test_the_version_of_the_kernel_module(text, version):
    assert gpus.driver_version_of(text) == version


def test_what_the_kernel_says_of_a_gpu():
    text = "Model: \t\t Tesla T4\nIRQ:   \t\t 37\nGPU UUID: \t %s\n"
    assert gpus.information_of(text % "GPU-6513270e") == {"product": "Tesla T4", "uuid": "GPU-6513270e"}
    assert gpus.information_of(text % "GPU-????????-????") == {"product": "Tesla T4", "uuid": None}
    assert gpus.information_of("") == {"product": None, "uuid": None}


# A line of nvidia-smi --query-gpu=… --format=csv for each of two GPUs, and what nvidia-smi -L prints.
ROWS = [
    {
        "index": "1",
        "name": "NVIDIA A100",
        "uuid": "GPU-a",
        "memory.total": "40960",
        "compute_cap": "8.0",
        "ecc.mode.current": "Enabled",
        "mig.mode.current": "Enabled",
        "driver_version": "550.54.15",
        "pci.bus_id": "00000000:3B:00.0",
        "pci.device_id": "0x20B010DE",
    },
    {
        "index": "",
        "name": "Tesla T4",
        "uuid": "[Unknown Error]",
        "memory.total": "lots",
        "compute_cap": "7.5",
        "ecc.mode.current": "Disabled",
        "mig.mode.current": "[N/A]",
        "driver_version": "550.54.15",
        "pci.bus_id": "00000000:5E:00.0",
        "pci.device_id": "?",
    },
]
LISTING = """GPU 0: Tesla T4 (UUID: GPU-b)
GPU 1: NVIDIA A100 (UUID: GPU-a)
  MIG 3g.20gb     Device  0: (UUID: MIG-x)
  MIG 1c.2g.10gb  Device  4: (UUID: MIG-y)
"""


def test_rows_of_nvidia_smi_are_answers():
    answers = gpus.rows_to_answers(ROWS[::-1], LISTING)
    assert {
        question: answers[1, question]
        for question in ("handle", "name", "uuid", "memory", "compute", "ecc", "mig", "pci", "mig_count", "mig_listed")
    } == {
        "handle": (None, None),
        "name": (None, "NVIDIA A100"),
        "uuid": (None, "GPU-a"),
        "memory": (None, {"total": 40960 << 20, "free": None}),
        "compute": (None, [8, 0]),
        "ecc": (None, 1),
        "mig": (None, 1),
        "pci": (None, [0, 0x3B, 0, 0x20B010DE]),
        "mig_count": (None, 2),
        "mig_listed": (None, 2),
    }
    assert {key: value for key, value in answers.items() if key[1].startswith("mig.")} == {
        (1, "mig.0.handle"): (None, None),
        (1, "mig.0.uuid"): (None, "MIG-x"),
        (1, "mig.0.name"): (None, "MIG 3g.20gb"),
        (1, "mig.4.handle"): (None, None),
        (1, "mig.4.uuid"): (None, "MIG-y"),
        (1, "mig.4.name"): (None, "MIG 1c.2g.10gb"),
    }
    assert (answers[None, "driver"], answers[None, "count"]) == ((None, "550.54.15"), (None, 2))


@pytest.mark.parametrize(
    ("field", "text", "question", "answer"),
    [
        ("name", "[N/A]", "name", (3, None)),
        ("name", "N/A", "name", (3, None)),
        ("name", "[Not Supported]", "name", (3, None)),
        ("name", "[Not Found]", "name", (6, None)),
        ("name", "[Insufficient Permissions]", "name", (4, None)),
        ("name", "[GPU is lost]", "name", (15, None)),
        ("name", "[Reset Required]", "name", (16, None)),
        ("name", "[GPU requires reset]", "name", (16, None)),
        ("name", "[Unknown Error]", "name", (999, None)),
        ("name", None, "name", (13, None)),
        ("memory.total", "lots", "memory", (999, None)),
        ("compute_cap", "?", "compute", (999, None)),
        ("ecc.mode.current", "Disabled", "ecc", (None, 0)),
        ("mig.mode.current", "1", "mig", (None, 1)),
        ("pci.bus_id", "?", "pci", (999, None)),
        ("pci.device_id", "20B0", "pci", (None, [0, 0x3B, 0, 0])),
        ("pci.bus_id", "00000001:5e:1F.0", "pci", (None, [1, 0x5E, 0x1F, 0x20B010DE])),
    ],
)
def test_a_cell_of_nvidia_smi(field, text, question, answer):
    assert gpus.rows_to_answers([dict(ROWS[0], **{field: text})], "")[1, question] == answer


def test_a_row_without_an_index_has_its_place():
    answers = gpus.rows_to_answers([ROWS[1], dict(ROWS[1], index="?"), {}], LISTING)
    assert sorted({gpu for gpu, _question in answers if gpu is not None}) == [0, 1, 2] and answers[0, "name"] == (
        None,
        "Tesla T4",
    )
    assert (0, "mig_count") not in answers


@pytest.mark.parametrize(
    ("changes", "is_lacking"),
    [
        ({}, False),
        ({"name": (3,)}, False),
        ({"name": (15,)}, True),
        ({"memory": (13,)}, True),
        ({"mig": (3,)}, False),
        ({"mig": (13,)}, False),
        ({"ecc": (6,)}, False),
        ({"ecc": (4,)}, True),
        ({"mig.0.uuid": (999,)}, True),
        ({"mig.0.handle": (6,)}, False),
        ({"power": (999,)}, False),
    ],
)
def test_what_was_not_told_is_asked_of_nvidia_smi(changes, is_lacking):
    assert gpus.lacking({**told(**changes), (None, "count"): (None, 1)}) is is_lacking


def test_a_driver_that_counts_nothing_lacks_all():
    assert (
        gpus.lacking({})
        and gpus.lacking({(None, "count"): (None, 0)})
        and gpus.lacking({**told(), (None, "count"): (None, 2)})
    )


def test_answers_are_filled_by_address_else_by_index():
    known = {**told(0, name=(15,)), **told(1, name=(10,), pci=[0, 0x5E, 0, 1])}
    swapped = {**told(0, name="B", uuid="other", pci=[0, 0x5E, 0, 1]), **told(1, name="A")}
    found = gpus.filled(known, swapped)
    assert (found[0, "name"], found[1, "name"], found[0, "uuid"]) == ((None, "A"), (None, "B"), (None, "GPU-0"))
    assert gpus.filled(told(name=(15,), pci=(15,)), told(name="C", pci=(4,)))[0, "name"] == (None, "C")
    assert gpus.filled(told(name=(15,)), told(name=(16,)))[0, "name"] == (15, None)


def test_gpus_that_the_driver_counts_and_does_not_have_are_left_out():
    assert gpus.indices({**told(1), **told(0), (2, "handle"): (2, None), (3, "handle"): (15, None)}) == [0, 1, 3]


@pytest.mark.parametrize(
    ("answers", "smi", "reason"),
    [
        ({(None, "load"): (12, None)}, None, gpus.explained(12)),
        ({(None, "load"): (None, None), (None, "init"): (9, None)}, None, gpus.explained(9)),
        (
            {(None, "count"): (4, None)},
            "no permission",
            f"the number of GPUs is not known: {gpus.explained(4)} (nvidia-smi: no permission)",
        ),
        ({}, "it is not there", "nvidia-smi: it is not there"),
        ({}, None, None),
        (told(), "it failed", None),
    ],
)
def test_why_the_driver_told_nothing(answers, smi, reason):
    assert gpus.failure_of(answers, smi) == reason


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"memory": (3,)}, None),
        ({"handle": (15,)}, gpus.explained(15)),
        ({"handle": (999,)}, "an unknown error of the driver (code 999)"),
        ({"name": (3,)}, "the driver did not report product (not supported)"),
        (
            {"uuid": (4,), "compute": (4,)},
            "the driver did not report UUID, compute capability (no permission): let the account use /dev/nvidia*, or become root",
        ),
        ({"memory": (20,)}, "the driver did not report memory (not enough memory)"),
        ({"mig": 1, "mig_count": 7, "mig.7.handle": (6,)}, None),
        ({"mig": 1, "mig.7.handle": (21,)}, "the driver did not report all MIG slices (no data)"),
        ({"mig": 0, "mig.7.handle": (21,)}, None),
        ({"mig": 1, "mig_count": (21,)}, "the driver did not report all MIG slices (no data)"),
        ({"mig": 1, "mig_listed": 1, "mig.1.handle": (21,)}, None),
        ({"mig": 1, "mig_listed": 2, "mig.1.handle": (21,)}, "the driver did not report all MIG slices (no data)"),
    ],
)
def test_what_is_wrong_with_a_gpu(changes, problem):
    assert gpus.problem_of(told(**changes), 0) == problem
    assert gpus.problem_of({}, 0) == gpus.explained("hang")


PCI = {
    "pci_bus_id": "0000:3b:00.0",
    "device_id": "10de:1eb8",
    "driver": "nvidia",
    "numa_node": 1,
    "cpu_affinity": "0-7",
    "product": None,
    "uuid": None,
}


def test_a_gpu_of_the_bus_and_of_the_driver_is_one():
    answers = {**told(ecc=1, mig=0), (None, "driver"): (None, "550.54.15"), (None, "cuda"): (None, 12040)}
    (group,), problems = gpus.describe([PCI], answers, None, None)
    assert problems == []
    assert group == {
        "product": "Tesla T4",
        "compute": {"major": 7, "minor": 5},
        "memory_mib": 15360,
        "device_id": "10de:1eb8",
        "driver": "nvidia",
        "driver_version": "550.54.15",
        "cuda_version": "12.4",
        "ecc": True,
        "mig": None,
        "problem": None,
        "family": "turing",
        "count": 1,
        "devices": [
            {
                "pci_bus_id": "0000:3b:00.0",
                "uuid": "GPU-0",
                "index": 0,
                "numa_node": 1,
                "cpu_affinity": "0-7",
                "mig_uuids": [],
            }
        ],
    }
    assert gpus.describe([PCI], answers, "535.1", None)[0][0]["driver_version"] == "535.1"
    assert gpus.describe([PCI], {**answers, (None, "cuda"): (None, 0)}, None, None)[0][0]["cuda_version"] is None


def test_gpus_without_an_address_take_the_silent_places_in_order():
    silent = dict(PCI, pci_bus_id="0000:5e:00.0")
    answers = {**told(0), **told(1, pci=(15,), uuid="GPU-1"), **told(2, pci=(15,), uuid="GPU-2")}
    groups, problems = gpus.describe([silent, PCI], answers, None, None)
    found = {device["uuid"]: device["pci_bus_id"] for group in groups for device in group["devices"]}
    assert found == {"GPU-0": "0000:3b:00.0", "GPU-1": "0000:5e:00.0", "GPU-2": None} and problems == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [(None, "NVIDIA's driver does not list it: it has fallen off the bus"), ("the driver hangs", "the driver hangs")],
)
def test_a_gpu_that_the_driver_does_not_list_says_why(failure, words):
    lost = dict(PCI, pci_bus_id="0000:5e:00.0")
    groups, problems = gpus.describe([PCI, lost], told(), None, failure)
    assert [group["problem"] is None for group in groups] == [True, False] and problems[0].startswith(
        f"GPU 0000:5e:00.0: {words}"
    )
    assert gpus.describe([dict(PCI, driver="vfio-pci")], {}, None, failure)[1] == []


def test_problems_are_named_once_with_all_their_gpus():
    lost = [dict(PCI, pci_bus_id=place) for place in ("0000:3b:00.0", "0000:5e:00.0")]
    (group,), problems = gpus.describe(lost, {}, None, "it hangs")
    assert (group["count"], problems) == (2, ["GPU 0000:3b:00.0, 0000:5e:00.0: it hangs"])


def test_slices_of_a_gpu():
    slices = {
        "mig.0.handle": None,
        "mig.0.uuid": "MIG-a",
        "mig.0.name": "NVIDIA A100 MIG 3g.20gb",
        "mig.0.attributes": {"memory_mib": 19968},
        "mig.7.handle": None,
        "mig.7.uuid": "MIG-b",
        "mig.7.name": None,
        "mig.7.attributes": None,
        "mig.1.handle": (6,),
    }
    (group,), _problems = gpus.describe([], told(mig=1, **slices), None, None)
    assert group["mig"] == [{"profile": "3g.20gb", "memory_mib": 19968}, {"profile": None, "memory_mib": None}]
    assert group["devices"][0]["mig_uuids"] == ["MIG-a", "MIG-b"]
    assert (
        gpus.describe([], told(mig=1), None, None)[0][0]["mig"] == []
        and gpus.describe([], told(mig=0, **slices), None, None)[0][0]["mig"] is None
    )


def details(kernel_log="", **answers):
    (found,) = gpu_details.details(told(**answers), kernel_log)
    return found


def test_what_changes_by_the_minute():
    found = details(
        persistence=1,
        power=70123,
        power_limit=75000,
        temperature=41,
        clock_sm=585,
        clock_sm_max=1590,
        clock_memory=405,
        clock_memory_max=5001,
        nvlink=[[0, 0xC4, 0], [0, 0xC4, 0], [0, 0xC3, 0]],
        processes=[[4242, 1200 << 20], [9, None]],
        throttling=4 + 64 + 1,
        retired_single_bit=3,
        retired_double_bit=4,
        retired_pending=0,
        remapped=[1, 2, 0, 0],
        **{"mig.7.memory": {"free": 3 << 20}},
    )
    assert {key: found[key] for key in found if key not in ("faults", "health")} == {
        "pci_bus_id": "0000:3b:00.0",
        "uuid": "GPU-0",
        "free_memory_mib": 14336,
        "persistence": True,
        "power_w": 70.1,
        "power_limit_w": 75.0,
        "temperature_c": 41,
        "clocks_mhz": {"sm": 585, "sm_max": 1590, "memory": 405, "memory_max": 5001},
        "nvlink": [{"peer": "0000:c3:00.0", "links": 1}, {"peer": "0000:c4:00.0", "links": 2}],
        "processes": [{"pid": 4242, "memory_mib": 1200}, {"pid": 9, "memory_mib": None}],
        "throttling": ["sw_power_cap", "hw_thermal_slowdown"],
        "retired_pages": 7,
        "retired_pages_pending": False,
        "remapped_rows": {"correctable": 1, "uncorrectable": 2, "pending": False, "failed": False},
        "mig_free_memory_mib": [3],
        "xids": [],
    }


def test_what_is_not_known_is_null():
    found = details(None, pci=(3,), memory=(3,), retired_single_bit=1)
    assert found["health"] == {"state": "unknown", "reasons": []}
    assert {key for key, value in found.items() if value is None} == {
        "pci_bus_id",
        "free_memory_mib",
        "persistence",
        "power_w",
        "power_limit_w",
        "temperature_c",
        "nvlink",
        "processes",
        "throttling",
        "retired_pages",
        "retired_pages_pending",
        "remapped_rows",
        "xids",
    }
    assert (
        found["clocks_mhz"] == dict.fromkeys(["sm", "sm_max", "memory", "memory_max"])
        and found["mig_free_memory_mib"] == []
    )
    assert details(memory={"total": 1, "free": None})["free_memory_mib"] is None and details(nvlink=[])["nvlink"] == []


@pytest.mark.parametrize("bit", [1 << place for place in range(9)])
def test_reasons_of_low_clocks(bit):
    assert details(throttling=bit)["throttling"] == ([SLOWED[bit]] if bit in SLOWED else [])


@pytest.mark.parametrize(
    ("line", "xids"),
    [
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", [79]),
        ("NVRM: Xid (PCI:0000:3B:00.0): 31, pid=1", [31]),
        ("NVRM: Xid (PCI:3b:00): 43, pid=1", [43]),
        ("NVRM: Xid (PCI:0000:d8:00): 79, pid=1", []),
        ("nothing", []),
    ],
)
def test_xids_are_told_of_their_gpu(line, xids):
    assert details(f"4,812,9333,-;{line}\n")["xids"] == xids


def test_faults_are_told_but_not_what_a_gpu_lacks():
    found = details(power=(3,), temperature=(13,), ecc=(999,), **{"mig.0.handle": (6,), "mig.1.handle": (4,)})
    assert found["faults"] == {"ecc": gpus.explained(999), "mig.1.handle": gpus.explained(4)}


@pytest.mark.parametrize(
    ("log", "answers", "state", "reasons"),
    [
        ("", {}, "ok", []),
        ("", {"handle": (15,), "pci": (15,)}, "failed", [gpus.explained(15)]),
        ("", {"remapped": [0, 0, 0, 1]}, "failed", ["rows could not be remapped: replace the GPU"]),
        ("NVRM: Xid (PCI:0000:3b:00): 79,", {}, "failed", ["it has fallen off the bus (Xid 79)"]),
        (
            "NVRM: Xid (PCI:0000:3b:00): 31,\nNVRM: Xid (PCI:0000:3b:00): 31,",
            {},
            "warning",
            ["Xid 31 in the kernel's log"],
        ),
        ("", {"throttling": 12}, "warning", ["throttled: sw_power_cap, hw_slowdown"]),
        ("", {"retired_pending": 1}, "warning", ["a memory page or row is retired at the next reset"]),
        ("", {"remapped": [0, 0, 1, 0]}, "warning", ["a memory page or row is retired at the next reset"]),
        (
            "",
            {"name": (4,)},
            "warning",
            ["the driver did not report product (no permission): let the account use /dev/nvidia*, or become root"],
        ),
        ("NVRM: Xid (PCI:0000:3b:00): 79,", {"name": (4,)}, "failed", ["it has fallen off the bus (Xid 79)"]),
        (None, {"throttling": 0}, "ok", []),
        (None, {"retired_pending": 0}, "ok", []),
        (None, {"remapped": [0, 0, 0, 0]}, "ok", []),
        (None, {}, "unknown", []),
    ],
)
def test_health(log, answers, state, reasons):
    assert details(log, **answers)["health"] == {"state": state, "reasons": reasons}


@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        (
            "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
            "the server's container has no GPU",
            "DeviceRequests",
        ),
        ("no CUDA-capable device is detected", "the server's container has no GPU", "DeviceRequests"),
        (
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display driver / cuda driver combination",
            "do not fit the driver",
            "reboot",
        ),
        (
            "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE: forward compatibility was attempted on non supported HW",
            "do not fit the driver",
            "release",
        ),
        ("CUDA_ERROR_INVALID_DEVICE: invalid device ordinal", "CUDA refuses the GPU", "detail: full"),
        ("CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered", "CUDA refuses the GPU", "health"),
        ("CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA refuses the GPU", "kernel log"),
        ("CUDA_ERROR_UNKNOWN: unknown error", "CUDA refuses the GPU", "health"),
        ("CUDA_ERROR_OUT_OF_MEMORY: out of memory", "the GPU's memory is in use", "fraction"),
        (
            "Could not find cuda drivers on your machine, GPU will not be used.",
            "not in the container",
            "nvidia-ctk runtime configure",
        ),
    ],
)
def test_why_tensorflow_went_on_without_a_gpu(line, reason, remedy):
    found = gpu_use.judge(f"W {line}\n", [{"pci_bus_id": "0000:3b:00.0"}])
    assert (found["used"], found["seen"]) == (False, []) and remedy in found["remedy"]
    assert (
        found["reason"].startswith("it serves from the CPU: ")
        and reason in found["reason"]
        and "in its log)" in found["reason"]
    )


def test_where_the_log_is_silent_the_reason_names_what_was_seen():
    assert gpu_use.judge("", [], processes=[9, 7, 4], pids=[7, 9]) == {
        "used": True,
        "seen": [],
        "reason": "the driver lists its process 7",
        "remedy": None,
    }
    assert gpu_use.judge("", [], processes=[], pids=[7])["remedy"].startswith(
        "check that the image is the one for GPUs"
    )
    assert gpu_use.judge("", [], processes=[1], pids=[]) == {
        "used": None,
        "seen": [],
        "reason": "its log names no GPU, and the driver's processes could not be read",
        "remedy": None,
    }
