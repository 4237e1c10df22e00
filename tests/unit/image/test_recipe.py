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

from ansible_collections.tfserving.fleet.plugins.module_utils.capability.levels import X86_64_LEVELS
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.image import dockerfile, recipe
from ansible_collections.tfserving.fleet.plugins.module_utils.release import questions, table

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "image" / "recipes.txt"
FIRST = "2.11.0"
CLASSES = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v3-cc7", "x86-64-v3-cc8", "x86-64-v4-cc9", "x86-64-v4-cc12", "x86-64-v3-cc3", "aarch64")
ALL_OF = {name: frozenset().union(*(flags for _level, flags in X86_64_LEVELS[:number + 1])) for number, (name, _flags) in enumerate(X86_64_LEVELS)}


def planned(release, image_class, kind="cpu"):
    """The recipe as the plan makes it, or the reason why there is none."""
    level, majors = recipe.parse_class(image_class)
    flags = ALL_OF.get(level, frozenset())
    kind = "gpu" if majors else kind
    try:
        options, _reasons = recipe.mended_options("", level, flags, release, kind) if level in ALL_OF else ("", [])
        fault = recipe.problem(release, options, level, flags, kind, majors)
        return fault or recipe.recipe(release, level, options, kind, majors)
    except FleetError as fault:
        return str(fault)


def golden_table():
    """One paragraph for each release and class."""
    lines = []
    releases = questions.releases()[questions.releases().index(FIRST):]
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
    for other in (recipe.recipe("2.20.0", "x86-64-v3", options + " --copt=-g"), recipe.recipe("2.19.1", "x86-64-v3", options),
                  recipe.recipe("2.20.0", "x86-64-v3", options, base_images={"ubuntu:22.04": "ubuntu@sha256:" + "0" * 64}),
                  recipe.recipe("2.20.0", "x86-64-v3", options, sources=dict(elsewhere, tree="0" * 40))):
        assert other["digest"] != made["digest"] and other["image"] != made["image"]


def test_a_recipe_that_somebody_changed_is_refused():
    made = recipe.recipe("2.20.0", "x86-64-v3", table.LEVEL_OPTIONS["x86-64-v3"])
    assert recipe.check(made) is made
    made["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"] += " --copt=-mavx512f"
    with pytest.raises(FleetError, match="its digest is another"):
        recipe.check(made)


def test_known_bad_combinations_are_mended_or_refused():
    v4 = ALL_OF["x86-64-v4"] | {"avx512_vnni", "avx512_bf16"}
    options, reasons = recipe.mended_options("--config=release --copt=-march=znver4", "x86-64-v4", v4, "2.20.0", "cpu")
    assert options.endswith("--copt=-mno-avx512bf16") and "clang fails" in reasons[0]
    assert "avx512_bf16" not in recipe.needed_flags(options) and "avx512_vnni" in recipe.needed_flags(options)
    assert "does not compile with clang" in recipe.problem("2.20.0", "--config=release --copt=-mavx512bf16", "x86-64-v4", v4, "cpu")
    assert "builder's CPU alone" in recipe.problem("2.20.0", "--config=nativeopt", "x86-64-v4", v4, "cpu")


def test_union_of_classes():
    assert recipe.union(["x86-64-v4-cc8", "x86-64-v3-cc7-cc8", "x86-64-v3"]) == ("x86-64-v3", [7, 8])
    with pytest.raises(FleetError, match="different architectures"):
        recipe.union(["aarch64", "x86-64-v3"])


@pytest.mark.parametrize(("release", "majors", "expected"), [
    ("2.14.1", [8], ("sm_80", "compute_80")), ("2.14.1", [7], ("sm_70", "sm_75", "compute_80")), ("2.17.1", [9], ("sm_90", "compute_90")),
    ("2.20.0", [8], ("sm_80", "sm_89", "compute_90")), ("2.20.0", [12], ("compute_90",)), ("2.20.0", [7, 9], ("sm_70", "sm_90", "compute_90"))])
def test_compute_capabilities(release, majors, expected):
    assert recipe.compute_capabilities(release, majors) == expected


def test_docker_files_get_the_mends_digests_and_mirrors():
    made = recipe.recipe("2.19.1", "x86-64-v3", table.LEVEL_OPTIONS["x86-64-v3"], base_images={"ubuntu:20.04": "ubuntu@sha256:" + "a" * 64})
    text = ("FROM ubuntu:20.04 as base_build\nRUN curl -fSsL -O https://bootstrap.pypa.io/get-pip.py\n"
            "RUN curl -sSL https://github.com/tensorflow/serving/tarball/${C} | tar --strip-components=1 -xzf -\nFROM base_build as binary_build\nRUN true\n")
    done = dockerfile.mended(text, made, True, {"https://bootstrap.pypa.io": "https://mirror.example/pypa", "ubuntu": "mirror.example/library/ubuntu"})
    assert "FROM mirror.example/library/ubuntu@sha256:" + "a" * 64 + " as base_build" in done
    assert "https://mirror.example/pypa/pip/3.9/get-pip.py" in done
    assert "tarball" not in done and f"ADD {dockerfile.SOURCES} /tensorflow-serving/" in done
    assert dockerfile.base_images(text) == ["ubuntu:20.04"]
    with pytest.raises(FleetError, match="fetches its sources 0 times"):
        dockerfile.mended("FROM scratch\n", made, True)


def test_what_archspec_knows_of_the_compilers():
    """The release table's options of a level bring what archspec gives the release's compiler for it, and its -march rows are archspec's."""
    cpu = pytest.importorskip("archspec.cpu")
    for release in ("2.11.0", "2.14.1", "2.19.1", "2.20.0"):
        compiler, version = questions.cell("cpu_compiler", release)
        for level in ("x86-64-v3", "x86-64-v4"):
            target = cpu.TARGETS[level.replace("-", "_")]
            assert target.optimization_flags(compiler, ".".join(map(str, version)))
            assert set(recipe.needed_flags(table.LEVEL_OPTIONS[level])) <= target.features
    names = {"znver2": "zen2", "znver3": "zen3", "znver4": "zen4", "znver5": "zen5"}
    for march, compilers in table.MARCH_COMPILERS.items():
        target = cpu.TARGETS.get(names.get(march, march.replace("-", "_")))
        for compiler, lowest in compilers.items() if target else ():
            assert f"-march={march} " in target.optimization_flags(compiler, ".".join(map(str, lowest)))
            assert set(table.MARCH_FLAGS.get(march, ())) <= target.features


if __name__ == "__main__":
    GOLDEN.write_text(golden_table(), encoding="utf-8")
