# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module load_test as Ansible runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from ansible_collections.tfserving.fleet.tests.support import modules

SERVER = Path(__file__).parent / "timed_server.py"


@pytest.fixture(scope="module")
def port():
    server = subprocess.Popen([sys.executable, SERVER, "--service-ms", "2"], stdout=subprocess.PIPE, text=True)
    yield json.loads(server.stdout.readline())["grpc"]
    server.kill()
    server.communicate()


@pytest.fixture
def load_test(tmp_path, port):
    """Run the module once; its result and whether it failed."""
    samples = tmp_path / "samples.npz"
    numpy.savez(samples, **{"inputs.x": numpy.zeros((4, 8), "float32")})

    def call(check=False, **options):
        options = {
            "targets": [{"name": "one", "port": port, "model": "m"}],
            "samples": str(samples),
            "window_s": 0.5,
            "warmup_max_s": 0.4,
            **options,
        }
        return modules.call("load_test", check=check, **options)

    return call


def test_it_travels_whole_to_the_host(port, tmp_path):
    options = {
        "targets": [{"name": "one", "port": port, "model": "m"}],
        "window_s": 0.5,
        "samples": str(tmp_path / "samples.npz"),
        "warmup_max_s": 0,
    }
    numpy.savez(options["samples"], **{"inputs.x": numpy.zeros((4, 8), "float32")})
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible",
            "localhost",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            "-m",
            "tfserving.fleet.load_test",
            "-a",
            json.dumps(options),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "localhost | SUCCESS" in done.stdout, done.stdout + done.stderr
    assert json.loads(done.stdout[done.stdout.index("{") :])["windows"][0]["ok"] > 0


def test_it_measures_and_changes_nothing(load_test, port):
    result = load_test(concurrency=2, objective_ms=1000)
    assert result["changed"] is False
    window = result["windows"][0]
    assert (window["target"], window["loop"], window["concurrency"], window["rate_rps"]) == ("one", "closed", 2, None)
    assert window["ok"] == window["requests"] > 0
    assert result["actions"] == [
        f"Send grpc requests of 1 example to one (127.0.0.1:{port}, model m) for 1 x 0.5 s, 2 requests in flight"
    ]


def test_check_mode_sends_nothing(load_test):
    result = load_test(check=True, targets=[{"name": "nobody", "port": 1, "model": "m"}])
    assert (result["changed"], result["windows"], result["warmups"]) == (False, [], [])
    assert result["actions"] == [
        "Send grpc requests of 1 example to nobody (127.0.0.1:1, model m) for 1 x 0.5 s, 1 request in flight"
    ]


@pytest.mark.parametrize(
    "options, text",
    [
        ({"loop": "open", "rate_rps": -1}, "rate_rps: -1.0 is out of range; allowed: 0.01 to 100000 requests/s."),
        ({"windows": ["two"]}, "windows: 'two' is not known; allowed: one."),
        ({"cpu_set": [4096]}, "cpu_set: CPU 4096 is not available on this host; available: "),
        ({"arrivals": "/nowhere", "loop": "open"}, "arrivals: '/nowhere' is not a file on this host."),
        ({"batch": {"1": "often"}}, "batch[1]: 'often' is not a number."),
        ({"samples": "/nowhere.npz"}, "samples: '/nowhere.npz' is not a file on this host."),
        ({"python": "/nowhere/python"}, "python: cannot run '/nowhere/python': No such file or directory."),
        ({"concurrency": "many"}, "concurrency: 'many' is not a whole number"),
    ],
)
def test_faults_are_one_clear_line(load_test, options, text):
    result = load_test(**options)
    assert result["failed"] and text in result["msg"] and "\n" not in result["msg"].strip()
