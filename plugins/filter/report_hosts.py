# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.report_hosts: the results of the roles in each host's variables, as input of the module report."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tunings
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


def report_hosts(hosts, variables):
    """Return a list of {host, capabilities, plan, server, price_per_hour, tunings, checks}, one entry per host; what a host does not have is None or empty.

    hosts: names. variables: a mapping from a name to the host's variables (hostvars).
    """
    unknown = next((host for host in hosts if host not in variables), None)
    if unknown is not None:
        raise AnsibleFilterError(f"report_hosts: {unknown!r} is not a host of the inventory")
    tuned = {host: _tunings(variables[host]) for host in hosts}
    repeats = [tuning for found in tuned.values() for tuning in found if tuning.get("repeats")]
    return [_entry(host, variables[host], tuned[host], repeats) for host in hosts]


def _tunings(known):
    results = _results(known.get("tfs_tuning_result"))
    return [{"model": _model(result), **result["tuning"]} for result in results if result.get("tuning")]


def _entry(host, known, tuned, repeats):
    served = _results(known.get("tfs_server_result"))
    return {
        "host": host,
        "capabilities": (known.get("ansible_facts") or {}).get("tfserving_capabilities"),
        "plan": (known.get("tfs_capabilities_plan_result") or {}).get("plan"),
        "server": next((result["server"] for result in served if result.get("server")), None),
        "price_per_hour": known.get("tfserving_price_per_hour"),
        "tunings": [
            tunings.counted(
                one, [other for other in repeats if (other["repeats"], other["model"]) == (host, one["model"])]
            )
            for one in tuned
        ],
        "checks": [{"model": _model(check), **check} for result in served for check in result.get("checks") or ()],
    }


def _model(result):
    return (result.get("item") or {}).get("name")


def _results(registered):
    """Return the results of a registered loop, or the one result."""
    registered = registered or {}
    return registered.get("results", [registered])


FilterModule = _filters.module(report_hosts)
