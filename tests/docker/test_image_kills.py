# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is killed while an image is built, pushed, packed, sent, pulled or loaded: no half image is used, and the next run goes on from there.

The moments are drawn by chance; KILLS_SEED=n draws those of an earlier run again.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels
from ansible_collections.tfserving.fleet.tests.docker import image_parts as parts
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import PREFIX, key_of

pytestmark = pytest.mark.alone

SEED = int(os.environ.get("KILLS_SEED") or time.time())
BUILD = {"jobs": 1, "memory_per_job_mib": 256, "memory_reserve_mib": 256, "disk_mib": 1000}
BALLAST_MIB = 52  # so that an archive has several parts, and a push and a pull take a while
STATE = "/var/lib/tfserving"
OURS = f"docker images --quiet --filter label={image_labels.RECIPE}"


@pytest.fixture(scope="module")
def dice():
    print(f"KILLS_SEED={SEED}")
    return random.Random(SEED)


def heavy(engine):
    """The small base image with much in it that does not compress."""
    below, text = parts.small(engine), f"ARG BASE\nFROM $BASE\nRUN dd if=/dev/urandom of=/ballast bs=1M count={BALLAST_MIB}\n"
    return images._build(engine, f"{PREFIX}/heavy:{key_of(below.id, text)}", None, below, files={"Dockerfile": text.encode()})


def recipe_of(sources, bases, word):
    return parts.recipe_of("x86-64-v2", sources, bases, table.LEVEL_OPTIONS["x86-64-v2"] + f" --copt=-DKILLS_{word}={SEED}")


def counted(log):
    """(how many objects were there before each of the builds in a log ended or was killed, what each of those that linked took from the cache)."""
    builds = log.split("Compiling with ")[1:]
    return ([len(set(re.findall(r"\[(\d+) / 8\] Compiling", build))) for build in builds],
            [int(found) for build in builds for found in re.findall(r"processes: (\d+) remote", build)])


def test_a_build_that_is_killed_at_any_moment(engine, dice, tmp_path):
    """SIGKILL and SIGTERM to the module on this machine."""
    bases = {"debian:12-compilers": parts.compilers(engine).tags[0], "debian:12-small": parts.small(engine).tags[0]}
    sources = parts.packed_sources(tmp_path)
    directory = tmp_path / "build"
    made = recipe_of(sources, bases, "module")
    log = directory / "logs" / f"{made['image'].rpartition(':')[2]}.log"

    def start():
        return parts.start("serving_image", state="built", recipe=made, directory=str(directory), progress=str(directory / "progress"), **BUILD)

    def left():
        return engine.containers.list(all=True, ignore_removed=True, filters={"label": f"{image_labels.BUILDING}=1"})

    try:
        for how in dice.sample([signal.SIGKILL, signal.SIGTERM] * 3, 5):
            process, moment = start(), dice.uniform(0.5, 12)
            time.sleep(moment)
            process.send_signal(how)
            process.communicate(timeout=60)
            end = time.monotonic() + 30
            while left():
                assert time.monotonic() < end, f"containers are left after {how.name} at {moment:.1f} s"
                time.sleep(0.1)
            for image in engine.images.list(made["image"]):
                assert process.returncode == 0 and image_labels.read(image.labels)["recipe"] == made["digest"], f"{how.name} at {moment:.1f} s"
        done = parts.result(start())
        assert not done.get("failed") and done["started_once"], done
        assert not [name for name in os.listdir(directory) if name not in ("lock", "logs", "sources", "bazel-cache", "progress")]
        assert not parts.result(start())["changed"]
        assert (directory / "lock").read_text(encoding="ascii") == ""
        told = (directory / "progress").read_text(encoding="utf-8")
        assert f"all its output is in {log}" in told
        if log.exists():
            assert re.search(r"devel: step \d+ of \d+: \d+ %, \d of 8 actions", told), told
            there, taken = counted(log.read_text(encoding="utf-8"))
            assert not taken or taken[-1] >= max(there[:-1], default=0), (there, taken)
    finally:
        for image in engine.images.list(filters={"label": f"{image_labels.RECIPE}={made['digest']}"}):
            engine.images.remove(image.id, force=True)


class Pair:
    """A builder and a host that wants what it builds."""

    def __init__(self, testbed, engine, directory):
        self.builder, self.target = testbed.hosts({"killed": {}, "wanting": {}})
        self.registry = testbed.registry
        archive = directory / "heavy.tar"
        with open(archive, "wb") as stream:
            stream.writelines(heavy(engine).save(named=True))
        self.builder.put(archive, "/srv/heavy.tar")  # loaded and not pulled: an engine does not push again what it pulled from the same registry
        self.builder.docker("load", "--quiet", "--input", "/srv/heavy.tar")
        self.sources = dict(parts.packed_sources(directory), archive="/srv/sources.tar.gz")
        for host in (self.builder, self.target):
            host.put(directory / "sources.tar.gz", "/srv/sources.tar.gz")
        self.bases = {"debian:12-compilers": testbed.reference(parts.compilers(engine)), "debian:12-small": testbed.reference(parts.small(engine))}
        self.recipe = recipe_of(self.sources, dict(self.bases, **{"debian:12-small": heavy(engine).tags[0]}), "pair")
        self.tag = self.recipe["image"].rpartition(":")[2]
        self.parts = f"{self.recipe['digest'][:12]}"
        self.controller = directory / "controller"
        self.playbook = directory / "play.yml"
        self.playbook.write_text(json.dumps([{
            "hosts": "all", "gather_facts": False,
            "vars": {"recipe": self.recipe, "tfs_image_recipe": "{{ none if inventory_hostname == 'killed' else recipe }}", "tfs_image_builders": ["killed"],
                     "tfs_image_build": BUILD, "tfs_image_controller_directory": str(self.controller)},
            "roles": ["tfserving.fleet.tfs_image"]}]), encoding="utf-8")

    def names(self, host):
        return [line for line in host.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() if line.startswith("tfserving-fleet/serving:")]

    def log(self):
        return self.builder.run("sh", "-c", f"cat {STATE}/build/logs/{self.tag}.log 2>/dev/null || true")

    def wait(self, host, condition, timeout_s=300):
        """Until a shell's condition holds on a host; asked there, so that it is seen at once."""
        host.run("timeout", str(timeout_s), "sh", "-c", f"until {condition}; do sleep 0.02; done >/dev/null 2>&1")

    def wait_in_registry(self, condition, timeout_s=300):
        status, output = self.registry.container.exec_run(["timeout", str(timeout_s), "sh", "-c", f"until {condition}; do sleep 0.02; done"])
        assert status == 0, output

    def forget(self):
        self.target.run("sh", "-c", f"{OURS} | xargs -r docker rmi --force")


@pytest.fixture(scope="module")
def pair(testbed, engine, tmp_path_factory):
    return Pair(testbed, engine, tmp_path_factory.mktemp("pair"))


@pytest.fixture()
def run(pair, play):
    return lambda *arguments: play(pair.playbook, [pair.builder, pair.target], *arguments)


def test_a_builder_whose_engine_dies(pair, run, dice):
    """While it compiles, twice; in the second Docker file; as the server is started once. Then the registry while it is pushed to, and the host's engine."""
    log, image = f"{STATE}/build/logs/{pair.tag}.log", [pair.recipe["image"]]

    def to(path):
        return "-e", f"tfserving_image_registry={pair.registry.address}/kills-{SEED}-{path}"

    def die(condition, within_s):
        play = run(*to("a"))
        pair.wait(pair.builder, condition)
        time.sleep(dice.uniform(0, within_s))
        pair.builder.stop_engine(kill=True)
        assert "does not answer any more" in play.fail().output
        pair.builder.start_engine()
        assert pair.names(pair.target) == []
        return pair.names(pair.builder)

    for count in sorted(dice.sample(range(1, 7), 2)):
        assert die(f"grep -qF '[{count} / 8]' {log}", 0.5) == []
    ended = pair.log().count("Successfully built")
    assert die(f"[ \"$(grep -c 'Successfully built' {log})\" -ge {ended + 2} ]", 0.5) == []
    there, taken = counted(pair.log())
    assert taken[-1] >= max(there[:-1]), (there, taken)
    assert die(f"[ -n \"$(docker ps --all --quiet --filter label={image_labels.PREFIX}probe)\" ]", 0.2) in ([], image)
    steps = pair.log().count("Step ")

    for path in ("b", "c"):
        play, layers = run(*to(path)), f"/var/lib/registry/docker/registry/v2/repositories/kills-{SEED}-{path}/tfserving-fleet/serving"
        pair.wait_in_registry(f"[ -n \"$(ls {layers}/_layers/sha256 {layers}/_uploads 2>/dev/null)\" ]")
        time.sleep(dice.uniform(0, 0.7))
        pair.registry.container.kill()
        pair.registry.container.start()
        ended = play.wait()
        assert pair.names(pair.builder) == image and pair.names(pair.target) == ([] if ended else image)
        pair.forget()
    assert pair.log().count("Step ") == steps, "what was built was built again"

    for _again in range(2):
        play = run(*to("c"))
        play.wait_for("TASK.*Bring the image to the host")
        time.sleep(dice.uniform(0.5, 4))
        pair.target.stop_engine(kill=True)
        ended = play.wait()
        pair.target.start_engine()
        assert pair.names(pair.target) == ([] if ended else image)
        pair.forget()
    run(*to("c")).succeed()
    assert pair.names(pair.target) == pair.names(pair.builder) == image
    assert pair.log().count("Step ") == steps, "what was built was built again"
    assert {counts["changed"] for counts in run(*to("c")).succeed().recap.values()} == {0}


def test_an_archive_that_is_interrupted(pair, run, dice):
    """The builder's engine as it packs, the controller as it fetches and as it sends, the host's engine as it loads."""
    arrived, received = pair.controller / pair.parts, f"{STATE}/received/{pair.parts}"
    pair.forget()
    play = run()
    pair.wait(pair.builder, f"ls -d {STATE}/images/.tfserving-staging-*/part-00000")
    time.sleep(dice.uniform(0, 0.3))
    pair.builder.stop_engine(kill=True)
    ended = play.wait()
    pair.builder.start_engine()
    assert pair.names(pair.target) == ([] if ended else [pair.recipe["image"]])
    if not ended:  # It was packed before its engine died; what follows begins as if nothing had been sent.
        pair.forget()
        pair.target.run("rm", "-rf", received)
        shutil.rmtree(arrived)
    steps = pair.log().count("Step ")

    play = run()
    wanted = dice.randrange(1, 4)
    while not arrived.exists() or len([name for name in os.listdir(arrived) if name.startswith("part-")]) < wanted:
        assert play.process.poll() is None, play.output[-3000:]
        time.sleep(0.01)
    play.kill()
    kept = {path.name: path.stat().st_mtime_ns for path in sorted(arrived.iterdir())[:wanted - 1]}

    for wanted in (1, dice.randrange(2, 4)):
        play = run()
        pair.wait(pair.target, f"[ \"$(ls {received} 2>/dev/null | grep -c part-)\" -ge {wanted} ]")
        time.sleep(dice.uniform(0, 0.3))
        play.kill()
        assert pair.names(pair.target) == []
        assert not kept.keys() or {name: (arrived / name).stat().st_mtime_ns for name in kept} == kept, "parts were fetched again"
    sent = pair.target.run("sh", "-c", f"cd {received} && stat -c '%n %i' part-* | head -1").strip()

    for _again in range(2):
        play = run()
        play.wait_for("TASK.*Bring the image to the host")
        time.sleep(dice.uniform(0.5, 4))
        pair.target.stop_engine(kill=True)
        ended = play.wait()
        pair.target.start_engine()
        assert bool(pair.names(pair.target)) == (ended == 0)
        if ended and sent:
            assert sent in pair.target.run("sh", "-c", f"cd {received} && stat -c '%n %i' part-*"), "parts were sent again"
        elif not ended:
            sent = None
            pair.forget()
    run().succeed()
    assert pair.names(pair.target) == [pair.recipe["image"]]
    assert pair.log().count("Step ") == steps, "what was built was built again"
    again = run().succeed()
    assert {counts["changed"] for counts in again.recap.values()} == {0}


def test_builders_that_are_not_there(pair, run):
    """None, outside of the limit, unreachable; one named twice that serves as well. Whoever is left builds the image, once, for two plays at once."""
    made = recipe_of(pair.sources, pair.bases, "builders")
    compiling = f"cat {STATE}/build/logs/{made['image'].rpartition(':')[2]}.log 2>/dev/null | grep -c 'Compiling with' || true"

    def asked(builders):
        return "-e", json.dumps({"recipe": made, "tfs_image_recipe": made, "tfs_image_builders": builders,
                                 "tfs_image_registry": f"{pair.registry.address}/builders-{SEED}"})

    told = run(*asked([])).fail().output
    assert f"the image {made['image']} is to be built and there is no builder" in told
    told = run(*asked(["killed", "nobody"]), "--limit", "wanting").fail().output
    assert "none of its builders (killed, nobody) is among the hosts that this play reaches" in told
    pair.builder.cut_off()
    try:
        both = [run(*asked(["killed", "wanting", "killed"])) for _play in range(2)]
        for play in both:
            assert play.wait() == 4, play.output[-3000:]
            assert play.recap["killed"]["unreachable"] == 1 and play.recap["wanting"]["failed"] == 0
    finally:
        pair.builder.reconnect()
    assert made["image"] in pair.names(pair.target)
    run(*asked(["killed", "wanting"])).succeed()
    assert made["image"] in pair.names(pair.builder)
    assert [int(host.run("sh", "-c", compiling)) for host in (pair.builder, pair.target)] == [0, 1]
