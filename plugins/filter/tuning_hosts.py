# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.tuning_hosts: which hosts measure which models for their tuning class."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._plan import host_variables
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def tuning_hosts(hosts, variables):
    """Return {measure, repeat}, each a list of {host, models, seconds}. variables: a mapping from a name to the host's variables (hostvars).

    The files of tunings are of a folder, a class and a model. The first host with these measures, and the second one repeats.
    """
    models, serving = {}, {}
    for host in sorted(hosts):
        known = variables[host]
        models[host] = _by_name(known.get("tfs_tuning_models", known.get("tfserving_models")))
        capabilities = known["ansible_facts"]["tfserving_capabilities"]
        for name in models[host]:
            of = (host_variables.tunings_directory(known), capabilities["classes"]["tuning"], name)
            serving.setdefault(of, []).append(host)
    return {"measure": _entries(serving, models, 0), "repeat": _entries(serving, models, 1)}


def _by_name(given):
    """Return {name: its models}. A host without models keeps its place: its variables are checked where it measures."""
    found = {} if given else {"": []}
    for one in given if isinstance(given, list) else [given] if given else []:
        found.setdefault(one.get("name", "") if isinstance(one, dict) else "", []).append(one)
    return found


def _entries(serving, models, rank):
    found = {}
    for (_directory, _class, name), hosts in serving.items():
        for host in hosts[rank : rank + 1]:
            entry = found.setdefault(host, {"host": host, "models": [], "seconds": {}})
            entry["models"] += models[host][name]
            entry["seconds"][name] = "".join(hosts[1:2])
    return list(found.values())


FilterModule = _filters.module(tuning_hosts)
