# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert the options of model_server to a ServingConfiguration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import absolute_path
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config, server_options
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import (
    BATCHING_FILE,
    ServingConfiguration,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import UNKNOWN, ModelConfiguration


def configuration(
    options: Mapping[str, Any], contents: Mapping[str, bytes | None], **of_backend: Any
) -> ServingConfiguration:
    """Return the fields that both backends read in the same way. Raise FleetError for an invalid environment variable.

    contents: {file of configuration.FILE_FLAGS: its bytes, or None if unknown}. of_backend: the other fields.
    """
    server_options.check_environment(options["environment"])
    return ServingConfiguration(
        name=options["name"],
        models=models(options, contents),
        batched_per_model=_each_by_its_own(options),
        flags={name: questions.typed(name, value) for name, value in options["flags"].items()},
        environment={name: str(value) for name, value in options["environment"].items() if value is not None},
        grpc_port=options["grpc_port"],
        rest_port=options["rest_port"],
        cpu_set=options["cpu_set"],
        **of_backend,
    )


def models(options: Mapping[str, Any], contents: Mapping[str, bytes | None] | None) -> tuple[ModelConfiguration, ...]:
    """Return the models in the options. contents: as in configuration(), or None if their batching does not matter."""
    of_all = _of_all(contents or {})
    return tuple(
        model_config.model(
            one["name"],
            one["base_path"],
            one["version_policy"],
            one["labels"],
            _own(one) if _each_by_its_own(options) else of_all,
        )
        for one in options["models"]
    )


def batching_text(options: Mapping[str, Any]) -> str | None:
    """Return the content of the file of batching parameters, or None if the options set none. Raise FleetError for an invalid value."""
    if not options["batching"]:
        return None
    if not options["batching_parameters_file"]:
        raise FleetError(
            "the batching parameters need a file, and it is not set",
            where="batching_parameters_file",
            remedy="Set it, or leave batching out.",
        )
    absolute_path("batching_parameters_file", options["batching_parameters_file"])
    with _located_in("batching"):
        return parameters.text(parameters.check(options["batching"]))


def _of_all(contents: Mapping[str, bytes | None]) -> Any:
    """Return the parameters of the one file that applies to all models."""
    if BATCHING_FILE not in contents:
        return None
    content = contents[BATCHING_FILE]
    found = parameters.read(content.decode("utf-8", "replace")) if content is not None else None
    return UNKNOWN if found is None else found


def _each_by_its_own(options: Mapping[str, Any]) -> bool:
    return any(one.get("batching") for one in options["models"])


def _own(one: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parameters of one model. Raise FleetError for an invalid value."""
    with _located_in(f"models: {one['name']}: batching"):
        return parameters.given_of(one["batching"]) if one.get("batching") else None


@contextlib.contextmanager
def _located_in(option: str) -> Iterator[None]:
    try:
        yield
    except FleetError as fault:
        raise FleetError(fault.what, where=f"{option}.{fault.where}", remedy=fault.remedy) from fault
