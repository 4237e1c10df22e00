# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault after which a server still runs. Its reader, and a load balancer, may rely on that."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import Fault, FleetError


class FaultThatServes(Fault):
    """A ServesOn as data."""

    serves: bool


class ServesOn(FleetError):
    """A FleetError after which a verified server runs: the one before the fault, or another one of the same description."""

    def as_dict(self) -> FaultThatServes:
        """Return {what, where, remedy, serves: true}."""
        return {**super().as_dict(), "serves": True}


def extended(fault: FleetError, sentence: str, kind: Any = None) -> FleetError:
    """Return the fault with one more sentence in its remedy. kind: its class, by default unchanged."""
    return (kind or type(fault))(fault.what, fault.where, f"{fault.remedy} {sentence}" if fault.remedy else sentence)
