# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration with servers in containers: measured there, reported as such, and none of them is left when it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import SERVER
from ansible_collections.tfserving.fleet.tests.docker.waiting import until

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "test-demo-docker"
REPORT = HOME / "report.json"
SHORT = {
    "demo_directory": str(HOME),
    "tfs_tuning_instances": 2,
    "tfs_tuning_window_s": 0.5,
    "tfs_tuning_candidates": [{"name": "more threads for gRPC", "change": {"flags": {"grpc_max_threads": 128}}}],
}


def containers(engine):
    """Names of the containers that serve the demonstration's models."""
    found = engine.containers.list(all=True, ignore_removed=True, filters={"label": SERVER})
    return [container.name for container in found if str(HOME) in container.labels["tfserving.fleet.description"]]


def test_it_measures_containers_and_leaves_none(engine, serving_image, tmp_path):
    """Stopped when it has written the report, while what it found best still serves."""
    image = serving_image.tags[0]
    REPORT.unlink(missing_ok=True)
    with open(tmp_path / "output", "w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "tools" / "demo"),
                "-e",
                "tfserving_backend=docker",
                "-e",
                f"tfserving_image={image}",
                "-e",
                json.dumps(SHORT),
            ],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: REPORT.exists() or process.poll() is not None, timeout_s=1200)
            serving = containers(engine)
            process.send_signal(signal.SIGINT)
            process.wait(300)
        finally:
            process.kill()
        output.seek(0)
        assert process.returncode == 128 + signal.SIGINT and len(serving) == 1, output.read()[-6000:]
    assert containers(engine) == []
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert report["backend"] == "docker" and image in report["statement"]
    step, *_refined = report["steps"]  # Others follow where the candidate is kept.
    assert step["requests"] > 0 and step["accuracy"]["before"] == step["accuracy"]["after"] > 0.97
