# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines in TensorFlow's own form, on stderr."""

from __future__ import annotations

import functools
import os
import sys
import time


def shown(text: str) -> str:
    """Return a client's text in one line, so that it cannot forge lines of the log."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _write(severity: str, text: str) -> None:
    caller = sys._getframe(1)
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))}.{int(now % 1 * 1e6):06d}"
    where = f"tfserving_fleet/embedded/{os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}"
    sys.stderr.write(f"{stamp}: {severity} {where}] {text}\n")
    sys.stderr.flush()


# Each takes a text: what happened, what the operator may want to change, and what failed.
info, warning, error = (functools.partial(_write, severity) for severity in "IWE")
