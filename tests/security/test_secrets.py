# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in options of modules: in nothing that the module prints, which is more than Ansible shows at -vvv, and not in the host's syslog."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import ssl
import subprocess
import threading
import urllib.parse

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import downloads, urls
from ansible_collections.tfserving.fleet.tests.support import modules

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
        ("https://host?token=abc", "https://host"),
        ("s3://bucket/a#b", "s3://bucket/a"),
        ("/srv/a@b?c", "/srv/a@b?c"),
    ],
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
