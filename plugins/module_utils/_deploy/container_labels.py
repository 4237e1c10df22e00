# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of a server's container, which tell later runs what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

NAME = "tfserving.fleet.server"
DIGEST = "tfserving.fleet.specification"
DESCRIPTION = "tfserving.fleet.description"
VERSION = "tfserving.fleet.version"
COPY_OF = "tfserving.fleet.copy_of"
# When the deployment that made it began, by the controller's clock, and its id; and the id of the container that served before it.
DEPLOYMENT = "tfserving.fleet.deployment"
PREDECESSOR = "tfserving.fleet.predecessor"

FOLDER = "/etc/tfserving"  # where a container's configuration lies


def deployment(labels: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return (id, when it began) of the deployment that made a container, or (None, None) where its labels name none."""
    at, _blank, name = labels.get(DEPLOYMENT, "").partition(" ")
    return (name, at) if name else (None, None)


def described(container_labels: Mapping[str, str]) -> ServingConfiguration | None:
    """Return the ServingConfiguration that a container's labels describe; None where they describe none."""
    try:
        return ServingConfiguration.from_dict(json.loads(container_labels[DESCRIPTION]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
