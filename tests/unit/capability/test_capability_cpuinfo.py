# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every machine of machines.yml and every damaged text of broken.yml, against what others than this collection say of it."""

from __future__ import annotations

import quopri
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes, cpuinfo, levels
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "capability"
MACHINES = yaml.safe_load((FIXTURES / "machines.yml").read_text(encoding="utf-8"))["machines"]
BROKEN = yaml.safe_load((FIXTURES / "broken.yml").read_text(encoding="utf-8"))["broken"]
REFUSED = [row for row in BROKEN if "error" in row]
DOUBTED = [row for row in BROKEN if "error" not in row]


def named(rows):
    return [pytest.param(row, id=row["name"]) for row in rows]


@pytest.mark.parametrize("row", named(MACHINES))
def test_machine(row, cpuinfo_text):
    found = cpuinfo.require(cpuinfo_text(row["name"]))
    cpu = found["cpu"]
    assert found["architecture"] == row["architecture"]
    assert {key: cpu[key] for key in ("vendor", "family", "model", "stepping", "brand", "level", "ai")} == {
        key: row[key] for key in ("vendor", "family", "model", "stepping", "brand", "level", "ai")
    }
    assert classes.image_class(found["architecture"], cpu["level"]) == row["image"]
    assert cpu["flags"] == sorted(set(cpu["flags"])) and set(cpu["ai"]) <= set(cpu["flags"])
    expected = ["but shows"] if "_without_" in row["name"] and row["name"].startswith("vm_") else []
    assert [
        warning
        for warning in found["warnings"]
        if "kinds" not in warning and not any(words in warning for words in expected)
    ] == []


def test_there_are_enough_unlike_machines():
    assert len(MACHINES) >= 30
    assert len({(row["vendor"], row["family"], row["model"]) for row in MACHINES}) >= 30
    assert {row["level"] for row in MACHINES} == {"x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"}


@pytest.mark.parametrize("row", named(REFUSED))
def test_text_without_a_class_is_refused_in_one_line(row, cpuinfo_text):
    with pytest.raises(FleetError) as caught:
        cpuinfo.require(cpuinfo_text(row["name"]))
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in row["error"]), line


@pytest.mark.parametrize("row", named(DOUBTED))
def test_damaged_text_claims_no_more_than_it_shows(row, cpuinfo_text):
    found = cpuinfo.require(cpuinfo_text(row["name"]))
    expected = {key: row[key] for key in row.keys() - {"name", "warning"}}
    assert {key: found["cpu"][key] for key in expected} == expected
    assert all(any(word in warning for warning in found["warnings"]) for word in row["warning"]), found["warnings"]
    assert bool(found["warnings"]) == bool(row["warning"])


@pytest.mark.parametrize("row", named(REFUSED))
def test_host_with_such_a_text_is_taken_for_the_least_of_its_architecture(row, cpuinfo_text):
    """uname -m is known on a host: the architecture's baseline runs there whatever its cpuinfo shows."""
    found = cpuinfo.read(cpuinfo_text(row["name"]), "x86_64")
    assert (found["architecture"], found["cpu"]["level"], found["cpu"]["flags"]) == ("x86_64", "x86-64-v1", [])
    assert found["warnings"]


def test_host_of_an_architecture_that_is_not_served_has_no_level(cpuinfo_text):
    found = cpuinfo.read(cpuinfo_text("foreign_power9"), "ppc64le")
    assert (found["architecture"], found["cpu"]["level"], found["cpu"]["ai"], found["warnings"]) == (
        "ppc64le",
        None,
        [],
        [],
    )


def test_32_bit_kernel_on_a_64_bit_cpu_has_no_level(cpuinfo_text):
    assert cpuinfo.read(cpuinfo_text("intel_haswell"), "i686")["cpu"]["level"] is None


def test_x86_text_that_ends_before_the_64_bit_flag_is_cut_and_not_of_32_bits(cpuinfo_text):
    text = cpuinfo_text("intel_haswell")
    with pytest.raises(FleetError, match="ends before the CPU flags"):
        cpuinfo.require(text[: text.index(" lm ")])
    with pytest.raises(FleetError, match="32-bit x86"):
        cpuinfo.require(cpuinfo_text("foreign_x86_32bit"))


def test_old_arm_kernels_tell_once_what_their_cores_share():
    """arch/arm64/kernel/setup.c of Linux 3.18, c_show: a line for each core, then Features and the CPU lines once."""
    text = (
        "Processor\t: AArch64 Processor rev 0 (aarch64)\nprocessor\t: 0\nprocessor\t: 1\nprocessor\t: 2\nprocessor\t: 3\n"
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32\nCPU implementer\t: 0x50\nCPU architecture: AArch64\nCPU variant\t: 0x0\n"
        "CPU part\t: 0x000\nCPU revision\t: 0\n\nHardware\t: APM X-Gene Mustang board\n"
    )
    found = cpuinfo.require(text)
    assert (found["cpu"]["vendor"], found["cpu"]["threads"], found["cpu"]["level"], found["warnings"]) == (
        "APM",
        4,
        "aarch64",
        [],
    )


def test_a_number_with_more_digits_than_one_has_is_none(cpuinfo_text):
    cpu = cpuinfo.read(cpuinfo_text("intel_haswell").replace("cpu family\t: 6", "cpu family\t: " + "6" * 4000))["cpu"]
    assert cpu["family"] is None


@pytest.mark.parametrize(
    "architecture, words", [("aarch64", ["x86_64", "not from aarch64"]), ("sparc", ["'sparc'", "aarch64, x86_64"])]
)
def test_architecture_that_does_not_fit_is_refused(architecture, words, cpuinfo_text):
    with pytest.raises(FleetError) as caught:
        cpuinfo.require(cpuinfo_text("intel_haswell"), architecture)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_counts_come_from_the_ids_of_the_cores(cpuinfo_text):
    oracle = cpuinfo.read(cpuinfo_text("vm_zen2_oracle"))["cpu"]
    assert (oracle["sockets"], oracle["cores"], oracle["threads"]) == (1, 2, 4)
    two = cpuinfo.read(cpuinfo_text("intel_sandybridge"))["cpu"]
    assert (two["sockets"], two["cores"], two["threads"]) == (2, 2, 2)


def test_levels_are_those_of_the_psabi():
    """Table 3.1 of the supplement in the kernel's spelling; also those of archspec's x86_64_v2 to v4 and of glibc's cpu-features."""
    v2 = {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}
    v3 = v2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    for below, all_of_it, name in (
        ("x86-64-v1", v2, "x86-64-v2"),
        ("x86-64-v2", v3, "x86-64-v3"),
        ("x86-64-v3", v4, "x86-64-v4"),
    ):
        assert levels.level("x86_64", frozenset(all_of_it)) == name
        lesser = {"x86-64-v2": v2, "x86-64-v3": v3 - v2, "x86-64-v4": v4 - v3}[name]
        for flag in lesser:
            assert levels.level("x86_64", frozenset(all_of_it - {flag})) == below, flag


def test_an_image_runs_on_its_level_and_above():
    x86 = ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"]
    for image in range(4):
        for host in range(4):
            assert levels.may_run(x86[image], x86[host]) == (image <= host)
    assert levels.may_run("aarch64", "aarch64")
    for strange in ("aarch64", None, "x86-64-v5", "power9"):
        assert not levels.may_run("x86-64-v1", strange) and not levels.may_run(strange, "x86-64-v4")


def archspecs_level(target):
    """The level of a microarchitecture: the highest among itself and its ancestors."""
    if target.family.name == "aarch64":
        return "aarch64"
    names = [target.name] + [ancestor.name for ancestor in target.ancestors]
    return max(
        (name.replace("x86_64_", "x86-64-") for name in names if name.startswith("x86_64_v")), default="x86-64-v1"
    )


def test_archspec_agrees_on_every_machine_that_it_knows():
    """A second source, at test time: the levels among the ancestors, and the AI instructions that all machines of the name have."""
    cpu = pytest.importorskip("archspec.cpu")
    for row in MACHINES:
        if row["archspec"] is None:
            continue
        target = cpu.TARGETS[row["archspec"]]
        assert row["level"] == archspecs_level(target), row["name"]
        assert levels.AI_FLAGS[row["architecture"]] & target.features <= set(row["ai"]), row["name"]


def test_archspec_has_no_text_that_is_read_otherwise():
    """All texts in the archspec package, also those that were not picked for machines.yml: the level is that of the name's ancestors."""
    archspec = pytest.importorskip("archspec.cpu")
    import archspec as package

    seen = 0
    for path in sorted((Path(package.__file__).parent / "json" / "tests" / "targets").glob("linux-*")):
        target = archspec.TARGETS.get(path.name.rpartition("-")[2])
        if target is None or target.family.name not in ("x86_64", "aarch64"):
            continue
        assert cpuinfo.require(path.read_text(encoding="utf-8"))["cpu"]["level"] == archspecs_level(target), path.name
        seen += 1
    assert seen >= 30


LINES = st.sampled_from(
    [
        "processor\t: 0",
        "processor\t: 1",
        "vendor_id\t: GenuineIntel",
        "vendor_id : IBM/S390",
        "cpu family\t: 6",
        "model : 85",
        "flags\t: lm sse2 avx2",
        "flags :",
        "Features : fp asimd sve",
        "CPU implementer\t: 0x41",
        "CPU part : 0xd0c",
        "CPU architecture: 8",
        "isa : rv64",
        "cpu : POWER9",
        "",
        ":",
        "cache size : 5 KB",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(), st.lists(st.one_of(LINES, st.text(max_size=20))).map("\n".join)),
    st.sampled_from([None, "x86_64", "aarch64", "riscv64"]),
)
def test_no_text_raises_anything_but_a_fleet_error(text, architecture):
    found = cpuinfo.read(text, architecture)
    assert found["cpu"]["ai"] == levels.ai(found["architecture"], frozenset(found["cpu"]["flags"]))
    assert cpuinfo.read(text, architecture) == found
    try:
        required = cpuinfo.require(text, architecture)
    except FleetError as fault:
        assert "\n" not in str(fault)
    else:
        assert required["cpu"]["flags"] and required["cpu"]["level"]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_text_cut_anywhere_claims_no_more_than_the_whole(data):
    row = data.draw(st.sampled_from(MACHINES))
    whole = (FIXTURES / "cpuinfo" / f"{row['name']}.txt").read_text(encoding="utf-8")
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = cpuinfo.read(cut, row["architecture"])
    assert levels.may_run(found["cpu"]["level"], row["level"])


def folded(text, width):
    """As a terminal of that width shows it: coreutils' fold."""
    return subprocess.run(["fold", "-w", str(width)], input=text, capture_output=True, text=True, check=True).stdout


def wrapped(text, width):
    """As a mail program wraps it: between words, the rest indented or not."""
    return "".join(
        textwrap.fill(line, width, subsequent_indent="  " * (width % 2), break_long_words=False, break_on_hyphens=False)
        + "\n"
        for line in text.splitlines()
    )


@pytest.mark.parametrize("row", named(MACHINES))
def test_a_pasted_text_whose_lines_were_wrapped_shows_the_same_cpu(row, cpuinfo_text):
    """Every line of /proc/cpuinfo has a colon: c_show in arch/x86/kernel/cpu/proc.c and arch/arm64/kernel/cpuinfo.c of Linux."""
    text = cpuinfo_text(row["name"])
    whole = cpuinfo.require(text)
    for wrap, width in ((folded, 61), (folded, 80), (folded, 132), (wrapped, 72), (wrapped, 81)):
        found = cpuinfo.require(wrap(text, width))
        assert [found["cpu"][key] for key in ("level", "flags", "ai", "threads")] == [
            whole["cpu"][key] for key in ("level", "flags", "ai", "threads")
        ]
        assert (found["architecture"], found["warnings"]) == (whole["architecture"], whole["warnings"])


def test_no_two_flags_that_stand_side_by_side_are_taken_for_a_flag_that_was_broken(cpuinfo_text):
    lines = [
        line.partition(":")[2].split()
        for row in MACHINES
        for line in cpuinfo_text(row["name"]).splitlines()
        if line.partition(":")[0].strip() in ("flags", "Features")
    ]
    counting = frozenset().union(*levels.KNOWN_FLAGS.values())
    pairs = {(one, other) for line in lines for one, other in zip(line, line[1:])}
    assert len(pairs) > 150 and [pair for pair in pairs if "".join(pair) in counting] == []


def test_the_line_of_flags_alone_shows_them(cpuinfo_text):
    text = cpuinfo_text("intel_haswell")
    (line, *_others) = [line for line in text.splitlines() if line.startswith("flags")]
    assert cpuinfo.read(line)["cpu"]["flags"] == cpuinfo.read(text)["cpu"]["flags"] != []


def test_what_is_no_flag_is_seen_on_a_wrapped_line_too(cpuinfo_text):
    text = cpuinfo_text("intel_haswell").replace(" avx2 ", " av#x2 ")
    for pasted in (text, wrapped(text, 72), wrapped(text, 81)):
        with pytest.raises(FleetError, match="'av#x2' is not a CPU flag"):
            cpuinfo.require(pasted)


def test_a_wrapped_text_that_ends_within_its_flags_is_still_cut(cpuinfo_text):
    text = cpuinfo_text("intel_haswell")
    assert any(
        "cut short" in warning
        for warning in cpuinfo.require(folded(text[: text.index(" avx2")], 80).rstrip("\n"))["warnings"]
    )


def shortened(text, width):
    """As web pages and chats show long lines."""
    return "".join(f"{line if len(line) <= width else line[: width - 3] + '...'}\n" for line in text.splitlines())


def quoted_printable(text):
    """As mail carries long lines (RFC 2045, section 6.7): an equals sign ends a soft line break."""
    return quopri.encodestring(text.encode()).decode()


@pytest.mark.parametrize(
    "change", [lambda text: shortened(text, 120), lambda text: shortened(text, 90), quoted_printable]
)
@pytest.mark.parametrize("name", ["intel_haswell", "amd_zen4", "arm_neoverse_v1"])
def test_a_text_that_lost_flags_on_its_way_is_refused_and_a_machine_with_it_is_warned_of(name, change, cpuinfo_text):
    text = change(cpuinfo_text(name))
    with pytest.raises(FleetError, match="is not a CPU flag"):
        cpuinfo.require(text)
    found = cpuinfo.read(text, "aarch64" if "neoverse" in name else "x86_64")
    assert [warning for warning in found["warnings"] if "damaged" in warning or "is treated as the lowest" in warning]


@pytest.mark.parametrize(
    "name, hidden, level",
    [
        ("intel_haswell", "avx2 fma bmi1 bmi2", "x86-64-v2"),
        ("intel_skylake_x", "avx512f", "x86-64-v3"),
        ("amd_zen3", "avx avx2 xsave", "x86-64-v2"),
    ],
)
def test_a_cpu_that_shows_less_than_its_model_has_is_worth_a_warning(name, hidden, level, cpuinfo_text):
    """What a hypervisor does that masks instructions (VMware's EVC, QEMU's -cpu): family and model stay, flags go."""
    text = re.sub(rf" (?:{'|'.join(hidden.split())})\b", "", cpuinfo_text(name))
    found = cpuinfo.read(text, "x86_64")
    assert found["cpu"]["level"] == level
    assert [
        warning for warning in found["warnings"] if f"but shows {level}" in warning and hidden.split()[0] in warning
    ], found["warnings"]


def test_a_pentium_without_avx_is_no_damaged_text(cpuinfo_text):
    text = re.sub(r" (?:avx|avx2|fma|f16c|bmi1|bmi2)\b", "", cpuinfo_text("intel_haswell"))
    assert (
        cpuinfo.read(re.sub(r"model name\t: .*", "model name\t: Intel(R) Pentium(R) CPU G3220 @ 3.00GHz", text))[
            "warnings"
        ]
        == []
    )


# arch/x86/include/asm/intel-family.h of Linux: the models of family 6, the level by what Intel's ARK says of their instruction sets.
INTEL = {
    "x86-64-v3": """3C HASWELL  3D BROADWELL  3F HASWELL_X  45 HASWELL_L  46 HASWELL_G  47 BROADWELL_G  4E SKYLAKE_L  4F BROADWELL_X  56 BROADWELL_D
        5E SKYLAKE  8E KABYLAKE_L  97 ALDERLAKE  9A ALDERLAKE_L  9E KABYLAKE  A5 COMETLAKE  A6 COMETLAKE_L  AA METEORLAKE_L  AC METEORLAKE
        AF ATOM_CRESTMONT_X  B7 RAPTORLAKE  BA RAPTORLAKE_P  BD LUNARLAKE_M  BE ATOM_GRACEMONT  BF RAPTORLAKE_S  C5 ARROWLAKE_H  C6 ARROWLAKE
        DD ATOM_DARKMONT_X""",
    "x86-64-v4": """55 SKYLAKE_X  6A ICELAKE_X  6C ICELAKE_D  7D ICELAKE  7E ICELAKE_L  8C TIGERLAKE_L  8D TIGERLAKE  8F SAPPHIRERAPIDS_X  A7 ROCKETLAKE
        AD GRANITERAPIDS_X  AE GRANITERAPIDS_D  CF EMERALDRAPIDS_X""",
}
# Linux's bsp_init_amd: families 17h and 18h are Zen and Zen 2, of 19h the models 10h to 1Fh and 60h to AFh Zen 4, others Zen 3; 1Ah is Zen 5.
# AMD has AVX-512 since Zen 4.
AMD = [
    *((0x17, model, "x86-64-v3") for model in (0x00, 0x31, 0xFF)),
    *((0x18, model, "x86-64-v3") for model in (0x00, 0xFF)),
    *((0x19, model, "x86-64-v3") for model in (0x00, 0x0F, 0x20, 0x5F, 0xB0, 0xFF)),
    *((0x19, model, "x86-64-v4") for model in (0x10, 0x1F, 0x60, 0x9F, 0xAF)),
    *((0x1A, model, "x86-64-v4") for model in (0x00, 0xFF)),
    *((family, 0, None) for family in (0x16, 0x1B)),
]


def of_model(vendor, family, model, brand="CPU"):
    """What read() says of a CPU that shows the flags of x86-64-v2 alone."""
    flags = "lm fpu cmov cx8 fxsr mmx syscall sse sse2 pni cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
    text = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {brand}\nflags\t\t: {flags}\n\n"
    return cpuinfo.read(text)["warnings"]


@pytest.mark.parametrize(
    ("model", "level"), [(int(word, 16), level) for level, words in INTEL.items() for word in words.split()[::2]]
)
def test_a_model_of_intel_that_hides_instructions(model, level):
    (warning,) = of_model("GenuineIntel", 6, model)
    assert (
        f"family (6) and model ({model}) has {level}, but shows x86-64-v2" in warning
        and "a hypervisor hides them" in warning
    )
    assert of_model("GenuineIntel", 15, model) == of_model("OtherVendor", 6, model) == []
    for brand in ("Pentium(R) G", "Celeron N", "Atom(TM) x", "Intel(R) Processor N100"):
        assert of_model("GenuineIntel", 6, model, brand) == []


def test_other_models_of_intel_are_not_judged():
    known = {int(word, 16) for words in INTEL.values() for word in words.split()[::2]}
    assert [model for model in range(256) if of_model("GenuineIntel", 6, model)] == sorted(known)


@pytest.mark.parametrize(("family", "model", "level"), AMD)
@pytest.mark.parametrize("vendor", ["AuthenticAMD", "HygonGenuine"])
def test_a_model_of_amd_that_hides_instructions(vendor, family, model, level):
    found = of_model(vendor, family, model)
    assert [f"has {level}, but shows x86-64-v2" in text for text in found] == ([True] if level else [])


# sys-utils/lscpu-arm.c of util-linux.
ARM = {
    (0x41, 0xD08): ("ARM", "Cortex-A72"),
    (0x41, 0xD0C): ("ARM", "Neoverse-N1"),
    (0x41, 0xD40): ("ARM", "Neoverse-V1"),
    (0x41, 0xD49): ("ARM", "Neoverse-N2"),
    (0x41, 0xD4F): ("ARM", "Neoverse-V2"),
    (0x41, 0xD83): ("ARM", "Neoverse-V3AE"),
    (0x41, 0xD84): ("ARM", "Neoverse-V3"),
    (0x41, 0xD8E): ("ARM", "Neoverse-N3"),
    (0x42, 0x516): ("Broadcom", None),
    (0x43, 0x0AF): ("Cavium", "ThunderX2-99xx"),
    (0x46, 0x001): ("Fujitsu", "A64FX"),
    (0x48, 0xD01): ("HiSilicon", "TaiShan-v110"),
    (0x4E, 0x004): ("NVIDIA", "Carmel"),
    (0x4E, 0x010): ("NVIDIA", "Olympus"),
    (0x50, 0x000): ("APM", None),
    (0x51, 0xC00): ("Qualcomm", None),
    (0x53, 0x001): ("Samsung", None),
    (0x56, 0x131): ("Marvell", None),
    (0x61, 0x022): ("Apple", None),
    (0x6D, 0xD49): ("Microsoft", None),
    (0x70, 0x660): ("Phytium", None),
    (0xC0, 0xAC3): ("Ampere", "Ampere-1"),
    (0xC0, 0xAC4): ("Ampere", "Ampere-1a"),
    (0x01, 0xD08): ("0x01", None),
    (0xFF, 0xD08): ("0xff", None),
}


@pytest.mark.parametrize("code", ARM, ids=str)
def test_arm_has_names_for_codes(code):
    implementer, part = code
    text = (
        f"processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x{implementer:02x}\nCPU architecture: 8\nCPU variant\t: 0x3\n"
        f"CPU part\t: 0x{part:03x}\nCPU revision\t: 1\n\n"
    )
    cpu = cpuinfo.read(text)["cpu"]
    assert (cpu["vendor"], cpu["brand"]) == ARM[code]
    without = cpuinfo.read(re.sub("CPU part.*\n", "", text))["cpu"]
    assert (without["vendor"], without["model"], without["brand"]) == (ARM[code][0], None, None)
    # MIDR_EL1 has the variant above the revision, four bits each.
    assert (cpu["family"], cpu["model"], cpu["stepping"], cpu["level"]) == (8, part, 0x31, "aarch64")


@pytest.mark.parametrize(
    ("lines", "architecture"),
    [
        # uname -m beside /proc/cpuinfo of the kernel's own formats: arch/*/kernel/cpu*.c and setup.c.
        ("vendor_id: IBM/S390", "s390x"),
        ("processor: 0\ncpu: POWER9 (architected)", "ppc64"),
        ("processor: 0\nisa: rv64imafdc", "riscv64"),
        ("processor: 0\nISA: loongarch64", "loongarch64"),
        ("processor: 0\nisa: mips64r2", "mips"),
        ("processor: 0\nisa: sparc", None),
        ("processor: 0\nvendor_id: a\ncpu family: 6", "x86_64"),
        ("processor: 0\nvendor_id: a\ncpu family: 6\nflags: fpu", "i686"),
        ("processor: 0\nvendor_id: a\nflags: fpu lm", "x86_64"),
        ("processor: 0\nvendor_id: a\nflags: fpu", None),
        ("processor: 0\nCPU implementer: 0x41\nFeatures: fp asimd", "aarch64"),
        ("processor: 0\nCPU implementer: 0x41\nFeatures: half thumb", "arm"),
        ("processor: 0\nCPU implementer: 0x41\nCPU architecture: 8", "aarch64"),
        ("processor: 0\nCPU implementer: 0x41\nCPU architecture: AArch64", "aarch64"),
        ("processor: 0\nCPU implementer: 0x41\nCPU architecture: 7", "arm"),
        ("", None),
    ],
)
def test_the_architecture_that_a_text_shows(lines, architecture):
    found = cpuinfo.read(lines + "\n")
    assert found["architecture"] == architecture
    assert cpuinfo.read(lines + "\n", "x86_64")["architecture"] == "x86_64"
    if architecture not in ("x86_64", "aarch64"):
        with pytest.raises(FleetError, match="^cpu_capability: "):
            cpuinfo.require(lines + "\n")


@pytest.mark.parametrize(
    ("vendor", "size", "kib"),
    [
        ("AuthenticAMD", "512 KB", 512),
        ("HygonGenuine", "512 KB", 512),
        ("GenuineIntel", "512 KB", None),
        ("AuthenticAMD", "1 MB", None),
        ("AuthenticAMD", "x KB", None),
    ],
)
def test_the_cache_that_cpuinfo_shows_is_the_second_level_of_amd(vendor, size, kib):
    text = f"processor: 0\nvendor_id: {vendor}\ncpu family: 23\nflags: fpu lm hypervisor\ncache size: {size}\n\n"
    found = cpuinfo.read(text)
    assert found["cpu"]["caches"] == {"l1d_kib": None, "l1i_kib": None, "l2_kib": kib, "l3_kib": None}
    assert found["hypervisor"] is True


@pytest.mark.parametrize("flag", ["lm", "hypervisor"])
def test_a_flag_that_a_terminal_broke_is_whole_again(flag):
    for at in range(1, len(flag)):
        text = f"processor: 0\nvendor_id: a\ncpu family: 6\nflags: fpu lm hypervisor {flag[:at]}\n{flag[at:]} sse\n\n"
        text = text.replace(f" {flag} {flag[:at]}", f" {flag[:at]}")
        if flag == "lm":
            text = text.replace("lm hypervisor l", "hypervisor l")
        found = cpuinfo.read(text)
        assert (found["architecture"], found["hypervisor"]) == ("x86_64", True), text
