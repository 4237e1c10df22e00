# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of a server's container, which describe it to later runs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

NAME = "tfserving.fleet.server"
DIGEST = "tfserving.fleet.specification"
DESCRIPTION = "tfserving.fleet.description"
VERSION = "tfserving.fleet.version"
COPY_OF = "tfserving.fleet.copy_of"
# The start and id of the deployment that made the container, by the controller's clock; and the id of the container
# that served before it.
DEPLOYMENT = "tfserving.fleet.deployment"
PREDECESSOR = "tfserving.fleet.predecessor"

FOLDER = "/etc/tfserving"  # the folder of a container's configuration


def deployment(labels: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (id, start) of the deployment that made a container, or (None, None) if its labels contain none."""
    at, _blank, name = labels.get(DEPLOYMENT, "").partition(" ")
    return (name, at) if name else (None, None)


def described(container_labels: Mapping[str, str]) -> ServingConfiguration | None:
    """Return the ServingConfiguration in a container's labels, or None."""
    try:
        return ServingConfiguration.from_dict(json.loads(container_labels[DESCRIPTION]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
