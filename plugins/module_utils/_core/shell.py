# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of all modules: the only file of module_utils that imports Ansible."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils._core import options, urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


class FleetModule(AnsibleModule):
    """AnsibleModule with errors that contain the option, the value and what is allowed for values of the wrong type, also within lists and mappings."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        os.umask(
            os.umask(0o022) | 0o022
        )  # Only the owner can write to files that this process and its children create.
        self._given: dict[str, Any] | None = {}
        try:
            super().__init__(*arguments, **settings)
        except (
            OverflowError,
            TypeError,
        ) as error:  # Ansible raises them for infinite numbers, and for other values in place of a mapping with a password.
            self.fail_json(msg=str(error))
        fault = options.wrong_type(self.argument_spec, self._given) or options.unusable(self.argument_spec, self.params)
        self._given = None
        if fault:
            self.fail_json(msg=str(fault), fault=fault.as_dict())

    def _load_params(self) -> None:
        super()._load_params()
        self._given = dict(self.params)
        self.no_log_values.update(options.secrets_in(self.argument_spec, self.params), urls.secrets(self.params))

    def fail_json(self, msg: str, **result: Any) -> None:
        fault = options.wrong_type(self.argument_spec, self._given) if self._given else None
        super().fail_json(msg=str(fault) if fault else msg, **result)


def run(module: AnsibleModule, work: Callable[[], dict[str, Any]]) -> None:
    """Exit the module with the result (a dict) or the FleetError of work(), which takes no arguments."""
    try:
        result = work()
    except FleetError as fault:
        module.fail_json(msg=str(fault), fault=fault.as_dict())
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)
