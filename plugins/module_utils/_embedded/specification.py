# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derive from a ServingConfiguration the embedded server's command line, and the actions that start or replace it."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import absolute_path, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import flags as embedded_flags
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    model_config,
    model_names,
    server_options,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING_FILE,
    MODELS_FILE,
    ServingConfiguration,
)

ADDRESS = "127.0.0.1"


def check(specification: ServingConfiguration) -> ServingConfiguration:
    """Return the specification. Raise FleetError for the first value that is not valid for a server."""
    server_options.check_name(specification.name)
    for model in specification.models:
        model_names.check(model.name, "model_name")
        absolute_path("model_base_path", model.base_path)
    model_config.check(specification.models)
    server_options.check_ports(specification)
    for name in sorted(specification.flags):
        _check_flag(name, specification.flags[name])
    server_options.check_enable_batching(
        specification.flags, specification.is_batched or bool(specification.batching_parameters_file)
    )
    server_options.check_environment(specification.environment)
    server_options.check_cpu_set(specification.cpu_set)
    if specification.idle_exit_s is not None:
        bounded("idle_exit_s", specification.idle_exit_s, 1, unit="s")
    return specification


def command(
    specification: ServingConfiguration, program_path: str, models_path: str, batching_path: str | None = None
) -> list[str]:
    """Return the server's command line.

    program_path, models_path, batching_path: of its program, of the file of its models, of a copy of its batching
    parameters.
    """
    files = {MODELS_FILE: models_path}
    if specification.batching_parameters_file:
        files[BATCHING_FILE] = batching_path or specification.batching_parameters_file
    place = derived_flags.Place(specification.grpc_port, specification.rest_port or 0, files)
    return [specification.python or "", program_path] + [
        f"--{name}={server_options.spelt(value)}"
        for name, value in derived_flags.all_flags(specification, place).items()
    ]


def environment(specification: ServingConfiguration) -> dict[str, str]:
    """Return the server's environment variables in addition to those of its host."""
    own = {
        "TFSERVING_EMBEDDED_ADDRESS": specification.address,
        "TFSERVING_EMBEDDED_RELOAD_BELOW": json.dumps([model.base_path for model in specification.models]),
    }
    if specification.idle_exit_s is not None:
        own["TFSERVING_EMBEDDED_IDLE_EXIT_S"] = str(specification.idle_exit_s)
    return {**specification.environment, **own}


def decide_started(
    wanted: ServingConfiguration, found: ServingConfiguration | None, running: bool, alongside: bool = False
) -> Decision:
    """Return the Decision for state started.

    found: the specification that was last started, or None. running: whether that server lives. alongside: whether its
    successor is checked alongside it.
    """
    header = f"server {wanted.name}"
    if running and found is not None and derived_flags.digest(found) == derived_flags.digest(wanted):
        return Decision(False, found.to_dict(), wanted.to_dict(), header=header)
    actions = [f"check a candidate alongside the server {wanted.name}"] if running and alongside else []
    actions += [f"stop the server {wanted.name}, whose configuration changed"] if running else []
    actions.append(f"start the server {wanted.name}")
    return Decision(True, found.to_dict() if found and running else {}, wanted.to_dict(), tuple(actions), header=header)


def decide_absent(name: str, found: ServingConfiguration | None, running: bool, remains: bool) -> Decision:
    """Return the Decision for state absent. found: as in decide_started. remains: whether there are files of the server."""
    if not (running or remains):
        return Decision(False, {}, {}, header=f"server {name}")
    actions = ([f"stop the server {name}"] if running else []) + [f"remove the files of the server {name}"]
    return Decision(True, found.to_dict() if found else {}, {}, tuple(actions), header=f"server {name}")


def _check_flag(name: str, value: Any) -> None:
    server_options.refuse_own_flag(name, server_options.EMBEDDED_OWN_FLAGS)
    server_options.check_flag(name, value, questions.releases()[-1])
    if name in embedded_flags.NOT_BUILT and value != embedded_flags.FLAGS[name][1]:
        raise FleetError(
            "the embedded server does not support this flag", where=f"flags.{name}", remedy="Leave it out."
        )
