# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration and the tuning, with few and short windows: what they leave, also when they are stopped."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.tfserving.fleet.tests.support import demo as demonstration

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOME = ROOT / "build" / "test-demo"
SHORT = {
    "demo_directory": str(HOME),
    "tfs_tuning_instances": 2,
    "tfs_tuning_window_s": 0.5,
    "tfs_tuning_budget_min": 3,
}
STEP_KEYS = {
    "name",
    "kept",
    "reason",
    "goodput_rps",
    "p50_ms",
    "p99_ms",
    "requests",
    "gain",
    "gain_interval",
    "noise_floor",
    "accuracy",
}
STARTED_S = 600


def demo(**variables):
    """tools/demo as a process, its output a pipe."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tools" / "demo"), "-e", json.dumps({**SHORT, **variables})],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def servers():
    """The processes that serve for this demonstration: {process id: command line}."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"{HOME}/state/programs" in line:
                found[int(entry.name)] = line
    return found


@pytest.fixture(scope="module")
def finished():
    """The output of a demonstration that ran to its end."""
    demonstration.bring_model(HOME)
    process = demo()
    output, _none = process.communicate(timeout=900)
    assert process.returncode == 0, output[-6000:]
    return output


def test_the_demonstration_ends_with_a_summary_and_the_report(finished):
    assert "changed: " not in finished.partition("Train a convolutional network")[2].partition("TASK [")[0], (
        "the model was there already"
    )
    assert str(HOME / "report.html") in finished
    assert "It is not TensorFlow Serving" in " ".join(finished.split())
    assert (HOME / "report.html").stat().st_size > 10_000


def test_no_server_is_left(finished):
    assert servers() == {}


def test_the_report_holds_every_figure_that_was_promised(finished):
    report = json.loads((HOME / "report.json").read_text())
    (host,) = report["hosts"]
    assert set(host["class"]) == {"image", "tuning"} and host["plan"]["backend"] == "embedded"
    onednn = "oneDNN on" if _no_vnni(host) else "oneDNN off"
    names = [step["name"] for step in report["steps"]]
    given = {
        "TensorFlow Lite",
        "batching",
        "TensorFlow Lite with batching",
        "threads",
        onednn,
        "clients from REST to gRPC",
    }
    assert set(names[:6]) == given
    # Then the others on top of what was kept, other values of the numbers that were kept, and what was not decided yet.
    later = [name.replace(", longer", "") for name in names[6:]]
    assert all(", with " in name or name in given or name.rpartition(" ")[2].isdecimal() for name in later), names
    for step in [*report["steps"], report["total"]]:
        assert set(step) >= STEP_KEYS
        assert set(step["accuracy"]) == {"before", "after"} and step["accuracy"]["before"] > 0.97
        assert isinstance(step["kept"], bool) and step["reason"]
        if step["gain"] is not None:
            low, high = step["gain_interval"]
            assert (low is None or low <= step["gain"]) and (high is None or step["gain"] <= high)


def _no_vnni(host):
    """TensorFlow turns oneDNN on by itself where the CPU has one of these; the step tries the other way."""
    return not {"avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"} & set(
        host["capabilities"]["cpu"]["flags"]
    )


def test_what_was_kept_beat_the_noise_and_the_rest_says_why_not(finished):
    report = json.loads((HOME / "report.json").read_text())
    for step in report["steps"]:
        if step["kept"]:
            assert step["gain"] > max(step["noise_floor"], 0.03) and step["gain_interval"][0] > 0
            assert step["accuracy"]["before"] - step["accuracy"]["after"] <= 0.01


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_stopped_in_the_middle_it_leaves_no_server(finished, number):
    process = demo()
    try:
        deadline = time.monotonic() + STARTED_S
        while len(servers()) < 2:
            assert process.poll() is None and time.monotonic() < deadline, "the tuning did not begin"
            time.sleep(0.2)
        process.send_signal(number)
        output, _none = process.communicate(timeout=STARTED_S)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert f"Stopped by {number.name}" in output
    assert servers() == {}


def tune(tmp_path, candidates, *options):
    """Run the module tuning alone on the demonstration's model; (its result, the output)."""
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {
                    "tfserving.fleet.tuning": {
                        "name": "digits",
                        "python": sys.executable,
                        "model_directory": str(HOME / "models"),
                        "samples": str(HOME / "source" / "samples.npz"),
                        "metric": "accuracy",
                        "allowed_loss": 0.01,
                        "instances": 2,
                        "window_s": 0.5,
                        "cpus": _cpus(),
                        "state_directory": str(tmp_path / "state"),
                        "server": {
                            "embedded_allow_root": True
                        },  # which may be the only account that can read this Python
                        "candidates": candidates,
                    },
                    "register": "tuned",
                },
                {
                    "ansible.builtin.copy": {"content": "{{ tuned | to_json }}", "dest": str(tmp_path / "tuned.json")},
                    "check_mode": False,
                },
            ],
        }
    ]
    (tmp_path / "play.json").write_text(json.dumps(play))
    command = [
        str(pathlib.Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        "localhost,",
        str(tmp_path / "play.json"),
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        *options,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    told = tmp_path / "tuned.json"
    return (json.loads(told.read_text()) if told.exists() else None), ran.stdout + ran.stderr


def _cpus():
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


def test_candidates_that_cannot_be_measured_are_told_apart_and_harm_nothing(finished, tmp_path):
    result, output = tune(
        tmp_path,
        [
            {"name": "nothing new", "change": {"batching": None}},
            {"name": "unknown form", "change": {"form": "tensorrt"}},
            {
                "name": "illegal threads",
                "change": {
                    "flags": {
                        "tensorflow_session_parallelism": 1,
                        "tensorflow_intra_op_parallelism": 1,
                        "tensorflow_inter_op_parallelism": 1,
                    }
                },
            },
            {"name": "for another model", "change": {"protocol": "rest"}, "model": "other"},
        ],
    )
    assert result, output
    steps = {step["name"]: step for step in result["tuning"]["steps"]}
    assert set(steps) == {"nothing new", "unknown form", "illegal threads"}
    assert not any(step["kept"] for step in steps.values())
    assert steps["nothing new"]["reason"] == "it does not change the current configuration"
    assert "no variant 'tensorrt'" in steps["unknown form"]["reason"]
    assert "Either configure server_options.tensorflow_session_parallelism" in steps["illegal threads"]["reason"]
    assert result["tuning"]["configuration"] == result["tuning"]["start"]
    assert "baseline is kept" in result["tuning"]["total"]["reason"]


def test_check_mode_says_what_would_be_tried_and_starts_nothing(finished, tmp_path):
    result, output = tune(tmp_path, [{"name": "REST", "change": {"protocol": "rest"}, "reason": "to see"}], "--check")
    assert result, output
    assert result["tuning"] is None and result["actions"] == ["Measure REST: to see"]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "candidates, told",
    [
        ([{"name": "x", "change": {"protocl": "grpc"}}], "did you mean protocol?"),
        ([{"name": "x"}], "change"),
        ("none", "candidates"),
    ],
)
def test_bad_input_is_told_in_one_line(finished, tmp_path, candidates, told):
    result, output = tune(tmp_path, candidates)
    assert result is None and told in output and "Traceback" not in output
