# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strings in NumPy archives. NumPy pads them to one width and removes NULs at their ends, which bytes such as those of a tf.Example need."""

from __future__ import annotations

from collections.abc import Iterable

LENGTHS = "lengths."  # Before an array's name: an array of the same shape with the lengths of its texts, in bytes.


def cut(raw: bytes, width: int, lengths: Iterable[int]) -> list[bytes]:
    """Return the strings in raw, each padded to a width, as a list of bytes."""
    return [raw[at * width : at * width + min(width, length)] for at, length in enumerate(lengths)]
