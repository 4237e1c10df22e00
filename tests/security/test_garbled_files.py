# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples and manifests that were garbled, or written to do harm: read, or refused in one line."""

from __future__ import annotations

import io
import json
import random
import zipfile

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import published
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client

numpy = pytest.importorskip("numpy")

# Headers as numpy.lib.format describes them, and what none may be.
HEADERS = [
    "(" * 60000,
    "{'descr': [['a']], 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (999999999999,)}",
    "{'descr': '<U99999999999', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
    "{[]: 1}",
    "\0",
    "-" * 5000 + "1",
]


def archive(content):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("inputs.x.npy", content)
    return made.getvalue()


def garbled(dice):
    """Archives that were cut, and that have some other bytes, in all of it and in the header of an array."""
    whole, array = io.BytesIO(), io.BytesIO()
    numpy.savez(whole, **{"inputs.x": numpy.ones((3, 2), "float32"), "inputs.s": numpy.array(["a", "bb", "c"])})
    numpy.save(array, numpy.arange(6.0))
    for number in range(3000):
        content = bytearray((array if number % 3 == 2 else whole).getvalue())
        if number % 3 == 0:
            content = content[: dice.randrange(len(content))]
        for _time in range(3 if number % 3 else 0):
            content[dice.randrange(len(content) if number % 3 == 1 else 100)] = dice.randrange(256)
        yield archive(bytes(content)) if number % 3 == 2 else bytes(content)


def test_samples(tmp_path, seed):
    made = [archive(b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode()) for text in HEADERS]
    refused = 0
    for content in [*made, *garbled(random.Random(seed))]:
        (tmp_path / "samples.npz").write_bytes(content)
        try:
            stdlib_client.arrays(str(tmp_path / "samples.npz"), "inputs.")
        except FleetError as fault:
            refused += 1
            assert "\n" not in str(fault) and "object has no" not in str(fault)
    assert refused > len(made)


@pytest.mark.parametrize(
    "files", ["[" * 100000, '{"saved_model.pb": 5}', '{"saved_model.pb": []}', "[]", '{"a": {"b": 1}}']
)
def test_manifests(tmp_path, files):
    (tmp_path / "manifest.json").write_text('{"schema": 1, "key": "k", "files": ' + files + "}", encoding="utf-8")
    assert published.manifest_of(str(tmp_path)) is None


def test_manifest_that_is_whole(tmp_path):
    from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest

    told = {"schema": manifest.SCHEMA, "key": "k", "files": {"saved_model.pb": {"sha256": "0" * 64, "bytes": 1}}}
    (tmp_path / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    assert published.manifest_of(str(tmp_path)) == told
