# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection of GPUs against a compiled stand-in for libnvidia-ml.so.1 and one for nvidia-smi: what they tell, and everything that can go wrong."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes, gpus, host, nvidia, nvml
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "gpu"
_specification = importlib.util.spec_from_file_location("gpu_standin", FIXTURES / "standin.py")
standin = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(standin)

pytestmark = pytest.mark.skipif(
    (shutil.which("gcc") is None or not sys.platform.startswith("linux")) and not os.environ.get("REQUIRE_ALL"),
    reason="the stand-in is compiled with gcc, on Linux",
)

STABLE = re.findall(r"^int (nvml\w+)\(", (FIXTURES / "libnvidia-ml.c").read_text(encoding="utf-8"), re.MULTILINE)
# Codes of nvmlReturn_t in nvml.h, success left out.
CODES = [*range(1, 31), 999]
EXPECTED = {  # product, compute capability, family, MiB: NVIDIA's data sheets, CUDA's list of compute capabilities, GPU feature discovery's families
    "t4": [("Tesla T4", "7.5", "turing", 15360, 1)],
    "l4": [("NVIDIA L4", "8.9", "ada-lovelace", 23034, 1)],
    "a100x8": [("NVIDIA A100-SXM4-40GB", "8.0", "ampere", 40960, 8)],
    "a100x8_mig": [("NVIDIA A100-SXM4-40GB", "8.0", "ampere", 40960, 8)],
    "h100": [("NVIDIA H100 80GB HBM3", "9.0", "hopper", 81559, 1)],
    "h200": [("NVIDIA H200", "9.0", "hopper", 143771, 2)],
    "b200": [("NVIDIA B200", "10.0", "blackwell", 183359, 1)],
    "geforce": [("NVIDIA GeForce RTX 3090", "8.6", "ampere", 24576, 1)],
}


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The compiled stand-in."""
    return standin.build(tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1")


@pytest.fixture
def lay(library, tmp_path):
    """lay(description's name, faults, …): host_files.Files of a tree."""

    def lay_down(name, *faults, **how):
        text = standin.description(name) + "".join(f"fault {fault}\n" for fault in faults)
        return Files(standin.lay(tmp_path, how.pop("library", library), text, **how))

    return lay_down


def read(files, detail=False):
    """nvidia.read within the promised time."""
    begun = time.monotonic()
    found = nvidia.read(files, (), detail)
    assert time.monotonic() - begun < 10
    json.dumps(found)
    return found


def devices(groups):
    return [dict(group, **device) for group in groups for device in group["devices"]]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_gpus_are_described_and_identical_ones_are_one_group(name, lay):
    groups, _container, _details, problems = read(lay(name))
    assert problems == []
    assert [
        (
            group["product"],
            "{major}.{minor}".format(**group["compute"]),
            group["family"],
            group["memory_mib"],
            group["count"],
        )
        for group in groups
    ] == EXPECTED[name]
    assert all(len(group["devices"]) == group["count"] for group in groups)
    assert {device["numa_node"] for device in devices(groups)} == {0} and {
        device["cpu_affinity"] for device in devices(groups)
    } == {"0-31"}


@pytest.mark.parametrize("name", ["t4", "a100x8", "a100x8_mig", "a100_mig", "geforce", "h200"])
def test_nvidia_smi_tells_the_same_where_the_library_is_not_there(name, lay):
    by_library, _container, _details, _problems = read(lay(name))
    by_program, _container, _details, problems = read(lay(name, library=None))
    for group in by_library:
        for instance in group["mig"] or ():  # nvidia-smi -L does not tell the memory of a slice
            instance["memory_mib"] = None
    (Path(lay(name, library=None).root) / standin.LIBRARY / "libnvidia-ml.so.1").unlink(missing_ok=True)
    by_program, _container, _details, problems = read(lay(name, library=None))
    assert problems == [] and by_program == by_library


def test_mig_instances_are_told_with_their_sizes(lay):
    (group,), _container, _details, _problems = read(lay("a100_mig"))
    assert group["mig"] == [
        {"profile": "3g.20gb", "memory_mib": 19968},
        {"profile": "2g.10gb", "memory_mib": 9856},
        {"profile": "1g.5gb", "memory_mib": 4864},
    ]
    assert [uuid[:4] for uuid in group["devices"][0]["mig_uuids"]] == ["MIG-"] * 3
    assert read(lay("h100"))[0][0]["mig"] is None


@pytest.mark.parametrize(
    "attributes, memory_gib, profile",
    [  # the profiles of NVIDIA's MIG user guide
        ((1, 1, 4864), 40, "1g.5gb"),
        ((3, 3, 19968), 40, "3g.20gb"),
        ((7, 7, 40192), 40, "7g.40gb"),
        ((3, 1, 19968), 40, "1c.3g.20gb"),
        ((1, 1, 9728), 80, "1g.10gb"),
        ((1, 1, 19968), 80, "1g.20gb"),
        ((4, 4, 40192), 80, "4g.40gb"),
    ],
)
def test_profiles_of_drivers_whose_names_do_not_carry_them(attributes, memory_gib, profile):
    told = dict(zip(("gpu_slices", "compute_slices", "memory_mib"), attributes))
    answers = {
        (0, "handle"): (None, None),
        (0, "mig.0.handle"): (None, None),
        (0, "mig.0.name"): (None, "A100"),
        (0, "mig.0.attributes"): (None, told),
        (0, "mig"): (None, 1),
        (0, "memory"): (None, {"total": memory_gib << 30, "free": 0}),
        (None, "count"): (None, 1),
    }
    (group,), _problems = gpus.describe([], answers, None, None)
    assert group["mig"][0]["profile"] == profile


@pytest.mark.parametrize("function", STABLE)
def test_every_error_of_every_call_is_an_answer(function, lay):
    """One call refuses with each code, on the first of two GPUs where it is asked of one: the second is whole, and nothing else of the first is lost."""
    files = lay("fallen_off", smi=False)
    two = re.sub(r"(?m)^fault .*\n", "", standin.description("fallen_off"))
    for code in CODES:
        (Path(files.root) / standin.LIBRARY / "gpu.description").write_text(
            f"{two}fault {function} 0 error {code}\nfault {function} -1 error {code}\n"
        )
        groups, _container, details, _problems = read(files, detail=True)
        found = devices(groups)
        assert [device["pci_bus_id"] for device in found] == ["0000:3b:00.0", "0000:d8:00.0"]
        if function.startswith("nvmlDevice") and "Count" not in function:
            assert found[1]["problem"] is None and found[1]["product"] == "Tesla T4" and found[1]["memory_mib"] == 15360
            known = [found[0][key] is not None for key in ("product", "uuid", "compute", "memory_mib")]
            assert sum(known) >= 3 or "Handle" in function or "Pci" in function
        assert details is not None


@pytest.mark.parametrize("what", ["crash", "exit"])
@pytest.mark.parametrize("function", STABLE)
def test_a_crash_in_any_call_costs_that_answer_alone(function, what, lay):
    groups, _container, _details, problems = read(lay("h200", f"{function} * {what}", smi=False), detail=True)
    found = devices(groups)
    assert len(found) == 2 and all(device["driver"] == "nvidia" for device in found)
    fatal = "Init" in function or "Count_v2" in function or "Handle" in function and "Mig" not in function
    if not fatal and function.endswith(("Name", "UUID", "Capability", "MemoryInfo")):
        assert (
            sum(found[0][key] is None for key in ("product", "uuid", "compute", "memory_mib")) == 1
            and "crashed" in problems[0]
        )
    elif fatal and not function.endswith(("Init", "Index", "Count")):
        assert "crashed" in problems[0]


@pytest.mark.parametrize(
    "function, missing", [("nvmlDeviceGetMemoryInfo", "memory_mib"), ("nvmlDeviceGetCudaComputeCapability", "compute")]
)
def test_a_call_that_hangs_costs_that_answer_alone(function, missing, lay):
    found = devices(read(lay("h200", f"{function} 0 hang", smi=False))[0])
    assert (
        found[0][missing] is None and found[0]["uuid"] and found[1][missing] is not None and found[1]["problem"] is None
    )


# In a process of its own, since many hang at once. argv: conftest.py, the tree.
ASK = (
    "import json, runpy, sys, time; runpy.run_path(sys.argv[1]);"
    "from ansible_collections.tfserving.fleet.plugins.module_utils._capability import nvidia;"
    "from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files;"
    "begun = time.monotonic(); found = nvidia.read(Files(sys.argv[2]), (), True); print(json.dumps([time.monotonic() - begun, *found]))"
)
# Details that a call brings; a call without an entry brings none of them.
BRINGS = {
    "PersistenceMode": {"persistence"},
    "PowerUsage": {"power_w"},
    "EnforcedPowerLimit": {"power_limit_w"},
    "Temperature": {"temperature_c"},
    "_ClockInfo": {"clocks_mhz"},
    "MaxClockInfo": {"clocks_mhz"},
    "CurrentClocksEventReasons": {"throttling"},
    "RetiredPages": {"retired_pages"},
    "RetiredPagesPendingStatus": {"retired_pages_pending"},
    "RemappedRows": {"remapped_rows"},
    "NvLinkState": {"nvlink"},
    "NvLinkRemotePciInfo_v2": {"nvlink"},
    "ComputeRunningProcesses_v3": {"processes"},
    "MemoryInfo": {"free_memory_mib", "mig_free_memory_mib"},
    "MigDeviceHandleByIndex": {"mig_free_memory_mib"},
    "MaxMigDeviceCount": {"mig_free_memory_mib"},
    "MigMode": {"mig_free_memory_mib"},
}


COSTS_SIZES = (
    "nvmlInit_v2",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetAttributes_v2",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
)


@pytest.mark.parametrize("name", ["h200", "a100_mig"])
def test_every_call_that_hangs_costs_that_answer_alone_and_nvidia_smi_is_asked_for_it(name, library, tmp_path):
    """All calls, each in a process of its own; the first of two GPUs hangs, and what is asked of the driver as a whole."""
    whole = dict(
        zip(
            ("groups", "container", "details"),
            read(Files(standin.lay(tmp_path / "whole", library, standin.description(name))), True),
        )
    )

    def ask(function):
        root = standin.lay(
            tmp_path / function,
            library,
            standin.description(name) + f"fault {function} 0 hang\nfault {function} -1 hang\n",
        )
        done = subprocess.run(
            [sys.executable, "-c", ASK, str(FIXTURES.parents[1] / "conftest.py"), root],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def complaint(function, seconds, groups, _container, details, problems):
        """What a hang in this call cost that it need not, or None."""
        # nvidia-smi -L does not tell the memory of a slice.
        for group in groups if function in COSTS_SIZES else ():
            group["mig"] = group["mig"] and [
                dict(told, memory_mib=known["memory_mib"])
                for told, known in zip(group["mig"], whole["groups"][0]["mig"])
            ]
        if seconds >= 10 or (groups, problems) != (whole["groups"], []):
            return function, seconds, groups, problems
        if function in ("nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"):
            return None
        ending = function.replace("nvmlDeviceGet", "")
        for before, after in zip(whole["details"], details):
            lost = {key for key in before if before[key] != after[key]} - {"faults", "health"}
            if lost - BRINGS.get(ending, BRINGS.get(f"_{ending}", set())) or lost and after is not details[0]:
                return function, lost
        return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = dict(zip(STABLE, pool.map(ask, STABLE)))
    doubtful = [function for function in STABLE if complaint(function, *found[function])]
    # Others may have kept the machine busy meanwhile: what took too long then is asked once more, by itself.
    assert [fault for fault in (complaint(function, *ask(function)) for function in doubtful) if fault] == []


@pytest.mark.parametrize(
    "faults",
    [("nvmlInit_v2 * hang",), ("nvmlDeviceGetHandleByIndex_v2 * hang",), ("nvmlInit_v2 * hang", "nvidia-smi * hang")],
)
def test_a_hung_driver_ends_in_time_and_is_named(faults, lay):
    groups, _container, _details, problems = read(lay("t4", *faults))
    assert len(devices(groups)) == 1
    if len(faults) == 2:
        assert "did not answer in time" in problems[0] and groups[0]["problem"]
    else:
        assert problems == [] and groups[0]["product"] == "Tesla T4"


@pytest.mark.parametrize("function", STABLE)
def test_nvidia_smi_is_asked_for_what_a_crash_cost(function, lay):
    before = read(lay("h200"))[0]
    assert read(lay("h200", f"{function} * crash"))[::3] == (before, [])


# Lines that replace those of a description, and what must hold of the first GPU then.
HOSTILE = {
    "much memory": ({"memory": "17592186044415 1"}, {"memory_mib": 15360}),
    "no memory": ({"memory": "0 0"}, {"memory_mib": 15360}),
    "negative capability": ({"compute": "-1.-1"}, {"compute": {"major": 7, "minor": 5}}),
    "vast capability": ({"compute": "2147483647.0"}, {}),
    "negative CUDA": ({"cuda": "-12040"}, {}),
    "no name": ({"name": "\x01"}, {}),
    "odd name": ({"name": 'Tesla \x1b[31m\udcff\udcfe "T4", {{ 1 }}'}, {"memory_mib": 15360}),
    "long name": ({"name": "T" * 95}, {"product": "T" * 95}),
    "too long a name": ({"name": "T" * 96}, {"memory_mib": 15360}),
    "negative MIG mode": ({"mig": "-1 -1"}, {"memory_mib": 15360}),
    "slices without end": ({"mig": "1 1\n  mig_count 4294967295"}, {"mig": []}),
    "GPUs without end": ({"cuda": "12040\ncount 4294967295"}, {"count": 1}),
    "no GPU": ({"cuda": "12040\ncount 0"}, {"count": 1}),
    "negative pages": ({"retired_single_bit": "-1"}, {"memory_mib": 15360}),
    "a process too many": ({"process": "-1 -1 -1 -1\n" + "  process 1 1 0 0\n" * 300}, {"memory_mib": 15360}),
    "other domain": ({"pci": "ffffffff:00:04.0"}, {}),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_values_that_make_no_sense_spoil_nothing(case, lay):
    """Neither from the library nor from nvidia-smi; where the library alone talks nonsense, nvidia-smi is asked."""
    changes, expected = HOSTILE[case]
    text = standin.description("t4")
    for key, value in changes.items():
        text, count = re.subn(
            rf"(?m)^( *){key} .*$", lambda found, key=key, value=value: f"{found[1]}{key} {value}", text
        )
        text += "" if count else f"  {key} {value}\n"
    for smi_too in (False, True):
        files = lay("t4")
        for place in (standin.LIBRARY, *(("usr/bin",) if smi_too else ())):
            (Path(files.root) / place / "gpu.description").write_bytes(text.encode("utf-8", "surrogateescape"))
        groups, _container, details, _problems = read(files, detail=True)
        found = devices(groups)[0]
        assert found["device_id"] == "10de:1eb8" and sum(group["count"] for group in groups) <= 2 and len(details) <= 2
        assert len(json.dumps([groups, details])) < 30000 and not re.search(r"[\x00-\x1f]", str(found["product"]))
        assert (found["memory_mib"] or 0) < 1 << 30 and (
            found["compute"] is None or 0 < found["compute"]["major"] < 100
        )
        assert found["cuda_version"] is None or float(found["cuda_version"]) > 0
        if not smi_too:
            assert {key: found[key] for key in expected} == expected
        classes.classes(
            {
                "architecture": "x86_64",
                "cpu": {"vendor": "", "level": "x86-64-v3", "ai": [], "usable": 1, "numa_nodes": 1},
                "gpus": groups,
            }
        )


def test_two_gpus_with_one_uuid_are_two(lay):
    text = re.sub("GPU-[0-9a-f-]+", "GPU-8e81973e-0bec-47b0-b898-d190f9ebdacc", standin.description("h200"))
    files = lay("h200", smi=False)
    (Path(files.root) / standin.LIBRARY / "gpu.description").write_text(text)
    (group,), _container, _details, problems = read(files)
    assert group["count"] == 2 and problems == [] and len({device["pci_bus_id"] for device in group["devices"]}) == 2


@pytest.mark.parametrize("function", STABLE)
def test_every_function_that_an_old_driver_lacks_is_done_without(function, lay):
    groups, _container, _details, _problems = read(lay("h200", lacking=[function]), detail=True)
    assert [device["product"] for device in devices(groups)] == ["NVIDIA H200"] * 2
    assert all(device["problem"] is None and device["compute"] and device["memory_mib"] for device in devices(groups))


def test_a_driver_of_2020(lay):
    """No second and third versions, no MIG; nvidia-smi knows neither compute_cap nor mig.mode.current."""
    had = ("nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetPciInfo_v2")
    newer = [name for name in STABLE if name.endswith(("_v3", "_v2")) and name not in had]
    (group,), _container, _details, problems = read(lay("old_driver", lacking=[*newer, "nvmlDeviceGetMigMode"]))
    assert problems == [] and (group["driver_version"], group["cuda_version"], group["compute"]) == (
        "440.118.02",
        "10.2",
        {"major": 7, "minor": 5},
    )
    (group,), _container, _details, problems = read(lay("old_driver", "nvmlInit_v2 * exit"))
    assert (
        group["product"] == "Tesla T4"
        and group["memory_mib"] == 15360
        and group["compute"] is None
        and group["cuda_version"] == "10.2"
    )
    assert "compute capability" in problems[0]


@pytest.mark.parametrize(
    "name, words",
    [
        ("mismatch", "versions of NVIDIA's kernel module and of its library differ: reboot"),
        ("not_loaded", "NVIDIA's driver is not loaded: load the module"),
    ],
)
def test_a_driver_that_refuses_is_explained_with_a_remedy(name, words, lay):
    files = lay(name)
    (group,), _container, _details, problems = read(files)
    assert words in problems[0] and words in group["problem"] and group["device_id"] == "10de:1eb8"


def test_what_the_kernel_tells_of_a_gpu_is_known_without_the_library(lay):
    """The texts are those of /proc/driver/nvidia, which need no driver call."""
    files = lay("mismatch", smi=False)
    place = Path(files.root) / "proc/driver/nvidia/gpus/0000:00:04.0"
    place.mkdir(parents=True)
    (place / "information").write_text(
        "Model: \t\t Tesla T4\nIRQ:   \t\t 37\nGPU UUID: \t GPU-6513270e-269e-4d37-b2a7-4de452e6b438\nBus Type: \t PCIe\n"
        "Bus Location: \t 0000:00:04.0\nDevice Minor: \t 0\n"
    )
    (Path(files.root) / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version:  gcc version 12.2.0\n"
    )
    (group,), _container, _details, _problems = read(files)
    assert (group["product"], group["driver_version"]) == ("Tesla T4", "535.129.03")
    assert group["devices"][0]["uuid"] == "GPU-6513270e-269e-4d37-b2a7-4de452e6b438"
    open_module = (
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16)\n"
    )
    assert gpus.driver_version_of(open_module) == "570.86.15"


def test_a_gpu_that_fell_off_the_bus_hides_nothing_of_the_other(lay):
    for files in (lay("fallen_off"), lay("fallen_off", "nvmlInit_v2 * exit")):
        groups, _container, _details, problems = read(files)
        whole, lost = devices(groups)
        assert whole["pci_bus_id"] == "0000:3b:00.0" and whole["problem"] is None and whole["memory_mib"] == 15360
        assert (
            lost["pci_bus_id"] == "0000:d8:00.0" and lost["compute"] is None and "fallen off the bus" in lost["problem"]
        )
        assert len(problems) == 1
    assert (
        "2xtesla"
        not in classes.classes(
            {
                "architecture": "x86_64",
                "cpu": {"vendor": "", "level": "x86-64-v3", "ai": [], "usable": 1, "numa_nodes": 1},
                "gpus": groups,
            }
        )["tuning"]
    )


def test_gpus_without_a_pci_bus_are_found_too(lay):
    """As under WSL, whose driver is seen by its device file alone."""
    (group,), _container, _details, problems = read(lay("geforce", pci=False))
    assert (group["product"], group["driver"], group["devices"][0]["pci_bus_id"]) == (
        "NVIDIA GeForce RTX 3090",
        "nvidia",
        "0000:01:00.0",
    ) and problems == []


def test_a_gpu_that_another_driver_holds_is_left_alone(lay):
    """Handed through to a virtual machine: the library would load NVIDIA's module, so it is not asked."""
    files = lay("t4", "nvmlInit_v2 * crash", driver="vfio-pci")
    (Path(files.root) / "dev/nvidiactl").unlink()
    (group,), _container, _details, problems = read(files)
    assert (group["driver"], group["problem"], group["compute"], problems) == ("vfio-pci", None, None, [])


def test_a_host_without_gpus_is_asked_nothing(tmp_path, library):
    standin.lay(tmp_path, library, "fault nvmlInit_v2 * hang\n", pci=False)
    (tmp_path / "dev/nvidiactl").unlink()
    assert read(Files(str(tmp_path)), detail=True) == ([], None, [], [])


def test_details_tell_what_moves(lay):
    _groups, _container, (one,), _problems = read(lay("t4"), detail=True)
    assert (
        one["free_memory_mib"] == 14760
        and one["persistence"] is True
        and one["processes"] == [{"pid": 4242, "memory_mib": 1200}]
    )
    assert (
        one["power_limit_w"],
        one["clocks_mhz"]["sm_max"],
        one["throttling"],
        one["retired_pages"],
        one["nvlink"],
    ) == (70.0, 1590, [], 0, None)
    assert one["health"]["state"] == "ok" and one["faults"] == {}
    eight = read(lay("a100x8"), detail=True)[2]
    assert eight[0]["nvlink"] == [{"peer": f"0000:c{number}:00.0", "links": 2} for number in range(4, 10)]
    assert eight[0]["remapped_rows"] == {"correctable": 0, "uncorrectable": 0, "pending": False, "failed": False}


def test_processes_on_gpus_are_known_only_where_the_driver_names_them(lay):
    assert nvml.process_ids(lay("t4")) == [4242]  # as the description says
    old = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
    assert nvml.process_ids(lay("t4", lacking=old)) is None
    assert nvml.process_ids(lay("t4", library=None)) is None


def test_health_names_what_is_wrong(lay):
    files = lay("sick")
    one = read(files, detail=True)[2][0]
    assert (
        one["health"]["state"] == "warning"
        and one["throttling"] == ["hw_slowdown", "hw_thermal_slowdown"]
        and one["retired_pages"] == 7
    )
    assert one["health"]["reasons"] == [
        "throttled: hw_slowdown, hw_thermal_slowdown",
        "a memory page or row is retired at the next reset",
    ]
    (Path(files.root) / "dev/kmsg").write_text(
        "4,812,9333,-;NVRM: Xid (PCI:0000:00:04): 79, pid=1234, GPU has fallen off the bus.\n"
    )
    one = read(files, detail=True)[2][0]
    assert one["xids"] == [79] and one["health"]["state"] == "failed"


@pytest.mark.parametrize(
    "program, says, version",
    [
        (
            "nvidia-ctk",
            "NVIDIA Container Toolkit CLI version 1.17.4\ncommit: 9b69590c7428470a72f2ae05f826412976af1395",
            "1.17.4",
        ),
        (
            "nvidia-container-cli",
            "cli-version: 1.14.3\nlib-version: 1.14.3\nbuild date: 2023-10-19T11:32+00:00",
            "1.14.3",
        ),
    ],
)
def test_the_container_side_is_found(program, says, version, lay):
    """What the programs say of themselves is theirs; the CDI description is in the layout of nvidia-ctk cdi generate."""
    files = lay("t4")
    bare = read(files)[1]
    assert bare == {"toolkit": None, "hook": False, "cdi": None}
    for name in (program, "nvidia-container-runtime-hook"):
        (Path(files.root) / "usr/bin" / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (Path(files.root) / "usr/bin" / name).chmod(0o755)
    (Path(files.root) / "etc/cdi").mkdir(parents=True)
    (Path(files.root) / "etc/cdi/nvidia.yaml").write_text(
        "cdiVersion: 0.5.0\ndevices:\n- containerEdits:\n    deviceNodes:\n    - path: /dev/nvidia0\n"
        '  name: "0"\nkind: nvidia.com/gpu\n'
    )
    assert read(files)[1] == {"toolkit": version, "hook": True, "cdi": {"names": "index", "problem": None}}


def test_eight_gpus_in_seven_slices_each_fit_the_facts_and_the_time(lay):
    files = lay("a100x8_mig")
    root = Path(files.root)
    cpuinfo = FIXTURES.parent / "capability/cpuinfo/intel_sapphirerapids.txt"
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpuinfo.read_text(encoding="utf-8"), encoding="utf-8")
    begun = time.process_time(), time.monotonic()
    found, _warnings, _details = host.read(str(root), "x86_64")
    assert time.monotonic() - begun[1] < 1
    assert len(json.dumps(dict(found, classes=classes.classes(found)))) <= 6000
    assert host.read(str(root), "x86_64")[0] == found


def test_sixteen_gpus_fit_the_facts(lay, library, tmp_path):
    """With the longest texts that a GPU has in such machines; those without a GPU stay below 4 KB."""
    one = standin.description("a100x8").partition("\ngpu\n")
    parts = re.split(r"(?m)^gpu\n", standin.description("a100x8"))
    text = parts[0] + "".join(
        "gpu\n" + re.sub(r"pci \S+", f"pci 0000:{16 + number:02x}:00.0", parts[1 + number % 8]) for number in range(16)
    )
    assert one[1]
    root = Path(standin.lay(tmp_path / "sixteen", library, text))
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(
        (FIXTURES.parent / "capability/cpuinfo/intel_sapphirerapids.txt").read_text(encoding="utf-8"), encoding="utf-8"
    )
    found = host.read(str(root), "x86_64")[0]
    assert (
        sum(group["count"] for group in found["gpus"]) == 16
        and len(json.dumps(dict(found, classes=classes.classes(found)))) <= 6000
    )
    assert len(json.dumps(dict(found, gpus=[], classes=classes.classes(dict(found, gpus=[]))))) <= 4000


def test_an_answer_takes_no_longer_than_it_is_given(library, tmp_path):
    standin.lay(
        tmp_path, library, standin.description("t4") + "fault nvmlSystemGetDriverVersion * slow 3000\n", smi=False
    )
    begun = time.monotonic()
    answers = nvml.read(str(tmp_path / standin.LIBRARY / "libnvidia-ml.so.1"), limit_s=0.5)
    assert time.monotonic() - begun < 1 and answers[None, "driver"][0] == "hang"


def test_gpus_that_a_slow_driver_had_no_time_for_are_named(lay):
    """Eight GPUs that take two seconds each to start, as without persistence mode: those that were reached are whole."""
    found = devices(read(lay("a100x8", "nvmlDeviceGetHandleByIndex_v2 * slow 2000", smi=False))[0])
    reached = [device for device in found if device["problem"] is None]
    assert len(found) == 8 and 2 <= len(reached) <= 4 and all(device["memory_mib"] == 40960 for device in reached)
    assert all(
        "did not answer in time" in device["problem"] and device["pci_bus_id"]
        for device in found
        if device not in reached
    )


def test_mig_slices_that_this_account_may_not_see_are_named(lay):
    (group,), _container, _details, problems = read(
        lay("a100_mig", "nvmlDeviceGetMigDeviceHandleByIndex * error 4", smi=False)
    )
    assert group["mig"] == [] and "all MIG slices (no permission" in problems[0] and "become root" in problems[0]


@pytest.mark.parametrize("name", ["a100_mig", "h200", "sick"])
def test_a_record_describes_the_same_gpus_and_tells_no_uuid(name, lay, library, tmp_path):
    """What tools/record-gpus prints on a machine stands for that machine in these tests."""
    files = lay(name)
    before = read(files, detail=True)
    done = subprocess.run(
        [
            sys.executable,
            str(FIXTURES.parents[2] / "tools" / "record-gpus"),
            "--library",
            str(Path(files.root) / standin.LIBRARY / "libnvidia-ml.so.1"),
            "a machine",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(re.findall(r"(?:GPU|MIG)-\S+", standin.description(name))) & set(
        re.findall(r"(?:GPU|MIG)-\S+", done.stdout)
    )
    after = read(Files(standin.lay(tmp_path / "recorded", library, done.stdout)), detail=True)

    def without_uuids(found):
        text = re.sub(r"(GPU|MIG)-[0-9a-f-]+", r"\1", json.dumps(found))
        return re.sub(r'"pid": \d+, "memory_mib": \d+', "", text).replace('"processes": [{}]', '"processes": []')

    assert without_uuids(after) == without_uuids(before)
