# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of images build from: base images with a compiler and with next to nothing, and a small source tree with upstream's paths and arguments."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import X86_64_LEVELS
from ansible_collections.tfserving.fleet.plugins.module_utils._image import recipe
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import PREFIX, key_of

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TREE = HERE / "image_sources"
RELEASE = "2.20.0"
FLAGS_OF = {name: sorted(frozenset().union(*(flags for _level, flags in X86_64_LEVELS[:number + 1]))) for number, (name, _flags) in enumerate(X86_64_LEVELS)}
# What a level's vectors look like in a disassembly: of the highest level first.
SIGNS = {"x86-64-v4": re.compile(r"%zmm|%k[1-7]"), "x86-64-v3": re.compile(r"vfmadd|vpmulld .*%ymm"), "x86-64-v2": re.compile(r"\bpmulld|\bvpmulld")}
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
    return images._build(engine, f"{PREFIX}/compilers:{key_of(below.id, _BASES)}", None, below, files={"Dockerfile": _BASES.encode()}, network_mode="host")


def small(engine):
    """busybox and nothing else."""
    below = compilers(engine)
    return images._build(engine, f"{PREFIX}/small:{key_of(below.id, _SMALL)}", None, below, files={"Dockerfile": _SMALL.encode()})


def packed_sources(directory):
    """{archive, commit, tree} of the small source tree, packed as GitHub packs one; commit and tree are git's own."""
    work = pathlib.Path(directory) / "work"
    subprocess.run(["cp", "-r", str(TREE), str(work)], check=True)
    known = {"NAME": "t", "EMAIL": "t@example.com", "DATE": "2026-01-01T00:00Z"}
    author = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in known.items()}
    git = ["git", "-C", str(work), "-c", "core.fileMode=true", "-c", "core.autocrlf=false"]
    for command in (["init", "-q"], ["add", "--force", "--all"], ["commit", "-q", "-m", "sources"]):
        subprocess.run([*git, *command], check=True, env={**os.environ, **author, "GIT_CONFIG_NOSYSTEM": "1"})
    commit, tree = subprocess.run([*git, "rev-parse", "HEAD", "HEAD^{tree}"], check=True, capture_output=True, text=True).stdout.split()
    archive = pathlib.Path(directory) / "sources.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(work, f"serving-{commit}", filter=lambda member: None if "/.git" in member.name and not member.name.endswith("bazelrc") else member)
    return {"archive": str(archive), "commit": commit, "tree": tree}


def recipe_of(level, sources, bases, options=None):
    """The recipe of a level from the small tree. bases: what its two base images are."""
    return recipe.recipe(RELEASE, level, options or table.LEVEL_OPTIONS[level], base_images=bases, sources=sources)


def capabilities(level):
    """A host of a level, as far as the module asks."""
    return {"architecture": "x86_64", "cpu": {"level": level, "flags": FLAGS_OF[level]}, "gpus": []}


def start(name, **options):
    """A module as a process of its own that was just started."""
    check = options.pop("check", False)
    process = subprocess.Popen([sys.executable, "-m", f"ansible_collections.tfserving.fleet.plugins.modules.{name}"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": dict(options, _ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp="/tmp",
                                                                _ansible_keep_remote_files=False)}))
    process.stdin.close()
    process.stdin = None
    return process


def result(process, timeout_s=300):
    """What a started module returns."""
    output, errors = process.communicate(timeout=timeout_s)
    assert output.strip(), errors[-3000:]
    return json.loads(output)


def run(name, **options):
    """A module's result."""
    return result(start(name, **options))


def instructions(engine, image, symbol):
    """The disassembly of one function of the server in an image."""
    holder = engine.containers.create(image)
    reader = engine.containers.create(compilers(engine), ["objdump", "-d", f"--disassemble={symbol}", "/tmp/tensorflow_model_server"])
    try:
        reader.put_archive("/tmp", b"".join(holder.get_archive("/usr/bin/tensorflow_model_server")[0]))
        reader.start()
        assert reader.wait()["StatusCode"] == 0
        return reader.logs().decode()
    finally:
        holder.remove(force=True)
        reader.remove(force=True)


def level_of(text):
    """The level whose instructions a disassembly shows."""
    return next((level for level, sign in SIGNS.items() if sign.search(text)), "x86-64-v1")
