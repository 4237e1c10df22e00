# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that runs a program of this collection in a container instead of on the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# The container ends with its caller: its first process waits for the program, and kills it if the caller closes standard input.
_FIRST_PROCESS = 'exec 3<&0; "$@" </dev/null & child=$!; (cat <&3 >/dev/null; kill -9 $child) 2>/dev/null & wait $child'


def command(
    image: str,
    readable: Iterable[str],
    writable: Iterable[str],
    user: str,
    environment: Mapping[str, str],
    gpus: str | None = None,
    engine: str = "docker",
) -> list[str]:
    """Return the command line, to which the caller appends the program's path and arguments.

    readable, writable: paths that are mounted at the same place. user: "uid:gid". gpus: the value of --gpus, or None.
    """
    words = [
        engine,
        "run",
        "--rm",
        "--interactive",
        "--init",
        "--network",
        "none",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--user",
        user,
        "--env",
        "HOME=/tmp",
    ]
    words += ["--gpus", gpus] if gpus else []
    for name, value in sorted(environment.items()):
        words += ["--env", f"{name}={value}"]
    for path in readable:
        words += ["--volume", f"{path}:{path}:ro"]
    for path in writable:
        words += ["--volume", f"{path}:{path}"]
    return [*words, "--entrypoint", "/bin/sh", image, "-c", _FIRST_PROCESS, "sh", "python3"]
