# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which images are missing and which builder builds each of them. Every host computes the same answer."""

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
    """level: what its CPU can run. images: the names of the images that it has, as images or as archives, started once or not."""

    level: str
    images: list[str]


def missing(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Return the recipes of images that hosts need and do not have, by image. hosts: {name: {recipe (or None), present}}."""
    wanted = [host["recipe"] for _name, host in sorted(hosts.items()) if host["recipe"] and not host["present"]]
    for one in wanted:
        if not isinstance(one, dict) or not _NEEDED <= set(one):
            raise FleetError(
                f"{one!r} is not the recipe of an image",
                where="tfs_image_recipe",
                remedy="Use `build` of the host's plan, or omit the variable.",
            )
    return {one["image"]: one for one in wanted}


def parts(built: Iterable[Mapping[str, Any]], directory: str) -> list[dict[str, str]]:
    """Return [{path, archive}] of the files of archives that builders wrote: the path on the builder, and the name of the archive.

    built: the results of the module serving_image, with the controller's own recipe as item. directory: of the builder's archives. Raises FleetError
    for a builder that names other files, because they become files of the controller.
    """
    found = []
    for one in built:
        for path in one.get("files") or ():
            archive = one["item"]["digest"][:12]
            name = str(path).rpartition("/")[2]
            if not PART.fullmatch(name) or not is_at(path, directory, f"{archive}/{name}"):
                raise FleetError(
                    f"the builder reports {path!r}, which is not a file of the archive {archive!r}",
                    where=one["item"]["image"],
                    remedy="Check the builder: its result is not that of this collection.",
                )
            found.append({"path": path, "archive": archive})
    return found


def assign(
    recipes: Mapping[str, Recipe], builders: Mapping[str, Builder], absent: Collection[str] = ()
) -> dict[str, list[Recipe]]:
    """Assign {image: recipe} to the builders: {builder: [recipe]}, with an entry for every builder.

    An image goes to the builder that has it, else to the one with the fewest images, else to one whose CPU can start it, else by name.
    absent: the names of builders that are not reachable.
    """
    if recipes and not builders:
        many = f"{len(recipes)} images" if len(recipes) > 1 else f"the image {next(iter(recipes))!r}"
        why = (
            f"none of the builders ({', '.join(sorted(absent))}) is reachable in this play"
            if absent
            else "no builder is set"
        )
        raise FleetError(
            f"cannot build {many}: {why}",
            where="tfs_image_builders",
            remedy=(
                "Run the play on one of them (check --limit), and make sure that it is reachable."
                if absent
                else "Set tfserving_image_builders to hosts of the inventory, such as [build-1], and run the play on them as well."
            ),
        )
    present = {
        name: {image for name_ in builder["images"] for image in (name_, name_.partition(UNSTARTED)[0])}
        for name, builder in builders.items()
    }
    work: dict[str, list[Recipe]] = {name: [] for name in sorted(builders)}
    for image, recipe in sorted(
        recipes.items(), key=lambda pair: (not any(pair[0] in images for images in present.values()), pair[0])
    ):
        chosen = min(
            work,
            key=lambda name: (
                image not in present[name],
                len(work[name]),
                not may_run(recipe["level"], builders[name]["level"]),
                name,
            ),
        )
        work[chosen].append(recipe)
    return work
