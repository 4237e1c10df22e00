# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page that people read of a fleet's plans, as a whole and as they would lay it out by hand."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan_text


def plan(**changes):
    """A small plan, made by hand."""
    whole = {
        "host_class": "x86-64-v3-intel-4c-1n",
        "release": "2.20.0",
        "backend": "docker",
        "image": "tensorflow/serving:2.20.0",
        "build": None,
        "models": [{"name": "digits", "form": "saved_model", "batching": None}],
        "server": {
            "flags": {"port": 8500, "enable_profiler": False},
            "environment": {"A": "b"},
            "cpu_set": None,
            "devices": [],
        },
        "candidates": [{"name": "batching"}, {"name": "threads"}],
        "decisions": [
            {"subject": "release", "choice": "2.20.0", "reason": "as asked"},
            {"subject": "backend", "choice": "docker", "reason": "it answers"},
        ],
        "warnings": ["look at the log"],
        "refusals": [],
    }
    return dict(whole, **changes)


BATCHED = plan(
    host_class="x86-64-v4-amd-8c-1n",
    models=[
        {"name": "digits", "form": "tflite_int8", "batching": {"max_batch_size": 8, "allowed_batch_sizes": [4, 8]}}
    ],
    warnings=["look at the log", "a second word"],
    decisions=[{"subject": "release", "choice": "2.20.0", "reason": "as asked"}],
)
REFUSED = plan(
    host_class="x86-64-v2",
    image=None,
    models=[],
    server={"flags": {}, "environment": {}, "cpu_set": None, "devices": []},
    candidates=[],
    decisions=[],
    warnings=[],
    refusals=[
        {"subject": "image", "reason": "it needs AVX.", "remedy": "Build one"},
        {"subject": "model m: variant", "reason": "no", "remedy": "Yes."},
        {"subject": "image", "reason": "x", "remedy": "y"},
    ],
)


def test_the_page_of_a_fleet():
    plans = {"web2": plan(), "web1": plan(), "big": BATCHED, "old": REFUSED, "lost": None}
    assert (
        plan_text.text(plans, width=110)
        == """\
PLAN for 5 hosts of 3 classes; refusals on 1; 1 not detected yet

   HOSTS  CLASS                  SERVER          MODELS                         REFUSED
1      1  x86-64-v2              -               -                              image, model
2      2  x86-64-v3-intel-4c-1n  serving:2.20.0  digits (saved_model)           -
3      1  x86-64-v4-amd-8c-1n    serving:2.20.0  digits (tflite_int8, batched)  -
4      1  no plan                -               -                              -

1. x86-64-v2: old
  REFUSED     image: it needs AVX. Build one.
              model m: variant: no. Yes.
              image: x. y.

2. x86-64-v3-intel-4c-1n: web1, web2
  server      docker, tensorflow/serving:2.20.0
  models      digits: saved_model
  flags       --enable_profiler=false --port=8500
  variables   A=b
  why         backend: docker - it answers
  tuning      tries batching, threads

3. x86-64-v4-amd-8c-1n: big
  server      docker, tensorflow/serving:2.20.0
  models      digits: tflite_int8, batched (allowed_batch_sizes [4, 8], max_batch_size 8)
  flags       --enable_profiler=false --port=8500
  variables   A=b
  warnings    a second word
  tuning      tries batching, threads

4. no plan: lost
  to do       The capabilities are unknown: run tfserving.fleet.detect for them while they can be reached

SHARED by several of the groups above
  why         release: 2.20.0 - as asked   [2-3]
  warnings    look at the log   [2-3]
"""
    )


def test_the_page_of_one_host():
    assert (
        plan_text.text({"web": plan(candidates=[])}).splitlines()[0] == "PLAN for 1 host of 1 class; nothing is refused"
    )
    assert "SHARED" not in plan_text.text({"web": plan()})
    embedded = plan_text.text({"web": plan(image=None, backend="embedded")})
    assert "  embedded 2.20.0  " in embedded and "  server      embedded, with the API of 2.20.0\n" in embedded


def test_long_lines_are_wrapped_below_their_beginning():
    long = plan(warnings=["word " * 20], decisions=[])
    assert """
  warnings    word word word word word word word word word word word
              word word word word word word word word word
""" in plan_text.text({"web": long}, width=10)
    hosts = {f"host-with-a-long-name-{number}": plan() for number in range(8)}
    assert """
1. x86-64-v3-intel-4c-1n: host-with-a-long-name-0, host-with-a-long-name-1,
  host-with-a-long-name-2, host-with-a-long-name-3, host-with-a-long-name-4,
  host-with-a-long-name-5 and 2 more
""" in plan_text.text(hosts, width=76)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (
            120,
            "1      1  x86-64-v3-intel-cascadelake-64c-2n  serving:2.20.0-with-a-tag  digits-of-the-house (saved_model)  -",
        ),
        (
            110,
            "1      1  x86-64-v3-int..adelake-64c-2n  serving:2.20.0-with-a-tag  digits-of-the-house (saved_model)  -",
        ),
        (100, "1      1  x86-64-v..ke-64c-2n  serving:2.20.0-with-a-tag  digits-of-the-house (saved_model)  -"),
        (90, "1      1  x86-64-..-64c-2n  serving:2.20.0-with-a-tag  digits-of-th..saved_model)  -"),
        (72, "1      1  x86-64-..-64c-2n  serving:2..with-a-tag  digit..odel)  -"),
    ],
)
def test_columns_give_way_in_their_order(width, row):
    """The class first, down to 16 characters, then the models, down to 12, then the server, down to 15: the ends of each tell most."""
    wide = plan(
        host_class="x86-64-v3-intel-cascadelake-64c-2n",
        image="tensorflow/serving:2.20.0-with-a-tag",
        models=[{"name": "digits-of-the-house", "form": "saved_model", "batching": None}],
    )
    assert plan_text.text({"web": wide}, width=width).splitlines()[3] == row


@pytest.mark.parametrize(("count", "names"), [(6, "0, 1, 2, 3, 4, 5"), (7, "0, 1, 2, 3, 4, 5 and 1 more"), (1, "0")])
def test_long_lists_of_hosts_are_shortened(count, names):
    assert plan_text.shortened([str(number) for number in range(count)]) == names
    assert plan_text.shortened(["a", "b", "c"], most=1) == "a and 2 more"


def test_what_a_plan_changes_against_an_earlier_one():
    now = plan(
        release="2.19.1",
        models=[{"name": "digits", "form": "tflite_int8", "batching": {"max_batch_size": 8}}],
        server=dict(plan()["server"], cpu_set="0-1", flags={"port": 8500}),
        refusals=[{"subject": "image"}],
    )
    assert plan_text.differences(
        {"web": now, "same": plan()}, {"web": plan(), "same": plan(decisions=[], warnings=["another"])}
    ) == [
        "CHANGED since the earlier plan",
        "  models.digits.batching.max_batch_size: none -> 8   [web]",
        "  models.digits.form: saved_model -> tflite_int8   [web]",
        "  refused: none -> [image]   [web]",
        "  release: 2.20.0 -> 2.19.1   [web]",
        "  server.cpu_set: none -> 0-1   [web]",
        "  server.flags.enable_profiler: false -> none   [web]",
    ]
    for key, value in (("backend", "embedded"), ("image", "other"), ("build", {"image": "x"})):
        assert plan_text.differences({"web": plan(**{key: value})}, {"web": plan()})[1].startswith(f"  {key}")


def test_hosts_and_plans_that_come_and_go():
    assert plan_text.differences(
        {"a": plan(), "b": None, "c": plan(), "d": None}, {"a": None, "b": plan(), "d": None, "e": plan()}
    ) == [
        "CHANGED since the earlier plan",
        "  host had no plan   [a]",
        "  host has no plan   [b]",
        "  host is gone   [e]",
        "  host is new   [c]",
    ]
    assert plan_text.differences({"a": plan()}, {"a": copy.deepcopy(plan())}) == [
        "CHANGED since the earlier plan",
        "  nothing",
    ]


def test_changes_stand_at_the_end_of_the_page():
    text = plan_text.text(
        {"a": plan()},
        earlier={"a": plan(release="2.19.1")},
        running={"a": {"seen": "now", "reason": None, "differences": ["x", "w"]}},
    )
    assert text.endswith("""

CHANGES that a deployment would make
  w   [a]
  x   [a]

CHANGED since the earlier plan
  release: 2.19.1 -> 2.20.0   [a]
""")
    assert "CHANGED since" in plan_text.text({"a": plan()}, earlier={}) and "CHANGED since" not in plan_text.text(
        {"a": plan()}
    )


def test_what_is_known_of_what_runs():
    assert plan_text.against_running({"a": {"seen": "now", "reason": None, "differences": []}}) == [
        "CHANGES that a deployment would make",
        "  nothing",
    ]
    assert plan_text.against_running({"a": {"seen": None, "reason": "timed out", "differences": []}}) == [
        "CHANGES that a deployment would make",
        "  unknown what runs: timed out   [a]",
    ]
    assert plan_text.against_running({"a": {"seen": "remembered", "reason": None, "differences": ["x"]}}) == [
        "CHANGES that a deployment would make",
        "  x   [a]",
        "  not checked now, compared with what ran when it was last checked   [a]",
    ]


def test_groups_that_share_all_are_said_to():
    two = {"a": plan(), "b": plan(host_class="x86-64-v4")}
    assert """SHARED by several of the groups above
  why         release: 2.20.0 - as asked   [all]
              backend: docker - it answers   [all]
  warnings    look at the log   [all]
""" in plan_text.text(two)
    four = dict(two, c=plan(host_class="x86-64-v5", warnings=[]), d=plan(host_class="x86-64-v6"))
    assert "look at the log   [1-2, 4]" in plan_text.text(four)
