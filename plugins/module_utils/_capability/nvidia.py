# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that detects whether a host has NVIDIA GPUs. On the many hosts without one, nothing else runs or is compiled."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import Found
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files

_NVIDIA, _DISPLAY_CONTROLLER, _PCI = "0x10de", "0x03", "sys/bus/pci/devices"
# Signs of NVIDIA's driver that can be checked without a process. The last one is WSL's, which has no PCI bus.
_DRIVER_SIGNS = ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/dxg")


def read(files: Files, directories: Iterable[str], detail: bool = False) -> Found:
    """Return the NVIDIA GPUs of a host. directories: where the container engine looks for CDI descriptions."""
    places = _on_the_bus(files)
    signs = any(files.exists(sign) for sign in _DRIVER_SIGNS)
    if not places and not signs:
        return [], None, [] if detail else None, []
    from ansible_collections.tfserving.fleet.plugins.module_utils._capability import nvidia_driver

    return nvidia_driver.read(files, places, signs, directories, detail)


def _on_the_bus(files: Files) -> list[str]:
    """Return the PCI addresses of NVIDIA's display controllers."""
    return [
        place
        for place in files.names(_PCI)
        if files.line(f"{_PCI}/{place}/vendor") == _NVIDIA
        and files.line(f"{_PCI}/{place}/class").startswith(_DISPLAY_CONTROLLER)
    ]
