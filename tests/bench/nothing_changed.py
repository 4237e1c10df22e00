# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs that changes nothing: `ansible-playbook tfserving.fleet.plan tfserving.fleet.deploy` against a playbook with ansible.builtin.ping alone.

    python tests/bench/nothing_changed.py [HOSTS [ROUNDS]]     default 60 names of this machine, 3 rounds; exit status 1 above 5 times

Both run in turns, so that a machine that is busy for a while slows both. The figure is the ratio of the medians.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]
importlib.import_module("conftest")  # makes the collection importable
from ansible_collections.tfserving.fleet.tests.support import made

MOST_TIMES = 5.0
PING = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}]
PLAN_AND_DEPLOY = ("tfserving.fleet.plan", "tfserving.fleet.deploy")


class Names:
    """Names of this machine, which share one embedded server. Their facts are remembered, as those of a fleet that was detected once."""

    def __init__(self, count, directory):
        self._directory = directory
        models = made.by_program(ROOT / "tests" / "integration" / "make_models.py")
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tfserving_python": sys.executable,
            "tfserving_backend": "embedded",
            "tfserving_embedded_allow_root": True,
            "tfserving_engine_socket": "/nonexistent.sock",
            "tfserving_models": [{"name": "half", "batching": {"max_batch_size": 16}}],
            "tfserving_state_directory": str(directory / "state"),
            "tfs_server_model_base_path": str(models / "half_plus_two"),
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_ready_timeout_s": 300,
        }
        hosts = {f"name{number:03}": {} for number in range(count)}
        (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}), "utf-8")
        (directory / "ping.yml").write_text(json.dumps(PING), "utf-8")

    def seconds(self, *playbooks, changes=False):
        """How long a run takes. Without changes it must change nothing."""
        cache = {
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self._directory / "facts"),
            "ANSIBLE_CACHE_PLUGIN_TIMEOUT": "0",
        }
        began = time.monotonic()
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", self._directory / "inventory.json", *playbooks],
            env={**os.environ, **cache},
            capture_output=True,
            text=True,
            check=False,
            cwd=self._directory,
        )
        took = time.monotonic() - began
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert changes or not re.search(r"changed=[1-9]", done.stdout), done.stdout[-3000:]
        return took


def main():
    """Returns the exit status."""
    given = [int(word) for word in sys.argv[1:]]
    count, rounds = [*given, *(60, 3)[len(given) :]]
    with tempfile.TemporaryDirectory(prefix="tfserving-bench-") as directory:
        names = Names(count, Path(directory))
        names.seconds(*PLAN_AND_DEPLOY, changes=True)
        try:
            measured = [(names.seconds("ping.yml"), names.seconds(*PLAN_AND_DEPLOY)) for _round in range(rounds)]
        finally:
            names.seconds("tfserving.fleet.deploy", "-e", "tfs_server_state=absent", changes=True)
    ping, deploy = (statistics.median(column) for column in zip(*measured))
    print(f"{count} names: plan and deploy without change {deploy:.1f} s, ping {ping:.1f} s, ratio {deploy / ping:.1f}")
    return int(deploy / ping > MOST_TIMES)


if __name__ == "__main__":
    sys.exit(main())
