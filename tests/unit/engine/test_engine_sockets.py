# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container engine's socket, answered by a real socket server with what engines were seen to say, and by ones that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import sockets

# Docker 20.10's API 1.41 and Podman 4.3's compatible API, shortened to what is asked for.
DOCKER = {
    "/version": {
        "Platform": {"Name": ""},
        "Components": [{"Name": "Engine", "Version": "20.10.24+dfsg1"}, {"Name": "containerd", "Version": "1.6.20"}],
        "Version": "20.10.24+dfsg1",
        "ApiVersion": "1.41",
        "MinAPIVersion": "1.12",
    },
    "/info": {
        "Runtimes": {
            "io.containerd.runc.v2": {"path": "runc"},
            "io.containerd.runtime.v1.linux": {"path": "runc"},
            "nvidia": {"path": "nvidia-container-runtime"},
            "runc": {"path": "runc"},
        },
        "DefaultRuntime": "runc",
    },
}
DOCKER_WITH_CDI = {
    "/version": dict(DOCKER["/version"], Version="28.3.2", ApiVersion="1.51"),
    "/info": dict(DOCKER["/info"], CDISpecDirs=["/etc/cdi", "/var/run/cdi"]),
}
PODMAN = {
    "/version": {
        "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}, {"Name": "Conmon"}],
        "Version": "4.3.1",
        "ApiVersion": "1.41",
    },
    "/info": {"Runtimes": {"crun": {"path": "/usr/bin/crun"}, "runc": {"path": "/usr/bin/runc"}}},
}


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
    assert sockets.find(Files(str(root))) == {
        "engine": "docker",
        "version": "20.10.24+dfsg1",
        "api_version": "1.41",
        "socket": "/var/run/docker.sock",
        "answers": True,
        "reason": None,
        "runtimes": ["nvidia", "runc"],
        "cdi_directories": [],
    }


def test_docker_tells_its_cdi_directories(root, serve):
    serve(root / "var/run/docker.sock", answering(DOCKER_WITH_CDI))
    assert sockets.find(Files(str(root)))["cdi_directories"] == ["/etc/cdi", "/var/run/cdi"]


def test_podman_is_known_by_its_answer_also_at_dockers_place(root, serve):
    serve(root / "var/run/docker.sock", answering(PODMAN))
    (root / "etc/cdi").mkdir(parents=True)
    found = sockets.find(Files(str(root)))
    assert (found["engine"], found["version"], found["runtimes"], found["cdi_directories"]) == (
        "podman",
        "4.3.1",
        ["crun", "runc"],
        ["/etc/cdi"],
    )


def test_the_first_that_answers_wins(root, serve):
    serve(root / "var/run/docker.sock", saying(b""))
    serve(root / "run/podman/podman.sock", answering(PODMAN))
    found = sockets.find(Files(str(root)))
    assert (found["engine"], found["socket"], found["answers"]) == ("podman", "/run/podman/podman.sock", True)


def test_rootless_engine_of_this_user(root, serve):
    serve(root / f"run/user/{os.getuid()}/docker.sock", answering(DOCKER))
    assert sockets.find(Files(str(root)))["socket"] == f"/run/user/{os.getuid()}/docker.sock"


def test_none(root):
    found = sockets.find(Files(str(root)))
    assert (found["engine"], found["answers"], found["reason"]) == (None, False, None)


def test_installed_but_not_started(root):
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/podman").touch()
    found = sockets.find(Files(str(root)))
    assert (found["engine"], found["socket"], found["answers"]) == ("podman", None, False)
    assert "podman.socket" in found["reason"]


def test_socket_without_a_listener(root):
    (root / "var/run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "var/run/docker.sock"))
    found = sockets.find(Files(str(root)))
    assert (found["engine"], found["answers"]) == ("docker", False)
    assert "nothing listens" in found["reason"]


def test_socket_that_was_named_but_is_not_there(root):
    found = sockets.find(Files(str(root)), "/run/other.sock")
    assert (found["socket"], found["answers"]) == ("/run/other.sock", False) and "no socket" in found["reason"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 500 Internal Server Error\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\n\r\n[]",
        b"HTTP/1.0 200 OK\r\n\r\n{",
        b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100000,
    ],
)
def test_an_answer_that_is_no_engines_is_a_reason(root, serve, answer):
    serve(root / "var/run/docker.sock", saying(answer))
    found = sockets.find(Files(str(root)))
    assert (found["engine"], found["answers"]) == ("docker", False)
    assert found["reason"] and "\n" not in found["reason"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"Components": [null, 5, {}], "Runtimes": null}',
        b'{"Components": {"a": 1}, "Version": 5, "Runtimes": ["x", 5], "CDISpecDirs": 7}',
    ],
)
def test_an_answer_of_another_shape_does_not_break_anything(root, serve, body):
    serve(root / "var/run/docker.sock", saying(b"HTTP/1.0 200 OK\r\n\r\n" + body))
    found = sockets.find(Files(str(root)))
    assert found["engine"] == "docker" and isinstance(found["runtimes"], list)
    json.dumps(found)


def test_an_engine_that_hangs_costs_a_bounded_time(root, serve):
    def drip(request, connection):
        for _second in range(40):
            connection.sendall(b"H")
            time.sleep(0.2)

    serve(root / "var/run/docker.sock", drip)
    begun = time.monotonic()
    found = sockets.find(Files(str(root)), timeout_s=2.0)
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
        os.write(write_end, json.dumps(sockets.find(Files(str(root)))).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        found = json.loads(stream.read())
    os.waitpid(child, 0)
    assert (found["engine"], found["answers"]) == ("docker", False)
    assert "permission denied" in found["reason"] and "group" in found["reason"]


@pytest.mark.parametrize(
    "given, docker_host, path",
    [
        (None, None, None),
        (None, "", None),
        (None, "unix:///run/other.sock", "/run/other.sock"),
        ("/run/given.sock", "unix:///run/other.sock", "/run/given.sock"),
        ("unix:///run/given.sock", "tcp://10.0.0.1:2375", "/run/given.sock"),
        (None, "unix://run/other.sock", "/run/other.sock"),
        (None, " unix:///run/other.sock\r\n", "/run/other.sock"),
        (None, "unix://", "/var/run/docker.sock"),
        (None, "  ", None),
        ("/run/given.sock", "10.0.0.1:2375", "/run/given.sock"),
    ],
)
def test_the_socket_that_is_given_holds_and_then_docker_host(given, docker_host, path):
    """DOCKER_HOST as docker(1) reads it; blanks and the empty address as docker.utils.parse_host of its SDK reads them."""
    assert sockets.address(given, {"DOCKER_HOST": docker_host} if docker_host is not None else {}) == (path, None)


@pytest.mark.parametrize(
    "value",
    [
        "tcp://10.0.0.1:2375",
        "http://localhost:2375",
        "npipe:////./pipe/docker_engine",
        "fd://",
        # Without a scheme it is tcp:// (opts.ParseHost of the docker CLI, docker.utils.parse_host of the SDK), and no path.
        "10.0.0.1:2375",
        ":2375",
        "localhost",
        "[::1]:2375",
        "engine.example:2376",
    ],
)
@pytest.mark.parametrize("option", ["engine_socket", "DOCKER_HOST"])
def test_an_engine_of_another_machine_is_answered_by_name(value, option):
    path, problem = sockets.address(value if option == "engine_socket" else None, {"DOCKER_HOST": value})
    assert path is None and problem.startswith(f"{option} is {value!r}") and "unix socket" in problem


@pytest.mark.parametrize(
    "value", ["ssh://user:hunter2@host", "https://user:hunter2@host:2376", "tcp://hunter2@10.0.0.1"]
)
def test_a_password_in_the_address_of_an_engine_is_shown_nowhere(value):
    problem = sockets.address(None, {"DOCKER_HOST": value})[1]
    assert "hunter2" not in problem and f"{value.partition('://')[0]}://" in problem and "unix socket" in problem


# In a process of its own, whose environment names the engine: all that look for one follow it. argv: conftest.py, the socket or address.
FOLLOWS = """
import json, runpy, sys
runpy.run_path(sys.argv[1])
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import sockets as engine
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import host
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.engine import Engine
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import current_servers as running
found = {"facts": host.read()[0]["container"]["socket"], "reason": engine.find(Files())["reason"]}
try:
    found["images"] = Engine().url
except FleetError as fault:
    found["images"] = str(fault)
found["unseen"] = running.in_containers()[1]
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "address, socket_path, words",
    [
        ("unix://{}/engine.sock", "{}/engine.sock", None),
        ("tcp://127.0.0.1:1", None, "DOCKER_HOST is 'tcp://127.0.0.1:1'"),
    ],
)
def test_facts_images_and_servers_follow_docker_host_alike(address, socket_path, words, root, serve):
    pytest.importorskip("docker")

    def reply(request, connection):
        what = request.decode().split(" ")[1]
        what = what[what.rindex("/") :] if what.startswith("/v1") else what
        body = (
            b"OK" if what == "/_ping" else json.dumps([] if what.startswith("/json") else DOCKER.get(what, [])).encode()
        )
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nApi-Version: 1.41\r\n\r\n" + body)

    serve(root / "engine.sock", reply)
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWS, str(Path(__file__).resolve().parents[2] / "conftest.py")],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, DOCKER_HOST=address.format(root)),
        timeout=60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    if words:
        assert all(words in found[who] for who in ("reason", "images", "unseen")) and found["facts"] is None
    else:
        assert found == {
            "facts": socket_path.format(root),
            "reason": None,
            "images": address.format(root),
            "unseen": None,
        }


def test_the_servers_of_a_named_engine_that_does_not_answer_are_unseen(root):
    from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import current_servers

    stopped = root / "engine.sock"
    with socket.socket(socket.AF_UNIX) as left:  # as an engine that was stopped leaves it
        left.bind(str(stopped))
    for named, why in ((stopped, "nothing listens at"), (root / "none.sock", "there is no socket at")):
        assert current_servers.in_containers(str(named)) == (
            [],
            f"cannot see servers in containers: {why} {named}" + (": start the engine" if named == stopped else ""),
            [],
        )


@pytest.mark.parametrize(
    "configuration, words",
    [
        ({"credsStore": "desktop"}, "'docker-credential-desktop' that this file names is not installed"),
        (
            {"credHelpers": {"registry.example": "ecr-login"}},
            "'docker-credential-ecr-login' that this file names is not installed",
        ),
        ({"credsStore": "garbled"}, "the output of a credential helper that it names ("),
        ({"auths": {"registry.example": {"auth": "???"}}}, "a login in this file"),
    ],
)
@pytest.mark.parametrize("ask", ["pull", "build", "fetch"])
def test_a_credential_helper_that_is_missing_is_named_with_its_file(configuration, words, ask, root, serve):
    """https://docs.docker.com/reference/cli/docker/login/#credential-stores: the helper of NAME is the program docker-credential-NAME."""
    pytest.importorskip("docker")
    serve(
        root / "engine.sock",
        lambda request, connection: connection.sendall(
            b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"
            + (b"OK" if b"_ping" in request else json.dumps(DOCKER["/version"]).encode())
        ),
    )
    (root / "config.json").write_text(json.dumps(configuration))
    (root / "docker-credential-garbled").write_text("#!/bin/sh\necho no JSON\n")
    (root / "docker-credential-garbled").chmod(0o755)
    program = (
        "import io, runpy, sys\nrunpy.run_path(sys.argv[1])\n"
        "from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError\n"
        "from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_containers import Servers\n"
        "asks = {'pull': lambda: Servers(sys.argv[2]).pull('registry.example/x:1'),\n"
        "        'build': lambda: Servers(sys.argv[2]).build(io.BytesIO(b''), print),\n"
        "        'fetch': lambda: Servers(sys.argv[2]).fetch('registry.example/x:1')}\n"
        "try:\n    asks[sys.argv[3]]()\n"
        "except FleetError as fault:\n    print(fault)\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            program,
            str(Path(__file__).resolve().parents[2] / "conftest.py"),
            f"{root}/engine.sock",
            ask,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, DOCKER_CONFIG=str(root), PATH=f"{root}:{os.environ['PATH']}"),
        timeout=60,
    )
    assert words in done.stdout and f"{root}/config.json" in done.stdout and "credsStore" in done.stdout, (
        done.stdout + done.stderr
    )


# What modules say where the SDK is broken. argv: conftest.py, a socket where an engine answers, what breaks the SDK.
BROKEN = """
import runpy, sys
exec(sys.argv[3])
runpy.run_path(sys.argv[1])
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import host
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import current_servers
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine
print(host.read(engine_socket=sys.argv[2])[0]["container"]["sdk"]["problem"])
print(current_servers.in_containers(sys.argv[2])[1])
try:
    engine.Engine(sys.argv[2])
except FleetError as fault:
    print(fault)
"""
ANOTHER = "import sys, types; docker = sys.modules['docker'] = types.ModuleType('docker'); "


@pytest.mark.parametrize(
    "fault, words",
    [
        # docker 7.0.0 and earlier lack this method, which requests 2.32 calls: docker/docker-py#3256.
        (
            "import docker.transport.basehttpadapter as b; del b.BaseHTTPAdapter.get_connection_with_tls_context",
            "Not supported URL scheme http+docker",
        ),
        # docker 6.0.1 and earlier and urllib3 2: docker/docker-py#3113. So its connection answered.
        (
            "import docker.transport.unixconn as u; u.UnixHTTPConnection.request = lambda self, method, url, body=None, headers={}: None",
            "got an unexpected keyword argument",
        ),
        ("import sys; sys.modules['requests'] = None", "import of requests halted"),
        ("import sys; sys.modules['docker'] = None", "import of docker halted"),
        (
            ANOTHER + "docker.__version__ = '1.10.6'",
            "has no attribute 'DockerClient'",
        ),  # docker-py, as it was called then
        (ANOTHER + "docker.__version__, docker.DockerClient = '2.0', 1", "has no attribute 'transport'"),
    ],
)
def test_a_docker_sdk_that_is_missing_or_broken_is_named_with_its_fault(fault, words, root, serve):
    pytest.importorskip("docker")
    serve(root / "engine.sock", answering(DOCKER))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            BROKEN,
            str(Path(__file__).resolve().parents[2] / "conftest.py"),
            str(root / "engine.sock"),
            fault,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout.count(words), done.stdout.count("python3-docker")) == (3, 2), done.stdout + done.stderr
