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
import sys
import tempfile

from ansible_collections.tfserving.fleet.plugins.modules import model_server, model_server_info

_MODULES = {"model_server": model_server, "model_server_info": model_server_info}
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class Module:
    """A module that was just started. options: its parameters."""

    def __init__(self, name, options, check_mode=False):
        descriptor, self._output = tempfile.mkstemp(prefix="module-")
        os.close(descriptor)
        given = {key: value for key, value in options.items() if value is not None}
        self._process = _context.Process(target=_run, args=(name, dict(given, _ansible_check_mode=check_mode, _ansible_diff=True), self._output))
        self._process.start()

    @property
    def runs(self):
        return self._process.exitcode is None

    def kill(self):
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.join()
        os.unlink(self._output)

    def result(self, timeout_s=600):
        """Wait for the module's end; returns its result."""
        self._process.join(timeout_s)
        output = pathlib.Path(self._output).read_text(encoding="utf-8")
        assert not self.runs, f"the module still runs after {timeout_s} s: {output[-3000:]}"
        os.unlink(self._output)
        return json.loads(output[output.index("{"):])


def _run(name, options, output):
    import ansible.module_utils.testing
    os.setsid()
    with open(output, "wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
    try:
        with ansible.module_utils.testing.patch_module_args(options):
            _MODULES[name].main()
    finally:
        atexit._run_exitfuncs()     # as at the end of a process that was not forked; multiprocessing leaves them out
        sys.stdout.flush()
