# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What requests of several rows predict about batching: against servers whose duration is a * n + b by definition."""

from __future__ import annotations

import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters, start_values
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import batch_fit
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.batch_fit import Point


def measured(a_ms, b_ms, in_flight=8, cpus=1, threads=1, draw=None):
    """Return the points of a server that computes up to `threads` requests at once on its CPUs, each in a * n + b."""
    points = []
    for rows, requests in batch_fit.shapes(in_flight, cpus):
        rate = min(requests, threads) * 1000 / (a_ms * rows + b_ms)
        points.append(Point(rows, requests, rows * rate * (draw.lognormvariate(0, 0.1) if draw else 1)))
    return points


def test_what_is_measured():
    assert batch_fit.shapes(8, 1) == [(1, 1), (8, 1), (1, 8)]
    assert batch_fit.shapes(8, 6) == [(1, 1), (8, 1), (4, 2), (2, 4), (1, 8)]
    assert batch_fit.shapes(64, 2) == [(1, 1), (4, 1), (16, 1), (64, 1), (32, 2), (1, 64)]
    assert batch_fit.shapes(2, 8) == [(1, 1), (2, 1), (1, 2)]


@pytest.mark.parametrize("a_ms, b_ms", [(1.0, 1.0), (0.01, 5.0), (50.0, 0.5), (0.0, 3.0), (2.0, 0.0)])
@pytest.mark.parametrize("in_flight", [2, 8, 64, 512])
def test_the_fit_finds_both_parts_of_the_duration(a_ms, b_ms, in_flight):
    a, b = batch_fit.fit(measured(a_ms, b_ms, in_flight))
    assert (1000 * a, 1000 * b) == (pytest.approx(a_ms, abs=1e-9), pytest.approx(b_ms, abs=1e-6))


def test_the_fit_of_noisy_durations_is_near_and_never_negative():
    for seed in range(50):
        a, b = batch_fit.fit(measured(1.0, 0.1, 64, draw=random.Random(seed)))
        assert 0.0007 < a < 0.0014 and 0 <= b < 0.0006


@pytest.mark.parametrize("a_ms, b_ms, gain", [(0.1, 0.9, 1.0 / 0.2125 - 1), (1, 1, 2 / 1.125 - 1), (50, 0.5, 0.0088)])
def test_the_gain_is_what_sharing_the_constant_part_saves(a_ms, b_ms, gain):
    # In a batch of 8 a row takes a + b / 8 instead of a + b.
    found = batch_fit.predict(measured(a_ms, b_ms))
    assert found.gain == pytest.approx(gain, rel=0.01) and (found.threads, found.rows) == (1, 8)
    assert f"a request of 8 rows takes {8 * a_ms + b_ms:.3g} ms, one of 1 row {a_ms + b_ms:.3g} ms" in found.reason


def test_a_batch_waits_only_where_the_request_costs_more_than_its_rows():
    timeouts = [batch_fit.predict(measured(a, b)).timeout_micros for a, b in ((0.1, 5.0), (1.0, 1.0), (50.0, 1.0))]
    assert timeouts == [1000, 0, 0]


@pytest.mark.parametrize(
    "a_ms, b_ms, threads, expected",
    [
        (1.0, 0.2, 4, (4, 2)),  # TensorFlow Lite: one thread for each request, and rows that cost
        (0.001, 2.0, 4, (1, 8)),  # one batch of all rows takes no longer than one row
        (1.0, 0.2, 1, (1, 8)),  # TensorFlow's own threads: one request at a time uses all CPUs
    ],
)
def test_as_many_batches_at_once_as_help(a_ms, b_ms, threads, expected):
    found = batch_fit.predict(measured(a_ms, b_ms, cpus=4, threads=threads))
    assert (found.threads, found.rows) == expected


@pytest.mark.parametrize("cpus", [1, 2, 6, 64])
@pytest.mark.parametrize("in_flight", [2, 3, 8, 13, 64, 512])
def test_started_parameters_are_valid_and_never_limit_requests(cpus, in_flight):
    host = {"cpu": {"usable": cpus}, "gpus": [], "memory": {"usable_mib": 4096}}
    given = {name: value for name, (value, _reason) in start_values.start_values(host, "online").items()}
    prediction = batch_fit.predict(measured(0.5, 1.0, in_flight, cpus, threads=cpus))
    started = batch_fit.started(given, prediction)
    parameters.check(started)
    assert started["max_batch_size"] == given["max_batch_size"]
    assert started["max_execution_batch_size"] * started["num_batch_threads"] <= in_flight
    assert 1 <= started["num_batch_threads"] <= cpus


def test_sizes_that_a_user_allows_stay():
    given = {"max_batch_size": 32, "allowed_batch_sizes": [8, 32], "num_batch_threads": 4}
    started = batch_fit.started(given, batch_fit.predict(measured(0.1, 1.0)))
    assert started == {**given, "num_batch_threads": 1, "batch_timeout_micros": started["batch_timeout_micros"]}
