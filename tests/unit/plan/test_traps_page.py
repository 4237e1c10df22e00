# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/traps.md against the tests: every trap and common problem has its row, and a row that says plan has its test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "traps.md").read_text(encoding="utf-8")
TRAPS, PROBLEMS = TEXT.split("## Common problems")


def rows(text):
    """{number: cells} of the tables of a text."""
    found = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in text.splitlines()
        if re.match(r"\| \d+ \|", line)
    ]
    assert len({cells[0] for cells in found}) == len(found), "a number twice"
    return {int(cells[0]): cells for cells in found}


def test_every_trap_and_problem_has_its_row():
    assert sorted(rows(TRAPS)) == list(range(1, 64))
    assert sorted(rows(PROBLEMS)) == list(range(1, 16))


def test_rows_that_name_the_plan_have_a_test_of_that_number():
    tests = (ROOT / "tests" / "unit" / "plan" / "test_traps.py").read_text(encoding="utf-8")
    tested = {
        int(number) for name in re.findall(r"def test_trap(\w+)", tests) for number in re.findall(r"_(\d\d)(?=_)", name)
    }
    said = {number for number, cells in rows(TRAPS).items() if re.search(r"\bplan\b|release table", cells[-1])}
    assert said == tested


def test_modules_that_rows_name_are_there():
    for name in re.findall(
        r"`((?:model|saved|batching|load|tuning)\w*)`", " ".join(cells[-1] for cells in rows(TRAPS).values())
    ):
        assert (ROOT / "plugins" / "modules" / f"{name}.py").is_file(), name
