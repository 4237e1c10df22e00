# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks: what an account without rights, a stranger's model, a host or a client tries. Those that need two accounts run as root, with nobody's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.unit.model.test_model_saved_model import SIMPLE, model

NOBODY = 65534  # Of Debian, Fedora and systemd (nss-myhostname(8)).


def give(path, uid=NOBODY):
    """Give a path and all below it to an account; links themselves, not what they lead to."""
    for parent, folders, names in os.walk(path):
        for name in [*folders, *names]:
            os.chown(os.path.join(parent, name), uid, uid, follow_symlinks=False)
    os.chown(path, uid, uid, follow_symlinks=False)


@pytest.fixture
def written():
    """The file that the models of untrusted_models.py write, for one test of this machine at a time."""
    path = Path("/tmp/tfserving-security-written")
    with open(f"{path}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.unlink(missing_ok=True)
        yield path
        path.unlink(missing_ok=True)


@pytest.fixture
def two_accounts(monkeypatch):
    """For what only root can try: files of two accounts. The account that root was reached from is no friend here."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for files of another account")
    monkeypatch.delenv("SUDO_UID", raising=False)


@pytest.fixture
def secret(tmp_path):
    """A file that only its owner may read."""
    path = tmp_path / "of-root" / "shadow"
    path.parent.mkdir(mode=0o700)
    path.write_text("root:$y$j9T$hash:20000:0:99999:7:::\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def version(tmp_path):
    """The folder of a version of a model."""
    path = tmp_path / "source" / "digits"
    (path / "assets").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(model(*SIMPLE))
    return path


@pytest.fixture
def open_path():
    """A temporary folder that every account can enter; other runs of pytest close theirs."""
    with tempfile.TemporaryDirectory(prefix="tfserving-security-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def python(open_path):
    """A Python with TensorFlow that every account can run: this one's may lie in root's home."""
    common = f"/usr/bin/python3.{sys.version_info.minor}"
    packages = sysconfig.get_path("purelib")
    if subprocess.run(["test", "-r", f"{packages}/tensorflow"], user=NOBODY, check=False).returncode:
        pytest.skip(f"{NOBODY} cannot read {packages}")
    if not os.path.exists(common):
        pytest.skip(f"there is no {common}, which every account can run")
    path = open_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {common} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def snapshot(folder: Path):
    """What lies below a folder: {path: (mode, owner, content, or where a link leads)}."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, content)
    return found
