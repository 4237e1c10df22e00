# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report the progress of a build: Bazel's [n / m] as a percentage with the time left, and the step of the Dockerfile before that."""

from __future__ import annotations

import collections
import re

_COUNT = re.compile(r"\[([\d,]+) / ([\d,]+)\]")
_STEP = re.compile(r"^Step (\d+)/(\d+) : ((?:RUN|ADD|COPY|FROM) .*)")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\b]")
_WINDOW_S = 600.0
_LEAST_S = 5.0
_SHOWN = 60


class Progress:
    """Turns lines of build output into progress messages. now: seconds of a monotonic clock."""

    _seen: collections.deque[tuple[float, int]]
    _reported_at: float | None
    done: int | None
    total: int | None

    def __init__(self, what: str, every_s: float = 10.0) -> None:
        self._what, self._every_s = what, every_s
        self._seen, self._reported_at, self._step, self.done, self.total = collections.deque(), None, "", None, None

    def line(self, text: str, now: float) -> str | None:
        """Return the message for a line of output, or None if there is nothing new to report."""
        text = plain(text)
        step, count = _STEP.match(text), _COUNT.search(text)
        if step:
            self._step, self.done, self.total = f"step {step[1]} of {step[2]}", None, None
            self._seen.clear()
            return self._report(f"{self._step}: {step[3][:_SHOWN]}", now, True)
        if not count:
            return None
        self.done, self.total = done, total = [int(number.replace(",", "")) for number in count.groups()]
        self._seen.append((now, done))
        while now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        if not total:
            return None
        left = self.left_s()
        tail = f", about {duration(left)} left" if left is not None else ""
        return self._report(
            f"{self._step}: {100 * done // total} %, {done} of {total} actions{tail}",
            now,
            done == total,
        )

    def left_s(self) -> float | None:
        """Return the seconds left at the pace of the last ten minutes, or None while it is not known. Cache hits at the start soon leave the window."""
        (began, first), (now, done) = self._seen[0], self._seen[-1]
        if now - began < _LEAST_S or done <= first or self.total is None:
            return None
        return (self.total - done) * (now - began) / (done - first)

    def _report(self, text: str, now: float, at_once: bool) -> str | None:
        if not at_once and self._reported_at is not None and now - self._reported_at < self._every_s:
            return None
        self._reported_at = now
        return f"{self._what}: {text}"


def plain(text: str) -> str:
    """Return a line without terminal colors."""
    return _ESCAPES.sub("", text)


def duration(seconds: float) -> str:
    """Return a time span as text."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
