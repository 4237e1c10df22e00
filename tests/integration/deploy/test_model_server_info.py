# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What model_server_info returns without an engine and without a server, because a rollback depends on it."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.module_utils._core import pid_file
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import sockets
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.modules import model_server_info
from ansible_collections.tfserving.fleet.tests.support import modules

FIRST, SECOND, THIRD = ({"id": name, "at": f"2026-03-0{number}T10:00:00Z"} for number, name in enumerate("abc", 1))


class State:
    """A state directory on this host, where no deployment succeeds."""

    def __init__(self, directory):
        self.directory = directory
        self._options = {
            "name": "m",
            "backend": "embedded",
            "embedded_allow_root": True,
            "python": sys.executable,
            "model_name": "m",
            "model_base_path": str(directory / "no-model"),
            "state_directory": str(directory / "state"),
        }

    def run(self, **options):
        return modules.call("model_server", **dict(self._options, **options))

    def fails(self, **options):
        result = self.run(**options)
        assert result.get("failed"), result

    def last_attempt(self):
        return modules.call(
            "model_server_info", state_directory=self.directory / "state", engine_socket="/nonexistent.sock"
        )["last_attempt"]


def test_a_deployment_that_fails_is_the_last_attempt(tmp_path):
    """Or else a rollback, which undoes the last deployment, would undo the one before it."""
    state = State(tmp_path)
    state.run(deployment=FIRST, check=True)
    state.run(deployment=FIRST, check=True, tolerance=-1)
    assert state.last_attempt() is None, "check mode changes nothing"
    state.fails(deployment=FIRST)
    assert state.last_attempt() == FIRST
    state.fails(deployment=SECOND, backend="docker", image="tensorflow/serving:2.20.0", engine_socket="/none.sock")
    assert state.last_attempt() == SECOND, "without an engine"
    state.fails()
    state.fails(deployment=THIRD, state="previous")
    assert state.last_attempt() == SECOND, "only a deployment counts"
    state.fails(deployment=THIRD, tolerance=-1)
    assert state.last_attempt() == THIRD, "before the server is known"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1, "at": "x"}', '{"id": "x", "at": null}', "\x00"])
def test_an_attempt_that_cannot_be_read_is_one_clear_line(tmp_path, text):
    state = State(tmp_path)
    state.fails(deployment=FIRST)
    (path,) = (tmp_path / "state").rglob("*attempt*")
    path.write_text(text, encoding="utf-8")
    result = modules.call("model_server_info", state_directory=tmp_path / "state", engine_socket="/nonexistent.sock")
    assert result["failed"] and str(path) in result["msg"] and "\n" not in result["msg"], result


def test_a_port_of_another_server_is_refused_with_its_name(tmp_path):
    """Another port would leave the models of that server where clients expect the new ones."""
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            port = int(other.stdout.readline())
            folder = tmp_path / "state" / "servers" / "shop"
            folder.mkdir(parents=True)
            shop = ServingConfiguration("shop", backend="embedded", address="127.0.0.1", grpc_port=port)
            (folder / "server.json").write_text(json.dumps(shop.to_dict()), encoding="utf-8")
            (folder / "server.pid").write_text(json.dumps([other.pid, pid_file.birth_of(other.pid)]), encoding="utf-8")
            result = State(tmp_path).run(grpc_port=port)
        finally:
            other.kill()
    assert f"grpc_port: port {port} of 127.0.0.1 cannot be used" in result["msg"]
    assert "Set name: shop (tfs_server_name of the role) to update that server" in result["msg"]


@pytest.mark.parametrize("reason", [None, "no socket of a container engine is there"])
def test_servers_in_containers_are_unseen_while_no_engine_answers(tmp_path, monkeypatch, reason):
    """A host with configurations of containers has, or had, servers in them."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(
        sockets, "find", lambda *_given: {"answers": False, "socket": None, "engine": None, "reason": reason}
    )
    module = SimpleNamespace(params={"state_directory": str(tmp_path / "state"), "engine_socket": None, "ask": False})
    (tmp_path / "state" / "servers" / "m").mkdir(parents=True)
    assert model_server_info.work(module)["unseen"] is None, "an embedded server has no such folder"
    (tmp_path / "state" / "servers" / "m" / "config" / "x").mkdir(parents=True)
    unseen = model_server_info.work(module)["unseen"]
    assert unseen == f"cannot see servers in containers: {reason or 'no container engine answers'}"
