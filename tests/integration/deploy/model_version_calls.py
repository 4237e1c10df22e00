# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the tests of this folder call model_version, and look at what it leaves."""

from __future__ import annotations

import shutil

from ansible_collections.tfserving.fleet.tests.support import modules


def run(check_mode=False, environment=None, **options):
    """The module's result; environment: variables for its process."""
    return modules.call("model_version", check=check_mode, environment=environment, **options)


def good(**options):
    result = run(**options)
    assert not result.get("failed"), result
    return result


def refused(*texts, **options):
    result = run(**options)
    assert result.get("failed"), result
    assert all(text in result["msg"] for text in texts) and "\n" not in result["msg"], result["msg"]
    return result


def each_refused(*cases):
    """Several calls in one process: (text, options) each."""
    results = modules.call_each("model_version", [options for _text, options in cases])
    assert len(results) == len(cases)
    for (text, options), result in zip(cases, results):
        assert result.get("failed") and text in result["msg"] and "\n" not in result["msg"], (options, result)


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".tfserving-lock") if folder.exists() else []


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def variant(model_directory, folder, note, name="half_plus_two"):
    """A version whose content differs by a note from that of others, and answers alike."""
    shutil.copytree(model_directory / name / "1", folder)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "note").write_bytes(note if isinstance(note, bytes) else note.encode())
    return str(folder)


def unloadable(model_directory, folder):
    """A version that is whole, and that no server loads: one of its operations is of no release."""
    shutil.copytree(model_directory / "half_plus_two" / "1", folder)
    graph = (folder / "saved_model.pb").read_bytes()
    assert b"AddV2" in graph
    (folder / "saved_model.pb").write_bytes(graph.replace(b"AddV2", b"AddV9"))
    return str(folder)
