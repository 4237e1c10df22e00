# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded server's program, which only runs of model_server that start an embedded server need on their host."""

from __future__ import annotations

import tempfile

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import process
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options


def send(action, arguments):
    """Return the arguments of model_server for a host. If they start an embedded server, send its program to the host first."""
    if not server_options.starts_embedded(arguments):
        return arguments
    shell = action._connection._shell
    remote = shell.tmpdir or action._make_tmp_path()
    target = shell.join_path(remote, "embedded_server.pyz")
    with tempfile.NamedTemporaryFile(prefix="tfserving-") as packed:
        packed.write(program.pack(process.ENTRY))
        packed.flush()
        action._transfer_file(packed.name, target)
    action._fixup_perms2((remote, target))
    return dict(arguments, embedded_program=target)
