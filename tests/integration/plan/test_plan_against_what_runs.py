# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine from the plan to a server that really runs on it, deployed twice; then its plan against that server: asked, remembered, changed, gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy
import pytest


class Machine:
    """This machine as the only host of an inventory."""

    def __init__(self, directory, model):
        self.directory = directory
        numpy.savez(directory / "samples.npz", **{"inputs.x": numpy.ones((4, 1), "float32")})
        (directory / "ansible.cfg").write_text(
            f"[defaults]\ngathering = explicit\nfact_caching = jsonfile\nfact_caching_connection = {directory}/cache\n",
            encoding="utf-8",
        )
        self.variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tfserving_python": sys.executable,
            "tfserving_backend": "embedded",
            "tfserving_embedded_allow_root": True,
            "tfserving_engine_socket": "/nonexistent.sock",
            "tfserving_state_directory": str(directory / "state"),
            "tfserving_model_directory": str(directory / "models"),
            "tfserving_version": "2.20.0",
            "tfserving_models": [
                {"name": "half", "source": str(model), "samples": str(directory / "samples.npz"), "optimize": "none"}
            ],
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_ready_timeout_s": 240,
        }

    def play(self, *words, **variables):
        """(exit status, output with blanks joined)."""
        inventory = {"all": {"hosts": {"here": dict(self.variables, **variables)}}}
        (self.directory / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", self.directory / "inventory.json", *words],
            env=dict(
                clean, ANSIBLE_CONFIG=str(self.directory / "ansible.cfg"), COLUMNS="160", CUDA_VISIBLE_DEVICES="-1"
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            cwd=self.directory,
        )
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.fixture
def machine(tmp_path, model_directory):
    machine = Machine(tmp_path, model_directory / "half_plus_two" / "1")
    yield machine
    machine.play("tfserving.fleet.deploy", tfs_server_state="absent")


def predicted(said):
    """What the server that a run of the playbook deploy names answers for 1 and 4."""
    port = re.search(r"half: started, gRPC \S+, REST 127\.0\.0\.1:(\d+) \(embedded\)", said)[1]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models/half:predict", b'{"instances": [[1.0], [4.0]]}'
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return [row[0] for row in json.load(answer)["predictions"]]


@pytest.mark.slice
def test_planned_converted_deployed_and_planned_again(machine):
    code, said = machine.play(
        "tfserving.fleet.plan",
        "tfserving.fleet.convert",
        "tfserving.fleet.deploy",
        "-e",
        "tfserving_plan_path=plan.json",
    )
    assert (
        code == 0
        and "CHANGES that a deployment would make half: would be served; no server serves it now [here]" in said
    ), said[-3000:]
    assert predicted(said) == [2.5, 4.0]
    # A deployment alone does not know what an earlier plan chose, so the inventory has its flags.
    chosen = json.loads((machine.directory / "plan.json").read_text(encoding="utf-8"))["here"]["server"]["flags"]
    code, said = machine.play("tfserving.fleet.deploy", tfs_server_flags=chosen)
    assert code == 0 and "changed=0" in said and predicted(said) == [2.5, 4.0], said[-3000:]
    code, said = machine.play("tfserving.fleet.plan")
    assert code == 0 and "CHANGES that a deployment would make nothing" in said, said[-3000:]

    wanted = {
        "tfserving_flags": {"rest_api_timeout_in_ms": 5000},
        "tfserving_environment": {"TF_ENABLE_ONEDNN_OPTS": "0"},
        "tfserving_models": [{"name": "half", "batching": {"max_batch_size": 8}}, {"name": "thrice"}],
    }
    code, said = machine.play("tfserving.fleet.plan", "--tags", "offline", **wanted)
    for words in (
        "thrice: would be served; no server serves it now",
        "half: batching.max_batch_size: none -> 8",
        "half: environment.TF_ENABLE_ONEDNN_OPTS: none -> 0",
        "half: flags.rest_api_timeout_in_ms: 30000 -> 5000",
        "not checked now, compared with what ran when it was last checked [here]",
    ):
        assert words in said, (words, said[-3000:])

    pid, _birth = json.loads(
        (machine.directory / "state" / "servers" / "half" / "server.pid").read_text(encoding="utf-8")
    )
    os.kill(pid, signal.SIGKILL)
    code, said = machine.play("tfserving.fleet.plan", tfserving_models=[])
    assert code == 0 and "CHANGES that a deployment would make nothing" in said, said[-3000:]
    code, said = machine.play("tfserving.fleet.plan")
    assert code == 0 and "half: would be served; no server serves it now [here]" in said, said[-3000:]
