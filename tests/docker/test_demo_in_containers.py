# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration with servers in containers: measured there, reported as such, and nothing left of them, also when it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone
ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "test-demo-docker"


def demo(image, **variables):
    """tools/demo as a process with few and short windows and one candidate, its output a pipe."""
    short = {"demo_directory": str(HOME), "tfs_tuning_rounds": 4, "tfs_tuning_looks": 1, "tfs_tuning_window_s": 0.5,
             "tfs_tuning_candidates": [{"name": "REST to gRPC", "change": {"protocol": "grpc"}}], **variables}
    return subprocess.Popen([sys.executable, str(ROOT / "tools" / "demo"), "-e", "tfserving_backend=docker", "-e", f"tfserving_image={image}",
                             "-e", json.dumps(short)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def containers(engine):
    """Names of the containers that serve the demonstration's models."""
    found = engine.containers.list(all=True, ignore_removed=True, filters={"label": "tfserving.fleet.server"})
    return [container.name for container in found if str(HOME) in container.labels["tfserving.fleet.description"]]


def test_it_measures_containers_and_leaves_none(engine, serving_image):
    image = serving_image.tags[0]
    process = demo(image)
    output, _none = process.communicate(timeout=600)
    assert process.returncode == 0, output[-6000:]
    report = json.loads((HOME / "report.json").read_text())
    assert report["backend"] == "docker" and image in report["statement"]
    (step,) = report["steps"]
    assert step["requests"] > 0 and step["accuracy"]["before"] == step["accuracy"]["after"] > 0.97
    assert containers(engine) == []


def test_stopped_in_the_middle_it_leaves_none(engine, serving_image):
    process = demo(serving_image.tags[0])
    try:
        deadline = time.monotonic() + 300
        while len(containers(engine)) < 2:
            assert process.poll() is None and time.monotonic() < deadline, "the tuning did not begin"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert containers(engine) == []
