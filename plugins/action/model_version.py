# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.model_version: a source on this controller goes to the host in pieces, those that it has already left out."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import digests, published, transfer, versions

MODULE = "tfserving.fleet.model_version"
_BLOCK = 1 << 20


class ActionModule(ActionBase):
    """What the host needs to know travels first, then what it lacks."""

    _supports_check_mode = True
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        """The module's result."""
        super().run(tmp, task_vars)
        arguments, source = dict(self._task.args), self._task.args.get("source")
        try:
            self._refuse_numbers_of_each_host(arguments, task_vars)
            if (
                not isinstance(source, str)
                or versions.kind_of(source) != "path"
                or boolean(arguments.get("remote_src", False), strict=False)
            ):
                return self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
            with contextlib.ExitStack() as stack:
                folder = self._folder(source, arguments.get("checksum"), stack)
                known = digests.Digests(boolean(arguments.get("rehash", False), strict=False))
                told = {
                    "inventory": transfer.content_of(folder, source, known),
                    "manifest": published.manifest_of(folder),
                }
                return self._send(folder, dict(arguments, **told), task_vars)
        except FleetError as fault:
            raise AnsibleActionFail(str(fault)) from None

    def _refuse_numbers_of_each_host(self, arguments, task_vars):
        """Raise FleetError where several hosts would each number the version by what they hold, so that one model would have several numbers."""
        source, hosts = arguments.get("source"), task_vars["ansible_play_hosts_all"]
        if not isinstance(source, str) or arguments.get("version") is not None or versions.named_by(source) is not None:
            return
        if len(hosts) > 1 and not self._task.run_once:
            raise FleetError(
                f"{len(hosts)} hosts of this play would each give it their own next number",
                where="version",
                remedy="Give version, or name the source's folder by a number.",
            )

    def _folder(self, source, checksum, stack):
        """The folder of the version on this controller; an archive is unpacked as long as the stack is open."""
        try:
            found = self._find_needle("files", source)
        except AnsibleError as fault:
            raise FleetError(
                "there is neither such a folder nor such an archive on the controller",
                where=source,
                remedy="Set remote_src for a path on the host.",
            ) from fault
        if os.path.isdir(found):
            if checksum:
                raise versions.no_checksum_of_a_folder(source)
            return found
        transfer.check_digest(found, checksum)
        parent = tempfile.mkdtemp(prefix="tfserving-")
        stack.callback(shutil.rmtree, parent, ignore_errors=True)
        unpacked = transfer.Partial(parent, "archive")
        with transfer.disk_faults(unpacked):
            unpacked.begin(os.path.getsize(found))
            transfer.unpack(found, unpacked)
        return unpacked.path

    def _send(self, folder, arguments, task_vars):
        """Ask the host what it lacks, and send that, until it lacks nothing."""
        result = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        remote = None
        while result.get("missing") and not result.get("failed"):
            remote = remote or self._connection._shell.tmpdir or self._make_tmp_path()
            target = self._connection._shell.join_path(remote, "piece")
            with tempfile.NamedTemporaryFile(prefix="tfserving-") as piece:
                _write_piece(piece, folder, next(versions.pieces([tuple(one) for one in result["missing"]])))
                self._transfer_file(piece.name, target)
            self._fixup_perms2((remote, target))
            before = result["missing"]
            result = self._execute_module(
                module_name=MODULE, module_args=dict(arguments, piece=target), task_vars=task_vars
            )
            if result.get("missing") == before:
                raise FleetError(
                    "the host lacks the same as before a piece was sent", where=arguments["path"], remedy="Run again."
                )
        return result


def _write_piece(stream, folder, piece):
    stream.write(json.dumps([list(one) for one in piece]).encode() + b"\n")
    for name, offset, count in piece:
        with open(os.path.join(folder, name), "rb") as source:
            source.seek(offset)
            while count:
                block = source.read(min(count, _BLOCK))
                if not block:
                    raise FleetError(f"{name} became shorter while it was read", where=folder)
                stream.write(block)
                count -= len(block)
    stream.flush()
