# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a server's container reads: whether its user may read them, judged by the modes of real folders
(path_resolution(7) has the rules), and which of them are still used."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import container_files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_containers import Servers
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.transaction import Seen
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import containers
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels, model_config

REMAPPED = {
    "SecurityOptions": ["name=seccomp,profile=default", "name=userns"],
    "DockerRootDir": "/var/lib/docker/231072.231072",
}


@pytest.fixture
def model(tmp_path):
    """model(base, version, file): a model with one version, whose parts have these modes."""

    def make(base=0o755, version=0o755, file=0o644):
        folder = tmp_path / "fraud" / "1"
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()
        for path, mode in ((folder / "saved_model.pb", file), (folder, version), (folder.parent, base)):
            path.chmod(mode)
        return model_config.model("fraud", str(folder.parent))

    return make


def refusal(model, user="65534:65534", capabilities=(), rootless=False, offset=(0, 0)):
    """The FleetError about what the user may not read, or None."""
    who = container_files.reader(SimpleNamespace(user=user, capabilities=capabilities), rootless, offset)
    try:
        container_files.refuse_unreadable(model, [1], int(user.partition(":")[0]), who)
    except FleetError as fault:
        return fault
    return None


@pytest.mark.parametrize(
    "modes, where, mode",
    [
        ({"base": 0o700}, "fraud", "0700"),
        ({"base": 0o711}, "fraud", "0711"),
        ({"base": 0o750}, "fraud", "0750"),
        ({"base": 0o754}, "fraud", "0754"),
        ({"version": 0o700}, "fraud/1", "0700"),
        ({"version": 0o711}, "fraud/1", "0711"),
        ({"file": 0o600}, "fraud/1/saved_model.pb", "0600"),
        ({"file": 0o640}, "fraud/1/saved_model.pb", "0640"),
    ],
)
def test_what_the_servers_user_cannot_read_is_refused_with_user_mode_and_variable(modes, where, mode, model):
    fault = refusal(model(**modes))
    assert fault.where.endswith(where) and "user 65534" in fault.what and f"mode {mode}" in fault.what
    assert "chmod -R o+rX" in fault.remedy and "tfs_server_user" in fault.remedy


def test_folders_that_everybody_reads_are_taken(model):
    assert refusal(model()) is None


def test_the_owner_and_its_group_are_judged_by_their_own_bits(model):
    private = model(base=0o750, version=0o750, file=0o640)
    uid, gid = os.stat(private.base_path).st_uid, os.stat(private.base_path).st_gid
    assert refusal(private, f"{uid}:{gid}") is refusal(private, f"65534:{gid}") is None
    assert refusal(private, "65534:65534") is not None
    os.chmod(private.base_path, 0o705)
    assert refusal(private, f"65534:{gid}") is not None


def test_root_with_its_power_reads_all_unless_its_ids_are_other_ones_on_the_host(model):
    private = model(base=0o700)
    os.chown(private.base_path, 4242, 4242) if os.getuid() == 0 else None
    assert refusal(private, "0:0", ["CAP_DAC_OVERRIDE"]) is None
    assert refusal(private, "0:0", ["CAP_DAC_OVERRIDE"], offset=(231072, 231072)) is not None


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to another user")
def test_with_userns_remap_the_ids_of_the_host_are_judged(model):
    """https://docs.docker.com/engine/security/userns-remap/: UID 0 in the container is 231072 on the host, and the engine's folder is named 231072.231072."""
    assert containers.offset_of(REMAPPED) == (231072, 231072)
    private = model(base=0o750, version=0o750, file=0o640)
    for parent, folders, names in os.walk(private.base_path):
        for name in (".", *folders, *names):
            os.chown(os.path.join(parent, name), 231072 + 1000, 0)
    assert refusal(private, "1000:1000", offset=(231072, 231072)) is None
    assert refusal(private, "1000:1000") is not None


@pytest.mark.parametrize(
    "information",
    [
        {"SecurityOptions": ["name=seccomp,profile=default"], "DockerRootDir": "/var/lib/docker"},
        {},
        dict(REMAPPED, SecurityOptions=["name=seccomp"]),
        {
            "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
            "DockerRootDir": "/home/a/.local/share/docker",
        },
        dict(REMAPPED, DockerRootDir="/data/1.2x"),
    ],
)
def test_an_engine_without_userns_remap_adds_nothing(information):
    assert containers.offset_of(information) == (0, 0)


@pytest.mark.parametrize(
    "image, machine, own",
    [
        ("arm64", "x86_64", "amd64"),
        ("amd64", "aarch64", "arm64"),
        ("aarch64", "x86_64", "amd64"),
        ("s390x", "x86_64", "amd64"),
        ("arm", "x86_64", "amd64"),
        ("amd64", "x86_64", None),
        ("386", "x86_64", None),
        ("x86_64", "x86_64", None),
        ("arm64", "aarch64", None),
        ("arm", "aarch64", None),
        (None, "x86_64", None),
        ("amd64", "sparc64", None),
        ("amd64", "armv7l", "arm"),
        ("arm64", "armv7l", "arm"),
        ("arm", "armv8l", None),
        ("amd64", "i686", "386"),
        ("386", "i686", None),
        ("ppc64le", "x86_64", "amd64"),
        ("amd64", "ppc64le", "ppc64le"),
        ("amd64", "s390x", "s390x"),
        ("riscv64", "aarch64", "arm64"),
    ],
)
def test_an_image_of_another_architecture_is_known_before_it_starts(image, machine, own):
    """GOARCH in the image's configuration (OCI Image Format Specification), uname -m on the host."""
    assert image_labels.foreign_to(image, machine) == own


def folders(directory, *names):
    """The server's folder below a state directory, with configurations of these names."""
    for name in names:
        (directory / "s" / "config" / name).mkdir(parents=True)
    return directory / "s"


@pytest.mark.parametrize("form", ["{}//s", "{}/s/", "{}/./s", "{}/s/../s", "{}/link/s"])
def test_what_a_container_mounts_is_kept_however_its_folder_is_written(form, tmp_path):
    """Docker answers with the cleaned source of a mount (path.Clean of Go), and Podman can resolve links."""
    server = folders(tmp_path, "a", "b")
    (tmp_path / "link").symlink_to(tmp_path)
    container_files.prune(form.format(tmp_path), {f"{server}/config/a", None})
    assert os.listdir(server / "config") == ["a"]


@pytest.mark.parametrize("form", ["/{}", "{}//", "{}/.", "{}/x/..", "{}"])
def test_a_state_directory_has_one_form(form, tmp_path):
    home = ServerFolder(form.format(tmp_path), "s")
    assert (home.state_directory, home.directory) == (str(tmp_path), f"{tmp_path}/servers/s")


class Containers(Servers):
    """An engine of which one container cannot be inspected."""

    def __init__(self):  # It connects to nothing.
        self.fails = False

    def seen(self, name):
        return {role: Seen(role, "running", "", "") for role in ("serving", "previous")}

    def inspect(self, container):
        if self.fails and container == "serving":
            raise FleetError("the engine does not answer")
        return {"Mounts": [{"Destination": "/etc/tfserving", "Source": f"/s/{container}"}]}


def test_configurations_that_are_not_known_are_not_taken_for_unused():
    engine = Containers()
    assert engine.config_folders("s") == {"/s/serving", "/s/previous"}
    engine.fails = True
    with pytest.raises(FleetError):
        engine.config_folders("s")


def entry(magic, mask, name="qemu-x", flags="OCF", state="enabled"):
    return f"{state}\ninterpreter /usr/libexec/{name}\nflags: {flags}\noffset 0\nmagic {magic}\nmask {mask}\n"


_AARCH64 = ("7f454c460201010000000000000000000200b700", "ffffffffffffff00fffffffffffffffffeffffff")
_X86_64 = ("7f454c4602010100000000000000000002003e00", "fffffffffffefe00fffffffffffffffffeffffff")


@pytest.mark.parametrize(
    "image, entries, emulated",
    [
        ("arm64", [entry(*_AARCH64, "qemu-aarch64-static")], True),
        ("aarch64", [entry(*_AARCH64)], True),
        ("arm64", ["enabled\n", entry(*_X86_64), entry(*_AARCH64)], True),
        ("amd64", [entry(*_X86_64, "rosetta", "CF")], True),
        ("amd64", [entry(*_X86_64, "FEXInterpreter", "POCF")], True),
        ("386", [entry("7f454c4601010100000000000000000002000300", _X86_64[1], "qemu-i386")], True),
        ("arm", [entry("7f454c4601010100000000000000000002002800", _AARCH64[1], "qemu-arm")], True),
        (
            "s390x",
            [entry("7f454c4602020100000000000000000000020016", "ffffffffffffff00fffffffffffffffffffeffff")],
            True,
        ),
        (
            "ppc64le",
            [entry("7f454c4602010100000000000000000002001500", "fffffffffffffffcfffffffffffffffffeffff00")],
            True,
        ),
        ("riscv64", [entry("7f454c460201010000000000000000000200f300", _AARCH64[1])], True),
        ("arm64", [entry(*_X86_64), entry("7f454c4601010100000000000000000002002800", _AARCH64[1])], False),
        ("arm64", [entry(*_AARCH64, state="disabled")], False),
        ("arm64", [entry(*_AARCH64, flags="OC")], False),
        ("arm64", [entry(*_AARCH64, flags="")], False),
        ("arm64", ["enabled\n", "", "enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n"], False),
        ("arm64", [], False),
        (None, [entry(*_AARCH64)], False),
        ("mips64le", [entry(*_AARCH64)], False),
    ],
)
def test_whether_an_image_of_another_architecture_is_emulated(image, entries, emulated):
    """Texts as fs/binfmt_misc.c of Linux writes them; magic and mask of QEMU's scripts/qemu-binfmt-conf.sh and of Apple's page on Rosetta in Linux machines.

    Without the flag F the kernel looks for the emulator in the container, where it is not (admin-guide/binfmt-misc.rst).
    """
    assert image_labels.is_emulated(image, entries) is emulated
