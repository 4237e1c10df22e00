# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.plan_report: plan a fleet, print the plan, compare it with what runs or with an earlier plan, and write it to a file."""

from __future__ import annotations

import pathlib
import shutil

from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.action.host_plan import evaluated
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import is_vaulted
from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import (
    fleet_plans,
    host_variables,
    plan_file,
    plan_text,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.request import KEYS, MODEL_KEYS
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _output

_COLLECTION = pathlib.Path(__file__).resolve().parents[2]
_FOLDERS = tuple(str(_COLLECTION / name) for name in ("roles", "playbooks"))
_ROLE = "tfs_capabilities"
_OPTIONS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "earlier": {"type": "path"},
    "running": {"type": "str"},
    "planned": {"type": "str"},
    "path": {"type": "path"},
    "display": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Use only the hosts' variables and facts, without a connection."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(_OPTIONS)

    def run(self, tmp=None, task_vars=None):
        """Plan, print, and write the file if it differs."""
        result = super().run(tmp, task_vars)
        try:
            refuse(_OPTIONS, self._task.args)
            _checked, options = self.validate_argument_spec(argument_spec=_OPTIONS)
            hosts = fleet_plans.variables_of(options["hosts"], task_vars["hostvars"])
            tuned = []
            plans = fleet_plans.plan_all(hosts, lambda variables: _plan(variables, options["planned"], tuned))
            earlier = plan_file.read(options["earlier"]) if options["earlier"] else None
            running = fleet_plans.against(plans, hosts, options["running"])
            decision = plan_file.write(plans, options["path"], self._task.check_mode)
        except FleetError as fault:
            return dict(result, failed=True, msg=f"plan_report: {fault}")
        table = plan_text.text(plans, earlier, shutil.get_terminal_size((120, 24)).columns, running)
        if options["display"] and not _output.for_programs():
            _output.say("\n" + table)
        return dict(
            result,
            **decision.result(
                plans=plans,
                table=table,
                refused_hosts=sorted(host for host, plan in plans.items() if plan and plan["refusals"]),
                changes=None if earlier is None else plan_text.differences(plans, earlier)[1:],
                running=running,
                news=fleet_plans.news(plans, hosts, options["running"]),
                tuned=sorted(set(tuned)),
            ),
        )


def _plan(variables, planned, tuned):
    """Return the plan of a host, or None without its capabilities. Raise FleetError for its variables in any case.

    tuned: gets the host's name if a model's graph counts in its plan.
    """
    role_variables.role(f"{_FOLDERS[0]}/{_ROLE}").refuse_unknown(variables, f"tfserving.fleet.{_ROLE}")
    known = role_variables.mentioned(*_FOLDERS) | {f"tfserving_{key}" for key in KEYS}
    role_variables.refuse_misspelt(variables, known, MODEL_KEYS)
    own = evaluated(variables, lambda value: value)
    host = host_variables.Host(own, is_vaulted, lambda path: tuned.append(variables["inventory_hostname"]))
    return host_variables.plan_of(host, planned)
