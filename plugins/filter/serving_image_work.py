# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.serving_image_work: which builder builds which image."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import assignment


class FilterModule:
    """The filters by name."""

    def filters(self):
        """Return the filters by name."""
        return {"serving_image_work": serving_image_work}


def serving_image_work(hosts, builders):
    """Return {builder: [recipe]} of {host: {recipe, present, images, level}} and the names of the builders, of which only hosts build."""
    names = builders.split(",") if isinstance(builders, str) else builders
    try:
        here = {name: {key: hosts[name][key] for key in ("level", "images")} for name in names if name in hosts}
        return assignment.assign(assignment.missing(hosts), here, [name for name in names if name not in hosts])
    except FleetError as fault:
        raise AnsibleFilterError(f"serving_image_work: {fault}") from None
