# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which files of batching parameters a server needs, and their content.

Either one file applies to all models (--batching_parameters_file), or, with --enable_per_model_batching_parameters,
each model version has its own. Then the one file only sets the thread pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import compatibility, parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.start_values import start_values
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signatures

# The threads belong to the server, whatever the file of a model contains.
SERVER_WIDE = ("num_batch_threads", "thread_pool_name")
GIVEN = "given"


class FileResult(TypedDict):
    """A file as modules return it. text is None for a missing file."""

    path: str | None
    text: str | None
    parameters: dict[str, Any] | None
    reasons: dict[str, str] | None


class Model(TypedDict):
    """A model. batching: its own parameters, "auto" for those of the server, "none" or None for a model without batching."""

    name: str
    signatures: Signatures | None
    batching: Any


@dataclass(frozen=True)
class File:
    """The parameters of one file. model: None for the file of the whole server. reasons: {parameter: why it has its value}."""

    model: str | None
    parameters: parameters.Parameters
    reasons: dict[str, str]

    @property
    def text(self) -> str:
        """Return the content of the file."""
        return parameters.text(self.parameters)

    def as_dict(self, path: str) -> FileResult:
        """Return the file as modules do."""
        return {"path": path, "text": self.text, "parameters": self.parameters.as_dict(), "reasons": self.reasons}


@dataclass(frozen=True)
class Request:
    """The user's request.

    given: {parameter: value or None}. capabilities, goal: as in start_values.
    """

    given: Mapping[str, Any]
    models: tuple[Model, ...] = ()
    capabilities: Mapping[str, Any] | None = None
    goal: str = "online"


def for_server(request: Request) -> tuple[File | None, list[str]]:
    """Return (the File that applies to all models, or None if no model is batched; warnings).

    Raise FleetError if the parameters or a model do not permit batching.
    """
    _check_models(request.models)
    if request.models and not any(map(_is_batched, request.models)):
        return None, []
    signatures = {
        f"{model['name']}/{name}": signature
        for model in request.models
        for name, signature in (model["signatures"] or {}).items()
    }
    own = _own(request.models[0]) if request.models else {}
    for model in request.models:
        if _own(model) != own or not _is_batched(model):
            raise FleetError(
                "this model has different batching, but one file applies to all models",
                where=f"models: {model['name']}",
                remedy="Set per_model to true.",
            )
    file = _file(None, request, dict(request.given, **own), signatures, parameters.NAMES)
    return file, _judge(request.models, [file] * len(request.models))


def per_model(request: Request, with_server_file: bool) -> tuple[File | None, list[File], list[str]]:
    """Return (the File of the whole server or None, the Files of the batched models, warnings).

    with_server_file: whether there is a file for the threads.
    """
    _check_models(request.models)
    server, of_all = _split(request.given)
    batched = [model for model in request.models if _is_batched(model)]
    files = []
    for model in batched:
        try:
            threads, own = _split(_own(model))
            _agree(server, threads)
            files.append(
                _file(
                    model["name"],
                    request,
                    dict(of_all, **own),
                    model["signatures"],
                    [name for name in parameters.NAMES if name not in SERVER_WIDE],
                )
            )
        except FleetError as fault:
            raise _within(model, fault) from fault
    if server and not with_server_file:
        raise FleetError(
            "the threads belong to the whole server, so a model's file cannot set them",
            where=next(iter(server)),
            remedy="Set path as well, for the server's own file.",
        )
    return _file(None, request, server, None, SERVER_WIDE) if with_server_file else None, files, _judge(batched, files)


def _agree(server: dict[str, Any], threads: Mapping[str, Any]) -> None:
    """Add the thread parameters of a model to those of the server. Raise FleetError if they differ."""
    for name, value in threads.items():
        if server.setdefault(name, value) != value:
            raise FleetError(
                f"{value} here and {server[name]} elsewhere, but the threads belong to the whole server",
                where=name,
                remedy=f"Set {name} once for all models, not in single entries of models.",
            )


def _check_models(models: Sequence[Model]) -> None:
    names = [model["name"] for model in models]
    for number, model in enumerate(models):
        if not model["name"]:
            raise FleetError(f"{model['name']!r} is not a valid name for a model", where=f"models[{number}].name")
        if names.count(model["name"]) > 1:
            raise FleetError("it is listed more than once", where=f"models: {model['name']}")
        try:
            parameters.check_choice(model["batching"], "batching")
            parameters.given_of(_own(model))
            compatibility.well_formed(model["signatures"] or {})
        except FleetError as fault:
            raise _within(model, fault) from fault


def _is_batched(model: Model) -> bool:
    return model["batching"] not in (None, "none")


def _own(model: Model) -> dict[str, Any]:
    """Return the parameters that apply only to this model, as {parameter: value}."""
    return (
        {name: value for name, value in model["batching"].items() if value is not None}
        if isinstance(model["batching"], dict)
        else {}
    )


def _within(model: Model, fault: FleetError) -> FleetError:
    """Return the fault with the name of the model."""
    return FleetError(fault.what, where=f"models: {model['name']}: {fault.where}", remedy=fault.remedy)


def _file(
    model: str | None, request: Request, given: Mapping[str, Any], signatures: Signatures | None, names: Iterable[str]
) -> File:
    """Return a File of the given values and, if the host is known, start values for the other names."""
    given = parameters.given_of(given)
    chosen = start_values(request.capabilities, request.goal, given, signatures) if request.capabilities else {}
    values = {name: chosen[name][0] for name in names if name in chosen}
    reasons = {name: chosen[name][1] if name in chosen else GIVEN for name in names if name in chosen or name in given}
    return File(model, parameters.check(dict(values, **given)), reasons)


def _judge(models: Sequence[Model], files: Sequence[File]) -> list[str]:
    warnings = []
    for model, file in zip(models, files):
        if model["signatures"] is None:
            warnings.append(
                f"model {model['name']}: its signatures are unknown, so it was not checked whether it can be batched"
            )
        faults, more = compatibility.judge(model["signatures"] or {}, file.parameters.pad_variable_length_inputs)
        for fault in faults:
            raise _within(model, fault)
        warnings += [f"model {model['name']}, {warning}" for warning in more]
    return warnings


def _split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split {parameter: value or None} into the parameters of the server and the others, without those that are not set."""
    given = {name: value for name, value in given.items() if value is not None}
    return (
        {name: value for name, value in given.items() if name in SERVER_WIDE},
        {name: value for name, value in given.items() if name not in SERVER_WIDE},
    )
