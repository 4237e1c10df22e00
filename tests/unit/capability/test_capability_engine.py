# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container engine's socket, answered by a real socket server with what engines were seen to say, and by ones that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.tfserving.fleet.plugins.module_utils.capability import engine, host

# Docker 20.10's API 1.41 and Podman 4.3's compatible API, shortened to what is asked for.
DOCKER = {
    "/version": {"Platform": {"Name": ""}, "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}, {"Name": "containerd", "Version": "1.6.20"}],
                 "Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "MinAPIVersion": "1.12"},
    "/info": {"Runtimes": {"io.containerd.runc.v2": {"path": "runc"}, "io.containerd.runtime.v1.linux": {"path": "runc"},
                           "nvidia": {"path": "nvidia-container-runtime"}, "runc": {"path": "runc"}}, "DefaultRuntime": "runc"}}
DOCKER_WITH_CDI = {"/version": dict(DOCKER["/version"], Version="28.3.2", ApiVersion="1.51"),
                   "/info": dict(DOCKER["/info"], CDISpecDirs=["/etc/cdi", "/var/run/cdi"])}
PODMAN = {"/version": {"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}, {"Name": "Conmon"}], "Version": "4.3.1", "ApiVersion": "1.41"},
          "/info": {"Runtimes": {"crun": {"path": "/usr/bin/crun"}, "runc": {"path": "/usr/bin/runc"}}}}


@pytest.fixture
def root():
    """A short root directory: the path of a socket may have 107 bytes."""
    directory = tempfile.mkdtemp(prefix="cap", dir="/tmp")
    yield Path(directory)
    shutil.rmtree(directory)


@pytest.fixture
def serve():
    """serve(path, reply): listen at path; reply(request: bytes, connection) answers one request."""
    listening = []

    def start(path, reply):
        path.parent.mkdir(parents=True, exist_ok=True)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(8)
        listening.append(server)

        def run():
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        reply(connection.recv(4096), connection)
                    except OSError:
                        pass
        threading.Thread(target=run, daemon=True).start()
    yield start
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def answering(replies):
    def reply(request, connection):
        what = request.decode().split(" ")[1]
        body = json.dumps(replies[what]).encode()
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
    return reply


def saying(answer):
    return lambda request, connection: connection.sendall(answer)


def test_docker(root, serve):
    serve(root / "var/run/docker.sock", answering(DOCKER))
    assert engine.find(host.Files(str(root))) == {
        "engine": "docker", "version": "20.10.24+dfsg1", "api_version": "1.41", "socket": "/var/run/docker.sock", "answers": True, "reason": None,
        "runtimes": ["nvidia", "runc"], "cdi_directories": []}


def test_docker_tells_its_cdi_directories(root, serve):
    serve(root / "var/run/docker.sock", answering(DOCKER_WITH_CDI))
    assert engine.find(host.Files(str(root)))["cdi_directories"] == ["/etc/cdi", "/var/run/cdi"]


def test_podman_is_known_by_its_answer_also_at_dockers_place(root, serve):
    serve(root / "var/run/docker.sock", answering(PODMAN))
    (root / "etc/cdi").mkdir(parents=True)
    found = engine.find(host.Files(str(root)))
    assert (found["engine"], found["version"], found["runtimes"], found["cdi_directories"]) == ("podman", "4.3.1", ["crun", "runc"], ["/etc/cdi"])


def test_the_first_that_answers_wins(root, serve):
    serve(root / "var/run/docker.sock", saying(b""))
    serve(root / "run/podman/podman.sock", answering(PODMAN))
    found = engine.find(host.Files(str(root)))
    assert (found["engine"], found["socket"], found["answers"]) == ("podman", "/run/podman/podman.sock", True)


def test_rootless_engine_of_this_user(root, serve):
    serve(root / f"run/user/{os.getuid()}/docker.sock", answering(DOCKER))
    assert engine.find(host.Files(str(root)))["socket"] == f"/run/user/{os.getuid()}/docker.sock"


def test_none(root):
    found = engine.find(host.Files(str(root)))
    assert (found["engine"], found["answers"], found["reason"]) == (None, False, None)


def test_installed_but_not_started(root):
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/podman").touch()
    found = engine.find(host.Files(str(root)))
    assert (found["engine"], found["socket"], found["answers"]) == ("podman", None, False)
    assert "podman.socket" in found["reason"]


def test_socket_without_a_listener(root):
    (root / "var/run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "var/run/docker.sock"))
    found = engine.find(host.Files(str(root)))
    assert (found["engine"], found["answers"]) == ("docker", False)
    assert "nothing listens" in found["reason"]


def test_socket_that_was_named_but_is_not_there(root):
    found = engine.find(host.Files(str(root)), "/run/other.sock")
    assert (found["socket"], found["answers"]) == ("/run/other.sock", False) and "no socket" in found["reason"]


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.0 500 Internal Server Error\r\n\r\n{}", b"HTTP/1.0 200 OK\r\n\r\n[]", b"HTTP/1.0 200 OK\r\n\r\n{", b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe",
    b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100000])
def test_an_answer_that_is_no_engines_is_a_reason(root, serve, answer):
    serve(root / "var/run/docker.sock", saying(answer))
    found = engine.find(host.Files(str(root)))
    assert (found["engine"], found["answers"]) == ("docker", False)
    assert found["reason"] and "\n" not in found["reason"]


@pytest.mark.parametrize("body", [
    b"{}", b'{"Components": [null, 5, {}], "Runtimes": null}',
    b'{"Components": {"a": 1}, "Version": 5, "Runtimes": ["x", 5], "CDISpecDirs": 7}'])
def test_an_answer_of_another_shape_does_not_break_anything(root, serve, body):
    serve(root / "var/run/docker.sock", saying(b"HTTP/1.0 200 OK\r\n\r\n" + body))
    found = engine.find(host.Files(str(root)))
    assert found["engine"] == "docker" and isinstance(found["runtimes"], list)
    json.dumps(found)


def test_an_engine_that_hangs_costs_a_bounded_time(root, serve):
    def drip(request, connection):
        for _second in range(40):
            connection.sendall(b"H")
            time.sleep(0.2)
    serve(root / "var/run/docker.sock", drip)
    begun = time.monotonic()
    found = engine.find(host.Files(str(root)), timeout_s=2.0)
    assert time.monotonic() - begun < 3
    assert "no answer" in found["reason"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_permission_denied_says_what_to_do(root, serve):
    serve(root / "var/run/docker.sock", answering(DOCKER))
    os.chmod(root, 0o755)
    os.chmod(root / "var/run/docker.sock", 0o660)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(write_end, json.dumps(engine.find(host.Files(str(root)))).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        found = json.loads(stream.read())
    os.waitpid(child, 0)
    assert (found["engine"], found["answers"]) == ("docker", False)
    assert "permission denied" in found["reason"] and "group" in found["reason"]
