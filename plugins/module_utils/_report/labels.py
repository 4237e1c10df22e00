# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Place labels next to the points of a plot, so that no label covers a point or another label, whatever width the page gives the plot."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

HEIGHT = 278  # px of svg.scatter in style.css.j2, without its padding
# The smallest and the largest width in px, without the padding, on a narrow and on a wide page, as in style.css.j2.
NARROW, WIDE = (240, 626), (580, 1000)
_POINT, _LETTER, _LINE = 12, 8, 13  # px: a mark, the widest letter, the height of a line


class Box(NamedTuple):
    """A rectangle that moves with the width of the plot: its center is `x` px right of a percentage of the width, and `y` px from the top."""

    percent: float
    x: float
    y: float
    width: float
    height: float

    def covers(self, other: Box, widths: tuple[int, int]) -> bool:
        """Return whether the rectangles overlap at one of the widths of the plot."""
        least, most = sorted((other.percent - self.percent) * width / 100 + other.x - self.x for width in widths)
        across, down = (self.width + other.width) / 2, (self.height + other.height) / 2
        return least < across and most > -across and abs(self.y - other.y) < down

    def is_inside(self, widths: tuple[int, int]) -> bool:
        """Return whether the rectangle stays inside the plot, whatever its width."""
        centers = [(self.percent * width / 100 + self.x, width) for width in widths] + [(self.y, HEIGHT)]
        sizes = (self.width, self.width, self.height)
        return all(size / 2 <= center <= length - size / 2 for (center, length), size in zip(centers, sizes))


def place(
    points: Sequence[tuple[float, float, str]], widths: tuple[int, int]
) -> Iterable[tuple[float, float, float, float, str]]:
    """Yield (x, y, right, down, label) of each label that finds a place. points: (x, y, label), the most important first.

    x and y: percent of the plot. right and down: px from the point to the middle of the label.
    """
    taken = [Box(x, 0, y * HEIGHT / 100, _POINT, _POINT) for x, y, _label in points]
    for x, y, label in points:
        width = len(label) * _LETTER
        for down, side in itertools.product((0, -13, 13), (1, -1, 0)):
            right = side * ((_POINT + width) / 2 + 3 if down == 0 else width / 2)
            box = Box(x, right, y * HEIGHT / 100 + down, width, _LINE)
            if box.is_inside(widths) and not any(box.covers(other, widths) for other in taken):
                taken.append(box)
                yield x, y, right, down, label
                break
