# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML and SVG built so that text from outside is always escaped: only what element() made is taken as markup."""

from __future__ import annotations

import html
import math

from ansible_collections.tfserving.fleet.plugins.module_utils._report import words

_VOID = frozenset(["meta", "br", "hr", "rect", "line", "circle", "path", "polyline"])


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag, /, *children, **attributes):
    """The element as Markup. children: Markup, text (escaped), None (left out) or lists of these.

    attributes: class_ for class, underscores for hyphens, None to leave one out; numbers must be finite. The result is well-formed XML too.
    """
    written = "".join(
        f' {_attribute_name(key)}="{_attribute_value(value)}"' for key, value in attributes.items() if value is not None
    )
    inner = join(*children)
    if tag in _VOID and not inner:
        return Markup(f"<{tag}{written} />")
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def join(*children):
    """Children one after the other as Markup."""
    return Markup("".join(_child(child) for child in children))


def table(caption, heads, rows, kind="", foot=None):
    """A table with a caption, scrolling by itself where it is too wide. heads: Markup or texts, a text that begins with '>' heads a column of figures."""
    columns = [
        element("th", head[1:], scope="col", class_="number")
        if head.startswith(">")
        else element("th", head, scope="col")
        for head in heads
    ]
    body = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", columns)),
        element("tbody", rows),
        foot,
        class_=kind or None,
    )
    return element("div", body, class_="scroll")


def cell(label, value, number=False):
    """A cell that carries its column's name, for screens where rows become cards."""
    return element(
        "td", value if number else element("span", value), class_="number" if number else None, data_label=label
    )


def facts(pairs):
    """Names and values as a description list."""
    return element(
        "dl", [element("div", element("dt", name), element("dd", value)) for name, value in pairs], class_="facts"
    )


def _child(child):
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, (list, tuple)):
        return join(*child)
    return html.escape(words.clean(child), quote=False)


def _attribute_name(key):
    return key.rstrip("_").replace("_", "-")


def _attribute_value(value):
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a coordinate must be finite")
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(words.clean(value))
