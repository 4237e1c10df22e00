# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the options that servers of all backends have: name, ports, CPUs, environment and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import bounded, did_you_mean
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table

# Flags of a plan that the role tfs_server turns into options of the module.
BY_ROLE = ("port", "rest_api_port", "ssl_config_file", "tensorflow_session_config_file", "monitoring_config_file")
# The values that a module returns about a server, in addition to its name, backend and state.
RESULT = (
    "pid",
    "address",
    "grpc_port",
    "rest_port",
    "log",
    "version",
    "specification_digest",
    "image",
    "gap_s",
    "judged",
    "deployment",
    "model_config_file",
)
# Flags that options of model_server set, by the backends with such an option.
EMBEDDED_OWN_FLAGS = {
    "port": "grpc_port",
    "rest_api_port": "rest_port",
    "model_name": "models",
    "model_base_path": "models",
    "model_config_file": "models",
    "batching_parameters_file": "batching_parameters_file",
}
DOCKER_OWN_FLAGS = {
    **EMBEDDED_OWN_FLAGS,
    "monitoring_config_file": "monitoring",
    "tensorflow_session_config_file": "session_config_file",
    "ssl_config_file": "ssl_config_file",
    "grpc_socket_path": "grpc_socket_directory",
}
SERVING = ("started", "proven")  # states of model_server in which a server serves
# Options that only TensorFlow Serving has, so that the embedded server does not replace it.
_OF_TENSORFLOW_SERVING = ("image", "release", "engine_socket")
# Flags with which a server prints something and ends.
_NOT_SERVING = ("version",)
LONGEST_NAME = 64
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def starts_embedded(options: Mapping[str, Any]) -> bool:
    """Return whether these options of model_server, of which the defaults can be missing, start an embedded server."""
    backend = options.get("backend", "auto")
    return options.get("state", "started") in SERVING and (
        backend == "embedded" or backend == "auto" and not any(map(options.get, _OF_TENSORFLOW_SERVING))
    )


def check_name(name: str | None) -> str:
    """Return the name; raise FleetError if it is not valid for a server."""
    if not name:
        raise FleetError(
            "the name of the server is missing",
            where="name",
            remedy="Set name (tfs_server_name of the role); model_server_info lists the servers of a host.",
        )
    if not _NAME.fullmatch(name):
        raise FleetError(
            f"{name!r} is not a valid name for a server; allowed: 1 to {LONGEST_NAME} letters, digits, '_', '.' and '-', beginning with a letter or digit",
            where="name",
            remedy="Set name (tfs_server_name of the role), which by default is that of the first model.",
        )
    return name


def check_environment(variables: Mapping[Any, Any], where: str = "environment") -> None:
    """Raise FleetError for a name or a value that is not valid for an environment variable. None means that the variable is not set."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(str(name)):
            raise FleetError(f"{name!r} is not a valid name for an environment variable", where=where)
        if isinstance(value, (list, dict)) or "\0" in str(value):
            raise FleetError(
                f"{value!r} is not a valid value for an environment variable; allowed: a text, a number, true or false",
                where=f"{where}.{name}",
            )


def check_cpu_set(cpu_set: str | None) -> None:
    """Raise FleetError for a text without a CPU. None means no CPU set."""
    if cpu_set is not None and not limits.parse_cpu_list(cpu_set, where="cpu_set"):
        raise FleetError(
            "it contains no CPU",
            where="cpu_set",
            remedy="Set it to numbers and ranges, such as 0-3,8, or leave it out.",
        )


def check_ports(specification: Any) -> None:
    """Raise FleetError for ports that are not valid for a server of any backend."""
    bounded("grpc_port", specification.grpc_port, 0, 65535)
    if specification.rest_port is not None:
        bounded("rest_port", specification.rest_port, 0, 65535)
        if specification.rest_port and specification.rest_port == specification.grpc_port:
            raise FleetError(
                f"{specification.rest_port} is also the gRPC port, and the server would not serve REST",
                where="rest_port",
                remedy="Choose another port, or 0 for a free one.",
            )


def refuse_own_flag(name: str, own_flags: Mapping[str, str]) -> None:
    """Raise FleetError for a flag that an option sets. own_flags: those of the backend."""
    if name in own_flags:
        raise FleetError("an option sets this flag", where=f"flags.{name}", remedy=f"Set {own_flags[name]} instead.")


def check_flag(name: str, value: Any, release: str) -> None:
    """Raise FleetError if the server of a release would ignore the flag, or end because of it."""
    where = f"flags.{name}"
    if name in _NOT_SERVING:
        raise FleetError("with this flag, the server prints text and exits", where=where, remedy="Leave it out.")
    known = questions.flags(release)
    if questions.first_release_with_flag(name) is None and name not in table.FORMER_FLAGS:
        raise FleetError(
            f"there is no such flag, and the server would silently ignore it{did_you_mean(name, known)}", where=where
        )
    for problem in questions.check_flags(release, {name: value}):
        raise FleetError(problem["reason"], where=where, remedy=f"{problem['remedy']}.")


def check_enable_batching(flags: Mapping[str, Any], is_batched: bool) -> None:
    """Raise FleetError if a flag turns off batching although parameters of the server or its models turn it on."""
    if is_batched and flags.get("enable_batching") is False:
        raise FleetError(
            "false contradicts the batching parameters, which turn batching on",
            where="flags.enable_batching",
            remedy="Leave out one of the two.",
        )


def spelt(value: Any) -> str:
    """Return a flag's value as the server reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
