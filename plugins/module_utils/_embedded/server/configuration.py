# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of models: from flags, from a file that may be polled, or from a reload, with TensorFlow Serving's checks and texts."""

from __future__ import annotations

import json
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import log, models, status
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader, writer

_PLATFORM = "tensorflow"


def of_flags(options: Mapping[str, Any]) -> list[models.ModelConfig]:
    """Return the ModelConfigs of the flags. Raise Status."""
    if not options["model_config_file"]:
        return _checked([models.ModelConfig(options["model_name"], options["model_base_path"])])
    return of_list(of_file(options["model_config_file"]).model_config_list.config)


class NoPlatform(status.Status):
    """An entry of a list of models has no model_platform."""


def of_list(listed: Iterable[Any]) -> list[models.ModelConfig]:
    """Return the ModelConfigs of a list of ModelConfig messages. Raises Status."""
    configs = _checked(
        [
            models.ModelConfig(
                one.name, one.base_path, *_policy(one.model_version_policy), tuple(sorted(one.version_labels.items()))
            )
            for one in listed
        ]
    )
    for one in listed:
        if not one.model_platform:
            raise NoPlatform(
                "INVALID_ARGUMENT",
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f"ModelServerConfig::model_platform, model name is {one.name}",
            )
        if one.model_platform != _PLATFORM:
            raise status.Status(
                "INVALID_ARGUMENT", f"Model {one.name} requests unsupported platform {one.model_platform}"
            )
    return configs


def of_file(path: str) -> Any:
    """Return the ModelServerConfig message of a text file. Raises Status."""
    return read_text_proto(path, "tensorflow.serving.ModelServerConfig")


def reload(library: models.Library, config: Any, is_active: Callable[[], bool]) -> None:
    """Make the library serve the models of a ModelServerConfig message. is_active: whether the client still waits for it. Raise Status."""
    try:
        if not config.HasField("model_config_list"):
            raise status.Status(
                "INVALID_ARGUMENT",
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported",
            )
        for index, one in enumerate(config.model_config_list.config):
            log.info(
                f"\nConfig entry\n\tindex : {index}\n\tpath : {log.shown(one.base_path)}\n\tname : {log.shown(one.name)}"
                f"\n\tplatform : {log.shown(one.model_platform)}"
            )
        _refuse_elsewhere(config.model_config_list.config)
        _apply(library, config.model_config_list.config, is_active)
    except status.Status as fault:
        log.error(f"ReloadConfig failed: {log.shown(fault.message)}")
        raise


def _refuse_elsewhere(listed: Iterable[Any]) -> None:
    """Raise Status for a base path outside of the folders that the server was started for, because any client on this host can request a reload."""
    folders = json.loads(os.environ.get("TFSERVING_EMBEDDED_RELOAD_BELOW", '["/"]'))
    for config in listed:
        if "\0" not in config.base_path and not any(
            os.path.commonpath(paths) == paths[0]
            for paths in ([os.path.realpath(folder), os.path.realpath(config.base_path)] for folder in folders)
        ):
            raise status.Status(
                "PERMISSION_DENIED",
                f"The base path of model {config.name} is not below those that the server was started with; "
                f"got base_path()={config.base_path!r}",
            )


def _apply(library: models.Library, listed: Iterable[Any], is_active: Callable[[], bool] = lambda: True) -> None:
    """Serve the listed models. After an entry without a platform, TensorFlow Serving refuses all later lists."""
    if library.poison:
        raise library.poison
    try:
        library.apply(of_list(listed), is_active)
    except NoPlatform as fault:
        library.poison = fault
        raise


def poll(library: models.Library, path: str, interval_s: float) -> None:
    """Read the file periodically in a separate thread, and serve its models. Errors are logged and change nothing."""
    threading.Thread(target=_poll, args=(library, path, interval_s), name="configuration", daemon=True).start()


def _poll(library: models.Library, path: str, interval_s: float) -> None:
    while True:
        time.sleep(interval_s)
        try:
            listed = of_file(path).model_config_list.config
        except status.Status as fault:
            log.error(f"Failed to read ModelServerConfig file: {fault.message}")
            continue
        try:
            _apply(library, listed)
        except status.Status as fault:
            log.error(f"PollFilesystemAndReloadConfig failed to ReloadConfig: {fault.message}")


def read_text_proto(path: str, kind: str) -> Any:
    """Return the message of a text file; kind: its full name. Raises Status."""
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as fault:
        code = "NOT_FOUND" if isinstance(fault, FileNotFoundError) else "UNKNOWN"
        raise status.Status(code, f"{path}; {fault.strerror}") from fault
    if not content:
        raise status.Status("INVALID_ARGUMENT", f"{path}; Invalid argument")
    try:
        return wire.message(kind).FromString(
            writer.encode(reader.read(reader.decoded(content, path), kind, path), kind)
        )
    except FleetError as fault:
        place = f"{fault.line}:{fault.column}: {fault.detail}" if isinstance(fault, reader.Fault) else fault.what
        log.error(f"Error parsing text-format {kind}: {place}")
        raise status.Status("INVALID_ARGUMENT", f"Invalid protobuf file: '{path}'") from fault


def _policy(policy: Any) -> tuple[int, tuple[int, ...] | None]:
    """Return (latest, specific) of a ModelConfig."""
    if policy.HasField("all"):
        return 0, None
    return max(1, policy.latest.num_versions), tuple(policy.specific.versions) if policy.HasField("specific") else None


def _checked(configs: list[models.ModelConfig]) -> list[models.ModelConfig]:
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise status.Status("INVALID_ARGUMENT", f"Illegal to list model {name} multiple times in config list")
    for config in configs:
        if not os.path.isabs(config.base_path):
            raise status.Status(
                "INVALID_ARGUMENT",
                f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}",
            )
    return configs
