# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Warm-up: the requests in a model's folder run before it serves, each as often as configured. If one fails, the version does not load."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    examples,
    log,
    metrics,
    status,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.predict import Predictor, Request
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import Session
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MOST = 1000
_UNSUPPORTED = {"session_run_log": 5, "predict_streamed_log": 7}
_OVER_EXAMPLES = {"classify_log": examples.CLASSIFY, "regress_log": examples.REGRESS}


def run(path: str, session: Session, predictor: Predictor, iterations: int = 1) -> None:
    """Run the warm-up requests of the version at path. Raises Status or TensorFlow's errors."""
    file, began, count = os.path.join(path, FILE), time.monotonic(), 0
    if not os.path.exists(file):
        log.info(f"No warmup data file found at {file}")
        return
    log.info(f"Starting to read warmup data for model at {file}")
    for record in _records(file):
        logged = _parsed(record, file)
        for _iteration in range(iterations):
            _replay(logged, session, predictor)
        count += 1
        if count > _MOST:
            raise status.Status("INVALID_ARGUMENT", f"Number of warmup records exceeds the maximum ({_MOST}) at {file}")
    elapsed_us = round((time.monotonic() - began) * 1e6)
    metrics.WARMUP_LATENCY.add(elapsed_us, path, "OK")
    metrics.WARMUP_RECORDS.add(path, "OK", by=count)
    log.info(
        f"Finished reading warmup data for model at {file}. Number of warmup records read: {count}. Elapsed time (microseconds): {elapsed_us}."
    )


def _records(file: str) -> Iterator[bytes]:
    """Return the records of a TFRecord file. Raise Status for an invalid record, as TensorFlow Serving 2.20 does."""
    from tensorflow.python.framework import errors
    from tensorflow.python.lib.io import tf_record

    try:
        yield from tf_record.tf_record_iterator(file)
    except errors.DataLossError as fault:
        raise status.Status(
            "DATA_LOSS", f"{fault.message}. Please verify your warmup data is in TFRecord format."
        ) from fault


def _parsed(record: bytes, file: str) -> Any:
    try:
        return wire.message("tensorflow.serving.PredictionLog").FromString(record)
    except Exception as fault:
        raise status.Status("INVALID_ARGUMENT", f"Failed to parse warmup record: {record!r} from {file}") from fault


def _replay(logged: Any, session: Session, predictor: Predictor) -> None:
    kind = logged.WhichOneof("log_type")
    if kind in _UNSUPPORTED:
        raise status.Status("UNIMPLEMENTED", f"Unsupported log_type for warmup: {_UNSUPPORTED[kind]}")
    if kind in _OVER_EXAMPLES:
        predictor.infer(_OVER_EXAMPLES[kind], session, getattr(logged, kind).request)
    if kind == "multi_inference_log":
        predictor.infer_several(session, logged.multi_inference_log.request)
    if kind == "predict_log":
        request = logged.predict_log.request
        spec = request.model_spec
        predictor.predict(session, Request(spec.name, spec.signature_name, request.inputs, request.output_filter))
