# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""runc for a machine that lets nobody raise a limit, root neither: Podman asks for a million open files for each container."""

from __future__ import annotations

import json
import os
import resource
import sys

if "create" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    with open(path, encoding="utf-8") as stream:
        configuration = json.load(stream)
    for limit in configuration["process"].get("rlimits", []):
        most = resource.getrlimit(getattr(resource, limit["type"]))[1]
        for side in ("soft", "hard") if most != resource.RLIM_INFINITY else ():
            limit[side] = min(limit[side], most)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(configuration, stream)
os.execv("/usr/sbin/runc", ["runc", *sys.argv[1:]])
