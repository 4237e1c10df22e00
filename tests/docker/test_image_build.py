# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images built on a host from a small source tree: what is in them, what is refused, what a killed build leaves, what the next one takes from it."""

from __future__ import annotations

import json
import pathlib
import random
import re
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels
from ansible_collections.tfserving.fleet.tests.docker import image_parts as parts
from ansible_collections.tfserving.fleet.tests.docker.testbed.hosts import module_result
from ansible_collections.tfserving.fleet.tests.docker.waiting import until

BUILD = {"memory_per_job_mib": 256, "memory_reserve_mib": 256, "disk_mib": 1000, "directory": "/srv/build"}
LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
UNUSED = {"x86-64-v2": ["AVX2", "AVX512F", "FMA"], "x86-64-v3": ["AVX512F"], "x86-64-v4": []}
HERE = set(
    next(
        line
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("flags")
    ).split()
)


class Builder:
    """A host that builds."""

    def __init__(self, materials):
        self.materials = materials
        (self.host,) = materials.builders("builder")

    def start(self, made, **options):
        """Start to build a recipe."""
        return self.host.start_module("serving_image", state="built", recipe=made, **dict(BUILD, **options))

    def build(self, made, **options):
        """The result of building a recipe."""
        return module_result(self.start(made, **options))

    def present(self, **options):
        """The result of bringing an image, which no level of this CPU keeps away."""
        return self.host.module("serving_image", **options)

    def labels(self, image):
        return json.loads(self.host.docker("image", "inspect", "--format={{json .Config.Labels}}", image))

    def has(self, image):
        return bool(self.host.docker("images", "--quiet", image))

    def leftovers(self):
        """The containers of builds."""
        return self.host.docker("ps", "--all", "--quiet", f"--filter=label={image_labels.BUILDING}=1").split()

    def wait_for(self, log, text):
        self.host.run("timeout", "300", "sh", "-c", f"until grep -qsF '{text}' {log}; do sleep 0.02; done")

    def stop(self, signal):
        """A signal to the build that runs."""
        self.host.run("sh", "-c", f"kill -{signal} $(cat {BUILD['directory']}/lock)")

    def derive(self, name, *instructions):
        """Make an image of a Docker file without a context."""
        text = "\n".join(instructions)
        self.host.run("sh", "-c", f"docker build --quiet --tag {name} - <<'END'\n{text}\nEND")


@pytest.fixture(scope="module")
def builder(testbed, engine, tmp_path_factory):
    return Builder(parts.Materials(testbed, engine, tmp_path_factory.mktemp("materials")))


@pytest.fixture(scope="module")
def built(builder):
    """The result of building each level."""
    recipes = {level: builder.materials.recipe(level) for level in LEVELS}
    return {level: dict(builder.build(made), recipe=made) for level, made in recipes.items()}


@pytest.mark.parametrize("level", LEVELS)
def test_an_image_is_what_its_label_says(builder, built, level):
    result = built[level]
    assert result["changed"] and result["image"] == result["recipe"]["image"], result
    assert builder.host.docker("image", "inspect", "--format={{.Id}}", result["image"]).strip() == result["id"]
    said = image_labels.read(builder.labels(result["image"]))
    assert said["level"] == level and said["recipe"] == result["recipe"]["digest"] and said["tensorrt"] is None
    shown = parts.instructions(builder.host, result["image"], builder.materials.bases["debian:12-compilers"])
    assert parts.level_of(shown) == level
    if set(said["cpu_flags"]) <= HERE and "avx512f" in HERE:
        assert result["started_once"] and result["proof"]["conclusive"] and result["proof"]["unused"] == UNUSED[level]


def test_the_second_time_nothing_is_built(builder, built):
    for result in built.values():
        again = builder.build(result["recipe"])
        assert not again["changed"] and again["id"] == result["id"] and again["build"] is None
        present = builder.present(recipe=result["recipe"], capabilities=parts.capabilities("x86-64-v4"))
        assert not present["changed"] and present["started_once"]


def test_check_mode_says_what_would_be_built(builder):
    made = builder.materials.recipe("x86-64-v3", "CHECKED")
    result = builder.build(made, check=True)
    assert (
        result["changed"] and result["actions"] == [f"build {made['image']}"] and "absent" in result["diff"]["before"]
    )
    assert not builder.has(made["image"])


def test_an_engine_that_does_not_answer_is_one_clear_line(builder):
    result = builder.host.module("serving_image", state="pruned", engine_socket="/nowhere.sock")
    assert result["failed"] and "unix:///nowhere.sock: connect: no container engine answers" in result["msg"]


def test_sources_that_are_not_the_commits_are_not_built(builder):
    result = builder.build(builder.materials.recipe("x86-64-v3", tree="0" * 40))
    assert result["failed"] and "the checksum of their files is" in result["msg"]


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_a_stopped_build_leaves_its_work_and_nothing_else(builder, signal):
    made, progress = builder.materials.recipe("x86-64-v3", signal), f"/srv/progress-{signal}"
    log = parts.log_of(BUILD["directory"], made)
    process = builder.start(made, jobs=1, progress=progress)
    builder.wait_for(log, "[3 / 8]")
    builder.stop(signal)
    process.communicate(timeout=300)
    if signal == "TERM":
        assert builder.host.run("cat", f"{BUILD['directory']}/lock") == ""
    until(lambda: not builder.leftovers())
    assert not builder.has(made["image"])
    result = builder.build(made, progress=progress)
    assert result["started_once"], result
    there, taken = parts.counted(builder.host.run("cat", log))
    assert taken[-1] >= there[0] >= 3, (there, taken)
    assert builder.host.run("cat", f"{BUILD['directory']}/lock") == ""
    assert set(builder.host.run("ls", BUILD["directory"]).split()) <= {"lock", "logs", "sources", "bazel-cache"}
    shown = builder.host.run("cat", progress)
    assert f"full output: {log}" in shown and re.search(r"devel: step \d+ of \d+: \d+ %, \d of 8 actions", shown), shown


@pytest.mark.soak
def test_a_build_that_is_killed_at_any_moment(builder, seed):
    dice = random.Random(seed)
    made = builder.materials.recipe("x86-64-v2", f"MOMENT_{seed}")
    for signal in dice.sample(["KILL", "TERM"] * 3, 5):
        process, moment = builder.start(made, jobs=1), dice.uniform(0.5, 12)
        time.sleep(moment)
        if process.poll() is None:
            builder.host.run("pkill", f"-{signal}", "-f", "plugins.modules.serving_image", check=False)
        process.communicate(timeout=300)
        until(lambda: not builder.leftovers())
        if builder.has(made["image"]):
            assert (
                process.returncode == 0 and image_labels.read(builder.labels(made["image"]))["recipe"] == made["digest"]
            ), f"{signal} at {moment:.1f} s"
    result = builder.build(made)
    assert not result.get("failed") and result["started_once"], result
    assert not builder.build(made)["changed"]
    there, taken = parts.counted(builder.host.run("cat", parts.log_of(BUILD["directory"], made)))
    assert not taken or taken[-1] >= max(there[:-1], default=0), (there, taken)


def test_out_of_memory_is_tried_again_with_fewer_jobs(builder):
    """The kernel kills the compiler where memory runs out; here somebody else does, with the same signal."""
    process = builder.start(builder.materials.recipe("x86-64-v3", "OOM"), jobs=2)
    builder.host.run("timeout", "300", "sh", "-c", "until pkill -KILL -f '[c]c1plus .*OOM=1'; do sleep 0.02; done")
    result = module_result(process)
    assert result["started_once"] and result["build"]["jobs"] == 1, result
    assert "ran out of memory and continues with 1 jobs" in result["build"]["notes"][0]


def test_an_image_of_a_higher_level_is_refused_by_its_label(builder, built):
    result = builder.present(recipe=built["x86-64-v4"]["recipe"], capabilities=parts.capabilities("x86-64-v3"))
    assert (
        result["failed"]
        and "needs avx512bw" in result["msg"]
        and "Build the image of this host's class" in result["msg"]
    )


def test_without_its_label_it_is_caught_by_its_signal(builder, built):
    """qemu-user is a CPU without AVX-512, on which the server really dies."""
    bases = builder.materials.bases
    builder.derive(
        "unlabelled:v4",
        f"FROM {bases['debian:12-compilers']} AS compilers",
        f"FROM {built['x86-64-v4']['image']} AS v4",
        f"FROM {bases['debian:12-small']}",
        "COPY --from=compilers /usr/bin/qemu-x86_64-static /usr/bin/",
        "COPY --from=v4 /usr/bin/tensorflow_model_server /usr/bin/",
        "RUN echo '#!/bin/sh' >/run.sh && echo 'qemu-x86_64-static -cpu Haswell /usr/bin/tensorflow_model_server; exit $?' >>/run.sh && chmod 755 /run.sh",
        'ENTRYPOINT ["/run.sh"]',
    )
    result = builder.present(image="unlabelled:v4", capabilities=parts.capabilities("x86-64-v3"))
    assert (
        result["failed"]
        and "the image was built for another CPU" in result["msg"]
        and "illegal instruction (exit status 132)" in result["msg"]
    )


def test_an_image_that_does_not_do_what_its_label_says_is_refused(builder, built):
    builder.derive("liar:v2", f"FROM {built['x86-64-v2']['image']}", f"LABEL {image_labels.PREFIX}cpu_flags=avx2,fma")
    result = builder.present(image="liar:v2")
    builder.host.docker("rmi", "liar:v2")
    assert result["failed"] and "its server leaves avx2, fma unused" in result["msg"]


def test_the_log_of_a_container_says_what_its_server_uses(builder, built):
    container = builder.host.docker("run", "--detach", built["x86-64-v3"]["image"]).strip()
    try:
        until(lambda: builder.host.module("server_log_info", container=container)["conclusive"])
        result = builder.host.module("server_log_info", container=container)
        assert result["cpu_flags"] == sorted({"avx512f"} & HERE) and result["exit_status"] is None
    finally:
        builder.host.docker("rm", "--force", container)


def test_an_image_travels_as_an_archive_and_old_ones_are_pruned(builder, built):
    result, archive, host = built["x86-64-v2"], "/srv/archive", builder.host
    written = builder.build(result["recipe"], archive=archive)
    assert written["changed"] and written["build"] is None and len(written["files"]) == 2
    host.docker("create", "--name=user", built["x86-64-v3"]["image"])
    pruned = host.module("serving_image", state="pruned", keep=[built["x86-64-v4"]["image"]])
    host.docker("rm", "user")
    assert result["image"] in pruned["removed"] and not {
        built["x86-64-v3"]["image"],
        built["x86-64-v4"]["image"],
    } & set(pruned["removed"])
    host.run("cp", f"{archive}/part-00000", "/srv/whole")
    host.run("truncate", "--size=-1", f"{archive}/part-00000")
    refused = builder.present(recipe=result["recipe"], archive=archive)
    assert refused["failed"] and "part-00000" in refused["msg"] and not builder.has(result["image"])
    host.run("cp", "/srv/whole", f"{archive}/part-00000")
    brought = builder.present(recipe=result["recipe"], archive=archive)
    assert brought["changed"] and brought["id"] == result["id"] and brought["proof"]["conclusive"], brought
    assert host.run("sh", "-c", f"ls {archive} 2>/dev/null || true") == ""
    assert result["image"] in host.module("serving_image_info")["names"]
