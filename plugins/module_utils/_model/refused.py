# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception for a variant that cannot be made: a normal end, not an error."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\{\{[^}]*\}\} ?")
_PREAMBLE = ("Graph execution error", "Detected at node", "<stack traces unavailable>")


class Refused(Exception):
    """The conversion cannot produce a model that serves. The text is the reason."""


def first_line(fault: BaseException) -> str:
    """Return the first line of a library's error that has content: TensorFlow prints the location before the error."""
    lines = [_PLACE.sub("", line).strip() for line in str(fault).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_PREAMBLE)]
    return lines[0][:300] if lines else type(fault).__name__
