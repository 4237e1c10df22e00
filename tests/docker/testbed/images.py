# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of the testbed, each made once of its inputs and found again by their key: Debian with Python; a host of a fleet; a model server.

Nothing is pulled: Debian comes by debootstrap, TensorFlow from the environment that the tests run in. So no configuration of pip and no certificate of
this machine gets near an image. TESTBED_BASE_IMAGE names an image of Debian 12 to use instead of debootstrap's.
"""

from __future__ import annotations

import importlib.metadata
import io
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.version import VERSION
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import PREFIX, key_of, locked
from docker.errors import BuildError, ImageNotFound
from packaging.requirements import Requirement

HERE = pathlib.Path(__file__).resolve().parent
SUITE, PYTHON = "bookworm", "3.11"
BASE_PACKAGES = "ca-certificates,python3"
# What the running system does not need of a fresh Debian.
LEFT_OUT = (
    "./var/cache/apt/*.bin",
    "./var/cache/apt/archives/*.deb",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./dev/*",
    "./proc/*",
    "./sys/*",
)
SITE = "usr/local/lib/python%s/dist-packages" % PYTHON
# Requirements of TensorFlow that a server never imports, parts of it that only compilers read, and programs beside the packages.
UNUSED_PACKAGES = {"keras", "libclang", "setuptools", "wheel", "h5py"}
UNUSED_FILES = ("tensorflow/include/", "../", "/")


class Unbuildable(Exception):
    """An image cannot be made here; the text says why and what to do."""


def base(engine):
    """Debian with Python and nothing else."""
    chosen = os.environ.get("TESTBED_BASE_IMAGE")
    if chosen:
        return named(engine, chosen)
    return _once(
        engine, f"{PREFIX}/base:{key_of(SUITE, BASE_PACKAGES, *LEFT_OUT)}", lambda tag: _bootstrap(engine, tag)
    )


def host(engine):
    """A host of a fleet: a Docker Engine of its own, sshd, sudo; also what a balancer and a registry are made of."""
    below = base(engine)
    return build(engine, f"{PREFIX}/host:{key_of(below.id, HERE / 'host')}", HERE / "host", below, network_mode="host")


def podman_host(engine):
    """A host of a fleet with Podman as its engine."""
    below = host(engine)
    return build(
        engine, f"{PREFIX}/podman:{key_of(below.id, HERE / 'podman')}", HERE / "podman", below, network_mode="host"
    )


def tensorflow(engine):
    """Debian with TensorFlow from PyPI, as this environment has it."""
    below, packages = base(engine), list(_distributions("tensorflow", "grpcio"))
    versions = sorted(f"{one.name}=={one.version}" for one in packages)
    tag = f"{PREFIX}/tensorflow:{key_of(below.id, SITE, *versions, *UNUSED_FILES)}"
    return _once(engine, tag, lambda tag: _add_packages(engine, tag, below, packages))


def serving(engine):
    """The embedded server with the contract of TensorFlow Serving's official image."""
    below, packed = tensorflow(engine), program.pack("_embedded.server.main")
    return build(
        engine,
        f"{PREFIX}/serving:{key_of(below.id, packed, HERE / 'serving')}",
        HERE / "serving",
        below,
        files={"tensorflow_model_server.pyz": packed},
        arguments={"VERSION": VERSION},
    )


def double(engine):
    """The serving image as a double of TensorFlow Serving: it hangs, joins requests and aborts as the real one was seen to do."""
    return derived(
        engine,
        serving(engine),
        "COPY double.py /usr/lib/tfserving-fleet/",
        "RUN sed -i s/tensorflow_model_server.pyz/double.py/ /usr/bin/tensorflow_model_server",
        files={"double.py": (HERE / "double" / "double.py").read_bytes()},
    )


def named(engine, name):
    """Somebody else's image, pulled where this machine does not have it."""
    return _found(engine, name) or engine.images.pull(name)


def derived(engine, below, *instructions, files=None):
    """An image of other Dockerfile instructions on top of one: derived(engine, image, "LABEL a=b"). files: {name: bytes} for COPY."""
    text = "\n".join(["ARG BASE", "FROM $BASE", *instructions, ""]).encode()
    files = files or {}
    parts = [part for name in sorted(files) for part in (name, files[name])]
    return build(
        engine, f"{PREFIX}/derived:{key_of(below.id, text, *parts)}", None, below, files={**files, "Dockerfile": text}
    )


def _found(engine, tag):
    try:
        return engine.images.get(tag)
    except ImageNotFound:
        return None


def _once(engine, tag, make):
    with locked(tag.replace("/", "-").replace(":", "-")):
        if not _found(engine, tag):
            print(f"testbed: making {tag}", file=sys.stderr, flush=True)
            make(tag)
        return engine.images.get(tag)


def build(engine, tag, directory, below, files=None, arguments=None, network_mode=None):
    """The image of a folder with a Dockerfile and of more files. Proxies are for the building only: the engine keeps these arguments out of images."""
    proxies = {
        name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy", "no_proxy")
    }

    def make(tag):
        try:
            engine.images.build(
                fileobj=_context(directory, files or {}),
                custom_context=True,
                tag=tag,
                rm=True,
                forcerm=True,
                network_mode=network_mode,
                buildargs={**proxies, "BASE": below.id, **(arguments or {})},
            )
        except BuildError as fault:
            said = "".join(line.get("stream", "") for line in fault.build_log)[-2000:]
            raise Unbuildable(f"{tag}: {fault}\n{said}") from fault

    return _once(engine, tag, make)


def _context(directory, files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(directory.iterdir()) if directory else ():
            archive.add(path, path.name)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    return packed


def _bootstrap(engine, tag):
    """Debian's own installer into a folder, packed and imported: about a minute."""
    if not shutil.which("debootstrap"):
        raise Unbuildable(
            "debootstrap is missing; install it (apt-get install debootstrap), or name an image of Debian 12 in TESTBED_BASE_IMAGE"
        )
    root = [] if os.getuid() == 0 else ["sudo", "-n"]
    with tempfile.TemporaryDirectory() as directory:
        system, packed = os.path.join(directory, "system"), os.path.join(directory, "system.tar")
        try:
            _run([*root, "debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, system])
            _run([*root, "tar", "-C", system, "-cf", packed, *(f"--exclude={pattern}" for pattern in LEFT_OUT), "."])
        finally:
            _run([*root, "rm", "-rf", system])
        repository, _colon, name = tag.rpartition(":")
        engine.api.import_image_from_file(packed, repository, name, changes=["ENV LANG C.UTF-8", 'CMD ["python3"]'])


def _run(command):
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise Unbuildable(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}")


def _distributions(*names):
    """The installed packages of these names and all they need, but those that no server imports."""
    seen, wanted = set(UNUSED_PACKAGES), list(names)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name not in seen:
            seen.add(name)
            found = importlib.metadata.distribution(name)
            yield found
            for line in found.requires or ():
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    wanted.append(requirement.name)


def _add_packages(engine, tag, below, packages):
    """Stream the packages' files into a container of the image below and keep the result."""
    container = engine.containers.create(below, command=["true"])
    try:
        with tempfile.TemporaryDirectory() as directory:
            site = _site_packages(packages, directory)
            listed = os.path.join(directory, "files")
            with open(listed, "w", encoding="utf-8") as stream:
                stream.writelines(f"{path}\n" for one in packages for path in _files(one, site))
            packing = subprocess.Popen(
                [
                    "tar",
                    "-C",
                    site,
                    "-c",
                    "--owner=0",
                    "--group=0",
                    "--no-recursion",
                    f"--transform=s,^,{SITE}/,",
                    "-T",
                    listed,
                ],
                stdout=subprocess.PIPE,
            )
            container.put_archive("/", packing.stdout)
            if packing.wait():
                raise Unbuildable(f"tar could not pack the packages of {site}")
        repository, _colon, name = tag.rpartition(":")
        container.commit(repository, name)
    finally:
        container.remove(force=True)


def _site_packages(packages, directory):
    """Where the packages' files are for the Python of the image: here when this is that Python, else they are fetched for it."""
    if "%d.%d" % sys.version_info[:2] == PYTHON:
        return str(packages[0].locate_file(""))
    platforms = [f"--platform=manylinux{form}_{platform.machine()}" for form in ("2014", "_2_17", "_2_27", "_2_28")]
    pinned = [f"{one.name}=={one.version}" for one in packages]
    _run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            f"--target={directory}/site",
            f"--python-version={PYTHON}",
            "--only-binary=:all:",
            "--no-deps",
            *platforms,
            *pinned,
        ]
    )
    return f"{directory}/site"


def _files(package, site):
    """The package's files as they are on disk, compiled ones too, so that a server on a read-only root compiles nothing at each start."""
    for path in map(str, package.files or ()):
        if not path.startswith(UNUSED_FILES) and os.path.exists(os.path.join(site, path)):
            yield path
