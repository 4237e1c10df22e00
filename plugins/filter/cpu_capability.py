# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter tfserving.fleet.cpu_capability: what a CPU can do, from the text of any machine's /proc/cpuinfo."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes, cpuinfo
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


def cpu_capability(text, architecture=None):
    """Return {architecture, cpu, classes: {image}, warnings} of the text. Raise AnsibleFilterError if the text does not determine a class."""
    if not isinstance(text, str):
        raise AnsibleFilterError("cpu_capability: the input is not a string. Pass the content of /proc/cpuinfo.")
    try:
        found = cpuinfo.require(text, architecture)
    except FleetError as fault:
        raise AnsibleFilterError(str(fault)) from fault
    return {
        "architecture": found["architecture"],
        "cpu": found["cpu"],
        "classes": {"image": classes.image_class(found["architecture"], found["cpu"]["level"])},
        "warnings": found["warnings"],
    }


FilterModule = _filters.module(cpu_capability)
