# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of role variables that Ansible's own check lets pass and that roles would take for something else: a list as a text, a text as a list, null."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError

_TEXTS = ("str", "path")
_KINDS = ((dict, "a mapping"), (list, "a list"), (bool, "true or false"), (str, "a text"), ((int, float), "a number"))
# Where these are the default, null says the same.
_EMPTY = (None, "")


def refuse_wrong(options, values, defaults):
    """Raise FleetError for the first of a role's variables whose value it could not mean.

    options: {name: {type, elements}}, as in meta/argument_specs.yml. values: {name: value} of all variables, templates as they stand.
    defaults: {name: value}, as in defaults/main.yml.
    """
    for name, option in sorted(options.items()):
        if name in values:
            what = _wrong(option, values[name], defaults.get(name, _EMPTY) in _EMPTY)
            if what:
                raise FleetError(what, where=name)


def _wrong(option, value, nullable):
    kind = option.get("type", "str")
    if kind not in (*_TEXTS, "list") or _is_template(value):
        return None
    if value is None:
        return None if nullable else f"null is no value; allowed: {_allowed(option)}; leave it out for the default"
    if kind in _TEXTS:
        wrong = not isinstance(value, str) if kind == "path" else isinstance(value, (list, tuple, dict))
        return f"{value!r} is {_kind(value)}; allowed: a text" if wrong else None
    if not isinstance(value, (list, tuple)):
        return f"{value!r} is {_kind(value)}; allowed: {_allowed(option)}"
    wrong = next((one for one in value if option.get("elements") in _TEXTS and (one is None or isinstance(one, (list, tuple, dict)))), value)
    return f"{wrong!r} in it is {_kind(wrong)}; allowed: {_allowed(option)}" if wrong is not value else None


def _is_template(value):
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _kind(value):
    return next((words for kind, words in _KINDS if isinstance(value, kind)), "null" if value is None else type(value).__name__)


def _allowed(option):
    if option.get("type", "str") in _TEXTS:
        return "a text"
    of = {"dict": " of mappings", "str": " of texts", "path": " of texts", "int": " of numbers", "float": " of numbers"}
    return "a list" + of.get(option.get("elements"), "")
