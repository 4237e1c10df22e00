# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image registry of one's own: Debian's docker-registry in a container. What is pushed stays from run to run."""

from __future__ import annotations

import http.client
import json
import pathlib
import socket
import subprocess
import time

from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import PREFIX, locked

NAME, PORT = "registry.test", 5000
_USUAL_PORT = 15055
_READY_S = 300
_SECURED_CONFIGURATION = {
    "version": 0.1,
    "log": {"level": "warn"},
    "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "maintenance": {"readonly": {"enabled": True}}},
    "http": {"addr": f":{PORT}", "tls": {"certificate": "/etc/certificate.pem", "key": "/etc/key.pem"}},
    "auth": {"htpasswd": {"realm": "fleet", "path": "/etc/htpasswd"}},
}
# The registry takes passwords as bcrypt has them, which Debian's Python can make.
_SECURED = """echo "$CONFIGURATION" >/etc/secured.json; echo "$CERTIFICATE" >/etc/certificate.pem; echo "$KEY" >/etc/key.pem
python3 -W ignore -c 'import crypt, os
print(os.environ["USERNAME"], crypt.crypt(os.environ["PASSWORD"], crypt.mksalt(crypt.METHOD_BLOWFISH)), sep=":")' >/etc/htpasswd
exec docker-registry serve /etc/secured.json"""
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """The registry that the hosts of a network know as address; this machine's engine reaches it on loopback."""

    address = f"{NAME}:{PORT}"

    def __init__(self, engine, network, labels):
        self._engine = engine
        with locked("registry"):  # Between the look at the port and its use.
            host = engine.api.create_host_config(
                port_bindings={PORT: ("127.0.0.1", _port())},
                init=True,
                binds={f"{PREFIX}-registry": {"bind": "/var/lib/registry"}},
            )
            made = engine.api.create_container(
                images.host(engine).id,
                ["docker-registry", "serve", "/etc/registry.yml"],
                host_config=host,
                ports=[PORT],
                labels=labels,
                networking_config=engine.api.create_networking_config(
                    {network.name: engine.api.create_endpoint_config(aliases=[NAME])}
                ),
            )
            engine.api.start(made["Id"])
        self.container = engine.containers.get(made["Id"])
        self._find()

    def restart(self):
        """Kill it and start it again; this machine may reach it at another port then."""
        self.container.kill()
        self.container.start()
        self._find()

    def publish(self, image, name="tfserving"):
        """Push an image unless it is there; returns its reference by digest as the hosts write it, registry.test:5000/tfserving@sha256:…"""
        tag = image.id.partition(":")[2][:12]
        with locked("registry"):
            digest = self.digest(name, tag)
            if digest is None:
                self._engine.images.remove(self.push(image, name, tag), noprune=True)
                digest = self.digest(name, tag)
        return f"{self.address}/{name}@{digest}"

    def push(self, image, name, tag):
        """Push an image under a tag, which may have been another's; returns its name as this machine's engine knows it."""
        repository = f"127.0.0.1:{self._port}/{name}"
        image.tag(repository, tag)
        for line in self._engine.images.push(repository, tag, stream=True, decode=True):
            if "error" in line:
                raise RuntimeError(f"{repository}:{tag}: {line['error']}")
        return f"{repository}:{tag}"

    def digest(self, name, tag):
        """The digest of what the registry has under a tag, or None."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": _MANIFEST})
            answer = connection.getresponse()
            return answer.getheader("Docker-Content-Digest") if answer.status == 200 else None
        finally:
            connection.close()

    def _find(self):
        self.container.reload()
        self._port = int(self.container.attrs["NetworkSettings"]["Ports"][f"{PORT}/tcp"][0]["HostPort"])
        end = time.monotonic() + _READY_S
        while True:
            try:
                self.digest("nothing", "yet")
                return
            except OSError:
                if time.monotonic() > end:
                    raise RuntimeError(
                        f"the registry does not answer: {self.container.logs(tail=20).decode(errors='replace')}"
                    ) from None
                time.sleep(0.1)


class SecuredRegistry:
    """A second registry with the images of the first, which asks for a login and has a certificate that nobody knows: see certificates and login."""

    name = "secured.test"
    address = f"{name}:{PORT}"
    login = {"username": "fleet", "password": "pa55-w0rd-0f-th3-t3st"}

    def __init__(self, engine, network, labels, directory):
        """directory: where the key and the certificate are made on this machine."""
        self.certificates, key = pathlib.Path(directory) / "certificate.pem", pathlib.Path(directory) / "key.pem"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                key,
                "-out",
                self.certificates,
                "-days",
                "2",
                "-subj",
                f"/CN={self.name}",
                "-addext",
                f"subjectAltName=DNS:{self.name}",
            ],
            check=True,
            capture_output=True,
        )
        host = engine.api.create_host_config(
            init=True, binds={f"{PREFIX}-registry": {"bind": "/var/lib/registry", "mode": "ro"}}
        )
        made = engine.api.create_container(
            images.host(engine).id,
            ["sh", "-c", _SECURED],
            host_config=host,
            labels=labels,
            environment={
                "CONFIGURATION": json.dumps(_SECURED_CONFIGURATION),
                "CERTIFICATE": self.certificates.read_text(encoding="ascii"),
                "KEY": key.read_text(encoding="ascii"),
                "USERNAME": self.login["username"],
                "PASSWORD": self.login["password"],
            },
            networking_config=engine.api.create_networking_config(
                {network.name: engine.api.create_endpoint_config(aliases=[self.name])}
            ),
        )
        engine.api.start(made["Id"])
        self.container = engine.containers.get(made["Id"])
        self._wait()

    def reference(self, reference):
        """A reference of the first registry as one of this."""
        return reference.replace(Registry.address, self.address, 1)

    def _wait(self):
        (attached,) = self.container.attrs["NetworkSettings"]["Networks"].values()
        end = time.monotonic() + _READY_S
        while True:
            try:
                with socket.create_connection((attached["IPAddress"], PORT), timeout=2):
                    return
            except OSError:
                if time.monotonic() > end:
                    raise RuntimeError(
                        f"the registry does not answer: {self.container.logs(tail=20).decode(errors='replace')}"
                    ) from None
                time.sleep(0.1)


def _port():
    """The same port each time where it is free, since an engine knows by a registry's address which layers it need not compress and send again."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _USUAL_PORT))
        except OSError:
            return None
    return _USUAL_PORT
