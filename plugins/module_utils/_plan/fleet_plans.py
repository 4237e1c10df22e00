# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of a fleet, and what deploying them would change: against what the hosts answered now, or else what is remembered of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import changes, plan_text

Hosts = Mapping[str, Mapping[str, Any]]
Plans = Mapping[str, "dict[str, Any] | None"]


class Changes(TypedDict):
    """What deploying the plan of a host would change."""

    seen: str | None  # now, remembered, or None where nothing is known of what runs
    reason: str | None  # why it was not asked now
    differences: list[str]


def variables_of(hosts: list[str], known: Hosts) -> Hosts:
    """{host: its variables}; raise FleetError for the first host that is not in the inventory."""
    for host in hosts:
        if host not in known:
            raise FleetError(f"{host!r} is not a host of the inventory{did_you_mean(host, known)}", where="hosts")
    return {host: known[host] for host in hosts}


def plan_all(
    hosts: Hosts, plan: Callable[[Mapping[str, Any]], dict[str, Any] | None]
) -> dict[str, dict[str, Any] | None]:
    """{host: plan, or None without capabilities}; raise one FleetError that names every fault of the hosts' variables, each with its hosts.

    hosts: {host: its variables}, here and below. plan: of a host's variables.
    """
    plans: dict[str, dict[str, Any] | None]
    faults: dict[str, list[str]]
    plans, faults = {}, {}
    for host, variables in hosts.items():
        try:
            plans[host] = plan(variables)
        except FleetError as fault:
            faults.setdefault(str(fault), []).append(host)
    if faults:
        raise FleetError(
            " ".join(f"{text.rstrip('.')} (on {plan_text.shortened(named)})." for text, named in faults.items())
        )
    return plans


def against(plans: Plans, hosts: Hosts, variable: str | None) -> dict[str, Changes]:
    """What each plan would change. variable: the name that what runs was registered as."""
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
            "differences": changes.differences(plan, servers) if plan and servers is not None else [],
        }
    return found


def news(plans: Plans, hosts: Hosts, variable: str | None) -> list[str]:
    """Return the hosts on which something else runs than is remembered."""
    registered = {host: _registered(hosts[host], variable) for host in plans}
    return sorted(
        host
        for host, now in registered.items()
        if "servers" in now
        and not _unseen(now, plans[host], hosts[host])
        and now["servers"] != hosts[host]["ansible_facts"].get("tfserving_servers")
    )


def _why_unseen(now: Mapping[str, Any]) -> str | None:
    """Why a host did not tell what runs on it, in one line, or None. Ansible has said of each host that cannot be reached why not."""
    if now.get("unreachable"):
        return "the host cannot be reached"
    said = " ".join(str(now.get("unseen") or now.get("msg") or "").split())
    for words in ("Task failed: ", "Action failed: "):
        said = said[len(words) :] if said.startswith(words) else said
    return said or None


def _unseen(now: Mapping[str, Any], plan: Mapping[str, Any] | None, host: Mapping[str, Any]) -> bool:
    """Whether servers in containers may run that could not be seen, and matter to this plan. A plan that serves nothing has no backend."""
    return bool(now.get("unseen")) and ((plan or {}).get("backend") or host.get("tfserving_backend")) != "embedded"


def _registered(variables: Mapping[str, Any], variable: str | None) -> Mapping[str, Any]:
    return variables.get(variable) or {} if variable else {}
