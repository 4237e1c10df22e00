# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TensorFlow itself loads the model that images are started with, and its own feature-guard line on this machine is understood."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._image import probe_model, server_log

PROGRAM = """
import sys
import tensorflow as tf
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    loaded = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = loaded.signature_def["serving_default"]
    print(session.run(signature.outputs["y"].name, {signature.inputs["x"].name: [1.0, 2.5]}).tolist())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="TensorFlow looks for instructions on x86 alone")
def test_tensorflows_own_line(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(probe_model.saved_model())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="0", CUDA_VISIBLE_DEVICES="-1"),
    )
    assert done.stdout.strip() == "[1.0, 2.5]"
    has = next(
        line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if line.startswith("flags")
    ).split()
    if "avx2" not in has:
        pytest.skip("this CPU has nothing that TensorFlow's wheel leaves unused")
    told = server_log.parse(done.stderr)
    assert (
        told["conclusive"]
        and [line["wording"] for line in told["lines"]] == ["two_lines"]
        and told["lines"][0]["prefix"] == "absl"
    )
    assert {"AVX2", "FMA"} <= set(told["unused"]) and set(told["cpu_flags"]) <= set(has)
    assert {name for name, flag in server_log.CPU_FLAGS.items() if name.startswith("AVX512") and flag in has} <= set(
        told["unused"]
    )
