# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.server_description: the models that a server of a host has, and how the plan and tunings have them served."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import served_models


def server_description(plan, known, model="", tunings=(), directory="/srv/tfserving/models", given=None):
    """{name, models, batching, per_model, environment, flags, forms} of the server that a plan (empty where there is none) makes of the models."""
    try:
        return served_models.description(plan or {}, known or [], model, tunings, directory, given or {})
    except FleetError as fault:
        raise AnsibleFilterError(f"server_description: {fault}") from fault


class FilterModule:
    """What Ansible loads."""

    def filters(self):
        return {"server_description": server_description}
