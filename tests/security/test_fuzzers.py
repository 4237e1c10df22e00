# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile archives and garbled models, some hundred here, TFSERVING_FUZZ_COUNT in `make soak`: read, or refused in one line, soon, in little memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.security import fuzz
from ansible_collections.tfserving.fleet.tests.support import made

COUNT = int(os.environ.get("TFSERVING_FUZZ_COUNT", "400"))


def check(report, least_refused, least_read):
    assert not report["strange"], report["strange"][:5]
    assert report["grown_mib"] <= fuzz.MOST_MIB, report
    assert report["refused"] >= least_refused * COUNT and report["read"] >= least_read * COUNT, report


def test_archives(tmp_path, seed):
    (tmp_path / "work").mkdir()
    check(fuzz.run("hostile_archives", COUNT, seed, tmp_path / "work"), 0.3, 0.2)


def test_models_and_samples(tmp_path, seed):
    pytest.importorskip("numpy")
    pytest.importorskip("google.protobuf")
    (tmp_path / "work").mkdir()
    models = made.by_program(Path(__file__).with_name("untrusted_models.py"))
    check(fuzz.run("garbled_models", COUNT, seed, tmp_path / "work", models), 0.3, 0.1)
