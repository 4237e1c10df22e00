# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a host's operating system, memory, virtualization and container from its files."""

from __future__ import annotations

import re

# The beginning of DMI's sys_vendor, and a part of its product_name: the name that systemd-detect-virt prints.
_VIRTUAL_PRODUCTS = (
    ("QEMU", "", "kvm"),
    ("KVM", "", "kvm"),
    ("OpenStack", "", "kvm"),
    ("Red Hat", "KVM", "kvm"),
    ("Alibaba Cloud", "", "kvm"),
    ("Amazon EC2", "", "amazon"),
    ("Google", "Compute Engine", "google"),
    ("VMware", "", "vmware"),
    ("Microsoft Corporation", "Virtual Machine", "microsoft"),
    ("innotek GmbH", "", "oracle"),
    ("Oracle Corporation", "VirtualBox", "oracle"),
    ("Xen", "", "xen"),
    ("Parallels", "", "parallels"),
    ("Apple", "Virtualization", "apple"),
    ("BHYVE", "", "bhyve"),
)
_CLOCKS = (("kvm-clock", "kvm"), ("hyperv", "microsoft"), ("xen", "xen"))
_CGROUP_MARKS = (("kubepods", "kubernetes"), ("libpod", "podman"), ("/docker", "docker"), ("/lxc", "lxc"))


def os_release(text: str) -> tuple[str | None, str | None]:
    """Return (ID, VERSION_ID) of an os-release text, or None for a missing one."""
    found = dict(re.findall(r"^(ID|VERSION_ID)=(.*)$", text, re.MULTILINE))
    name, version = (found.get(key, "").strip().strip("\"'")[:64] or None for key in ("ID", "VERSION_ID"))
    return name, version


def cpus_allowed(status: str) -> str | None:
    """Return the text of Cpus_allowed_list in a /proc/self/status, or None."""
    found = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.MULTILINE)
    return found[1] if found else None


def virtualization(architecture: str | None, hypervisor: bool, maker: str, product: str, clocks: str) -> str | None:
    """Return the kind of the virtual machine in systemd-detect-virt's words, or None on a physical machine.

    hypervisor: whether cpuinfo has that flag (only x86 shows it, and there it decides). maker, product: DMI's. clocks:
    the names of clock sources.
    """
    if architecture == "x86_64" and not hypervisor:
        return None
    for beginning, part, kind in _VIRTUAL_PRODUCTS:
        if maker.startswith(beginning) and part in product and not product.endswith(".metal"):
            return kind
    for beginning, kind in _CLOCKS:
        if any(clock.startswith(beginning) for clock in clocks.split()):
            return kind
    return "vm-other" if hypervisor else None


def container(docker_mark: bool, podman_mark: bool, systemd_mark: str, cgroup: str) -> str | None:
    """Return the kind of the container that the host is, or None.

    The marks: whether /.dockerenv and /run/.containerenv exist, and the text of /run/systemd/container.
    """
    if podman_mark:
        return "podman"
    if docker_mark:
        return "docker"
    named = systemd_mark.strip()[:32]
    return named or next((kind for mark, kind in _CGROUP_MARKS if mark in cgroup), None)
