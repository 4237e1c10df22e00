# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision of a module, made before it changes anything. Check mode, diff and result come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decision:
    """A change and what it does. before and after: text or a mapping, as in Ansible's diff. actions: imperative sentences, in order."""

    changed: bool
    before: object = ""
    after: object = ""
    actions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    header: str = ""

    def result(self, **values: Any) -> dict[str, Any]:
        """Return the module's result: changed, diff, actions, warnings, and values."""
        diff: dict[str, Any] = {"before": self.before, "after": self.after}
        if self.header:
            diff.update(before_header=self.header, after_header=self.header)
        return dict(values, changed=self.changed, diff=diff, actions=list(self.actions), warnings=list(self.warnings))
