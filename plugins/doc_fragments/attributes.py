# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes that all modules share, as they are for a module that only reads. Other modules document what differs."""

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
    description: Only reads, in check mode and otherwise.
    support: full
  diff_mode:
    description: Changes nothing, so it has no differences to show.
    support: none
  platform:
    description: Any Linux with Python 3.9 or later.
    platforms: linux
    support: full
"""
