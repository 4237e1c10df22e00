# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images built on a real engine from a small source tree: what is in them, what is refused, what a killed build leaves, what the next one takes from it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels
from ansible_collections.tfserving.fleet.tests.docker import image_parts as parts
from ansible_collections.tfserving.fleet.tests.docker.testbed import images

pytestmark = pytest.mark.alone

BUILD = {"memory_per_job_mib": 256, "memory_reserve_mib": 256, "disk_mib": 1000}
LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
UNUSED = {"x86-64-v2": ["AVX2", "AVX512F", "FMA"], "x86-64-v3": ["AVX512F"], "x86-64-v4": []}
HERE = set(next(line for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if line.startswith("flags")).split())


@pytest.fixture(scope="module")
def bases(engine):
    """The two base images of the small tree, by the names in its Docker files."""
    return {"debian:12-compilers": parts.compilers(engine).tags[0], "debian:12-small": parts.small(engine).tags[0]}


@pytest.fixture(scope="module")
def work(engine, tmp_path_factory):
    """A directory for sources and builds; what was built goes with it."""
    yield tmp_path_factory.mktemp("images")
    for image in engine.images.list(filters={"label": image_labels.RECIPE}) + engine.images.list(filters={"label": f"{image_labels.STAGE}=base"}):
        engine.images.remove(image.id, force=True)


@pytest.fixture(scope="module")
def sources(work):
    return parts.packed_sources(work)


@pytest.fixture(scope="module")
def built(engine, work, sources, bases):
    """The result of building each level."""
    recipes = {level: parts.recipe_of(level, sources, bases) for level in LEVELS}
    return {level: dict(parts.run("serving_image", state="built", recipe=made, directory=str(work / "build"), **BUILD), recipe=made)
            for level, made in recipes.items()}


def leftovers(engine):
    return engine.containers.list(all=True, ignore_removed=True, filters={"label": f"{image_labels.BUILDING}=1"})


def another(sources, bases, word):
    """A recipe whose objects no cache has yet."""
    return parts.recipe_of("x86-64-v3", sources, bases, table.LEVEL_OPTIONS["x86-64-v3"] + f" --copt=-D{word}=1")


def wait_for(path, text, timeout_s=120):
    end = time.monotonic() + timeout_s
    while not (path.exists() and text in path.read_text(encoding="utf-8")):
        assert time.monotonic() < end, f"{text!r} never came into {path}"
        time.sleep(0.05)


@pytest.mark.parametrize("level", LEVELS)
def test_an_image_is_what_its_label_says(engine, built, level):
    told = built[level]
    assert told["changed"] and told["image"] == told["recipe"]["image"], told
    image = engine.images.get(told["image"])
    assert image.id == told["id"]
    said = image_labels.read(image.labels)
    assert said["level"] == level and said["recipe"] == told["recipe"]["digest"] and said["tensorrt"] is None
    runs_here = set(said["cpu_flags"]) <= HERE
    shown = [parts.instructions(engine, image, symbol) for symbol in ("kernel", "integers")]
    assert parts.level_of("\n".join(shown)) == level
    if runs_here and "avx512f" in HERE:
        assert told["started_once"] and told["proof"]["conclusive"] and told["proof"]["unused"] == UNUSED[level]


def test_the_second_time_nothing_is_built(built, work):
    for told in built.values():
        again = parts.run("serving_image", state="built", recipe=told["recipe"], directory=str(work / "build"), **BUILD)
        assert not again["changed"] and again["id"] == told["id"] and again["build"] is None
        present = parts.run("serving_image", recipe=told["recipe"], capabilities=parts.capabilities("x86-64-v4"))
        assert not present["changed"] and present["started_once"]


def test_check_mode_says_what_would_be_built(engine, sources, bases, work):
    made = another(sources, bases, "CHECKED")
    told = parts.run("serving_image", state="built", recipe=made, directory=str(work / "build"), check=True)
    assert told["changed"] and told["actions"] == [f"build {made['image']}"] and "absent" in told["diff"]["before"]
    assert not engine.images.list(made["image"])


def test_an_engine_that_does_not_answer_is_one_clear_line():
    told = parts.run("serving_image", state="pruned", engine_socket="/nowhere.sock")
    assert told["failed"] and "unix:///nowhere.sock: connect: no container engine answers" in told["msg"]


def test_sources_that_are_not_the_commits_are_not_built(sources, bases, work):
    made = parts.recipe_of("x86-64-v3", dict(sources, tree="0" * 40), bases)
    told = parts.run("serving_image", state="built", recipe=made, directory=str(work / "build"), **BUILD)
    assert told["failed"] and "the checksum of their files is" in told["msg"]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_stopped_build_leaves_its_work_and_nothing_else(engine, sources, bases, work, how):
    made = another(sources, bases, how)
    log = work / "build" / "logs" / f"{made['image'].rpartition(':')[2]}.log"
    process = parts.start("serving_image", state="built", recipe=made, directory=str(work / "build"), jobs=1, **BUILD)
    wait_for(log, "[3 / 8]")
    lock = work / "build" / "lock"
    os.kill(int(lock.read_text(encoding="ascii")), getattr(signal, how))
    process.wait(60)
    assert how == "SIGKILL" or lock.read_text(encoding="ascii") == ""
    end = time.monotonic() + 30
    while leftovers(engine):
        assert time.monotonic() < end, "containers of the build are left"
        time.sleep(0.1)
    assert not engine.images.list(made["image"])
    told = parts.run("serving_image", state="built", recipe=made, directory=str(work / "build"), **BUILD)
    assert told["started_once"], told
    hits = int(log.read_text(encoding="utf-8").rpartition("processes: ")[2].split()[0])
    assert hits >= 3


def test_out_of_memory_is_tried_again_with_fewer_jobs(sources, bases, work):
    """The kernel kills the compiler where memory runs out; here somebody else does, with the same signal."""
    made = another(sources, bases, "OOM")
    log = work / "build" / "logs" / f"{made['image'].rpartition(':')[2]}.log"
    process = parts.start("serving_image", state="built", recipe=made, directory=str(work / "build"), jobs=2, **BUILD)
    wait_for(log, "Compiling with 2 jobs")
    killed = False
    while not killed:
        for found in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = found.read_bytes()
                if b"cc1plus\0" in command and b"OOM=1" in command:
                    os.kill(int(found.parent.name), signal.SIGKILL)
                    killed = True
        assert process.poll() is None
    told = parts.result(process)
    assert told["started_once"] and told["build"]["jobs"] == 1, told
    assert "ran out of memory and goes on with 1 jobs" in told["build"]["notes"][0]


def test_an_image_of_a_higher_level_is_refused_by_its_label(built):
    told = parts.run("serving_image", recipe=built["x86-64-v4"]["recipe"], capabilities=parts.capabilities("x86-64-v3"))
    assert told["failed"] and "needs avx512bw" in told["msg"] and "Build the image of this host's own class" in told["msg"]


def test_without_its_label_it_is_caught_by_its_signal(engine, built, bases):
    """qemu-user is a CPU without AVX-512, on which the server really dies."""
    image = images._build(engine, "tfserving-testbed/unlabelled:v4", None, engine.images.get(bases["debian:12-small"]), files={"Dockerfile": (
        f"ARG BASE\nFROM {bases['debian:12-compilers']} AS compilers\nFROM {built['x86-64-v4']['image']} AS v4\nFROM $BASE\n"
        "COPY --from=compilers /usr/bin/qemu-x86_64-static /usr/bin/\nCOPY --from=v4 /usr/bin/tensorflow_model_server /usr/bin/\n"
        "RUN echo '#!/bin/sh' >/run.sh && echo 'qemu-x86_64-static -cpu Haswell /usr/bin/tensorflow_model_server; exit $?' >>/run.sh && chmod 755 /run.sh\n"
        'ENTRYPOINT ["/run.sh"]\n').encode()})
    try:
        told = parts.run("serving_image", image=image.tags[0], capabilities=parts.capabilities("x86-64-v3"))
        assert told["failed"] and "it was built for another CPU than this host's" in told["msg"] and "illegal instruction (exit status 132)" in told["msg"]
    finally:
        engine.images.remove(image.id, force=True)


def test_an_image_that_does_not_do_what_its_label_says_is_refused(engine, built):
    liar = images.derived(engine, engine.images.get(built["x86-64-v2"]["image"]), f"LABEL {image_labels.PREFIX}cpu_flags=avx2,fma")
    try:
        told = parts.run("serving_image", image=liar.tags[0])
        assert told["failed"] and "its server leaves avx2, fma unused" in told["msg"]
    finally:
        engine.images.remove(liar.id, force=True)


def test_the_log_of_a_container_tells(engine, built):
    container = engine.containers.run(built["x86-64-v3"]["image"], detach=True)
    try:
        end = time.monotonic() + 20
        while not parts.run("server_log_info", container=container.id)["conclusive"]:
            assert time.monotonic() < end
        told = parts.run("server_log_info", container=container.id)
        assert told["cpu_flags"] == sorted({"avx512f"} & HERE) and told["exit_status"] is None
    finally:
        container.remove(force=True)


def test_an_image_travels_as_an_archive_and_old_ones_are_pruned(engine, built, work):
    told = built["x86-64-v2"]
    archive = str(work / "archive")
    written = parts.run("serving_image", state="built", recipe=told["recipe"], archive=archive, directory=str(work / "build"), **BUILD)
    assert written["changed"] and written["build"] is None and len(written["files"]) == 2
    container = engine.containers.create(built["x86-64-v3"]["image"])
    try:
        pruned = parts.run("serving_image", state="pruned", keep=[built["x86-64-v4"]["image"]])
    finally:
        container.remove(force=True)
    assert told["image"] in pruned["removed"] and not {built["x86-64-v3"]["image"], built["x86-64-v4"]["image"]} & set(pruned["removed"])
    damaged = pathlib.Path(archive) / "part-00000"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    refused = parts.run("serving_image", recipe=told["recipe"], archive=archive)
    assert refused["failed"] and "part-00000" in refused["msg"] and not engine.images.list(told["image"])
    damaged.write_bytes(content)
    brought = parts.run("serving_image", recipe=told["recipe"], archive=archive)
    assert brought["changed"] and brought["id"] == told["id"] and brought["proof"]["conclusive"], brought
    assert not pathlib.Path(archive).exists()
    assert told["image"] in parts.run("serving_image_info")["names"]
