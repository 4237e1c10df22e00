# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a request whose refusals are heeded."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._plan import docker_options, option_lines


def without(lines, change):
    """The lines that do not set what change (a part of a request) sets: a correction of the request replaces them."""
    left = []
    for line in lines:
        found = option_lines.items(line)
        kept = [item for item in found if not _overlap(_sets(item), change)]
        left += [line] if len(kept) == len(found) else [item.given for item in kept]
    return left


def _sets(item):
    answer = option_lines.translate(item, docker_options.Context({}, {}))
    return answer.sets if isinstance(answer, option_lines.Answer) else {}


def _overlap(sets, change):
    return any(
        key in change and (key not in ("flags", "environment") or set(value) & set(change[key]))
        for key, value in sets.items()
    ) or ("optimize" in sets and isinstance(change.get("models"), dict))


def apply(request, change):
    """The request with a refusal's change made.

    Keys are replaced, flags and environment merged (None takes one out), models changed by name; old-style options that said otherwise go.
    """
    changed = dict(request, options=without(request.get("options") or [], change))
    for key, value in change.items():
        if key in ("flags", "environment"):
            merged = dict(request.get(key) or {}, **value)
            changed[key] = {name: setting for name, setting in merged.items() if setting is not None}
        elif key == "models" and isinstance(value, dict):
            changed[key] = [dict(model, **value.get(model["name"], {})) for model in request.get(key) or []]
        else:
            changed[key] = value
    return changed
