# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the variables with the prefix of a role or of the collection: misspelled names and wrong values."""

from __future__ import annotations

import difflib
import functools
import os
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core import role_options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import Option

ARGUMENT_SPECS = os.path.join("meta", "argument_specs.yml")
WIDE_PREFIX = "tfserving_"
_CLOSE = 0.75


class Role:
    """The variables of the role in a folder."""

    def __init__(self, path: str) -> None:
        self.path = os.path.normpath(path)
        self.name = os.path.basename(self.path)

    @functools.cached_property
    def _entries(self) -> Any:
        return self._read(
            ARGUMENT_SPECS, lambda content: {name: dict(one) for name, one in content["argument_specs"].items()}
        )

    @functools.cached_property
    def options(self) -> dict[str, Option]:
        """Return {variable: its specification} of all entry points."""
        return {
            name: cast(Option, option or {})
            for entry in self._entries.values()
            for name, option in (entry.get("options") or {}).items()
        }

    @functools.cached_property
    def defaults(self) -> Any:
        """Return {variable: default}. Templates are not evaluated."""
        name = os.path.join("defaults", "main.yml")
        return self._read(name, dict) if os.path.exists(os.path.join(self.path, name)) else {}

    def _read(self, name: str, taken: Callable[[Any], Any]) -> Any:
        import yaml

        path = os.path.join(self.path, name)
        try:
            with open(path, encoding="utf-8") as stream:
                return taken(yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {})
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as fault:
            raise FleetError(
                f"cannot read the list of the role's variables ({fault.__class__.__name__})",
                where=path,
                remedy="Set role_path to the directory of a role that has this file.",
            ) from fault

    def is_default(self, name: str, variables: Mapping[str, Any]) -> bool:
        """Return whether a variable has the role's default."""
        return name in self.defaults and variables[name] == self.defaults[name]

    def given(self, variables: Mapping[str, Any]) -> list[str]:
        """Return the role's variables that the user can have set, directly or through a collection-wide variable."""
        return [
            name
            for name in self.options
            if name in variables and (not self.is_default(name, variables) or self._wide(name, variables))
        ]

    def refuse_unknown(self, names: Iterable[str], full_name: str | None = None) -> None:
        """Raise FleetError if names with the role's prefix are not variables of the role. full_name: the name for ansible-doc, or None."""
        prefix, parent = f"{self.name}_", os.path.dirname(self.path)
        known = [*self.options, f"{prefix}result", *(f"{prefix}{entry}_result" for entry in self._entries)]
        # Other roles of the collection whose names begin with this role's name.
        foreign = tuple(f"{name}_" for name in os.listdir(parent) if name.startswith(prefix))
        unknown = sorted(
            name for name in names if name.startswith(prefix) and name not in known and not name.startswith(foreign)
        )
        if unknown:
            close = [(name, closest(name, known, prefix)) for name in unknown]
            spelt = ", ".join(f"{name} (did you mean {other}?)" if other else name for name, other in close)
            listed = (
                f"with: ansible-doc -t role {full_name}"
                if full_name
                else f"in {os.path.join(self.path, ARGUMENT_SPECS)}"
            )
            raise FleetError(
                f"not a variable of this role: {spelt}", where=self.name, remedy=f"See the role's variables {listed}"
            )

    def refuse_wrong(self, values: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        """Raise FleetError for the first invalid value. values: evaluated. variables: all, not evaluated."""
        try:
            role_options.refuse_wrong(self.options, values, self.defaults)
        except FleetError as fault:
            name = re.split(r"\W", fault.where or "")[0]
            wide = self._wide(name, variables) if name in variables and self.is_default(name, variables) else []
            if not wide:
                raise
            remedy = " ".join(filter(None, (fault.remedy, f"It comes from {wide[0]}.")))
            raise FleetError(fault.what, fault.where, remedy) from fault

    def _wide(self, name: str, variables: Mapping[str, Any]) -> list[str]:
        """Return the collection-wide variables that are set and that a variable's default uses."""
        return [wide for wide in re.findall(rf"\b{WIDE_PREFIX}\w+", str(self.defaults.get(name))) if wide in variables]


# Roles do not change while a playbook runs.
role = functools.cache(Role)


def refuse_misspelt(names: Collection[str], known: Collection[str], of_models: Iterable[str]) -> None:
    """Raise FleetError for the first collection-wide variable that is not used and has almost the name of a used one.

    of_models: keys of models, which are not variables.
    """
    for key in of_models:
        if WIDE_PREFIX + key in names and WIDE_PREFIX + key not in known:
            remedy = f"Set {key} for each model in {WIDE_PREFIX}models."
            raise FleetError("no such variable", where=WIDE_PREFIX + key, remedy=remedy)
    for name in sorted(name for name in names if name.startswith(WIDE_PREFIX) and name not in known):
        other = closest(name, known, WIDE_PREFIX, _CLOSE)
        if other:
            raise FleetError(f"no such variable; did you mean {other}?", where=name)


@functools.cache
def mentioned(*folders: str) -> frozenset[str]:
    """Return the collection-wide variables in the YAML files of these folders."""
    found: set[str] = set()
    for parent, _folders, names in (part for folder in folders for part in os.walk(folder)):
        for name in names:
            if name.endswith(".yml"):
                found.update(re.findall(rf"\b{WIDE_PREFIX}\w+", pathlib.Path(parent, name).read_text(encoding="utf-8")))
    return frozenset(found)


def closest(name: str, known: Iterable[str], prefix: str, cutoff: float = 0.6) -> str | None:
    """Return the known name with the closest part after the common prefix, or None."""
    endings = [other[len(prefix) :] for other in sorted(known)]
    close = difflib.get_close_matches(name[len(prefix) :], endings, n=1, cutoff=cutoff)
    return prefix + close[0] if close else None
