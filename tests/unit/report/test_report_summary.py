# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, summary

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "report"

# "of start": the product of the gains that were kept, by hand: 1.2502 x 1.4603 = 1.826; x 1.1616 = 2.121, of which 0.947 and 1.0103 times.
TABLE = """\
localhost, model digits
step                                kept  requests/s          gain [interval]  of start  p50 ms  p99 ms        accuracy
-----------------------------------------------------------------------------------------------------------------------
clients from REST to gRPC           yes          268       +25 % [22 to 28 %]     x1.25    29.1    48.7          97.2 %
Batching on                         yes          392       +46 % [41 to 51 %]     x1.83    19.6    38.4          97.2 %
SavedModel to TensorFlow Lite (dy…  yes          455       +16 % [12 to 20 %]     x2.12    16.8    31.9  97.2 -> 96.9 %
oneDNN off                          no           431  -5.3 % [-8.1 to -2.4 %]     x2.01    17.7    34.6          96.9 %
Threads: intra-op 1, inter-op 1     no           460   +1.0 % [-1.9 to 4.1 %]     x2.14    16.7    31.2          96.9 %
-----------------------------------------------------------------------------------------------------------------------
total                                            455    +112 % [105 to 120 %]     x2.12    16.8    31.9  97.2 -> 96.9 %
noise floor 2.3 %, 64,192 requests counted
"""


def build(name):
    return document.build(json.loads((FIXTURES / f"{name}.json").read_text()), "Serving")


def with_total(**changes):
    made = build("gains")
    made["hosts"][0]["tunings"][0]["total"].update(changes)
    return made


def test_table_is_aligned():
    assert "\n".join(summary.lines(build("gains"))).endswith("\n\n" + TABLE.rstrip("\n"))


def test_figures_of_two_images_name_theirs():
    hosts = [json.loads((FIXTURES / f"{name}.json").read_text())[0] for name in ("gains", "baseline_kept")]
    hosts[1]["host"], hosts[1]["capabilities"]["classes"]["tuning"] = "other", "another"
    for data in hosts:
        data["tunings"][0].update(backend="docker", image=f"{data['host']}/serving:2.20.0")
    told = summary.lines(document.build(hosts, "Serving"))
    assert "localhost, model digits, image localhost/serving:2.20.0" in told
    assert "other, model digits, image other/serving:2.20.0" in told
    assert "localhost, model digits" in summary.lines(document.build(hosts[:1], "Serving"))


def test_a_report_of_an_earlier_version_is_summarized():
    made = build("gains")
    tuning = made["hosts"][0]["tunings"][0]
    for step in tuning["steps"] + [tuning["total"]]:
        del step["factor"]
    assert "+112 % [105 to 120 %]" in "\n".join(summary.lines(made))


def test_wide_letters_take_two_columns_and_control_characters_none():
    told = summary.table(
        [("step", "kept", "x"), ("漢字", "yes", "1"), ("a\x1b[2Jb\nc", "no", "22"), ("total", "yes", "3")]
    )
    assert told == [
        "step      kept   x",
        "------------------",
        "漢字      yes    1",
        "a\ufffd[2Jb c  no    22",
        "------------------",
        "total     yes    3",
    ]


def test_no_line_of_hostile_data_breaks_out():
    for line in summary.lines(build("hostile")):
        assert len(line) <= 130
        assert "\n" not in line and "\x1b" not in line


ALTHOUGH = "is not beyond the noise, although single steps were kept."


@pytest.mark.parametrize(
    "changes, told",
    [
        ({}, "Goodput rose by 112 % (105 to 120 %), from 215 to 455 requests/s answered within 100 ms."),
        (
            {"gain": 0.015, "gain_interval": [0.001, 0.03]},
            f"No gain was verified in total: +1.5 % (0.1 to 3.0 %) {ALTHOUGH}",
        ),
        (
            {"gain": 0.05, "gain_interval": [-0.01, 0.11]},
            f"No gain was verified in total: +5.0 % (-1.0 to 11.0 %) {ALTHOUGH}",
        ),
        (
            {"gain": -0.2, "gain_interval": [-0.25, -0.15], "goodput_rps": 171.7},
            "Goodput fell in total by 20 % (15 to 25 %), from 215 to 172 requests/s answered within 100 ms, although single steps were kept.",
        ),
        (
            {"gain": 1.86, "gain_interval": [None, None], "reason": "3 rounds with goodput, at least 4 are needed"},
            "No gain was verified in total, although single steps were kept: 3 rounds with goodput, at least 4 are needed.",
        ),
        ({"gain": None, "gain_interval": None}, "Some steps were kept, but the total was not measured."),
    ],
)
def test_headline_follows_the_total(changes, told):
    assert summary._line(summary.headline(with_total(**changes))) == told


def test_headline_without_any_measured_step():
    made = build("void_step")
    for step in made["hosts"][0]["tunings"][0]["steps"]:
        step.update(gain=None, kept=False)
    assert summary.headline(made) == "The baseline was kept: no step could be measured."


def test_the_headline_of_a_tuning_for_latency_is_about_its_p99():
    made = with_total(gain=0.5, gain_interval=[0.4, 0.6], p99_ms=20.0)
    tuning = made["hosts"][0]["tunings"][0]
    tuning["method"]["goal"], tuning["total"]["before"]["p99_ms"] = "latency", 30.0
    expected = "Speed rose by 50 % (40 to 60 %), from a p99 of 30.0 ms to 20.0 ms at the same rate."
    assert summary._line(summary.headline(made)) == expected


def test_the_highest_rates_within_the_objective_are_shown():
    given = json.loads((FIXTURES / "gains.json").read_text())
    (tuning,) = [tuning for host in given for tuning in host["tunings"] if tuning["total"]["open_loop"]][:1]
    assert not [line for line in summary.lines(document.build(given, "Serving")) if "highest rate" in line]
    tuning["total"]["open_loop"]["highest_rps"] = {"before": 212.4, "after": None}
    assert "highest rate with a p99 within 100 ms: 212 requests/s before, not measured after" in summary.lines(
        document.build(given, "Serving")
    )
