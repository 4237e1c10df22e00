# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models that write files: named by the analysis, and run by no module unless somebody says that they are trusted. That they do write, TensorFlow shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.support import made, modules

OPS = {"in_signature": ["WriteFile"], "on_load": ["WriteFile"], "printing": ["PrintV2"]}


@pytest.fixture(scope="module")
def models():
    return made.by_program(Path(__file__).with_name("untrusted_models.py"))


@pytest.mark.parametrize("name", OPS)
def test_model_that_writes(models, tmp_path, written, name):
    described = modules.call("saved_model_info", path=models / name)
    assert described["saved_model"]["untrusted_ops"] == OPS[name], described
    loading = {"path": models / name, "load": True, "python": sys.executable}
    convert = {
        "source": models / name,
        "destination": tmp_path / "m" / "saved_model",
        "batch_sizes": [1],
        "python": sys.executable,
    }
    for refused in (modules.call("saved_model_info", **loading), modules.call("model_conversion", **convert)):
        assert refused["failed"] and OPS[name][0] in refused["msg"] and "trusted: true" in refused["msg"], refused
    assert not written.exists()
    assert not modules.call("saved_model_info", **loading, trusted=True).get("failed")
    assert written.exists()
    copied = modules.call("model_conversion", **{**convert, "batch_sizes": []})
    assert copied["accepted"]


@pytest.mark.parametrize(
    "name", ["reading", *(f"reading_{how}" for how in ("on_load", "by_capture", "by_function", "by_branch", "by_loop"))]
)
def test_model_that_reads_files_of_the_host(models, name):
    """Its lines would be in the answers."""
    described = modules.call("saved_model_info", path=models / name)
    assert described["saved_model"]["untrusted_ops"] == ["InitializeTableFromTextFileV2"], described
    refused = modules.call("saved_model_info", path=models / name, load=True, python=sys.executable)
    assert refused["failed"] and "trusted: true" in refused["msg"], refused


def test_warning_of_what_no_signature_runs(models):
    (warning,) = [
        one
        for one in modules.call("saved_model_info", path=models / "on_load")["saved_model"]["warnings"]
        if "WriteFile" in one
    ]
    assert "no signature runs these operations" in warning


@pytest.mark.parametrize("name", ["plain", "with_words", "with_words_again"])
def test_model_that_does_not(models, name):
    loaded = modules.call("saved_model_info", path=models / name, load=True, python=sys.executable)
    assert loaded["saved_model"]["untrusted_ops"] == [] and loaded["saved_model"]["loaded"]["answered"], loaded
