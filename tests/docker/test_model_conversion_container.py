# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The converter in a container: the same program, the same result; nothing is left where its caller is killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

numpy = pytest.importorskip("numpy")

MODULE = "ansible_collections.tfserving.fleet.plugins.modules.model_conversion"


def start(**options):
    process = subprocess.Popen([sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {key: value if isinstance(value, (list, float)) else str(value) for key, value in options.items()}}))
    process.stdin.close()
    process.stdin = None
    return process


def running(engine, directory):
    """The containers that see something below a directory."""
    return [one for one in engine.containers.list(all=True, ignore_removed=True) if str(directory) in str(one.attrs["HostConfig"]["Binds"])]


@pytest.fixture
def options(models, serving_image, tmp_path):
    numpy.savez(tmp_path / "samples.npz", **{"inputs.x": numpy.arange(40, dtype="float32").reshape(40, 1), "labels": numpy.arange(40) / 2 + 2})
    return {"source": models / "half_plus_two" / "1", "destination": tmp_path / "models" / "half" / "tflite_float16", "form": "tflite_float16",
            "samples": tmp_path / "samples.npz", "metric": "rmse", "allowed_loss": 0.01, "batch_sizes": [1, 8], "container_image": serving_image.id}


def test_it_converts_as_on_the_host(engine, options, tmp_path):
    out, error = start(**options).communicate(timeout=300)
    result = json.loads(out)
    assert result.get("accepted"), (result, error[-2000:])
    assert result["gates"]["examples"] == 40 and result["warmup_batch_sizes"] == [1, 8] and result["gates"]["metric"]["after"] <= 0.01
    assert sorted(path.name for path in (tmp_path / "models/half/tflite_float16/1").iterdir()) == ["assets.extra", "manifest.json", "model.tflite"]
    assert not running(engine, tmp_path)


def begun(engine, tmp_path, options):
    """A conversion that runs in its container."""
    (tmp_path / "progress").unlink(missing_ok=True)
    process = start(**options, progress=tmp_path / "progress")
    end = time.monotonic() + 120
    while not (tmp_path / "progress").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert running(engine, tmp_path), "it runs in a container"
    return process


def half_versions(tmp_path):
    """What a server would see and its manifest does not vouch for; versions that are whole are taken away."""
    base, half = tmp_path / "models/half/tflite_float16", []
    for version in [path for path in base.iterdir() if path.name.isdigit()] if base.exists() else []:
        listed = json.loads((version / "manifest.json").read_text(encoding="utf-8"))["files"]
        found = {str(path.relative_to(version)): hashlib.sha256(path.read_bytes()).hexdigest() for path in version.rglob("*") if path.is_file()}
        half += [version] if {**found, "manifest.json": None} != {**{name: one["sha256"] for name, one in listed.items()}, "manifest.json": None} else []
        shutil.rmtree(version)
    return half


def test_a_killed_caller_leaves_neither_container_nor_version(engine, options, tmp_path):
    """At once, and at random moments later; the next run removes what is left."""
    seed = random.randrange(10**6)
    for pause in (0, *(random.Random(seed).uniform(0, 3) for _kill in range(2))):
        process = begun(engine, tmp_path, options)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        end = time.monotonic() + 30
        while running(engine, tmp_path) and time.monotonic() < end:
            time.sleep(0.2)
        assert not running(engine, tmp_path) and not half_versions(tmp_path), f"seed {seed}"
    assert json.loads(start(**options).communicate(timeout=300)[0])["accepted"]
    assert os.listdir(tmp_path / "models/half/tflite_float16") == ["1"]


def test_a_killed_container_is_one_clear_line_and_leaves_nothing(engine, options, tmp_path):
    process = begun(engine, tmp_path, options)
    for one in running(engine, tmp_path):
        one.kill()
    result = json.loads(process.communicate(timeout=120)[0])
    assert result["failed"] and "ended with exit status 137" in result["msg"] and "\n" not in result["msg"], result
    assert not running(engine, tmp_path) and not (tmp_path / "models/half/tflite_float16").exists()


def test_an_image_that_is_not_there_is_one_clear_line(options):
    result = json.loads(start(**dict(options, container_image="tfserving-no-such-image:1")).communicate(timeout=120)[0])
    assert result["failed"] and "tfserving-no-such-image" in result["msg"] and "\n" not in result["msg"]
