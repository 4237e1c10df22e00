# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's HAProxy in front of a fleet's servers, on a host of its own that is reached over SSH like the others."""

from __future__ import annotations

import time

PORT = 8500
SOCKET = "/run/haproxy/admin.sock"
BACKEND = "serving"
_CONFIGURATION = """\
global
    stats socket {socket} mode 660 level admin
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout check 5s
    timeout client 1m
    timeout server {server_s}s
    option redispatch 1
frontend grpc
    bind :{port} proto h2
    default_backend {backend}
backend {backend}
{retries}    balance roundrobin
    # The engine's proxy takes connections before the server in the container listens, so only the server's own word counts.
    option httpchk
    http-check send meth GET uri /v1/models/{model} ver HTTP/1.1 hdr Host balancer
    http-check expect rstring AVAILABLE
"""
# Predict changes nothing, so a request that its server did not answer may go to another one.
_RETRIES = """\
    retries 3
    retry-on conn-failure empty-response response-timeout
    option http-buffer-request
"""
# HAProxy 2.6 takes no protocol of checks from a default-server line.
_SERVER = (
    "    server {name} {address}:{grpc_port} proto h2 check check-proto h1 port {rest_port} inter 500ms fall 2 rise 1\n"
)


class Balancer:
    """HAProxy on a host. address and port: what clients ask."""

    port = PORT

    def __init__(self, host):
        self.host, self.address = host, host.address

    def serve(self, hosts, model, grpc_port=8500, rest_port=8501, retries=False):
        """Balance over these hosts' servers of that model; what was balanced before is dropped when its requests have ended.
        retries: ask another server where one broke off or is silent for 5 s. Without, a request that is sent and not answered is lost, for all to see."""
        lines = [
            _SERVER.format(name=host.name, address=host.address, grpc_port=grpc_port, rest_port=rest_port)
            for host in hosts
        ]
        text = _CONFIGURATION.format(
            socket=SOCKET,
            port=PORT,
            backend=BACKEND,
            model=model,
            retries=_RETRIES if retries else "",
            server_s=5 if retries else 60,
        ) + "".join(lines)
        self.host.run("sh", "-c", "mkdir -p /run/haproxy && cat >/etc/haproxy/haproxy.cfg <<'END'\n" + text + "END")
        self.host.run("haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg")
        self.host.run(
            "sh",
            "-c",
            "if pid=$(cat /run/haproxy.pid 2>/dev/null) && kill -USR2 $pid; then exit; fi; "
            "setsid haproxy -W -db -p /run/haproxy.pid -f /etc/haproxy/haproxy.cfg >>/var/log/haproxy.log 2>&1 </dev/null &",
        )

    def states(self):
        """{host: UP, DOWN, DRAIN, MAINT …} as HAProxy sees them."""
        return {name: row["status"] for name, row in self._rows().items()}

    def wait_until_up(self, hosts, timeout_s=300):
        """Return when all of these hosts get requests."""
        end, seen = time.monotonic() + timeout_s, {}
        while time.monotonic() < end:
            try:
                seen = self.states()
            except (RuntimeError, ValueError):
                seen = {}
            if all(seen.get(host.name) == "UP" for host in hosts):
                return
            time.sleep(0.2)
        raise RuntimeError(f"not all servers are up behind the balancer after {timeout_s} s: {seen}")

    def _tell(self, command):
        return self.host.run("sh", "-c", f"echo '{command}' | socat -t10 stdio {SOCKET}")

    def _rows(self):
        """{host: HAProxy's statistics of it}"""
        told = ""
        while not told.strip():  # Now and then HAProxy closes a connection without a word.
            told = self._tell(f"show stat {BACKEND} 4 -1")
        titles, *rows = told.splitlines()
        found = [dict(zip(titles.lstrip("# ").split(","), row.split(","))) for row in rows if row]
        return {row["svname"]: row for row in found}
