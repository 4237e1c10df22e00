# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the running server of a host with the one that would replace it, before a deployment changes anything.

The running server is the candidate of the comparison, and the new one its baseline: a gain of the running server is a loss by the upgrade. So measuring ends
when a loss is shown, or excluded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    server_options,
    trial_configuration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING,
    PER_MODEL_BATCHING,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import UNKNOWN
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import judgment, options
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial import Controller, Trial
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_log import TrialLog
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.trial_servers import RUNNING

_NEW = "new"
# What can make a server faster or slower, and what a trial server takes over.
_COMPARED = frozenset({"backend", "image", "flags", "environment", "base_path", "version_policy", "batching"})
_OTHER = {"baseline": "candidate", "candidate": "baseline"}


def gate(controller: Controller, given: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the result of the module tuning with the option upgrade. Raise FleetError for a new server that must not replace the running one."""
    options.check(given)
    name, upgrade = given["name"], given["upgrade"]
    result: dict[str, Any] = {"changed": False, "tuning": None, "actions": []}
    try:
        sides = _sides(name, upgrade["running"], upgrade["desired"])
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as fault:
        raise FleetError(
            f"it does not describe how the model {name} is served ({fault.__class__.__name__})",
            where="upgrade",
            remedy="Pass servers of model_server_info as running, and server of host_plan as desired.",
        ) from fault
    if sides is None:
        return dict(result, msg=f"{name}: first deployment on {controller.host}, so there is nothing to compare.")
    before, after = sides
    differing = derived_flags.diff(before, after, _COMPARED)
    if not differing:
        return dict(result, msg=f"{name}: the deployment changes nothing that is compared.")
    changed = ", ".join(sorted(path.removeprefix(f"models.{name}.") for path in differing))
    why = reason = None
    if before.backend != after.backend:
        why = "servers of different backends cannot be compared"
    elif not check_mode:
        try:
            trial = _Upgrade(controller, given, before, after)
            with trial:
                why, reason = trial.measured()
        except FleetError as fault:
            why = f"it could not be measured: {fault}"
    if why:
        raise FleetError(
            f"the new server ({changed}) is refused: {why}",
            where=f"{name} on {controller.host}",
            remedy="Nothing was changed. To deploy it all the same, set tfserving_upgrade_gate: false.",
        )
    if check_mode:
        action = f"Compare the running server of {name} with the new one ({changed})"
        diff = {
            side: {path: values[number] for path, values in differing.items()}
            for number, side in enumerate(("before", "after"))
        }
        return dict(result, actions=[action], diff=diff, msg=f"{name}: the deployment changes {changed}.")
    controller.say(f"{name}: the running server against the new one ({changed}): {reason}")
    return dict(result, msg=f"{name}: the new server is not shown to be slower. The running one against it: {reason}")


def _sides(
    name: str, running: Iterable[Mapping[str, Any]], desired: Mapping[str, Any]
) -> tuple[ServingConfiguration, ServingConfiguration] | None:
    """Return how a model is served and how it would be, or None if no server of this name, or replica of it, serves it."""
    wanted = next(one for one in desired["models"] if one["name"] == name)
    for server in running:
        if server["state"] == "started" and desired["name"] in (server["name"], server.get("copy_of")):
            for model in server["models"]:
                if model["name"] == name:
                    if (model.get("labels") or {}) != (wanted.get("labels") or {}):  # a deployment keeps moved labels
                        wanted = {**wanted, "version_policy": model.get("version_policy")}
                    return _whole(server, model), _whole(desired, wanted)
    return None


def _whole(server: Mapping[str, Any], model: Mapping[str, Any]) -> ServingConfiguration:
    """Return the configuration of a server with one of its models. server: of model_server_info, or of host_plan."""
    flags = {name: value for name, value in server["flags"].items() if name not in server_options.DOCKER_OWN_FLAGS}
    batching = {} if "batching" in model or "batching" not in server else {"batching": server["batching"] or None}
    known = {key: server.get(key) for key in ("name", "backend", "image", "release", "environment")}
    whole = ServingConfiguration.from_dict({**known, "flags": flags, "models": [{**model, **batching}]})
    return whole if whole.backend == "docker" else dataclasses.replace(whole, image=None, release=None)


class _Upgrade(Trial):
    """The comparison of a running server, as the start, with a new one. Both are trial servers."""

    def __init__(
        self,
        controller: Controller,
        given: Mapping[str, Any],
        before: ServingConfiguration,
        after: ServingConfiguration,
    ) -> None:
        sides = {RUNNING: before, _NEW: after}
        protocol = trial_configuration.complete(given["start"])["protocol"]
        start, self._new = (_configuration(side, of, protocol) for side, of in sides.items())
        given = {**given, "start": start, "candidates": [{"name": "new server", "change": {"form": _NEW}}]}
        folders = {side: of.models[0].base_path for side, of in sides.items()}
        super().__init__(controller, given, folders, TrialLog(None), ())
        self.servers.served = {side: _served(of) for side, of in sides.items()}

    def measured(self) -> tuple[str | None, str]:
        """Return (why the new server must not replace the running one or None, how the running one compares with it)."""
        self._measure_noise()
        found = self._measurement.compare(self._new, self.start, self._measurement.rules())
        upgrade = dataclasses.replace(
            found,
            windows=[{**window, "target": _OTHER[window["target"]]} for window in found.windows],
            accuracy={"before": found.accuracy["after"], "after": found.accuracy["before"]},
            before=found.after,
            after=found.before,
        )
        shown = found.comparison
        why = judgment.harm(upgrade, self.options) or judgment.failures(upgrade.windows)
        if not why and shown.interval == (None, None):
            why = f"it could not be measured: {shown.reason}"
        if not why and shown.verdict == "gain":
            why = f"the running server against it: {shown.reason}"
        return why, shown.reason


def _served(of: ServingConfiguration) -> dict[str, Any]:
    """Return the options of model_server for a model, and for its image."""
    (model,) = of.models
    served = {"name": model.name, "base_path": model.base_path, "version_policy": model.version_policy}
    return {"models": [served], **({"image": of.image} if of.image else {})}


def _configuration(side: str, of: ServingConfiguration, protocol: str) -> Configuration:
    batching, flags = of.models[0].batching, {}
    if batching == {}:
        flags = {BATCHING: True}
    elif batching is UNKNOWN and of.batched_per_model:  # the parameters are in the versions
        flags = {BATCHING: True, PER_MODEL_BATCHING: True}
    return Configuration(
        protocol=protocol,
        form=side,
        batching=dict(batching) if batching and isinstance(batching, Mapping) else None,
        environment=dict(of.environment),
        flags={**derived_flags.chosen_flags(of), **flags},
    )
