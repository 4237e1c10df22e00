# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explain why a server ended or did not become ready: a cause and a remedy from how its container ended and from its last output."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils._core import urls
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings

_MOST_LINES = 4
_FINAL = "Failed to start server"
_TELLING = re.compile(
    r"^unknown argument:|^Couldn't interpret|: [EFW] \S+\] |^[EF]\d{4} \S+ +\d+ \S+\] "
    r"|\] (Loading servable:|Could not find base path|No versions of)"
    r"|^\w*(Error|Exception)\b|^Fatal|Check failed|^terminate called|^\s*what\(\):|Illegal instruction|aren't available on your machine"
    r"|error while loading shared libraries|' not found \(required by|[Ee]xec format error|[Oo]ut of memory|oom-kill|No space left"
)
# Lines without information: disabled retries are reported as exhausted even after a success.
_HARMLESS = re.compile(
    r"exhausted max_num_retries: 0$|Overriding num_tflite|Could not find cuda|computation_placer|cuda_\w+\.cc|Unable to register cu"
    r"|^@ +0x|^\*\*\* Check failure stack trace"
)
_ERROR = re.compile(r": [EF] \S+\] |^[EF]\d{4} \S+ +\d+ \S+\] ")


@dataclass(frozen=True)
class Words:
    """An explanation. cause: a clause. lines: the relevant lines of the output, joined. remedy: an imperative sentence or None."""

    cause: str
    lines: str
    remedy: str | None


def explain(
    exit_code: int | None, killed_for_memory: bool, log: str, memory_mib: int | None = None, engine_error: str = ""
) -> Words:
    """Return the Words about a server that ended, or about one that is not ready if exit_code is None.

    log: its output. engine_error: why it did not start.
    """
    text = "\n".join(part for part in (log, engine_error) if part)
    lines = _lines(text)
    if killed_for_memory:
        limit = f"limit {memory_mib} MiB" if memory_mib else "OOM"
        return Words(
            f"it was killed: out of memory ({limit})", lines, "Give it more memory, or serve less on this host."
        )
    if endings.signal_of(exit_code) == 9 and memory_mib:
        return Words(
            f"SIGKILL: out of memory (limit {memory_mib} MiB), or killed by another process; the engine does not report which",
            lines,
            "Give it more memory. The kernel's log (dmesg) shows which it was.",
        )
    ending = endings.find(text, exit_code)
    if ending:
        shown = f" (exit status {exit_code})" if exit_code and "SIG" not in ending.cause else ""
        return Words(ending.cause + shown, lines, ending.remedy)
    if exit_code is None and any(_ERROR.search(line) and not _HARMLESS.search(line) for line in text.splitlines()):
        return Words(
            "it is still not ready, and its log has an error",
            lines,
            "Fix the cause that the log shows; more time alone does not help.",
        )
    if exit_code is None:
        return Words("it is still not ready", lines, "Allow more time (ready_timeout_s).")
    return Words(f"exit status {exit_code}", lines, None)


def unknown_argument(log: str) -> str | None:
    """Return the flag that the server did not know and ignored, or None."""
    found = re.search(r"^unknown argument: (.*)$", log, re.MULTILINE)
    return found[1].strip() if found else None


def rest_missing(log: str) -> str | None:
    """Return why the server does not serve REST although it is configured, or None."""
    found = re.search(
        r"^.*(Couldn't bind to port|Failed to start HTTP Server|Skipped exporting HTTP/REST API).*$", log, re.MULTILINE
    )
    return found[0].strip() if found else None


def _lines(text: str) -> str:
    lines = [
        line.strip() for line in urls.hidden(text).splitlines() if line.strip() and not _HARMLESS.search(line.strip())
    ]
    telling = list(dict.fromkeys(line for line in lines if line.startswith(_FINAL) or _TELLING.search(line)))
    telling = [line for line in telling if line.startswith(_FINAL)] or telling
    return " | ".join(line[:400] for line in (telling or lines)[-_MOST_LINES:]) or "nothing"
