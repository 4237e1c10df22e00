# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan against what runs on its host (docs/architecture.md, "What runs on a host")."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import looks_secret
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options

# What ports, models and batching say of a server for themselves.
OWN_FLAGS = (
    "port",
    "rest_api_port",
    "model_name",
    "model_base_path",
    "model_config_file",
    "enable_batching",
    "enable_per_model_batching_parameters",
    "batching_parameters_file",
    *server_options.BY_ROLE,
)
_SERVER_KEYS = ("backend", "image", "flags", "environment", "cpu_set", "devices")
_MODEL_KEYS = ("form", "batching")
_STARTED = "started"


def differences(plan, servers):
    """[text]: what deploying the plan would change on its host. servers: what runs there; a key that one lacks is not compared."""
    started = [server for server in servers if server.get("state", _STARTED) == _STARTED]
    served = {model["name"]: (server, model) for server in reversed(started) for model in server["models"]}
    planned = {model["name"]: model for model in plan["models"]}
    parts = plan["server"].get("per_gpu")
    if parts:
        found = [text for part in parts for text in _of_part(plan, part, started)]
    else:
        found = [
            text
            for model in planned.values()
            for text in _of_model(plan["server"], plan, model, served.get(model["name"]))
        ]
    found += (
        [f"{server['name']}: not planned any more, will be stopped" for server in started if _is_surplus(server, parts)]
        if planned
        else []
    )
    gone = [] if plan["refusals"] and not planned else sorted(set(served) - set(planned))
    return found + [f"{name}: served by {served[name][0]['name']}, and not asked for any more" for name in gone]


def _of_part(plan, part, started):
    """What one server of several would change: compared is the one that runs under its suffix."""
    planned = {model["name"] for model in plan["models"]}
    server = next(
        (
            server
            for server in started
            if _suffix(server) == part["suffix"] and planned & {model["name"] for model in server["models"]}
        ),
        None,
    )
    wanted = dict(plan["server"], devices=part["devices"], cpu_set=part["cpu_set"] or plan["server"]["cpu_set"])
    running = {model["name"]: (server, model) for model in server["models"]} if server else {}
    (device,) = part["devices"]
    where = f"GPU {device['pci_bus_id']}{' ' + device['id'] if device['id'].startswith('MIG-') else ''}: "
    return [
        where + text for model in plan["models"] for text in _of_model(wanted, plan, model, running.get(model["name"]))
    ]


def _suffix(server):
    """What a server's name adds to that of the description it is a copy of."""
    return server["name"][len(server["copy_of"]) :] if server.get("copy_of") else ""


def _is_surplus(server, parts):
    return bool(server.get("copy_of")) and _suffix(server) not in {part["suffix"] for part in parts or [{"suffix": ""}]}


def _of_model(wanted, plan, model, served):
    if served is None:
        yield f"{model['name']}: not served yet"
        return
    server, running = served
    now = flat(dict(_known(server, _SERVER_KEYS), **_known(running, _MODEL_KEYS)))
    planned = flat(
        dict(
            _known(dict(wanted, backend=plan["backend"], image=plan["image"]), _SERVER_KEYS),
            **_known(model, _MODEL_KEYS),
        )
    )
    compared = {key for key in {**now, **planned} if key.partition(".")[0] in {**server, **running}}
    for key in sorted(compared):
        if now.get(key) != planned.get(key):
            secret = key.startswith("environment.") and any(
                looks_secret(key.rpartition(".")[2], given.get(key)) for given in (now, planned)
            )
            values = "another value (not shown)" if secret else f"{shown(now.get(key))} -> {shown(planned.get(key))}"
            yield f"{model['name']}: {key}: {values}"


def _known(mapping, keys):
    known = {key: mapping[key] for key in keys if key in mapping}
    if "flags" in known:
        known["flags"] = {name: value for name, value in (known["flags"] or {}).items() if name not in OWN_FLAGS}
    return known


def flat(value, path=""):
    """{dotted path: leaf} of nested mappings, without leaves that say nothing."""
    if isinstance(value, dict):
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in flat(inner, f"{path}.{name}" if path else str(name)).items()
        }
    return {path: value} if value not in (None, [], {}) else {}


def shown(value):
    """A leaf as a reader expects it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in sorted(value.items())) + "}"
    return "none" if value is None else str(value)
