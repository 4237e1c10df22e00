# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the conversion program under another Python or in a container, and compare what a server answers that loads its result."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Optional

from ansible_collections.tfserving.fleet.plugins.module_utils._core import account, program
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import container_command
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance, conversion_program, server_check
from ansible_collections.tfserving.fleet.plugins.module_utils._model.judged import Judged
from ansible_collections.tfserving.fleet.plugins.module_utils._model.refused import Refused

# A temporary server: a function of (staged version, model, python, UID:GID or None, seconds, environment) whose context
# value is the gRPC port.
Serve = Callable[[str, str, str, Optional[str], float, dict[str, str]], AbstractContextManager[int]]
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}
_NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
# The program crashed; shells and containers report 128 plus the signal's number. A SIGKILL comes from outside, for example if memory is short.
_CRASHED = re.compile(r"was killed by SIG(ABRT|BUS|FPE|ILL|SEGV)\b|ended with exit status 1(32|34|35|36|39)\b")


def python_of(options: Mapping[str, Any]) -> str:
    """Return the Python that the user sets, or the one that Ansible uses here."""
    return options["python"] or sys.executable


def call(options: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
    """Return the result of conversion_program.work. options: those of model_conversion."""
    environment = dict(_QUIET, **({} if options["form"] == "tensorrt" else _NO_GPU))
    python = _container(options, request, environment) if options["container_image"] else python_of(options)
    with account.lent_file(options["progress"], options["convert_user"]):
        return program.call(
            conversion_program.__name__,
            request,
            python,
            timeout_s=options["timeout_s"],
            environment=environment,
            user=options["convert_user"],
        )


def converted(options: Mapping[str, Any], request: Mapping[str, Any]) -> Judged:
    """Return the result of conversion_program.convert. A crash of TensorFlow is a refusal."""
    try:
        judged: Judged = call(options, request)
        return judged
    except FleetError as fault:
        if not _CRASHED.match(fault.what):
            raise
        return acceptance.ending(False, f"TensorFlow crashed on it: the program {fault.what}; serve the SavedModel")


def served(options: Mapping[str, Any], request: Mapping[str, Any], judged: Judged, serve: Serve) -> str | None:
    """Send the same requests over gRPC to a server with the staged version. Return why the version is refused, or None. Add the answers to judged."""
    archive = os.path.join(request["asked"], conversion_program.ASKED)
    if not os.path.exists(archive):
        return "through_server needs examples that both models answer, and found no such example"
    model, python, timeout_s, user = request["model"], python_of(options), options["timeout_s"], options["convert_user"]
    try:
        with serve(request["staged"], model, python, user, timeout_s, dict(_QUIET, **_NO_GPU)) as port:
            target = {
                "name": "the server",
                "protocol": "grpc",
                "address": "127.0.0.1",
                "port": port,
                "model": model,
                "signature": options["signature"],
                "version": None,
            }
            check = dict(
                options, target=target, samples=archive, batch=32, reference=archive, deadline_s=options["timeout_s"]
            )
            found = server_check.call(check, python, timeout_s, user)
    except Refused as refusal:
        return f"through a server: {refusal}"
    metric = server_check.after(judged["gates"], found)
    if judged["gates"]:
        judged["gates"]["served"] = {"outputs": found["outputs"], "metric": metric}
    accepted, reason = acceptance.decide(
        found["outputs"], metric, options["maximum_difference"], options["accept_unjudged"]
    )
    return None if accepted else f"through a server: {reason}"


def _container(
    options: Mapping[str, Any], request: Mapping[str, Any], environment: Mapping[str, str]
) -> Callable[[str], list[str]]:
    """Return how program.call runs the program in the container: a function from the directory of its files to the command line."""
    source = os.path.abspath(options["source"])
    readable = [path for path in (source, request.get("samples"), options["metric_function"]) if path]
    progress = [os.path.dirname(os.path.abspath(options["progress"]))] if options["progress"] else []
    writable = [path for path in (request.get("staged"), request.get("asked")) if path] + progress
    gpus = options["container_gpus"] or ("all" if options["form"] == "tensorrt" else None)
    return lambda directory: container_command.command(
        options["container_image"],
        readable,
        [directory, *writable],
        options["convert_user"] or f"{os.geteuid()}:{os.getegid()}",
        environment,
        gpus,
        options["container_engine"],
    )
