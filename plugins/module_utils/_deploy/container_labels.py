# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's container carries, so that whoever comes later knows what it is."""

from __future__ import annotations

import json

NAME = "tfserving.fleet.server"
DIGEST = "tfserving.fleet.specification"
DESCRIPTION = "tfserving.fleet.description"
VERSION = "tfserving.fleet.version"
COPY_OF = "tfserving.fleet.copy_of"
# When the deployment that made it began, by the controller's clock, and its id; and the id of the container that it took the place of.
DEPLOYMENT = "tfserving.fleet.deployment"
PREDECESSOR = "tfserving.fleet.predecessor"

# Where a container's configuration lies, and the file of its models there.
FOLDER, MODELS = "/etc/tfserving", "models.pbtxt"


def deployment(labels):
    """(id, when it began) of the deployment that made a container, or (None, None) where its labels name none."""
    at, _blank, name = labels.get(DEPLOYMENT, "").partition(" ")
    return (name, at) if name else (None, None)


def described(container_labels):
    """The specification that a container's labels tell, as data; {} where they tell none."""
    try:
        found = json.loads(container_labels.get(DESCRIPTION, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
