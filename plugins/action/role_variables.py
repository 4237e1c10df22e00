# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.role_variables: reject unknown variables with a role's prefix, and invalid values."""

from __future__ import annotations

import contextlib
import os

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_variables, urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


class ActionModule(ActionBase):
    """Use only the variables of the task, without a connection. Change nothing."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Fail in one line for unknown variables and wrong values. Otherwise return changed: false."""
        result = super().run(tmp, task_vars)
        _checked, arguments = self.validate_argument_spec(
            argument_spec={"role_path": {"type": "path", "required": True}}
        )
        role, values = role_variables.role(os.path.normpath(arguments["role_path"])), {}
        try:
            role.refuse_unknown(task_vars, _full_name(role, task_vars))
            for name in role.given(task_vars):
                # Variables that cannot be evaluated yet are checked where they are used.
                with contextlib.suppress(AnsibleError):
                    values[name] = self._templar.template(task_vars[name])
            role.refuse_wrong(values, task_vars)
        except FleetError as fault:
            result.update(failed=True, msg=urls.masked(str(fault), values))
        result["changed"] = False
        return result


def _full_name(role, task_vars):
    """Return the role's name for ansible-doc if it is the role of this task or one of the same collection, else None."""
    of_task, path_of_task = task_vars.get("ansible_role_name"), task_vars.get("role_path")
    if not path_of_task or os.path.dirname(os.path.normpath(path_of_task)) != os.path.dirname(role.path):
        return None
    collection, dot, _role = of_task.rpartition(".")
    return f"{collection}{dot}{role.name}"
