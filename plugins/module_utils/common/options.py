# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of single option values; each fault names the option, the value and what is allowed."""

from __future__ import annotations

import difflib

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError


def bounded(name, value, minimum=None, maximum=None, unit=""):
    """Return value, an int or a float; raise FleetError outside minimum..maximum (inclusive, None for open)."""
    too_low = minimum is not None and not value >= minimum
    too_high = maximum is not None and not value <= maximum
    if too_low or too_high:
        of = f" {unit}" if unit else ""
        if minimum is not None and maximum is not None:
            allowed = f"{minimum} to {maximum}{of}"
        elif minimum is not None:
            allowed = f"{minimum}{of} or more"
        else:
            allowed = f"{maximum}{of} or less"
        raise FleetError(f"{value!r} is out of range; allowed: {allowed}", where=name)
    return value


def one_of(name, value, allowed):
    """Return value; raise FleetError when it is not among allowed, with the closest allowed spelling."""
    if value not in allowed:
        raise FleetError(f"{value!r} is not known; allowed: {', '.join(map(str, allowed))}{did_you_mean(value, allowed)}", where=name)
    return value


def did_you_mean(value, allowed):
    """'; did you mean …?' for the closest spelling, or the empty string."""
    close = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
