# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend embedded of model_server: read, decide, and unless in check mode carry out."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from ansible_collections.tfserving.fleet.plugins.module_utils.common.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.common.options import LONGEST_S, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils.common.version import VERSION
from ansible_collections.tfserving.fleet.plugins.module_utils.server import model_config, process
from ansible_collections.tfserving.fleet.plugins.module_utils.server import specification as specifications
from ansible_collections.tfserving.fleet.plugins.module_utils.server.serves_on import ServesOn, extended


class Backend:
    """One call of the module. options: its parameters. Use it while the server's lock is held."""

    def __init__(self, options, home, check_mode):
        self._options, self._home, self._check_mode = options, home, check_mode

    def started(self, prove_only=False):
        """Make it so that the server runs; prove_only: say what that would do, since this backend has no candidates."""
        options, home = self._options, self._home
        bounded("ready_timeout_s", options["ready_timeout_s"], 1, LONGEST_S, "s")
        asked = specifications.check(self._specification())
        process.refuse_foreign_cpus(asked)
        before, pid = home.last_started(), home.process()
        wanted = process.choose_ports(asked, before)
        decision = specifications.decide_started(wanted, before, pid is not None)
        if decision.changed:
            process.refuse_used_ports(wanted, own=(before.grpc_port, before.rest_port) if pid else ())
        if prove_only:
            return dict(replace(decision, changed=False).result(server=self._server(wanted, pid)), pending=decision.changed)
        if not self._check_mode:
            if decision.changed:
                self._replace(before if pid else None, wanted)
            else:
                home.wait_until_ready(wanted, options["ready_timeout_s"])
        return decision.result(server=self._server(wanted, None if self._check_mode and decision.changed else home.process()))

    def previous(self):
        """Nothing is kept here."""
        raise FleetError("the embedded server keeps no server before", where=self._options["name"], remedy="Deploy what shall serve instead.")

    def stopped(self, absent=False):
        """End the server, and with absent forget it."""
        found, running = self._home.last_started(), self._home.process() is not None
        if absent:
            decision = specifications.decide_absent(self._home.name, found, running)
        else:
            known = found.as_dict() if found else {}
            decision = Decision(running, known, dict(known, state="stopped") if running else known,
                                (f"stop the server {self._home.name}",) if running else (), header=f"server {self._home.name}")
        if not self._check_mode:
            self._home.stop()
            if absent:
                self._home.remove()
        return decision.result(server=self._server())

    def _replace(self, before, wanted):
        """Stop the server of the specification before, if there is one, and start the wanted one; when that fails, the one before runs again."""
        home, timeout_s = self._home, self._options["ready_timeout_s"]
        home.stop()
        try:
            home.start(wanted, timeout_s)
        except FleetError as fault:
            home.stop()
            if before is None:
                raise
            try:
                home.start(before, timeout_s)
            except FleetError as second:
                raise extended(fault, f"The server before it could not be started again either: {second.what}.") from second
            raise extended(fault, "The server before it runs again.", ServesOn) from fault

    def _specification(self):
        options = self._options
        models = tuple(model_config.model(one["name"], one["base_path"], one["version_policy"], one["labels"]) for one in options["models"])
        plain = len(models) == 1 and not models[0]["version_policy"] and not models[0]["labels"]
        if options["secret_environment"]:
            raise FleetError("the embedded server keeps its specification in a file that others may read", where="secret_environment",
                             remedy="Use backend: docker, or environment for what is no secret.")
        batching = options["batching_parameters_file"]
        # In check mode a task before this one may only have said that it would write the file.
        readable = batching and not (self._check_mode and not os.path.exists(batching))
        return specifications.Specification(
            name=options["name"], backend="embedded", address=specifications.ADDRESS, grpc_port=options["grpc_port"], rest_port=options["rest_port"],
            python=options["python"] or sys.executable, program=process.program_digest(), model_name=models[0]["name"],
            model_base_path=models[0]["base_path"], models=() if plain else models,
            flags=options["flags"], environment={key: str(value) for key, value in options["environment"].items()},
            cpu_set=options["cpu_set"], batching_parameters_file=batching, idle_exit_s=options["idle_exit_s"],
            batching_parameters=process.digest_of_file(batching, "batching_parameters_file") if readable else None)

    def _server(self, specification=None, pid=None):
        server = dict.fromkeys(specifications.RESULT)
        server.update(name=self._options["name"], backend="embedded", state=self._options["state"])
        if specification:
            server.update(pid=pid, address=specification.address, grpc_port=specification.grpc_port, rest_port=specification.rest_port, log=self._home.log,
                          version=VERSION, specification_digest=specification.digest())
        return server
