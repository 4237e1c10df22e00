# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that reads the request in a host's variables, and the tunings that are stored on the controller.

`variables` is a mapping of the host's variables that the user set, without the defaults of this collection's roles. It
evaluates a variable when it is read, and raises FleetError if that fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import number_of, one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import desired_server, gpus, preparation
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.request import KEYS
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tuning_files, tunings
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL

_OF_SERVER = "tfs_server_"
_SERVING = ("started", "proven")


@dataclass(frozen=True)
class Purpose:
    """The purpose of a plan. for_server: whether the state of tfs_server counts. tunings: whether tunings count."""

    for_server: bool = True
    tunings: bool = True


class Evaluated(Mapping[str, Any]):
    """The variables of a host. value_of: evaluates one by its name. is_own: whether the user set it, and not a role of this collection."""

    def __init__(
        self, variables: Mapping[str, Any], value_of: Callable[[str], Any], is_own: Callable[[str], bool]
    ) -> None:
        self._variables, self._value_of, self._is_own = variables, value_of, is_own

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self._value_of(name)

    def __contains__(self, name: object) -> bool:
        return name in self._variables and self._is_own(str(name))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._variables if name in self)

    def __len__(self) -> int:
        return sum(1 for _name in self)


@dataclass(frozen=True)
class Host:
    """What is known about a host.

    is_vaulted: as in preparation.prepared. structure_of: returns the structure of the SavedModel below a folder
    of the host, or None.
    """

    variables: Mapping[str, Any]
    is_vaulted: Callable[[Any], bool]
    structure_of: Callable[[str], Mapping[str, str] | None] = lambda base_path: None


WHOLE = Purpose()


def deployment(task_id: str) -> dict[str, str]:
    """Return {id, at} of the deployment that a task belongs to. The ids of all tasks of a run differ only in their last part."""
    return {"id": task_id.rpartition("-")[0], "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def planned(host: Host, purpose: Purpose, detect: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of the module host_plan. detect: returns the result of capability_facts on the host."""
    variables, detected = host.variables, {}
    capabilities = variables["ansible_facts"].get("tfserving_capabilities")
    if not capabilities and desired_server.needs_plan(host_request_of(variables, purpose)):
        detected = detect()
        if detected.get("failed") or detected.get("unreachable"):
            return detected
        capabilities = detected["ansible_facts"]["tfserving_capabilities"]
    found = resolved(host, capabilities, purpose)
    if purpose.for_server and found["server"]["refusals"]:
        return {"failed": True, "msg": " ".join(found["server"]["refusals"])}
    # The playbook plan shows all warnings of a plan. A deployment alone must not hide that a host serves without its GPU.
    unused = gpus.unused(found["plan"]["warnings"]) if purpose.for_server and found["plan"] else []
    return {
        "changed": False,
        "warnings": [*detected.get("warnings", []), *unused, *found["server"]["warnings"]],
        "tunings_directory": tunings_directory(variables),
        **found,
        **({"ansible_facts": detected["ansible_facts"]} if detected else {}),
    }


def plan_of(host: Host, planned: str | None) -> dict[str, Any] | None:
    """Return the plan of a host, or None without its capabilities. planned: the variable with the result of host_plan, if the host has one."""
    on_host = host.variables[planned] if planned and planned in host.variables else {}
    if on_host.get("plan"):
        plan: dict[str, Any] = on_host["plan"]
        return plan
    capabilities = host.variables["ansible_facts"].get("tfserving_capabilities")
    found: dict[str, Any] = resolved(host, capabilities or {}, Purpose(for_server=False))["plan"]
    return found if capabilities else None


def resolved(host: Host, capabilities: Mapping[str, Any] | None, purpose: Purpose = WHOLE) -> dict[str, Any]:
    """Return {plan, server} of a host (desired_server.resolve)."""
    variables = host.variables
    desired = host_request_of(variables, purpose)
    tuning_class = ((capabilities or {}).get("classes") or {}).get("tuning")
    if purpose.tunings and tuning_class:
        records = tuning_files.read(tunings_directory(variables), tuning_class)
        asked = {one.get("name") for one in desired.request.get("models") or () if isinstance(one, dict)}
        desired = replace(
            desired,
            records=records,
            stale_tunings=_stale_tunings(variables),
            structures={
                record.model: host.structure_of(f"{desired.directory}/{record.model}/{SAVED_MODEL}") or {}
                for record in records
                if record.model in asked and record.valid_for.get("graph")
            },
        )
    preparation.refuse_vaulted(_OF_SERVER, desired.role, host.is_vaulted)
    given, microarchitectures, secrets = preparation.prepared(capabilities or {}, desired.request, host.is_vaulted)
    found = desired_server.resolve(capabilities, replace(desired, request=given), microarchitectures)
    if found["plan"] and secrets:
        before, found["plan"] = len(found["plan"]["refusals"]), preparation.with_secrets(found["plan"], secrets)
        found["server"]["refusals"] += [
            desired_server.spoken(refusal) for refusal in found["plan"]["refusals"][before:]
        ]
    return found


def host_request_of(variables: Mapping[str, Any], purpose: Purpose = WHOLE) -> desired_server.HostRequest:
    """Return the user's request for a host, from its variables."""
    role = {
        name: variables[f"{_OF_SERVER}{name}"]
        for name in (*desired_server.PLANNED, *desired_server.READ)
        if f"{_OF_SERVER}{name}" in variables
    }
    judges = role.get("metric_functions")
    if judges is not None:
        role["metric_functions"] = number_of(judges, bool)
        if role["metric_functions"] not in (True, False):
            raise FleetError(f"{judges!r} is not true or false", where=f"{_OF_SERVER}metric_functions")
    groups, host = variables["groups"], variables["inventory_hostname"]
    state = variables[f"{_OF_SERVER}state"] if purpose.for_server and f"{_OF_SERVER}state" in variables else "started"
    return desired_server.HostRequest(
        request=request_of(variables),
        role=role,
        serves=state in _SERVING,
        tunings=variables[f"{_OF_SERVER}tunings"] or ()
        if purpose.tunings and f"{_OF_SERVER}tunings" in variables
        else (),
        **({"directory": variables["tfserving_model_directory"]} if "tfserving_model_directory" in variables else {}),
        has_samples=host in groups.get("tfserving_converters", [host]),
        converts="tfserving_converters" not in groups,
    )


def tunings_directory(variables: Mapping[str, Any]) -> str | None:
    """Return the directory of this host's tunings on the controller, or None if neither a variable nor an inventory file determines it.

    A relative path in the variable is relative to the directory of the default. Another working directory would find no tunings, and undo them.
    """
    sources = [
        os.path.abspath(source)
        for source in (variables["ansible_inventory_sources"] if "ansible_inventory_sources" in variables else ())
    ]
    default = tunings.directory_beside(
        variables["inventory_dir"] if "inventory_dir" in variables else None,
        [source for source in sources if os.path.exists(source)],
        [source for source in sources if os.path.isdir(source)],
    )
    if "tfserving_tunings_directory" in variables and variables["tfserving_tunings_directory"]:
        path = os.path.expanduser(str(variables["tfserving_tunings_directory"]))
        return os.path.abspath(os.path.join(os.path.dirname(default), path) if default else path)
    return default


def _stale_tunings(variables: Mapping[str, Any]) -> str:
    name = "tfserving_stale_tunings"
    return one_of(name, variables[name], tunings.STALE) if name in variables else tunings.STALE[0]


def request_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a host's request: tfs_capabilities_request if the user sets it, or else the collection-wide variables."""
    if "tfs_capabilities_request" in variables:
        given = variables["tfs_capabilities_request"]
        if not isinstance(given, dict):
            raise FleetError(f"{given!r} is not a mapping", where="tfs_capabilities_request")
        return given
    return {key: variables[f"tfserving_{key}"] for key in KEYS if f"tfserving_{key}" in variables}
