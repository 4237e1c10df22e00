# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a conversion says that a form cannot be had: a normal end, no fault."""

from __future__ import annotations


class Refused(Exception):
    """The conversion cannot end in a model that serves; its text is the reason."""


def first_line(fault):
    """The first line of what a library raised."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(fault).__name__
