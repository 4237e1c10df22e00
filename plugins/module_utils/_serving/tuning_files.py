# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the files of tunings on the controller: one for each tuning class and model."""

from __future__ import annotations

import json
import os
import pathlib

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tunings

_HEADER = (
    "# Measured by tfserving.fleet.tune, read by every later plan and deployment. Keep it in version control.\n---\n"
)


def read(directory: str | None, tuning_class: str) -> list[tunings.Tuning]:
    """Return the tunings of a class in a directory."""
    return [_read(path) for path in sorted(pathlib.Path(directory, tuning_class).glob("*.yml"))] if directory else []


def of_model(directory: str, tuning_class: str, model: str) -> tunings.Tuning | None:
    """Return the tuning of a class and model in a directory, or None."""
    path = pathlib.Path(tunings.path(directory, tuning_class, model)).expanduser()
    return _read(path) if path.exists() else None


def _read(path: pathlib.Path) -> tunings.Tuning:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as fault:
        raise FleetError(
            f"cannot read the tuning: {' '.join(str(fault).split())}",
            where=str(path),
            remedy="Tune again, or remove the file.",
        ) from fault
    return tunings.Tuning.from_dict(data, str(path))


def make_folder(path: str) -> None:
    """Create the folder of tunings before anything is measured. Raise FleetError if it is not writable."""
    try:
        os.makedirs(os.path.expanduser(path), exist_ok=True)
    except OSError as fault:
        raise FleetError(f"cannot create {path!r}: {fault.strerror}", where="keep_in") from fault
    if not os.access(os.path.expanduser(path), os.W_OK):
        raise FleetError(f"cannot write to {path!r}", where="keep_in")


def write(record: tunings.Tuning, directory: str) -> Decision:
    """Write the record of a tuning for later runs."""
    import yaml

    path = tunings.path(os.path.abspath(os.path.expanduser(directory)), record.tuning_class, record.model)
    after = _HEADER + yaml.safe_dump(json.loads(json.dumps(record.as_dict())), sort_keys=False, width=120)
    before = pathlib.Path(path).read_text(encoding="utf-8") if os.path.exists(path) else ""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic_files.write_file(path, after.encode())
    except OSError as fault:
        raise FleetError(f"cannot write the tuning: {fault.strerror}", where=path) from fault
    return Decision(
        changed=before != after,
        before=before,
        after=after,
        header=path,
        actions=(f"Write {path}",),
        warnings=(f"{record.model}: {tunings.evidence(record)}",) if record.refuted else (),
    )
