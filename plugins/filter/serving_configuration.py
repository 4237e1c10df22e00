# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.serving_configuration: how the plan serves a model."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration


def serving_configuration(plan, model, start=None):
    """Return {protocol, form, batching, environment, flags} of one model on one host."""
    try:
        return trial_configuration.planned(plan, model, start)
    except FleetError as fault:
        raise AnsibleFilterError(f"serving_configuration: {fault}") from fault


class FilterModule:
    """What Ansible loads."""

    def filters(self):
        return {"serving_configuration": serving_configuration}
