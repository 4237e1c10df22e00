# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine as a host: the module model_server with the backend docker, for one server of the machine's engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import transaction
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.tests.docker.forked import Module
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import SERVER, server_name


class LocalHost:
    """Calls the module on this machine for one server."""

    def __init__(self, name, state, engine, image, models):
        self.name, self.state, self.engine, self._models = server_name(name), state, engine, models
        self.options = {
            "name": self.name,
            "backend": "docker",
            "image": image.tags[0],
            "model_name": "m",
            "model_base_path": str(state / "models"),
            "rest_port": 0,
            "samples": str(models / "samples.npz"),
            "reference": str(models / "samples.npz"),
            "state_directory": str(state),
            "ready_timeout_s": 600,
        }
        self.publish("right")

    def publish(self, model, folder="models", version="1"):
        """Put a model into a folder of models, in place of what was there."""
        shutil.rmtree(self.state / folder / version, ignore_errors=True)
        shutil.copytree(self._models / model / "1", self.state / folder / version)
        return str(self.state / folder)

    def start(self, check_mode=False, **options):
        """The module as a process."""
        return Module("model_server", check_mode, **dict(self.options, **options))

    def run(self, **options):
        """The module's result."""
        return self.start(**options).result()

    def good(self, **options):
        """The module's result, which must be good."""
        result = self.run(**options)
        assert not result.get("failed"), result["msg"] + result.get("exception", "")
        return result

    def refused(self, **options):
        """The message with which the module fails."""
        result = self.run(**options)
        assert result.get("failed"), result
        assert "\n" not in result["msg"] and "Traceback" not in result["msg"]
        return result["msg"]

    def info(self):
        """(the description of the server, what it answered) of model_server_info."""
        result = Module("model_server_info", ask=True, state_directory=str(self.state)).result()
        return [next((one for one in result[key] if one["name"] == self.name), None) for key in ("servers", "asked")]

    def roles(self):
        """{role: whether it runs} of the containers that are there."""
        listed = self.engine.api.containers(all=True, filters={"label": f"{SERVER}={self.name}"})
        return {
            transaction.role_of(self.name, one["Names"][0].lstrip("/")): one["State"] == "running" for one in listed
        }

    def container(self):
        """What the engine says of the container that serves."""
        return self.engine.containers.get(self.name).attrs

    def remove(self):
        """Remove all containers of the server."""
        for one in self.engine.containers.list(
            all=True, ignore_removed=True, filters={"label": f"{SERVER}={self.name}"}
        ):
            one.remove(force=True, v=True)


def answer(server):
    """What the server makes of ones."""
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        return client.predict("m", {"x": numpy.ones((1, 4), "float32")})


def doubles(server):
    return answer(server)["y"].tolist() == [[2.0] * 4]


def pids(first):
    """The processes of a container, by the process that the engine names."""
    found = [first]
    for pid in found:
        found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found
