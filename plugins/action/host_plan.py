# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.host_plan: plan one host from its facts and variables, and detect it first where nothing is known of it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import secret_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import resolution
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.preparation import prepared, with_secrets
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.request import KEYS
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tunings as kept_tunings

_DETECT = "tfserving.fleet.capability_facts"
_ROLES = {f"{path.name}_": str(path) for path in (pathlib.Path(__file__).resolve().parents[2] / "roles").glob("tfs_*")}
_OF_SERVER = "tfs_server_"
_SERVING = ("started", "proven")
_OPTIONS = {
    "for_server": {"type": "bool", "default": True},
    "tunings": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """Works from the host's variables and facts; connects only where the host has to be detected."""

    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(_OPTIONS)

    def run(self, tmp=None, task_vars=None):
        """Return plan and server, and the capabilities as facts where they were detected now."""
        result = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=_OPTIONS)
        variables, detected = Evaluated(task_vars, self._templar), {}
        try:
            capabilities = value_of(variables, "ansible_facts").get("tfserving_capabilities")
            if not capabilities and resolution.needs_plan(wishes_of(variables, options["for_server"])):
                detected = self._detect(task_vars)
                if detected.get("failed") or detected.get("unreachable"):
                    return dict(result, **detected)
                capabilities = detected["ansible_facts"]["tfserving_capabilities"]
            found = resolved(variables, capabilities, options["for_server"], options["tunings"])
        except FleetError as fault:
            return dict(result, failed=True, msg=str(fault))
        if options["for_server"] and found["server"]["refusals"]:
            return dict(result, failed=True, msg=" ".join(found["server"]["refusals"]))
        facts = {"ansible_facts": detected["ansible_facts"]} if detected else {}
        return dict(
            result,
            changed=False,
            warnings=detected.get("warnings", []),
            tunings_directory=tunings_directory(variables),
            deployment={
                "id": self._task._uuid.rpartition("-")[0],
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
            **found,
            **facts,
        )

    def _detect(self, task_vars):
        """The result of capability_facts on the host."""
        task = self._task.copy()
        task.args = (
            {"engine_socket": self._templar.template(task_vars["tfserving_engine_socket"])}
            if task_vars.get("tfserving_engine_socket")
            else {}
        )
        detect = self._shared_loader_obj.action_loader.get(
            _DETECT,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        return detect.run(task_vars=task_vars)


class Evaluated(Mapping):
    """Variables of a task, evaluated when they are read, without the defaults of this collection's roles: what the user set."""

    def __init__(self, variables, templar):
        self._variables = variables
        self._templar = templar

    def __getitem__(self, name):
        if name not in self:
            raise KeyError(name)
        return self._templar.template(self._variables[name])

    def __contains__(self, name):
        return name in self._variables and not any(
            role_variables.role(path).is_default(name, self._variables)
            for prefix, path in _ROLES.items()
            if name.startswith(prefix)
        )

    def __iter__(self):
        return (name for name in self._variables if name in self)

    def __len__(self):
        return sum(1 for _name in self)


def resolved(variables, capabilities, for_server=True, tunings=True):
    """{plan, server} of a host (resolution.resolve) from its variables. for_server: whether the state of tfs_server counts."""
    wishes = wishes_of(variables, for_server, tunings)
    tuning_class = ((capabilities or {}).get("classes") or {}).get("tuning")
    if tunings and tuning_class:
        wishes = dataclasses.replace(
            wishes,
            records=_records(tunings_directory(variables), tuning_class),
            stale_tunings=_stale_tunings(variables),
        )
    given, microarchitectures, secrets = prepared(capabilities or {}, wishes.request, secret_variables)
    found = resolution.resolve(capabilities, dataclasses.replace(wishes, request=given), microarchitectures)
    if found["plan"] and secrets:
        before, found["plan"] = len(found["plan"]["refusals"]), with_secrets(found["plan"], secrets)
        found["server"]["refusals"] += [resolution.spoken(refusal) for refusal in found["plan"]["refusals"][before:]]
    return found


def wishes_of(variables, for_server=True, tunings=True):
    """What the user asks for on a host, from its variables."""
    role = {
        name: value_of(variables, f"{_OF_SERVER}{name}")
        for name in (*resolution.PLANNED, *resolution.READ)
        if f"{_OF_SERVER}{name}" in variables
    }
    if role.get("metric_functions") is not None:
        role["metric_functions"] = _true_or_false(role["metric_functions"])
    groups, host = value_of(variables, "groups"), value_of(variables, "inventory_hostname")
    state = value_of(variables, f"{_OF_SERVER}state") if for_server and f"{_OF_SERVER}state" in variables else "started"
    return resolution.Wishes(
        request=request_of(variables),
        role=role,
        serves=state in _SERVING,
        tunings=value_of(variables, f"{_OF_SERVER}tunings") or ()
        if tunings and f"{_OF_SERVER}tunings" in variables
        else (),
        **(
            {"directory": value_of(variables, "tfserving_model_directory")}
            if "tfserving_model_directory" in variables
            else {}
        ),
        has_samples=host in groups.get("tfserving_converters", [host]),
        converts="tfserving_converters" not in groups,
    )


def _true_or_false(value):
    try:
        return boolean(value)
    except TypeError as fault:
        raise FleetError(f"{value!r} is not true or false", where=f"{_OF_SERVER}metric_functions") from fault


def tunings_directory(variables):
    """Where this host's tunings are kept on the controller, or None where neither a variable nor an inventory file says it."""
    if "tfserving_tunings_directory" in variables and value_of(variables, "tfserving_tunings_directory"):
        return os.path.abspath(os.path.expanduser(value_of(variables, "tfserving_tunings_directory")))
    sources = [
        os.path.abspath(source)
        for source in (
            value_of(variables, "ansible_inventory_sources") if "ansible_inventory_sources" in variables else ()
        )
    ]
    beside = value_of(variables, "inventory_dir") if "inventory_dir" in variables else None
    return kept_tunings.directory_beside(
        beside,
        [source for source in sources if os.path.exists(source)],
        [source for source in sources if os.path.isdir(source)],
    )


def _stale_tunings(variables):
    name = "tfserving_stale_tunings"
    return one_of(name, value_of(variables, name), kept_tunings.STALE) if name in variables else kept_tunings.STALE[0]


def _records(directory, tuning_class):
    """The tunings of a class that are kept in a directory of the controller."""
    found = []
    for path in sorted(pathlib.Path(directory, tuning_class).glob("*.yml")) if directory else ():
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as fault:
            raise FleetError(
                f"cannot read the tuning: {' '.join(str(fault).split())}",
                where=str(path),
                remedy="Tune again, or remove the file.",
            ) from fault
        found.append(kept_tunings.Tuning.from_dict(data, str(path)))
    return found


def request_of(variables):
    """A host's request: tfs_capabilities_request where the user sets it, else the collection-wide variables."""
    if "tfs_capabilities_request" in variables:
        given = value_of(variables, "tfs_capabilities_request")
        if not isinstance(given, dict):
            raise FleetError(f"{given!r} is not a mapping", where="tfs_capabilities_request")
        return given
    return {key: value_of(variables, f"tfserving_{key}") for key in KEYS if f"tfserving_{key}" in variables}


def value_of(variables, name):
    """A host's variable, evaluated; what its expression lacks is told with its name."""
    try:
        return variables[name]
    except AnsibleError as fault:
        raise FleetError(f"cannot be evaluated: {str(fault).partition(chr(10))[0]}", where=name) from fault
