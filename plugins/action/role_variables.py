# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.role_variables: refuse variables that carry a role's prefix and are not its own, and values that none can have."""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import re

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

ARGUMENT_SPECS = os.path.join("meta", "argument_specs.yml")
DEFAULTS = os.path.join("defaults", "main.yml")


class ActionModule(ActionBase):
    """Works from the variables of the task alone: no connection, nothing changed."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Fail in one line on the host's unknown variables and wrong values; return changed: false otherwise."""
        result = super().run(tmp, task_vars)
        _checked, arguments = self.validate_argument_spec(
            argument_spec={"role_path": {"type": "path", "required": True}}
        )
        role_path = os.path.normpath(arguments["role_path"])
        try:
            refuse_unknown(task_vars, role_path, _full_name(role_path, task_vars))
            role_options.refuse_wrong(_options(role_path), self._evaluated(role_path, task_vars), _defaults(role_path))
        except FleetError as fault:
            result.update(failed=True, msg=f"{fault}{_origin(fault, role_path, task_vars)}")
        result["changed"] = False
        return result

    def _evaluated(self, role_path, task_vars):
        """{variable: value} of those that the user may have set, by their own names or by a collection-wide one; not those that cannot be evaluated yet."""
        found = {}
        for name in _options(role_path):
            if name in task_vars and (not is_default(name, role_path, task_vars) or _wide(name, role_path, task_vars)):
                with contextlib.suppress(AnsibleError):
                    found[name] = self._templar.template(task_vars[name])
        return found


def is_default(name, role_path, task_vars):
    defaults = _defaults(role_path)
    return name in defaults and task_vars[name] == defaults[name]


def _wide(name, role_path, task_vars):
    """The collection-wide variables that a variable's default takes its value from, and that somebody has set."""
    return [wide for wide in re.findall(r"\btfserving_\w+", str(_defaults(role_path).get(name))) if wide in task_vars]


def _origin(fault, role_path, task_vars):
    """' It comes from …' where the fault is in a default's value, or the empty string."""
    name = re.match(r"\w*", fault.where or "").group()
    wide = _wide(name, role_path, task_vars) if name in task_vars and is_default(name, role_path, task_vars) else ()
    return f" It comes from {wide[0]}." if wide else ""


def _full_name(role_path, task_vars):
    """The role's name as ansible-doc takes it, where it is the role of this task or one beside it in its collection; else None."""
    of_task, path_of_task = task_vars.get("ansible_role_name"), task_vars.get("role_path")
    if not path_of_task or os.path.dirname(os.path.normpath(path_of_task)) != os.path.dirname(role_path):
        return None
    collection, dot, _role = of_task.rpartition(".")
    return f"{collection}{dot}{os.path.basename(role_path)}"


def refuse_unknown(names, role_path, full_name=None):
    """Raise FleetError when some of names carry the prefix of the role at role_path without being its own.

    role_path: the role's folder, normalised. full_name: the role's name with its collection, as ansible-doc takes it, if that is known.
    """
    role = os.path.basename(role_path)
    known, foreign_prefixes = _role_names(role_path)
    unknown = sorted(
        name
        for name in names
        if name.startswith(f"{role}_") and name not in known and not name.startswith(foreign_prefixes)
    )
    if not unknown:
        return
    if full_name:
        documented = f"See the role's variables with: ansible-doc -t role {full_name}"
    else:
        documented = f"See the role's variables in {os.path.join(role_path, ARGUMENT_SPECS)}"
    spelt = ", ".join(name + _closest(name, known, f"{role}_") for name in unknown)
    raise FleetError(f"not a variable of this role: {spelt}", where=role, remedy=documented)


def _closest(name, known, prefix):
    """' (did you mean …?)', judged by what follows the prefix that all these names share, or the empty string."""
    endings = [candidate[len(prefix) :] for candidate in known]
    close = difflib.get_close_matches(name[len(prefix) :], endings, n=1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""


@functools.cache
def _role_names(role_path):
    """The variables of the role (sorted tuple of names) and the prefixes of roles beside it that extend its own prefix."""
    parent, role = os.path.split(role_path)
    results = {f"{role}_result"} | {f"{role}_{entry}_result" for entry in _specifications(role_path)}
    beside = [
        name for name in os.listdir(parent) if name.startswith(f"{role}_") and os.path.isdir(os.path.join(parent, name))
    ]
    return tuple(sorted(results.union(_options(role_path)))), tuple(f"{name}_" for name in beside)


@functools.cache
def _options(role_path):
    """{variable: its specification}, of all entry points."""
    path = os.path.join(role_path, ARGUMENT_SPECS)
    try:
        return {
            name: option or {}
            for entry in _specifications(role_path).values()
            for name, option in (entry.get("options") or {}).items()
        }
    except AttributeError as fault:
        raise _unreadable(path, fault) from fault


@functools.cache
def _specifications(role_path):
    path = os.path.join(role_path, ARGUMENT_SPECS)
    try:
        return dict(_read(path)["argument_specs"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as fault:
        raise _unreadable(path, fault) from fault


@functools.cache
def _defaults(role_path):
    """{variable: default}, templates as they stand."""
    path = os.path.join(role_path, DEFAULTS)
    try:
        return dict(_read(path) or {}) if os.path.exists(path) else {}
    except (OSError, yaml.YAMLError, TypeError, ValueError) as fault:
        raise _unreadable(path, fault) from fault


def _read(path):
    with open(path, encoding="utf-8") as stream:
        return yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _unreadable(path, fault):
    return FleetError(
        f"the list of the role's variables cannot be read ({fault.__class__.__name__})",
        where=path,
        remedy="Give role_path the directory of a role that has this file.",
    )


def module_runner(action, task_vars):
    """A function that runs a module on the host of an action and returns its result; raises FleetError where the module fails."""

    def call(module, **arguments):
        answer = action._execute_module(module_name=module, module_args=arguments, task_vars=task_vars)
        if answer.get("failed"):
            raise FleetError(answer.get("msg", "failed"), where=module)
        return answer

    return call
