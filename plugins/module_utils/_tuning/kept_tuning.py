# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for what a tuning takes over from earlier runs, and what it keeps for later ones."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tuning_files, tunings

LEFT_OUT = "was used up before it was measured"  # part of the reason of a candidate for which the budget was too short


def stored(options: Mapping[str, Any]) -> tunings.Tuning | None:
    """Return the earlier tuning of the class and model, or None. One that cannot be read matters only where it is repeated: a new tuning replaces it."""
    if not options["keep_in"]:
        return None
    try:
        return tuning_files.of_model(options["keep_in"], options["tuning_class"], options["name"])
    except FleetError:
        if options["repeat"]:
            raise
        return None


def log_path(options: Mapping[str, Any]) -> str:
    """Return the path of a tuning's log, which exists until the tuning ends, next to the file that it will write."""
    folder, _slash, name = tunings.path(options["keep_in"], options["tuning_class"], options["name"]).rpartition("/")
    return f"{folder}/.{name}.log"


def content(call: Callable[..., Any], options: Mapping[str, Any], variants: Mapping[str, str]) -> list[Any]:
    """Return JSON that differs if the versions of the model on the host differ, or the files of the options. Their paths do not show that."""
    versions = call("ansible.builtin.find", paths=list(variants.values()), file_type="any")["files"] if variants else []
    files = (options["samples"], options["metric_function"], options["traffic"].get("arrivals"))
    return [
        sorted([entry["path"], entry.get("mtime")] for entry in versions),
        [call("ansible.builtin.stat", path=path)["stat"].get("checksum") for path in files if path],
    ]


def keep(
    options: Mapping[str, Any],
    host: str,
    earlier: tunings.Tuning | None,
    found: Mapping[str, Any],
    structure: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Write the record of a tuning, and return the result of the module. earlier: the stored record.

    A tuning that keeps nothing, and whose budget ended before all candidates were measured, replaces no record with a change. Its result is None then.
    """
    if earlier and options["repeat"]:
        record = tunings.repeated(earlier, found, host)
    elif earlier and earlier.change and not found["total"]["kept"] and not _is_complete(found):
        what = "not all candidates were measured" if _measured_a_candidate(found) else "no candidate was measured"
        reason = f"{options['name']}: {what}, so the earlier tuning stays: {tunings.evidence(earlier)}"
        return Decision(changed=False, warnings=(reason,)).result(tuning=None)
    else:
        at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        record = tunings.kept(found, options["tuning_class"], options["release"], host, at, structure)
    return tuning_files.write(record, options["keep_in"]).result(tuning=found)


def _is_complete(found: Mapping[str, Any]) -> bool:
    """Return whether a candidate was measured, and the budget left none out or undecided."""
    return _measured_a_candidate(found) and not any(LEFT_OUT in step["reason"] for step in found["steps"])


def _measured_a_candidate(found: Mapping[str, Any]) -> bool:
    return any(step["instances"] and not step.get("advice") for step in found["steps"])
