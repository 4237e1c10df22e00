# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of this machine against a server that really runs on it: asked, remembered, changed, gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest


class Machine:
    """This machine as the only host of an inventory."""

    def __init__(self, directory, model):
        self.directory = directory
        shutil.copytree(model, directory / "models" / "twice" / "saved_model")
        (directory / "ansible.cfg").write_text(f"[defaults]\ngathering = explicit\nfact_caching = jsonfile\nfact_caching_connection = {directory}/cache\n",
                                               encoding="utf-8")
        self.variables = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "tfserving_python": sys.executable, "tfserving_backend": "embedded",
            "tfserving_engine_socket": "/nonexistent.sock",
            "tfserving_state_directory": str(directory / "state"), "tfserving_model_directory": str(directory / "models"), "tfserving_version": "2.20.0",
            "tfserving_models": [{"name": "twice"}], "tfs_server_grpc_port": 0, "tfs_server_rest_port": 0, "tfs_server_ready_timeout_s": 240}

    def play(self, *words, **variables):
        """(exit status, output with blanks joined)."""
        inventory = {"all": {"hosts": {"here": dict(self.variables, **variables)}}}
        (self.directory / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        done = subprocess.run([Path(sys.executable).parent / "ansible-playbook", "-i", self.directory / "inventory.json", *words],
                              env=dict(clean, ANSIBLE_CONFIG=str(self.directory / "ansible.cfg"), COLUMNS="160", CUDA_VISIBLE_DEVICES="-1"),
                              capture_output=True, text=True, check=False, timeout=400, cwd=self.directory)
        return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.fixture
def machine(tmp_path, model_directory):
    machine = Machine(tmp_path, model_directory / "half_plus_two")
    yield machine
    machine.play("tfserving.fleet.deploy", tfs_server_state="absent")


def test_a_plan_against_what_runs(machine):
    code, said = machine.play("tfserving.fleet.plan", "tfserving.fleet.deploy")
    assert code == 0 and "CHANGES to what runs now twice: not served yet [here]" in said, said[-3000:]
    code, said = machine.play("tfserving.fleet.plan")
    assert code == 0 and "CHANGES to what runs now nothing" in said, said[-3000:]

    wanted = {"tfserving_flags": {"rest_api_timeout_in_ms": 5000}, "tfserving_environment": {"TF_ENABLE_ONEDNN_OPTS": "0"},
              "tfserving_models": [{"name": "twice", "batching": {"max_batch_size": 8}}, {"name": "thrice"}]}
    code, said = machine.play("tfserving.fleet.plan", "--tags", "offline", **wanted)
    for words in ("thrice: not served yet", "twice: batching.max_batch_size: none -> 8", "twice: environment.TF_ENABLE_ONEDNN_OPTS: none -> 0",
                  "twice: flags.rest_api_timeout_in_ms: none -> 5000", "not asked now, compared with what was seen last [here]"):
        assert words in said, (words, said[-3000:])

    pid, _birth = json.loads((machine.directory / "state" / "servers" / "twice" / "server.pid").read_text(encoding="utf-8"))
    os.kill(pid, signal.SIGKILL)
    code, said = machine.play("tfserving.fleet.plan", tfserving_models=[])
    assert code == 0 and "CHANGES to what runs now nothing" in said, said[-3000:]
    code, said = machine.play("tfserving.fleet.plan")
    assert code == 0 and "twice: not served yet [here]" in said, said[-3000:]
