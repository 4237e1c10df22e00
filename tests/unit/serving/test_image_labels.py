# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What labels of an image say, and where it cannot run.

Sources: uname(2) and Go's list of GOARCH for architectures; NVIDIA's CUDA C++ Programming Guide, "Application Compatibility": machine code runs on the same
major and a later minor compute capability, PTX on any later one.
"""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels

RECIPE = {
    "digest": "d1",
    "release": "2.20.0",
    "sources": {"commit": "c1"},
    "kind": "gpu",
    "level": "x86-64-v3",
    "tensorrt": None,
    "cpu_flags": ["avx2", "fma"],
    "compute_capabilities": ["sm_80", "sm_86", "compute_90"],
}
LABELS = {
    "org.tfserving.fleet.recipe": "d1",
    "org.tfserving.fleet.stage": "runtime",
    "org.tfserving.fleet.building": "0",
    "org.tfserving.fleet.release": "2.20.0",
    "org.tfserving.fleet.commit": "c1",
    "org.tfserving.fleet.kind": "gpu",
    "org.tfserving.fleet.level": "x86-64-v3",
    "org.tfserving.fleet.tensorrt": "none",
    "org.tfserving.fleet.cpu_flags": "avx2,fma",
    "org.tfserving.fleet.compute_capabilities": "sm_80,sm_86,compute_90",
}
CONTENTS = dict(
    {key: value for key, value in RECIPE.items() if key not in ("digest", "sources")}, recipe="d1", commit="c1"
)


def test_labels_say_what_the_recipe_says():
    assert image_labels.of(RECIPE) == LABELS and image_labels.read(LABELS) == CONTENTS
    assert image_labels.of(RECIPE, "devel")["org.tfserving.fleet.stage"] == "devel"
    with_tensorrt = image_labels.of(dict(RECIPE, tensorrt="8.6.1"))
    assert image_labels.read(with_tensorrt)["tensorrt"] == "8.6.1"
    bare = image_labels.read({"org.tfserving.fleet.recipe": "d1", "other": "x"})
    assert bare == {
        **dict.fromkeys(CONTENTS, ""),
        "recipe": "d1",
        "tensorrt": None,
        "cpu_flags": [],
        "compute_capabilities": [],
    }
    assert image_labels.read({"org.tfserving.fleet.release": "2.20.0"}) is None


@pytest.mark.parametrize(
    ("architecture", "flags", "compute", "words"),
    [
        ("x86_64", ["avx2", "fma", "sse4_2"], [], None),
        ("aarch64", ["avx2", "fma"], [], "built for x86_64, but this host is aarch64"),
        ("x86_64", ["avx2"], [], "built for x86-64-v3 and needs fma, which this CPU lacks"),
        ("x86_64", [], [], "needs avx2, fma, which this CPU lacks"),
        *(("x86_64", ["avx2", "fma"], [fits], None) for fits in ((8, 0), (8, 6), (8, 9), (9, 0), (9, 1), (10, 0))),
        *(
            ("x86_64", ["avx2", "fma"], [(8, 0), (major, minor)], f"capability {major}.{minor}")
            for major, minor in ((7, 5), (7, 9), (3, 7))
        ),
    ],
)
def test_where_an_image_cannot_run(architecture, flags, compute, words):
    found = image_labels.refusal(LABELS, architecture, flags, compute)
    assert found is None if words is None else words in found
    if compute and words:
        assert "it is built for sm_80, sm_86, compute_90" in found
    assert image_labels.refusal({}, architecture, flags, compute) is None
    cpu = dict(LABELS, **{"org.tfserving.fleet.kind": "cpu"})
    assert image_labels.refusal(cpu, "x86_64", ["avx2", "fma"], compute) is None


@pytest.mark.parametrize(
    ("image", "machine", "own"),
    [
        *(
            (go, machine, None)
            for machine, go in (
                ("x86_64", "amd64"),
                ("aarch64", "arm64"),
                ("ppc64le", "ppc64le"),
                ("s390x", "s390x"),
                ("riscv64", "riscv64"),
            )
        ),
        *(
            ("mips", machine, go)
            for machine, go in (
                ("x86_64", "amd64"),
                ("aarch64", "arm64"),
                ("ppc64le", "ppc64le"),
                ("s390x", "s390x"),
                ("riscv64", "riscv64"),
            )
        ),
        ("x86_64", "x86_64", None),
        ("386", "x86_64", None),
        ("arm", "aarch64", None),
        ("arm", "x86_64", "amd64"),
        ("386", "aarch64", "arm64"),
        ("amd64", "aarch64", "arm64"),
        (None, "x86_64", None),
        ("", "x86_64", None),
        ("amd64", "alpha", None),
    ],
)
def test_an_image_of_another_architecture(image, machine, own):
    assert image_labels.foreign_to(image, machine) == own


def test_what_labels_promise_and_a_server_leaves_unused():
    assert image_labels.lies(LABELS, ["avx512f", "fma", "avx2"]) == ["fma", "avx2"]
    assert image_labels.lies({}, ["fma"]) == [] and image_labels.lies(LABELS, []) == []


@pytest.mark.parametrize(
    ("labels", "words"),
    [({}, "something other than this collection"), (LABELS, "another recipe")],
)
def test_an_image_of_another_recipe_is_refused(labels, words):
    with pytest.raises(FleetError, match=f"^name: the image was built by {words}. Remove the image"):
        image_labels.check_recipe(labels, "d2", "name")
    image_labels.check_recipe(LABELS, "d1", "name")
