# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of this collection, run as Ansible runs them: JSON in, JSON out, in a process for each call, or in one for many calls that fail early."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys

PACKAGE, BUILTIN = "ansible_collections.tfserving.fleet.plugins.modules", "ansible.modules"


def command(module, builtin=False):
    """Return the words that run a module; it reads its request from standard input. builtin: it is one of ansible-core."""
    return [sys.executable, "-m", f"{BUILTIN if builtin else PACKAGE}.{module}"]


def request(check=False, diff=True, **options):
    """Return the JSON text that a module reads. Options that are None are left out."""
    internal = {
        "_ansible_check_mode": check,
        "_ansible_diff": diff,
        "_ansible_remote_tmp": "/tmp",
        "_ansible_keep_remote_files": False,
    }
    given = {
        name: str(value) if isinstance(value, os.PathLike) else value
        for name, value in options.items()
        if value is not None
    }
    return json.dumps({"ANSIBLE_MODULE_ARGS": {**given, **internal}})


def start(module, check=False, diff=True, prefix=(), environment=None, builtin=False, **options):
    """Return the process of a module, which has got its request. prefix: words in front of its command; environment: variables added to ours."""
    process = subprocess.Popen(
        [*prefix, *command(module, builtin)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=dict(os.environ, **(environment or {})),
    )
    process.stdin.write(request(check, diff, **options))
    process.stdin.close()
    process.stdin = None
    return process


def result(process, timeout_s=300):
    """Return what a started module prints."""
    output, errors = process.communicate(timeout=timeout_s)
    assert output.strip(), errors[-3000:]
    return json.loads(output)


def call(module, **given):
    """Return the result of a module in a process of its own; given: see start."""
    return result(start(module, **given))


def call_each(module, calls, check=False):
    """Return the results of a module for each of several dicts of options, in one process."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, module],
        input="\n".join(request(check, **options) for options in calls),
        text=True,
        capture_output=True,
        check=False,
        timeout=600,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def call_here(module, text):
    """Return the result of an imported module for a request, in this process."""
    from ansible.module_utils import basic

    basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = text.encode(), "legacy"
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        module.main()
    return json.loads(output.getvalue())


if __name__ == "__main__":
    imported = importlib.import_module(f"{PACKAGE}.{sys.argv[1]}")
    print(json.dumps([call_here(imported, line) for line in sys.stdin]))
