# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the containers of an engine, by id or name: create, rename, stop and inspect them, and read their logs."""

from __future__ import annotations

import calendar
import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine, sockets

_LOG_LINES = 400
# Limits that an engine may accept and ignore, and the options that set them.
_LIMITS = {"Memory": "memory_mib", "CpusetCpus": "cpu_set"}
_TOP_S = 10.0
_PROCESSES = ("-eo%20pid", "hpid")  # Docker passes this to ps; Podman has its own name for process ids of the host.


class Containers(engine.Engine):
    """An engine and its containers."""

    def container_on(self, port: int) -> str | None:
        """Return 'container NAME' of the container that publishes a port of the host, or None."""
        with self._asking("containers"):
            listed = self.api.containers()
        names = [
            one["Names"][0].lstrip("/")
            for one in listed
            for published in one.get("Ports") or ()
            if published.get("PublicPort") == port
        ]
        return f"container {names[0]}" if names else None

    def inspect(self, container: str) -> Any:
        """Return what the engine knows about a container, as its API returns it."""
        with self._asking(f"container {container}"):
            return self.api.inspect_container(container)

    def fetch(self, reference: str, login: Mapping[str, str] | None = None) -> None:
        """Pull an image. login: username and password. Raises FleetError."""
        try:
            with self._asking("pull"):
                self._follow(self.api.pull(reference, stream=True, decode=True, auth_config=login), "pull")
        except engine.HelperFault:
            raise
        except FleetError as fault:
            raise FleetError(
                f"cannot pull {reference!r}: {fault.what}",
                where="image",
                remedy="Check its name, the registry and the login, or load the image on the host first.",
            ) from fault

    def is_rootless(self) -> bool:
        """Return whether the engine runs as an ordinary user. Docker lists it in its security options, Podman has a separate key."""
        information = self.information()
        return bool(information.get("Rootless")) or any(
            "name=rootless" in option for option in information.get("SecurityOptions") or ()
        )

    def id_offset(self) -> tuple[int, int]:
        """Return what a Docker Engine with userns-remap adds to the user and group ids of containers on the host: (0, 0) without it."""
        return offset_of(self.information())

    def entry_point(self, image: str) -> list[str]:
        """Return the entry point of an image."""
        with self._asking(f"image {image}"):
            return (self.api.inspect_image(image).get("Config") or {}).get("Entrypoint") or []

    def make(self, name: str, body: Mapping[str, Any]) -> None:
        """Create a container without starting it. Raise FleetError also if the engine ignored a limit."""
        try:
            with self._asking(f"container {name}"):
                self.api.create_container_from_config(body, name=name)
        except FleetError as fault:
            if "container-init binary" not in fault.what:
                raise
            raise FleetError(
                fault.what, fault.where, "Install catatonit, which Podman runs as a container's first process."
            ) from fault
        requested, actual = body["HostConfig"], self.inspect(name)["HostConfig"]
        for limit, option in _LIMITS.items():
            if requested.get(limit) and not actual.get(limit):
                raise FleetError(
                    "the engine ignores this limit, as a rootless engine without a delegated cgroup does",
                    where=option,
                    remedy="Omit it, use the engine of root, or delegate the cgroup (version 2) to the user.",
                )

    def stop(self, container: str, grace_s: float) -> None:
        """End a container with SIGTERM, forcibly after grace_s seconds."""
        with self._asking(f"stop {container}"):
            self.api.stop(container, timeout=int(grace_s))

    def rename(self, container: str, name: str) -> None:
        """Give a container another name."""
        with self._asking(f"rename {container}"):
            self.api.rename(container, name)

    def last_lines(self, container: str, since: str | None = None) -> str:
        """Return the last lines of a container's log. since: the engine's time of its start, to leave out earlier lines."""
        begun = {"since": _seconds(since)} if since else {}
        with self._asking(f"log of {container}"):
            log: bytes = self.api.logs(container, tail=_LOG_LINES, **begun)
        return log.decode("utf-8", "replace")

    def process_ids(self, container: str) -> set[int]:
        """Return the ids of a container's processes on the host, or an empty set if the engine returns other ids."""
        first = self.inspect(container)["State"]["Pid"]
        for question in _PROCESSES:
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                answer = sockets.ask(
                    self.url.partition("unix://")[2],
                    f"/containers/{container}/top?stream=false&ps_args={question}",
                    _TOP_S,
                )
                found = {int(row[0]) for row in answer["Processes"]}
                if first in found:
                    return found
        return set()


def offset_of(information: Mapping[str, Any]) -> tuple[int, int]:
    """Return id_offset() from an engine's description. Docker keeps the files of remapped ids in a folder named after them, such as 231072.231072."""
    found = re.search(r"/(\d+)\.(\d+)/?$", information.get("DockerRootDir") or "")
    remapped = any("name=userns" in option for option in information.get("SecurityOptions") or ())
    return (int(found[1]), int(found[2])) if found and remapped else (0, 0)


def _seconds(text: str) -> int:
    """Return the seconds since 1970 of a time as engines write it: 2026-11-27T04:05:06.123456789Z, or with an offset as Podman does."""
    offset = re.search(r"([+-])(\d\d):(\d\d)$", text)
    ahead = int(offset[1] + "1") * (3600 * int(offset[2]) + 60 * int(offset[3])) if offset else 0
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - ahead


def ports(inspected: Mapping[str, Any]) -> dict[int, tuple[str, int]]:
    """Return {port inside: (address, port)} that a container publishes now."""
    published = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    return {
        int(inside.partition("/")[0]): (places[0]["HostIp"], int(places[0]["HostPort"]))
        for inside, places in published.items()
        if places
    }
