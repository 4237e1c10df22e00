# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.tuning: run the modules that the trial chooses on the host."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import options, trial, upgrade
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _embedded_program, _output


class ActionModule(ActionBase):
    """One host, one model."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Return tuning: {configuration, steps, total, noise, method}, and write a file for later runs."""
        result = super().run(tmp, task_vars)
        try:
            refuse(options.ARGUMENTS, self._task.args)
            _checked, arguments = self.validate_argument_spec(argument_spec=options.ARGUMENTS)
            controller = trial.Controller(
                module_runner(self, task_vars),
                lambda text: _output.say(f"  {text}"),
                task_vars["inventory_hostname"],
            )
            tune = upgrade.gate if arguments["upgrade"] else trial.tune
            return dict(result, **tune(controller, arguments, self._task.check_mode))
        except FleetError as fault:
            return dict(result, failed=True, msg=str(fault))


def module_runner(action, task_vars):
    """Return a function that runs a module on the host of an action, and returns its result or raises FleetError."""

    def call(module, **arguments):
        if module == "tfserving.fleet.model_server":
            arguments = _embedded_program.send(action, arguments)
        answer = action._execute_module(module_name=module, module_args=arguments, task_vars=task_vars)
        if answer.get("failed"):
            cause = FleetError.from_dict(answer["fault"]) if answer.get("fault") else None
            raise FleetError(answer.get("msg", "failed"), where=module) from cause
        return answer

    return call
