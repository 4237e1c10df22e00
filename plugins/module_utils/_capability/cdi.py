# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how containers get the GPUs of a host: find its CDI descriptions, check that they fit the GPUs, and choose the kind of request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import (
    Cdi,
    Container,
    GpuDevice,
    GpuGroup,
)

KIND = "nvidia.com/gpu"
_DRIVER = re.compile(r"\blib(?:cuda|nvidia-ml)\.so\.(\d+\.\d+(?:\.\d+)?)")
_NAME = re.compile(r"""^[- ] name: *["']?([^"'#]*?)["']? *$""")
_INSTALL = "Install NVIDIA's container toolkit on the host and restart the engine"
_CONFIGURE = "Register it with the engine, and restart the engine: nvidia-ctk runtime configure --runtime=docker"
_DESCRIBE = "Install NVIDIA's container toolkit and generate descriptions of the GPUs: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
_GENERATE = "generate them again: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


def describe(texts: Iterable[str], groups: Iterable[GpuGroup]) -> Cdi | None:
    """Return the CDI descriptions of NVIDIA's GPUs, or None if there is no such description.

    texts: of all CDI files, YAML or JSON. groups: the host's GPUs.
    """
    found = [(devices, text) for devices, text in ((_devices(text), text) for text in texts) if devices is not None]
    if not found:
        return None
    names = {name for devices, _text in found for name in devices}
    drivers = {version for _devices, text in found for version in _DRIVER.findall(text)}
    wanted = [
        (device, group)
        for group in groups
        if group["driver"] == "nvidia" and group["compute"]
        for device in group["devices"]
    ]
    ways: tuple[Literal["uuid", "index"], ...] = ("uuid", "index")
    kinds = [
        kind
        for kind in ways
        if wanted and all(name in names for device, group in wanted for name in _names(device, group, kind))
    ]
    present = {group["driver_version"] for _device, group in wanted if group["driver_version"] is not None}
    if drivers and present and not drivers & present:
        return {
            "names": None,
            "problem": f"the CDI descriptions are for driver {sorted(drivers)[0]}, but this host has {sorted(present)[0]}: {_GENERATE}",
        }
    if wanted and not kinds:
        return {"names": None, "problem": f"the CDI descriptions do not contain this host's GPUs: {_GENERATE}"}
    return {"names": kinds[0] if kinds else None, "problem": None}


def _names(device: GpuDevice, group: GpuGroup, kind: Literal["uuid", "index"]) -> list[str]:
    """Return the CDI names of the devices of one GPU: the GPU itself, or its MIG instances."""
    if group["mig"] is None:
        return [str(device[kind])]
    return [
        str(uuid) if kind == "uuid" else f"{device['index']}:{place}" for place, uuid in enumerate(device["mig_uuids"])
    ]


def _devices(text: str) -> list[str] | None:
    """Return the names of the devices in one description of NVIDIA's GPUs, or None if it describes something else or is invalid."""
    if text.lstrip().startswith("{"):
        try:
            whole = json.loads(text)
            return [device["name"] for device in whole["devices"]] if whole["kind"] == KIND else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
    inside, indent, names, kind = False, None, [], None
    for line in text.splitlines():
        if re.match(r"[A-Za-z]", line):
            inside, indent = line.startswith("devices:"), None
            kind = line.partition(":")[2].strip(" \"'") if line.startswith("kind:") else kind
        elif inside and line.strip():
            indent = len(line) - len(line.lstrip()) if indent is None else indent
            name = _NAME.match(line[indent:])
            if name and not line[:indent].strip():
                names.append(name[1])
    return names if kind == KIND else None


def way(container: Container, groups: Iterable[GpuGroup]) -> tuple[str | None, str | None, str | None]:
    """Return (how to request GPUs from the engine, None, None), or (None, what is missing, its remedy).

    cdi: the engine reads CDI descriptions, and they fit. device_request: as with --gpus. runtime: the runtime nvidia,
    configured by an environment variable.
    """
    nvidia: Mapping[str, Any] = container.get("nvidia") or {}
    described = nvidia.get("cdi")
    fits = not nvidia if described is None else described["problem"] is None
    if container.get("cdi_directories") and fits:
        return "cdi", None, None
    registered = "nvidia" in (container.get("runtimes") or ())
    if container.get("engine") != "podman" and (nvidia.get("hook") or registered and not nvidia):
        return "device_request", None, None
    if container.get("engine") != "podman" and registered:
        return "runtime", None, None
    if described and described["problem"]:
        what, _colon, remedy = described["problem"].partition(": ")
        return None, what, remedy[:1].upper() + remedy[1:]
    if container.get("engine") == "podman":
        return None, "Podman has no CDI descriptions of the GPUs", _DESCRIBE
    if nvidia.get("toolkit"):
        return (
            None,
            f"{container.get('engine')} does not use NVIDIA's container toolkit {nvidia['toolkit']}, which is installed",
            _CONFIGURE,
        )
    return None, f"{container.get('engine')} has neither NVIDIA's runtime nor CDI descriptions", _INSTALL
