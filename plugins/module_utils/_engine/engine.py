# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for images and containers of a container engine: Docker 20.10 and later, or Podman's compatible socket, through the Docker SDK for Python."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import os
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import sockets
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Image

docker: Any = None
requests: Any = None
SDK_REMEDY = "Install or upgrade it (apt-get install python3-docker, pip install -U docker), or set ansible_python_interpreter to another Python."
SOCKET = "/var/run/docker.sock"
_ANSWER_S = 120.0
_HELPER = re.compile(r"docker-credential-[\w.-]*\w")
_HELPER_REMEDY = "Install the helper for this account, or remove credsStore and credHelpers from the file and give the login to the task."
_PART_BYTES = 1 << 20


def load_sdk() -> bool:
    """Return whether Python has the Docker SDK. It is imported on first use, because that takes longer than all other imports of a module."""
    global docker, requests
    if docker is None:
        with contextlib.suppress(Exception):  # a broken package may raise anything
            for name in ("docker.credentials", "docker.errors", "docker.utils.config", "requests.exceptions"):
                importlib.import_module(name)
            docker, requests = importlib.import_module("docker"), importlib.import_module("requests")
    return docker is not None


def sdk_fault() -> FleetError | None:
    """Return a FleetError if the SDK cannot be used, else None."""
    problem = sockets.sdk()["problem"] or (None if load_sdk() else "the package is incomplete")
    if not problem:
        return None
    what = f"the Python that Ansible uses on this host cannot use the package docker (Docker SDK): {problem}"
    return FleetError(what, where="docker", remedy=SDK_REMEDY)


class Engine:
    """An engine. Faults are FleetErrors with the engine and the request."""

    def __init__(self, url: str | None = None) -> None:
        fault = sdk_fault()
        if fault:
            raise fault
        path, problem = sockets.address(url, os.environ)
        if problem:
            raise FleetError(problem, where="engine")
        self.url = f"unix://{path or sockets.find(Files(), timeout_s=sockets.PATIENT_S)['socket'] or SOCKET}"
        with self._asking("connect"):
            self.client = docker.DockerClient(base_url=self.url, timeout=_ANSWER_S)
            self.client.ping()
        self.api = self.client.api

    def information(self) -> Any:
        """Return the engine's description of its host: CPUs (NCPU), memory in bytes (MemTotal), its directory (DockerRootDir)."""
        with self._asking("its description"):
            return self.api.info()

    def image(self, reference: str) -> Image | None:
        """Return what the engine knows about an image by name or id, or None if it does not have it."""
        with self._asking(f"image {reference}"):
            try:
                found = self.api.inspect_image(reference)
            except docker.errors.ImageNotFound:
                return None
        return {
            "id": found["Id"],
            "labels": (found.get("Config") or {}).get("Labels") or {},
            "tags": found.get("RepoTags") or [],
            "digests": found.get("RepoDigests") or [],
            "size_bytes": found["Size"],
            "created": found.get("Created"),
            "architecture": found.get("Architecture") or None,
        }

    def images(self, label: str) -> list[Image]:
        """Return the images with a label ('name' or 'name=value'), as image() does, ordered by id."""
        with self._asking("images"):
            found = self.api.images(filters={"label": label})
        return [
            image for image in (self.image(each["Id"]) for each in sorted(found, key=lambda each: each["Id"])) if image
        ]

    def in_use(self, image_id: str) -> list[str]:
        """Return the names of the containers, running or not, that were made from an image."""
        with self._asking("containers"):
            found = self.api.containers(all=True)
        return sorted(name.lstrip("/") for each in found if each["ImageID"] == image_id for name in each["Names"])

    def tag(self, image_id: str, name: str) -> None:
        """Give an image a name."""
        repository, _colon, tag = name.rpartition(":")
        with self._asking(f"tag {name}"):
            self.api.tag(image_id, repository, tag, force=True)

    def remove_image(self, reference: str, keep_parents: bool = False) -> None:
        """Remove an image, or one of its names, if it is present."""
        with self._asking(f"remove image {reference}"), contextlib.suppress(docker.errors.ImageNotFound):
            self.api.remove_image(reference, force=True, noprune=keep_parents)

    def build(self, context: IO[bytes], on_line: Callable[[str], object], **options: Any) -> str:
        """Build from a context (an open tar file); on_line gets each line of output. Return the image's id. Raise BuildFailed with the builder's message."""
        built: str | None = None
        rest = ""
        arguments = dict(
            options, fileobj=context, custom_context=True, decode=True, rm=True, forcerm=True, timeout=None
        )
        # Closed before anything is cleared: an engine ends a build when its connection does.
        with contextlib.closing(self._answers("build", lambda: self.api.build(**arguments))) as events:
            for event in events:
                if "error" in event:
                    raise BuildFailed(urls.hidden(event["error"].strip()), (event.get("errorDetail") or {}).get("code"))
                built = (event.get("aux") or {}).get("ID") or built
                *lines, rest = (
                    (rest + event.get("stream", event.get("status", "") + "\n")).replace("\r", "\n").split("\n")
                )
                for line in lines:
                    on_line(urls.hidden(line))
        if not built:
            raise BuildFailed("the engine ended the build without an image", None)
        return built

    def pull(self, reference: str) -> None:
        """Pull an image by digest or tag."""
        with self._asking(f"pull {reference}"):
            self._follow(self.api.pull(reference, stream=True, decode=True), f"pull {reference}")

    def push(self, name: str) -> str:
        """Push a name to its registry; return the reference by digest."""
        digest: str | None = None
        repository, _colon, tag = name.rpartition(":")
        with self._asking(f"push {name}"):
            for event in self._follow(self.api.push(repository, tag=tag, stream=True, decode=True), f"push {name}"):
                digest = (event.get("aux") or {}).get("Digest") or digest
        if not digest:
            raise FleetError(f"the registry returned no digest for {name!r}", where="registry", remedy="Run again.")
        return f"{repository}@{digest}"

    def in_registry(self, name: str, login: Mapping[str, str] | None = None) -> str | None:
        """Return an image's reference by digest in a registry, or None if the registry does not have it. Raise FleetError if the registry does not answer."""
        with self._asking(f"registry of {name}"):
            try:
                found = self.api.inspect_distribution(name, auth_config=login)
            except docker.errors.NotFound:
                return None
            except docker.errors.APIError as fault:
                if (
                    "manifest unknown" in str(fault)
                    or "name unknown" in str(fault)
                    or "not found" in str(fault).lower()
                ):
                    return None
                raise FleetError(
                    _explanation(fault),
                    where=f"registry of {name}",
                    remedy="Make sure that the engine can connect to the registry and is logged in (docker login).",
                ) from fault
        repository = name.rpartition(":")[0]
        return f"{repository}@{found['Descriptor']['digest']}"

    def save(self, image_id: str) -> Iterator[bytes]:
        """Return the image as a stream of bytes: a tar archive as `docker load` takes it, without names."""
        return self._answers(f"save {image_id}", lambda: self.api.get_image(image_id, chunk_size=_PART_BYTES))

    def load(self, stream: Iterable[bytes]) -> None:
        """Load an archive, an iterable of bytes."""
        with self._asking("load"):
            self._follow(self.api.load_image(stream), "load")

    def create(
        self, image_id: str, command: Sequence[str] | None = None, files: bytes | None = None, **options: Any
    ) -> str:
        """Create a container without starting it, and return its id. files: a tar archive as bytes, unpacked at /."""
        with self._asking("container"):
            host_config = self.api.create_host_config(**options.pop("host", {}))
            made: str = self.api.create_container(image_id, command=command, host_config=host_config, **options)["Id"]
            try:
                if files:
                    self.api.put_archive(made, "/", files)
            except BaseException:
                self.remove_container(made)
                raise
        return made

    def start(self, container: str) -> None:
        """Start a container."""
        with self._asking("start"):
            self.api.start(container)

    def log(self, container: str, tail: str | int = "all") -> tuple[str, int | None]:
        """Return (the container's log as text, its exit status or None while it runs). container: name or id."""
        with self._asking(f"container {container}"):
            try:
                state = self.api.inspect_container(container)["State"]
            except (docker.errors.NotFound, docker.errors.NullResource):
                raise FleetError(
                    f"there is no container {container!r}",
                    where=self.url,
                    remedy="List the containers: docker ps --all.",
                ) from None
            text = self.api.logs(container, stdout=True, stderr=True, tail=tail).decode("utf-8", "replace")
        ended = not state.get("Running") and not str(state.get("StartedAt", "0001")).startswith("0001")
        return text, state["ExitCode"] if ended else None

    def log_lines(self, container: str) -> tuple[Iterator[str], int | None]:
        """Return log() with an iterable of lines, for logs of any length."""
        _text, status = self.log(container, tail=0)
        decode, rest = codecs.getincrementaldecoder("utf-8")("replace").decode, ""

        def lines() -> Iterator[str]:
            nonlocal rest
            for part in self._answers(
                f"log of {container}",
                lambda: self.api.logs(container, stdout=True, stderr=True, stream=True, follow=False),
            ):
                *whole, rest = (rest + decode(part)).split("\n")
                yield from whole
            yield rest

        return lines(), status

    def remove_container(self, container: str) -> None:
        """Stop and remove a container at once. If a killed run requested that already, wait until the engine has done it."""
        with self._asking(f"remove container {container}"), contextlib.suppress(docker.errors.NotFound):
            try:
                self.api.remove_container(container, force=True, v=True)
            except docker.errors.APIError as fault:
                if "already in progress" not in str(fault.explanation):
                    raise
                self.api.wait(container, condition="removed")

    def labelled(self, label: str) -> dict[str, str]:
        """Return {id: the label's value} of all containers with a label ('name' or 'name=value')."""
        with self._asking("containers"):
            return {
                each["Id"]: each["Labels"][label.partition("=")[0]]
                for each in self.api.containers(all=True, filters={"label": label})
            }

    def wait_until(self, container: str, done: Callable[[str], object], timeout_s: float) -> tuple[str, int | None]:
        """log() of a container as soon as done(text) holds or it ended; after timeout_s as it then is."""
        deadline = time.monotonic() + timeout_s
        while True:
            text, status = self.log(container)
            if status is not None or done(text) or time.monotonic() > deadline:
                return text, status
            time.sleep(0.2)

    def _answers(self, what: str, ask: Callable[[], Iterable[Any]]) -> Generator[Any, None, None]:
        """Yield what the engine streams. Only its own faults become FleetErrors, not those of the reader."""
        with self._asking(what):
            yield from ask()

    @staticmethod
    def _follow(events: Iterable[dict[str, Any]], what: str) -> list[dict[str, Any]]:
        seen = []
        for event in events:
            if "error" in event:
                raise FleetError(
                    urls.hidden(event["error"].strip()),
                    where=what,
                    remedy="Fix the cause and run again. What was transferred is kept.",
                )
            seen.append(event)
        return seen

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except docker.errors.APIError as fault:
            raise FleetError(_explanation(fault), where=f"{self.url}: {what}") from fault
        except (
            docker.errors.DockerException,
            docker.credentials.StoreError,
            requests.exceptions.RequestException,
            OSError,
            ValueError,
        ) as fault:
            helper = _HELPER.search(str(fault))
            if helper:
                raise _helper_fault(helper[0], urls.hidden(str(fault))) from fault
            path = docker.utils.config.find_config_file()
            if path and isinstance(fault, ValueError) and not isinstance(fault, requests.exceptions.RequestException):
                what = f"cannot read a login in this file, or the output of a credential helper that it names ({_short(fault)})"
                raise HelperFault(what, where=path, remedy=_HELPER_REMEDY) from fault
            raise FleetError(
                f"the container engine no longer answers ({_short(fault)})"
                if what != "connect"
                else f"no container engine answers ({_short(fault)})",
                where=f"{self.url}: {what}",
                remedy="Start the engine, give this account access to its socket, and run again.",
            ) from fault


def _helper_fault(helper: str, words: str) -> HelperFault:
    """Return the FleetError about a missing or failing credential helper of the Docker SDK's configuration."""
    path = docker.utils.config.find_config_file() or "~/.docker/config.json"
    what = "is not installed" if "not installed" in words else f"fails ({' '.join(words.split())[:200]})"
    return HelperFault(
        f"the credential helper {helper!r} that this file names {what}",
        where=path,
        remedy=_HELPER_REMEDY,
    )


class HelperFault(FleetError):
    """A credential helper is missing or fails, before any request to a registry."""


class BuildFailed(Exception):
    """A build that the engine ended. status: of the command that failed, or None."""

    def __init__(self, words: str, status: int | None) -> None:
        super().__init__(words)
        self.words, self.status = words, status


def _explanation(fault: Any) -> str:
    return urls.hidden(str(fault.explanation or fault).strip())


def _short(fault: BaseException) -> str:
    return urls.hidden(str(fault)).replace("\n", " ")[:200]
