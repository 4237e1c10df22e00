# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in options of modules: in nothing that the module prints, which is more than Ansible shows at -vvv, and not in the host's syslog."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import downloads, urls
from ansible_collections.tfserving.fleet.tests.support import made, modules

SECRET = "hunter2-Zq8!x"
QUOTED = urllib.parse.quote(SECRET)
TOKEN = "ghp_Zq8x7Lw3Vn1Rt5"
SIGNED = "http://127.0.0.1:9/m.tar.gz?X-Amz-Credential=AKIAZQ8&X-Amz-Signature=5d672d79c15b13162d9279b0855cfba6"
VERSION = {"path": "the test's own", "remote_src": True}
SERVER = {"name": "m", "image": "i", "engine_socket": "/nonexistent.sock", "model_name": "m", "model_base_path": "/m"}
IMAGE = {"recipe": {"image": "i"}, "state": "built", "engine_socket": "/nonexistent.sock"}
CALLS = [
    ("model_version", {**VERSION, "source": f"https://{TOKEN}@127.0.0.1:9/m.tar.gz"}),
    ("model_version", {**VERSION, "source": [f"https://{TOKEN}@127.0.0.1:9/m.tar.gz"]}),
    ("model_version", {**VERSION, "source": {"url": f"https://user:{QUOTED}@127.0.0.1:9/m.tar.gz"}}),
    ("model_version", {**VERSION, "source": f"https://user:{QUOTED}@127.0.0.1:9/m.tar.gz#{TOKEN}"}),
    ("model_version", {**VERSION, "source": f"gs://{TOKEN}@bucket/m"}),
    ("model_version", {**VERSION, "source": f"ftp://user:{QUOTED}@127.0.0.1:9/m.tar.gz"}),
    ("model_version", {**VERSION, "source": f"https://user:{QUOTED}@127.0.0.1:9/m?token={TOKEN}"}),
    ("model_version", {**VERSION, "source": f"https://127.0.0.1:9?token={TOKEN}"}),
    ("model_version", {**VERSION, "source": f"https://user:{QUOTED}@[::1/m.tar.gz"}),
    ("model_version", {**VERSION, "source": SIGNED}),
    ("model_version", {**VERSION, "source": f" https://user:{SECRET}@127.0.0.1:9/m.tar.gz"}),
    ("model_version", {**VERSION, "source": f"git clone https://user:{SECRET}@127.0.0.1:9/m.tar.gz"}),
    *(("model_version", {**VERSION, "source": f"https://user:{SECRET}{mark}y@127.0.0.1:9/m.tar.gz"}) for mark in "#?/"),
    ("model_version", {**VERSION, "source": f"https://{TOKEN}:x-oauth-basic@127.0.0.1:9/m.tar.gz"}),
    ("model_conversion", {"source": f" https://u:{SECRET}@h/m", "destination": "/nonexistent/m", "form": "none"}),
    ("serving_image", {**IMAGE, "proxies": {"https_proxy": f" http://user:{QUOTED}@127.0.0.1:9"}}),
    ("model_server", {**SERVER, "environment": {"HOSTS": f"http://a:b@h,http://user:{SECRET}@h"}}),
    ("model_server", {**SERVER, "registry_login": f"user:{SECRET}"}),
    ("model_server", {**SERVER, "registry_login": ["user", SECRET]}),
    ("model_server", {**SERVER, "registry_login": [{"username": "user", "password": SECRET}]}),
    ("model_server", {**SERVER, "registry_login": f'{{"username": "user", "password": "{SECRET}'}),
    ("model_server", {**SERVER, "registry_login": f"username=user password={SECRET}"}),
    ("model_server", {**SERVER, "registry_login": {"username": "user", "passwort": SECRET}}),
    ("model_server", {**SERVER, "secret_environment": f"KEY={SECRET}"}),
    ("model_server", {**SERVER, "secret_environment": ["KEY", SECRET]}),
    ("serving_image", {**IMAGE, "proxies": {"https_proxy": f"http://user:{QUOTED}@127.0.0.1:9"}}),
    ("serving_image", {**IMAGE, "proxies": f"http://user:{QUOTED}@127.0.0.1:9"}),
    ("serving_image", {**IMAGE, "mirrors": {"https://github.com/": f"https://{TOKEN}@127.0.0.1:9/"}}),
    ("serving_image", {**IMAGE, "recipe": {"image": "i", "sources": {"archive": SIGNED}}}),
    ("serving_image", {**IMAGE, "proxies": {"https_proxy": f"user:{SECRET}@proxy"}}),
    ("serving_image", {**IMAGE, "proxies": f"user:{SECRET}@proxy:3128"}),
    ("serving_image", {**IMAGE, "mirrors": {"https://h/": f"user:{SECRET}@mirror/x"}}),
    ("serving_image", {**IMAGE, "registry": f"user:{SECRET}@registry.example.com"}),
    ("model_version", {**VERSION, "source": f"user:p@ss/{SECRET}@h/m.tar.gz"}),
    ("model_version", {**VERSION, "source": f"HTTPS:/user:{SECRET}@127.0.0.1:9/m.tar.gz"}),
    ("model_version", {**VERSION, "source": f"https://user:p@ss/{SECRET}@127.0.0.1:9/m.tar.gz"}),
    ("model_version", {**VERSION, "source": f"https%3A%2F%2Fuser%3A{QUOTED}%40127.0.0.1/m.tar.gz"}),
]


@pytest.mark.parametrize(("module", "options"), CALLS, ids=range(len(CALLS)))
def test_what_a_module_prints(module, options, tmp_path):
    process = modules.start(module, **_in(tmp_path, options))
    printed = "".join(process.communicate(timeout=120))
    assert '"failed": true' in printed
    for secret in (SECRET, QUOTED, TOKEN, "5d672d79c15b13162d9279b0855cfba6"):
        assert secret not in printed


def _in(directory, options):
    """The options of a call, with a path of the test's own where there is one."""
    return {**options, "path": directory / "models"} if "path" in options else options


@contextlib.contextmanager
def syslog():
    """What programs write to the host's syslog meanwhile, as syslog(3) sends it."""
    found = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("/dev/log")
        listening.settimeout(1)
        ended = threading.Event()

        def listen():
            while True:
                try:
                    found.append(listening.recv(1 << 16).decode("utf-8", "replace"))
                except TimeoutError:
                    if ended.is_set():
                        return

        reader = threading.Thread(target=listen)
        reader.start()
        try:
            yield found
        finally:
            ended.set()
            reader.join()
            os.unlink("/dev/log")


@pytest.mark.skipif(os.geteuid() != 0 or os.path.exists("/dev/log"), reason="needs root, and no other syslog")
def test_what_a_module_tells_the_syslog(tmp_path):
    with syslog() as lines:
        for module, options in CALLS[::3]:
            modules.call(module, **_in(tmp_path, options))
    said = "\n".join(lines)
    assert "Invoked with" in said and "remote_src=True" in said
    for secret in (SECRET, QUOTED, TOKEN, "5d672d79c15b13162d9279b0855cfba6"):
        assert secret not in said


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"https://{TOKEN}@host/a/b.tgz", "https://host/a/b.tgz"),
        (f"https://u:{QUOTED}@host:8443/a?b=c/d@e", "https://host:8443/a"),
        (" https://u:p@host/a", " https://host/a"),
        ("https://u:p/a?b#c@host/a", "https://host/a"),
        ("https://[::1]:80/a@b", "https://[::1]:80/a@b"),
        ("https://host:80/a@b", "https://host:80/a@b"),
        ("https://host?token=abc", "https://host"),
        ("s3://bucket/a#b", "s3://bucket/a"),
        ("/srv/a@b?c", "/srv/a@b?c"),
    ],  # Other forms are in tests/unit/core/test_urls.py.
)
def test_what_of_an_address_is_shown(address, shown):
    assert urls.public(address) == shown


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", self.server.target)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_arguments):
        """Say nothing."""


@contextlib.contextmanager
def serving(target, tls=None):
    """The address of a server that redirects to target."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    server.target = target
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/", "ftp://127.0.0.1:9/x", "HTTP://127.0.0.1:9/"])
def test_redirects_to_less_protection(tmp_path, target):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout"
    subprocess.run(["openssl", *words.split(), key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(target, tls) as address:
        result = modules.call(
            "model_version",
            **_in(tmp_path, VERSION),
            source=f"{address}/m.tar.gz",
            environment={"SSL_CERT_FILE": str(certificate)},
        )
        assert result["failed"] and "which is not followed" in result["msg"], result


def test_redirects_that_protect_as_much():
    with serving("/nowhere") as address, pytest.raises(Exception, match="infinite loop"):
        downloads.opener().open(address, timeout=10)
    with serving("ftp://127.0.0.1:9/x") as address, pytest.raises(Exception, match="which is not followed"):
        downloads.opener().open(address, timeout=10)


class Planted:
    """Secrets, a new one for each place. found() says which of them stand in texts, also quoted, or as a digest that needs no key."""

    def __init__(self):
        self._of = {}

    def __call__(self, place):
        self._of[place] = f"{len(self._of)}Zq!{secrets.token_hex(8)}"
        return self._of[place]

    def known(self, place, secret):
        """A secret that is made elsewhere."""
        self._of[place] = f"!{secret}"

    def quoted(self, place):
        return urllib.parse.quote(self(place))

    def found(self, text):
        return {place for place, secret in self._of.items() if any(form in text for form in self._forms(secret))}

    def __len__(self):
        return len(self._of)

    @staticmethod
    def _forms(secret):
        return (
            secret.partition("!")[2],
            hashlib.sha256(secret.encode()).hexdigest(),
            hashlib.md5(secret.encode()).hexdigest(),
        )


@contextlib.contextmanager
def process_list():
    """The command lines of all processes that are seen meanwhile, as ps(1) shows them."""
    found, ended = set(), threading.Event()

    def look():
        while not ended.wait(0.2):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    found.add(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        yield found
    finally:
        ended.set()
        reader.join()


def tasks(planted, address, directory):
    """Tasks of a user's own, each with a secret that somebody put there; most of them fail."""
    signed = f"{address}/m.tar.gz?X-Amz-Credential=AKIA&X-Amz-Signature={planted.quoted('signature of a source')}"
    model = {"path": str(directory / "model" / "own"), "remote_src": True, "version": 1}
    server = {
        "name": "m",
        "image": "i",
        "engine_socket": "/nonexistent.sock",
        "model_name": "m",
        "model_base_path": "/m",
    }
    image = {"recipe": {"image": "i"}, "state": "built", "engine_socket": "/nonexistent.sock"}
    host = address.partition("://")[2]
    calls = [
        ("model_version", {**model, "source": signed}),
        ("model_version", {**model, "source": f"http://user:{planted.quoted('password of a source')}@{host}/m.tar.gz"}),
        ("model_version", {**model, "source": f"http://{planted.quoted('token of a source')}@{host}/m.tar.gz"}),
        ("model_version", {**model, "source": f"{address}/m.tar.gz?token={planted.quoted('query of a source')}"}),
        ("model_version", {**model, "source": f"{address}/m.zip#{planted.quoted('fragment of a source')}"}),
        ("model_version", {**model, "source": [f"http://{planted.quoted('source in a list')}@{host}/m.tar.gz"]}),
        (
            "model_version",
            {**model, "source": {"url": f"http://u:{planted.quoted('source in a mapping')}@{host}/m.tar"}},
        ),
        ("model_version", {**model, "source": f"u:{planted.quoted('source without a scheme')}@{host}/m.tar.gz"}),
        ("model_version", {"path": model["path"], "source": f"u:{planted.quoted('source of the controller')}@h/m.tar"}),
        ("serving_image", {**image, "proxies": {"http_proxy": f"u:{planted.quoted('proxy without a scheme')}@h:9"}}),
        ("model_server", {**server, "registry_login": {"username": "u", "password": planted("login")}}),
        ("model_server", {**server, "registry_login": f"user:{planted('login as a text')}"}),
        ("model_server", {**server, "registry_login": ["user", planted("login as a list")]}),
        ("model_server", {**server, "registry_login": [{"username": "u", "password": planted("logins in a list")}]}),
        ("model_server", {**server, "registry_login": {"username": "u", "passwort": planted("misspelt login")}}),
        ("model_server", {**server, "registry_login": '{"username": "u", "password": "' + planted("broken login")}),
        ("model_server", {**server, "secret_environment": {"KEY": planted("environment of a container")}}),
        ("model_server", {**server, "secret_environment": f"KEY={planted('environment as a text')}"}),
        ("model_server", {**server, "secret_environment": ["KEY", planted("environment as a list")]}),
        ("serving_image", {**image, "proxies": {"https_proxy": f"http://u:{planted.quoted('proxy')}@127.0.0.1:9"}}),
        ("serving_image", {**image, "proxies": f"http://u:{planted.quoted('proxy as a text')}@127.0.0.1:9"}),
        ("serving_image", {**image, "mirrors": {"https://a/": f"https://{planted.quoted('mirror')}@127.0.0.1:9/"}}),
        (
            "serving_image",
            {
                **image,
                "recipe": {"image": "i", "sources": {"archive": f"{address}/s.tgz?k={planted.quoted('sources')}"}},
            },
        ),
    ]
    return [{f"tfserving.fleet.{name}": options, "ignore_errors": True} for name, options in calls]


@pytest.mark.skipif(os.geteuid() != 0 or os.path.exists("/dev/log"), reason="needs root, and no other syslog")
def test_whole_path(tmp_path):
    """The site playbook and tasks around it, at the highest verbosity, in check mode and for real."""
    planted, models = Planted(), made.by_program(Path(__file__).parents[1] / "integration" / "make_models.py")
    (tmp_path / "served").mkdir()
    shutil.make_archive(str(tmp_path / "served" / "m"), "gztar", models / "half_plus_two" / "1")
    folders = {f"tfserving_{name}_directory": str(tmp_path / name) for name in ("model", "state", "tunings", "report")}
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tfserving_python": sys.executable,
        "tfserving_backend": "embedded",
        "tfserving_embedded_allow_root": True,
        "tfserving_convert_user": "root",
        "tfserving_version": "2.20.0",
        "tfserving_models": [{"name": "half", "source": str(models / "half_plus_two" / "1"), "optimize": "none"}],
        "tfs_server_grpc_port": 0,
        "tfs_server_rest_port": 0,
        "tfs_tuning_models": [],
        "tfs_server_registry_login": {"username": "u", "password": planted("login of the server")},
        "tfs_image_build": {
            "proxies": {"https_proxy": f"http://u:{planted.quoted('proxy of the role')}@127.0.0.1:9"},
            "mirrors": {"https://a/": f"https://{planted.quoted('mirror of the role')}@127.0.0.1:9/"},
        },
        **folders,
    }
    wrong = {
        "key": {"tfs_server_secret_environment": {"API_KEY": planted("environment of the embedded server")}},
        "login": {"tfs_server_registry_login": f"user:{planted('login of the role as a text')}"},
        "logins": {"tfs_server_registry_login": [planted("login of the role in a list")]},
        "environment": {"tfs_server_secret_environment": f"A={planted('environment of the role as a text')}"},
        "proxies": {"tfs_image_build": {"proxies": f"http://u:{planted.quoted('proxies of the role as a text')}@h:9"}},
        "source": {
            "tfserving_models": [{"name": "m", "source": f"https://{planted.quoted('source of the role')}@h/m.tar"}]
        },
        "path": {"tfserving_models": [{"name": "m", "source": f"u:{planted.quoted('role without a scheme')}@h/m.tar"}]},
    }
    hosts = {"one": host}, {name: {**host, **variables} for name, variables in wrong.items()}
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        syslog() as lines,
        process_list() as processes,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = tasks(planted, f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
        play = [{"hosts": "all", "gather_facts": False, "tasks": own}]
        written = {
            "own.yml": play,
            "right.json": {"all": {"hosts": hosts[0]}},
            "wrong.json": {"all": {"hosts": hosts[1]}},
        }
        (tmp_path / "given").mkdir()
        for name, content in written.items():
            (tmp_path / "given" / name).write_text(json.dumps(content), encoding="utf-8")

        def run(inventory, *words):
            done = subprocess.run(
                [Path(sys.executable).parent / "ansible-playbook", "-i", f"given/{inventory}", "--diff", *words],
                cwd=tmp_path,
                env=dict(
                    os.environ,
                    ANSIBLE_HOME=str(tmp_path / "home"),
                    ANSIBLE_LOG_PATH=str(tmp_path / "log"),
                    ANSIBLE_REMOTE_TMP=str(tmp_path / "remote"),
                    ANSIBLE_CACHE_PLUGIN="jsonfile",
                    ANSIBLE_CACHE_PLUGIN_CONNECTION=str(tmp_path / "facts"),
                    XDG_CACHE_HOME=str(tmp_path / "cache"),
                ),
                capture_output=True,
                text=True,
                check=False,
                timeout=900,
            )
            return done.returncode, done.stdout + done.stderr

        verbose = ("-vvvv", "given/own.yml", "tfserving.fleet.site")
        ran = [run("right.json", "--check", *verbose), run("right.json", *verbose), run("wrong.json", *verbose[::2])]
        run("right.json", "tfserving.fleet.deploy", "-e", "tfs_server_state=absent")
        server.shutdown()
    assert [code for code, _said in ran[:2]] == [0, 0] and ran[2][0] != 0, ran[1][1][-3000:]
    assert "half: saved_model" in ran[1][1] and "API_KEY" in ran[2][1]
    assert list((tmp_path / "facts").iterdir()) and any("ansible-playbook" in line for line in processes)
    shutil.rmtree(tmp_path / "given")  # What users wrote themselves.
    seen = {"check mode": ran[0][1], "output": ran[1][1], "wrong types": ran[2][1], "syslog": "\n".join(lines)}
    seen["processes"] = "\n".join(processes)
    seen.update((str(path), path.read_text("utf-8", "replace")) for path in tmp_path.rglob("*") if path.is_file())
    assert len(planted) >= 20
    assert {name: places for name, text in seen.items() if (places := planted.found(text))} == {}
