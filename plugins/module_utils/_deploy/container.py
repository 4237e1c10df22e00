# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derive from a ServingConfiguration the container that the engine must create."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import bounded, one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._core.version import VERSION
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import container_labels
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    model_config,
    server_options,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING_FILE,
    MODELS_FILE,
    MONITORING_FILE,
    ServingConfiguration,
)

GRPC_PORT, REST_PORT = 8500, 8501
TRIAL_ADDRESS, ANY_ADDRESS = "127.0.0.1", "0.0.0.0"
SOCKET_FOLDER, SOCKET = "/run/tfserving", "/run/tfserving/grpc.sock"
CUDA_CACHE = "/var/cache/tfserving/cuda"
RESTART_POLICIES = ("unless-stopped", "on-failure", "no")
_MOST_PROCESSES = 16384  # The limit includes threads. A server on 256 CPUs has about 3,000.
_USER = re.compile(r"(\d+)(?::\d+)?")


def release_of(image: str, wanted: str | None = None) -> str:
    """Return the release whose flags the image knows: the wanted one, the one in its tag, or the newest of the release table."""
    return questions.nearest(wanted or questions.release_in_tag(image) or questions.releases()[-1])


def registry_of(image: str) -> str | None:
    """Return HOST[:PORT] of the registry at the beginning of an image's name, or None."""
    first, slash, _rest = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else None


def check(spec: ServingConfiguration) -> ServingConfiguration:
    """Return the specification. Raise FleetError for the first value that is not valid for a server."""
    if len(server_options.check_name(spec.name)) < 2:
        raise FleetError(
            f"{spec.name!r} is too short for a container's name", where="name", remedy="Use at least two characters."
        )
    if not spec.image or re.search(r"\s", spec.image):
        raise FleetError(
            f"{spec.image!r} is not a valid name for an image",
            where="image",
            remedy="Set a name such as tensorflow/serving:2.20.0, preferably with a digest.",
        )
    server_options.check_ports(spec)
    model_config.check(spec.models)
    release = spec.release or questions.releases()[-1]
    _check_file_systems(spec, spec.image, release)
    for name, value in sorted(spec.flags.items()):
        server_options.refuse_own_flag(name, server_options.DOCKER_OWN_FLAGS)
        server_options.check_flag(name, value, release)
    _check_batching(spec)
    if MONITORING_FILE in spec.files and spec.rest_port is None:
        raise FleetError(
            "the server publishes metrics only on its REST port, and rest_port is not set",
            where="monitoring",
            remedy="Set rest_port.",
        )
    server_options.check_environment(spec.environment)
    server_options.check_cpu_set(spec.cpu_set)
    if spec.memory_mib is not None:
        bounded("memory_mib", spec.memory_mib, 64, unit="MiB")
    one_of("restart_policy", spec.restart_policy, RESTART_POLICIES)
    if spec.network in ("host", "none") or spec.network.startswith("container:"):
        raise FleetError(
            f"a container cannot publish ports with the network {spec.network!r}",
            where="network",
            remedy="Set a network of the engine, such as bridge.",
        )
    if not _USER.fullmatch(spec.user):
        raise FleetError(f"{spec.user!r} is not a valid user; allowed: UID or UID:GID, as numbers", where="user")
    return spec


def user_id(spec: ServingConfiguration) -> int:
    """Return the number of the server's user."""
    return int(spec.user.partition(":")[0])


def keeps_cuda_cache(spec: ServingConfiguration) -> bool:
    """Return whether the code that CUDA compiles at the first start is kept."""
    return spec.environment.get("CUDA_CACHE_PATH") == CUDA_CACHE


def arguments(spec: ServingConfiguration) -> list[str]:
    """Return the server's arguments, a list that follows the image's entry point."""
    place = derived_flags.Place(
        GRPC_PORT,
        REST_PORT if spec.rest_port is not None else 0,
        {file: posixpath.join(container_labels.FOLDER, file) for file in (*spec.files, MODELS_FILE)},
        SOCKET if spec.grpc_socket_directory else None,
    )
    return [f"--{name}={server_options.spelt(value)}" for name, value in derived_flags.all_flags(spec, place).items()]


@dataclass(frozen=True)
class Around:
    """What a container uses from its host.

    folder: of its configuration. secrets: {variable: text}, which labels do not contain. cuda_cache: a folder, for a
    server that keeps CUDA's cache. entry_point: the image's, which is needed for a socket. podman: whether Podman
    creates it.
    """

    folder: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    selinux: bool = False
    cuda_cache: str | None = None
    entry_point: Sequence[str] = ()
    podman: bool = False


def body(spec: ServingConfiguration, around: Around, trial: bool) -> dict[str, Any]:
    """Return the body of the engine's API call that creates the container. trial: on a free loopback port, and without restarts."""
    shared = "z" if around.selinux else ""
    binds = [_bind(around.folder, container_labels.FOLDER, "ro", shared)] + [
        _bind(path, path, "ro", shared) for path in model_config.folders(spec.models)
    ]
    if spec.grpc_socket_directory and not trial:
        binds.append(_bind(spec.grpc_socket_directory, SOCKET_FOLDER, "rw", shared))
    temporary = {"/tmp": "rw,noexec,nosuid,size=64m"}
    if spec.grpc_socket_directory and trial:
        temporary[SOCKET_FOLDER] = "rw,noexec,nosuid,size=1m,mode=1777"  # Podman does not support uid= here.
    if around.cuda_cache and keeps_cuda_cache(spec):
        binds.append(_bind(around.cuda_cache, CUDA_CACHE, "rw", shared))
    # Netavark 1.4 reads 0.0.0.0 as a single address, which no host has, and an empty address as all.
    address = "" if around.podman and spec.address == ANY_ADDRESS else spec.address
    ports = {f"{GRPC_PORT}/tcp": spec.grpc_port}
    if spec.rest_port is not None:
        ports[f"{REST_PORT}/tcp"] = spec.rest_port
    host: dict[str, Any] = {
        "Binds": binds,
        "Tmpfs": temporary,
        "Init": True,
        "ReadonlyRootfs": spec.read_only,
        "NetworkMode": spec.network,
        "PortBindings": {
            inside: [{"HostIp": TRIAL_ADDRESS if trial else address, "HostPort": "" if trial else str(port)}]
            for inside, port in ports.items()
        },
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.capabilities),
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "RestartPolicy": {"Name": "no" if trial else spec.restart_policy},
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": f"{spec.log_max_mib}m", "max-file": str(spec.log_files)},
        },
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
        "PidsLimit": _MOST_PROCESSES,
    }
    if spec.cpu_set:
        host["CpusetCpus"] = spec.cpu_set
    if spec.memory_mib:
        host["Memory"] = host["MemorySwap"] = spec.memory_mib * 1024 * 1024
    environment = {**spec.environment, **around.secrets}
    if spec.devices:
        _give(spec.devices, host, environment)
    # A server's umask denies its socket to all other users. The folder decides who may use it.
    begin = (
        {"Entrypoint": ["/bin/sh", "-c", 'umask 0 && exec "$@"', "sh", *around.entry_point]}
        if spec.grpc_socket_directory and around.entry_point
        else {}
    )
    return {
        **begin,
        "Image": spec.image,
        "Cmd": arguments(spec),
        "User": spec.user,
        "StopSignal": "SIGTERM",
        "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
        "ExposedPorts": {inside: {} for inside in ports},
        "Labels": labels_of(spec),
        "HostConfig": host,
    }


def labels_of(spec: ServingConfiguration) -> dict[str, str]:
    """Return the container's labels, which describe it to later runs."""
    return {
        container_labels.NAME: spec.name,
        container_labels.DIGEST: derived_flags.digest(spec),
        container_labels.DESCRIPTION: json.dumps(spec.to_dict(), sort_keys=True),
        container_labels.VERSION: VERSION,
    }


def _check_file_systems(spec: ServingConfiguration, image: str, release: str) -> None:
    """Raise FleetError for a base path that the official image of the release cannot read. What a custom image can read is unknown."""
    if questions.official_tag(image) is None:
        return
    known = questions.cell("remote_file_systems", release)
    for position, one in enumerate(spec.models):
        scheme, marks, _rest = one.base_path.partition("://")
        if marks and scheme not in known:
            raise FleetError(
                f"the official image of {release} cannot read {scheme}:// ({one.base_path})",
                where=f"models[{position}].base_path",
                remedy="Copy the versions to the host with tfserving.fleet.model_version, source: "
                f"{one.base_path if scheme in ('s3', 'gs') else 'a folder or an archive'}, and set base_path to its folder.",
            )


def _check_batching(spec: ServingConfiguration) -> None:
    batching = BATCHING_FILE in spec.files
    server_options.check_enable_batching(spec.flags, spec.is_batched)
    if spec.flags.get("enable_per_model_batching_parameters") and not (batching or spec.flags.get("enable_batching")):
        raise FleetError(
            "without enable_batching, the server would silently batch nothing",
            where="flags.enable_per_model_batching_parameters",
            remedy="Set enable_batching: true as well.",
        )


def _give(devices: Sequence[Mapping[str, Any]], host: dict[str, Any], environment: dict[str, str]) -> None:
    """Request GPUs in the way that the engine supports."""
    names, by = [device["id"] for device in devices], devices[0]["by"]
    slices = [name for name in names if name.startswith("MIG-")]
    if slices:  # Also select the slice for CUDA, which otherwise uses the first slice that it sees.
        environment.setdefault("CUDA_VISIBLE_DEVICES", ",".join(slices))
    if by == "cdi":
        host["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={name}" for name in names]}]
    elif by == "runtime":
        host["Runtime"], environment["NVIDIA_VISIBLE_DEVICES"] = "nvidia", ",".join(names)
    else:
        host["DeviceRequests"] = [{"Driver": "nvidia", "DeviceIDs": names, "Capabilities": [["gpu"]]}]


def _bind(source: str, target: str, mode: str, shared: str) -> str:
    return f"{source}:{target}:{mode}{',' + shared if shared else ''}"
