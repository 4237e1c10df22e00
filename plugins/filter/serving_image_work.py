# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.serving_image_work: which builder builds which image."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._image import assignment
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def serving_image_work(hosts, builders):
    """Return {builder: [recipe]} of {host: {recipe, present, images, level}} and the names of the builders, of which only hosts build."""
    names = builders.split(",") if isinstance(builders, str) else builders
    here = {name: {key: hosts[name][key] for key in ("level", "images")} for name in names if name in hosts}
    return assignment.assign(assignment.missing(hosts), here, [name for name in names if name not in hosts])


FilterModule = _filters.module(serving_image_work)
