# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that has imported what the embedded server imports, and forks a process for each server: that costs tens of milliseconds, not seconds.

It reads requests from the socket whose file descriptor is its argument, one JSON object a line: {"argv", "environment", "directory", "log"}. It answers
with the process id. When the process has ended, LOG.status holds its exit status. All end with the socket.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1


def preload():
    """Import the libraries, and start nothing of theirs. As in the server itself, Keras is not imported."""
    sys.modules.update(keras=None, tf_keras=None)
    for name in (
        "numpy",
        "ml_dtypes",
        "grpc",
        "google.protobuf.json_format",
        "google.protobuf.text_format",
        "tensorflow",
        "tensorflow.core.protobuf.config_pb2",
        "tensorflow.lite.python.interpreter",
    ):
        importlib.import_module(name)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"{threads} threads run; a process that is forked would lack them")
    gc.collect()
    gc.freeze()


def main(control):
    """Serve requests until the socket closes. Returns in the child processes alone, with what to run."""
    running, events = {}, selectors.DefaultSelector()
    events.register(control, selectors.EVENT_READ)
    lines = control.makefile("r", encoding="utf-8")
    control.sendall(b"ready\n")
    while True:
        for key, _mask in events.select():
            if key.data:
                _reap(events, running, *key.data)
                continue
            request = lines.readline()
            if not request:
                for process in running:
                    os.kill(process, signal.SIGKILL)
                os._exit(0)
            request, parent = json.loads(request), os.getpid()
            process = os.fork()
            if not process:
                for descriptor in running.values():
                    os.close(descriptor)
                events.close()
                lines.close()
                control.close()
                _become(request, parent)
                return request["argv"]
            running[process] = os.pidfd_open(process)
            events.register(running[process], selectors.EVENT_READ, (process, request["log"]))
            control.sendall(b"%d\n" % process)


def _reap(events, running, process, log):
    """Write how a process ended, and only then let it go: whoever finds neither the process nor its status knows that we are gone."""
    ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    with open(f"{log}.new", "w", encoding="utf-8") as stream:
        stream.write(str(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status))
    os.rename(f"{log}.new", f"{log}.status")
    os.waitpid(process, 0)
    events.unregister(running[process])
    os.close(running.pop(process))


def _become(request, parent):
    """Be as a process that was started anew: its environment, directory, output and signals. It ends with its parent, however that dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    del sys.path[0]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload()
    sys.argv = main(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_path(sys.argv[0], run_name="__main__")
