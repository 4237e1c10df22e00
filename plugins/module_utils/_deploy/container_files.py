# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the files that a server's container reads: a copy of its configuration for this container only, and its models; and for their permissions."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import container, requested
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_folder import CONFIGURATIONS
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import derived_flags, model_config
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING_FILE,
    FILE_FLAGS,
    MODELS_FILE,
    MONITORING_FILE,
    SESSION_FILE,
    TLS_FILE,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration

_SECRET_FILES = (TLS_FILE,)
_CERTIFICATES = "/etc/docker/certs.d"  # Podman also looks there.
_CERTIFICATES_OF_USER = {"docker": "~/.config/docker/certs.d", "podman": "~/.config/containers/certs.d"}
_READS_ALL = {"DAC_OVERRIDE", "DAC_READ_SEARCH", "ALL"}
_SELINUX = "/sys/fs/selinux/enforce"


def contents(
    options: Mapping[str, Any], models: Iterable[ModelConfiguration], check_mode: bool
) -> dict[str, bytes | None]:
    """Return {file of configuration.FILE_FLAGS: its bytes}.

    In check mode, a file that an earlier task would write may be missing. Its content is then None.
    """
    found: dict[str, bytes | None] = {MODELS_FILE: model_config.text(models).encode()}
    batching = requested.batching_text(options)
    if options["monitoring"]:
        found[MONITORING_FILE] = model_config.monitoring().encode()
    for file, option in (
        (BATCHING_FILE, "batching_parameters_file"),
        (SESSION_FILE, "session_config_file"),
        (TLS_FILE, "ssl_config_file"),
    ):
        if file == BATCHING_FILE and batching is not None:
            found[file] = batching.encode()
        elif options[option]:
            found[file] = None if check_mode and not os.path.exists(options[option]) else _read(options[option], option)
    return found


def digests(files: Mapping[str, bytes | None]) -> dict[str, str | None]:
    """Return {file: digest of its content} without the models, which the configuration contains."""
    return {
        name: hashlib.sha256(content).hexdigest()[:16] if content is not None else None
        for name, content in files.items()
        if name != MODELS_FILE
    }


def folder_of(directory: str, spec: ServingConfiguration) -> str:
    """Return the folder with the configuration of one specification, below the server's directory."""
    return os.path.join(directory, CONFIGURATIONS, derived_flags.digest(spec)[:16])


def write(
    folder: str,
    files: Mapping[str, bytes],
    spec: ServingConfiguration,
    cuda_cache: str,
    offset: tuple[int, int] = (0, 0),
) -> None:
    """Write the configuration, and create the folder of CUDA's cache if it is kept. Only the server's user and root can read its secrets.

    offset: what the engine adds to the numbers of user and group.
    """
    owner = container.user_id(spec) + offset[0]
    os.makedirs(folder, mode=0o755, exist_ok=True)
    for name, content in files.items():
        path = os.path.join(folder, name)
        secret = name in _SECRET_FILES
        atomic_files.write_file(path, content, 0o400 if secret else 0o444)
        if secret and os.geteuid() == 0:
            os.chown(path, owner, -1)
    if container.keeps_cuda_cache(spec):
        os.makedirs(cuda_cache, mode=0o700, exist_ok=True)
        with contextlib.suppress(PermissionError):
            os.chown(cuda_cache, owner, -1, follow_symlinks=False)
    if spec.grpc_socket_directory:
        os.makedirs(spec.grpc_socket_directory, mode=0o755, exist_ok=True)
        with contextlib.suppress(PermissionError):
            os.chown(spec.grpc_socket_directory, owner, -1, follow_symlinks=False)


@contextlib.contextmanager
def serving(models: Sequence[ModelConfiguration], folder: str | None) -> Iterator[None]:
    """Make the stopped container with this folder serve these models when it starts; None: leave it as it is. If the block raises a FleetError, undo that."""
    if folder is None:
        yield
        return
    path = os.path.join(folder, MODELS_FILE)
    before = shared_folders.read(path)
    atomic_files.write_file(path, model_config.text(models).encode(), 0o444)
    try:
        yield
    except FleetError:
        atomic_files.write_file(path, before, 0o444)
        raise


def prune(directory: str, used: Collection[str | None]) -> None:
    """Remove configurations that no container mounts. used: the folders that containers mount."""
    parent, kept = os.path.join(directory, CONFIGURATIONS), {os.path.realpath(path) for path in used if path}
    for name in os.listdir(parent) if os.path.isdir(parent) else []:
        if os.path.realpath(os.path.join(parent, name)) not in kept:
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
    with contextlib.suppress(OSError):  # It contains others, or does not exist.
        os.rmdir(parent)


@dataclass(frozen=True)
class Reader:
    """The server's user as the host sees it. uid, gid: numbers on the host, or None for numbers that do not own any of its files."""

    uid: int | None
    gid: int | None


def reader(spec: ServingConfiguration, rootless: bool, offset: tuple[int, int]) -> Reader | None:
    """Return the Reader of a server's container, or None if it can read everything. offset: what the engine adds to user and group (userns-remap)."""
    name, _colon, of_group = spec.user.partition(":")
    user, group = int(name), int(of_group or 0)  # If the image has no user with this number, the group is root's.
    if rootless:
        return Reader(os.geteuid() if user == 0 else None, os.getegid() if group == 0 else None)
    if (
        user == 0
        and offset == (0, 0)
        and _READS_ALL & {name.upper().replace("CAP_", "", 1) for name in spec.capabilities}
    ):
        return None
    return Reader(user + offset[0], group + offset[1])


def refuse_unreadable(model: ModelConfiguration, wanted: Iterable[int], user: int, who: Reader | None) -> None:
    """Raise FleetError for the first folder or file of the wanted versions that the server's user cannot read.

    user: its number in the container. who: its Reader, or None if it can read everything.
    """
    base = model.base_path
    if who is None or model_config.is_remote(base):
        return
    for path in [base, *(path for version in wanted for path in _all_below(os.path.join(base, str(version))))]:
        status = os.stat(path)
        if not _may_read(path, status, who):
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise FleetError(
                f"the server's user {user} cannot read it (mode {mode}, owner {status.st_uid}:{status.st_gid})",
                where=path,
                remedy=f"Let all users read the model (chmod -R o+rX {base}), or set user (tfs_server_user of the role) to one that can.",
            )


def _may_read(path: str, status: os.stat_result, who: Reader) -> bool:
    needed = 5 if stat.S_ISDIR(status.st_mode) else 4
    shift = 6 if status.st_uid == who.uid else 3 if status.st_gid == who.gid else 0
    return status.st_mode >> shift & needed == needed or _has_access_list(path)


def _has_access_list(path: str) -> bool:
    """Return whether a file has an access control list, which may allow what its mode does not."""
    with contextlib.suppress(OSError, AttributeError):
        return "system.posix_acl_access" in os.listxattr(path)
    return False


def refuse_what_cannot_be_given(spec: ServingConfiguration, rootless: bool) -> None:
    """Raise FleetError if the server's user cannot own its secret files or the folder of its socket, because only root can change owners."""
    user, giver = container.user_id(spec), os.geteuid()
    if giver == 0 and not rootless or giver != 0 and user == (0 if rootless else giver):
        return
    needed = [FILE_FLAGS[name] for name in _SECRET_FILES if name in spec.files]
    if spec.grpc_socket_directory and not _everybody_writes(spec.grpc_socket_directory):
        needed.append("grpc_socket_directory")
    if needed:
        raise FleetError(
            f"this needs files that belong to the server's user {user}, and only root can create them",
            where=needed[0],
            remedy='Run as root (become). With a rootless engine, run as its user and set user: "0:0", which is that user there.',
        )


def wrong_batching(file: str | None, models: Iterable[ModelConfiguration]) -> str | None:
    """Return the first wrong value in the files of batching parameters that a server reads, as a clause, or None.

    file: the one of all models, if any.
    """
    own = [sorted(glob.glob(f"{glob.escape(model.base_path)}/*/{manifest.BATCHING}")) for model in models]
    for path in itertools.chain([file] if file else [], *own):
        try:
            parameters.check(parameters.read(shared_folders.read(path).decode()) or {})
        except (OSError, UnicodeDecodeError):
            continue
        except FleetError as fault:
            return f"{path} has {fault.where}: {fault.what}"
    return None


def trust_registry(image: str, certificates: str | None, engine: str, rootless: bool) -> None:
    """Configure the certificates with which the engine trusts the image's registry. The engine reads them at each pull.

    certificates: path of a PEM file, or None. engine: docker or podman.
    """
    if not certificates:
        return
    registry = container.registry_of(image)
    if registry is None:
        raise FleetError(
            f"the image {image!r} is named without a registry",
            where="registry_ca",
            remedy="Leave this option out, or add the registry to the name of the image.",
        )
    folder = os.path.expanduser(_CERTIFICATES_OF_USER[engine]) if rootless else _CERTIFICATES
    content, path = _read(certificates, "registry_ca"), os.path.join(folder, registry, "ca.crt")
    if os.path.exists(path) and _read(path, "registry_ca") == content:
        return
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        atomic_files.write_file(path, content)
    except PermissionError as fault:
        raise FleetError(
            f"cannot write {path}, where the engine looks for certificates",
            where="registry_ca",
            remedy="Run as root (become).",
        ) from fault


def selinux() -> bool:
    """Return whether SELinux is active. Then files need a label before a container may read them."""
    return os.path.exists(_SELINUX)


def _everybody_writes(directory: str) -> bool:
    return os.path.isdir(directory) and os.stat(directory).st_mode & 0o003 == 0o003


def _all_below(directory: str) -> list[str]:
    found = [directory]
    for parent, folders, names in shared_folders.walk(directory):
        found += [os.path.join(parent, name) for name in [*folders, *names]]
    return [path for path in found if os.path.exists(path)]


def _read(path: str, option: str) -> bytes:
    try:
        return shared_folders.read(path, lent=True)
    except OSError as fault:
        raise FleetError(f"cannot read {path}: {fault.strerror}", where=option) from fault
