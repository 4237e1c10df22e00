# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_version takes a version from an object store: the AWS command line client against a server that speaks S3, with a network that breaks in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.tests.integration.deploy.model_version_calls import (
    contents,
    good,
    refused,
    visible,
)
from ansible_collections.tfserving.fleet.tests.support import environments, modules, ports

SECRET = "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY"
NOTE = os.urandom(3 << 20)


class Network:
    """The way to a port, which can be faulty. pause_at: after so many bytes a connection brings no more answers. flip_at: this byte of all is another one."""

    def __init__(self, port):
        self._to, self.pause_at, self.flip_at, self.passed, self.paused = port, None, None, 0, False
        self._listener, self._lock = socket.create_server(("127.0.0.1", 0)), threading.Lock()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _peer = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source, target, answers):
        count = 0
        with contextlib.suppress(OSError):
            while part := source.recv(1 << 16):
                count += len(part)
                while answers and self.pause_at is not None and count > self.pause_at:
                    self.paused = True
                    time.sleep(0.05)
                target.sendall(self._through(part) if answers else part)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _through(self, part):
        with self._lock:
            first, self.passed = self.passed, self.passed + len(part)
        if self.flip_at is not None and first <= self.flip_at < first + len(part):
            place = self.flip_at - first
            return part[:place] + bytes([part[place] ^ 1]) + part[place + 1 :]
        return part


class Store:
    """The S3 server behind a network, and its client."""

    def __init__(self, clients, port):
        self.port, self.network = port, Network(port)
        self.environment = {
            "PATH": f"{clients}:{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.network.port}",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, *words):
        environment = {**os.environ, **self.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}
        subprocess.run(["aws", *words], env=environment, check=True, capture_output=True, timeout=300)

    def put(self, folder, address):
        self.client("s3", "sync", "--only-show-errors", str(folder), address)


@pytest.fixture(scope="module", name="clients")
def stores_environment():
    """The folder of an environment of its own with the clients and the server."""
    return environments.programs("stores")


@contextlib.contextmanager
def s3_server(clients, log, **environment):
    port = ports.free()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            [clients / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=stream,
            stderr=stream,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ, **environment),
        )
    try:
        end = time.monotonic() + 240
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=10).close()
                break
            except urllib.error.URLError:
                assert time.monotonic() < end and process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module", name="version")
def a_version(model_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "v"
    shutil.copytree(model_directory / "half_plus_two" / "1", folder)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "a large note").write_bytes(NOTE)
    return folder


@pytest.fixture(scope="module", name="server")
def one_server(clients, version, tmp_path_factory):
    """A server that has the version at s3://models/m/1."""
    with s3_server(clients, tmp_path_factory.mktemp("s3") / "log") as port:
        store = Store(clients, port)
        store.client("s3", "mb", "s3://models")
        store.put(version, "s3://models/m/1")
        store.client("s3api", "put-object", "--bucket", "models", "--key", "m/1/")  # Consoles mark folders so.
        store.put(version, "s3://models/m/10")
        store.network.close()
        yield port


@pytest.fixture(name="store")
def fresh_network(clients, server):
    store = Store(clients, server)
    yield store
    store.network.close()


def test_a_folder_comes_whole_and_once(store, version, tmp_path):
    options = {"path": str(tmp_path / "m"), "source": "s3://models/m/1", "environment": store.environment}
    told = good(check_mode=True, **options)
    assert (
        told["changed"]
        and told["actions"] == ["publish version 1 from s3://models/m/1"]
        and not (tmp_path / "m").exists()
    )
    assert good(**options)["published"] and visible(tmp_path / "m") == ["1"]
    assert contents(tmp_path / "m" / "1") == contents(version), "and nothing of s3://models/m/10"
    passed = store.network.passed
    again = good(**{**options, "environment": {**store.environment, "TZ": "Asia/Tokyo"}})
    assert not again["changed"] and store.network.passed - passed < 100_000, (
        "what is here is not fetched again, whatever the host's time zone"
    )
    manifest = json.loads((tmp_path / "m" / "1" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["fetched_from"] == "s3://models/m/1"


def test_a_new_content_is_a_new_version(store, version, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(version, source)
    store.put(source, "s3://models/changing")
    options = {"path": str(tmp_path / "m"), "source": "s3://models/changing/", "environment": store.environment}
    assert good(**options)["version"] == 1
    (source / "assets.extra" / "a large note").write_bytes(b"another")
    store.put(source, "s3://models/changing")
    assert good(**options)["version"] == 2
    assert [len(contents(tmp_path / "m" / number)["assets.extra/a large note"]) for number in ("1", "2")] == [
        len(NOTE),
        7,
    ]


def alive(words):
    """The processes whose command line has these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if all(word.encode() in path.read_bytes().split(b"\0") for word in words):
                found.append(int(path.parent.name))
    return found


def until(look, what, timeout_s=240):
    end = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["client", "run"])
def test_a_transfer_that_is_killed_goes_on(store, version, tmp_path, victim):
    store.network.pause_at = 1 << 20
    options = {"path": str(tmp_path / "m"), "source": "s3://models/m/1"}
    process = modules.start("model_version", environment=store.environment, **options)
    until(
        lambda: store.network.paused and list(tmp_path.glob("m/.tfserving-partial-*/saved_model.pb")),
        "the transfer never began",
    )
    client = alive(["s3", "sync", "s3://models/m/1/"])
    assert len(client) == 1
    os.kill(client[0] if victim == "client" else process.pid, signal.SIGKILL)
    said = process.communicate(timeout=300)[0]
    if victim == "client":
        told = json.loads(said)
        assert (
            told["msg"]
            == "s3://models/m/1: aws was killed by signal 9. Run again: complete files are not fetched again."
        )
    until(lambda: not alive(["s3", "sync", "s3://models/m/1/"]), "the client outlived its run")
    assert [name for name in visible(tmp_path / "m") if name.isdigit()] == []
    kept = {path.name: path.stat().st_ino for path in tmp_path.glob("m/.tfserving-partial-*/saved_model.pb")}
    store.network.pause_at = None
    assert good(environment=store.environment, **options)["published"]
    assert contents(tmp_path / "m" / "1") == contents(version) and visible(tmp_path / "m") == ["1"]
    assert kept and kept["saved_model.pb"] == (tmp_path / "m" / "1" / "saved_model.pb").stat().st_ino, (
        "what came whole was not fetched again"
    )


def test_a_client_that_takes_too_long_is_ended(store, tmp_path):
    store.network.pause_at = 1 << 20
    refused(
        "s3://models/m/1: aws did not end within 4 s. Run again, or raise transfer_timeout_s.",
        path=str(tmp_path / "m"),
        source="s3://models/m/1",
        transfer_timeout_s=4,
        environment=store.environment,
    )
    assert (
        not alive(["s3", "sync", "s3://models/m/1/"])
        and [name for name in visible(tmp_path / "m") if name.isdigit()] == []
    )


def test_what_is_damaged_is_refused(store, version, tmp_path):
    store.network.flip_at = 2 << 20
    refused(
        "aws ended with exit status 1: download failed: s3://models/m/1/assets.extra/a large note",
        "did not match calculated checksum",
        path=str(tmp_path / "m"),
        source="s3://models/m/1",
        environment=store.environment,
    )
    assert store.network.passed > 2 << 20 and [name for name in visible(tmp_path / "m") if name.isdigit()] == []
    source = tmp_path / "source"
    assert good(path=str(tmp_path / "local"), source=str(version), remote_src=True)["published"]
    shutil.copytree(tmp_path / "local" / "1", source)  # with its manifest
    (source / "assets.extra" / "a large note").write_bytes(NOTE[:-1] + b"?")
    store.put(source, "s3://models/damaged")
    refused(
        "assets.extra/a large note differs from the version's manifest",
        path=str(tmp_path / "m"),
        source="s3://models/damaged",
        environment={**store.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}"},
    )
    assert not (tmp_path / "m" / "1").exists()


@pytest.mark.parametrize(
    ("source", "environment", "text"),
    [
        (
            "s3://nobucket/m",
            {},
            "s3://nobucket/m: aws ended with exit status 255: An error occurred (NoSuchBucket) when calling",
        ),
        (
            "s3://models/nothing",
            {},
            "s3://models/nothing: it contains nothing. Set the folder of one version, not an archive.",
        ),
        ("s3://models/m", {}, "s3://models/m: it is not a version of a model: it has none of saved_model.pb"),
        (
            "s3://models/m/1",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "aws ended with exit status 255: Unable to locate credentials",
        ),
        (
            "s3://models/m/1",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            "aws ended with exit status 255: Could not connect to the endpoint URL",
        ),
    ],
)
def test_what_cannot_be_had(store, tmp_path, source, environment, text):
    refused(text, path=str(tmp_path / "m"), source=source, environment={**store.environment, **environment})
    assert visible(tmp_path / "m") == []


def test_wrong_credentials(clients, tmp_path):
    """A server that judges signatures from the first request on."""
    with s3_server(clients, tmp_path / "log", INITIAL_NO_AUTH_ACTION_COUNT="0") as port:
        store = Store(clients, port)
        told = refused(
            "s3://models/m/1: aws ended with exit status 255: An error occurred (InvalidAccessKeyId) when calling",
            path=str(tmp_path / "m"),
            source="s3://models/m/1",
            environment=store.environment,
        )
        store.network.close()
    assert SECRET not in json.dumps(told) and visible(tmp_path / "m") == []


def test_a_checksum_is_not_ignored(tmp_path):
    refused(
        "checksum: it is the checksum of an archive, but s3://models/m/1 is a folder",
        path=str(tmp_path / "m"),
        source="s3://models/m/1",
        checksum="sha256:" + "0" * 64,
    )
    assert visible(tmp_path / "m") == []


def test_clients_are_needed(tmp_path):
    for source, text in (
        ("s3://bucket/m", "needs the command line client aws on this host"),
        ("gs://bucket/m", "needs the command line client gcloud or gsutil on this host"),
        ("az://container/m", "az:// is not supported; allowed: a path, file, http, https, s3, gs"),
    ):
        refused(text, path=str(tmp_path / "m"), source=source, environment={"PATH": str(tmp_path)})
    assert visible(tmp_path / "m") == []
