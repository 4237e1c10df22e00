# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan while it is being made."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils._plan import option_lines


@dataclass
class Draft:
    """What has been decided so far. Each refusal carries, beside its words, the change of the request that makes it go away."""

    decisions: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    refusals: list = field(default_factory=list)

    def decide(self, subject, choice, reason):
        """Note a choice and return it."""
        self.decisions.append({"subject": subject, "choice": choice, "reason": reason})
        return choice

    def warn(self, text):
        """Note what the user should know although nothing is refused."""
        if text not in self.warnings:
            self.warnings.append(text)

    def refuse(self, subject, reason, remedy, change):
        """Note what will not be done. change: request keys and the values that apply() puts there."""
        self.refusals.append({"subject": subject, "reason": reason, "remedy": remedy, "change": change})


def apply(request, change):
    """The request with a refusal's change made.

    Keys are replaced, flags and environment merged (None takes one out), models changed by name; old-style options that said otherwise go.
    """
    changed = dict(request, options=option_lines.without(request.get("options") or [], change))
    for key, value in change.items():
        if key in ("flags", "environment"):
            merged = dict(request.get(key) or {}, **value)
            changed[key] = {name: setting for name, setting in merged.items() if setting is not None}
        elif key == "models" and isinstance(value, dict):
            changed[key] = [dict(model, **value.get(model["name"], {})) for model in request.get(key) or []]
        else:
            changed[key] = value
    return changed
