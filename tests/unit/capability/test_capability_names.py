# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that others gave: Arm's implementers and cores, hypervisors, containers, vendors. Sources stand beside the tables."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes, cpuinfo, py_cpuinfo, system
from ansible_collections.tfserving.fleet.plugins.module_utils._core import host_files

# util-linux, sys-utils/lscpu-arm.c: the tables of implementers and of their parts.
IMPLEMENTERS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
    0x99: "0x99",
}
CORES = {
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x43, 0x0AF): "ThunderX2-99xx",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan-v110",
    (0x4E, 0x004): "Carmel",
    (0x4E, 0x010): "Olympus",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}
# systemd, src/basic/virt.c: the DMI vendors; what product_name adds is the hypervisors' own.
PRODUCTS = [
    ("QEMU", "Standard PC", "kvm"),
    ("KVM", "", "kvm"),
    ("OpenStack Foundation", "OpenStack Nova", "kvm"),
    ("Red Hat", "KVM", "kvm"),
    ("Alibaba Cloud", "Alibaba Cloud ECS", "kvm"),
    ("Amazon EC2", "m7g.large", "amazon"),
    ("Google", "Google Compute Engine", "google"),
    ("VMware, Inc.", "VMware7,1", "vmware"),
    ("Microsoft Corporation", "Virtual Machine", "microsoft"),
    ("innotek GmbH", "VirtualBox", "oracle"),
    ("Oracle Corporation", "VirtualBox", "oracle"),
    ("Xen", "HVM domU", "xen"),
    ("Parallels International", "Parallels ARM", "parallels"),
    ("Apple Inc.", "Apple Virtualization Generic Platform", "apple"),
    ("BHYVE", "BHYVE", "bhyve"),
    ("Red Hat", "", None),
    ("Google", "Compute", None),
    ("Oracle Corporation", "", None),
    ("Apple Inc.", "Mac", None),
    ("ASUS", "KVM", None),
]


def arm(implementer, part, **more):
    lines = dict(
        {
            "processor": "0",
            "Features": "fp asimd",
            "CPU implementer": f"{implementer:#x}",
            "CPU architecture": "8",
            "CPU variant": "0x1",
            "CPU part": f"{part:#05x}",
            "CPU revision": "2",
        },
        **more,
    )
    return cpuinfo.read("".join(f"{key}\t: {value}\n" for key, value in lines.items() if value is not None), "aarch64")[
        "cpu"
    ]


@pytest.mark.parametrize("implementer", IMPLEMENTERS)
def test_an_implementer_of_arm_has_its_name(implementer):
    assert arm(implementer, 0xFFF)["vendor"] == IMPLEMENTERS[implementer]


@pytest.mark.parametrize("code", CORES)
def test_a_server_core_has_its_name(code):
    cpu = arm(*code)
    assert (cpu["brand"], cpu["model"], cpu["family"], cpu["stepping"]) == (CORES[code], code[1], 8, 1 * 16 + 2)


def test_another_core_has_the_name_that_its_text_tells():
    assert arm(0x61, 0x22, **{"model name": "Apple  M1 "})["brand"] == "Apple M1" and arm(0x41, 0x1)["brand"] is None
    assert (
        arm(0x41, 0xD0C, **{"CPU variant": None})["stepping"] is None
        and arm(0x41, 0xD0C, **{"CPU revision": None})["stepping"] is None
    )


@pytest.mark.parametrize(("maker", "product", "kind"), PRODUCTS)
def test_a_guest_is_known_by_its_dmi(maker, product, kind):
    assert system.virtualization("aarch64", False, maker, product, "arch_sys_counter") == kind
    assert system.virtualization("x86_64", False, maker, product, "") is None


@pytest.mark.parametrize(
    ("clocks", "kind"),
    [
        ("tsc kvm-clock", "kvm"),
        ("hyperv_clocksource_tsc_page", "microsoft"),
        ("tsc xen", "xen"),
        ("tsc hpet", "vm-other"),
    ],
)
def test_a_guest_without_dmi_is_known_by_its_clocks(clocks, kind):
    assert system.virtualization("x86_64", True, "", "", clocks) == kind


@pytest.mark.parametrize(
    ("cgroup", "kind"),
    [
        ("0::/kubepods.slice/x", "kubernetes"),
        ("0::/machine.slice/libpod-3f.scope", "podman"),
        ("3:cpu:/docker/3f", "docker"),
        ("0::/lxc.payload.x", "lxc"),
        ("0::/init.scope", None),
    ],
)
def test_a_container_is_known_by_its_cgroup(cgroup, kind):
    assert system.container(False, False, "", cgroup) == kind
    assert (
        system.container(False, False, " oci\n", cgroup) == "oci"
        and system.container(False, False, "x" * 40, "") == "x" * 32
    )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\n', ("debian", "12")),
        ("ID='rhel'\nVERSION_ID=\n", ("rhel", None)),
        ("", (None, None)),
        ("XID=x\nVERSION_ID=" + "9" * 70, (None, "9" * 64)),
    ],
)
def test_os_release(text, values):
    assert system.os_release(text) == values


@pytest.mark.parametrize(
    ("text", "kib"), [("MemTotal:       24689440 kB\nMemFree: 1 kB\n", 24689440), ("Mem: 1 kB", None)]
)
def test_memory_of_proc(tmp_path, text, kib):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(text, encoding="utf-8")
    assert host_files.Files(str(tmp_path)).memory_kib("MemTotal") == kib


def test_lines_of_proc():
    assert (
        system.cpus_allowed("Cpus_allowed:\tff\nCpus_allowed_list:\t0-7\n") == "0-7" and system.cpus_allowed("") is None
    )


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("AuthenticAMD", "amd"),
        ("GenuineIntel", "intel"),
        ("HygonGenuine", "hygon"),
        ("CentaurHauls", "centaur"),
        ("Some Other!", "some.other"),
        ("ARM", "arm"),
    ],
)
def test_a_vendor_in_a_tuning_class(vendor, name):
    cpu = {"vendor": vendor, "level": "x86-64-v3", "ai": [], "usable": 4, "numa_nodes": None}
    assert (
        classes.classes({"architecture": "x86_64", "cpu": cpu, "gpus": []})["tuning"] == f"x86-64-v3-{name}-4c-unknownn"
    )


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        ({"product": "NVIDIA A10", "memory_mib": 23028, "count": 2}, "2xnvidia.a10-22g"),
        ({"product": "NVIDIA A10", "mig": [], "memory_mib": None}, "1xnvidia.a10"),
        ({"device_id": "10de:1eb8"}, "1x10de.1eb8"),
        ({}, "1xunknown"),
    ],
)
def test_a_gpu_in_a_tuning_class(gpu, name):
    cpu = {"vendor": "GenuineIntel", "level": None, "ai": [], "usable": 4, "numa_nodes": 1}
    found = classes.classes({"architecture": "X86 64", "cpu": cpu, "gpus": [gpu, gpu]})
    assert found == {"image": "x86.64", "tuning": f"x86.64-intel-4c-1n-{2 * int(name[0])}{name[1:]}"}


# The kernel's words of arch/x86/include/asm/cpufeatures.h for what macOS's sysctl and CPUID call otherwise.
WORDS = {
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "avx1.0": "avx",
    "lahf": "lahf_lm",
    "lzcnt": "abm",
    "osxsave": "xsave",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "fma": "fma",
}


@pytest.mark.parametrize("word", WORDS)
def test_the_words_of_py_cpuinfo_become_the_kernels(word):
    info = {
        "arch": "X86_64",
        "count": 2,
        "vendor_id_raw": "GenuineIntel",
        "brand_raw": "A CPU",
        "family": 6,
        "model": 85,
        "stepping": 7,
        "flags": [word],
    }
    cpu = cpuinfo.require(py_cpuinfo.as_text(info))["cpu"]
    assert cpu["flags"] == [WORDS[word]]
    assert {key: cpu[key] for key in ("vendor", "brand", "family", "model", "stepping", "threads")} == {
        "vendor": "GenuineIntel",
        "brand": "A CPU",
        "family": 6,
        "model": 85,
        "stepping": 7,
        "threads": 2,
    }
    assert cpuinfo.require(py_cpuinfo.as_text(dict(info, count=None)))["cpu"]["threads"] == 1


def test_py_cpuinfo_on_arm_is_apple_or_not_known():
    assert cpuinfo.read(py_cpuinfo.as_text({"arch": "ARM_8", "brand_raw": "Apple M1"}))["cpu"]["vendor"] == "Apple"
    other = cpuinfo.read(py_cpuinfo.as_text({"arch": "ARM_8", "count": 2}))
    assert (other["architecture"], other["cpu"]["vendor"], other["cpu"]["brand"], other["cpu"]["flags"]) == (
        "aarch64",
        "0x00",
        None,
        ["asimd", "fp"],
    )


def x86(**more):
    lines = dict(
        {
            "processor": "0",
            "vendor_id": "GenuineIntel",
            "cpu family": "6",
            "model": "85",
            "stepping": "7",
            "model name": "A CPU",
            "flags": "lm",
        },
        **more,
    )
    return "".join(f"{key}\t: {value}\n" for key, value in lines.items() if value is not None) + "\n"


@pytest.mark.parametrize(
    ("vendor", "size", "caches"),
    [
        ("AuthenticAMD", "1024 KB", 1024),
        ("HygonGenuine", "512 KB", 512),
        ("GenuineIntel", "1024 KB", None),
        ("AuthenticAMD", "1024 MB", None),
        ("AuthenticAMD", "x KB", None),
        ("AuthenticAMD", None, None),
    ],
)
def test_only_amds_cpuinfo_tells_the_second_cache(vendor, size, caches):
    found = cpuinfo.read(x86(vendor_id=vendor, **{"cache size": size}))["cpu"]["caches"]
    assert found == {"l1d_kib": None, "l1i_kib": None, "l2_kib": caches, "l3_kib": None}


@pytest.mark.parametrize(
    ("cores", "counts"),
    [
        ([(0, 0), (0, 0), (0, 1), (0, 1)], (1, 2, 4)),
        ([(0, 0), (1, 0)], (2, 2, 2)),
        ([(0, None), (0, 1)], (1, 2, 2)),
        ([(None, 0), (None, 1)], (1, 2, 2)),
        ([], (None, None, None)),
    ],
)
def test_sockets_cores_and_threads(cores, counts):
    cpu = cpuinfo.read(
        "".join(
            x86(processor=number, **{"physical id": socket, "core id": core})
            for number, (socket, core) in enumerate(cores)
        )
    )["cpu"]
    assert (cpu["sockets"], cpu["cores"], cpu["threads"]) == counts


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("vendor_id: IBM/S390\nprocessor 0: x\n", "s390x"),
        ("processor: 0\ncpu: POWER9\n", "ppc64"),
        ("processor: 0\nisa: rv64imafdc\n", "riscv64"),
        ("processor: 0\nISA: loongarch64\n", "loongarch64"),
        ("processor: 0\nisa: mips64r2\n", "mips"),
        ("processor: 0\nisa: x\n", None),
        ("vendor_id: GenuineIntel\ncpu family: 6\n", "x86_64"),
        ("vendor_id: GenuineIntel\ncpu family: 6\nflags: pae\n", "i686"),
        ("processor: 0\nflags: lm\n", "x86_64"),
        ("vendor_id: GenuineIntel\nflags: pae\n", None),
        ("CPU implementer: 0x41\nprocessor: 0\n", "arm"),
        ("CPU implementer: 0x41\nprocessor: 0\nCPU architecture: 8\n", "aarch64"),
        ("CPU implementer: 0x41\nprocessor: 0\nCPU architecture: AArch64\n", "aarch64"),
        ("CPU implementer: 0x41\nprocessor: 0\nCPU architecture: 7\n", "arm"),
        ("CPU implementer: 0x41\nFeatures: fp asimd\n", "aarch64"),
        ("CPU implementer: 0x41\nFeatures: swp half\nCPU architecture: 8\n", "arm"),
        ("", None),
    ],
)
def test_the_architecture_that_a_text_shows(text, architecture):
    assert cpuinfo.read(text)["architecture"] == architecture


def test_cores_of_several_kinds_are_warned_of():
    for key, value in (("vendor_id", "AuthenticAMD"), ("cpu family", "7"), ("model", "1")):
        assert cpuinfo.read(x86() + x86(processor="1", **{key: value}))["warnings"] == [
            "the cores are of different kinds; the first one describes the CPU"
        ]
    assert cpuinfo.read(x86() + x86(processor="1", stepping="9"))["warnings"] == []
    big = "processor: 0\nFeatures: fp asimd\nCPU implementer: 0x41\nCPU part: 0xd0c\n\n"
    assert "different kinds" in cpuinfo.read(big + big.replace("0xd0c", "0xd40"))["warnings"][0]
    assert "different kinds" in cpuinfo.read(big + big.replace("0x41", "0x46"))["warnings"][0]


def test_cores_that_differ_or_are_cut_are_warned_of():
    whole, less = x86(flags="lm avx avx2 fma"), x86(processor="1", flags="lm avx fma made_up")
    found = cpuinfo.read(whole + less)
    assert (found["cpu"]["flags"], found["warnings"]) == (
        ["avx", "fma"],
        ["the cores differ in avx2; only what all cores have counts"],
    )
    least = cpuinfo.read(whole + x86(processor="1", flags="lm avx"))
    assert least["warnings"] == ["the cores differ in avx2 fma; only what all cores have counts"]
    cut = cpuinfo.read(whole + less.partition(" made_up")[0])
    assert (cut["cpu"]["flags"], cut["warnings"]) == (
        ["avx", "avx2", "fma"],
        ["the text may be cut short: 1 of 2 cores show all their flags"],
    )
    assert cpuinfo.read(whole + x86(processor="1", flags=None))["warnings"] == [
        "the text may be cut short: 1 of 2 cores show all their flags"
    ]
    none = cpuinfo.read(x86(flags=None), "x86_64")
    assert none["warnings"] == [
        "the text may be cut short: 0 of 1 cores show all their flags",
        "cpuinfo shows no flags; the machine is treated as the lowest level of x86_64",
    ]


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty or not readable"), ("processor: 0\nisa: rv64\n", "of riscv64")]
)
def test_a_text_of_another_machine_is_not_believed(text, words):
    found = cpuinfo.read(text, "x86_64")
    assert found["warnings"] == [
        f"the machine is x86_64, but its cpuinfo is {words}; it is treated as the lowest level of x86_64"
    ]
    assert not found["hypervisor"] and cpuinfo.read(x86(flags="lm hypervisor"))["hypervisor"]


def test_names_and_numbers_have_their_bounds():
    cpu = cpuinfo.read(
        x86(**{"model name": "x" * 70, "model": "4294967295", "cpu family": "0x10", "stepping": "12345678901"})
    )["cpu"]
    assert (cpu["brand"], cpu["model"], cpu["family"], cpu["stepping"]) == ("x" * 64, 4294967295, 16, None)
    assert cpuinfo.read(x86(**{"model name": " "}))["cpu"]["brand"] is None
