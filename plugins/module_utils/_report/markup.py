# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build SVG. Text from outside is always escaped: only the results of element() count as markup."""

from __future__ import annotations

import html
import math
from typing import Union

from ansible_collections.tfserving.fleet.plugins.module_utils._report import words

_VOID = frozenset(["rect", "line", "circle", "path", "polyline"])


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the text for Jinja2."""
        return self


Child = Union[str, None, list["Child"]]


def element(tag: str, /, *children: Child, **attributes: object) -> Markup:
    """Return the element as Markup. children: Markup, text (escaped), None (left out) or lists of these.

    attributes: class_ for class, underscores for hyphens, None to omit one; numbers must be finite. The result is well-formed XML too.
    """
    written = "".join(
        f' {_attribute_name(key)}="{_attribute_value(value)}"' for key, value in attributes.items() if value is not None
    )
    inner = join(*children)
    if tag in _VOID and not inner:
        return Markup(f"<{tag}{written} />")
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def join(*children: Child) -> Markup:
    """Return the joined children as Markup."""
    return Markup("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, list):
        return join(*child)
    return html.escape(words.clean(child), quote=False)


def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _attribute_value(value: object) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a coordinate must be finite")
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(words.clean(value))
