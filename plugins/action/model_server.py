# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.model_server: send the embedded server's program to hosts that serve with it, and run the module."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _embedded_program

MODULE = "tfserving.fleet.model_server"


class ActionModule(ActionBase):
    """Run the module, which takes no program where a container engine serves."""

    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        super().run(tmp, task_vars)
        return self._execute_module(
            module_name=MODULE,
            module_args=_embedded_program.send(self, self._task.args),
            task_vars=task_vars,
            wrap_async=self._task.async_val,
        )
