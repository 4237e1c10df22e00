# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store the result of a tuning for later runs: one record per tuning class and model, to be read and committed.

A record contains the change to the plan and not the whole configuration. Therefore settings that the user changes later
take effect.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_names, trial_configuration, variants

STALE = ("keep", "ignore", "fail")
FOLDER = "tunings"
# Settings of clients, which do not apply to the server.
_APPLIED = ("form", "batching", "environment", "flags")
_OF_SERVER = ("environment", "flags")
_VALID_FOR = ("backend", "image", "release")
_STRUCTURE = ("signatures", "graph")


@dataclass(frozen=True)
class Tuning:
    """The record of one tuning.

    change: what was faster than the plan, with trial_configuration.KEYS except protocol; empty if nothing was. gain:
    {fraction, interval, confidence} of all kept changes together, or None. measured: {at, host, protocol, in_flight,
    examples}. valid_for: {backend, image, release} and, if the SavedModel is known, its structure: {signatures, graph},
    digests without weights. confirmed_on: other hosts of the class that showed a gain as well. refuted: {host, reason,
    change, gain} if another host did not confirm the change, which is then empty; None otherwise. scatter: {squares,
    degrees, measured_as} of pairs of servers, with a digest of how they were measured; None if it is unknown.
    """

    model: str
    tuning_class: str
    change: Mapping[str, Any]
    gain: Mapping[str, Any] | None
    measured: Mapping[str, Any]
    valid_for: Mapping[str, Any]
    confirmed_on: Sequence[str] = ()
    refuted: Mapping[str, Any] | None = None
    scatter: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as data, in the order in which people read it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Tuning:
        """Return the record of as_dict(). Raise FleetError for invalid data. where: the file's name."""
        needed = {key.name for key in fields(cls) if key.default is MISSING}
        known = isinstance(data, dict) and needed <= set(data) <= set(cls.__dataclass_fields__)
        if not known or not isinstance(data.get("confirmed_on", ()), (list, tuple)) or not _counts(data.get("scatter")):
            raise FleetError(
                f"this is not a valid tuning file, which has the keys {', '.join(cls.__dataclass_fields__)}",
                where=where,
                remedy="Undo the change of the file, or remove it and tune again.",
            )
        for key in ("change", "measured", "valid_for", *(("refuted",) if data.get("refuted") is not None else ())):
            if not isinstance(data[key], dict):
                raise FleetError(f"{data[key]!r} is not a mapping", where=f"{where}: {key}")
        for key in data["change"]:
            one_of(f"{where}: change", key, _APPLIED)
        trial_configuration.complete(data["change"], f"{where}: change")
        one_of(f"{where}: change.form", data["change"].get("form", variants.SAVED_MODEL), variants.SERVED)
        try:
            parameters.given_of(data["change"].get("batching") or {})
        except FleetError as fault:
            raise FleetError(fault.what, where=f"{where}: change.batching.{fault.where}") from fault
        model_names.check(data["model"], f"{where}: model")
        return cls(**data)


def _counts(scatter: Any) -> bool:
    """Return whether this is a scatter, or None."""
    values = [scatter.get(key) for key in ("squares", "degrees")] if isinstance(scatter, dict) else []
    return scatter is None or bool(values) and all(isinstance(value, (int, float)) and value >= 0 for value in values)


def kept(
    result: Mapping[str, Any],
    tuning_class: str,
    release: str | None,
    host: str,
    at: str,
    structure: Mapping[str, str] | None = None,
) -> Tuning:
    """Return the record of a result of the module tuning. structure: of the tuned SavedModel, as saved_model_info returns it."""
    before, after, total, method = result["start"], result["configuration"], result["total"], result["method"]
    change = trial_configuration.difference(before, after)
    gain = (
        None
        if total["gain"] is None
        else {"fraction": total["gain"], "interval": total["gain_interval"], "confidence": method["confidence"]}
    )
    return Tuning(
        result["model"],
        tuning_class,
        change,
        gain if total["kept"] else None,
        {
            "at": at,
            "host": host,
            "protocol": before["protocol"],
            "in_flight": method["concurrency"],
            "examples": method["examples"],
        },
        {"backend": result["backend"], "image": result["image"], "release": release, **(structure or {})},
        scatter=result["scatter"],
    )


def repeated(record: Tuning, result: Mapping[str, Any], host: str) -> Tuning:
    """Return the record after another host compared its change with the start: without the change, unless that host showed a gain."""
    if result["total"]["kept"]:
        return replace(record, confirmed_on=sorted({*record.confirmed_on, host}))
    refuted = {"host": host, "reason": result["total"]["reason"], "change": record.change, "gain": record.gain}
    return replace(record, change={}, gain=None, refuted=refuted)


def counted(result: Mapping[str, Any], repeats: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a result of the module tuning as it counts for the class. repeats: results of hosts that repeated its final comparison."""
    against = next((repeat["total"]["reason"] for repeat in repeats if not repeat["total"]["kept"]), None)
    if against is None:
        return result

    def refused(step: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
        reason = f"{step['reason']}; another host of the class did not confirm it: {against}"
        return dict(step, kept=False, reason=reason, **more) if step["kept"] else step

    steps = [refused(step, unconfirmed=True) for step in result["steps"]]
    return dict(result, configuration=result["start"], steps=steps, total=refused(result["total"]))


def evidence(record: Tuning) -> str:
    """Return where the record was measured, confirmed or refuted, as a clause."""
    text = f"measured on {record.measured.get('host')} at {record.measured.get('at')}"
    if record.confirmed_on:
        text += f", confirmed on {', '.join(record.confirmed_on)}"
    if not record.refuted:
        return text
    gain = record.refuted.get("gain") or {}
    size = "" if gain.get("fraction") is None else f" of {gain['fraction'] * 100:+.1f} %"
    return f"{text} with a gain{size} that {record.refuted.get('host')} did not confirm: {record.refuted.get('reason')}"


def path(directory: str, tuning_class: str, model: str) -> str:
    """Return the path of the record of a tuning class and model."""
    return posixpath.join(directory, tuning_class, f"{model}.yml")


def directory_beside(inventory_directory: str | None, sources: Sequence[str], directories: Sequence[str]) -> str | None:
    """Return the default directory of tunings: next to the inventory file, or next to the inventory directory, where Ansible does not read them as hosts.

    inventory_directory: of the host. sources: the inventory's, as absolute paths. directories: those sources that are
    directories. Return None without an inventory file.
    """
    if not inventory_directory or not sources:
        return None
    whole = next(
        (source for source in directories if posixpath.commonpath([source, inventory_directory]) == source), None
    )
    return posixpath.join(posixpath.dirname(whole) if whole else inventory_directory, FOLDER)


def stale(tuning: Tuning, plan: Mapping[str, Any], structure: Mapping[str, str] | None = None) -> list[str]:
    """Return what has changed since the tuning was measured, as texts. Unknown values are not compared.

    structure: of the SavedModel on the host.
    """
    elsewhere = [
        f"{key} {tuning.valid_for.get(key)} -> {plan[key]}"
        for key in _VALID_FOR
        if tuning.valid_for.get(key) != plan[key]
    ]
    now = structure or {}
    known = [key for key in _STRUCTURE if tuning.valid_for.get(key) and now.get(key)]
    return elsewhere + [f"other {key} of the model" for key in known if now[key] != tuning.valid_for[key]]


def legal(change: Mapping[str, Any], release: str) -> dict[str, Any]:
    """Return the part of a change that the release supports."""
    flags = change.get("flags") or {}
    given = {name: value for name, value in flags.items() if value is not None}
    wrong = {problem["flag"] for problem in questions.check_flags(release, given)}
    return (
        dict(change, flags={name: value for name, value in flags.items() if name not in wrong})
        if wrong
        else dict(change)
    )


def without_settings(change: Mapping[str, Any], request: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a change that does not conflict with the user's own settings, which take precedence."""
    left = {key: value for key, value in change.items() if key not in _OF_SERVER}
    if model.get("batching") not in (None, "auto"):
        left.pop("batching", None)
    if model.get("optimize") not in (None, "auto"):
        left.pop("form", None)
    if "batching" in left and not left["batching"] and (request.get("flags") or {}).get("enable_batching"):
        del left["batching"]
    for key in _OF_SERVER:
        changed = {
            name: value for name, value in (change.get(key) or {}).items() if name not in (request.get(key) or {})
        }
        if changed:
            left[key] = changed
    return left


def conflicts(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return {environment or flags: {name: {model: value}}} of the settings of the whole server for which the tunings of its models have different values."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key in _OF_SERVER:
        for name in sorted(
            {name for change in changes.values() for name in change.get(key) or {}} - {"grpc_max_threads"}
        ):
            wanted = {model: (change.get(key) or {}).get(name) for model, change in changes.items()}
            if len({repr(value) for value in wanted.values()}) > 1:
                found.setdefault(key, {})[name] = wanted
    return found
