# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples and manifests that were garbled, or written to do harm: read, or refused in one line."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import published, samples, saved_model, warmup
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client, tfrecord
from ansible_collections.tfserving.fleet.tests.security import garbled_models
from ansible_collections.tfserving.fleet.tests.support import made
from ansible_collections.tfserving.fleet.tests.unit.model.test_model_saved_model import SIMPLE, held, model

numpy = pytest.importorskip("numpy")

MODELS = Path(__file__).with_name("untrusted_models.py")


def array(header):
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header


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
    made = [archive(array(text)) for text in garbled_models.HEADERS]
    refused = 0
    for content in [*made, *garbled(random.Random(seed))]:
        (tmp_path / "samples.npz").write_bytes(content)
        try:
            stdlib_client.arrays(str(tmp_path / "samples.npz"), "inputs.")
        except FleetError as fault:
            refused += 1
            assert "\n" not in str(fault) and "object has no" not in str(fault)
    assert refused > len(made)


@pytest.mark.parametrize("text", garbled_models.HEADERS, ids=range(len(garbled_models.HEADERS)))
def test_samples_that_a_converter_reads(tmp_path, text):
    """NumPy itself looks for what a header claims, also where it is more than any memory, or nothing without end."""
    (tmp_path / "samples.npz").write_bytes(archive(array(text)))
    with pytest.raises(FleetError) as caught:
        samples.read(str(tmp_path / "samples.npz"))
    assert "\n" not in str(caught.value)


def test_samples_of_zeros(tmp_path):
    """A quarter of a GiB that was packed into 250 KiB; memory is not what refuses it."""
    (tmp_path / "samples.npz").write_bytes(garbled_models.zeros())
    for read in (samples.read, lambda path: stdlib_client.arrays(path, "inputs.")):
        with pytest.raises(FleetError, match="its content is larger than 64 MiB"):
            read(str(tmp_path / "samples.npz"))


@pytest.mark.parametrize("name", ["manifest.json", "variables/variables.index"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_model_with_a_file_without_end(tmp_path, name, kind):
    """In a process of its own, whose memory is bounded: a pipe is waited for, and /dev/zero read, until somebody ends it."""
    folder = tmp_path / "model"
    shutil.copytree(made.by_program(MODELS) / "plain", folder)
    path = folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    code = (
        "import sys\n"
        f"from {garbled_models.__name__} import FleetError, published, saved_model_info\n"
        "try:\n"
        "    print(published.manifest_of(sys.argv[1]))\n"
        "    saved_model_info.describe({'path': sys.argv[1], 'tags': ['serve'], 'load': False, 'timeout_s': 1, 'server_release': None})\n"
        "except FleetError as fault:\n"
        "    print(fault)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    first, *said = done.stdout.splitlines()
    assert first == "None" and len(said) <= 1, (done.stdout, done.stderr)
    assert name == "manifest.json" or "not a regular file" in said[0], said


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


TENSOR = {"x": {"dtype": "float32", "shape": [None, 2]}}


@pytest.mark.parametrize("record", [b"", bytes.fromhex("3200"), bytes.fromhex("32020a00")])
def test_warmup_of_more_records_than_a_server_reads(record):
    """300,000 records in 5 MB: each is looked at, and gets a sentence of its own, until there are more than servers accept."""
    content, signatures = tfrecord.frame(record) * 300_000, {"serving_default": {"inputs": TENSOR, "outputs": {}}}
    began = time.process_time()
    found = warmup.look(content, signatures)
    assert time.process_time() - began < 1 and len(found["faults"]) <= 1002
    assert found["faults"][-1].endswith("servers refuse more than 1000")


@pytest.mark.parametrize(
    "name", ["../secret", "../../../../../../../../etc/hostname", "/etc/hostname", "a/../../x", ".."]
)
def test_asset_outside_of_its_folder(tmp_path, name):
    """TensorFlow appends the name of an asset to the model's folder (tensorflow/cc/saved_model/loader.cc, AddAssetsTensorsToInputs)."""
    (tmp_path / "secret").write_text("of another folder")
    asset = held(6, held(1, held(1, "asset:0")), held(2, name))  # AssetFileDef of meta_graph.proto
    (tmp_path / "saved_model.pb").write_bytes(model(asset, *SIMPLE))
    with pytest.raises(FleetError, match="is a file outside of the folder"):
        saved_model.read(str(tmp_path))
