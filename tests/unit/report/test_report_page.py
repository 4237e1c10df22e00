# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: one file that needs nothing else, escapes what comes from outside, and says what the data says."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "report"
NAMES = ["baseline_kept", "gains", "hostile", "untuned", "void_step"]
HARMLESS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "footer",
    "section",
    "h1",
    "h2",
    "h3",
    "p",
    "dl",
    "dt",
    "dd",
    "div",
    "span",
    "strong",
    "em",
    "small",
    "ul",
    "li",
    "table",
    "caption",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "figure",
    "figcaption",
    "svg",
    "desc",
    "rect",
    "line",
    "circle",
    "path",
    "text",
}


def load(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def render(hosts):
    return page.render(document.build(hosts, "Serving performance"))


def tree(text):
    return ElementTree.fromstring(text.partition("\n")[2])


def words_of(text):
    return " ".join("".join(tree(text).find("body").itertext()).replace("\N{NO-BREAK SPACE}", " ").split())


class Elements(HTMLParser):
    """What a browser's parser sees: [(tag, attributes)]."""

    def __init__(self, text):
        super().__init__()
        self.seen = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", NAMES)
def test_is_well_formed_and_of_harmless_elements_only(name):
    text = render(load(name))
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert {element.tag for element in tree(text).iter()} <= HARMLESS
    assert {tag for tag, _attributes in Elements(text).seen} <= HARMLESS


@pytest.mark.parametrize("name", NAMES)
def test_asks_for_nothing_outside_itself(name):
    text = render(load(name))
    for _tag, attributes in Elements(text).seen:
        assert not {"src", "href", "srcset", "data", "action", "style", "xlink:href"} & set(attributes)
        assert not [key for key in attributes if key.startswith("on")]
    style = tree(text).find("head/style").text
    assert "url(" not in style and "@import" not in style and "http" not in style
    policy = [
        attributes["content"]
        for _tag, attributes in Elements(text).seen
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_text_is_shown_and_does_nothing():
    text = render(load("hostile"))
    assert "<img src=http://evil.example/x onerror=alert(1)>" in words_of(text)
    assert "<img" not in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)
    text.encode("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_can_be_read_aloud(name):
    root = tree(render(load(name)))
    assert len(list(root.iter("h1"))) == 1
    levels = [int(element.tag[1]) for element in root.iter() if re.fullmatch(r"h\d", element.tag)]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    for table in root.iter("table"):
        assert table.find("caption").text.strip()
        assert all(head.get("scope") == "col" for head in table.findall("thead/tr/th"))
    for picture in root.iter("svg"):
        if picture.get("role") == "img":
            assert picture.find("title").text.strip()
        elif picture.get("viewBox") is None:
            assert picture.get("aria-hidden") == "true"


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_the_plots_are_finite_and_inside(name):
    for element in tree(render(load(name))).iter():
        if element.tag not in ("rect", "line", "circle", "path", "text"):
            continue
        for key in ("x", "x1", "x2", "y1", "y2", "cx", "width"):
            value = element.get(key, "0")
            if value.endswith("%"):
                assert 0 <= float(value[:-1]) <= 100
        for number in re.findall(r"[^ML ]+", element.get("d", "")):
            assert 0 <= float(number) <= 1000


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "gains",
            [
                "Goodput rose by 112 % (105 to 120 %), from 215 to 455 requests/s answered within 100 ms.",
                "Embedded server, not TensorFlow Serving.",
                "What this machine can do",
                "AMD EPYC 9R14",
                "x86-64-v4, for AI: avx512_bf16, avx512_vnni",
                "2 of 2",
                "7.75 GiB",
                "No container engine answers on this host, and tfserving_backend is auto.",
                "Install Docker Engine 20.10 or later",
                "+46 % (41 to 51 %)",
                "✕ not kept",
                "Accuracy over 360 labeled examples",
                "97.2 → 96.9 %",
                "Length of a window 2 s",
                "Requests in flight 8",
                "the same rate, 129 requests/s",
                "with a constant number of requests in flight",
            ],
        ),
        (
            "baseline_kept",
            [
                "The baseline was kept: nothing beat it by more than the noise and still kept accuracy and latency within their limits.",
                "accuracy fell from 0.9722 to 0.9361",
            ],
        ),
        (
            "void_step",
            [
                "Goodput rose by 25 % (22 % or more).",
                "∅ not measured",
                "the load generator used 93 % of a core",
                "Void windows 48",
                "Not drawn, because no latency distribution was measured: Batching on.",
            ],
        ),
        (
            "untuned",
            [
                "Nothing has been measured yet. This report shows what 3 hosts can do, and the plan.",
                "No plan was made for 2 hosts.",
                "silent",
                "NVIDIA H100 80GB HBM3 compute 9.0",
            ],
        ),
    ],
)
def test_says_what_the_data_says(name, expected):
    told = re.sub(
        r"\s+",
        " ",
        re.sub(r"<[^>]+>", " ", render(load(name)).partition("<body>")[2]).replace("\N{NO-BREAK SPACE}", " "),
    )
    for words in expected:
        assert words in told


def test_the_embedded_server_is_named_before_any_figure_below_the_headline():
    told = words_of(render(load("gains")))
    assert told.index("It is not TensorFlow Serving") < told.index("Step by step")


def test_tensorflow_serving_is_not_warned_about():
    hosts = load("gains")
    hosts[0]["tunings"][0].update(backend="docker", image="tensorflow/serving:2.20.0")
    told = words_of(render(hosts))
    assert "These figures are from the server in the container image tensorflow/serving:2.20.0." in told
    assert "embedded server" not in told


def test_a_thousand_hosts_are_shown_by_class():
    hosts = [
        dict(copy.deepcopy(load("untuned")[number % 2]), host=f"node-{number:04d}") for number in range(998)
    ] + load("gains")
    text = render(hosts)
    assert len(text) < 200_000
    assert "999 hosts in 2 classes" in words_of(text)
    assert "node-0997" in text
    assert len(tree(text).findall(".//table[@class='stack fleet']/tbody/tr")) == 2


def test_two_tuned_classes_are_both_told():
    second = load("baseline_kept")[0]
    second["host"] = "other"
    second["capabilities"]["classes"]["tuning"] = "another"
    told = words_of(render(load("gains") + [second]))
    assert "Goodput rose by 112 % in 1 of 2 tunings." in told
    assert "Step by step: digits on localhost" in told
    assert "Step by step: digits on other" in told
    assert "baseline kept" in told


def test_figures_of_two_images_name_theirs():
    hosts = [load("gains")[0], load("baseline_kept")[0]]
    hosts[1]["host"], hosts[1]["capabilities"]["classes"]["tuning"] = "other", "another"
    for data, image in zip(hosts, ("tensorflow/serving:2.20.0", "tensorflow/serving:2.20.0-gpu")):
        data["tunings"][0].update(backend="docker", image=image)
    told = words_of(render(hosts))
    methods = told.split("How it was measured")[1:]
    assert "Imagetensorflow/serving:2.20.0 " in methods[0] and "Imagetensorflow/serving:2.20.0-gpu" in methods[1]
    assert "Imagetensorflow/serving:2.20.0-gpu" not in methods[0]


def test_advice_to_clients_is_told_apart_from_what_was_kept():
    hosts = load("gains")
    hosts[0]["tunings"][0]["steps"][0].update(advice=True, kept=False)
    assert words_of(render(hosts)).count("→ advice to clients") == 3  # in the path, the table, and beside the curve


def test_scatter_has_the_objective_only_if_it_is_near():
    hosts = load("gains")
    told = render(hosts)
    assert 'class="objective"' in told and "outside of the plot" not in told
    hosts[0]["tunings"][0]["method"]["objective_p99_ms"] = 1000.0  # the highest p99 is 61.2 ms
    assert "The objective of 1,000 ms is outside of the plot." in words_of(render(hosts))


def test_a_total_that_was_not_kept_has_no_final_point():
    hosts = load("gains")
    assert ">final</text>" in render(hosts)
    hosts[0]["tunings"][0]["total"]["kept"] = False
    assert ">final</text>" not in render(hosts)


def test_path_ends_with_the_final_comparison_also_if_it_did_not_confirm_a_gain():
    hosts = load("gains")
    for step in hosts[0]["tunings"][0]["steps"]:
        step.update(kept=False, unconfirmed=step["kept"])
    hosts[0]["tunings"][0]["total"].update(kept=False, gain=0.01, gain_interval=[-0.02, 0.04])
    rows = [
        " ".join(" ".join(row.itertext()).split()) for row in tree(render(hosts)).findall(".//div[@class='path']/div")
    ]
    assert rows[-1].startswith("Final configuration compared with the start") and rows[-1].endswith("×1.01 ✕ not kept")


def test_without_curves_the_page_says_so():
    hosts = load("gains")
    tuning = hosts[0]["tunings"][0]
    for step in tuning["steps"] + [tuning["total"]]:
        step.update(curve_before=None, curve_after=None, open_loop=None)
    assert "No latency distribution was measured." in words_of(render(hosts))


@pytest.mark.parametrize(
    "capabilities",
    [
        {},
        {"cpu": None, "gpus": None},
        {"cpu": {"quota": 1.5, "usable": 1.5, "threads": 4}, "memory": {"limit_mib": 512, "usable_mib": 512}},
    ],
)
def test_capabilities_with_holes_are_shown(capabilities):
    assert "not known" in words_of(render([{"host": "a", "capabilities": capabilities}]))


def test_no_host_at_all_is_a_page_too():
    assert "0 hosts" in words_of(render([]))


def test_a_tuning_for_latency_is_not_called_one_of_goodput():
    hosts = load("gains")
    assert "Goodput, as a multiple of the start's" in words_of(render(hosts))
    hosts[0]["tunings"][0]["method"]["goal"] = "latency"
    told = words_of(render(hosts))
    assert (
        "Goodput, as a multiple of the start's" not in told and "Speed (1 / p99), as a multiple of the start's" in told
    )
    assert "The goal is the lowest p99 at the same rate" in told
