# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and change the file that lists a server's models (model_config_list), and encode it as the request that makes a server reload it.

A parsed message is what textproto.reader returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader, schema, writer
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto.schema import Message


def parse(text: str, where: str) -> Message:
    """Return the parsed message of the file's text. Raise FleetError."""
    return reader.read(text, schema.SERVER_CONFIG, where, keep_unknown=True)


def lost(text: str) -> str | None:
    """Return what a rewritten file would lose, as text, or None. text: of a file that parse() accepts."""
    lines = reader.comments(text)
    return f"the comments on line {', '.join(map(str, lines))}" if lines else None


def names(message: Message) -> list[str]:
    """Return the names of the listed models."""
    return [dict(one).get("name", "") for one in _listed(message)]


def incomplete(message: Message) -> list[str]:
    """Return the names of the models that are listed without model_platform, and without model_type in its place."""
    return [
        dict(one).get("name", "") for one in _listed(message) if not {"model_platform", "model_type"} & dict(one).keys()
    ]


def labels(message: Message, name: str) -> dict[str, int]:
    """Return {label: version} of a model. Raise FleetError if the model is not listed."""
    return {
        dict(one).get("key", ""): dict(one).get("value", 0) for one in _values(_model(message, name), "version_labels")
    }


def specific(message: Message, name: str) -> list[int] | None:
    """Return the versions that a model's policy lists, or None if it has another policy."""
    for policy in _values(_model(message, name), "model_version_policy"):
        for chosen in _values(policy, "specific"):
            return [value for field, value in chosen if field == "versions"]
    return None


def served(text: str, where: str) -> dict[str, dict[str, Any]]:
    """Return {model: {version_policy, labels}} as the option models of model_server has them. text: the file's. Raise FleetError."""
    message = parse(text, where)
    return {
        name: {"version_policy": _policy(message, name), "labels": labels(message, name)} for name in names(message)
    }


def _policy(message: Message, name: str) -> dict[str, Any] | None:
    for kind, chosen in (one for policy in _values(_model(message, name), "model_version_policy") for one in policy):
        if kind == "latest":
            return {"latest": dict(chosen).get("num_versions", 1)}
        return {"all": True} if kind == "all" else {"specific": specific(message, name)}
    return None


def with_versions(message: Message, name: str, numbers: Iterable[int]) -> Message:
    """Return the message in which a model's policy lists these versions."""
    return _changed(
        message, name, "model_version_policy", [[("specific", [("versions", number) for number in sorted(numbers)])]]
    )


def with_label(message: Message, name: str, label: str, version: int) -> Message:
    """Return the message in which a label of a model names this version."""
    given = dict(labels(message, name), **{label: version})
    return _changed(
        message, name, "version_labels", [[("key", key), ("value", value)] for key, value in sorted(given.items())]
    )


def text(message: Message) -> str:
    """Return the text of a parsed message."""
    return writer.text(message)


def reload_request(message: Message, where: str | None = None) -> bytes:
    """Return the bytes of a ReloadConfigRequest with the message. Raise FleetError for a field that this collection cannot send."""
    return protobuf.held(1, writer.encode(message, schema.SERVER_CONFIG, where))


def _model(message: Message, name: str) -> Message:
    for one in _listed(message):
        if ("name", name) in one:
            return one
    raise FleetError(
        f"the model {name!r} is not listed",
        where="config_file",
        remedy="Set config_file to the file that the server was started with.",
    )


def _listed(message: Message) -> list[Message]:
    return [one for listed in _values(message, "model_config_list") for one in _values(listed, "config")]


def _values(message: Message, field: str) -> list[Any]:
    return [value for name, value in message if name == field]


def _changed(message: Message, name: str, field: str, values: Iterable[Message]) -> Message:
    old = _model(message, name)
    place = next((position for position, item in enumerate(old) if item[0] == field), len(old))
    new = old[:place] + [(field, value) for value in values] + [item for item in old[place:] if item[0] != field]
    return [(key, [(inner, new if one is old else one) for inner, one in value]) for key, value in message]
