# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.model_converters: which hosts convert models, and for which plans."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._model import variant_choice
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def model_converters(hosts, converters):
    """Return {converter: [plan]} of hosts, a list of their variables."""
    plans = {
        str(host["inventory_hostname"]): (
            host.get("tfs_capabilities_plan_result") or host.get("__tfserving_planned") or {}
        ).get("plan")
        for host in hosts
    }
    return variant_choice.plans_by_converter(
        list(converters),
        {
            str(host["inventory_hostname"]): {
                "plan": plans[str(host["inventory_hostname"])],
                "converter": host.get("tfs_model_converter"),
            }
            for host in hosts
        },
    )


FilterModule = _filters.module(model_converters)
