# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tests of this folder call model_version, and look at what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def command(check_mode=False, **options):
    """The module's own executable, called as Ansible does."""
    arguments = json.dumps(dict(options, _ansible_check_mode=check_mode, _ansible_diff=True))
    program = ("import runpy, sys; runpy.run_path(sys.argv[1]); import ansible.module_utils.testing as t, ansible.module_utils.basic as b\n"
               "from ansible_collections.tfserving.fleet.plugins.modules import model_version\n"
               "with t.patch_module_args(__import__('json').loads(sys.argv[2])): model_version.main()\n")
    return [sys.executable, "-c", program, str(ROOT / "tests" / "conftest.py"), arguments]


def run(environment=None, **options):
    done = subprocess.run(command(**options), capture_output=True, text=True, check=False, timeout=300, env=dict(os.environ, **(environment or {})))
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def good(**options):
    result = run(**options)
    assert not result.get("failed"), result
    return result


def refused(*texts, **options):
    result = run(**options)
    assert result.get("failed"), result
    assert all(text in result["msg"] for text in texts) and "\n" not in result["msg"], result["msg"]
    return result


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".tfserving-lock") if folder.exists() else []


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json"}


def variant(model_directory, folder, note, name="half_plus_two"):
    """A version whose content differs by a note from that of others, and answers alike."""
    shutil.copytree(model_directory / name / "1", folder)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "note").write_bytes(note if isinstance(note, bytes) else note.encode())
    return str(folder)
