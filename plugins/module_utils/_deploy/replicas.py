# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handle several servers of one description, such as one per GPU of a host: their options, what happens to removed ones, and one result for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import transaction
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.serves_on import ServesOn, extended

Roles = transaction.Roles
Moments = tuple[Any, Any]  # times: when a container was made, when it ended last
PREVIOUS, RESUME, STOP, SURPLUS = "previous", "resume", "stopped", "surplus"
# The options' name for a server that was rolled back.
STATES = {PREVIOUS: "previous", RESUME: "started", STOP: "stopped"}
_PORTS = ("grpc_port", "rest_port")


def each(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the options of each server: those of the module with those of its copy. Raise FleetError if two would be the same server."""
    if not options["copies"]:
        return [dict(options)]
    found = [_one(options, copy) for copy in options["copies"]]
    for key, values in {
        "suffix": [one["name"] for one in found],
        **{port: [one[port] for one in found if one[port]] for port in _PORTS},
    }.items():
        doubled = [value for value in values if values.count(value) > 1]
        if doubled:
            raise FleetError(
                f"two servers would have the same {'name' if key == 'suffix' else 'port'}: {doubled[0]}",
                where=f"copies: {key if key == 'suffix' else 'port_offset'}",
                remedy="Give each entry of copies its own suffix and port_offset.",
            )
    return found


def back(
    seen: Mapping[str, Roles], deployment: str | None = None, moments: Mapping[str, Moments] | None = None
) -> list[tuple[str, str]]:
    """Return [(name, PREVIOUS, RESUME or STOP)] in order: what happens to each server if all are rolled back.

    seen: {name: {role: Seen}}. deployment: only this one is undone, so nothing happens if no server belongs to it.
    moments: {id of a container: (when it was made, when it ended)}.

    A server that was stopped because it was removed from the description starts again, but not one that was stopped
    before the deployment. A server without a predecessor did not exist before. Raise FleetError if no server has a
    predecessor, or if what is kept is not what the deployment replaced.
    """

    def what(roles: Roles) -> str:
        if transaction.PREVIOUS in roles:
            return PREVIOUS
        return STOP if transaction.SERVING in roles and not roles[transaction.SERVING].is_down else RESUME

    found = {name: what(roles) for name, roles in seen.items() if roles and transaction.is_of(roles, deployment)}
    if deployment is not None:
        if not found:
            return []
        known = moments or {}
        began = min(known[seen[name][transaction.SERVING].id][0] for name in found)
        serving = {name: roles[transaction.SERVING] for name, roles in seen.items() if transaction.SERVING in roles}
        for name, one in serving.items():
            if one.is_down and one.deployment != deployment and known[one.id][1] >= began:
                found[name] = RESUME
    stuck = [
        name for name, how in found.items() if how == PREVIOUS and not transaction.can_go_back(seen[name], deployment)
    ]
    if stuck or PREVIOUS not in found.values() and not (deployment is not None and RESUME in found.values()):
        raise none_before(", ".join(sorted(stuck or found)), deployment)
    return sorted(found.items(), key=lambda one: (PREVIOUS, RESUME, STOP).index(one[1]))


def none_before(where: str, deployment: str | None) -> FleetError:
    """Return the FleetError for a server that cannot be rolled back."""
    if deployment is None:
        return FleetError(
            "no earlier server was kept for a rollback", where=where, remedy="Deploy the server that you want instead."
        )
    return FleetError(
        f"the server from before deployment {deployment} was not kept",
        where=where,
        remedy="Deploy the server that you want instead, or stop this one (state: stopped), so that the others can go back.",
    )


def in_part(fault: FleetError, results: Sequence[Mapping[str, Any]]) -> FleetError:
    """Return the fault of one server together with the results of others of the same description that succeeded before."""
    new = [result["server"]["name"] for result in results if result["changed"]]
    if not new or isinstance(fault, ServesOn):
        return fault
    return extended(fault, f"The new server {new[-1]} is already serving.", ServesOn)


def whole(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the module's result from those of all servers. The first one stands for all."""
    found = dict(results[0], servers=[result["server"] for result in results])
    if len(results) == 1:
        return found
    if any("pending" in result for result in results):
        found["pending"] = any(result.get("pending") for result in results)
    found.update(
        changed=any(result["changed"] for result in results),
        diff=[result["diff"] for result in results],
        warnings=[text for result in results for text in result["warnings"]],
        actions=[f"{result['server']['name']}: {action}" for result in results for action in result["actions"]],
    )
    return found


def summary(server: Mapping[str, Any]) -> str:
    """Return one line about a server."""
    text = f"{server['name']}: {server['state']}"
    for what, key in (("gRPC", "grpc_port"), ("REST", "rest_port")):
        text += f", {what} {server['address']}:{server[key]}" if server[key] else ""
    text += f", deployment {server['deployment']}" if server.get("deployment") else ""
    return f"{text} ({server['backend']})" + (
        f", no server answered for {server['gap_s']} s" if server["gap_s"] else ""
    )


def _one(options: Mapping[str, Any], copy: Mapping[str, Any]) -> dict[str, Any]:
    folder = options["grpc_socket_directory"]
    changes = {
        "name": options["name"] + copy["suffix"],
        "devices": copy["devices"],
        "cpu_set": copy["cpu_set"] or options["cpu_set"],
        "grpc_socket_directory": folder and folder + copy["suffix"],
    }
    return dict(
        options,
        copy_of=options["name"],
        **changes,
        **{port: options[port] and options[port] + copy["port_offset"] for port in _PORTS},
    )
