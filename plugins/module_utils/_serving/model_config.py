# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the models of a server (TensorFlow Serving's model_config_list) before a server reads them, and determine their versions."""

from __future__ import annotations

import enum
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import bounded, one_line
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import writer
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_names, variants


class Unknown(enum.Enum):
    """The type of a value that cannot be known, and is not compared."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True)
class ModelConfiguration:
    """A model of a server."""

    name: str
    base_path: str = ""  # empty if only its variant is planned
    form: str | None = None  # one of variants.SERVED; None if the folder does not show it
    batching: Mapping[str, Any] | None | Unknown = None  # parameters by name; empty for those of the server
    version_policy: Mapping[str, Any] | None = (
        None  # {latest: n}, {specific: [...]} or {all: true}; None for only the newest
    )
    # {label: version}; None removes an existing label once
    labels: Mapping[str, int | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as data, without batching if it is unknown; the inverse of from_dict."""
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        return {key: value for key, value in data.items() if value is not UNKNOWN}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfiguration:
        """Return the model of to_dict(), also of an earlier version of the collection, which stored no variant and no batching."""
        return cls(
            data["name"],
            data.get("base_path", ""),
            data["form"] if data.get("form") else variant_of(data.get("base_path", "")),
            data.get("batching", UNKNOWN),
            data.get("version_policy"),
            data.get("labels") or {},
        )


_REMOTE = re.compile(r"[a-z0-9]+://")
_POLICIES = ("latest", "specific", "all")


def model(
    name: str,
    base_path: str | None,
    version_policy: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    batching: Mapping[str, Any] | None | Unknown = None,
) -> ModelConfiguration:
    """Return a complete model."""
    path = (base_path or "").rstrip("/") or base_path or ""
    policy = {
        key: value
        for key, value in (version_policy or {}).items()
        if value is not None and value is not False and value != []
    }
    versions = {label: int(number) if str(number).isdecimal() else number for label, number in (labels or {}).items()}
    return ModelConfiguration(name, path, variant_of(path), batching, policy or None, versions)


def variant_of(base_path: str) -> str | None:
    """Return the variant of the models below a folder of published models, or None."""
    name = posixpath.basename(base_path.rstrip("/"))
    return name if name in variants.SERVED else None


def with_moved_labels(
    models: Iterable[ModelConfiguration], before: Iterable[ModelConfiguration], served: Iterable[ModelConfiguration]
) -> tuple[ModelConfiguration, ...]:
    """Return the models with the labels and versions that something else, such as model_version, changed while they were served.

    before: the models of the description of the current server. served: its models according to its file. A value that
    the new description changes compared with the one before overrides the served value.
    """
    described, now = ({one.name: one for one in group} for group in (before, served))
    return tuple(_with_moved(one, described.get(one.name, one), now.get(one.name, one)) for one in models)


def _with_moved(one: ModelConfiguration, before: ModelConfiguration, served: ModelConfiguration) -> ModelConfiguration:
    given = one.labels
    labels: dict[str, int] = {}
    for label in sorted({*given, *served.labels}):
        version, version_before = given.get(label), before.labels.get(label)
        takes_away = version is None and label in given and label not in before.labels
        if version == version_before and not takes_away:
            version = served.labels.get(label)
        if version is not None:
            labels[label] = version
    policy = served.version_policy if one.version_policy == before.version_policy else one.version_policy
    if policy and "specific" in policy:
        policy = {"specific": sorted({*policy["specific"], *labels.values()})}
    return replace(one, version_policy=policy, labels=labels)


def rolled_back(
    then: Iterable[ModelConfiguration],
    described_then: Iterable[ModelConfiguration],
    described_now: Iterable[ModelConfiguration],
    now: Iterable[ModelConfiguration],
) -> tuple[ModelConfiguration, ...]:
    """Return the models of the previous server with the labels and versions that something else, such as model_version, changed since it was replaced.

    then, now: the models that the previous and the current server serve according to their files. described_then,
    described_now: those of their descriptions.
    """
    earlier = tuple(then)
    began = with_moved_labels(described_now, described_then, earlier)  # what the current server served at first
    return with_moved_labels(earlier, began, now)


def labels_set_again(models: Iterable[ModelConfiguration], served: Iterable[ModelConfiguration]) -> list[str]:
    """Return sentences about the labels of models that name another version, or none, as they are served."""
    now = {one.name: one.labels for one in served}
    return [
        f"give the label {label} of {one.name} to version {version}"
        for one in models
        for label, version in labels_of(one).items()
        if now.get(one.name, one.labels).get(label) != version
    ]


def label_sentences(
    models: Sequence[ModelConfiguration], desired: Sequence[ModelConfiguration], served: Iterable[ModelConfiguration]
) -> list[str]:
    """Return sentences about what with_moved_labels() changed in the desired models. served: as in with_moved_labels()."""
    kept = {one.name: one.labels for one in models}
    return [
        *(
            f"keep the label {label} of {one.name} on version {version}"
            for one, given in zip(models, desired)
            for label, version in one.labels.items()
            if given.labels.get(label) != version
        ),
        *(
            f"remove the label {label} of {one.name}"
            for one in served
            for label in labels_of(one)
            if label not in kept.get(one.name, {label})
        ),
    ]


def check(models: Sequence[ModelConfiguration]) -> None:
    """Raise FleetError for the first entry that a server would refuse, or accept but serve something else."""
    if not models:
        raise FleetError("there is no model", where="models", remedy="List at least one, with name and base_path.")
    names = [one.name for one in models]
    for position, one in enumerate(models):
        where = f"models[{position}]"
        model_names.check(one.name, f"{where}.name")
        if names.count(one.name) > 1:
            raise FleetError(
                f"{one.name} is listed twice", where=f"{where}.name", remedy="Give each model its own name."
            )
        if not is_remote(one.base_path) and (not one.base_path.startswith("/") or ":" in one.base_path):
            raise FleetError(f"{one.base_path!r} is not an absolute path without ':'", where=f"{where}.base_path")
        one_line(f"{where}.base_path", one.base_path)
        for label in one.labels:
            one_line(f"{where}.labels", label)
        _check_versions(one, where)


def is_remote(base_path: str) -> bool:
    """Return whether the server itself downloads the model from an object store."""
    return bool(_REMOTE.match(base_path))


def folders(models: Iterable[ModelConfiguration]) -> list[str]:
    """Return the folders on the host that the server reads, sorted."""
    return sorted({one.base_path for one in models if not is_remote(one.base_path)})


def wanted_versions(one: ModelConfiguration, present: Collection[int]) -> list[int]:
    """Return the versions that the server must serve, ascending. Raise FleetError if one does not exist.

    present: the numbers in the model's folder.
    """
    policy = one.version_policy or {"latest": 1}
    if "specific" in policy:
        wanted = sorted(policy["specific"])
    else:
        wanted = sorted(present) if policy.get("all") else sorted(present)[-policy["latest"] :]
    missing = [number for number in wanted if number not in present]
    if not present:
        raise FleetError(
            "it contains no version (a folder with a number as its name), so the server would wait forever with closed ports",
            where=one.base_path,
            remedy="Publish the model there, or correct the path.",
        )
    if missing:
        raise FleetError(
            f"version {missing[0]} is missing; present: {', '.join(map(str, sorted(present)))}",
            where=one.base_path,
            remedy="Publish it first.",
        )
    unlabelled = [f"{label}: {number}" for label, number in labels_of(one).items() if number not in wanted]
    if unlabelled:
        raise FleetError(
            f"a label names a version that is not served ({unlabelled[0]}; served: {', '.join(map(str, wanted))})",
            where=f"labels of {one.name}",
            remedy="Set version_policy to serve it: specific: [...].",
        )
    return wanted


def text(models: Iterable[ModelConfiguration]) -> str:
    """Return the model_config_list as a text proto."""
    return writer.text([("model_config_list", [("config", _message(one)) for one in models])])


def monitoring() -> str:
    """Return the monitoring configuration that publishes Prometheus metrics at the usual path, as a text proto."""
    return writer.text([("prometheus_config", [("enable", True), ("path", "/monitoring/prometheus/metrics")])])


def _check_versions(one: ModelConfiguration, where: str) -> None:
    policy = one.version_policy or {}
    if len(policy) > 1 or set(policy) - set(_POLICIES):
        raise FleetError(
            f"{policy!r} is not a valid version policy; allowed: exactly one of latest, specific and all",
            where=f"{where}.version_policy",
        )
    if "latest" in policy:
        bounded(f"{where}.version_policy.latest", policy["latest"], 1)
    for number in [*policy.get("specific", ()), *labels_of(one).values()]:
        bounded(f"{where}: version", number, 0, 2**63 - 1)


def labels_of(one: ModelConfiguration) -> dict[str, int]:
    """Return the labels of a model, without those to remove, sorted."""
    return {label: number for label, number in sorted(one.labels.items()) if number is not None}


def _message(one: ModelConfiguration) -> list[tuple[str, Any]]:
    """Return a model as the message ModelConfig (textproto.reader)."""
    policy = [("model_version_policy", [_policy(one.version_policy)])] if one.version_policy else []
    labels = [("version_labels", [("key", label), ("value", number)]) for label, number in labels_of(one).items()]
    return [("name", one.name), ("base_path", one.base_path), ("model_platform", "tensorflow"), *policy, *labels]


def _policy(policy: Mapping[str, Any]) -> tuple[str, list[tuple[str, Any]]]:
    if "specific" in policy:
        return "specific", [("versions", number) for number in sorted(policy["specific"])]
    return ("all", []) if policy.get("all") else ("latest", [("num_versions", policy["latest"])])
