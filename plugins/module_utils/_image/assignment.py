# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image is missing, and who builds it: once for each image, several builders side by side, the same answer whoever asks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.levels import may_run
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import is_at
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import UNSTARTED, Recipe

PART = re.compile(r"manifest\.json|part-[0-9]{5}")
_NEEDED = {"image", "level", "digest"}


class Builder(TypedDict):
    """level: what its CPU can run. images: the names of those that it has, as images or as archives, started once or not."""

    level: str
    images: list[str]


def missing(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """The recipes that some host wants and does not have, by image. hosts: {name: {recipe (or None), present}}."""
    wanted = [host["recipe"] for _name, host in sorted(hosts.items()) if host["recipe"] and not host["present"]]
    for one in wanted:
        if not isinstance(one, dict) or not _NEEDED <= set(one):
            raise FleetError(
                f"{one!r} is no recipe of an image",
                where="tfs_image_recipe",
                remedy="Give build of the host's plan, or leave it out.",
            )
    return {one["image"]: one for one in wanted}


def parts(built: Iterable[Mapping[str, Any]], directory: str) -> list[dict[str, str]]:
    """[{path, archive}] of the files of archives that builders wrote: where each lies on its builder, and the name of its archive.

    built: the results of the module serving_image, with the controller's own recipe as item. directory: where the builder's archives lie. Raises FleetError
    for a builder that names other files: they become files of the controller.
    """
    found = []
    for one in built:
        for path in one.get("files") or ():
            archive = one["item"]["digest"][:12]
            name = str(path).rpartition("/")[2]
            if not PART.fullmatch(name) or not is_at(path, directory, f"{archive}/{name}"):
                raise FleetError(
                    f"the builder wrote {path!r}, which is no file of the archive {archive}",
                    where=one["item"]["image"],
                    remedy="Look what runs on the builder: its answers are not those of this collection.",
                )
            found.append({"path": path, "archive": archive})
    return found


def assign(
    recipes: Mapping[str, Recipe], builders: Mapping[str, Builder], absent: Collection[str] = ()
) -> dict[str, list[Recipe]]:
    """{builder: [recipe]} for {image: recipe}, every builder named.

    A builder that has an image keeps it; then the one with the least to do; then one whose CPU can start what it built; then by name.
    absent: the names of those that do not answer.
    """
    if recipes and not builders:
        many = f"{len(recipes)} images are" if len(recipes) > 1 else f"the image {next(iter(recipes))} is"
        why = (
            f"none of its builders ({', '.join(sorted(absent))}) is among the hosts that this play reaches"
            if absent
            else "there is no builder"
        )
        raise FleetError(
            f"{many} to be built and {why}",
            where="tfs_image_builders",
            remedy=(
                "Let the play run on one of them (see --limit), and see that it answers."
                if absent
                else "Name hosts of the inventory that build, for instance tfserving_image_builders: [build-1], and let the play run on them too."
            ),
        )
    held = {
        name: {image for held in builder["images"] for image in (held, held.partition(UNSTARTED)[0])}
        for name, builder in builders.items()
    }
    work: dict[str, list[Recipe]] = {name: [] for name in sorted(builders)}
    for image, recipe in sorted(
        recipes.items(), key=lambda pair: (not any(pair[0] in images for images in held.values()), pair[0])
    ):
        chosen = min(
            work,
            key=lambda name: (
                image not in held[name],
                len(work[name]),
                not may_run(recipe["level"], builders[name]["level"]),
                name,
            ),
        )
        work[chosen].append(recipe)
    return work
