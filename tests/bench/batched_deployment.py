#!/usr/bin/env python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What batching adds to a first deployment, on a double of TensorFlow Serving that never answers a request without rows while it is alone.

    python tests/bench/batched_deployment.py [ROUNDS]     default 3 rounds; exit status 1 above 3 s; does nothing without a container engine

Both deployments run in turns, so that a machine that is busy for a while slows both. The figure is the difference of the medians.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes the collection importable
from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost
from ansible_collections.tfserving.fleet.tests.docker.testbed import engine as engines
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.support import made

MOST_ADDED_S = 3.0
BATCHING = "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 0 }\n"


def seconds(host, **options):
    """How long a first deployment takes."""
    began = time.monotonic()
    host.good(**options)
    took = time.monotonic() - began
    host.remove()
    return took


def main(rounds):
    """Measure and print; returns the exit status."""
    try:
        engine = engines.connect()
    except engines.NoEngine as fault:
        print(f"left out: {fault}")
        return 0
    models = made.by_program(ROOT / "tests/docker/make_deployment_models.py")
    with tempfile.TemporaryDirectory(prefix="tfserving-bench-") as directory:
        (Path(directory) / "batching.pbtxt").write_text(BATCHING, encoding="utf-8")
        host = LocalHost("bench", Path(directory), engine, images.double(engine), models)
        try:
            pairs = [
                (seconds(host), seconds(host, batching_parameters_file=f"{directory}/batching.pbtxt"))
                for _round in range(rounds)
            ]
        finally:
            host.remove()
    plain, batched = (median(column) for column in zip(*pairs))
    print(f"first deployment: {plain:.1f} s, with batching {batched:.1f} s; allowed: {MOST_ADDED_S:g} s more")
    return int(batched - plain > MOST_ADDED_S)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
