# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.model_version: send a source on the controller to the host in pieces, without those that it has."""

from __future__ import annotations

import contextlib
import os
import tempfile

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError, refuse_malformed
from ansible_collections.tfserving.fleet.plugins.module_utils._model import transfer, versions

MODULE = "tfserving.fleet.model_version"


class ActionModule(ActionBase):
    """Send a description of the version first, and then the files that the host lacks."""

    _supports_check_mode = True
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        super().run(tmp, task_vars)
        arguments, source = dict(self._task.args), self._task.args.get("source")
        try:
            hosts = 1 if self._task.run_once else len(task_vars["ansible_play_hosts_all"])
            versions.refuse_many_numbers(arguments, hosts)
            here = not boolean(arguments.get("remote_src", False), strict=False)
            if not (isinstance(source, str) and versions.kind_of(source) == "path" and here):
                return self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
            with refuse_malformed("the result of the host"), contextlib.ExitStack() as stack:
                folder = self._folder(source, arguments.get("checksum"), stack)
                rehash = boolean(arguments.get("rehash", False), strict=False)
                return self._send(folder, arguments | transfer.described(folder, source, rehash), task_vars)
        except FleetError as fault:
            raise AnsibleActionFail(str(fault)) from None

    def _folder(self, source, checksum, stack):
        """Return the folder of the version on this controller. An archive is unpacked until the stack closes."""
        try:
            found = self._find_needle("files", source)
        except AnsibleError as fault:
            raise versions.not_on_the_controller(source) from fault
        if not os.path.isdir(found):
            return stack.enter_context(transfer.unpacked(found, checksum))
        if checksum:
            raise versions.no_checksum_of_a_folder(source)
        return found

    def _send(self, folder, arguments, task_vars):
        """Send the files that the host lacks until it lacks none."""
        remote, result = None, self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        while result.get("missing") and not result.get("failed"):
            remote = remote or self._connection._shell.tmpdir or self._make_tmp_path()
            target = self._connection._shell.join_path(remote, "piece")
            with tempfile.NamedTemporaryFile(prefix="tfserving-") as piece:
                transfer.write_piece(piece, folder, next(versions.pieces([tuple(one) for one in result["missing"]])))
                self._transfer_file(piece.name, target)
            self._fixup_perms2((remote, target))
            before = result["missing"]
            result = self._execute_module(
                module_name=MODULE, module_args=dict(arguments, piece=target), task_vars=task_vars
            )
            if result.get("missing") == before:
                raise FleetError(
                    "the host did not store the files that it received", where=arguments["path"], remedy="Run again."
                )
        return result
