# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests share is made once, whole, and anew when its inputs change. Other processes take part as they do in tests."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from ansible_collections.tfserving.fleet.tests.support import made as module

MAKER = 'import pathlib, sys, time; time.sleep(0.5); folder = pathlib.Path(sys.argv[1]); (folder / "who").write_text(str(time.monotonic_ns()))\n'
PROGRAM = module.MADE.parents[1] / "tests" / "support" / "made.py"


@pytest.fixture(name="maker")
def maker_program(tmp_path, request):
    """A program that writes one file with the time; what it made is removed at the end."""
    path = tmp_path / f"maker-{abs(hash(request.node.name))}.py"
    path.write_text(MAKER, encoding="utf-8")
    yield path
    for each in module.MADE.glob(f"{path.stem}*"):
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def asked(maker, *inputs):
    """A process that asks for what the program makes."""
    return subprocess.Popen(
        [sys.executable, PROGRAM, maker, *inputs], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_that_ask_at_once_share_what_one_of_them_makes(maker):
    folders = {process.communicate(timeout=300)[0].strip() for process in [asked(maker) for _process in range(3)]}
    assert len(folders) == 1
    assert [path.name for path in module.MADE.glob(f"{maker.stem}-*/who")] == ["who"]
    made = (module.by_program(maker) / "who").read_text(encoding="utf-8")
    assert folders == {asked(maker).communicate(timeout=300)[0].strip()} == {str(module.by_program(maker))}
    assert (module.by_program(maker) / "who").read_text(encoding="utf-8") == made


def test_a_changed_input_makes_anew_and_removes_what_no_process_uses(maker, tmp_path):
    further = tmp_path / "folder"
    further.mkdir()
    (further / "part.py").write_text("1", encoding="utf-8")
    first = asked(maker, further).communicate(timeout=300)[0].strip()
    (further / "part.py").write_text("2", encoding="utf-8")
    second = module.by_program(maker, further)
    assert {str(path.parent) for path in module.MADE.glob(f"{maker.stem}-*/who")} == {str(second)} != {first}
    (further / "part.py").rename(further / "other.py")
    third = asked(maker, further).communicate(timeout=300)[0].strip()
    assert {str(path.parent) for path in module.MADE.glob(f"{maker.stem}-*/who")} == {str(second), third}, (
        "this process uses the second"
    )


def test_a_maker_that_fails_leaves_nothing_and_is_run_again(maker):
    maker.write_text("import sys; open(sys.argv[1] + '/half', 'w'); sys.exit('no memory')", encoding="utf-8")
    output, errors = asked(maker).communicate(timeout=300)
    assert output == "" and "ended with 1" in errors and "no memory" in errors
    assert not list(module.MADE.glob(f"{maker.stem}-*"))
    maker.write_text(MAKER, encoding="utf-8")
    assert (module.by_program(maker) / "who").exists()
