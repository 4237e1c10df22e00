# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What killed runs, failed deployments and earlier versions leave does not stop the ordinary commands."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    backends,
    deployment,
    docker_backend,
    server_containers,
    transaction,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import ServerFolder
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.transaction import (
    NEXT,
    PREVIOUS,
    REPLACED,
    SERVING,
    Seen,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

SPECIFICATION = ServingConfiguration("m")


class Engine:
    """Containers of servers, {name: {role: Seen}}."""

    def __init__(self, servers):
        self.servers = servers

    def alike(self, _name):
        return sorted(self.servers)

    def seen(self, name):
        return dict(self.servers[name])

    def moments(self, name):
        return {one.id: (0, 0) for one in self.servers[name].values()}

    def inspect(self, _identifier):
        labels = {"tfserving.fleet.description": json.dumps(SPECIFICATION.to_dict())}
        return {"Mounts": [], "Config": {"Labels": labels}}

    def remove_container(self, identifier):
        for name, roles in self.servers.items():
            for role in list(roles):
                if transaction.container_name(name, role) == identifier:
                    del roles[role]


@pytest.fixture(name="no_more")
def what_becomes(monkeypatch):
    """no_more(servers, **options): what is done with which server."""

    def decided(servers, **options):
        done = []
        monkeypatch.setattr(server_containers, "Servers", lambda *_arguments: Engine(servers))
        monkeypatch.setattr(backends, "_one", lambda _backend, one, _check, how=None: done.append((one["name"], how)))
        backends._no_more({"engine_socket": None, "deployment": None, **options}, ["m"], False)
        return done

    return decided


def test_a_rollback_brings_back_a_replica_that_a_killed_deployment_stopped(no_more, tmp_path):
    before = {"deployment": "monday", "deployed_at": "1"}
    servers = {
        "m": {
            SERVING: Seen("2", "running", "new", "i", "tuesday", "2", predecessor="1"),
            PREVIOUS: Seen("1", "exited", "old", "i", **before),
        },
        "m-gpu1": {
            REPLACED: Seen("3", "exited", "old", "i", **before),
            NEXT: Seen("4", "created", "new", "i", "tuesday", "2", predecessor="3"),
        },
    }
    done = no_more(servers, state="previous", deployment={"id": "tuesday"}, state_directory=str(tmp_path))
    assert done == [("m-gpu1", None), ("m", "previous")]


def test_the_earlier_server_comes_back_where_someone_removed_the_current_one(monkeypatch, tmp_path):
    engine = Engine({"m": {PREVIOUS: Seen("1", "exited", "old", "i")}})
    monkeypatch.setattr(server_containers, "Servers", lambda *_arguments: engine)
    options = {
        "name": "m",
        "image": "i",
        "state": "previous",
        "state_directory": str(tmp_path),
        "ready_timeout_s": 1,
        "tolerance": 0.1,
        **dict.fromkeys(("accept_fragile", "accept_signature_change"), False),
        **dict.fromkeys(("deployment", "engine", "engine_socket", "models", "batching_parameters_file")),
        "secret_environment": {},
    }
    result = docker_backend.Backend(options, ServerFolder(str(tmp_path), "m"), True).previous()
    assert result["changed"] and "start the earlier one" in result["actions"][0]


@pytest.mark.parametrize("state", ["exited", "restarting"])
def test_a_failed_deployment_does_not_remove_a_server_that_did_not_run(tmp_path, state):
    engine = Engine({"m": {SERVING: Seen("1", state, "old", "i")}})

    def make(_role):
        raise FleetError("no space left on device")

    options = {"state_directory": str(tmp_path), "drain_s": 0, "ready_timeout_s": 1}
    work = deployment.Deployment(engine, SPECIFICATION, options, make, None)
    seen = engine.seen("m")
    with pytest.raises(FleetError, match="no space"):
        work.carry_out(transaction.to_started(seen, transaction.Wanted("new", "i"), True), seen)
    assert list(engine.servers["m"]) == [SERVING]


def test_what_a_removed_container_left_can_be_removed_while_an_embedded_server_runs(no_more, monkeypatch, tmp_path):
    """Otherwise each backend asks to remove the server with the other one first."""
    folder = ServerFolder(str(tmp_path), "m")
    (tmp_path / "servers" / "m" / "config" / "a").mkdir(parents=True)
    (tmp_path / "servers" / "m" / "server.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(ServerFolder, "process", lambda _self: 1)
    with pytest.raises(FleetError) as refused:
        backends._refuse_contained(folder, True)
    assert f"{folder.directory}." not in refused.value.remedy, "the running server is known by its files there"
    assert no_more({}, state="absent", state_directory=str(tmp_path)) == [("m", None)]
    folder.remove(contained=True)
    backends._refuse_contained(folder, True)
    assert folder.remains(contained=False) == ["server.json"]
