# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's metrics say, in the text that a real 2.20 server publishes."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import metrics_text

TEXT = """\
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="digits",status="OK"} 120
:tensorflow:serving:request_count{model_name="digits",status="UNAVAILABLE"} 3
:tensorflow:serving:request_count{model_name="zz",status="NOT_FOUND"} 1
# TYPE :tensorflow:serving:batching_session:processed_batch_size histogram
:tensorflow:serving:batching_session:processed_batch_size_bucket{le="4"} 30
:tensorflow:serving:batching_session:processed_batch_size_sum{} 160
:tensorflow:serving:batching_session:processed_batch_size_count{} 40
:tensorflow:serving:batching_session:input_batch_size_sum{} 120
:tensorflow:serving:batching_session:input_batch_size_count{} 120
:tensorflow:serving:batching_session:queuing_latency_sum{thread_pool_name=""} 80000
:tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name=""} 40
:tensorflow:serving:batching_session:padding_size_sum{execution_batch_size="4"} 25
:tensorflow:serving:batching_session:padding_size_count{execution_batch_size="4"} 30
:tensorflow:serving:batching_session:padding_size_sum{execution_batch_size="8"} 15
:tensorflow:serving:batching_session:padding_size_count{execution_batch_size="8"} 10
:tensorflow:serving:batching_session:wrapped_run_count{} 40
:tensorflow:core:graph_runs 40
"""


def test_figures():
    assert metrics_text.figures(TEXT) == {
        "requests": {"digits": {"OK": 120, "UNAVAILABLE": 3}, "zz": {"NOT_FOUND": 1}},
        "batching": {
            "batches": 40,
            "mean_request_rows": 1.0,
            "mean_batch_rows": 4.0,
            "mean_queuing_us": 2000.0,
            "padded_rows": 40,
        },
    }


def test_a_server_that_was_asked_nothing_yet():
    assert metrics_text.figures("# TYPE :tensorflow:serving:request_count counter\n") == {
        "requests": {},
        "batching": dict.fromkeys(
            ("batches", "mean_request_rows", "mean_batch_rows", "mean_queuing_us", "padded_rows")
        ),
    }


def test_no_name_that_a_client_sends_breaks_the_page():
    """The text format of Prometheus: backslash, quote and line feed are escaped in a label's value."""
    counter = metrics.Counter("requests", "model")
    counter.add('a\n"b\\')
    assert counter.lines() == ["# TYPE requests counter", 'requests{model="a\\n\\"b\\\\"} 1']
