# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that plan: serving_plan for one host, plan_table for a fleet's plans as text."""

from __future__ import annotations

from ansible.parsing.vault import VaultHelper
from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan_text, preparation
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.plan import plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def serving_plan(capabilities, request=None):
    """Return the plan of one host from its capabilities and the request."""
    prepared, known, secrets = preparation.prepared(capabilities, request, is_vaulted)
    return preparation.with_secrets(plan(capabilities, prepared, known), secrets)


@_filters.named
def plan_table(plans, earlier=None, width=120):
    """Return the plans of hosts, {host: plan}, as text. With earlier plans of the same shape, also return the differences."""
    return plan_text.text(plans, earlier, width)


def secret_variables(environment):
    """Return {name: value} of the variables that are never shown: those from a vault, and those with a secret's name."""
    return options.secret_variables(environment or {}, is_vaulted)


def is_vaulted(value):
    """Return whether a value is from an encrypted variable. Values of files that are encrypted as a whole are not marked."""
    return VaultHelper.get_ciphertext(value, with_tags=False) is not None


FilterModule = _filters.module(serving_plan, plan_table, secret_variables)
