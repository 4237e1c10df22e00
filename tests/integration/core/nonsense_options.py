# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program: call a module in check mode again and again, each time with nonsense in one place of its first example; print, one a line, what went wrong."""

from __future__ import annotations

import copy
import importlib
import json
import sys

import yaml
from ansible_collections.tfserving.fleet.tests.support import modules

NONSENSE = [True, -1, float("inf"), "", "ü\u2028\0y", "1e400", [None], {"x": {"y": [1]}}, "/nonexistent/x", None]
# What a module would look for on this machine.
STAND_INS = {"engine_socket": "/nonexistent.sock"}


def places(options, path=()):
    """Where values can be put: the paths of all options, the documented ones inside of others too."""
    for name, option in (options or {}).items():
        yield (*path, name)
        if option.get("suboptions"):
            yield from places(option["suboptions"], (*path, name, *((0,) if option.get("type") == "list" else ())))


def placed(arguments, path, value):
    """The arguments with the value at the path, or None where the example has nothing around it."""
    changed = copy.deepcopy(arguments)
    inner = changed
    for step in path[:-1]:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):
            return None
    if not isinstance(inner, dict):
        return None
    inner[path[-1]] = value
    return changed


def main(name):
    """Print what went wrong, and last how many calls were made."""
    module = importlib.import_module(f"{modules.PACKAGE}.{name}")
    options = yaml.safe_load(module.DOCUMENTATION).get("options") or {}
    example = next(
        task[f"tfserving.fleet.{name}"] or {}
        for task in yaml.safe_load(module.EXAMPLES)
        if f"tfserving.fleet.{name}" in task
    )
    arguments = {
        **json.loads(json.dumps(example, default=str)),
        **{key: value for key, value in STAND_INS.items() if key in options},
    }
    calls = 0
    for path in places(options):
        for value in NONSENSE:
            changed = placed(arguments, path, value)
            if changed is None:
                continue
            calls += 1
            where = f"{'.'.join(map(str, path))}={value!r}"
            try:
                told = dict(changed, _ansible_check_mode=True, _ansible_remote_tmp="/tmp")
                result = modules.call_here(module, json.dumps({"ANSIBLE_MODULE_ARGS": told}))
            except Exception as fault:
                print(f"{where}: {fault!r}")
                continue
            if result.get("failed") and ("\n" in result["msg"] or not result["msg"].strip()):
                print(f"{where}: {result['msg']!r}")
    print(calls)


if __name__ == "__main__":
    main(sys.argv[1])
