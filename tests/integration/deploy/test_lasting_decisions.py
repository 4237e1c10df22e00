# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory asks for holds in every later run: another controller process, no fact cache, a playbook of the user's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")

OWN = [
    {
        "name": "Prepare",
        "hosts": "all",
        "gather_facts": False,
        "tags": ["prepare"],
        "tasks": [{"ansible.builtin.fail": {"msg": "not this one"}}],
    },
    {
        "name": "Serve",
        "hosts": "all",
        "gather_facts": False,
        "roles": [{"role": "tfserving.fleet.tfs_server", "tags": ["serve"]}],
    },
]


class Machine:
    """This machine as the only host of an inventory. Each run is a controller process that remembers no facts."""

    def __init__(self, directory, models):
        self.directory = directory
        shutil.copytree(models / "half_plus_two", directory / "models" / "half" / "saved_model")
        (directory / "own.yml").write_text(json.dumps(OWN), encoding="utf-8")
        self.variables = {
            "ansible_connection": "local",
            # Ansible finds this Python itself, and it is the one that has TensorFlow.
            "ansible_python_interpreter": "auto_silent",
            "ansible_interpreter_python_fallback": [sys.executable],
            "tfserving_backend": "embedded",
            "tfserving_embedded_allow_root": True,
            "tfserving_state_directory": str(directory / "state"),
            "tfserving_model_directory": str(directory / "models"),
            "tfserving_models": [{"name": "half", "batching": {"max_batch_size": 16}}],
            "tfserving_flags": {"rest_api_timeout_in_ms": 10000},
            "tfserving_environment": {"CUDA_VISIBLE_DEVICES": "-1"},
            "tfserving_engine_socket": "/nonexistent.sock",
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_ready_timeout_s": 240,
        }

    def play(self, *words, **variables):
        """(exit status, changed tasks, output) of a run."""
        (self.directory / "inventory.json").write_text(
            json.dumps({"all": {"hosts": {"here": dict(self.variables, **variables)}}}), encoding="utf-8"
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_CACHE")}
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", self.directory / "inventory.json", *words],
            env=clean,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            cwd=self.directory,
        )
        changed = re.search(r"changed=(\d+)", done.stdout)
        return done.returncode, int(changed[1]) if changed else None, re.sub(r"\s+", " ", done.stdout + done.stderr)

    def command_line(self):
        """The arguments of the server that runs."""
        pid, _birth = json.loads(
            (self.directory / "state" / "servers" / "half" / "server.pid").read_text(encoding="utf-8")
        )
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0"), Path(
            f"/proc/{pid}/environ"
        ).read_text(encoding="utf-8").split("\0")


@pytest.fixture
def machine(tmp_path, model_directory):
    machine = Machine(tmp_path, model_directory)
    yield machine
    machine.play("tfserving.fleet.deploy", tfs_server_state="absent")


def test_deploy_alone_keeps_batching_flags_and_environment(machine):
    code, _changed, said = machine.play("tfserving.fleet.plan", "tfserving.fleet.deploy")
    assert code == 0 and "half: would be served; no server serves it now" in said, said[-3000:]
    words, environment = machine.command_line()
    assert {"--enable_batching=true", "--rest_api_timeout_in_ms=10000"} <= set(
        words
    ) and "CUDA_VISIBLE_DEVICES=-1" in environment
    assert "max_batch_size { value: 16 }" in (machine.directory / "state" / "half.batching.pbtxt").read_text(
        encoding="utf-8"
    )

    code, changed, said = machine.play("tfserving.fleet.deploy", "-e", "tfserving_serial=[1,2]")
    assert (code, changed) == (0, 0), said[-3000:]
    code, changed, said = machine.play("tfserving.fleet.rollback", "-e", "tfserving_serial=50%")
    assert (code, changed) == (2, 0) and "No server of these hosts records which deployment made it." in said
    assert "Embedded servers keep no earlier server: deploy the earlier configuration again." in " ".join(
        said.split()
    ), said
    code, changed, said = machine.play("own.yml", "--tags", "serve")
    assert (code, changed) == (0, 0), said[-3000:]
    assert machine.command_line() == (words, environment)

    code, changed, said = machine.play(
        "own.yml",
        "--tags",
        "serve",
        "--check",
        tfserving_flags={"rest_api_timeout_in_ms": 20000},
        tfs_capabilities_plan_result={"plan": {"models": [], "server": {}}},
    )
    assert (code, changed) == (0, 1), "a plan from before does not win over changed settings"
    code, _changed, said = machine.play("own.yml", "--start-at-task", "Bring the model server to the desired state")
    assert code != 0 and 'start at its task "Plan the server of this host"' in said, said[-3000:]
