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
import subprocess
import tempfile
import time
from pathlib import Path

import numpy
import pytest
from ansible_collections.tfserving.fleet.tests.docker.waiting import until
from ansible_collections.tfserving.fleet.tests.support import modules


def start(**options):
    """The module as a process that was just started."""
    process = subprocess.Popen(
        modules.command("model_conversion"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(modules.request(**options))
    process.stdin.close()
    process.stdin = None
    return process


def result(process):
    output, errors = process.communicate(timeout=600)
    assert output, errors[-3000:]
    return json.loads(output)


def running(engine, directory):
    """The containers that see something below a directory."""
    return [
        one
        for one in engine.containers.list(all=True, ignore_removed=True)
        if str(directory) in str(one.attrs["HostConfig"]["Binds"])
    ]


@pytest.fixture
def options(models, serving_image, tmp_path):
    x = numpy.arange(160, dtype="float32").reshape(40, 4) / 160
    numpy.savez(tmp_path / "samples.npz", **{"inputs.x": x, "labels": 2 * x})
    return {
        "source": models / "right" / "1",
        "destination": tmp_path / "models" / "right" / "tflite_float16",
        "form": "tflite_float16",
        "samples": tmp_path / "samples.npz",
        "metric": "rmse",
        "allowed_loss": 0.01,
        "batch_sizes": [1, 8],
        "container_image": serving_image.id,
    }


def begun(engine, tmp_path, options):
    """A conversion that runs in its container."""
    (tmp_path / "progress").unlink(missing_ok=True)
    process = start(**options, progress=tmp_path / "progress")
    until((tmp_path / "progress").exists)
    assert running(engine, tmp_path), "it runs in a container"
    return process


def half_versions(tmp_path):
    """What a server would see and its manifest does not vouch for; versions that are whole are taken away."""
    base, half = tmp_path / "models/right/tflite_float16", []
    for version in [path for path in base.iterdir() if path.name.isdigit()] if base.exists() else []:
        listed = json.loads((version / "manifest.json").read_text(encoding="utf-8"))["files"]
        found = {
            str(path.relative_to(version)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in version.rglob("*")
            if path.is_file()
        }
        half += (
            [version]
            if {**found, "manifest.json": None}
            != {**{name: one["sha256"] for name, one in listed.items()}, "manifest.json": None}
            else []
        )
        shutil.rmtree(version)
    return half


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.soak)])
def test_a_killed_caller_leaves_neither_container_nor_version_and_the_next_run_converts(
    engine, options, tmp_path, seed, kills
):
    """Killed at once, and at random moments later. The next run converts as on the host, and removes what is left."""
    for pause in (0, *(random.Random(seed + kill).uniform(0, 3) for kill in range(kills - 1))):
        process = begun(engine, tmp_path, options)
        time.sleep(pause)
        process.kill()
        process.communicate()
        until(lambda: not running(engine, tmp_path))
        assert not half_versions(tmp_path)
    made = result(start(**options))
    assert made.get("accepted"), made
    assert (
        made["gates"]["examples"] == 40
        and made["warmup_batch_sizes"] == [1, 8]
        and made["gates"]["metric"]["after"] <= 0.01
    )
    assert os.listdir(tmp_path / "models/right/tflite_float16") == ["1"]
    assert sorted(path.name for path in (tmp_path / "models/right/tflite_float16/1").iterdir()) == [
        "assets.extra",
        "manifest.json",
        "model.tflite",
    ]
    assert not running(engine, tmp_path)


def test_a_killed_container_is_one_clear_line_and_leaves_nothing(engine, options, tmp_path):
    process = begun(engine, tmp_path, options)
    for one in running(engine, tmp_path):
        one.kill()
    made = result(process)
    assert made["failed"] and "ended with exit status 137" in made["msg"] and "\n" not in made["msg"], made
    assert not running(engine, tmp_path) and not (tmp_path / "models/right/tflite_float16").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which becomes another account")
def test_account_that_root_converts_as(engine, options):
    """65534 where it can read what is needed; what is published is root's, as is the file of the progress."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        shutil.copytree(options["source"], folder / "source")
        shutil.copy(options["samples"], folder / "samples.npz")
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", folder], check=True)
        (folder / "progress").mkdir()
        given = {
            "source": folder / "source",
            "samples": folder / "samples.npz",
            "destination": folder / "m" / "right" / "t",
        }
        process = start(**{**options, **given, "progress": folder / "progress" / "lines"})
        until(lambda: (folder / "progress" / "lines").exists() and (folder / "progress" / "lines").stat().st_size)
        (container,) = running(engine, folder)
        assert container.attrs["Config"]["User"] == "65534:65534"
        made = result(process)
        assert made.get("accepted") and not made.get("warnings"), made
        assert {path.stat().st_uid for path in [folder, *folder.rglob("*")]} == {0}
        assert os.listdir(folder / "m" / "right" / "t") == ["1"]


def test_an_image_that_is_not_there_is_one_clear_line(options):
    made = result(start(**dict(options, container_image="tfserving-no-such-image:1")))
    assert made["failed"] and "tfserving-no-such-image" in made["msg"] and "\n" not in made["msg"]
