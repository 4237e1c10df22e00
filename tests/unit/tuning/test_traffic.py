# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The traffic that a user describes, and the load that follows from it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.traffic import traffic


def test_without_a_description_single_examples_are_sent_with_eight_requests_in_flight():
    for given in (None, {}, {"concurrency": None, "batch_sizes": None}):
        assert traffic(given).closed() == {"loop": "closed", "concurrency": 8, "batch": {1: 1}, "dimensions": {}}
        assert not traffic(given).has_rate


def test_all_loads_send_the_same_requests():
    described = traffic(
        {"batch_sizes": {"1": "3", 16: 1}, "concurrency": "4", "rate_rps": "50", "dimensions": {"*": 128, "ids": "32"}}
    )
    requests = {"batch": {1: 3, 16: 1}, "dimensions": {"*": 128, "ids": 32}}
    assert described.closed() == {"loop": "closed", "concurrency": 4, **requests}
    assert described.open() == {"loop": "open", "rate_rps": 50.0, "arrivals": None, **requests} and described.has_rate
    assert described.open(20.0)["rate_rps"] == 20.0


def test_recorded_arrivals_are_sent_as_they_were_or_at_another_rate():
    recorded = traffic({"arrivals": "/a.txt"})
    assert recorded.has_rate and (recorded.open()["arrivals"], recorded.open()["rate_rps"]) == ("/a.txt", None)
    assert (recorded.open(9.0)["arrivals"], recorded.open(9.0)["rate_rps"]) == ("/a.txt", 9.0)


@pytest.mark.parametrize(
    "given, text",
    [
        ("fast", "traffic: 'fast' is not a mapping."),
        ([1], "traffic: [1] is not a mapping."),
        (
            {"concurency": 8},
            "traffic: 'concurency' is not known; allowed: batch_sizes, dimensions, concurrency, rate_rps, arrivals; did you mean concurrency?",
        ),
        ({"concurrency": 0}, "traffic.concurrency: 0 is out of range; allowed: 1 to 512 requests in flight."),
        ({"concurrency": "many"}, "traffic.concurrency: 'many' is not a whole number."),
        ({"concurrency": True}, "traffic.concurrency: True is not a whole number."),
        ({"rate_rps": 0}, "traffic.rate_rps: 0 is out of range; allowed: 0.01 to 100000 requests/s."),
        ({"rate_rps": float("nan")}, "traffic.rate_rps: nan is not a finite number."),
        ({"rate_rps": "often"}, "traffic.rate_rps: 'often' is not a number."),
        ({"arrivals": ["/a"]}, "traffic.arrivals: ['/a'] is not a text."),
        (
            {"arrivals": ""},
            "traffic.arrivals: the path is empty. Remove arrivals, or set it to the path of a file on the host.",
        ),
        ({"batch_sizes": []}, "traffic.batch_sizes: it is empty. Set at least one number of examples."),
        ({"batch_sizes": [0]}, "traffic.batch_sizes: 0 is out of range; allowed: 1 to 1000000."),
        ({"batch_sizes": {4: -1}}, "traffic.batch_sizes[4]: -1 is out of range; allowed: 0.001 to 1000000."),
        ({"dimensions": "ids=3"}, "traffic.dimensions: 'ids=3' is not a mapping."),
        ({"dimensions": {"ids": None}}, "traffic.dimensions.ids: None is not a number."),
        ({"dimensions": {"ids": 1.5}}, "traffic.dimensions.ids: 1.5 is not a whole number."),
    ],
)
def test_what_no_client_can_send_is_one_clear_line(given, text):
    with pytest.raises(FleetError) as caught:
        traffic(given)
    assert str(caught.value) == text
