# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as processes on this machine, forked from one that has imported them: each starts within milliseconds and can be killed."""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import pathlib
import tempfile

from ansible_collections.tfserving.fleet.plugins.modules import model_server, model_server_info, model_version
from ansible_collections.tfserving.fleet.tests.support import modules

_MODULES = {"model_server": model_server, "model_server_info": model_server_info, "model_version": model_version}
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class Module:
    """A module that was just started. options: its parameters; those that are None are left out."""

    def __init__(self, module, /, check=False, **options):
        descriptor, self._result = tempfile.mkstemp(prefix="module-")
        os.close(descriptor)
        self._process = _context.Process(target=_run, args=(module, modules.request(check, **options), self._result))
        self._process.start()

    @property
    def runs(self):
        return self._process.exitcode is None

    def kill(self):
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.join()
        os.unlink(self._result)

    def result(self, timeout_s=600):
        """Wait for the module's end; returns its result."""
        self._process.join(timeout_s)
        assert not self.runs, f"the module still runs after {timeout_s} s"
        text = pathlib.Path(self._result).read_text(encoding="utf-8")
        os.unlink(self._result)
        return json.loads(text)


def _run(name, request, path):
    os.setsid()
    result = modules.call_here(_MODULES[name], request)
    pathlib.Path(path).write_text(json.dumps(result), encoding="utf-8")
    atexit._run_exitfuncs()  # multiprocessing leaves them out
