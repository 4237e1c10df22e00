# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a conversion says that a form cannot be had: a normal end, no fault."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\{\{[^}]*\}\} ?")
_PREAMBLE = ("Graph execution error", "Detected at node", "<stack traces unavailable>")


class Refused(Exception):
    """The conversion cannot end in a model that serves; its text is the reason."""


def first_line(fault: BaseException) -> str:
    """The first line of what a library raised that says something: TensorFlow tells the place before the fault."""
    lines = [_PLACE.sub("", line).strip() for line in str(fault).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_PREAMBLE)]
    return lines[0][:300] if lines else type(fault).__name__
