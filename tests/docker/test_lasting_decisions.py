# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A later run changes nothing: another controller process, which remembers nothing or only facts, also after a reboot.

Four ways to serve for the first time, each followed by two later runs. Every two values of how a host was served first, which run came later, what
the fact cache kept, and whether the host was rebooted, occur together in one of these eight later runs, apart from pairs of first and later run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import server_name

OWN = [
    {
        "name": "Prepare",
        "hosts": "all",
        "gather_facts": False,
        "tags": ["prepare"],
        "tasks": [{"name": "Prepare the host", "ansible.builtin.fail": {"msg": "this was to be left out"}}],
    },
    {
        "name": "Serve",
        "hosts": "all",
        "gather_facts": False,
        "roles": [{"role": "tfserving.fleet.tfs_server", "tags": ["serve"]}],
    },
]
# A server that waits for 200 ms for each batch answers several times as fast when it waits for 20 ms, which costs the load generator little.
SLOW, QUICK = ({"max_batch_size": 32, "batch_timeout_micros": wait} for wait in (200000, 20000))
TUNING = {
    "tfs_tuning_start": {"protocol": "grpc", "batching": SLOW},
    "tfs_tuning_candidates": [{"name": "no wait", "change": {"batching": QUICK}}],
    "tfs_tuning_refine": False,
    "tfs_tuning_instances": 2,
    "tfs_tuning_window_s": 1,
}
FLAGS = {"tfserving_flags": {"rest_api_timeout_in_ms": 10000}, "tfserving_environment": {"OWNER": "us"}}
SERVE = ["own.yml", "--tags", "serve"]
BEGIN = ["own.yml", "--start-at-task", "tfserving.fleet.tfs_server : Plan the server of this host"]
LIMIT = ["tfserving.fleet.deploy", "--limit", "here"]
DEPLOY = ["tfserving.fleet.deploy"]
# What happens first, with what settings, and in which batching it ends for each model; then (later run, fact cache, rebooted).
ORDERS = {
    "plan and deploy": (
        [["tfserving.fleet.plan", "tfserving.fleet.convert", "tfserving.fleet.deploy"]],
        [{"batching": QUICK}],
        FLAGS,
        [(DEPLOY, "none", False), (SERVE, "kept", True)],
    ),
    "roles of the user's own": (
        [["tfserving.fleet.convert"], SERVE],
        [{"batching": QUICK}, {"batching": dict(QUICK, max_batch_size=8)}],
        FLAGS,
        [(BEGIN, "emptied", True), (LIMIT, "kept", False)],
    ),
    "site": (
        [["tfserving.fleet.site"]],
        [{"samples": True}],
        TUNING,
        [(DEPLOY, "emptied", True), (SERVE, "none", False)],
    ),
    "tune and deploy": (
        [["tfserving.fleet.convert", "tfserving.fleet.tune"], DEPLOY],
        [{"samples": True}],
        dict(TUNING, **FLAGS),
        [(LIMIT, "none", True), (BEGIN, "kept", False)],
    ),
}


TUNES = {"tfserving.fleet.site", "tfserving.fleet.tune"}


class Controller:
    """A controller whose only host is this machine. Each run is a process of its own."""

    def __init__(self, name, directory, models, image, wanted, variables):
        self.name, self.directory = name, directory
        (directory / "own.yml").write_text(json.dumps(OWN), encoding="utf-8")
        samples = {"samples": str(models / "samples.npz")}
        self.models = [
            {
                "name": f"{self.name}{number}",
                "source": str(models / "right" / "1"),
                "optimize": "none",
                **{key: value for key, value in one.items() if key != "samples"},
                **(samples if "samples" in one else {}),
            }
            for number, one in enumerate(wanted)
        ]
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tfserving_python": sys.executable,
            "tfserving_backend": "docker",
            "tfserving_image": image,
            "tfserving_state_directory": str(directory / "state"),
            "tfserving_model_directory": str(directory / "models"),
            "tfserving_report_directory": str(directory / "report"),
            "tfserving_models": self.models,
            "tfs_server_name": self.name,
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_ready_timeout_s": 600,
            **variables,
        }
        (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {"here": variables}}}), encoding="utf-8")

    def kept_a_tuning(self):
        """Whether a tuning that beat the plan is kept beside the inventory."""
        files = [path.read_text(encoding="utf-8") for path in self.directory.glob("tunings/*/*.yml")]
        return any("fraction:" in text for text in files)

    def play(self, words, cache="none", rebooted=False):
        """The number of changed tasks of a run, which must succeed. cache: what the fact cache holds of earlier runs."""
        kept = self.directory / "facts"
        if cache == "emptied":
            shutil.rmtree(kept, ignore_errors=True)
        caching = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(kept)}
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.json", *words]
        if rebooted:  # The run sees another boot id, as after a reboot.
            (self.directory / "boot_id").write_text("3e1e0f7a-0c55-4d0e-9c53-0d7f8d5b2f11\n", encoding="utf-8")
            command = [
                *("unshare", "--mount", "sh", "-c"),
                'mount --bind boot_id /proc/sys/kernel/random/boot_id && exec "$@"',
                *("sh", *command),
            ]
        done = subprocess.run(
            command,
            env=dict(os.environ, ANSIBLE_NOCOLOR="1", **({} if cache == "none" else caching)),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            cwd=self.directory,
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output[-6000:]
        assert "this was to be left out" not in output
        return int(re.search(r"changed=(\d+)", output)[1])


@pytest.fixture()
def controller(request, tmp_path, models, serving_image, engine):
    order = request.getfixturevalue("order")
    _first, wanted, variables, _later = ORDERS[order]
    name = server_name(f"t{[*ORDERS].index(order)}")
    controller = Controller(name, tmp_path, models, serving_image.tags[0], wanted, variables)
    yield controller
    for container in engine.containers.list(all=True, ignore_removed=True):
        if container.name.startswith(controller.name):
            container.remove(force=True, v=True)


@pytest.mark.parametrize("order", ORDERS)
def test_a_later_run_changes_nothing(order, controller, engine):
    first, wanted, variables, later = ORDERS[order]
    for words in first:
        controller.play(words, cache="kept")
        for _again in range(2):
            # A busy machine makes windows void, and nothing is kept without them.
            if TUNES & {*words} and not controller.kept_a_tuning():
                controller.play(words, cache="kept")
    served = engine.containers.get(controller.name)
    _check_served(controller, served, wanted, variables)
    for words, cache, rebooted in later:
        assert controller.play(words, cache, rebooted) == 0, (words, cache, rebooted)
    now = engine.containers.get(controller.name)
    assert (now.id, now.attrs["State"]["StartedAt"]) == (served.id, served.attrs["State"]["StartedAt"])


def _check_served(controller, served, wanted, variables):
    """What the inventory asks for, or the tuning kept, is what the server was started with."""
    command, environment = served.attrs["Config"]["Cmd"], served.attrs["Config"]["Env"]
    assert "--enable_batching=true" in command
    for name, value in variables.get("tfserving_flags", {}).items():
        assert f"--{name}={value}" in command
    for name, value in variables.get("tfserving_environment", {}).items():
        assert f"{name}={value}" in environment
    if len(wanted) == 1:
        texts = [served.exec_run(["cat", "/etc/tfserving/batching.pbtxt"]).output.decode()]
    else:
        assert "--enable_per_model_batching_parameters=true" in command
        texts = [
            (controller.directory / "models" / model["name"] / "saved_model" / "1" / "batching_params.pbtxt").read_text(
                encoding="utf-8"
            )
            for model in controller.models
        ]
    for text, one in zip(texts, wanted):
        batching = one.get("batching", QUICK)
        for name, value in batching.items():
            assert re.search(rf"{name} {{\s*value: {value}\s*}}", text) or value == 0, text
        assert f"{SLOW['batch_timeout_micros']}" not in text
