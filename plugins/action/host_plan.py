# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.host_plan: plan one host from its facts and variables, and detect it first if its facts are missing."""

from __future__ import annotations

import pathlib

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.action.tuning import module_runner
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import is_vaulted
from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError, refuse_malformed
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import host_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import saved_structure

_DETECT = "tfserving.fleet.capability_facts"
_ROLES = {f"{path.name}_": str(path) for path in (pathlib.Path(__file__).resolve().parents[2] / "roles").glob("tfs_*")}
_OPTIONS = {
    "for_server": {"type": "bool", "default": True},
    "tunings": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Use the host's variables and facts. Connect only to detect the host, or if one of its models has a tuning."""

    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(_OPTIONS)

    def run(self, tmp=None, task_vars=None):
        """Return plan and server, and the capabilities as facts if they were detected now."""
        result = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        host = host_variables.Host(
            evaluated(task_vars, self._templar.template, lambda name: not _is_default(name, task_vars)),
            is_vaulted,
            lambda path: saved_structure.on_host(module_runner(self, task_vars), path),
        )
        try:
            purpose = host_variables.Purpose(**options)
            with refuse_malformed("the facts of the host"):
                planned = host_variables.planned(host, purpose, lambda: self._detect(task_vars))
            return dict(result, deployment=host_variables.deployment(self._task._uuid), **planned)
        except FleetError as fault:
            return dict(result, failed=True, msg=str(fault))

    def _detect(self, task_vars):
        """Return the result of capability_facts on the host."""
        task = self._task.copy()
        socket = self._templar.template(task_vars.get("tfserving_engine_socket"))
        task.args = {"engine_socket": socket} if socket else {}
        detect = self._shared_loader_obj.action_loader.get(
            _DETECT,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return detect.run(task_vars=task_vars)


def evaluated(variables, template, is_own=lambda name: True):
    """Return variables that template evaluates when they are read. Errors contain the variable's name."""

    def value_of(name):
        try:
            return template(variables[name])
        except AnsibleError as fault:
            raise FleetError(f"cannot evaluate the variable: {str(fault).partition(chr(10))[0]}", where=name) from fault

    return host_variables.Evaluated(variables, value_of, is_own)


def _is_default(name, variables):
    return any(
        role_variables.role(path).is_default(name, variables)
        for prefix, path in _ROLES.items()
        if name.startswith(prefix)
    )
