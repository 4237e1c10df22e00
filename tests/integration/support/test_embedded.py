# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is forked from the parent is as one that a host starts, and none outlives the tests."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START = """
import runpy, sys, pathlib, time
runpy.run_path(sys.argv[1])
from ansible_collections.tfserving.fleet.tests.support import embedded
servers = embedded.Servers(pathlib.Path(sys.argv[2]))
server = servers.start("--model_name=m", "--model_base_path=" + sys.argv[3]).ready()
print(server.process.pid, flush=True)
time.sleep(600)
"""


def lines_of(server):
    """What the server itself logged, without times and ports."""
    return [
        re.sub(r"127\.0\.0\.1:\d+", "PORT", line.split(" ", 2)[2])
        for line in server.words().splitlines()
        if "tfserving_fleet/embedded" in line
    ]


def test_both_ways_to_start_make_the_same_server(serve, model_directory):
    flags = ("--model_name=m", f"--model_base_path={model_directory}/table", "--nonsense")
    forked, started = (
        serve(*flags, as_a_host_does=real, TFSERVING_EMBEDDED_IDLE_EXIT_S="600") for real in (False, True)
    )
    for server in (forked, started):
        assert server.ready().stop() == 143
    assert len(lines_of(forked)) >= 8 and lines_of(forked) == lines_of(started)
    failed = [
        serve(
            "--model_name=m", f"--model_base_path={model_directory}/table", "--grpc_max_threads=-1", as_a_host_does=real
        )
        for real in (False, True)
    ]
    assert [server.ended() for server in failed] == [255, 255]
    assert [server.words().partition("Failed to start server. Error: ")[2] for server in failed] == [
        "INVALID_ARGUMENT: server_options.grpc_max_threads must be at least 1, is -1.\n"
    ] * 2
    killed = serve("--model_name=m", f"--model_base_path={model_directory}/table").ready()
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL


def test_a_forked_server_ends_with_the_tests(model_directory, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", START, ROOT / "tests" / "conftest.py", tmp_path, model_directory / "table"],
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        served = Path("/proc") / tests.stdout.readline().strip()
        assert served.name.isdigit() and served.exists()
        tests.kill()
    end = time.monotonic() + 120
    while served.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not served.exists()
