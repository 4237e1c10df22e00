# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that other accounts own or write to: links, programs and locks in them. How links and locks work stands in path_resolution(7) and flock(2)."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import pid_file, program, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import server_folder
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    digests,
    manifest,
    published,
    transfer,
    versions,
)
from ansible_collections.tfserving.fleet.tests.security.conftest import NOBODY, give, snapshot
from ansible_collections.tfserving.fleet.tests.support import modules
from ansible_collections.tfserving.fleet.tests.unit.model.test_model_saved_model import SIMPLE, model

pytestmark = pytest.mark.usefixtures("two_accounts")


def publish(path, source, **options):
    """The result of model_version for a source on the host."""
    return modules.call("model_version", path=path, source=source, remote_src=True, **options)


@pytest.mark.parametrize("how", ["absolute", "relative", "through a link inside", "a folder"])
def test_link_that_leaves_a_version(version, secret, tmp_path, how):
    link = version / "assets" / "vocab.txt"
    if how == "absolute":
        link.symlink_to(secret)
    elif how == "relative":
        link.symlink_to(os.path.relpath(secret, link.parent))
    elif how == "a folder":
        link.symlink_to(secret.parent)
    else:
        (version / "inside").symlink_to(secret)
        link.symlink_to(os.path.relpath(version / "inside", link.parent))
    give(version)
    result = publish(tmp_path / "models", version)
    assert result["failed"] and "outside of the folder" in result["msg"] and "\n" not in result["msg"], result
    assert not list((tmp_path / "models").glob("[0-9]*"))
    result = modules.call("model_conversion", source=version, destination=tmp_path / "m" / "digits" / "saved_model")
    assert result["failed"] and not list((tmp_path / "m").rglob("1"))
    with pytest.raises(FleetError, match="outside of the folder"):  # What the action plugin does on the controller.
        transfer.described(str(version), str(version), False)


def test_link_that_is_changed_after_the_folder_was_looked_at(version, secret, tmp_path):
    words = version / "assets" / "words.txt"
    words.write_text("one\n")
    content = published.inventory(str(version), digests.Digests(True))
    words.unlink()
    words.symlink_to(secret)
    partial = transfer.Partial(str(tmp_path), "key")
    partial.begin(0)
    with pytest.raises(FleetError, match="outside of the folder"):
        transfer.copy(str(version), partial, content)
    with open(tmp_path / "piece", "wb") as stream, pytest.raises(FleetError, match="outside of the folder"):
        transfer.write_piece(stream, str(version), next(versions.pieces([("assets/words.txt", 0, 4)])))
    assert "hash" not in (tmp_path / "piece").read_text()
    with pytest.raises(FleetError, match="outside of the folder"):
        published.carry_batching(str(tmp_path / "staged"), _with_linked_batching(tmp_path, secret))


def _with_linked_batching(tmp_path, secret):
    (tmp_path / "staged").mkdir()
    newest = tmp_path / "published" / "1"
    newest.mkdir(parents=True)
    (newest / manifest.BATCHING).symlink_to(secret)
    return str(tmp_path / "published")


def test_links_that_stay_are_what_they_lead_to(tmp_path):
    """As Kubernetes mounts a ConfigMap: files are links to ..data/file, ..data one to a folder whose name is the time (its AtomicWriter)."""
    mounted = tmp_path / "mounted"
    written = mounted / "..2026_11_30_08_00_00.123456789"
    written.mkdir(parents=True)
    (written / "saved_model.pb").write_bytes(model(*SIMPLE))
    (mounted / "..data").symlink_to(written.name)
    (mounted / "saved_model.pb").symlink_to("..data/saved_model.pb")
    result = publish(tmp_path / "models", mounted)
    assert not result.get("failed"), result
    copy = tmp_path / "models" / "1" / "saved_model.pb"
    assert copy.read_bytes() == (written / "saved_model.pb").read_bytes() and not copy.is_symlink()


@pytest.mark.parametrize("owned", ["the folder", "the folder above it", "a link on the way"])
def test_folders_of_another_account_are_refused(version, tmp_path, owned):
    models = tmp_path / "area" / "digits"
    models.mkdir(parents=True)
    if owned == "a link on the way":
        os.symlink(tmp_path / "area", tmp_path / "way")
        os.chown(tmp_path / "way", NOBODY, NOBODY, follow_symlinks=False)
        models = tmp_path / "way" / "digits"
    else:
        os.chown(models if owned == "the folder" else models.parent, NOBODY, NOBODY)
    before = snapshot(tmp_path / "area")
    for result in (
        publish(models, version),
        modules.call("model_conversion", source=version, destination=models / "saved_model"),
        modules.call("model_server", name="s", backend="embedded", state="stopped", state_directory=models),
        modules.call("batching_parameters", path=models / "batching.txt", max_batch_size=8),
    ):
        assert result["failed"] and "belongs to nobody" in result["msg"] and "chown" in result["msg"], result
    assert snapshot(tmp_path / "area") == before


def test_folder_of_the_account_that_root_was_reached_from(version, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    os.chown(tmp_path / "models", 1234, 1234)
    monkeypatch.setenv("SUDO_UID", "1234")
    assert publish(tmp_path / "models", version)["published"]


@pytest.mark.parametrize("account", ["nobody", str(NOBODY)])
def test_folder_of_the_account_that_the_server_runs_as(version, secret, tmp_path, account):
    models = tmp_path / "models"
    models.mkdir()
    os.chown(models, NOBODY, NOBODY)
    assert publish(models, version, folder_owner=account)["published"]
    assert publish(models, version, folder_owner="no-such-account")["failed"]
    before = snapshot(secret.parent)
    (models / ".tfserving-lock").unlink()
    (models / ".tfserving-lock").symlink_to(secret)
    refused = publish(models, version, folder_owner=account)
    assert refused["failed"] and "link" in refused["msg"] and snapshot(secret.parent) == before


def test_lock_that_is_a_link(version, secret, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "SUDO_UID", str(NOBODY)
    )  # Accepted as the account that root was reached from; it puts no links there all the same.
    before = snapshot(secret.parent)
    models, state = tmp_path / "models", tmp_path / "state"
    models.mkdir()
    (models / ".tfserving-lock").symlink_to(secret)
    (state / "servers").mkdir(parents=True)
    (state / "servers" / ".s.lock").symlink_to(secret)
    give(models)
    give(state)
    for result in (
        publish(models, version),
        modules.call("model_server", name="s", backend="embedded", state="absent", state_directory=state),
    ):
        assert result["failed"] and "link" in result["msg"], result
    assert snapshot(secret.parent) == before


def test_partial_folder_that_is_a_link(version, tmp_path):
    """In a folder of root's in which everybody may write, as /tmp is one."""
    victim, models = tmp_path / "victim", tmp_path / "models"
    (victim / "deep").mkdir(parents=True, mode=0o700)
    victim.chmod(0o700)
    (victim / "deep" / "file").write_text("root's")
    models.mkdir()
    models.chmod(0o1777)
    content = transfer.content_of(str(version), "", digests.Digests(True))
    partial = transfer.Partial(str(models), versions.digest(content))
    os.symlink(victim, partial.path)
    os.chown(partial.path, NOBODY, NOBODY, follow_symlinks=False)
    before = snapshot(victim)
    assert publish(models, version)["published"]
    assert snapshot(victim) == before
    assert (models / "1" / "saved_model.pb").read_bytes() == (version / "saved_model.pb").read_bytes()
    assert not (models / "1").is_symlink()


def test_partial_folder_of_another_account(version, tmp_path, secret):
    models = tmp_path / "models"
    models.mkdir()
    content = transfer.content_of(str(version), "", digests.Digests(True))
    partial = transfer.Partial(str(models), versions.digest(content))
    os.mkdir(partial.path)
    os.symlink(secret, os.path.join(partial.path, "saved_model.pb"))
    give(partial.path)
    before = snapshot(secret.parent)
    assert publish(models, version)["published"]
    assert snapshot(secret.parent) == before
    status = (models / "1").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755)


PLANTED = b"#!/bin/sh\ntouch %s\n"


@pytest.mark.parametrize("how", ["of another account", "writable by others", "other content", "a link"])
def test_planted_program(tmp_path, how):
    directory = tmp_path / "programs"
    path = program.install("_load.generator", str(directory))
    packed = open(path, "rb").read()
    assert snapshot(directory)[os.path.basename(path)][:2] == (stat.S_IFREG | 0o644, 0)
    if how == "of another account":
        os.chown(path, NOBODY, NOBODY)
    elif how == "writable by others":
        os.chmod(path, 0o666)
    elif how == "other content":
        with open(path, "wb") as stream:
            stream.write(b"print('planted')")
    else:
        os.rename(path, tmp_path / "elsewhere")
        os.symlink(tmp_path / "elsewhere", path)
    assert program.install("_load.generator", str(directory)) == path
    assert snapshot(directory)[os.path.basename(path)] == (stat.S_IFREG | 0o644, 0, packed)


def test_program_in_a_folder_of_another_account(tmp_path):
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(FleetError, match="belongs to nobody"):
        program.install("_load.generator", str(tmp_path / "programs"))


HOLD = "import fcntl, sys, time; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_lock_that_another_account_would_hold(open_path, mode):
    """mode: of the file that an earlier release left, or None."""
    folder = server_folder.ServerFolder(str(open_path / "state"), "s")
    lock = open_path / "state" / "servers" / ".s.lock"
    if mode is not None:
        lock.parent.mkdir(parents=True)
        lock.touch()
        lock.chmod(mode)
    with folder.locked():
        pass
    held = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", HOLD, lock],
        user=NOBODY,
        group=NOBODY,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "PermissionError" in held.stderr and not held.stdout


def test_hard_link_in_the_place_of_a_lock_keeps_its_mode(tmp_path, secret):
    secret.chmod(0o640)
    os.link(secret, tmp_path / "lock")
    shared_folders.lock_file(str(tmp_path / "lock")).close()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640 and secret.read_text()


def test_umask_that_lets_everybody_write(version, tmp_path):
    models = tmp_path / "models"
    with _umask(0):
        result = publish(models, version)
        assert not result.get("failed"), result
    writable = {path for path, (mode, _uid, _content) in snapshot(models).items() if mode & 0o022}
    assert not writable


@contextlib.contextmanager
def _umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("named", ["root's process", "its own process", "its own with another start", "a link"])
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_pid_file_of_another_account(open_path, named, owner):
    """Who may write to a state directory does not choose which of root's processes ends."""
    path, own = open_path / "server.pid", named.startswith("its own")
    process = subprocess.Popen(["sleep", "600"], user=NOBODY if own else None)
    try:
        birth = "another boot 1" if named.endswith("start") else pid_file.birth_of(process.pid)
        target = open_path / "target" if named == "a link" else path
        target.write_text(json.dumps([process.pid, birth]), encoding="utf-8")
        os.chown(target, owner, owner)
        if target != path:
            path.symlink_to(target)
        found = pid_file.process_of(str(path))
    finally:
        process.kill()
        process.wait()
    counts = named == "its own process" or (named == "root's process" and owner == 0)
    assert found == (process.pid if counts else None)


@pytest.mark.parametrize(
    "text",
    [
        *(f"[{pid}, null]" for pid in (-1, 0, 1, 999999999, "true", "1.5", "1e999", '"self"', '"../../tmp/x"', "[]")),
        *(f'["{name}", BIRTH]' for name in ("self", "PID", "PID/../PID", "PID/task/PID", "\\u0000")),
        *("[" * count for count in (1, 1000, 100000)),
        "",
        "{}",
        "null",
        "[9" + "9" * 5000 + ", null]",
    ],
    ids=range(22),
)
def test_pid_file_that_names_no_process(tmp_path, text):
    """-1 and 0 are all processes and the own group for kill(2); /proc has more names than numbers (proc(5))."""
    path, pid = tmp_path / "server.pid", str(os.getpid())
    path.write_text(
        text.replace("BIRTH", json.dumps(pid_file.birth_of(os.getpid()))).replace("PID", pid), encoding="utf-8"
    )
    assert pid_file.process_of(str(path)) is None
