# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image is missing, and who builds it: once for each image, several builders side by side, the same answer whoever asks."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.capability.levels import may_run
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError


def missing(hosts):
    """The recipes that some host wants and does not have, by image: {image: recipe}. hosts: {name: {recipe (or None), present}}."""
    return {host["recipe"]["image"]: host["recipe"] for _name, host in sorted(hosts.items()) if host["recipe"] and not host["present"]}


def assign(recipes, builders):
    """{builder: [recipe]} for {image: recipe}, every builder named.

    builders: {name: {level, images}}: what its CPU can run, and the names of the images it has. One that has an image keeps it; then the one with the least to
    do; then one whose CPU can start what it built; then by name.
    """
    if recipes and not builders:
        raise FleetError(f"{len(recipes)} images are to be built and there is no builder", where="tfs_image_builders",
                         remedy="Name hosts of the inventory that build, for instance tfs_image_builders: [build-1], and let the play run on them too.")
    work = {name: [] for name in sorted(builders)}
    for image, recipe in sorted(recipes.items(), key=lambda pair: (not any(pair[0] in builder["images"] for builder in builders.values()), pair[0])):
        chosen = min(work, key=lambda name: (image not in builders[name]["images"], len(work[name]),
                                             not may_run(recipe["level"], builders[name]["level"]), name))
        work[chosen].append(recipe)
    return work
