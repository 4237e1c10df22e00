# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.serving_image_parts: which files of builders to copy to the controller."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import assignment


def serving_image_parts(built, directory):
    """Return [{path, archive}] of a builder's results of serving_image."""
    try:
        return assignment.parts(built, directory)
    except FleetError as fault:
        raise AnsibleFilterError(f"serving_image_parts: {fault}") from fault


class FilterModule:
    """What Ansible loads."""

    def filters(self):
        return {"serving_image_parts": serving_image_parts}
