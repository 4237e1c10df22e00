# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_version with a real server, whose clients never stop asking: what is published is served, what is bad is withdrawn, what breaks off goes on."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("ansible")
pytest.importorskip("grpc")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import tfrecord
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.tests.integration.deploy.model_version_calls import (
    contents,
    each_refused,
    good,
    refused,
    run,
    unloadable,
    variant,
    visible,
)
from ansible_collections.tfserving.fleet.tests.support import modules

ROOT = Path(__file__).resolve().parents[3]
ONES = numpy.ones((2, 1), "float32")


@pytest.fixture(scope="module", name="samples")
def samples_files(tmp_path_factory):
    """right: what half_plus_two answers. plain: inputs alone. foreign: of another model."""
    folder = tmp_path_factory.mktemp("samples")
    x = numpy.array([[1], [2], [5]], "float32")
    numpy.savez(folder / "right.npz", **{"inputs.x": x, "outputs.y": x / 2 + 2})
    numpy.savez(folder / "plain.npz", **{"inputs.x": x})
    numpy.savez(folder / "foreign.npz", **{"inputs.z": x})
    return {path.stem: str(path) for path in folder.iterdir()}


class Client:
    """Asks a server all the time, for a version by its label or for the newest."""

    def __init__(self, server):
        self._server, self._stop, self.faults, self.answers = server, threading.Event(), [], 0
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._stop.set()
        self._thread.join()

    def _ask(self):
        with GrpcClient("127.0.0.1", self._server.grpc_port, 20) as client:
            while not self._stop.is_set():
                try:
                    client.predict("m", {"x": ONES})
                    self.answers += 1
                except Exception as fault:
                    self.faults.append(str(fault))
                time.sleep(0.01)


@pytest.fixture(scope="module", name="served")
def one_server(serve, model_directory, tmp_path_factory):
    """A server of a folder with version 1, which serves the newest version."""
    folder = tmp_path_factory.mktemp("served") / "m"
    shutil.copytree(model_directory / "half_plus_two", folder)
    server = serve(
        "--model_name=m", f"--model_base_path={folder}", "--max_num_load_retries=0", "--grpc_max_threads=32"
    ).ready()
    return server, {
        "path": str(folder),
        "remote_src": True,
        "server": {"port": server.grpc_port, "model": "m"},
        "ready_timeout_s": 60,
    }


def test_versions_are_published_checked_and_pruned(served, model_directory, samples, tmp_path):
    server, options = served
    folder = Path(options["path"])
    options = dict(options, samples=samples["right"], keep=2)
    with Client(server) as client:
        source = variant(model_directory, tmp_path / "a", "2")
        told = good(source=source, check_mode=True, **options)
        assert (
            told["changed"]
            and told["published"]
            and told["actions"] == [f"publish version 2 from {source}"]
            and visible(folder) == ["1"]
        )
        assert json.loads(told["diff"]["before"]) == {"versions": [1]} and json.loads(told["diff"]["after"]) == {
            "versions": [1, 2]
        }
        first = good(source=source, **options)
        assert (first["changed"], first["version"], first["served"], first["pruned"]) == (True, 2, [2], [])
        assert contents(folder / "2") == contents(tmp_path / "a")
        again = good(source=source, **options)
        assert (again["changed"], again["version"], again["actions"], again["diff"]["before"]) == (
            False,
            2,
            [],
            again["diff"]["after"],
        )
        third = good(source=variant(model_directory, tmp_path / "b", "3"), **options)
        assert (third["version"], third["pruned"], third["served"], visible(folder)) == (3, [1], [3], ["2", "3"])
        assert not good(source=str(tmp_path / "b"), **options)["changed"]
        assert (
            "is served"
            in refused("version 3", state="absent", version=3, **{key: options[key] for key in ("path", "server")})[
                "msg"
            ]
        )
        assert good(state="absent", version=2, check_mode=True, **{key: options[key] for key in ("path", "server")})[
            "changed"
        ]
        assert good(state="absent", version=2, **{key: options[key] for key in ("path", "server")})[
            "changed"
        ] and visible(folder) == ["3"]
        assert not good(state="absent", version=2, **{key: options[key] for key in ("path", "server")})["changed"]
    assert not client.faults and client.answers > 50


def test_bad_versions_are_withdrawn_and_the_last_good_one_serves_on(served, model_directory, samples, tmp_path):
    server, options = served
    folder, options = Path(options["path"]), dict(options, samples=samples["right"])
    before = visible(folder)
    broken = unloadable(model_directory, tmp_path / "broken")
    other = variant(model_directory, tmp_path / "other", "other signature", "dense")
    wrong = variant(model_directory, tmp_path / "wrong", "wrong answers", "half_plus_three")
    with Client(server) as client:
        for _time in (1, 2):
            refused(
                "version 20 failed: Op type not registered",
                "Version 20 was withdrawn, and version",
                source=broken,
                version=20,
                **options,
            )
            assert visible(folder) == before
    assert not client.faults and client.answers > 20
    refused("was withdrawn, and version", "it does not answer the samples: INVALID_ARGUMENT", source=other, **options)
    refused("was withdrawn, and version", "y: differs by up to", "allowed: 0.001", source=wrong, **options)
    assert visible(folder) == before
    with GrpcClient("127.0.0.1", server.grpc_port) as asked:
        assert asked.predict("m", {"x": ONES})["y"].tolist() == [[2.5], [2.5]]
    repaired = variant(model_directory, tmp_path / "20", "repaired")
    told = good(source=repaired, **options)
    assert told["published"] and told["version"] == 20, "what the server said of this number before is not taken for it"
    # A version that was seen to serve well is not withdrawn because of samples that are wrong.
    refused("is not served correctly", "so it stays", source=repaired, **{**options, "samples": samples["foreign"]})
    assert good(source=repaired, **options)["changed"] is False


def test_a_version_that_cannot_answer_is_not_published(model_directory, tmp_path):
    """TensorFlow's loader is the judge of what is lacking (test_graphs.py); the sentences are those of plan and conversion."""
    folder = tmp_path / "m"
    short = tmp_path / "short"
    shutil.copytree(model_directory / "half_plus_two" / "1", short)
    (shard,) = (short / "variables").glob("variables.data-*")
    (short / "manifest.json").unlink(missing_ok=True)
    shard.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n")
    odd = tmp_path / "odd"
    shutil.copytree(short, odd)
    (odd / "saved_model.pb").write_bytes(b"\x0a\xffno model")
    for source, words in ((short, "Git LFS"), (odd, "not a SavedModel")):
        told = refused(words, str(source), source=str(source), path=str(folder), remote_src=True)
        assert ".tfserving-partial" not in told["msg"] and visible(folder) == []
    refused(
        "signature serving_default: it reads Variable_1, which loading the model does not restore",
        source=str(model_directory / "half_forgotten" / "1"),
        path=str(folder),
        remote_src=True,
    )
    assert visible(folder) == []


def test_a_server_that_looks_elsewhere_or_does_not_answer(served, model_directory, tmp_path):
    server, options = served
    source = variant(model_directory, tmp_path / "a", "elsewhere")
    refused(
        "Version 40 was withdrawn, and no version serves now",
        "the server does not know the model nobody",
        source=source,
        version=40,
        **dict(
            options,
            ready_timeout_s=2,
            path=str(tmp_path / "nobody"),
            server={"port": server.grpc_port, "model": "nobody"},
        ),
    )
    assert visible(tmp_path / "nobody") == []
    elsewhere = dict(options, path=str(tmp_path / "elsewhere"), ready_timeout_s=2)
    refused("Version 40 was withdrawn", "the server does not load it", source=source, version=40, **elsewhere)
    assert visible(tmp_path / "elsewhere") == []
    before = visible(Path(options["path"]))
    refused(
        "UNAVAILABLE",
        "Nothing was changed. Check that this is the gRPC port",
        source=source,
        **dict(options, server={"port": 1, "model": "m"}),
    )
    refused(
        "UNAVAILABLE",
        "Nothing was changed.",
        source=source,
        **dict(options, server={"port": server.rest_port, "model": "m"}),
    )
    refused("server.model: it is empty", source=source, **dict(options, server={"port": server.grpc_port, "model": ""}))
    assert visible(Path(options["path"])) == before
    # A lower version than what the policy serves: what was there before this run stays there.
    assert good(path=str(tmp_path / "lower"), source=source, remote_src=True, version=0)["published"]
    refused(
        "version 0 is not served correctly",
        "It was already there, so it stays",
        version=0,
        **dict(options, path=str(tmp_path / "lower"), ready_timeout_s=2),
    )
    assert visible(tmp_path / "lower") == ["0"]


def test_canary_and_stable(serve, model_directory, samples, tmp_path):
    folder, config = tmp_path / "m", tmp_path / "models.config"
    shutil.copytree(model_directory / "half_plus_two", folder)
    config.write_text(
        f'# ours\nmodel_config_list {{ config {{ name: "m" base_path: "{folder}" model_platform: "tensorflow" '
        'model_version_policy { specific { versions: 1 } } version_labels { key: "stable" value: 1 } } }',
        encoding="utf-8",
    )
    server = serve(
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
        "--max_num_load_retries=0",
    ).ready()
    options = {
        "path": str(folder),
        "remote_src": True,
        "server": {"port": server.grpc_port, "model": "m"},
        "config_file": str(config),
        "ready_timeout_s": 60,
        "samples": samples["right"],
    }

    def by_label(label):
        from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client

        inputs = stdlib_client.arrays(samples["plain"], "inputs.", 1)
        return stdlib_client.Server("127.0.0.1", server.grpc_port).predict("m", inputs, label=label)["y"].values()

    written = config.read_text(encoding="utf-8")
    with Client(server) as client:
        canary = variant(model_directory, tmp_path / "two", "2")
        foreseen = good(source=canary, label="canary", check_mode=True, **options)
        assert foreseen["actions"] == [
            f"publish version 2 from {canary}",
            "list version 2",
            "give the label canary to version 2",
        ]
        assert list(tmp_path.glob("models.config.*")) == []
        result = good(source=canary, label="canary", **options)
        (backup,) = tmp_path.glob("models.config.*.bak")
        assert (
            backup.read_text(encoding="utf-8") == written
            and len(result["warnings"]) == 1
            and result["warnings"] == foreseen["warnings"]
        )
        assert "drops the comments on line 1" in str(result["warnings"]) and str(backup) in str(result["warnings"])
        assert (result["changed"], result["version"], result["served"]) == (True, 2, [2, 1])
        assert by_label("canary") == by_label("stable") == [2.5]
        again = good(source=canary, label="canary", **options)
        assert not again["changed"] and not again.get("warnings")
        wrong = variant(model_directory, tmp_path / "wrong", "wrong", "half_plus_three")
        before = config.read_text(encoding="utf-8")
        refused("Version 3 was withdrawn, and versions 2, 1 serve now", source=wrong, label="canary", **options)
        assert (
            config.read_text(encoding="utf-8") == before
            and visible(folder) == ["1", "2"]
            and by_label("canary") == [2.5]
        )
        promoted = good(version=2, label="stable", keep=1, **options)
        assert (promoted["changed"], promoted["pruned"], promoted["served"]) == (True, [1], [2])
        assert [json.loads(promoted["diff"][side])["listed"] for side in ("before", "after")] == [[1, 2], [2]]
        assert not good(version=2, label="stable", keep=1, **options)["changed"]
        refused("version 7 is missing; present: 2", version=7, label="stable", **options)
        listed = config.read_text(encoding="utf-8")
        shutil.copytree(wrong, folder / "1")
        refused(
            "version 1 is not served correctly",
            "y: differs by up to",
            "so it stays",
            version=1,
            label="canary",
            **options,
        )
        assert (
            config.read_text(encoding="utf-8") == listed
            and visible(folder) == ["1", "2"]
            and by_label("stable") == [2.5]
        )
        shutil.rmtree(folder / "1")
    assert not client.faults and client.answers > 20
    assert len(re.findall("versions:", config.read_text(encoding="utf-8"))) == 1
    config.write_text(
        config.read_text(encoding="utf-8").replace(
            "model_config_list {", 'model_config_list { config { name: "new" base_path: "/nowhere" }'
        ),
        encoding="utf-8",
    )  # Trap 44: a reload would wait for it for ever.
    refused(
        "it lists the model new, which the server does not know", source=canary, version=9, label="canary", **options
    )
    assert visible(folder) == ["2"]


def test_a_version_that_is_there_is_listed(serve, model_directory, tmp_path):
    folder, config = tmp_path / "m", tmp_path / "models.config"
    for number in "12":
        shutil.copytree(model_directory / "half_plus_two" / "1", folder / number)
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{folder}" model_platform: "tensorflow" '
        "model_version_policy { specific { versions: 1 } } } }",
        encoding="utf-8",
    )
    server = serve(f"--model_config_file={config}").ready()
    options = {
        "path": str(folder),
        "version": 2,
        "server": {"port": server.grpc_port, "model": "m"},
        "config_file": str(config),
        "ready_timeout_s": 60,
    }
    for check_mode in (True, False):
        result = good(check_mode=check_mode, **options)
        assert (result["changed"], result["actions"], result["published"]) == (True, ["list version 2"], False)
        assert [json.loads(result["diff"][side])["listed"] for side in ("before", "after")] == [[1], [1, 2]]
    assert result["served"] == [2, 1]
    again = good(**options)
    assert (again["changed"], again["actions"]) == (False, []) and again["diff"]["before"] == again["diff"]["after"]

    # Lists that would harm the server. Recorded of TensorFlow Serving 2.20.0: the first unloads what serves, the second makes it refuse all later lists.
    listed = config.read_text(encoding="utf-8")
    for harmful, words in (
        (listed.replace("versions: 1", "versions: 9"), "it lists version 9 of m, which is not in the model's folder"),
        (listed.replace('model_platform: "tensorflow"', ""), "it lists the model m without model_platform"),
    ):
        assert harmful != listed
        config.write_text(harmful, encoding="utf-8")
        refused(f"{config}: {words}", label="stable", **options)
    config.write_text(listed, encoding="utf-8")
    assert good(**options)["served"] == [2, 1]


def test_a_server_that_dies_of_a_version_does_not_start_with_it_again(serve, model_directory, tmp_path):
    """Its file lists the version no more, although there is no server that could take the list."""
    folder, config = tmp_path / "m", tmp_path / "models.config"
    shutil.copytree(model_directory / "half_plus_two", folder)
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{folder}" model_platform: "tensorflow" '
        "model_version_policy { specific { versions: 1 } } } }",
        encoding="utf-8",
    )
    server = serve(f"--model_config_file={config}").ready()  # It tries for minutes to load a broken version.
    process = modules.start(
        "model_version",
        path=str(folder),
        source=unloadable(model_directory, tmp_path / "2"),
        remote_src=True,
        server={"port": server.grpc_port, "model": "m"},
        config_file=str(config),
    )
    with GrpcClient("127.0.0.1", server.grpc_port) as asked:
        end = time.monotonic() + 60
        while 2 not in [one["version"] for one in asked.status("m")] and time.monotonic() < end:
            time.sleep(0.01)
    server.stop(signal.SIGKILL)
    told = modules.result(process)
    assert told["failed"] and "Version 2 was withdrawn, and no version serves now" in told["msg"]
    assert visible(folder) == ["1"] and "versions: 2" not in config.read_text(encoding="utf-8")


def killed_when(appears, **options):
    """Start the module and kill it when a path is there."""
    process = modules.start("model_version", **options)
    end = time.monotonic() + 60
    while not appears.exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert appears.exists()


def test_what_a_killed_run_or_a_killed_server_leaves_is_finished_or_undone(serve, model_directory, samples, tmp_path):
    """The server tries a version that does not load for minutes; the run is killed meanwhile, and later the server itself."""
    folder = tmp_path / "m"
    shutil.copytree(model_directory / "half_plus_two", folder)
    server = serve("--model_name=m", f"--model_base_path={folder}").ready()
    options = {
        "path": str(folder),
        "remote_src": True,
        "server": {"port": server.grpc_port, "model": "m"},
        "samples": samples["right"],
        "ready_timeout_s": 2,
    }
    good_source = variant(model_directory, tmp_path / "good", "good")
    killed_when(folder / "2", source=good_source, **options)
    result = good(source=good_source, **{**options, "ready_timeout_s": 60})
    assert (result["published"], result["version"], result["served"]) == (False, 2, [2])
    broken = unloadable(model_directory, tmp_path / "broken")
    with Client(server) as client:
        killed_when(folder / "3", source=broken, **options)
        refused(
            "version 3 failed: it was not AVAILABLE after 2 s: still loading. Version 3 was withdrawn, and version 2 serves now",
            source=broken,
            **options,
        )
    assert not client.faults and client.answers > 20 and visible(folder) == ["1", "2"]
    process = modules.start("model_version", source=broken, **{**options, "ready_timeout_s": 120})
    end = time.monotonic() + 60
    while not (folder / "4").exists() and time.monotonic() < end:
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    told = modules.result(process)
    assert told["failed"] and "version 4 failed: the server no longer answers" in told["msg"]
    assert "Version 4 was withdrawn, and no version serves now" in told["msg"]
    assert visible(folder) == ["1", "2"]


# --- Sources


def packed(folder, name="m/1"):
    """The bytes of a tar.gz of a version."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(folder, name)
    return stream.getvalue()


@contextlib.contextmanager
def web(content, breaks=(), stall=None, validators=True, port=0):
    """A web server for one file, which understands ranges; it breaks off its first answers after so many bytes, or stalls after some.

    Yields (url, where each request began).
    """
    requests, left, etag = [], list(breaks), f'"{hashlib.sha256(content).hexdigest()[:8]}"'

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, body):
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted.group(1)) if wanted and self.headers.get("If-Range") == etag else 0
            part = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(part)))
            if validators:
                self.send_header("ETag", etag)
            self.end_headers()
            if body:
                requests.append(start)
                sent = part[: left.pop(0)] if left else part
                if stall is not None:
                    self.wfile.write(part[:stall])
                    time.sleep(60)
                self.wfile.write(sent)
                if len(sent) < len(part):
                    self.wfile.flush()
                    self.connection.close()

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/m.tar.gz", requests
        server.shutdown()


def test_a_download_goes_on_where_it_broke_off(model_directory, tmp_path):
    content = packed(variant(model_directory, tmp_path / "v", os.urandom(1 << 20)))
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with web(content, breaks=(400_000, 300_000)) as (url, requests):
        options = {"path": str(tmp_path / "m"), "source": url}
        assert good(check_mode=True, **options)["changed"] and not (tmp_path / "m").exists() and not requests
        for _time in (1, 2):
            refused("the transfer was interrupted", "the transfer continues where it stopped", **options)
            assert [name for name in visible(tmp_path / "m") if name.isdigit()] == []
        result = good(**options)
        assert result["changed"] and requests == [0, 400_000, 700_000]
        assert contents(tmp_path / "m" / "1") == contents(tmp_path / "v") and visible(tmp_path / "m") == ["1"]
        assert not good(**options)["changed"] and len(requests) == 3, "what is here is not fetched again"
    with web(content) as (url, requests):
        refused(
            "its checksum is sha256:",
            "not the requested one",
            path=str(tmp_path / "n"),
            source=url,
            checksum="sha256:" + "0" * 64,
        )
        assert visible(tmp_path / "n") == []
        told = good(
            path=str(tmp_path / "n"),
            source=url.replace("//", "//user:s%40cret@") + "?X-Signature=c0ffee",
            checksum=checksum,
        )
        assert told["changed"]
        for shown in (json.dumps(told), (tmp_path / "n" / "1" / "manifest.json").read_text(encoding="utf-8")):
            assert "cret" not in shown and "c0ffee" not in shown, shown
    with web(content, validators=False) as (url, _requests):
        refused("sends neither ETag nor Last-Modified", "Set checksum", path=str(tmp_path / "o"), source=url)
    refused("cannot be fetched", path=str(tmp_path / "o"), source="http://127.0.0.1:9/m.tar.gz")
    assert visible(tmp_path / "o") == []


def test_a_transfer_of_unknown_length_that_breaks_off(model_directory, tmp_path):
    """In chunks, the last of which never comes; then without any length, which a broken archive alone tells."""
    content = packed(variant(model_directory, tmp_path / "v", os.urandom(1 << 16)))
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    chunk = content[:30000]
    for head, body in (
        ("Transfer-Encoding: chunked", b"7530\r\n" + chunk + b"\r\n7530\r\nhalf"),
        ("Connection: close", chunk),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer(listener=listener, head=head, body=body):
                connection, _peer = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)

            thread = threading.Thread(target=answer)
            thread.start()
            refused(
                "the transfer was interrupted" if "chunked" in head else "its checksum is",
                path=str(tmp_path / "m"),
                checksum=checksum,
                source=f"http://127.0.0.1:{listener.getsockname()[1]}/m.tar.gz",
            )
            thread.join()
        assert [name for name in visible(tmp_path / "m") if name.isdigit()] == []


def test_a_run_that_is_killed_leaves_no_half_version(model_directory, tmp_path):
    content = packed(variant(model_directory, tmp_path / "v", os.urandom(1 << 20)))
    with web(content, stall=500_000) as (url, _requests):
        process = modules.start("model_version", path=str(tmp_path / "m"), source=url)
        end, size = time.monotonic() + 60, 0
        while size < 400_000 and time.monotonic() < end:
            size = max((path.stat().st_size for path in tmp_path.glob("m/.tfserving-partial-*/archive")), default=0)
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert size >= 400_000
    assert not [name for name in visible(tmp_path / "m") if name.isdigit()] and visible(tmp_path / "m")
    with web(content, port=int(url.partition("127.0.0.1:")[2].partition("/")[0])) as (url, requests):
        assert good(path=str(tmp_path / "m"), source=url)["changed"] and requests[0] >= 400_000, "the next run goes on"
    assert contents(tmp_path / "m" / "1") == contents(tmp_path / "v")


def test_archives(model_directory, tmp_path):
    version = Path(variant(model_directory, tmp_path / "v", "archived"))
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        for name, content in contents(version).items():
            archive.writestr(f"top/{name}", content)
    (tmp_path / "flat.tar.gz").write_bytes(packed(version, "."))
    for number, name in enumerate(("good.zip", "flat.tar.gz"), 1):
        assert good(path=str(tmp_path / f"m{number}"), source=f"file://{tmp_path}/{name}")["changed"]
        assert contents(tmp_path / f"m{number}" / "1") == contents(version)
        assert not good(path=str(tmp_path / f"m{number}"), source=str(tmp_path / name), remote_src=True)["changed"]

    def evil(name, **fields):
        path = tmp_path / f"{name.replace('/', '_')}.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(version, "m")
            member = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(member, key, value)
            archive.addfile(member)
        return path

    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.write(version / "saved_model.pb", "m/saved_model.pb")
        link = zipfile.ZipInfo("m/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    each_refused(
        *(
            (text, {"path": tmp_path / "bad", "source": source, "remote_src": True})
            for source, text in (
                (evil("../outside"), "would be written outside"),
                (evil("m/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "m/link is a link or a device"),
                (evil("m/device", type=tarfile.CHRTYPE), "m/device is a link or a device"),
                (evil("m/hard", type=tarfile.LNKTYPE, linkname="m/saved_model.pb"), "m/hard is a link or a device"),
                (evil("m/pipe", type=tarfile.FIFOTYPE), "m/pipe is a link or a device"),
                (evil("m/../../outside"), "would be written outside"),
                (evil("/outside"), "would be written outside"),
                (tmp_path / "link.zip", "m/link is a link or a device"),
                (evil("n/saved_model.pb"), "contains several models: m, n"),
                (tmp_path / "nowhere", "there is no folder or archive at this path"),
                (version / "saved_model.pb", "cannot read the archive"),
                (tmp_path, "it is not a version of a model"),
            )
        )
    )
    assert not [name for name in visible(tmp_path / "bad") if name.isdigit()] and not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_archives_that_are_cut_or_damaged(model_directory, tmp_path, kind):
    """Whatever is missing, no version comes of it; a plain tar that was damaged within a file is known by its checksum alone."""
    version = Path(variant(model_directory, tmp_path / "v", os.urandom(1 << 16)))
    whole = tmp_path / f"m.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents(version).items():
                archive.writestr(name, content)
    else:
        with tarfile.open(whole, "w" if kind == "tar" else f"w:{kind[4:]}") as archive:
            archive.add(version, "m")
    content = whole.read_bytes()
    cuts = (
        [tarfile.BLOCKSIZE * 3, content.rindex(b"\0ustar") - 257] if kind == "tar" else []
    )  # the latter before the last file's head
    bad = [
        content[:size]
        for size in (
            *cuts,
            len(content) // 2,
            len(content) - tarfile.RECORDSIZE if kind == "tar" else len(content) - 9,
            10,
            0,
        )
    ]
    if kind != "tar":
        bad.append(content[: len(content) // 2] + bytes(64) + content[len(content) // 2 + 64 :])
    for number, one in enumerate(bad):
        (tmp_path / f"bad{number}.{kind}").write_bytes(one)
    each_refused(
        *(
            ("", {"path": tmp_path / "m", "source": f"file://{tmp_path}/bad{number}.{kind}"})
            for number in range(len(bad))
        )
    )
    assert visible(tmp_path / "m") == []
    assert good(path=str(tmp_path / "m"), source=f"file://{whole}")["published"] and contents(
        tmp_path / "m" / "1"
    ) == contents(version)


def test_folders_that_are_no_versions(model_directory, tmp_path):
    folder, source = tmp_path / "m", variant(model_directory, tmp_path / "v", "v")
    shutil.copytree(source, folder / "007")
    for name in ("7x", "-9", "99999999999999999999999", "\u0663"):
        (folder / name).mkdir()
    (folder / "9").write_text("a file", encoding="utf-8")
    options = {"path": str(folder), "remote_src": True}
    assert good(source=source, **options)["version"] == 7, "as a server counts it"
    other = variant(model_directory, tmp_path / "w", "w")
    refused("version 7 already exists with other content", source=other, version=7, **options)
    refused(
        f"{folder}/9: a file of this name exists, and it is not a version. Remove it.",
        source=other,
        version=9,
        **options,
    )
    assert good(source=other, **options)["version"] == 8
    assert good(source=source, version=2**63 - 1, **options)["published"]
    refused(f"there is no version number above {2**63 - 1}", source=other, **options)
    refused("version: -1 is out of range; allowed: 0 to 9223372036854775807", source=other, version=-1, **options)


def test_sources_and_addresses_that_are_none(model_directory, tmp_path):
    source = Path(variant(model_directory, tmp_path / "v", "v"))
    path = str(tmp_path / "m")
    checksum = "sha256:" + "0" * 64
    refused(
        f"checksum: it is the checksum of an archive, but {source} is a folder",
        path=path,
        source=str(source),
        remote_src=True,
        checksum=checksum,
    )
    refused("source: it is empty", path=path, source="", remote_src=True)
    refused("http://[::1/m.tar: not a valid URL: Invalid IPv6 URL", path=path, source="http://[::1/m.tar")
    refused("cannot write it: Not a directory", path=f"{source}/saved_model.pb/m", source=str(source), remote_src=True)
    (source / "link").symlink_to("/nonexistent")
    refused(
        f"{source}/link: it is not a file or directory of a model",
        path=path,
        source=str(source),
        remote_src=True,
    )
    (source / "link").unlink()
    os.mkfifo(source / "pipe")
    refused(
        f"{source}/pipe: it is not a file or directory of a model",
        path=path,
        source=str(source),
        remote_src=True,
    )
    assert visible(tmp_path / "m") == []


def test_a_folder_that_this_user_may_not_write(model_directory):
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as parent:  # Everybody may look into it, unlike pytest's own.
        os.chmod(parent, 0o755)
        folder, source = Path(parent) / "m", variant(model_directory, Path(parent) / "v", "v")
        folder.mkdir()
        refuse_to_nobody(folder, source)


def refuse_to_nobody(folder, source):
    program = (
        f"import os; from {modules.PACKAGE} import model_version\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); model_version.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=modules.request(path=str(folder), source=source, remote_src=True),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd="/",
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert (
        told["msg"]
        == f"{folder}/.tfserving-lock: cannot write it: Permission denied. Run as the user that owns the folder."
        and visible(folder) == []
    )


def test_a_manifest_is_believed_only_where_it_is_true(model_directory, tmp_path):
    assert good(path=str(tmp_path / "m"), source=variant(model_directory, tmp_path / "v", "manifest"), remote_src=True)[
        "changed"
    ]
    shutil.copytree(tmp_path / "m" / "1", tmp_path / "copy")
    assert good(path=str(tmp_path / "n"), source=str(tmp_path / "copy"), remote_src=True)["changed"]
    (tmp_path / "copy" / "assets.extra" / "note").write_text("damaged", encoding="utf-8")
    refused(
        "assets.extra/note differs from the version's manifest",
        path=str(tmp_path / "o"),
        source=str(tmp_path / "copy"),
        remote_src=True,
    )
    shutil.copytree(tmp_path / "m" / "1", tmp_path / "more")
    (tmp_path / "more" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"of an older version")
    refused(
        "assets.extra/tf_serving_warmup_requests is not in the version's manifest",
        path=str(tmp_path / "o"),
        source=str(tmp_path / "more"),
        remote_src=True,
    )
    refused(
        "version 1 already exists with other content",
        path=str(tmp_path / "m"),
        source=variant(model_directory, tmp_path / "w", "w"),
        version=1,
        remote_src=True,
    )


def test_a_full_disk(model_directory, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        large = variant(model_directory, tmp_path / "v", b"x" * (2 << 20))
        refused("the version needs 3 MiB more", "Make room", path=str(disk / "m"), source=large, remote_src=True)
        with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents(tmp_path / "v").items():
                archive.writestr(name, content)
        refused(
            "the version needs 3 MiB more",
            "Make room",
            path=str(disk / "m"),
            source=f"file://{tmp_path}/small.zip",
        )
        assert visible(disk / "m") == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- From the controller


def test_a_piece_that_was_damaged_on_its_way(model_directory, tmp_path):
    """The module as the action plugin calls it: an inventory, then pieces."""
    files = contents(Path(variant(model_directory, tmp_path / "v", "piece")))
    options = {
        "path": str(tmp_path / "m"),
        "source": "v",
        "inventory": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
    }
    for damaged in (True, False):
        lacking = good(**options)["missing"]
        assert len(lacking) == (len(files) if damaged else 1), "what came well is kept"
        piece = (
            json.dumps(lacking).encode()
            + b"\n"
            + b"".join(files[name][offset : offset + count] for name, offset, count in lacking)
        )
        (tmp_path / "piece").write_bytes(piece.replace(b"piece", b"PIECE") if damaged else piece)
        result = run(piece=str(tmp_path / "piece"), **options)
        if damaged:
            assert (
                result["failed"]
                and "assets.extra/note was damaged in transit" in result["msg"]
                and "Run again." in result["msg"]
            )
    assert result["published"] and contents(tmp_path / "m" / "1") == files
    (tmp_path / "piece").write_bytes(b'[["../outside", 0, 1]]\nx')
    refused(
        "which the source does not have", **{**options, "path": str(tmp_path / "n"), "piece": str(tmp_path / "piece")}
    )
    assert not (tmp_path / "outside").exists()


WARMUP = (
    "assets.extra/tf_serving_warmup_requests"  # Where TensorFlow Serving reads them (its guide "SavedModel Warmup").
)
# Files of one, two and three records without a request, which TensorFlow Serving 2.20.0 was seen to load.
FIRST, SECOND, THIRD = (tfrecord.frame(b"") * count for count in (1, 2, 3))


def test_other_warm_up_requests_replace_those_of_the_version(model_directory, tmp_path):
    """Brought by path, then by the controller in pieces as the action plugin sends them; and taken away where the source has none any more."""
    source, other = tmp_path / "source" / "42", tmp_path / "other"
    variant(model_directory, source, "renewed")
    (source / WARMUP).write_bytes(FIRST)
    by_path = {"path": str(tmp_path / "m"), "source": str(source), "remote_src": True}
    assert good(**by_path)["published"]
    (source / WARMUP).write_bytes(SECOND)
    for check_mode in (True, False):
        result = good(check_mode=check_mode, **by_path)
        assert (result["changed"], result["published"], result["version"]) == (True, False, 42)
        assert result["actions"] == ["replace the warm-up requests and accuracy figures of version 42"]
        assert (tmp_path / "m" / "42" / WARMUP).read_bytes() == (FIRST if check_mode else SECOND)
    assert json.loads(result["diff"]["before"])["manifest"] != json.loads(result["diff"]["after"])["manifest"]
    assert not good(**by_path)["changed"] and visible(tmp_path / "m") == ["42"]

    shutil.copytree(source, other)
    (other / WARMUP).write_bytes(THIRD)
    files = contents(other)
    judged = {"schema": 1, "key": "judged", "gates": {"examples": 3}}
    judged["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }
    sent = {"path": by_path["path"], "source": "42", "inventory": judged["files"], "manifest": judged}
    lacking = good(**sent)["missing"]
    assert lacking == [[WARMUP, 0, len(THIRD)]], "nothing of the model is sent again"
    (tmp_path / "piece").write_bytes(json.dumps(lacking).encode() + b"\n" + THIRD)
    assert good(piece=str(tmp_path / "piece"), **sent)["changed"]
    told = json.loads((tmp_path / "m" / "42" / "manifest.json").read_text(encoding="utf-8"))
    assert contents(tmp_path / "m" / "42") == files
    assert {name: told[name] for name in judged} == judged and told["fetched_from"] == str(source)
    assert not good(**sent)["changed"]

    (source / WARMUP).unlink()
    assert good(**by_path)["changed"] and contents(tmp_path / "m" / "42") == contents(source)
    assert not good(**by_path)["changed"] and visible(tmp_path / "m") == ["42"]


def test_warm_up_requests_that_end_a_load_are_not_published(model_directory, tmp_path):
    """Neither with a version nor for one that serves. Recorded of TensorFlow Serving 2.20.0: corrupted record at 0, truncated record at 0."""
    source = tmp_path / "source" / "42"
    variant(model_directory, source, "judged")
    options = {"path": str(tmp_path / "m"), "source": str(source), "remote_src": True}
    told = f"{source}/{WARMUP}: its warm-up file: it is not a TFRecord file of PredictionLog messages"
    (source / WARMUP).write_bytes(SECOND[:-1])
    refused(told, "truncated", "Remove the file, or write it again.", **options)
    assert visible(tmp_path / "m") == []
    (source / WARMUP).write_bytes(SECOND)
    assert good(**options)["published"]
    (source / WARMUP).write_bytes(b"no record, and longer than the head of one")
    refused(told, "no record begins at byte 0", **options)
    assert (tmp_path / "m" / "42" / WARMUP).read_bytes() == SECOND and visible(tmp_path / "m") == ["42"]


def test_warm_up_requests_of_the_host_stay(model_directory, tmp_path):
    options = {"path": str(tmp_path / "m"), "source": variant(model_directory, tmp_path / "v", "v"), "remote_src": True}
    good(**options)
    (tmp_path / "m" / "1" / WARMUP).write_bytes(b"of this host")
    assert not good(**options)["changed"] and (tmp_path / "m" / "1" / WARMUP).read_bytes() == b"of this host"


def playbook(tmp_path, **options):
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {"tfserving.fleet.model_version": options, "register": "told"},
                {"ansible.builtin.debug": {"msg": "{{ told | to_json }}"}},
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    return [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        "localhost,",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "play.yml",
    ]


def play(tmp_path, *more, **options):
    return subprocess.run(
        [*playbook(tmp_path, **options), *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "tools" / "ansible.cfg"), ANSIBLE_NOCOLOR="1"),
    )


def descendants(pid):
    """A process and all that it started, itself first."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def test_from_the_controller_in_pieces_that_go_on(model_directory, tmp_path):
    """More than one piece of 64 MiB. The run is killed after the first one; the next run adds to the same file."""
    (tmp_path / "files").mkdir()
    variant(model_directory, tmp_path / "files" / "v", os.urandom(1 << 20) * 150)
    options = {"path": str(tmp_path / "m"), "source": "v"}
    checked = play(tmp_path, "--check", **options)
    assert checked.returncode == 0 and "changed=1" in checked.stdout and not (tmp_path / "m").exists(), (
        checked.stdout + checked.stderr
    )
    process = subprocess.Popen(
        playbook(tmp_path, **options),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "tools" / "ansible.cfg")),
    )
    end, found = time.monotonic() + 60, []
    while not found and time.monotonic() < end and process.poll() is None:
        found = [
            path
            for path in tmp_path.glob("m/.tfserving-partial-*/assets.extra/note")
            if path.stat().st_size >= 60 << 20
        ]
        time.sleep(0.02)
    for pid in descendants(process.pid):  # Ansible's workers are in sessions of their own, and outlive the program.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    assert found, "it was never seen in the middle"
    inode = found[0].stat().st_ino
    assert not [name for name in visible(tmp_path / "m") if name.isdigit()]
    done = play(tmp_path, **options)
    assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout + done.stderr
    assert contents(tmp_path / "m" / "1") == contents(tmp_path / "files" / "v") and visible(tmp_path / "m") == ["1"]
    assert (tmp_path / "m" / "1" / "assets.extra" / "note").stat().st_ino == inode
    again = play(tmp_path, **options)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout
    (tmp_path / "files" / "w.tar.gz").write_bytes(packed(variant(model_directory, tmp_path / "w", "archived")))
    done = play(tmp_path, **{**options, "source": "w.tar.gz"})
    assert done.returncode == 0 and contents(tmp_path / "m" / "2") == contents(tmp_path / "w"), (
        done.stdout + done.stderr
    )
    missing = play(tmp_path, **{**options, "source": "nowhere"})
    assert missing.returncode and "nowhere: the controller has no folder or archive at this path" in missing.stdout
    said = [line for line in missing.stdout.splitlines() if "no folder or archive at this path" in line]
    assert all(line.count("no folder or archive at this path") == 1 for line in said), said
