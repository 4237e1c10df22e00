# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines for people, which leave standard output to programs where programs read it."""

from __future__ import annotations

import re

from ansible import constants
from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import one_line

_FOR_PROGRAMS = re.compile(r"json|xml|junit|csv|tap|^null$")


def for_programs(callback: str | None = None) -> bool:
    """Whether a program reads what a stdout callback writes: the one of this name, or the one in use."""
    name = callback or constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK")
    return bool(_FOR_PROGRAMS.search(str(name).rpartition(".")[2]))


def say(text: str) -> None:
    """Print lines alongside what the stdout callback prints; to standard error where a program reads that.

    Names from hosts can contain sequences that control the terminal.
    """
    Display().display("\n".join(map(one_line, text.split("\n"))), stderr=for_programs())
