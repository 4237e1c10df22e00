# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.plan_report: plan a fleet at once, print it, compare it with what runs or with an earlier plan, keep it as a file."""

from __future__ import annotations

import difflib
import functools
import json
import os
import pathlib
import re
import shutil

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.action.host_plan import evaluated
from ansible_collections.tfserving.fleet.plugins.action.role_variables import refuse_unknown
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import secret_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import did_you_mean, refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import changes as realities
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import fleet, host_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.request import KEYS, MODEL_KEYS

_COLLECTION = pathlib.Path(__file__).resolve().parents[2]
_ROLE = str(_COLLECTION / "roles" / "tfs_capabilities")
_PREFIX = "tfserving_"
_CLOSE = 0.75
_FOR_PROGRAMS = re.compile(r"json|xml|junit|csv|tap|^null$")
_OPTIONS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "earlier": {"type": "path"},
    "running": {"type": "str"},
    "path": {"type": "path"},
    "display": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Works from the hosts' variables and facts alone: no connection."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(_OPTIONS)

    def run(self, tmp=None, task_vars=None):
        """Plan and print; write the file unless it is as it should be."""
        result = super().run(tmp, task_vars)
        try:
            refuse(_OPTIONS, self._task.args)
            _checked, options = self.validate_argument_spec(argument_spec=_OPTIONS)
            variables = _variables(options["hosts"], task_vars["hostvars"])
            plans = plan_all(variables)
            earlier = _read(options["earlier"]) if options["earlier"] else None
            running = against(plans, variables, options["running"])
            decision = decide(plans, options["path"])
            if decision.changed and not self._task.check_mode:
                os.makedirs(os.path.dirname(os.path.abspath(options["path"])), exist_ok=True)
                atomic_files.write_file(options["path"], decision.after.encode())
        except FleetError as fault:
            return dict(result, failed=True, msg=f"plan_report: {fault}")
        except OSError as fault:
            return dict(
                result, failed=True, msg=f"plan_report: path: {options['path']} cannot be written: {fault.strerror}."
            )
        table = fleet.text(plans, earlier, shutil.get_terminal_size((120, 24)).columns, running)
        if options["display"] and not for_programs(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK")):
            Display().display("\n" + table)
        refused = sorted(host for host, plan in plans.items() if plan and plan["refusals"])
        changes = fleet.differences(plans, earlier)[1:] if earlier is not None else None
        return dict(
            result,
            **decision.result(
                plans=plans,
                table=table,
                refused_hosts=refused,
                changes=changes,
                running=running,
                news=news(plans, variables, options["running"]),
            ),
        )


def for_programs(callback):
    """Whether a program reads what a stdout callback of this name writes."""
    return bool(_FOR_PROGRAMS.search(str(callback).rpartition(".")[2]))


def _variables(hosts, known):
    """{host: its variables}; raise FleetError for the first host that is not in the inventory."""
    unknown = next((host for host in hosts if host not in known), None)
    if unknown is not None:
        raise FleetError(f"{unknown!r} is no host of the inventory{did_you_mean(unknown, known)}", where="hosts")
    return {host: known[host] for host in hosts}


def plan_all(hosts):
    """{host: plan, or None without capabilities}; raise one FleetError that names every fault of the hosts' variables, each with its hosts.

    hosts: {host: its variables}, here and below.
    """
    plans, faults = {}, {}
    for host, variables in hosts.items():
        try:
            refuse_unknown(variables, _ROLE, "tfserving.fleet.tfs_capabilities")
            refuse_misspelt(variables)
            own = host_variables.Host(evaluated(variables, lambda value: value), secret_variables)
            capabilities = own.variables["ansible_facts"].get("tfserving_capabilities")
            # Faults of the request are told for unknown hosts too.
            made = host_variables.resolved(own, capabilities or {}, host_variables.Purpose(for_server=False))["plan"]
            plans[host] = made if capabilities else None
        except FleetError as fault:
            faults.setdefault(str(fault), []).append(host)
    if faults:
        raise FleetError(
            " ".join(f"{text.rstrip('.')} (on {fleet.shortened(named)})." for text, named in faults.items())
        )
    return plans


@functools.cache
def _known_variables():
    """The names of the collection's own variables: all that its roles and playbooks mention."""
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("roles", "playbooks")
        for path in sorted((_COLLECTION / folder).rglob("*.yml"))
    ]
    return frozenset(re.findall(r"\btfserving_\w+", "\n".join(texts))) | {f"tfserving_{key}" for key in KEYS}


def refuse_misspelt(variables):
    """Raise FleetError for a variable that nothing reads and whose name is nearly that of one that is read."""
    known = _known_variables()
    for name in (f"{_PREFIX}{key}" for key in MODEL_KEYS):
        if name in variables and name not in known:
            raise FleetError(
                "no such variable", where=name, remedy=f"Give {name[len(_PREFIX) :]} to each model in tfserving_models."
            )
    for name in sorted(name for name in variables if name.startswith(_PREFIX) and name not in known):
        close = difflib.get_close_matches(
            name[len(_PREFIX) :], [other[len(_PREFIX) :] for other in sorted(known)], n=1, cutoff=_CLOSE
        )
        if close:
            raise FleetError(f"no such variable; did you mean {_PREFIX}{close[0]}?", where=name)


def against(plans, hosts, variable):
    """{host: {seen, reason, differences}} (fleet.text): against what was asked now, else what is remembered. variable: the name it was registered as."""
    found = {}
    for host, plan in plans.items():
        now = _told(hosts[host], variable)
        servers, seen, reason = now.get("servers"), "now", None
        if servers is None or _unseen(now, plan):
            servers = hosts[host]["ansible_facts"].get("tfserving_servers")
            seen, reason = None if servers is None else "remembered", _why_unseen(now)
        found[host] = {
            "seen": seen,
            "reason": reason,
            "differences": realities.differences(plan, servers) if plan and servers is not None else [],
        }
    return found


def _why_unseen(now):
    """Why a host did not tell what runs on it, in one line, or None. Ansible has said of each host that cannot be reached why not."""
    if now.get("unreachable"):
        return "the host cannot be reached"
    return (
        " ".join(str(now.get("unseen") or now.get("msg") or "").split())
        .removeprefix("Task failed: ")
        .removeprefix("Action failed: ")
        or None
    )


def news(plans, hosts, variable):
    """The hosts that told now that something else runs on them than is remembered."""
    told = {host: _told(hosts[host], variable) for host in plans}
    return sorted(
        host
        for host, now in told.items()
        if "servers" in now
        and not _unseen(now, plans[host])
        and now["servers"] != hosts[host]["ansible_facts"].get("tfserving_servers")
    )


def _unseen(now, plan):
    """Whether servers in containers may run that could not be seen, and matter to this plan."""
    return bool(now.get("unseen")) and (plan or {}).get("backend") != "embedded"


def _told(variables, variable):
    return variables.get(variable) or {} if variable else {}


def decide(plans, path):
    """What to write to path (None: nothing), as text; before is what is there."""
    if not path:
        return Decision(changed=False)
    after = json.dumps(plans, indent=2, sort_keys=True) + "\n"
    before = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            before = stream.read()
    return Decision(
        changed=before != after,
        before=before,
        after=after,
        header=path,
        actions=(f"Write {path}",) if before != after else (),
    )


def _read(path):
    try:
        with open(path, encoding="utf-8") as stream:
            plans = json.load(stream)
    except (OSError, ValueError) as fault:
        raise FleetError(
            f"{path} cannot be read as earlier plans: {fault}",
            where="earlier",
            remedy="Name a file that an earlier run wrote.",
        ) from fault
    needed = {"models", "server", "refusals"}
    if not isinstance(plans, dict) or not all(
        plan is None or (isinstance(plan, dict) and needed <= set(plan)) for plan in plans.values()
    ):
        raise FleetError(
            f"{path} holds no plans by host", where="earlier", remedy="Name a file that an earlier run wrote."
        )
    return plans
