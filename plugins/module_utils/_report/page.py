# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: the document as one HTML file, from the templates in this package. It needs Jinja2, so it is created on the controller."""

from __future__ import annotations

import os

from ansible_collections.tfserving.fleet.plugins.module_utils._report import (
    page_fleet,
    page_tuning,
    plots,
    summary,
    words,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._report.shapes import Document

_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")


def render(document: Document) -> str:
    """Return the HTML text of a document. All text in it is cleaned and escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=lambda value: value if hasattr(value, "__html__") else "" if value is None else words.clean(value),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["was"] = lambda value, written, *given: None if value is None else written(value, *given)
    environment.globals.update(words=words, plots=plots, summary=summary, fleet=page_fleet, views=page_tuning)
    return environment.get_template("page.html.j2").render(document=document, tuned=summary.measured(document))
