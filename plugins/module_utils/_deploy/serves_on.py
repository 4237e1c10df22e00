# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault that left something serving: its reader, and a load balancer, may rely on that."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


class ServesOn(FleetError):
    """A FleetError after which a server that was verified serves, the one before the fault or another of the same description."""

    def as_dict(self):
        """{what, where, remedy, serves: true}."""
        return dict(super().as_dict(), serves=True)


def extended(fault, sentence, kind=None):
    """The fault with a sentence more behind its remedy. kind: its class, by default as before."""
    return (kind or type(fault))(fault.what, fault.where, f"{fault.remedy} {sentence}" if fault.remedy else sentence)
