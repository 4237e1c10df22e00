# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.report: create the reports on the controller, which has Jinja2, and let the module write them on the host."""

from __future__ import annotations

import json
import os

from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page

MODULE = "tfserving.fleet.report"


class ActionModule(ActionBase):
    """Send the finished reports, one for each backend, instead of the data of the hosts."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result, for several reports as one."""
        result = super().run(tmp, task_vars)
        try:
            refuse(document.OPTIONS, self._task.args)
            _checked, options = self.validate_argument_spec(argument_spec=document.OPTIONS)
            wanted = {
                backend: document.build(hosts, options["title"], options["measured_at"])
                for backend, hosts in document.by_backend(options["hosts"])
            }
        except FleetError as fault:
            return dict(result, failed=True, msg=str(fault), fault=fault.as_dict())
        written = {}
        for backend, one in wanted.items():
            folder = os.path.join(options["destination"], backend) if len(wanted) > 1 else options["destination"]
            made = {"data": json.dumps(one, indent=1, allow_nan=False) + "\n", "page": page.render(one)}
            written[backend] = self._execute_module(
                module_name=MODULE, module_args={"destination": folder, "hosts": [], **made}, task_vars=task_vars
            )
            if written[backend].get("failed"):
                return written[backend]
        return _whole(written)


def _whole(written):
    """Return the results of the module, {backend: result}, as one."""
    results = list(written.values())
    found = dict(
        results[0],
        changed=any(one["changed"] for one in results),
        headline=" ".join(one["headline"] for one in results),
        reports=[
            {"backend": backend, **{key: one[key] for key in ("page", "data", "headline")}}
            for backend, one in written.items()
        ],
    )
    for key in ("actions", "warnings", "deprecations"):
        if any(one.get(key) for one in results):
            found[key] = [part for one in results for part in one.get(key) or ()]
    if len(results) > 1:
        found["summary"] = [line for one in results for line in [*one["summary"], ""]][:-1]
        found["diff"] = [one["diff"] for one in results if "diff" in one]
    return found
