# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A double of TensorFlow Serving 2.20.0: the embedded server, and what it answers with an error where the real one hangs or aborts.

Each was seen at a real server: a request without rows waits in its batching queue for another and joins it; a padded batch of two ranks aborts; values
and files that are wrong abort at the start without a sentence; without a monitoring file REST stays away; SIGTERM ends it at once.
"""

from __future__ import annotations

import os
import sys
import threading

sys.path.insert(0, "/usr/lib/tfserving-fleet/tensorflow_model_server.pyz")

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import flags
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import batching, main, status


def abort(words=""):
    """End as TensorFlow's CHECK does."""
    sys.stderr.write(words and f"2026-11-29 21:24:13.228363: F {words}\n")
    sys.stderr.flush()
    os.abort()


class Batching(batching.BatchingSession):
    """Batches in which requests without rows wait for others."""

    def __init__(self, session, parameters, scheduler):
        try:
            super().__init__(session, parameters, scheduler)
        except status.Status as fault:
            if "input_batch_size_limit" in fault.message or "batch_timeout_micros" in fault.message:
                abort()
            raise
        self._pads, self._alone, self._lock = parameters.pad_variable_length_inputs, [], threading.Lock()

    def run(self, feeds, fetches, timeout_ms=0):
        """See BatchingSession."""
        if any(array.ndim and not len(array) for array in feeds.values()):
            joined = {"feeds": feeds, "came": threading.Event(), "faults": []}
            with self._lock:
                self._alone.append(joined)
            joined["came"].wait()
            for fault in joined["faults"]:
                raise fault
            return self._session.run(feeds, fetches, timeout_ms)
        with self._lock:
            joined, self._alone = self._alone, []
        fault = self._fault(feeds, joined)
        for one in joined:
            one["faults"] += [fault] if fault else []
            one["came"].set()
        if fault:
            raise fault
        return super().run(feeds, fetches, timeout_ms)

    def _fault(self, feeds, joined):
        """The status of a batch with requests that have no rows, or None."""
        if joined and self._pads:
            abort("tensorflow/core/framework/tensor_shape.cc:413] Check failed: size >= 0 (0 vs. -1619015507)")
        for one in joined:
            for name, array in one["feeds"].items():
                try:
                    batching._joined(name, [array, feeds[name]], 0, False)
                except status.Status as fault:
                    return fault
        return None


def of_one_shape(arrays, padded=batching._of_one_shape):
    """Abort where the ranks of a padded batch differ."""
    if len({array.ndim for array in arrays}) > 1:
        abort("tensorflow/core/framework/tensor_shape.cc:413] Check failed: size >= 0 (0 vs. -1619015507)")
    return padded(arrays)


def metrics_path(options, read=main._metrics_path):
    """Serve no REST where the file of --monitoring_config_file cannot be read."""
    try:
        return read(options)
    except status.Status:
        options["rest_api_port"] = 0
        return None


def tls(options, read=main._tls):
    """Abort where the file of --ssl_config_file cannot be read."""
    try:
        return read(options)
    except status.Status as fault:
        abort(
            f"server.cc:129] Check failed: ParseProtoTextFile<SSLConfig>(ssl_config_file, &ssl_config) is OK ({fault})"
        )


def refusal(values, cpus, refused=flags.refusal):
    """Abort where TensorFlow Serving aborts without a sentence."""
    found = refused(values, cpus)
    if found and "rest_api_num_threads" in found[1]:
        abort(
            f"external/local_xla/xla/tsl/platform/threadpool.cc:124] Check failed: num_threads >= 1 (1 vs. {values['rest_api_num_threads']})"
        )
    if found and ("grpc_max_threads" in found[1] or "grpc_channel_arguments" in found[1]):
        abort()
    return found


batching.BatchingSession, batching._of_one_shape = Batching, of_one_shape
main._metrics_path, main._tls, flags.refusal = metrics_path, tls, refusal
main.Server._stop = lambda _server, number, _frame: os._exit(128 + number)
sys.exit(main.main())
