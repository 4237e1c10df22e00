# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_server over Podman's Docker-compatible socket: root's, and that of an ordinary user (rootless)."""

from __future__ import annotations

import json

import numpy
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.waiting import until

OPTIONS = {
    "name": "doubles",
    "backend": "docker",
    "address": "0.0.0.0",
    "model_name": "m",
    "model_base_path": "/srv/m",
    "samples": "/srv/samples.npz",
    "reference": "/srv/samples.npz",
    "rest_port": 0,
    "ready_timeout_s": 600,
}


@pytest.fixture(scope="module")
def host(podman_host, models):
    """The host with models of make_deployment_models.py."""
    for model in ("wrong", "right"):
        podman_host.put(models / model, f"/srv/{'m' if model == 'right' else model}")
    podman_host.put(models / "samples.npz", "/srv/samples.npz")
    return podman_host


class Server:
    """A server of one of the two engines of the host."""

    def __init__(self, host, user, image):
        self.host, self.user = host, user
        self.options = dict(
            OPTIONS, image=image, **({} if user == "root" else {"state_directory": "/home/deploy/tfserving"})
        )

    def run(self, module="model_server", **options):
        return self.host.module(module, account=self.user, **options)

    def good(self, check=False, **options):
        result = self.run(check=check, **dict(self.options, **options))
        assert not result.get("failed"), result["msg"]
        return result

    def refused(self, **options):
        result = self.run(**dict(self.options, **options))
        assert result.get("failed"), result
        assert "\n" not in result["msg"]
        return result["msg"]

    def containers(self):
        """{name: whether it runs}"""
        lines = self.host.podman(
            "ps", "--all", "--format", "{{.Names}} {{.State}} {{.Status}}", user=self.user
        ).splitlines()
        return {line.split()[0]: " Up " in line for line in lines if line.startswith(OPTIONS["name"])}

    def inspected(self):
        return json.loads(self.host.podman("inspect", OPTIONS["name"], user=self.user))[0]

    def answer(self, server):
        with GrpcClient(self.host.address, server["grpc_port"]) as client:
            return client.predict("m", {"x": numpy.ones((1, 4), "float32")})["y"].tolist()


TWICE = [[2.0] * 4]


@pytest.mark.parametrize("user", ["root", "deploy"])
def test_the_life_of_a_server(host, user, serving_image, serving_reference, engine, registry):
    own = Server(host, user, serving_reference)
    socket = "/run/podman/podman.sock" if user == "root" else "/run/user/1000/podman/podman.sock"
    known = own.run("capability_facts")["ansible_facts"]["tfserving_capabilities"]["container"]
    assert (known["engine"], known["answers"], known["socket"]) == ("podman", True, socket) and known[
        "version"
    ].startswith("4.")
    try:
        assert own.good(check=True)["changed"] and own.containers() == {}
        made = own.good(secret_environment={"TOKEN": "s3cr3t-token"})
        server = made["server"]
        assert own.answer(server) == TWICE and own.containers() == {"doubles": True}
        assert server[
            "log"
        ] == "podman logs doubles" and "Podman restarts doubles when it exits, but not after a reboot" in json.dumps(
            made
        )
        again = own.good(secret_environment={"TOKEN": "s3cr3t-token"})
        assert not again["changed"] and again["actions"] == [] and "after a reboot" not in json.dumps(again)
        is_hardened(own, "65534" if user == "root" else "165533")

        # One that died is started again.
        first = own.inspected()["State"]["Pid"]
        host.run("kill", "-KILL", str(first))
        until(lambda: own.inspected()["State"]["Pid"] not in (0, first))
        assert not own.good(secret_environment={"TOKEN": "s3cr3t-token"})["changed"] and own.answer(server) == TWICE

        # Another image, which comes from the registry; the ports stay.
        following = registry.publish(images.derived(engine, serving_image, "LABEL of=podman"))
        updated = own.good(image=following)
        assert (
            updated["changed"]
            and own.containers() == {"doubles": True, "doubles.previous": False}
            and own.answer(server) == TWICE
        )
        assert updated["server"]["gap_s"] > 0 and updated["server"]["grpc_port"] == server["grpc_port"]

        # What fails leaves what serves.
        began = own.inspected()["State"]["StartedAt"]
        assert "agrees with the reference" in own.refused(image=following, model_base_path="/srv/wrong")
        assert "cannot pull" in own.refused(image="registry.test:5000/no/such:1")
        said = own.refused(image=following, memory_mib=96)
        assert (
            "out of memory" in said and "96 MiB" in said
            if user == "root"
            else "memory_mib: the engine ignores this limit" in said
        )
        assert "network" in own.refused(image=following, network="of-nobody")
        assert own.inspected()["State"]["StartedAt"] == began and own.containers() == {
            "doubles": True,
            "doubles.previous": False,
        }

        described = own.run(
            "model_server_info", ask=True, **({} if user == "root" else {"state_directory": "/home/deploy/tfserving"})
        )
        assert (
            described["servers"][0]["image"] == following
            and described["asked"][0]["answers"]
            and described["unseen"] is None
        )

        assert own.good(state="previous")["changed"] and own.answer(server) == TWICE
        assert own.inspected()["ImageName"] == serving_reference
        assert own.good(state="stopped")["changed"] and not own.good(state="stopped")["changed"]
        assert own.containers() == {"doubles": False, "doubles.previous": False}

        # As a unit of systemd starts it after a boot.
        host.podman("start", "doubles", user=user)
        assert not own.good(secret_environment={"TOKEN": "s3cr3t-token"})["changed"] and own.answer(server) == TWICE
    finally:
        gone = own.good(state="absent")
    assert gone["changed"] and own.containers() == {} and not own.good(state="absent")["changed"]


def is_hardened(server, uid):
    """The server's process has what was asked for, however the engine writes it down."""
    host, first = server.host, server.inspected()["State"]["Pid"]
    status = {
        line.split(":")[0]: line.split()[1]
        for line in host.run("cat", f"/proc/{first}/status").splitlines()
        if ":\t" in line
    }
    assert (status["Uid"], status["Gid"], status["NoNewPrivs"]) == (uid, uid, "1")
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert any(
        line.split()[1] == "/" and line.split()[3].startswith("ro,")
        for line in host.run("cat", f"/proc/{first}/mounts").splitlines()
    )
    # Its process is the runtime's own for a moment.
    until(lambda: host.run("cat", f"/proc/{first}/cmdline").startswith("/run/podman-init\0"))
    assert "s3cr3t-token" not in json.dumps(server.inspected()["Config"]["Labels"])
    rows = [line.split() for line in host.run("cat", f"/proc/{first}/net/tcp", f"/proc/{first}/net/tcp6").splitlines()]
    assert {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"} == {8500, 8501}


@pytest.mark.parametrize("user", ["root", "deploy"])
def test_an_image_is_brought_and_started_once(host, user, serving_reference):
    own = Server(host, user, serving_reference)
    brought = own.run("serving_image", image=serving_reference)
    assert not brought.get("failed"), brought["msg"]
    assert brought["started_once"] and brought["image"] == serving_reference
    assert not own.run("serving_image_info").get("failed")


def test_what_only_root_can_give_to_another_user_is_refused_and_given_to_oneself(host, serving_reference):
    """A rootless engine's user is root in its containers: to itself it can give the folder of a socket, and files that nobody else reads."""
    own = Server(host, "deploy", serving_reference)
    host.run(
        "sh",
        "-c",
        "install -d -o deploy /home/deploy/tls; cd /home/deploy/tls; openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 "
        '-subj /CN=localhost 2>/dev/null; python3 -c \'import json; print(*(f"{name}: {json.dumps(open(file).read())}" '
        'for name, file in (("server_key", "key"), ("server_cert", "cert"))), sep="\\n")\' >tls.pbtxt; chown deploy: *; chmod 600 *',
    )
    options = {"ssl_config_file": "/home/deploy/tls/tls.pbtxt", "grpc_socket_directory": "/home/deploy/socket"}
    try:
        for option, value in options.items():
            said = own.refused(**{option: value})
            assert said.startswith(f"{option}: ") and 'set user: "0:0"' in said
        assert own.containers() == {}
        server = own.good(user="0:0", **options)["server"]
        asked = own.run("model_server_info", ask=True, state_directory="/home/deploy/tfserving")["asked"][0]
        assert asked["answers"], "asked with TLS"
        status = host.run("cat", f"/proc/{own.inspected()['State']['Pid']}/status")
        assert "Uid:\t1000\t" in status and "CapEff:\t0000000000000000" in status
        assert (
            host.run("stat", "--format=%U %F", "/home/deploy/socket/grpc.sock") == "deploy socket\n"
            and server["grpc_port"]
        )
    finally:
        own.good(state="absent")
