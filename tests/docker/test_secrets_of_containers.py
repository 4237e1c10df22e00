# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of servers in containers: in what the whole path prints and leaves behind, and in what the engine tells of everything that it made, they stand
only in the environment of the containers themselves."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.engine import BuildFailed, Engine
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import configuration
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import server_name
from ansible_collections.tfserving.fleet.tests.security import test_secrets as planting

# What has to know them: the variables of a container.
KNOWS = {"variable of the server", "variable of the request"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that does not log what it is asked for."""

    def log_message(self, *_arguments):
        """Say nothing."""


class Controller:
    """ansible-playbook with every detail that it can show, in a folder of its own."""

    def __init__(self, directory, variables):
        self._directory, self._variables = directory, variables
        (directory / "given").mkdir()

    def play(self, *words, **variables):
        """(exit status, output) of a run. variables: more of the host's."""
        inventory = {"all": {"hosts": {"one": {**self._variables, **variables}}}}
        (self._directory / "given" / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        folders = {"HOME": "home", "LOG_PATH": "log", "REMOTE_TMP": "remote", "CACHE_PLUGIN_CONNECTION": "facts"}
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", "-i", "given/inventory.json", "--diff", *words],
            cwd=self._directory,
            env=dict(
                os.environ,
                ANSIBLE_CACHE_PLUGIN="jsonfile",
                XDG_CACHE_HOME=str(self._directory / "cache"),
                **{f"ANSIBLE_{name}": str(self._directory / folder) for name, folder in folders.items()},
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        return done.returncode, done.stdout + done.stderr


def with_key(directory, planted):
    """The path of a TLS configuration, of which a line of its key is planted."""
    (directory / "tls").mkdir(mode=0o700)
    key, certificate, written = (directory / "tls" / one for one in ("key.pem", "certificate.pem", "tls.pbtxt"))
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout"
    subprocess.run(["openssl", *words.split(), key, "-out", certificate], check=True, capture_output=True)
    texts = {"server_key": key.read_text("ascii"), "server_cert": certificate.read_text("ascii")}
    written.write_text("".join(f"{name}: {json.dumps(text)}\n" for name, text in texts.items()), encoding="ascii")
    planted.known("key of the server", texts["server_key"].splitlines()[5])
    return str(written)


def inspected(engine, name):
    """{what: text} of what the engine tells of the containers of a server and of their images. The environment of containers is apart."""
    found = {}
    for container in engine.containers.list(all=True, filters={"name": name}):
        attributes = engine.api.inspect_container(container.id)
        found[f"environment of {container.name}"] = json.dumps(attributes["Config"].pop("Env"))
        found[f"inspect {container.name}"] = json.dumps(attributes)
        found[f"log of {container.name}"] = container.logs().decode("utf-8", "replace")
        found[f"image of {container.name}"] = json.dumps([container.image.attrs, container.image.history()])
    found["names"] = json.dumps([engine.api.containers(all=True), engine.api.images(), engine.api.volumes()])
    return found


@pytest.mark.skipif(os.geteuid() != 0 or os.path.exists("/dev/log"), reason="needs root, and no other syslog")
def test_whole_path_in_containers(tmp_path, models, serving_image, engine):
    planted, name = planting.Planted(), server_name("secrets")
    (tmp_path / "served").mkdir()
    shutil.make_archive(str(tmp_path / "served" / "m"), "gztar", models / "right" / "1")
    login = {"username": "u", "password": planted("login of the server")}
    controller = Controller(
        tmp_path,
        {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tfserving_python": sys.executable,
            "tfserving_backend": "docker",
            "tfserving_image": serving_image.tags[0],
            "tfserving_convert_user": "root",
            "tfserving_models": [{"name": "right", "source": str(models / "right" / "1"), "optimize": "none"}],
            "tfserving_environment": {"OWNER": "us", "HF_TOKEN": planted("variable of the request")},
            "tfs_server_name": name,
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_ready_timeout_s": 600,
            "tfs_server_registry_login": login,
            "tfs_server_ssl_config_file": with_key(tmp_path, planted),
            "tfs_tuning_models": [],
            **{f"tfserving_{one}_directory": str(tmp_path / one) for one in ("model", "state", "tunings", "report")},
        },
    )
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    began = int(time.time()) - 1
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        planting.syslog() as lines,
        planting.process_list() as processes,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = planting.tasks(planted, f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
        play = [{"hosts": "all", "gather_facts": False, "tasks": own}]
        (tmp_path / "given" / "own.yml").write_text(json.dumps(play), encoding="utf-8")
        changed = {"KEY": planted("variable of the server")}
        try:
            ran = [
                controller.play("--check", "-vvvv", "tfserving.fleet.site"),
                controller.play("-vvvv", "given/own.yml", "tfserving.fleet.site"),
                controller.play("-vvvv", "tfserving.fleet.deploy", tfs_server_secret_environment=changed),
            ]
            told = inspected(engine, name)
        finally:
            for container in engine.containers.list(all=True, ignore_removed=True, filters={"name": name}):
                container.remove(force=True, v=True)
        told["events"] = json.dumps(list(engine.events(since=began, until=int(time.time()) + 1, decode=True)))
        server.shutdown()
    assert [code for code, _said in ran] == [0] * len(ran), [said[-3000:] for code, said in ran if code]
    assert name in told["events"] and re.search(rf"inspect {name}", " ".join(told)) and "docker" in ran[1][1]
    environments = {key: told.pop(key) for key in [*told] if key.startswith("environment of")}
    assert set().union(*map(planted.found, environments.values())) == KNOWS
    for written in (tmp_path / "given", tmp_path / "tls"):  # By users themselves.
        shutil.rmtree(written)
    seen = {f"run {number}": said for number, (_code, said) in enumerate(ran)}
    seen.update(told, syslog="\n".join(lines), processes="\n".join(processes))
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    keys = {path for path in files if path.name == configuration.TLS_FILE}
    assert keys and not any(path.stat().st_mode & 0o077 for path in keys)
    seen.update((str(path), path.read_text("utf-8", "replace")) for path in files - keys)
    assert len(planted) >= 20
    assert {what: places for what, text in seen.items() if (places := planted.found(text))} == {}


class Registry(http.server.BaseHTTPRequestHandler):
    """A registry that denies everything, and names addresses with secrets. The engine quotes it."""

    def do_GET(self):
        message = f"ask http://u:{planting.SECRET}@h/x or http://h/y?sig={planting.TOKEN} or u:{planting.SECRET}@h:8080"
        body = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
        self.send_response(200 if self.path == "/v2/" else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_arguments):
        """Say nothing."""


def test_what_the_engine_says(engine):
    """Failed builds and pulls: the steps, the errors, and the registry's own words."""
    client, lines, context = Engine(), [], io.BytesIO()
    address = f"http://user:{planting.SECRET}@127.0.0.1:9/a?sig={planting.TOKEN}"
    with tarfile.open(fileobj=context, mode="w") as packed:
        text = f"FROM scratch\nADD {address} /a\n".encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        packed.addfile(entry, io.BytesIO(text))
    context.seek(0)
    with pytest.raises(BuildFailed) as failed:
        client.build(context, lines.append)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        name = f"127.0.0.1:{server.server_address[1]}/a:1"
        for call in (client.pull, client.in_registry):
            with pytest.raises(FleetError) as refused:
                call(name)
            lines.append(str(refused.value))
        server.shutdown()
    said = "\n".join([*lines, failed.value.words])
    assert "127.0.0.1:9/a" in said and said.count("ask http://h/x or http://h/y or h:8080") == 2, said
    assert planting.SECRET not in said and planting.TOKEN not in said, said
