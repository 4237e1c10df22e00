# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test may be asked to do, and the one line that each fault gets."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import load_test

TARGET = {"name": "a", "protocol": "grpc", "address": "127.0.0.1", "port": 8500, "model": "m", "signature": "s"}
PLAIN = {
    "targets": [TARGET, dict(TARGET, name="b", protocol="rest", port=8501)],
    "windows": None,
    "loop": "closed",
    "concurrency": 2,
    "rate_rps": None,
    "arrivals": None,
    "batch": 1,
    "dimensions": None,
    "values_below": None,
    "window_s": 5.0,
    "window_requests": 0,
    "window_max_s": 120.0,
    "warmup_max_s": 10.0,
    "objective_ms": None,
    "deadline_s": 10.0,
    "samples": None,
    "warmup": None,
    "seed": 0,
}


def test_windows_default_to_each_target_once_and_nothing_else_changes():
    assert load_test.checked(PLAIN) == dict(PLAIN, windows=["a", "b"], batch={1: 1}, dimensions={}, values_below={})
    assert load_test.checked(dict(PLAIN, windows=["a", "b", "b", "a"]))["windows"] == ["a", "b", "b", "a"]


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"targets": []}, "targets: the list is empty. Set at least one server and model."),
        ({"targets": [TARGET, TARGET]}, "targets: 'a' is listed twice. Give each target its own name."),
        (
            {"targets": [dict(TARGET, protocol="gprc")]},
            "targets[0].protocol: 'gprc' is not known; allowed: grpc, rest; did you mean grpc?",
        ),
        (
            {"targets": [TARGET, dict(TARGET, name="b", port=0)]},
            "targets[1].port: 0 is out of range; allowed: 1 to 65535.",
        ),
        ({"targets": [dict(TARGET, model="")]}, "targets[0].model: the value is empty. Set it."),
        ({"windows": ["a", "c"]}, "windows: 'c' is not known; allowed: a, b."),
        ({"loop": "opened"}, "loop: 'opened' is not known; allowed: closed, open; did you mean open?"),
        ({"concurrency": 0}, "concurrency: 0 is out of range; allowed: 1 to 512."),
        ({"concurrency": 513}, "concurrency: 513 is out of range; allowed: 1 to 512."),
        ({"batch": -1}, "batch: -1 is out of range; allowed: 1 to 1000000."),
        ({"batch": []}, "batch: it is empty. Set at least one number of examples."),
        ({"batch": [1, 2.5]}, "batch: 2.5 is not a whole number."),
        ({"batch": [1, None]}, "batch: None is not a number."),
        ({"batch": "many"}, "batch: 'many' is not a number."),
        ({"batch": [[1]]}, "batch: [1] is not a number."),
        ({"batch": {1: 0.5, 16: 0}}, "batch[16]: 0 is out of range; allowed: 0.001 to 1000000."),
        ({"batch": {1: "often"}}, "batch[1]: 'often' is not a number."),
        ({"dimensions": {"ids": 0}}, "dimensions.ids: 0 is out of range; allowed: 1 to 1000000."),
        ({"dimensions": {"*": "long"}}, "dimensions.*: 'long' is not a number."),
        ({"values_below": {"ids": 0}}, "values_below.ids: 0 is out of range; allowed: 1 to 2147483648."),
        ({"values_below": {"ids": 2.5}}, "values_below.ids: 2.5 is not a whole number."),
        ({"arrivals": "/a.txt"}, "arrivals: it applies only to an open loop. Omit it, or set loop: open."),
        ({"window_s": 0.0}, "window_s: 0.0 is out of range; allowed: 0.1 to 3600 s."),
        ({"window_s": float("nan")}, "window_s: nan is out of range; allowed: 0.1 to 3600 s."),
        ({"window_requests": -1}, "window_requests: -1 is out of range; allowed: 0 to 100000 requests."),
        ({"window_max_s": 0.0}, "window_max_s: 0.0 is out of range; allowed: 0.1 to 3600 s."),
        ({"warmup_max_s": -1.0}, "warmup_max_s: -1.0 is out of range; allowed: 0 to 600 s."),
        ({"objective_ms": 0.0}, "objective_ms: 0.0 is out of range; allowed: 0.001 to 600000 ms."),
        ({"deadline_s": float("inf")}, "deadline_s: inf is out of range; allowed: 0.001 to 600 s."),
        ({"rate_rps": 5.0}, "rate_rps: it applies only to an open loop. Omit it, or set loop: open."),
        (
            {"loop": "open"},
            "rate_rps: an open loop needs a rate or arrivals. Set a rate below the one that the server can sustain, or set loop: closed.",
        ),
        ({"loop": "open", "rate_rps": 0.0}, "rate_rps: 0.0 is out of range; allowed: 0.01 to 100000 requests/s."),
        (
            {"loop": "open", "rate_rps": 50000.0, "window_s": 60.0},
            "rate_rps: 50000 requests/s for 60 s are more than 1000000 requests per window. Lower rate_rps or window_s.",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, text):
    with pytest.raises(FleetError) as caught:
        load_test.checked(dict(PLAIN, **changes))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "given, sizes",
    [
        (8, {8: 1}),
        ("8", {8: 1}),  # -e batch=8 of ansible
        ([1, 4], {1: 1, 4: 1}),
        ([1, 1, 1, 16], {1: 3, 16: 1}),
        ({1: 0.75, 16: 0.25}, {1: 0.75, 16: 0.25}),
        ({"1": "3", "16": 1}, {1: 3, 16: 1}),  # JSON's keys are texts
    ],
)
def test_sizes_of_requests(given, sizes):
    assert load_test.batch_sizes(given) == sizes


def test_the_test_is_told_in_words():
    assert load_test.described(load_test.checked(dict(PLAIN, windows=["a", "b", "a"], batch=8))) == [
        "Send grpc requests of 8 examples to a (127.0.0.1:8500, model m) for 2 x 5 s, 2 requests in flight",
        "Send rest requests of 8 examples to b (127.0.0.1:8501, model m) for 1 x 5 s, 2 requests in flight",
    ]
    assert load_test.described(
        load_test.checked(dict(PLAIN, targets=[dict(TARGET, address="::1")], loop="open", rate_rps=20.0))
    ) == ["Send grpc requests of 1 example to a ([::1]:8500, model m) for 1 x 5 s, 20 requests/s with Poisson arrivals"]
    recorded = dict(PLAIN, windows=["a"], loop="open", arrivals="/a.txt", batch={1: 3, 16: 1})
    for rate, words in ((None, "the recorded rate"), (50.0, "50 requests/s")):
        assert load_test.described(load_test.checked(dict(recorded, rate_rps=rate)))[:1] == [
            f"Send grpc requests of 1 or 16 examples to a (127.0.0.1:8500, model m) for 1 x 5 s, {words} with recorded arrivals"
        ]
    slow = load_test.checked(dict(PLAIN, windows=["a"], window_requests=30))
    assert load_test.described(slow)[0].endswith(
        "for 1 x 5 s, or as long as 30 requests take, at most 120 s, 2 requests in flight"
    )


def test_the_time_is_bounded():
    assert load_test.longest_s(load_test.checked(PLAIN)) > 2 * 5 + 2 * 10
    assert load_test.longest_s(load_test.checked(dict(PLAIN, window_requests=30))) > 2 * 120 + 2 * 10


@pytest.mark.parametrize(
    "rate_rps, length_s",
    [
        (400.0, 5.0),
        (6.0, 5.0),  # just 30
        (5.0, 6.0),
        (0.5, 60.0),
        (0.1, 120.0),  # 300 s would be too long
        (0.0, 120.0),
    ],
)
def test_windows_are_as_long_as_their_requests_need(rate_rps, length_s):
    assert load_test.window_s(dict(PLAIN, window_requests=30), rate_rps) == length_s
    assert load_test.window_s(PLAIN, rate_rps) == 5.0, "nobody wants more"
