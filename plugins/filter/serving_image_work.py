# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter that says who builds which image."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.image import assignment


class FilterModule:
    """The filters by name."""

    def filters(self):
        """Ansible asks for them here."""
        return {"serving_image_work": serving_image_work}


def serving_image_work(hosts, builders):
    """{builder: [recipe]} of {host: {recipe, present, images, level}} and the names of the builders."""
    try:
        absent = [name for name in builders if name not in hosts]
        if absent:
            raise FleetError(f"the builder {absent[0]} is not among the hosts of this play, or failed before", where="tfs_image_builders",
                             remedy="Let the play run on it, or name another.")
        return assignment.assign(assignment.missing(hosts), {name: {key: hosts[name][key] for key in ("level", "images")} for name in builders})
    except FleetError as fault:
        raise AnsibleFilterError(f"serving_image_work: {fault}") from None
