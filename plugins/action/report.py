# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.report: create the report on the controller, which has Jinja2, and let the module write it on the host."""

from __future__ import annotations

import json

from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page

MODULE = "tfserving.fleet.report"


class ActionModule(ActionBase):
    """Send the finished report instead of the data of the hosts."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result = super().run(tmp, task_vars)
        try:
            refuse(document.OPTIONS, self._task.args)
            _checked, options = self.validate_argument_spec(argument_spec=document.OPTIONS)
            wanted = document.build(options["hosts"], options["title"], options["measured_at"])
        except FleetError as fault:
            return dict(result, failed=True, msg=str(fault), fault=fault.as_dict())
        made = {"data": json.dumps(wanted, indent=1, allow_nan=False) + "\n", "page": page.render(wanted)}
        return self._execute_module(
            module_name=MODULE,
            module_args={"destination": options["destination"], "hosts": [], **made},
            task_vars=task_vars,
        )
