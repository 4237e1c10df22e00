# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is killed while an image is built, pushed, packed, sent, pulled or loaded: no half image is used, and the next run goes on from there.

The ordinary tests kill at each stage once. Those of soak do it again and again, at moments drawn from the seed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
import uuid

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels
from ansible_collections.tfserving.fleet.tests.docker import image_parts as parts

BUILD = {"jobs": 1, "memory_per_job_mib": 256, "memory_reserve_mib": 256, "disk_mib": 1000}
BALLAST_MIB = 52  # so that an archive has several parts, and a push and a pull take a while
HEAVY = "heavy:1"
STATE = "/var/lib/tfserving"
ROUNDS = pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.soak)])


class Pair:
    """A builder and a host that wants what it builds."""

    def __init__(self, testbed, engine, directory):
        self.materials, self.registry = parts.Materials(testbed, engine, directory), testbed.registry
        self.builder, self.target = self.materials.builders("killed", "wanting")
        # Made here and not pulled: an engine does not push again what it pulled from the same registry.
        self.builder.run(
            "sh",
            "-c",
            f"docker build --quiet --tag {HEAVY} - <<'END'\nFROM {self.materials.bases['debian:12-small']}\n"
            f"RUN dd if=/dev/urandom of=/ballast bs=1M count={BALLAST_MIB}\nEND",
        )
        self.repositories = f"kills-{uuid.uuid4().hex[:12]}"  # what was pushed to a registry stays from run to run
        self.controller = directory / "controller"
        self.playbook = directory / "play.yml"
        self.playbook.write_text(
            json.dumps(
                [
                    {
                        "hosts": "all",
                        "gather_facts": False,
                        "vars": {
                            "tfs_image_recipe": "{{ none if inventory_hostname == 'killed' else recipe }}",
                            "tfs_image_builders": ["killed"],
                            "tfs_image_build": BUILD,
                            "tfs_image_controller_directory": str(self.controller),
                        },
                        "roles": ["tfserving.fleet.tfs_image"],
                    }
                ]
            ),
            encoding="utf-8",
        )

    def names(self, host):
        return [
            line
            for line in host.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
            if line.startswith("tfserving-fleet/serving:")
        ]

    def wait(self, host, condition, timeout_s=300):
        """Until a shell's condition holds on a host; asked there, so that it is seen at once."""
        host.run("timeout", str(timeout_s), "sh", "-c", f"until {condition}; do sleep 0.02; done >/dev/null 2>&1")

    def wait_in_registry(self, condition, timeout_s=300):
        status, output = self.registry.container.exec_run(
            ["timeout", str(timeout_s), "sh", "-c", f"until {condition}; do sleep 0.02; done"]
        )
        assert status == 0, output

    def forget(self):
        """Remove our images from the host that wants them."""
        self.target.run(
            "sh", "-c", f"docker images --quiet --filter label={image_labels.RECIPE} | xargs -r docker rmi --force"
        )


class Image:
    """An image that the builder builds, and runs of the playbook for it."""

    def __init__(self, pair, play, word, bases=None):
        """word: what makes it differ from others. bases: other base images."""
        self.pair, self._play, self.made = pair, play, pair.materials.recipe("x86-64-v2", word, bases)
        self.name, self.path = self.made["image"], parts.log_of(f"{STATE}/build", self.made)

    def run(self, *arguments, registry=None, **variables):
        given = dict(variables, recipe=self.made)
        if registry:
            given["tfs_image_registry"] = f"{self.pair.registry.address}/{self.pair.repositories}-{registry}"
        return self._play(
            self.pair.playbook, [self.pair.builder, self.pair.target], "-e", json.dumps(given), *arguments
        )

    def log(self):
        return self.pair.builder.run("sh", "-c", f"cat {self.path} 2>/dev/null || true")

    def steps(self):
        """How many steps of Docker files were run so far."""
        return self.log().count("Step ")

    def is_at(self, host):
        return self.name in self.pair.names(host)

    def is_there(self, ended):
        """Whether the host that wants it has it after a run with this exit status.

        After a run that failed it may: the engine can die once it has loaded the whole image.
        """
        there = self.is_at(self.pair.target)
        assert there or ended != 0, "the run passed without the image"
        return there


@pytest.fixture(scope="module")
def pair(testbed, engine, tmp_path_factory):
    return Pair(testbed, engine, tmp_path_factory.mktemp("pair"))


@pytest.fixture()
def image(pair, play, rounds):
    yield Image(pair, play, f"ROUNDS_{rounds}", {"debian:12-small": HEAVY})
    pair.forget()


def load_while_the_engine_dies(pair, image, dice, **where):
    """Kill the host's engine while the image comes to the host; return whether it came."""
    play = image.run(**where)
    play.wait_for("TASK.*Bring the image to the host")
    time.sleep(dice.uniform(0.5, 4))
    pair.target.stop_engine(kill=True)
    ended = play.wait()
    pair.target.start_engine()
    return image.is_there(ended)


@ROUNDS
def test_a_builder_whose_engine_dies(pair, image, seed, rounds):
    """While it compiles, and as the server is started once. Then the registry while it is pushed to, and the host's engine while it pulls."""
    dice = random.Random(seed)

    def die(condition, within_s):
        play = image.run(registry="a")
        pair.wait(pair.builder, condition)
        time.sleep(dice.uniform(0, within_s))
        pair.builder.stop_engine(kill=True)
        assert "no longer answers" in play.fail().output
        pair.builder.start_engine()
        assert not image.is_at(pair.target)
        return image.is_at(pair.builder)

    for count in sorted(dice.sample(range(1, 7), rounds)):
        assert not die(f"grep -qF '[{count} / 8]' {image.path}", 0.5)
    for _second_docker_file in range(rounds - 1):
        ended = image.log().count("Successfully built")
        assert not die(f"[ \"$(grep -c 'Successfully built' {image.path})\" -ge {ended + 2} ]", 0.5)
    die(f'[ -n "$(docker ps --all --quiet --filter label={image_labels.PREFIX}probe)" ]', 0.2)
    there, taken = parts.counted(image.log())
    assert taken[-1] >= max(there[:-1]), (there, taken)
    steps = image.steps()

    for number in range(rounds):
        layers = (
            f"/var/lib/registry/docker/registry/v2/repositories/{pair.repositories}-b{number}/tfserving-fleet/serving"
        )
        play = image.run(registry=f"b{number}")
        pair.wait_in_registry(f'[ -n "$(ls {layers}/_layers/sha256 {layers}/_uploads 2>/dev/null)" ]')
        time.sleep(dice.uniform(0, 0.7))
        pair.registry.restart()
        image.is_there(play.wait())
        assert image.is_at(pair.builder)
        pair.forget()
    assert image.steps() == steps, "what was built was built again"

    for _again in range(rounds):
        load_while_the_engine_dies(pair, image, dice, registry="c")
        pair.forget()
    image.run(registry="c").succeed()
    assert image.is_at(pair.target) and image.is_at(pair.builder)
    assert image.steps() == steps, "what was built was built again"
    assert {counts["changed"] for counts in image.run(registry="c").succeed().recap.values()} == {0}


@ROUNDS
def test_an_archive_that_is_interrupted(pair, image, seed, rounds):
    """The builder's engine as it packs, the controller as it fetches and as it sends, the host's engine as it loads."""
    dice = random.Random(seed)
    name = image.made["digest"][:12]
    arrived, received = pair.controller / name, f"{STATE}/received/{name}"
    play = image.run()
    pair.wait(pair.builder, f"ls -d {STATE}/images/.tfserving-staging-*/part-00000")
    time.sleep(dice.uniform(0, 0.3))
    pair.builder.stop_engine(kill=True)
    ended = play.wait()
    pair.builder.start_engine()
    if image.is_there(ended):  # It was packed before its engine died; what follows begins as if nothing had been sent.
        pair.forget()
        pair.target.run("rm", "-rf", received)
        shutil.rmtree(arrived)
    steps = image.steps()

    play = image.run()
    wanted = dice.randrange(1, 4)
    while not arrived.exists() or len([name for name in os.listdir(arrived) if name.startswith("part-")]) < wanted:
        assert play.process.poll() is None, play.output[-3000:]
        time.sleep(0.01)
    play.kill()
    kept = {path.name: path.stat().st_mtime_ns for path in sorted(arrived.iterdir())[: wanted - 1]}

    for wanted in [1, *(dice.randrange(2, 4) for _more in range(rounds - 1))]:
        play = image.run()
        pair.wait(pair.target, f'[ "$(ls {received} 2>/dev/null | grep -c part-)" -ge {wanted} ]')
        time.sleep(dice.uniform(0, 0.3))
        play.kill()
        assert not image.is_at(pair.target)
        assert {name: (arrived / name).stat().st_mtime_ns for name in kept} == kept, "parts were fetched again"
    sent = pair.target.run("sh", "-c", f"cd {received} && stat -c '%n %i' part-* | head -1").strip()

    for _again in range(rounds):
        if load_while_the_engine_dies(pair, image, dice):
            sent = None
            pair.forget()
        else:
            assert not sent or sent in pair.target.run("sh", "-c", f"cd {received} && stat -c '%n %i' part-*"), (
                "parts were sent again"
            )
    image.run().succeed()
    assert image.is_at(pair.target)
    assert image.steps() == steps, "what was built was built again"
    assert {counts["changed"] for counts in image.run().succeed().recap.values()} == {0}


def test_builders_that_are_not_there(pair, play):
    """None, outside of the limit, unreachable; one named twice that serves as well. Whoever is left builds the image, once, for two plays at once."""
    image = Image(pair, play, "BUILDERS")
    compiling = f"cat {image.path} 2>/dev/null | grep -c 'Compiling with' || true"

    def run(builders, *arguments):
        return image.run(*arguments, registry="builders", tfs_image_recipe=image.made, tfs_image_builders=builders)

    assert f"cannot build the image {image.name!r}: no builder is set" in run([]).fail().output
    output = run(["killed", "nobody"], "--limit", "wanting").fail().output
    assert "none of the builders (killed, nobody) is reachable in this play" in output
    pair.builder.cut_off()
    try:
        both = [run(["killed", "wanting", "killed"]) for _play in range(2)]
        for one in both:
            assert one.wait() == 4, one.output[-3000:]
            assert one.recap["killed"]["unreachable"] == 1 and one.recap["wanting"]["failed"] == 0
    finally:
        pair.builder.reconnect()
    assert image.is_at(pair.target)
    run(["killed", "wanting"]).succeed()
    assert image.is_at(pair.builder)
    assert [int(host.run("sh", "-c", compiling)) for host in (pair.builder, pair.target)] == [0, 1]
