# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that queries archspec, a library on the controller, for what compilers know about x86-64 microarchitectures, as data for _image/recipe.py."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import levels
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import recipe
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import Known, March, Microarchitecture
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

_FAMILY = "x86_64"
_COMPILERS = ("gcc", "clang")
_KERNELS = {"sse3": "pni"}  # archspec's name of a feature where it is not the kernel's
_MARCH = re.compile(r"-march=(\S+)")


def needed(request: Mapping[str, Any]) -> bool:
    """Return whether a request contains an exact microarchitecture, by name or by -march, in any key or policy."""
    shared = request.get("build_for") or []
    return (
        "-march=" in str(request) or isinstance(shared, list) and any(not recipe.is_class(str(name)) for name in shared)
    )


@functools.lru_cache(maxsize=1)
def known() -> Known:
    """Return what archspec knows, ordered by the number of features."""
    try:
        from archspec import cpu
    except ImportError:
        raise FleetError(
            "the controller needs the Python package archspec to build for an exact microarchitecture (-march, or a name in tfserving_build_for)",
            where="tfserving_build",
            remedy="Run pip install archspec, or build for the level of the hosts.",
        ) from None
    names: dict[str, Microarchitecture]
    marches: dict[str, March]
    names, marches = {}, {}
    for name, target in sorted(cpu.TARGETS.items(), key=lambda pair: (len(pair[1].features), pair[0])):
        if target.family.name == _FAMILY:
            names[name] = _described(target, cpu.UnsupportedMicroarchitecture)
            for compiler in _COMPILERS:
                for entry in target.compilers.get(compiler, ()):
                    _note(marches, name, compiler, entry)
    return {"names": names, "marches": marches}


def _described(target: Any, unsupported: type[Exception]) -> Microarchitecture:
    shown = frozenset(_KERNELS.get(feature, feature) for feature in target.features)
    level = levels.level(_FAMILY, shown)
    flags = (shown & levels.KNOWN_FLAGS[_FAMILY]).difference(
        *(flags for name, flags in levels.X86_64_LEVELS if levels.may_run(name, level))
    )
    options: dict[str, str] = {}
    for compiler, version in questions.compilers():
        try:
            options[questions.spelt_compiler(compiler, version)] = target.optimization_flags(
                compiler, ".".join(map(str, version))
            )
        except unsupported:
            continue
    return {"level": cast(str, level), "flags": sorted(flags), "options": options}


def _note(marches: dict[str, March], name: str, compiler: str, entry: Mapping[str, str]) -> None:
    """Return the -march value of an archspec entry, where it is this microarchitecture's own and not an older one's with options added."""
    words = entry["flags"].format(name=entry.get("name", name)).split()
    march = _MARCH.fullmatch(words[0])
    if march and not [word for word in words[1:] if not word.startswith("-mtune=")]:
        first = entry["versions"].partition(":")[0]
        found = marches.setdefault(march[1], {"name": name, "compilers": {}})["compilers"]
        version = [int(part) for part in first.split(".")[:2]] if first else [0]
        found[compiler] = min(found.get(compiler, version), version)
