# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: every release from 2.11 to 2.20 and every class against a golden table (tools/image-recipes asks upstream's files), what is mended and refused.

Run as a program it writes the golden table anew.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    importlib.import_module("conftest")

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import X86_64_LEVELS
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import dockerfile, microarchitectures, recipe
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "image" / "recipes.txt"
FIRST = "2.11.0"
CLASSES = (
    "x86-64-v1",
    "x86-64-v2",
    "x86-64-v3",
    "x86-64-v4",
    "x86-64-v3-cc7",
    "x86-64-v3-cc8",
    "x86-64-v4-cc9",
    "x86-64-v4-cc12",
    "x86-64-v3-cc3",
    "aarch64",
)
ALL_OF = {
    name: frozenset().union(*(flags for _level, flags in X86_64_LEVELS[: number + 1]))
    for number, (name, _flags) in enumerate(X86_64_LEVELS)
}


def planned(release, image_class, kind="cpu"):
    """The recipe as the plan makes it, or the reason why there is none."""
    level, majors = recipe.parse_class(image_class)
    flags = ALL_OF.get(level, frozenset())
    kind = "gpu" if majors else kind
    try:
        options, _reasons = recipe.completed_options("", level, flags, release, kind) if level in ALL_OF else ("", [])
        fault = recipe.problem(release, options, flags, kind, majors)
        return fault or recipe.recipe(release, level, options, kind, majors)
    except FleetError as fault:
        return str(fault)


def golden_table():
    """One paragraph for each release and class."""
    lines = []
    releases = questions.releases()[questions.releases().index(FIRST) :]
    for release in releases:
        for image_class in (*CLASSES, "x86-64-v3 mkl"):
            level, _blank, kind = image_class.partition(" ")
            made = planned(release, level, kind or "cpu")
            if isinstance(made, str):
                lines.append(f"{release} {image_class}: REFUSED {made}")
                continue
            python = [f"pip for Python {mend['python']}" for mend in made["mends"] if mend["mend"] == "get_pip"]
            needs = " ".join(made["cpu_flags"]) or "nothing"
            lines += [
                f"{release} {image_class}: {made['image'].rpartition(':')[2]}",
                f"    {made['compiler']}; {', '.join(['own sources', *python])}; TensorRT {made['tensorrt'] or 'none'}; needs {needs}",
                f"    {made['devel']['dockerfile'].rpartition('/')[2]} {made['devel']['arguments']['TF_SERVING_BUILD_OPTIONS']}",
                f"    {made['runtime']['dockerfile'].rpartition('/')[2]} {made['sources']['commit'][:12]} {made['sources']['tree'][:12]}",
            ]
    return "\n".join(lines) + "\n"


def test_golden_table():
    assert golden_table() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("release", ["2.11.0", "2.19.1", "2.20.0"])
@pytest.mark.parametrize("level", sorted(ALL_OF))
def test_a_levels_build_needs_no_more_than_the_level(release, level):
    assert set(planned(release, level)["cpu_flags"]) <= ALL_OF[level]


def test_the_digest_is_of_what_is_built_and_not_of_where_from():
    options = table.LEVEL_OPTIONS["x86-64-v3"]
    made = recipe.recipe("2.20.0", "x86-64-v3", options)
    elsewhere = dict(made["sources"], archive="/srv/mirror/serving.tar")
    assert recipe.recipe("2.20.0", "x86-64-v3", options, sources=elsewhere)["image"] == made["image"]
    for other in (
        recipe.recipe("2.20.0", "x86-64-v3", options + " --copt=-g"),
        recipe.recipe("2.19.1", "x86-64-v3", options),
        recipe.recipe("2.20.0", "x86-64-v3", options, base_images={"ubuntu:22.04": "ubuntu@sha256:" + "0" * 64}),
        recipe.recipe("2.20.0", "x86-64-v3", options, sources=dict(elsewhere, tree="0" * 40)),
    ):
        assert other["digest"] != made["digest"] and other["image"] != made["image"]


def test_a_recipe_that_somebody_changed_is_refused():
    made = recipe.recipe("2.20.0", "x86-64-v3", table.LEVEL_OPTIONS["x86-64-v3"])
    assert recipe.check(made) is made
    made["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"] += " --copt=-mavx512f"
    with pytest.raises(FleetError, match="its digest does not match"):
        recipe.check(made)


def test_known_bad_combinations_are_fixed_or_refused():
    v4 = ALL_OF["x86-64-v4"] | {"avx512_vnni", "avx512_bf16"}
    known = microarchitectures.known()
    options, reasons = recipe.completed_options(
        "--config=release --copt=-march=znver4", "x86-64-v4", v4, "2.20.0", "cpu", known
    )
    assert options.endswith("--copt=-mno-avx512bf16") and "clang fails" in reasons[0]
    assert "avx512_bf16" not in recipe.needed_flags(options, known) and "avx512_vnni" in recipe.needed_flags(
        options, known
    )
    assert "does not compile with clang" in recipe.problem("2.20.0", "--config=release --copt=-mavx512bf16", v4, "cpu")
    assert "only for the builder's CPU" in recipe.problem("2.20.0", "--config=nativeopt", v4, "cpu")


def test_union_of_classes():
    assert recipe.union(["x86-64-v4-cc8", "x86-64-v3-cc7-cc8", "x86-64-v3"]) == (None, "x86-64-v3", [7, 8])
    with pytest.raises(FleetError, match="runs on the CPUs of all"):
        recipe.union(["aarch64", "x86-64-v3"])


@pytest.mark.parametrize(
    ("release", "majors", "expected"),
    [
        ("2.14.1", [8], ("sm_80", "compute_80")),
        ("2.14.1", [7], ("sm_70", "sm_75", "compute_80")),
        ("2.17.1", [9], ("sm_90", "compute_90")),
        ("2.20.0", [8], ("sm_80", "sm_89", "compute_90")),
        ("2.20.0", [12], ("compute_90",)),
        ("2.20.0", [7, 9], ("sm_70", "sm_90", "compute_90")),
    ],
)
def test_compute_capabilities(release, majors, expected):
    assert recipe.compute_capabilities(release, majors) == expected


def test_docker_files_get_the_mends_digests_and_mirrors():
    made = recipe.recipe(
        "2.19.1",
        "x86-64-v3",
        table.LEVEL_OPTIONS["x86-64-v3"],
        base_images={"ubuntu:20.04": "ubuntu@sha256:" + "a" * 64},
    )
    text = (
        "FROM ubuntu:20.04 as base_build\nRUN curl -fSsL -O https://bootstrap.pypa.io/get-pip.py\n"
        "RUN curl -sSL https://github.com/tensorflow/serving/tarball/${C} | tar --strip-components=1 -xzf -\nFROM base_build as binary_build\nRUN true\n"
    )
    done = dockerfile.fixed(
        text,
        made,
        True,
        {"https://bootstrap.pypa.io": "https://mirror.example/pypa", "ubuntu": "mirror.example/library/ubuntu"},
    )
    assert "FROM mirror.example/library/ubuntu@sha256:" + "a" * 64 + " as base_build" in done
    assert "https://mirror.example/pypa/pip/3.9/get-pip.py" in done
    assert "tarball" not in done and f"ADD {dockerfile.SOURCES} /tensorflow-serving/" in done
    assert dockerfile.base_images(text) == ["ubuntu:20.04"]
    with pytest.raises(FleetError, match="has 0 commands that fetch the sources, not 1"):
        dockerfile.fixed("FROM scratch\n", made, True)


@pytest.mark.parametrize(
    ("release", "march", "refused"),
    [
        ("2.19.1", "x86-64-v3", True),
        ("2.20.0", "x86-64-v3", False),
        ("2.20.0", "znver5", True),
        ("2.20.0", "znver4", False),
        ("2.11.1", "cascadelake", True),
        ("2.12.0", "cascadelake", False),
        ("2.12.0", "sapphirerapids", True),
        ("2.20.0", "sapphirerapids", False),
        ("2.4.0", "haswell", False),
        ("2.20.0", "icelake-server", False),
        ("2.4.0", "icelake-server", True),
        ("2.20.0", "pentium", True),
    ],
)
def test_compilers_and_march(release, march, refused):
    """From the release notes of GCC and Clang."""
    assert bool(recipe.march_problem(release, march, "cpu", microarchitectures.known())) is refused


# What GCC's manual says that the values of -march allow beyond the psABI level; AMX and the like as the vendors name them.
@pytest.mark.parametrize(
    ("name", "level", "flags"),
    [
        ("nehalem", "x86-64-v2", ""),
        ("haswell", "x86-64-v3", "aes pclmulqdq"),
        ("zen3", "x86-64-v3", "aes pclmulqdq sse4a vaes vpclmulqdq"),
        ("skylake_avx512", "x86-64-v4", "aes pclmulqdq"),
        ("cascadelake", "x86-64-v4", "aes avx512_vnni pclmulqdq"),
        ("bulldozer", "x86-64-v2", "abm aes avx fma4 pclmulqdq sse4a xop xsave"),
        (
            "zen4",
            "x86-64-v4",
            "aes avx512_bf16 avx512_bitalg avx512_vbmi2 avx512_vnni avx512_vpopcntdq avx512ifma avx512vbmi gfni pclmulqdq sse4a vaes "
            "vpclmulqdq",
        ),
    ],
)
def test_what_a_program_for_a_microarchitecture_needs(name, level, flags):
    known = microarchitectures.known()["names"][name]
    assert (known["level"], known["flags"]) == (level, flags.split())


def test_the_options_of_a_level_bring_no_more_than_archspecs():
    from archspec.cpu import TARGETS

    for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
        assert set(recipe.needed_flags(table.LEVEL_OPTIONS[level])) <= TARGETS[level.replace("-", "_")].features


def test_an_image_for_an_exact_microarchitecture():
    known = microarchitectures.known()
    assert (
        recipe.microarchitecture_options("zen4", "2.20.0", "cpu", known)
        == "--config=release --copt=-march=znver4 --copt=-mtune=znver4 --copt=-O3"
    )
    older = recipe.microarchitecture_options("zen4", "2.19.1", "cpu", known)
    assert "-march=znver3 " in older and "--copt=-mavx512vbmi2" in older and "bf16" not in older
    assert {"avx512_vnni", "avx512vbmi"} <= set(
        recipe.needed_flags(older, known)
    ) and "avx512_bf16" not in recipe.needed_flags(older, known)
    assert recipe.microarchitecture_options("zen4", "2.17.1", "cpu", known) is None
    assert recipe.microarchitecture_options("zen4", "2.17.1", "gpu", known) is not None
    assert not recipe.microarchitecture_options("nehalem", "2.20.0", "cpu", known).startswith("--config=release")
    options, _reasons = recipe.completed_options(
        recipe.microarchitecture_options("zen4", "2.20.0", "cpu", known),
        "x86-64-v4",
        recipe.flags_of("zen4", known),
        "2.20.0",
        "cpu",
        known,
    )
    made = recipe.recipe("2.20.0", "x86-64-v4", options, name="zen4", known=known)
    assert made["image"].startswith("tfserving-fleet/serving:2.20.0-zen4-") and made["level"] == "x86-64-v4"
    assert {"avx512_vnni", "sse4a"} <= set(made["cpu_flags"]) and "avx512_bf16" not in made["cpu_flags"]
    recipe.check(made)


def test_archspec_is_needed_only_where_a_microarchitecture_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "archspec", None)  # as where it is not installed
    for asked in (
        {},
        {"build_for": ["x86-64-v3-cc8", "aarch64"]},
        {"build_options": "--config=release --copt=-mavx2"},
        {"build_for": "x"},
    ):
        assert not microarchitectures.needed(asked)
    for asked in (
        {"build_for": ["x86-64-v3", "zen4-cc8"]},
        {"build_options": "--copt=-march=haswell"},
        {"options": ["--copt=-march=haswell"]},
        {"policies": [{"when": "x", "choose": {"build_options": "--copt=-march=haswell"}}]},
    ):
        assert microarchitectures.needed(asked)
    with pytest.raises(
        FleetError, match="the controller needs the Python package archspec .* Run pip install archspec"
    ):
        microarchitectures.known.__wrapped__()


def test_the_union_of_microarchitectures_is_the_one_that_all_run():
    known = microarchitectures.known()
    assert recipe.union(["zen4", "zen3-cc8", "zen2"], known) == ("zen2", "x86-64-v3", [8])
    assert recipe.union(["zen4", "x86-64-v3"], known) == (None, "x86-64-v3", [])
    assert recipe.union(["skylake_avx512-cc9", "haswell"], known) == ("haswell", "x86-64-v3", [9])
    for apart in (["sapphirerapids", "zen4"], ["haswell", "x86-64-v4"], ["bulldozer", "zen"], ["zen4", "aarch64"]):
        with pytest.raises(FleetError, match="runs on the CPUs of all"):
            recipe.union(apart, known)
    with pytest.raises(FleetError, match="zen44.*microarchitecture that archspec knows.*zen4"):
        recipe.union(["zen44"], known)


if __name__ == "__main__":
    GOLDEN.write_text(golden_table(), encoding="utf-8")
