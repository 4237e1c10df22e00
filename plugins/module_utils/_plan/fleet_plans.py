# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the plans of a fleet, and what deploying them would change compared with what runs now, or with what the facts remember."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError, refuse_malformed
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import changes, plan_text

Hosts = Mapping[str, Mapping[str, Any]]
Plans = Mapping[str, "dict[str, Any] | None"]


class Changes(TypedDict):
    """What deploying the plan of a host would change."""

    seen: str | None  # now, remembered, or None if it is not known what runs
    reason: str | None  # why the host did not answer now
    differences: list[str]


def variables_of(hosts: list[str], known: Hosts) -> Hosts:
    """Return {host: its variables}. Raise FleetError for the first host that is not in the inventory."""
    for host in hosts:
        if host not in known:
            raise FleetError(f"{host!r} is not a host of the inventory{did_you_mean(host, known)}", where="hosts")
    return {host: known[host] for host in hosts}


def plan_all(
    hosts: Hosts, plan: Callable[[Mapping[str, Any]], dict[str, Any] | None]
) -> dict[str, dict[str, Any] | None]:
    """Return {host: plan, or None without capabilities}. Raise one FleetError with all faults of the hosts' variables, each with its hosts.

    hosts: {host: its variables}, here and below. plan: a function from a host's variables to its plan.
    """
    plans: dict[str, dict[str, Any] | None]
    faults: dict[str, list[str]]
    plans, faults = {}, {}
    for host, variables in hosts.items():
        try:
            with refuse_malformed("the facts of the host"):
                plans[host] = plan(variables)
        except FleetError as fault:
            faults.setdefault(str(fault), []).append(host)
    if faults:
        raise FleetError(
            " ".join(f"{text.rstrip('.')} (on {plan_text.shortened(named)})." for text, named in faults.items())
        )
    return plans


def against(plans: Plans, hosts: Hosts, variable: str | None) -> dict[str, Changes]:
    """Return what each plan would change. variable: the registered variable that contains what runs."""
    found: dict[str, Changes] = {}
    for host, plan in plans.items():
        now = _registered(hosts[host], variable)
        seen: str | None = "now"
        servers, reason = now.get("servers"), None
        if servers is None or _unseen(now, plan, hosts[host]):
            servers = hosts[host]["ansible_facts"].get("tfserving_servers")
            seen, reason = None if servers is None else "remembered", _why_unseen(now)
        found[host] = {
            "seen": seen,
            "reason": reason,
            "differences": changes.differences(
                plan, servers, _server_name(plan, hosts[host]), _ports(plan, hosts[host])
            )
            if plan and servers is not None
            else [],
        }
    return found


def _server_name(plan: Mapping[str, Any], variables: Mapping[str, Any]) -> str | None:
    """Return the name of the server that the plan of a host is for, or None without models."""
    first = next((model["name"] for model in plan["models"]), None)
    return variables.get("tfs_server_name") or (plan.get("serve") or {}).get("name") or first


def _ports(plan: Mapping[str, Any], variables: Mapping[str, Any]) -> set[int]:
    """Return the ports of the server that the plan of a host is for, without those that it chooses itself, as the defaults of tfs_server do."""
    serve, flags = plan.get("serve") or {}, plan["server"].get("flags") or {}
    found = (
        variables.get(f"tfs_server_{name}", serve.get(name, flags.get(flag, port)))
        for name, flag, port in (("grpc_port", "port", 8500), ("rest_port", "rest_api_port", 8501))
    )
    return {int(port) for port in found if str(port).isdecimal()} - {0}


def news(plans: Plans, hosts: Hosts, variable: str | None) -> list[str]:
    """Return the hosts on which something else runs than the facts remember."""
    registered = {host: _registered(hosts[host], variable) for host in plans}
    return sorted(
        host
        for host, now in registered.items()
        if "servers" in now
        and not _unseen(now, plans[host], hosts[host])
        and now["servers"] != hosts[host]["ansible_facts"].get("tfserving_servers")
    )


def _why_unseen(now: Mapping[str, Any]) -> str | None:
    """Return in one line why a host did not report what runs on it, or None. Ansible itself reports why it cannot reach a host."""
    if now.get("unreachable"):
        return "the host cannot be reached"
    said = " ".join(str(now.get("unseen") or now.get("msg") or "").split())
    for words in ("Task failed: ", "Action failed: "):
        said = said[len(words) :] if said.startswith(words) else said
    return said or None


def _unseen(now: Mapping[str, Any], plan: Mapping[str, Any] | None, host: Mapping[str, Any]) -> bool:
    """Return whether containers that were not visible may run servers that matter to this plan. A plan without a backend has no servers."""
    return bool(now.get("unseen")) and ((plan or {}).get("backend") or host.get("tfserving_backend")) != "embedded"


def _registered(variables: Mapping[str, Any], variable: str | None) -> Mapping[str, Any]:
    return variables.get(variable) or {} if variable else {}
