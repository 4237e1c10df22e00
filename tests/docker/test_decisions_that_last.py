# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was decided about a server while it served holds in later deployments: labels that were given, and which
deployment made it."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import docker
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client, tensors
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.support import modules

STABLE = {"version_policy": {"specific": [1]}, "labels": {"stable": 1}}


def models(host, **values):
    return [{"name": "m", "base_path": str(host.state / "models"), **values}]


def answers(server, label):
    """What the version of a label makes of ones."""
    client = stdlib_client.Server(server["address"], server["grpc_port"], 30, False)
    ones = tensors.Tensor("float32", (1, 4), struct.pack("<4f", *[1.0] * 4))
    return client.predict("m", {"x": ones}, label=label)["y"].values()


def test_a_label_that_was_given_while_the_model_is_served_stays(host):
    host.options.update(model_name=None, model_base_path=None, samples=None, reference=None)
    host.publish("wrong", version="2")
    server = host.good(models=models(host, **STABLE))["server"]
    labelled = modules.call(
        "model_version",
        path=str(host.state / "models"),
        version=2,
        server={"port": server["grpc_port"], "model": "m"},
        label="canary",
        config_file=server["model_config_file"],
    )
    assert not labelled.get("failed"), labelled
    doubled, tripled = [2.0] * 4, [3.0] * 4
    assert (answers(server, "stable"), answers(server, "canary")) == (doubled, tripled)
    described, asked = host.info()
    assert described["models"][0]["labels"] == {"stable": 1, "canary": 2} and asked["models"][0]["drift"] == []
    assert not host.good(models=models(host, **STABLE))["changed"]

    change = {"flags": {"num_load_threads": 4}}
    planned = host.good(check_mode=True, models=models(host, **STABLE), **change)
    assert "keep the label canary of m on version 2" in planned["actions"]
    changed = host.good(models=models(host, **STABLE), **change)
    assert changed["changed"]
    assert (answers(server, "stable"), answers(server, "canary")) == (doubled, tripled)
    assert not host.good(models=models(host, **STABLE), **change)["changed"]

    # A rollback undoes the deployment, and no label that was moved after it.
    moved = modules.call(
        "model_version",
        path=str(host.state / "models"),
        version=2,
        server={"port": server["grpc_port"], "model": "m"},
        label="stable",
        config_file=changed["server"]["model_config_file"],
    )
    assert not moved.get("failed"), moved
    kept = "keep the label stable of m on version 2"
    assert kept in host.good(check_mode=True, state="previous")["actions"]
    back = host.good(state="previous")
    assert kept in back["actions"] and (answers(server, "stable"), answers(server, "canary")) == (tripled, tripled)
    described, asked = host.info()
    assert described["models"][0]["labels"] == {"stable": 2, "canary": 2} and asked["models"][0]["drift"] == []
    assert host.good(state="previous")["changed"] and answers(server, "stable") == tripled, "and forward again"
    again = modules.call(
        "model_version",
        path=str(host.state / "models"),
        version=1,
        server={"port": server["grpc_port"], "model": "m"},
        label="stable",
        config_file=changed["server"]["model_config_file"],
    )
    assert not again.get("failed"), again
    host.engine.containers.get(host.name).restart()
    assert not host.good(models=models(host, **STABLE), **change)["changed"]
    assert answers(server, "canary") == tripled, "also after the engine started the server again"

    without = {"version_policy": {"specific": [1]}, "labels": {"stable": 1, "canary": None}}
    taken = host.good(models=models(host, **without), **change)
    assert taken["changed"] and "remove the label canary of m" in taken["actions"]
    described, _asked = host.info()
    assert described["models"][0]["labels"] == {"stable": 1} and answers(server, "stable") == doubled


def test_a_rollback_undoes_a_deployment_and_nothing_else(host):
    first, second, third = ({"id": f"{host.name}-{name}", "at": f"2026-03-0{name}T10:00:00Z"} for name in (1, 2, 3))
    change = {"flags": {"num_load_threads": 4}}
    host.good(deployment=first)
    assert host.good(deployment=second, **change)["server"]["deployment"] == second["id"]
    assert not host.good(deployment=third, **change)["changed"], "nothing changed, so it is still the second's"
    described, _asked = host.info()
    assert (described["deployment"], described["previous_deployment"]) == (second, first)

    undo = {"state": "previous", "model_name": None, "model_base_path": None, "samples": None, "reference": None}
    serving = host.container()["Id"]
    for other in (third, first):
        assert not host.good(deployment={"id": other["id"]}, **undo)["changed"] and host.container()["Id"] == serving
    undone = host.good(deployment={"id": second["id"]}, **undo)
    assert undone["changed"] and undone["server"]["deployment"] == first["id"] and host.container()["Id"] != serving
    assert f"deployment {first['id']} {first['at']}" in " ".join(undone["actions"])
    assert not host.good(deployment={"id": second["id"]}, **undo)["changed"]
    said = host.refused(deployment={"id": first["id"]}, **undo)
    assert f"the server from before deployment {first['id']} was not kept" in said


def test_a_deployment_in_two_runs_is_undone_as_one(host):
    first, second = ({"id": f"{host.name}-{name}", "at": f"2026-03-0{name}T10:00:00Z"} for name in (1, 2))
    host.good(deployment=first)
    serving = host.container()["Id"]
    for threads in (4, 5):
        assert host.good(deployment=second, flags={"num_load_threads": threads})["changed"]
    assert host.roles() == {"serving": True, "previous": False}
    undo = {"state": "previous", "model_name": None, "model_base_path": None, "samples": None, "reference": None}
    assert host.good(deployment={"id": second["id"]}, **undo)["changed"] and host.container()["Id"] == serving
    assert not host.good(deployment={"id": second["id"]}, **undo)["changed"] and host.container()["Id"] == serving


def test_a_deployment_is_undone_on_all_servers_of_a_host_or_on_none(host):
    first, second = ({"id": f"{host.name}-{name}", "at": f"2026-03-0{name}T10:00:00Z"} for name in (1, 2))
    other = f"{host.name}-new"
    undo = {"state": "previous", "model_name": None, "model_base_path": None, "samples": None, "reference": None}
    undo |= {"name": None, "deployment": {"id": second["id"]}}
    host.good(deployment=first)
    before = host.container()["Id"]
    host.good(deployment=second, flags={"num_load_threads": 4})
    try:
        host.good(name=other, deployment=second, grpc_port=0)
        bad = host.container()["Id"]
        said = host.refused(**undo)
        assert f"{other}: the server from before deployment {second['id']} was not kept" in said
        assert host.container()["Id"] == bad, "nothing is touched"
        host.good(name=other, state="stopped")
        assert host.good(**undo)["changed"] and host.container()["Id"] == before
        assert not host.good(**undo)["changed"] and host.container()["Id"] == before
        assert host.engine.containers.get(other).status == "exited"
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            host.engine.containers.get(other).remove(force=True, v=True)


def test_copies_go_back_with_the_deployment_that_stopped_them(host):
    both, one = [{"suffix": ""}, {"suffix": "-gpu1"}], [{"suffix": ""}]
    other = f"{host.name}-gpu1"
    undo = {"state": "previous", "model_name": None, "model_base_path": None, "samples": None, "reference": None}

    def state():
        return host.engine.containers.get(other).status

    def deployment(name):
        return {"id": f"{host.name}-{name}", "at": "2026-03-01T10:00:00Z"}

    try:
        host.good(copies=both, deployment=deployment("first"))
        host.good(copies=one, deployment=deployment("second"), flags={"num_load_threads": 4})
        assert state() == "exited"
        assert host.good(deployment=deployment("second"), **undo)["changed"] and state() == "running"
        assert not host.good(deployment=deployment("second"), **undo)["changed"] and state() == "running"

        host.good(copies=one, deployment=deployment("third"), flags={"num_load_threads": 4})
        host.good(copies=one, deployment=deployment("fourth"), flags={"num_load_threads": 3})
        assert host.good(deployment=deployment("fourth"), **undo)["changed"] and state() == "exited"
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            host.engine.containers.get(other).remove(force=True, v=True)


class Names:
    """Two names of this machine in an inventory, each with a server of its own on its engine."""

    def __init__(self, host):
        self._host, self._directory = host, host.state / "controller"
        self._directory.mkdir()
        self.names = {name: f"{host.name}-{name}" for name in ("one", "two")}

    def play(self, playbook, *words, fails=False, **variables):
        """({host: changed tasks}, output) of a run that ends well, or that fails."""
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tfserving_backend": "docker",
            "tfserving_image": self._host.options["image"],
            "tfserving_version": "2.20.0",
            "tfserving_state_directory": str(self._host.state),
            "tfserving_models": [{"name": "m"}],
            "tfs_server_model_base_path": self._host.options["model_base_path"],
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_ready_timeout_s": 600,
            **variables,
        }
        hosts = {name: {"tfs_server_name": server} for name, server in self.names.items()}
        path = self._directory / "inventory.json"
        path.write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}), encoding="utf-8")
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", path, f"tfserving.fleet.{playbook}", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            cwd=self._directory,
        )
        assert bool(done.returncode) == fails, done.stdout[-4000:] + done.stderr[-2000:]
        counts = re.findall(r"^(\w+) +: ok=.*changed=(\d+)", done.stdout, re.MULTILINE)
        return {name: int(count) for name, count in counts}, re.sub(r"\s+", " ", done.stdout)

    def containers(self):
        """{host: (id of the container that serves, the deployment that made it)}."""
        found = {name: self._host.engine.containers.get(server) for name, server in self.names.items()}
        return {name: (one.id, one.labels["tfserving.fleet.deployment"]) for name, one in found.items()}

    def remove(self):
        for server in self.names.values():
            for role in ("", ".previous", ".replaced"):
                with contextlib.suppress(docker.errors.NotFound):
                    self._host.engine.containers.get(f"{server}{role}").remove(force=True, v=True)


def test_the_playbook_undoes_the_last_deployment_where_it_arrived(host):
    names = Names(host)
    try:
        assert names.play("deploy")[0] == {"one": 1, "two": 1}
        first = names.containers()
        assert first["one"][1].split()[1] == first["two"][1].split()[1], "one id on all hosts"
        names.play("deploy", "--limit", "one", tfserving_flags={"num_load_threads": 4})
        second = names.containers()
        assert second["one"][1] != first["one"][1] and second["two"] == first["two"]

        changed, said = names.play("rollback")
        assert changed == {"one": 1, "two": 0} and names.containers() == first, said[-4000:]
        assert f"deployment {' '.join(reversed(first['one'][1].split()))}" in said, "what it went back to"
        assert names.play("rollback")[0] == {"one": 0, "two": 0} and names.containers() == first
    finally:
        names.remove()


def test_a_rollback_after_a_deployment_that_failed_undoes_none_before_it(host):
    names = Names(host)
    try:
        names.play("deploy")
        first = names.containers()
        names.play("deploy", tfserving_flags={"num_load_threads": 4})
        before = names.containers()
        (last,) = {made.split()[1] for _id, made in before.values()}

        wrong = {
            "tfs_server_model_base_path": host.publish("wrong", "other"),
            "tfs_server_samples": host.options["samples"],
            "tfs_server_reference": host.options["reference"],
        }
        for named in ({}, {"tfserving_deployment": "failed"}):
            said = names.play("deploy", fails=True, **wrong, **named)[1]
            assert "agrees with the reference" in said and names.containers() == before, said[-4000:]
            changed, said = names.play("rollback", **named)
            assert changed == {"one": 0, "two": 0} and names.containers() == before, said[-4000:]
            assert f"To undo an earlier deployment: -e tfserving_deployment={last}" in said
        said = names.play("rollback", tfserving_deployment=last)[1]
        assert names.containers() == first, said[-4000:]
    finally:
        names.remove()


def test_a_rollback_brings_back_what_a_killed_deployment_stopped(host):
    """It is killed after it stopped the current server, and before the next one has its name. That is the only server of this inventory."""
    names = Names(host)
    names.names.pop("two")
    try:
        names.play("deploy")
        names.play("deploy", tfserving_flags={"num_load_threads": 4})
        before = names.containers()
        container = host.engine.containers.get(names.names["one"])
        container.stop(timeout=10)
        container.rename(f"{names.names['one']}.replaced")
        (host.state / "servers" / ".attempt.json").write_text('{"id": "killed", "at": "2999-01-01T00:00:00Z"}')
        changed, said = names.play("rollback")
        assert changed == {"one": 1} and names.containers() == before, said[-4000:]
        assert host.engine.containers.get(names.names["one"]).status == "running"
        assert names.play("rollback")[0] == {"one": 0} and names.containers() == before
    finally:
        names.remove()


def test_a_rollback_that_undoes_nothing_fails(host):
    names, number = Names(host), {"tfserving_deployment": 20260301}
    try:
        names.play("deploy")
        first = names.containers()
        names.play("deploy", "--limit", "one", tfserving_flags={"num_load_threads": 4}, **number)
        _changed, said = names.play("rollback", "-e", "tfserving_deployment=20260310", fails=True)
        assert "no server of these hosts belongs to the deployment '20260310'" in said and "20260301" in said
        unseen = {"tfserving_engine_socket": "/nonexistent.sock"}
        _changed, said = names.play("rollback", fails=True, **unseen)
        assert "cannot see servers in containers: there is no socket at /nonexistent.sock" in said

        # Not only the server that the inventory names now goes back.
        names.play("deploy", "--limit", "two", tfserving_flags={"num_load_threads": 4}, **number)
        assert names.play("rollback", "--limit", "one", **number)[0] == {"one": 1} and names.containers() == first
        assert names.play("rollback", **number)[0] == {"one": 0, "two": 0} and names.containers() == first
    finally:
        names.remove()


def test_a_tag_that_was_pushed_again_is_noticed(host, engine, registry, serving_image):
    first, second = (images.derived(engine, serving_image, f"LABEL pushed={number}") for number in (1, 2))
    name = registry.push(first, "moved", host.name.lower())
    try:
        said = host.refused(image=name.replace("moved", "nowhere"), pull="never")
        assert "is not on the host, and pull is never" in said
        assert host.good(image=name)["changed"] and not host.good(image=name, pull="always")["changed"]

        registry.push(second, "moved", host.name.lower())
        first.tag(*name.rsplit(":", 1))  # Somebody else pushed it: this engine knows the old one still.
        assert not host.good(image=name)["changed"] and not host.good(image=name, pull="never")["changed"]
        planned = host.good(image=name, pull="always", check_mode=True)
        assert planned["changed"] and f"pull the image {name}" in planned["actions"]
        assert host.container()["Image"] == first.id
        moved = host.good(image=name, pull="always")
        assert moved["changed"] and host.container()["Image"] == second.id
        assert f"pull the image {name}, whose tag has moved" in moved["actions"]
        assert not host.good(image=name, pull="always")["changed"]
    finally:
        host.remove()
        engine.images.remove(name, noprune=True)
