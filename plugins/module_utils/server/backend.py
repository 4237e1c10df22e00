# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands that choose the backend of model_server and hold the server's lock while it works."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.capability import engine, host
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.server import docker_backend, docker_engine, embedded_backend, process
from ansible_collections.tfserving.fleet.plugins.module_utils.server import specification as specifications

# Options that the embedded server has no use for, and what they are when nobody gave them.
_OF_CONTAINERS = {"monitoring": False, "session_config_file": None, "ssl_config_file": None, "memory_mib": None, "devices": [], "grpc_socket_directory": None}


def work(options, check_mode):
    """The module's result."""
    options = dict(options, models=_models(options))
    home = process.Home(options["state_directory"], specifications.check_name(options["name"]))
    serves = options["state"] in ("started", "proven")
    if serves and not options["models"]:
        raise FleetError("no model is named", where="models", remedy="Give models, or model_name and model_base_path.")
    needs_none = options["backend"] == "embedded" or (options["backend"] == "auto" and serves and not options["image"])
    found = None if needs_none else engine.find(host.Files(), options["engine_socket"])
    options["engine_socket"] = found["socket"] if found else None
    name = "embedded" if needs_none else _chosen(options, found, home)
    if name == "embedded":
        _refuse_options_of_containers(options)
    with home.locked(timeout_s=max(60.0, options["ready_timeout_s"]), create=serves and not check_mode):
        chosen = (docker_backend if name == "docker" else embedded_backend).Backend(options, home, check_mode)
        if serves:
            return chosen.started(prove_only=options["state"] == "proven")
        if options["state"] == "previous":
            return chosen.previous()
        return chosen.stopped(absent=options["state"] == "absent")


def _models(options):
    """The models as the option models has them."""
    if options["models"] is None and options["model_name"]:
        return [{"name": options["model_name"], "base_path": options["model_base_path"], "version_policy": None, "labels": {}, "signature": "serving_default",
                 "samples": options["samples"], "reference": options["reference"]}]
    return options["models"] or []


def _chosen(options, found, home):
    """docker or embedded. Raises FleetError where that cannot be."""
    name = options["backend"]
    if options["state"] not in ("started", "proven"):
        known = found["answers"] and docker_engine.engine.docker is not None and docker_engine.Servers(found["socket"]).seen(options["name"])
        return name if name != "auto" else "docker" if known else "embedded"
    if name == "auto":
        name = "docker" if found["answers"] else "embedded"
    if name == "docker":
        _refuse_docker(options, found, home)
    return name


def _refuse_options_of_containers(options):
    given = [option for option, default in _OF_CONTAINERS.items() if options[option] != default]
    if given:
        raise FleetError("the embedded server does not have this", where=given[0], remedy="Leave it out, or use backend: docker.")


def _refuse_docker(options, found, home):
    if not options["image"]:
        raise FleetError("no image is named", where="image", remedy="Name one, such as tensorflow/serving:2.20.0, best by digest.")
    if options["idle_exit_s"] is not None:
        raise FleetError("a server in a container does not end by itself", where="idle_exit_s", remedy="Leave it out, or use backend: embedded.")
    if not found["answers"]:
        raise FleetError(found["reason"] or "this host has no container engine", where=found["socket"] or "backend",
                         remedy="Start Docker Engine 20.10 or later, or Podman's socket; or set backend: embedded.")
    if home.process() is not None:
        raise FleetError("the embedded server serves under this name", where=options["name"], remedy="Remove it first: state: absent with backend: embedded.")
