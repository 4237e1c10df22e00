# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all filters need: errors in one line, and the class that Ansible loads."""

from __future__ import annotations

import functools

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError, refuse_malformed


def named(function):
    """Let a filter raise AnsibleFilterError, with its name, for each FleetError."""

    @functools.wraps(function)
    def call(*arguments, **options):
        try:
            with refuse_malformed("input"):
                return function(*arguments, **options)
        except FleetError as fault:
            raise AnsibleFilterError(f"{function.__name__}: {fault}") from fault

    return call


def module(*filters):
    """Return the FilterModule of these functions."""
    return type("FilterModule", (), {"filters": lambda _self: {one.__name__: one for one in filters}})
