#!/usr/bin/env python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what tests need once for all of them: for workers, later runs of pytest, and Molecule.

A result is a folder build/made/NAME-DIGEST of this checkout. The digest covers the inputs, so a changed maker makes anew, and what an older one made is
removed unless a process still uses it. A folder appears whole or not at all. It is shared: copy what a test changes.

    by_program(PATH, *further inputs)     what `python PATH FOLDER` writes with the tests' TensorFlow; the name is that of the program
    made("zoo", inputs, maker)            what maker(folder) writes; inputs: paths of files and folders, and texts such as versions
    only_one("name")                      a context that one process at a time is in, for what keeps track of itself

    tests/support/made.py PROGRAM [INPUT ...]     by_program from a command line, as in Molecule's prepare.yml; prints the folder
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

MADE = Path(__file__).resolve().parents[2] / "build" / "made"
TIMEOUT_S = 900
_in_use = []  # Open files, each with a shared lock as long as this process lives.


def made(name, inputs, maker):
    """Return the folder that maker(folder) filled for these inputs, in this process or in another one before."""
    digest = _digest(inputs)
    folder = MADE / f"{name}-{digest}"
    with only_one(name):
        if not folder.exists():
            unfinished = MADE / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            maker(unfinished)
            unfinished.rename(folder)
        _in_use.append(_locked(_users(folder), fcntl.LOCK_SH))
        for other in set(MADE.glob(f"{name}-{'?' * len(digest)}")) - {folder}:
            _remove_unless_used(other)
    return folder


def by_program(program, *inputs):
    """Return the folder that `python PROGRAM FOLDER` filled; inputs: what it depends on besides itself, TensorFlow and Python."""
    program = Path(program).resolve()

    def run(folder):
        done = subprocess.run(
            [sys.executable, str(program), str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1"),
        )
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    return made(program.stem, [program, *inputs, *versions("tensorflow", "numpy")], run)


def versions(*packages):
    """Return texts that say which Python and which releases of packages there are."""
    return [f"python {sys.version}", *(f"{package} {importlib.metadata.version(package)}" for package in packages)]


@contextlib.contextmanager
def only_one(name):
    """Wait until no other process is in this context, on this checkout."""
    MADE.mkdir(parents=True, exist_ok=True)
    with _locked(MADE / f"{name}.lock", fcntl.LOCK_EX):
        yield


def _digest(inputs):
    """Return a digest of texts, and of the contents and names of files."""
    found = hashlib.sha256()
    for each in inputs:
        if isinstance(each, str):
            parts = [each.encode()]
        else:
            files = (
                sorted(path for path in each.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
                if each.is_dir()
                else [each]
            )
            parts = [
                part for file in files for part in (str(file.relative_to(each.parent)).encode(), file.read_bytes())
            ]
        for part in parts:
            found.update(b"%d:" % len(part) + part)
    return found.hexdigest()[:16]


def _users(folder):
    return folder.with_name(f"{folder.name}.users")


def _locked(path, kind):
    """Return path, open and locked until it is closed."""
    stream = open(path, "ab")
    try:
        fcntl.flock(stream, kind)
    except BaseException:
        stream.close()
        raise
    return stream


def _remove_unless_used(folder):
    try:
        users = _locked(_users(folder), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    with users:
        shutil.rmtree(folder)
        _users(folder).unlink()


if __name__ == "__main__":
    print(by_program(sys.argv[1], *map(Path, sys.argv[2:])))
