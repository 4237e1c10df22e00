# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.capability_facts: run the module on the host, and add the host's classes here."""

from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import classes, cpuinfo, py_cpuinfo
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError, refuse_malformed

MODULE = "tfserving.fleet.capability_facts"


class ActionModule(ActionBase):
    """Run the module, which only reads on the host, and derive classes from its result on the controller."""

    def run(self, tmp=None, task_vars=None):
        """Return the module's result, and add the key classes to its fact."""
        super().run(tmp, task_vars)
        try:
            with refuse_malformed("the facts of the host"):
                return self._classified(self._execute_module(module_name=MODULE, task_vars=task_vars))
        except FleetError as fault:
            return {"failed": True, "msg": str(fault)}

    def _classified(self, result):
        if "ansible_facts" in result:
            capabilities = result["ansible_facts"]["tfserving_capabilities"]
            if (
                not capabilities["cpu"]["flags"]
                and self._connection.transport == "local"
                and not os.path.exists("/proc/cpuinfo")
            ):
                result["warnings"] = describe_by_library(capabilities)
            capabilities["classes"] = classes.classes(capabilities)
        return result


def describe_by_library(capabilities):
    """Fill in the CPU of a controller without /proc/cpuinfo (macOS) with py-cpuinfo. Return the warnings."""
    try:
        import cpuinfo as library
    except ImportError:
        return [
            "this controller has no /proc/cpuinfo, so its CPU is unknown: install the Python package py-cpuinfo in Ansible's environment"
        ]
    found = cpuinfo.read(py_cpuinfo.as_text(library.get_cpu_info()), capabilities["architecture"])
    capabilities["cpu"].update(found["cpu"], usable=float(found["cpu"]["threads"] or 1))
    return found["warnings"]
