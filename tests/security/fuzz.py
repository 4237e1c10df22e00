# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Feed many hostile files to what reads them, in a process of its own, and say what became of it as JSON.

KIND: a module of this folder with a function cases(seed, folder, input) that returns one(number): it makes a file, and has it read. A case that raises no
FleetError of one line, writes elsewhere, or takes more than MOST_S of processor time is reported with its number. Case n is the same whatever runs before it.

    TMPDIR=FOLDER python -m ansible_collections.tfserving.fleet.tests.security.fuzz KIND COUNT SEED FOLDER [INPUT]
    TMPDIR=FOLDER python -m ansible_collections.tfserving.fleet.tests.security.fuzz KIND =NUMBER SEED FOLDER [INPUT]     one case alone
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

MOST_S, MOST_MIB = 5, 256
_FILE_BYTES, _MEMORY_BYTES = 300 << 20, 8 << 30
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What changes a file system, with the places of its paths and of the folders that they are relative to (Python's table of audit events).
_EVENTS = {
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
}


class Hang(BaseException):
    """A case took too long."""


def run(kind, count, seed, folder, given=""):
    """The report of a process that ran the cases; its folder is the only one in which it may write."""
    environment = dict(os.environ, TMPDIR=str(folder))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", __name__, kind, str(count), str(seed), str(folder), str(given)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def main(kind, count, seed, folder, given=""):
    one = importlib.import_module(f"{__package__}.{kind}").cases(seed, folder, given)
    numbers = [int(count[1:])] if count.startswith("=") else range(int(count))
    strange, ended, slowest = [], collections.Counter(), (0.0, None)
    written = []
    sys.addaudithook(lambda event, arguments: _watch(event, arguments, folder, written))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, _hang)
    one(-1)  # What is sound: it loads what the readers import.
    before = _peak_kib()
    for number in numbers:
        del written[:]
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, MOST_S)
        signal.alarm(30)  # Where it waits without end.
        try:
            one(number)
            ended["read"] += 1
        except FleetError as fault:
            ended["refused"] += 1
            if len(str(fault).splitlines()) != 1:
                strange.append([number, f"several lines: {str(fault)[:500]}"])
        except (Exception, Hang):
            strange.append([number, traceback.format_exc()[-600:]])
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
        slowest = max(slowest, (time.process_time() - began, number))
        if written:
            strange.append([number, f"written: {sorted(set(written))[:5]}"])
    report = {"strange": strange, **ended, "slowest": slowest, "grown_mib": (_peak_kib() - before) >> 10}
    with contextlib.redirect_stdout(sys.__stdout__):
        print(json.dumps(report))


def empty(folder):
    """Remove what a case left."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _watch(event, arguments, folder, written):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        places = ((0, None),)
    else:
        places = _EVENTS.get(event, ())
    for place, relative in places:
        path, above = arguments[place], -1 if relative is None else arguments[relative]
        if isinstance(path, (str, bytes, os.PathLike)):
            path = os.path.join(
                os.getcwd() if above == -1 else os.readlink(f"/proc/self/fd/{above}"), os.fsdecode(path)
            )
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            if not real.startswith(f"{folder}/") and "__pycache__" not in real and real != "/dev/null":
                written.append(real)


def _hang(_number, _frame):
    raise Hang()


def _peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(*sys.argv[1:])
