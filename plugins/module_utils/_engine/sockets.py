# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that queries the container engine of a host over its socket: Docker, or Podman, which has a compatible API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Engine, Sdk

TIMEOUT_S = 10.0  # Podman runs programs to describe itself, which is slow on a busy host.
PATIENT_S = 30.0  # If the engine is used, not only detected.
_DENIED = "permission denied"
_MOST_BYTES = 4 << 20
_LONGEST = 128
_USER = re.compile(r"//[^/@]*@")  # of an address; a password may stand there
_SYSTEM_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
_PROGRAMS = (("docker", "usr/bin/dockerd"), ("docker", "usr/local/bin/dockerd"), ("podman", "usr/bin/podman"))
_PODMANS_CDI_DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_SHIMS = ("io.containerd.runc.", "io.containerd.runtime.")  # other names of runc, which Docker 20.10 lists in addition
_NONE: Engine = {
    "engine": None,
    "version": None,
    "api_version": None,
    "socket": None,
    "answers": False,
    "reason": None,
    "runtimes": [],
    "cdi_directories": [],
}


def find(files: Files, socket_path: str | None = None, timeout_s: float = TIMEOUT_S) -> Engine:
    """Return the first engine of a host that answers, or else the first one with the reason why it does not answer.

    socket_path: the only socket to query, instead of DOCKER_HOST's or the usual places. timeout_s: for each.
    """
    socket_path, problem = address(socket_path, os.environ if files.root == "/" else {})
    if problem:
        return {**_NONE, "engine": "docker", "reason": problem}
    user = f"/run/user/{os.getuid()}"
    candidates = (
        [socket_path] if socket_path else [*_SYSTEM_SOCKETS, f"{user}/docker.sock", f"{user}/podman/podman.sock"]
    )
    silent = None
    for candidate in candidates:
        if socket_path or files.exists(candidate):
            found = _describe(candidate, files, timeout_s)
            if found["answers"]:
                return found
            # Why this user's own engine does not answer matters more than that another user's engine denies access.
            silent = found if silent is None or (silent["reason"] or "").startswith(_DENIED) else silent
    return silent or _installed(files)


def address(given: str | None, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (the socket to use or None for the usual places, why it cannot be used or None). The argument precedes DOCKER_HOST."""
    name, value = ("engine_socket", given) if given else ("DOCKER_HOST", environment.get("DOCKER_HOST"))
    value = (value or "").strip()
    scheme, mark, rest = value.partition("://")
    if not value:
        return None, None
    if mark and scheme == "unix":
        return "/" + rest.lstrip("/") if rest.strip("/") else _SYSTEM_SOCKETS[0], None
    if value.startswith("/"):
        return value, None
    shown = _USER.sub("//(not shown)@", value)[:_LONGEST]
    return None, (
        f"{name} is {shown!r}, but only the unix socket of an engine on this host can be used: "
        "unset it, or set a socket (tfserving_engine_socket)"
    )


def sdk() -> Sdk:
    """Describe the Docker SDK of this Python. It may be importable but unable to use a socket with the installed requests and urllib3."""
    version = None
    try:
        import docker

        version = str(docker.DockerClient and docker.__version__)[:_LONGEST]
        import requests

        session = requests.Session()
        session.mount("http+docker://", docker.transport.UnixHTTPAdapter(f"http+unix://{os.devnull}"))
        with contextlib.suppress(requests.exceptions.ConnectionError):
            session.get("http+docker://localhost/_ping")
        return {"version": version, "problem": None}
    except Exception as fault:  # a broken package may raise anything
        return {"version": version, "problem": " ".join(str(fault).split())[:_LONGEST] or type(fault).__name__}


def ask(path: str, what: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Return the JSON object of an engine's answer to GET what. Raise OSError without a connection, ValueError for an invalid answer."""
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        connection.sendall(f"GET {what} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        answer = b""
        while True:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(65536)
            if not part:
                break
            answer += part
            if len(answer) > _MOST_BYTES:
                raise ValueError("the answer is too long")
    head, _blank, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise ValueError(f"the answer to {what} begins with {status[:60]!r}")
    try:
        found = json.loads(body)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"the answer to {what} is not a JSON object")
    return found


def _describe(path: str, files: Files, timeout_s: float) -> Engine:
    guess = "podman" if "podman" in path else "docker"
    try:
        version, information = (ask(files.path(path), what, timeout_s) for what in ("/version", "/info"))
    except (OSError, ValueError) as fault:
        return {**_NONE, "engine": guess, "socket": path, "reason": _reason(fault, path, timeout_s)}
    podman = "Podman Engine" in [
        component.get("Name") for component in _list(version.get("Components")) if isinstance(component, dict)
    ]
    return {
        **_NONE,
        "engine": "podman" if podman else "docker",
        "version": _text(version.get("Version")),
        "api_version": _text(version.get("ApiVersion")),
        "socket": path,
        "answers": True,
        "runtimes": sorted(
            name for name in map(str, _list(information.get("Runtimes"))) if not name.startswith(_SHIMS)
        ),
        "cdi_directories": sorted(map(str, _list(information.get("CDISpecDirs"))))
        or _default_cdi_directories(podman, files),
    }


def _default_cdi_directories(podman: bool, files: Files) -> list[str]:
    """Return the default CDI directories of Podman, which does not report them. Docker reports them (25 and later, if the feature is on)."""
    return [directory for directory in _PODMANS_CDI_DIRECTORIES if podman and files.exists(directory)]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, dict)) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _installed(files: Files) -> Engine:
    """Return an engine that is installed but has no socket, or no engine."""
    for name, program in _PROGRAMS:
        if files.exists(program):
            return {
                **_NONE,
                "engine": name,
                "reason": f"{name} is installed, but has no socket: start {name}.socket or {name}.service",
            }
    return {**_NONE}


def _reason(fault: Exception, path: str, timeout_s: float) -> str:
    if isinstance(fault, PermissionError):
        return f"{_DENIED} at {path}: join the group that owns it, or become root"
    if isinstance(fault, ConnectionRefusedError):
        return f"nothing listens at {path}: start the engine"
    if isinstance(fault, socket.timeout):
        return f"no answer at {path} within {timeout_s:g} s"
    if isinstance(fault, FileNotFoundError):
        return f"there is no socket at {path}"
    return f"cannot query {path}: {getattr(fault, 'strerror', None) or fault}"
