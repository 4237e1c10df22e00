# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an embedded server shall be: its specification, the digest that tells one from another, its command line, and what must be done to get there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import absolute_path, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import flags as embedded_flags
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config, model_names, server_options

ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Specification:
    """A server in full. grpc_port: 0 until chosen. rest_port: None for no REST, 0 until chosen. flags: {name: value}, environment: {name: text}.

    models: as model_config has them, where the server takes more than the newest version of one model; model_name and model_base_path are the first's.
    batching_parameters and program are digests of what their files hold, so that a changed file is another specification.
    """

    name: str
    backend: str
    address: str
    grpc_port: int
    rest_port: int | None
    python: str
    program: str
    model_name: str
    model_base_path: str
    flags: dict
    environment: dict
    cpu_set: str | None
    batching_parameters_file: str | None
    batching_parameters: str | None
    idle_exit_s: float | None
    models: tuple = ()

    def as_dict(self):
        """As data; from_dict is the inverse."""
        return dict(asdict(self), models=list(self.models))

    @classmethod
    def from_dict(cls, data):
        """The specification that as_dict() made."""
        return cls(**dict(data, models=tuple(data.get("models") or ())))

    def digest(self):
        """A text that two specifications share only if they are equal."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def with_ports(self, grpc_port, rest_port):
        """The same with ports that are chosen."""
        return replace(self, grpc_port=grpc_port, rest_port=rest_port)


def check(specification):
    """Return the specification; raise FleetError for the first value that no server can have."""
    server_options.check_name(specification.name)
    model_names.check(specification.model_name, "model_name")
    for path in [specification.model_base_path, *(model["base_path"] for model in specification.models)]:
        absolute_path("model_base_path", path or "")
    if specification.models:
        model_config.check(specification.models)
    server_options.check_ports(specification)
    for name in sorted(specification.flags):
        _check_flag(name, specification.flags[name])
    if specification.batching_parameters_file and specification.flags.get("enable_batching") is False:
        raise FleetError(
            "false contradicts batching_parameters_file, which turns batching on",
            where="flags.enable_batching",
            remedy="Leave out one of the two.",
        )
    server_options.check_environment(specification.environment)
    server_options.check_cpu_set(specification.cpu_set)
    if specification.idle_exit_s is not None:
        bounded("idle_exit_s", specification.idle_exit_s, 1, unit="s")
    return specification


def command(specification, program_path, models_path=None):
    """The server's command line, a list. program_path: where its program lies; models_path: and the file of its models, where it has one."""
    models = (
        {"model_config_file": models_path}
        if specification.models
        else {"model_name": specification.model_name, "model_base_path": specification.model_base_path}
    )
    given = {"port": specification.grpc_port, "rest_api_port": specification.rest_port or 0, **models}
    if any(model["labels"] for model in specification.models):
        given["allow_version_labels_for_unavailable_models"] = True
    if specification.batching_parameters_file:
        given.update(enable_batching=True, batching_parameters_file=specification.batching_parameters_file)
    given.update(specification.flags)
    return [specification.python, program_path] + [
        f"--{name}={server_options.spelt(value)}" for name, value in given.items()
    ]


def environment(specification):
    """The variables that the server gets beside those of its host."""
    own = {"TFSERVING_EMBEDDED_ADDRESS": specification.address}
    if specification.idle_exit_s is not None:
        own["TFSERVING_EMBEDDED_IDLE_EXIT_S"] = str(specification.idle_exit_s)
    return {**specification.environment, **own}


def decide_started(wanted, found, running, beside=False):
    """The Decision for state started. found: the specification that was last started, or None. running: whether that server lives; beside: and its
    successor is proven beside it."""
    header = f"server {wanted.name}"
    if found == wanted and running:
        return Decision(False, found.as_dict(), wanted.as_dict(), header=header)
    actions = [f"prove a candidate beside the server {wanted.name}"] if running and beside else []
    actions += [f"stop the server {wanted.name}, whose specification changed"] if running else []
    actions.append(f"start the server {wanted.name}")
    return Decision(True, found.as_dict() if running else {}, wanted.as_dict(), tuple(actions), header=header)


def decide_absent(name, found, running):
    """The Decision for state absent. found: as in decide_started."""
    if found is None and not running:
        return Decision(False, {}, {}, header=f"server {name}")
    actions = ([f"stop the server {name}"] if running else []) + [f"forget the server {name}"]
    return Decision(True, found.as_dict() if found else {}, {}, tuple(actions), header=f"server {name}")


def _check_flag(name, value):
    server_options.refuse_own_flag(name, server_options.EMBEDDED_OWN_FLAGS)
    server_options.check_flag(name, value, questions.releases()[-1])
    if name in embedded_flags.NOT_BUILT and value != embedded_flags.FLAGS[name][1]:
        raise FleetError("the embedded server does not have this", where=f"flags.{name}", remedy="Leave it out.")
