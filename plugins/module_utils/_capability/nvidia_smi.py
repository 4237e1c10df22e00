# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that runs nvidia-smi for values that the library did not report, and NVIDIA's container tools for their version."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import Answers
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.gpus import rows_of, rows_to_answers

FIELDS = (
    "index",
    "pci.bus_id",
    "pci.device_id",
    "name",
    "uuid",
    "driver_version",
    "memory.total",
    "compute_cap",
    "ecc.mode.current",
    "mig.mode.current",
)
_UNKNOWN_FIELD = re.compile(r'Field "([^"]+)" is not a valid field')
_CUDA = re.compile(r"CUDA Version: (\d+)\.(\d+)")
_MOST_BYTES = 1 << 20
_MOST_GPUS = 64


def read(program: str, addresses: Sequence[str], limit_s: float) -> tuple[Answers, str | None]:
    """Return (answers as _capability.nvml.read does, the output of a failed query or None).

    addresses: of the GPUs on the PCI bus, to query one by one.
    """
    deadline = time.monotonic() + limit_s
    status, text, fields = _query(program, FIELDS, (), deadline)
    tables = (
        [(text, fields)] if status is not None else []
    )  # the rows are complete even with a warning, such as 14 of a corrupted infoROM
    if status and "device handle" in text:  # one lost GPU can spoil the answer for all
        for address in addresses[:_MOST_GPUS]:
            status_of_one, text_of_one, fields = _query(program, fields, (f"--id={address}",), deadline)
            tables += [(text_of_one, fields)] if status_of_one is not None else []
    failure = None if status == 0 else _first_words(text) if status is not None else "no answer in time"
    rows = rows_of(tables)
    if not rows:
        return {}, failure or f"its answer contains no row for a GPU: {_first_words(text)}"
    answers = rows_to_answers(rows, run([program, "-L"], deadline)[1])
    cuda = _CUDA.search(run([program], deadline)[1])
    if cuda:
        answers[None, "cuda"] = (None, 1000 * int(cuda[1]) + 10 * int(cuda[2]))
    return answers, failure


def _query(
    program: str, fields: tuple[str, ...], more: Iterable[str], deadline: float
) -> tuple[int | None, str, tuple[str, ...]]:
    """Return (exit status, output, fields) of a query, without fields that the program does not know."""
    while True:
        status, text = run(
            [program, "--query-gpu=" + ",".join(fields), "--format=csv,noheader,nounits", *more], deadline
        )
        unknown = _UNKNOWN_FIELD.search(text) if status else None
        if not unknown or unknown[1] not in fields:
            return status, text, fields
        fields = tuple(field for field in fields if field != unknown[1])


def run(command: list[str], deadline: float) -> tuple[int | None, str]:
    """Return (exit status, output) of a command. The status is None if it did not start, or did not end in time.

    A process that hangs in a driver is left behind, because waiting for it would never end.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=dict(os.environ, LC_ALL="C"),
            )
        except OSError as fault:
            return None, str(fault)
        try:
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return None, ""
        output.seek(0)
        return status, output.read(_MOST_BYTES).decode("utf-8", "replace")


def _first_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "it failed without a message"
