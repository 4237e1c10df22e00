# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: the document as one HTML file that needs nothing else. No script, no request; all text is escaped by markup.element."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._report import page_fleet, page_tuning, summary, words
from ansible_collections.tfserving.fleet.plugins.module_utils._report.markup import Markup, element
from ansible_collections.tfserving.fleet.plugins.module_utils._report.style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(document):
    """The HTML text of a document (see document.build)."""
    tuned, entries = summary.measured(document), {entry["host"]: entry for entry in document["hosts"]}
    measured = [page_tuning.sections(tuning, entries[tuning["host"]], len(tuned) > 1) for tuning in tuned]
    body = [
        _header(document, tuned),
        element("main", page_fleet.machines(document, tuned), page_fleet.plans(document), measured),
        _footer(document),
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="referrer", content="no-referrer"),
        element("title", document["title"]),
        element("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', body), lang='en')}\n"


def _header(document, tuned):
    hosts = words.plural(len(document["hosts"]), "host")
    told = [hosts]
    if len(tuned) == 1:
        told = [
            tuned[0]["host"] if len(document["hosts"]) == 1 else f"measured on {tuned[0]['host']}, one of {hosts}",
            tuned[0]["model"] and f"model {tuned[0]['model']}",
        ]
    strong = {False: "Embedded server, not TensorFlow Serving. ", True: None, None: None}[
        document["is_tensorflow_serving"]
    ]
    return element(
        "header",
        element("p", document["title"], class_="eyebrow"),
        element("h1", summary.headline(document)),
        element("p", " · ".join(words.plain(item) for item in told + [document["measured_at"]] if item), class_="meta"),
        _tiles(tuned[0]) if len(tuned) == 1 else None,
        element("p", strong and element("strong", strong), document["statement"], class_="notice"),
    )


def _tiles(tuning):
    total, method = tuning["total"], tuning["method"]
    within = (
        f"within {words.milliseconds(method['objective_p99_ms'])}"
        if method["objective_p99_ms"]
        else "without a latency objective"
    )
    accuracy, before = total["accuracy"], total["before"]
    naming = (method["metric"], method["examples"])
    return element(
        "dl",
        _tile("Goodput", words.rate(total["goodput_rps"]), f"{_was(before['goodput_rps'], words.rate)}{within}"),
        _tile("Latency p50", words.milliseconds(total["p50_ms"]), _was(before["p50_ms"], words.milliseconds)),
        _tile("Latency p99", words.milliseconds(total["p99_ms"]), _was(before["p99_ms"], words.milliseconds)),
        _tile(
            (method["metric"] or "accuracy").capitalize(),
            words.metric(accuracy["after"], *naming),
            _was(accuracy["before"], lambda value: words.metric(value, *naming)),
        ),
        class_="tiles",
    )


def _tile(name, value, was):
    figure, _space, unit = value.partition("\N{NO-BREAK SPACE}")
    return element(
        "div",
        element("dt", name),
        element(
            "dd",
            element("span", figure, unit and [" ", element("small", unit)], class_="value"),
            element("span", was, class_="was"),
        ),
    )


def _was(value, written):
    return "" if value is None else f"was {written(value)} "


def _footer(document):
    return element(
        "footer",
        element("p", f"Made by {document['generated_by']}. The same as data stands beside this page in report.json."),
    )
