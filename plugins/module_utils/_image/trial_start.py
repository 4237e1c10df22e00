# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that starts an image once, with a model of 200 bytes and no network, and reads its server's log."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core import pid_file
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.engine import Engine
from ansible_collections.tfserving.fleet.plugins.module_utils._image import probe_model, server_log
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels as labels

_SERVES = "Running gRPC ModelServer"
_LAST_LINES = 6
_PROBE = f"{labels.PREFIX}probe"


class TrialStart(TypedDict):
    """What a server did in a trial start. exit_status: None if it was still running. last: the last lines that it wrote."""

    exit_status: int | None
    serves: bool
    log: server_log.ServerLog
    last: list[str]


def start_once(engine: Engine, image_id: str, timeout_s: float) -> TrialStart:
    """Start an image's server, read its log, and remove it."""
    _sweep(engine)
    owner = json.dumps([os.getpid(), pid_file.birth_of(os.getpid())])
    container = engine.create(
        image_id,
        files=_model(),
        environment={"TF_CPP_MIN_LOG_LEVEL": "0", "MODEL_NAME": "model"},
        labels={_PROBE: owner},
        host={"network_mode": "none", "auto_remove": False},
    )
    try:
        engine.start(container)
        text, status = engine.wait_until(container, lambda text: _SERVES in text, timeout_s)
    finally:
        engine.remove_container(container)
    return {
        "exit_status": status,
        "serves": status is None and _SERVES in text,
        "log": server_log.parse(text, status),
        "last": [line for line in text.splitlines() if line.strip()][-_LAST_LINES:],
    }


def _sweep(engine: Engine) -> None:
    """Remove what killed runs left, but not the trial starts of other runs."""
    for container, owner in engine.labelled(_PROBE).items():
        pid, birth = json.loads(owner)
        if pid_file.birth_of(pid) != birth:
            engine.remove_container(container)


def judge(name: str, image_labels: Mapping[str, str], started: TrialStart) -> None:
    """Raise FleetError if an image does not start, or does not match its label."""
    fatal = started["log"]["fatal"]
    if fatal:
        named = fatal["instruction"]
        how = (
            f"it needs {named}"
            if named
            else f"its server crashed on an illegal instruction (exit status {started['exit_status']})"
        )
        raise FleetError(
            f"the image was built for another CPU: {how}",
            where=name,
            remedy="Use the image of this host's class.",
        )
    if not started["serves"]:
        status = started["exit_status"]
        ending = endings.find("\n".join(started["last"]), status)
        how = (
            "does not start in time"
            if status is None
            else f"ended with exit status {status}" + (f" ({ending.cause})" if ending else "")
        )
        raise FleetError(
            f"the server {how}; last output: {' | '.join(started['last']) or 'none'}",
            where=name,
            remedy=ending and ending.remedy or "Build the image again.",
        )
    lies = labels.lies(image_labels, started["log"]["cpu_flags"])
    if lies:
        raise FleetError(
            f"the image does not match its label: its server leaves {', '.join(lies)} unused",
            where=name,
            remedy="Build the image from its recipe again, and check the options that its build passed to the compiler.",
        )


def _model() -> bytes:
    content, packed = probe_model.saved_model(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("models/model/1/saved_model.pb")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
