# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a server's log says about CPU instructions: TensorFlow's feature-guard line in every wording, and crashes from missing instructions.

The line names the instructions that the CPU has and the binary was not compiled for. It appears once in a process, at the first TensorFlow session.
It does not appear if nothing is missing, the level INFO is hidden, or no SavedModel was loaded. Its absence alone shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings

# How TensorFlow prints an instruction -> the kernel's spelling, in the order in which TensorFlow prints them. Source: cpu_feature_guard.cc of TensorFlow.
CPU_FLAGS = {
    "SSE": "sse",
    "SSE2": "sse2",
    "SSE3": "pni",
    "SSE4.1": "sse4_1",
    "SSE4.2": "sse4_2",
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX512F": "avx512f",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AVX512_FP16": "avx512_fp16",
    "AVX_VNNI": "avx_vnni",
    "AVX_VNNI_INT8": "avx_vnni_int8",
    "AVX_NE_CONVERT": "avx_ne_convert",
    "AMX_TILE": "amx_tile",
    "AMX_INT8": "amx_int8",
    "AMX_BF16": "amx_bf16",
    "AMX_FP16": "amx_fp16",
    "FMA": "fma",
}
# TensorFlow checks macros that compilers spell differently (__AMXTILE__ for __AMX_TILE__), so these always stay in the line.
NEVER_GONE = ("AMX_TILE", "AMX_INT8", "AMX_BF16", "AMX_FP16")

_GUARD = re.compile(r"cpu_feature_guard\.cc:\d+\]\s?(?P<text>.*)$")
_ABSL = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d+\.\d+\s+\d+ \S*$")
_TENSORFLOW = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}: [IWEF] \S*$")
# In historical order. The second pattern is for wordings with the names on the next line.
_OPTIMIZED = "This TensorFlow binary is optimized "
_FOLLOWING = r"\s*to use the following CPU instructions in performance.critical operations:\s*(?P<names>.*)"
_WORDINGS = (
    (
        "one_each",
        re.compile(
            r"The TensorFlow library wasn't compiled to use (?P<names>\S+) instructions, but these are available"
        ),
        None,
    ),
    (
        "your_cpu",
        re.compile(
            r"Your CPU supports instructions that this TensorFlow binary was not compiled to use:\s*(?P<names>.*)"
        ),
        None,
    ),
    ("mkl_dnn", re.compile(_OPTIMIZED + r"with Intel\(R\) MKL-DNN" + _FOLLOWING), None),
    ("onednn", re.compile(_OPTIMIZED + r"with oneAPI Deep Neural Network Library \(oneDNN\)" + _FOLLOWING), None),
    (
        "two_lines",
        re.compile(_OPTIMIZED + r"to use available CPU instructions in performance.critical operations\."),
        re.compile(
            r"To enable the following instructions:\s*(?P<names>[^,]*), in other operations, rebuild TensorFlow"
        ),
    ),
)
_PREFIX_LENGTH = 200
_LINES_BETWEEN = 20  # other threads write between the two lines of one record
_FATAL = re.compile(
    r"The TensorFlow library was compiled to use (?P<name>\S+) instructions, but these aren't available on your machine"
)
_SESSION = re.compile(r"\bRestoring SavedModel bundle\b")
_SIGILL = 4
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NAMES = re.compile(r"(?:\s*[A-Z][A-Z0-9_.]*(?![a-z]))*")
# Rows without one of these are skipped, which are most rows of a long log.
_SIGNS = (
    "cpu_feature_guard.cc",
    "To enable the following",
    "but these aren't available",
    "Restoring SavedModel bundle",
    *endings.ILLEGAL_SIGNS,
)


class GuardLine(TypedDict, total=False):
    """A line of the feature guard. instructions: None where it was cut off before its names."""

    wording: str
    prefix: str  # which logger wrote it: tensorflow, absl or other
    instructions: list[str] | None


class Fatal(TypedDict):
    """How a server crashed because of an instruction."""

    kind: str  # missing_instruction or illegal_instruction
    instruction: str | None


class ServerLog(TypedDict):
    """What a log says about instructions."""

    lines: list[GuardLine]
    unused: list[str]  # in TensorFlow's order
    judged: list[str]  # those that a rebuild can make go away
    cpu_flags: list[str]  # judged, in the kernel's spelling
    conclusive: bool  # whether a name that is not listed is in use; not so where a line was cut off before its names
    fatal: Fatal | None


# A line, the pattern of the row that has its names, and how many rows are left for it.
_Waiting = tuple[GuardLine, "re.Pattern[str]", int]
_ILLEGALLY: Fatal = {"kind": "illegal_instruction", "instruction": None}


def parse(log: str | Iterable[str], exit_status: int | None = None) -> ServerLog:
    """Return what a log says about instructions.

    log: of a container, a file or a terminal, as a text or as its lines. exit_status: of the server if it ended: as a shell or an engine reports it
    (128 + signal), or a negative signal.
    """
    found: list[GuardLine]
    waiting: list[_Waiting]
    found, waiting, fatal, session, before = [], [], None, False, None
    for row in _rows(log.split("\n") if isinstance(log, str) else log):
        if before:
            before = _continued(before, row)
        waiting = [(line, second, left - 1) for line, second, left in waiting if left]
        if any(sign in row for sign in _SIGNS):
            _complete(waiting, row)
            line, second = _guard_line(row)
            if line:
                found.append(line)
                before = line
            if line and second:
                waiting.append((line, second, _LINES_BETWEEN))
                _complete(waiting, row)
            fatal, session = fatal or _fatal(row), session or bool(_SESSION.search(row))
    whole = [line for line in found if line["instructions"] is not None and not _is_cut(line["instructions"])]
    names = {name for line in whole for name in line["instructions"] or ()}
    order = list(CPU_FLAGS)
    unused = sorted(names, key=lambda name: (order.index(name) if name in CPU_FLAGS else len(order), name))
    judged = [name for name in unused if name not in NEVER_GONE]
    if exit_status in (-_SIGILL, 128 + _SIGILL):
        fatal = fatal or _ILLEGALLY
    return {
        "lines": whole,
        "unused": unused,
        "judged": judged,
        "cpu_flags": sorted(CPU_FLAGS[name] for name in judged if name in CPU_FLAGS),
        "conclusive": not fatal and whole == found and (bool(found) or session),
        "fatal": fatal,
    }


def _rows(lines: Iterable[str]) -> Iterator[str]:
    """Yield the rows of a log without a terminal's colors, with the line ends of any system."""
    for line in lines:
        yield from (_ESCAPES.sub("", line) if "\x1b" in line else line).replace("\r", "\n").rstrip("\n").split("\n")


def _guard_line(row: str) -> tuple[GuardLine | None, re.Pattern[str] | None]:
    """Return (the line in a row or None, the pattern of its second row if the names are there or None)."""
    guard = _GUARD.search(row)
    if not guard or _FATAL.search(row):
        return None, None
    prefix = _prefix(row[max(0, guard.start() - _PREFIX_LENGTH) : guard.start()])
    for wording, first, second in _WORDINGS:
        matched = first.search(guard["text"])
        if matched:
            # TensorFlow prints the line only with names: without one it was cut off.
            return {
                "wording": wording,
                "prefix": prefix,
                "instructions": None if second else _names(matched["names"]) or None,
            }, second
    return {"instructions": None}, None  # cut off, or in an unknown wording


def _complete(waiting: list[_Waiting], row: str) -> None:
    """Give the names in a row to the first line that waits for them."""
    for place, (line, second, _left) in enumerate(waiting):
        matched = second.search(row)
        if matched:
            line["instructions"] = _names(matched["names"]) or None
            del waiting[place]
            return


def _continued(line: GuardLine, row: str) -> GuardLine | None:
    """Return the line again if an empty row follows it, else None. A row with only names shows that the line was wrapped or cut, so it does not count."""
    names = row.split()
    if names and all(name in CPU_FLAGS for name in names):
        line["instructions"] = None
    return None if names else line


def _is_cut(names: list[str]) -> bool:
    """Return whether the last of the names is the beginning of one."""
    return names[-1] not in CPU_FLAGS and any(known.startswith(names[-1]) for known in CPU_FLAGS)


def _names(text: str) -> list[str]:
    """Return the names at the start of a text. What follows them is part of the log's format, such as the rest of a JSON record."""
    found = _NAMES.match(text)
    return found[0].split() if found else []


def _prefix(before: str) -> str:
    return "absl" if _ABSL.search(before) else "tensorflow" if _TENSORFLOW.search(before) else "other"


def _fatal(row: str) -> Fatal | None:
    named = _FATAL.search(row)
    if named:
        return {"kind": "missing_instruction", "instruction": named["name"]}
    return _ILLEGALLY if endings.ILLEGAL.search(row) else None
