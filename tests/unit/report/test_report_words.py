# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures as words; what is expected was written by hand."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._report import words


def plainly(text):
    return words.ascii_only(text)


@pytest.mark.parametrize(
    "value, told",
    [
        (0, "0"),
        (1, "1.00"),
        (9.996, "10.0"),
        (87.44, "87.4"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (0.8744, "0.874"),
        (-12.34, "-12.3"),
        (3.21e-7, "3.21e-07"),
        (12_345_678, "12,300,000"),
        (1e300, "1.00e+300"),
        (5e-324, "4.94e-324"),
    ],
)
def test_three_significant_digits(value, told):
    assert plainly(words.significant(value)) == told


@pytest.mark.parametrize(
    "gain, interval, told",
    [
        (0.1234, [0.10, 0.147], "+12 % (10 to 15 %)"),
        (0.1234, [0.1204, 0.1264], "+12.3 % (12.0 to 12.6 %)"),
        (0.0243, [-0.02, 0.07], "+2.4 % (-2.0 to 7.0 %)"),
        (-0.053, [-0.081, -0.024], "-5.3 % (-8.1 to -2.4 %)"),
        (1.1207, [1.046, 1.199], "+112 % (105 to 120 %)"),
        (0.0, [0.0, 0.0], "0.0 % (0.0 to 0.0 %)"),
        (-0.0001, [-0.03, 0.03], "0.0 % (-3.0 to 3.0 %)"),
        (0.25, [0.22, None], "+25 % (22 % or more)"),
        (0.25, [None, 0.3], "+25 % (30 % or less)"),
        (0.25, [None, None], "+25 %"),
        (0.25, None, "+25 %"),
        (None, None, "not measured"),
    ],
)
def test_gain_is_as_fine_as_its_interval(gain, interval, told):
    assert plainly(words.gain_with_interval(gain, interval)) == told


@pytest.mark.parametrize(
    "before, after, name, examples, told",
    [
        (0.97222, 0.97222, "accuracy", 360, "97.2 %"),
        (0.97222, 0.96944, "accuracy", 360, "97.2 -> 96.9 %"),
        (0.97222, 0.97220, "accuracy", 360, "97.222 -> 97.220 %"),
        (0.9, 0.8, "accuracy", 10, "90 -> 80 %"),
        (0.912345, 0.912345, None, 10000, "91.23 %"),
        (0.97, None, None, None, "97.0 %"),
        (None, None, None, None, "not measured"),
        (0.123456, 0.2, "mean_absolute_error", 360, "0.1235 -> 0.2000"),
        (12.5, 12.5, "rmse", None, "12.50"),
    ],
)
def test_metric_shows_every_change_and_no_false_digit(before, after, name, examples, told):
    assert plainly(words.metric_change(before, after, name, examples)) == told


@pytest.mark.parametrize(
    "fraction, told", [(0.0213, "2.1 %"), (0.12, "12 %"), (0.00413, "0.41 %"), (0, "0 %"), (None, "not measured")]
)
def test_share(fraction, told):
    assert plainly(words.share(fraction)) == told


def test_units_are_written_and_null_is_not_a_number():
    assert plainly(words.rate(214.6)) == "215 requests/s"
    assert plainly(words.milliseconds(0.0871)) == "0.0871 ms"
    assert words.count(12345) == "12,345"
    assert words.rate(None) == words.milliseconds(None) == words.count(None) == "not measured"


def test_what_could_steer_a_terminal_or_reorder_a_line_is_taken_out():
    assert words.clean("a\x1b[31mb\x00c\u202ed\ud800e\x7ff") == "a\ufffd[31mb\ufffdc\ufffdd\ufffde\ufffdf"
    assert words.clean("Käse 漢字 \U0001f600\n") == "Käse 漢字 \U0001f600\n"


@pytest.mark.parametrize(
    "value, told",
    [
        (None, "none"),
        ([], "none"),
        (True, "yes"),
        (2.0, "2"),
        (0.25, "0.25"),
        (["a", 1], "a, 1"),
        ({"max": 16, "on": False}, "max = 16, on = no"),
        ({"flags": {"a": 1}}, "flags: a = 1"),
        ("x", "x"),
    ],
)
def test_plain(value, told):
    assert words.plain(value) == told
