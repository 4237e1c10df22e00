# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn what `pip config list` says into one pip.conf, so that a pip without this user's files and variables behaves the same."""

import ast
import sys

if __name__ == "__main__":
    settings = {}
    for line in sys.stdin:
        name, _equals, value = line.strip().partition("=")
        place, _dot, option = name.rpartition(".")
        # What a variable sets (":env:") outranks all files and holds for every command.
        settings[("global" if place == ":env:" else place, option)] = ast.literal_eval(value)
    for section in sorted({section for section, _option in settings}):
        print(f"[{section}]")
        for (place, option), value in sorted(settings.items()):
            if place == section:
                print(f"{option} = " + "\n    ".join(value.split()))
