# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the account that the embedded server runs as if root starts it, because models can execute untrusted code."""

from __future__ import annotations

import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core import account
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

_ROOT = "0:0"


def chosen(wanted: ServingConfiguration, user: str, state_directory: str, allow_root: bool) -> str:
    """Return UID:GID for the server. Raise FleetError if no account can read Python and the models, unless root is allowed.

    user: the value of the option. If it is the default, the account that became root and the owners of the models are
    also tried.
    """
    if os.geteuid() != 0:
        return wanted.user
    models = [model.base_path for model in wanted.models]
    needed = account.needed(wanted.python, [wanted.batching_parameters_file, state_directory], models)
    found, why = account.chosen([user, *(account.others(models) if user == wanted.user else ())], needed, "user")
    if not found and not allow_root:
        raise FleetError(
            f"no account can run the embedded server: {why}",
            where="user",
            remedy="Give the account access, set an account that has it (tfs_server_user of the role), or allow root (embedded_allow_root: true).",
        )
    return found or _ROOT
