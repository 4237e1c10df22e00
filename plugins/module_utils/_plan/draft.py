# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan while it is being made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

_Choice = TypeVar("_Choice")


@dataclass
class Draft:
    """What has been decided so far. Each refusal carries, beside its words, the change of the request that makes it go away."""

    decisions: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refusals: list[Any] = field(default_factory=list)

    def decide(self, subject: str, choice: _Choice, reason: str) -> _Choice:
        """Note a choice and return it."""
        self.decisions.append({"subject": subject, "choice": choice, "reason": reason})
        return choice

    def warn(self, text: str) -> None:
        """Note what the user should know although nothing is refused."""
        if text not in self.warnings:
            self.warnings.append(text)

    def refuse(self, subject: str, reason: str, remedy: str | None, change: Mapping[str, Any]) -> None:
        """Note what will not be done. change: request keys and their values; flags and environment are merged, None takes one out."""
        self.refusals.append({"subject": subject, "reason": reason, "remedy": remedy, "change": change})
