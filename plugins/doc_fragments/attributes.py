# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of all modules says alike: of a module that only reads. Others say what differs."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  action_group:
    description: Belongs to the action group C(tfserving.fleet.fleet).
    support: full
    membership:
      - tfserving.fleet.fleet
  check_mode:
    description: Only reads, with or without check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
  platform:
    description: Any Linux with Python 3.9 or later.
    platforms: linux
    support: full
"""
