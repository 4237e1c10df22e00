# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.serving_configuration: how the plan serves a model."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._serving import trial_configuration
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def serving_configuration(plan, model, start=None):
    """Return {protocol, form, batching, environment, flags} of one model on one host."""
    return trial_configuration.planned(plan, model, start)


FilterModule = _filters.module(serving_configuration)
