# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the decisions of a plan while it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

_Choice = TypeVar("_Choice")


@dataclass
class Draft:
    """The decisions so far. Each refusal contains the change of the request that avoids it."""

    decisions: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusals: list[Any] = field(default_factory=list)

    def decide(self, subject: str, choice: _Choice, reason: str) -> _Choice:
        """Add a choice and return it."""
        self.decisions.append({"subject": subject, "choice": choice, "reason": reason})
        return choice

    def warn(self, text: str) -> None:
        """Add a warning."""
        if text not in self.warnings:
            self.warnings.append(text)

    def refuse(self, subject: str, reason: str, remedy: str | None, change: Mapping[str, Any]) -> None:
        """Add a refusal. change: request keys and their values; flags and environment are merged, and None removes a name."""
        self.refusals.append({"subject": subject, "reason": reason, "remedy": remedy, "change": change})
