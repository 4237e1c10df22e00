# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of images build from: base images with a compiler and with next to nothing, and a small source tree with upstream's paths and arguments.

All is built on hosts of the testbed: nothing is built, removed or pruned on the engine of this machine.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import tarfile

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import X86_64_LEVELS
from ansible_collections.tfserving.fleet.plugins.module_utils._image import recipe
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import PREFIX, key_of

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE / "image_sources"
RELEASE = "2.20.0"
FLAGS_OF = {
    name: sorted(frozenset().union(*(flags for _level, flags in X86_64_LEVELS[: number + 1])))
    for number, (name, _flags) in enumerate(X86_64_LEVELS)
}
# What a level's vectors look like in a disassembly: of the highest level first.
SIGNS = {
    "x86-64-v4": re.compile(r"%zmm|%k[1-7]"),
    "x86-64-v3": re.compile(r"vfmadd|vpmulld .*%ymm"),
    "x86-64-v2": re.compile(r"\bpmulld|\bvpmulld"),
}
_BASES = """
ARG BASE
FROM $BASE AS compilers
RUN apt-get -qq update && cd /tmp \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends g++ busybox-static >/dev/null \
    && apt-get -qq download qemu-user-static && dpkg-deb --fsys-tarfile qemu-user-static_*.deb | tar -x -C / ./usr/bin/qemu-x86_64-static \
    && rm -rf /tmp/*.deb /var/lib/apt/lists /var/cache/apt /usr/share/doc /usr/share/man
"""
_SMALL = """
ARG BASE
FROM $BASE AS compilers
FROM scratch
COPY --from=compilers /bin/busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


def compilers(engine):
    """Debian with g++, busybox and qemu-user."""
    below = images.base(engine)
    return images.build(
        engine,
        f"{PREFIX}/compilers:{key_of(below.id, _BASES)}",
        None,
        below,
        files={"Dockerfile": _BASES.encode()},
        network_mode="host",
    )


def small(engine):
    """busybox and nothing else."""
    below = compilers(engine)
    return images.build(
        engine, f"{PREFIX}/small:{key_of(below.id, _SMALL)}", None, below, files={"Dockerfile": _SMALL.encode()}
    )


def packed_sources(directory):
    """{archive, commit, tree} of the small source tree, packed as GitHub packs one; commit and tree are git's own."""
    work = pathlib.Path(directory) / "work"
    subprocess.run(["cp", "-r", str(TREE), str(work)], check=True)
    known = {"NAME": "t", "EMAIL": "t@example.com", "DATE": "2026-01-01T00:00Z"}
    author = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in known.items()}
    git = ["git", "-C", str(work), "-c", "core.fileMode=true", "-c", "core.autocrlf=false"]
    for command in (["init", "-q"], ["add", "--force", "--all"], ["commit", "-q", "-m", "sources"]):
        subprocess.run([*git, *command], check=True, env={**os.environ, **author, "GIT_CONFIG_NOSYSTEM": "1"})
    commit, tree = subprocess.run(
        [*git, "rev-parse", "HEAD", "HEAD^{tree}"], check=True, capture_output=True, text=True
    ).stdout.split()
    archive = pathlib.Path(directory) / "sources.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(
            work,
            f"serving-{commit}",
            filter=lambda member: None if "/.git" in member.name and not member.name.endswith("bazelrc") else member,
        )
    return {"archive": str(archive), "commit": commit, "tree": tree}


def capabilities(level):
    """A host of a level, as far as the module asks."""
    return {"architecture": "x86_64", "cpu": {"level": level, "flags": FLAGS_OF[level]}, "gpus": []}


class Materials:
    """What hosts build from. bases: {base image in the Docker files: its reference}; sources: as a recipe has them."""

    def __init__(self, testbed, engine, directory):
        self._testbed, self._stock, self._packed = (
            testbed,
            compilers(engine),
            pathlib.Path(directory) / "sources.tar.gz",
        )
        self.bases = {
            "debian:12-compilers": testbed.reference(self._stock),
            "debian:12-small": testbed.reference(small(engine)),
        }
        self.sources = dict(packed_sources(directory), archive="/srv/sources.tar.gz")

    def builders(self, *names):
        """Hosts that have the sources and the compilers."""
        hosts = self._testbed.hosts(dict.fromkeys(names, {}), stock=self._stock)
        for host in hosts:
            host.put(self._packed, self.sources["archive"])
        return hosts

    def recipe(self, level, word=None, bases=None, **sources):
        """The recipe of a level; a word makes it another one, whose objects no cache has yet. bases, sources: other ones."""
        options = table.LEVEL_OPTIONS[level] + (f" --copt=-D{word}=1" if word else "")
        return recipe.recipe(
            RELEASE, level, options, base_images={**self.bases, **(bases or {})}, sources=dict(self.sources, **sources)
        )


def log_of(directory, made):
    """The path of a build's log."""
    return f"{directory}/logs/{made['image'].rpartition(':')[2]}.log"


def counted(log):
    """[how many objects were there when a build ended or was killed] of the builds in a log, [what each of those that linked took from the cache]."""
    builds = log.split("Compiling with ")[1:]
    return (
        [len(set(re.findall(r"\[(\d+) / 8\] Compiling", build))) for build in builds],
        [int(found) for build in builds for found in re.findall(r"processes: (\d+) remote", build)],
    )


def instructions(host, image, compilers_image):
    """The disassembly of two functions of the server in an image, on a host that has both images."""
    host.docker("create", "--name=holder", image)
    try:
        host.docker("cp", "holder:/usr/bin/tensorflow_model_server", "/tmp/tensorflow_model_server")
        return host.docker(
            "run",
            "--rm",
            "--volume=/tmp/tensorflow_model_server:/program",
            compilers_image,
            "sh",
            "-c",
            "for symbol in kernel integers; do objdump -d --disassemble=$symbol /program; done",
        )
    finally:
        host.docker("rm", "holder")


def level_of(text):
    """The level whose instructions a disassembly shows."""
    return next((level for level, sign in SIGNS.items() if sign.search(text)), "x86-64-v1")
