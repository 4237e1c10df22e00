# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms: which options go together, what is refused before anything starts, how much memory it takes, how a container is called."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import container_command
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    conversion_memory,
    tensorrt,
    variant_refusals,
)

SIGNATURE = {
    "inputs": {"x": {"dtype": "float32", "shape": [None, 4], "tensor": "x:0"}},
    "outputs": {"y": {"dtype": "float32", "shape": [None], "tensor": "y:0"}},
}


def options(form="tflite_int8", **others):
    return {
        "form": form,
        "select_tf_ops": False,
        "container_image": None,
        "through_server": False,
        "metric": "accuracy",
        "metric_function": None,
        "batch_sizes": [],
        "accept_unjudged": False,
        "server_release": None,
        "compute_capability": None,
        "precision": "FP16",
        **others,
    }


@pytest.mark.parametrize(
    "given, words",
    [
        (options("none", select_tf_ops=True), "select_tf_ops: the variant none does not support select_tf_ops"),
        (options("tensorrt", select_tf_ops=True), "the variant tensorrt does not support select_tf_ops"),
        (options("none", through_server=True), "the variant none does not support through_server"),
        (options(metric="function"), "it must be set together with metric: function"),
        (options(metric_function="/m.py"), "must be set together"),
        (options(batch_sizes=[1, 0]), "each 1 or more"),
        (options(batch_sizes=[8, 8]), "different sizes"),
        (
            options(batch_sizes=list(range(1, 1002))),
            "1001 sizes need as many warm-up requests; servers refuse more than 1000",
        ),
        (options(through_server=True, container_image="i"), "the server runs on the host"),
    ],
)
def test_options_that_do_not_go_together(given, words):
    with pytest.raises(FleetError, match="(?s).*" + words.replace("(", r"\(")):
        variant_refusals.check(given)


def test_options_that_do():
    for form in variant_refusals.VARIANTS:
        variant_refusals.check(options(form, batch_sizes=[1, 8]))
    variant_refusals.check(options(select_tf_ops=True, metric="function", metric_function="/m.py"))


@pytest.mark.parametrize(
    "given, samples, words",
    [
        (options("none"), False, None),
        (options(), True, None),
        (options(), False, "calibration needs representative examples, but no samples are set"),
        (options(accept_unjudged=True), False, "calibration"),
        (options("tflite_float16"), False, "no samples are set"),
        (options("tflite_float16", accept_unjudged=True), False, None),
        (options("tflite_int16x8", metric=None), True, "no metric is set"),
        (options("tensorrt"), True, "set server_release and compute_capability"),
    ],
)
def test_refusals_before_anything_starts(given, samples, words):
    found = variant_refusals.refusal(given, SIGNATURE, samples, None)
    assert found is None if words is None else words in found


@pytest.mark.parametrize("form", ["tflite_float16", "tensorrt"])
def test_no_form_stands_for_answers_that_depend_on_more_than_the_request(form):
    given = options(
        form,
        accept_unjudged=True,
        **({"server_release": "2.17.1", "compute_capability": "8.6", "batch_sizes": [1]} if form == "tensorrt" else {}),
    )
    assert variant_refusals.refusal(given, SIGNATURE, True, None, ["MatMul"]) is None
    assert "(AssignVariableOp)" in variant_refusals.refusal(
        given, SIGNATURE, True, None, ["MatMul", "AssignVariableOp"]
    )
    assert "has defaults for x" in variant_refusals.refusal(given, SIGNATURE, True, None, ["MatMul"], ["x"])
    assert variant_refusals.refusal(options("none"), SIGNATURE, True, None, ["AssignVariableOp"]) is None


TRT = {"server_release": "2.17.1", "compute_capability": "8.6", "precision": "FP16", "batch_sizes": [1, 8]}


@pytest.mark.parametrize(
    "change, samples, converter, words",
    [
        ({}, False, "2.17.0", None),
        ({"precision": "INT8"}, True, "2.17.1", None),
        ({"precision": "INT8"}, False, "2.17.1", "INT8 needs representative examples"),
        ({"batch_sizes": []}, True, "2.17.1", "set them in batch_sizes"),
        (
            {},
            True,
            "2.21.0",
            "the converter is TensorFlow 2.21.0, but the server is 2.17.1: .* Convert with TensorFlow 2.17, .* tensorflow/tensorflow:2.17.1-gpu",
        ),
        # Facts: releases from 2.18 on are built without TensorRT, 2.17 was the last.
        (
            {"server_release": "2.20.0"},
            True,
            "2.20.0",
            "the server of 2.20.0 is built without TensorRT .* Use release 2.17.1",
        ),
        ({"compute_capability": "12.0"}, True, "2.17.1", "was not built for compute capability 12.0"),
        ({"server_release": None}, True, "2.17.1", "set server_release"),
    ],
)
def test_tensorrt_needs_matching_releases(change, samples, converter, words):
    found = tensorrt.refusal(dict(TRT, **change), samples, converter)
    if words is None:
        assert found is None
    else:
        import re

        assert re.search(words, found)


@pytest.mark.parametrize("text", ["86", "8", "a.b", "8.66", ""])
def test_what_is_no_compute_capability(text):
    with pytest.raises(FleetError, match="such as 8.6"):
        tensorrt.compute_capability(text)


@pytest.mark.parametrize(
    "lowest, release, fits",
    [
        ("2.3.0", "2.20.0", True),
        ("2.20.0", "2.20.0", True),
        ("2.21.0", "2.20.0", False),
        (None, "2.4.0", True),
        ("2.21.0", None, True),
        ("1.14.0", "2.4.0", True),
        ("2.10.0", "2.9.3", False),
    ],
)
def test_the_lowest_runtime_is_compared_with_the_server(lowest, release, fits):
    assert (variant_refusals.runtime_problem(lowest, release) is None) == fits


MEMINFO = {"proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable:    4194304 kB\n"}
V2 = {
    "sys/fs/cgroup/memory.max": "2147483648\n",
    "sys/fs/cgroup/memory.current": "1073741824\n",
    "sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 104857600\n",
}
V1 = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "3221225472\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1073741824\n",
}


@pytest.mark.parametrize(
    "files, limit, expected",
    [
        ({}, None, None),
        ({}, 100, 100),
        (MEMINFO, None, 4096),
        (MEMINFO, 100, 100),
        (MEMINFO, 10**6, 4096),
        (dict(MEMINFO, **V2), None, 1024 + 100),
        (dict(MEMINFO, **V1), None, 2048),
        (dict(MEMINFO, **{"sys/fs/cgroup/memory.max": "max\n"}), None, 4096),
    ],
)
def test_memory_that_can_be_had(files, limit, expected, tmp_path):
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="ascii")
    assert conversion_memory.available_mib(Files(tmp_path), limit) == expected


def test_what_does_not_fit_is_refused():
    conversion_memory.refuse_what_does_not_fit(1 << 30, 6, None)
    conversion_memory.refuse_what_does_not_fit(1 << 30, 6, 6144 + 800)
    with pytest.raises(
        FleetError,
        match="the conversion needs about 6944 MiB of memory, but only 6943 MiB are free. Convert on a host with more memory",
    ):
        conversion_memory.refuse_what_does_not_fit(1 << 30, 6, 6943)


def test_a_container_sees_what_it_needs_and_no_more():
    words = container_command.command(
        "tensorflow/tensorflow:2.17.0-gpu", ["/models/a"], ["/work"], "5:6", {"TF_CPP_MIN_LOG_LEVEL": "2"}, "device=0"
    )
    line = " ".join(words)
    assert line.startswith(
        "docker run --rm --interactive --init --network none --cap-drop ALL --security-opt no-new-privileges --user 5:6 "
    )
    assert "--gpus device=0" in line and "--env TF_CPP_MIN_LOG_LEVEL=2" in line
    assert "--volume /models/a:/models/a:ro" in line and "--volume /work:/work " in line
    assert (
        words[-2:] == ["sh", "python3"] and words[words.index("--entrypoint") + 2] == "tensorflow/tensorflow:2.17.0-gpu"
    )
    assert "--gpus" not in container_command.command("i", [], [], "0:0", {})


def test_the_first_process_of_a_container_ends_with_its_caller():
    """The same words run by the shell of this machine: what it returns, and what becomes of the program when standard input closes."""
    shell = container_command.command("i", [], [], "0:0", {})[-3:-2]
    run = ["/bin/sh", "-c", *shell, "sh"]
    held = subprocess.Popen([*run, sys.executable, "-c", "import sys; sys.exit(7)"], stdin=subprocess.PIPE)
    assert held.wait(timeout=20) == 7
    held.stdin.close()
    began = subprocess.Popen([*run, sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE)
    began.stdin.close()
    assert began.wait(timeout=20) == 137
