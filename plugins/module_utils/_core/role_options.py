# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the values of role variables: types, choices, and values that Ansible accepts but a role would misread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import options
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import Option, Specification

_TEXTS = ("str", "path")
_KINDS = ((dict, "a mapping"), (list, "a list"), (bool, "true or false"), (str, "a text"), ((int, float), "a number"))
_ELEMENTS = {
    "str": " of texts",
    "path": " of texts",
    "dict": " of mappings",
    "int": " of whole numbers",
    "float": " of numbers",
}
# If one of these is the default, null means the same.
_EMPTY = (None, "")


def refuse_wrong(specification: Specification, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise FleetError for the first variable of a role with an invalid value.

    specification: as in meta/argument_specs.yml. values: evaluated. defaults: as in defaults/main.yml.
    """
    for name, option in sorted(specification.items()):
        if name not in values:
            continue
        value = values[name]
        what = _wrong(option, value, defaults.get(name, _EMPTY) in _EMPTY)
        if what:
            raise FleetError(what, where=name)
        if value is None:
            continue
        for one in value if option.get("type") == "list" else [value]:
            _check_choice(name, option, one)
        options.refuse({name: option}, values)
        _refuse_wrong_keys(name, option, value)
        below = _below_zero(option, value)
        if below is not None:
            raise FleetError(f"{below!r} is below 0; allowed: {_allowed(option)}, 0 or more", where=name)


def _wrong(option: Option, value: Any, nullable: bool) -> str | None:
    """Return what is wrong with the whole value, or None."""
    kind = option.get("type", "str")
    if value is None:
        return (
            None
            if nullable or kind not in (*_TEXTS, "list")
            else f"null is not a valid value; allowed: {_allowed(option)}; omit it for the default"
        )
    if not _is_a(kind, value):
        return f"{_shown(option, value)}{_kind(value)}; allowed: {_allowed(option)}"
    items = value if kind == "list" else ()
    wrong = next(
        (
            one
            for one in items
            if option.get("elements") in _TEXTS and (one is None or isinstance(one, (list, tuple, dict)))
        ),
        items,
    )
    return (
        None if wrong is items else f"the list contains {wrong!r}, which is {_kind(wrong)}; allowed: {_allowed(option)}"
    )


def _check_choice(where: str, option: Option, value: Any) -> None:
    # YAML reads some choices as true or false; Ansible maps them back.
    if option.get("choices") and value is not None and not isinstance(value, bool):
        options.one_of(where, value, option["choices"])


def _refuse_wrong_keys(where: str, option: Option, value: Any) -> None:
    """Raise FleetError for the first unknown or missing key of a mapping, or of mappings in a list, if its options are listed."""
    known = option.get("options") or {}
    items = (
        [(f"{where}[{number}]", item) for number, item in enumerate(value)]
        if isinstance(value, (list, tuple))
        else [(where, value)]
    )
    for place, mapping in items if known else ():
        for key, inner in mapping.items() if isinstance(mapping, dict) else ():
            if key not in known:
                raise FleetError(
                    f"no such key; allowed: {', '.join(sorted(known))}{options.did_you_mean(key, known)}",
                    where=f"{place}.{key}",
                )
            _check_choice(f"{place}.{key}", known[key] or {}, inner)
            _refuse_wrong_keys(f"{place}.{key}", known[key] or {}, inner)
        missing = sorted(
            key
            for key in known
            if (known[key] or {}).get("required") and isinstance(mapping, dict) and mapping.get(key) is None
        )
        if missing:
            raise FleetError(f"{mapping!r} lacks {' and '.join(missing)}", where=place)


def _below_zero(option: Option, value: Any) -> Any:
    """Return the first negative number, which no variable of a role allows, or None."""
    numbers = value if option.get("type") == "list" else [value]
    return next(
        (one for one in numbers if {option.get("type"), option.get("elements")} & {"int", "float"} and float(one) < 0),
        None,
    )


def _is_a(kind: str, value: Any) -> bool:
    """Return whether a role can use the value. Unlike options of modules, variables are not converted: a text is not a list or a mapping."""
    if kind == "path":
        return isinstance(value, str)
    if kind in ("list", "dict"):
        return isinstance(value, (list, tuple) if kind == "list" else dict)
    return options.is_a(kind, value)


def _shown(option: Option, value: Any) -> str:
    return "the value is " if option.get("no_log") else f"{value!r} is "


def _kind(value: Any) -> str:
    return next(
        (words for kind, words in _KINDS if isinstance(value, kind)), "null" if value is None else type(value).__name__
    )


def _allowed(option: Option) -> str:
    kind = option.get("type", "str")
    if kind == "list":
        return "a list" + _ELEMENTS.get(option.get("elements", ""), "")
    return ", ".join(map(str, option.get("choices") or ())) or options.TYPES[kind]
