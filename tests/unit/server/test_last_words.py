# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server ended, from texts that real servers and engines were seen to say."""

from __future__ import annotations

import pytest

from ansible_collections.tfserving.fleet.plugins.module_utils.server import last_words

BROKEN = ("Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: broken version: 1} due to error: DATA_LOSS: "
          "Can't parse /models/1/saved_model.pb as binary proto}, }")
ABORT = "2024-11-01 10:00:00.000000: F ./tensorflow/core/util/tensor_format.h:428] Check failed: index >= 0 && index < num_total_dims Invalid index"
NO_VERSION = ("2024-11-01 10:00:00.000000: W tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc:268] No versions of servable m found "
              "under base path /models. Did you forget to name your leaf directory as a number (eg. '/1/')?")


@pytest.mark.parametrize(("exit_code", "oom", "log", "error", "cause", "line"), [
    (132, False, "", "", "SIGILL: this CPU lacks an instruction", "nothing"),
    (132, False, "/usr/bin/tf_serving_entrypoint.sh: line 3:     7 Illegal instruction", "", "SIGILL", "Illegal instruction"),
    (134, False, "The TensorFlow library was compiled to use AVX512F instructions, but these aren't available on your machine.", "", "SIGILL", "AVX512F"),
    (137, True, "I am fine", "", "killed for want of memory, its limit is 256 MiB (OOM)", "I am fine"),
    (137, False, "", "", "SIGKILL: killed for want of memory (its limit is 256 MiB) or from outside", "nothing"),
    (126, False, "", "runc: runc create failed: error setting rlimit type 7: operation not permitted: OCI permission denied", "the engine may not start it so",
     "rlimit"),
    (255, False, "Failed to start server. Error: UNIMPLEMENTED: --tensorflow_session_config_file is not built into the embedded server of tfserving.fleet", "",
     "the image is the embedded server", "tensorflow_session_config_file"),
    (139, False, "", "", "SIGSEGV", "nothing"),
    (134, False, ABORT, "", "SIGABRT: a check inside the server failed", "Check failed: index >= 0"),
    (134, False, "F0000 00:00:1777777777.123456      15 control_flow_ops.cc:720] Abort_op intentional failure; no rows\n*** Check failure stack trace: ***\n"
     "    @     0x7f46996741f5  (unknown)", "", "SIGABRT", "Abort_op intentional failure"),
    (255, False, BROKEN, "", "a model cannot be loaded (exit status 255)", "Can't parse"),
    (255, False, "Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '/etc/tfserving/batching.pbtxt'", "", "batching|text proto",
     "Invalid protobuf"),
    (255, False, "Couldn't interpret value abc for flag port.", "", "a flag's value cannot be read", "abc"),
    (128, False, "", "driver failed programming external connectivity: Bind for 127.0.0.1:8500 failed: port is already allocated", "a port is taken", "8500"),
    (None, False, NO_VERSION, "", "the model's folder holds no version", "No versions of servable"),
    (None, False, "loading", "", "it is still not ready", "loading"),
    (3, False, "one\ntwo", "", "exit status 3", "one | two")])
def test_causes(exit_code, oom, log, error, cause, line):
    words = last_words.explain(exit_code, oom, log, 256, error)
    assert any(part in words.cause for part in cause.split("|")) and line in words.lines


def test_what_only_looks_like_a_fault():
    success = "retrier.cc:57] Retrying of Loading servable: {name: m version: 1} exhausted max_num_retries: 0"
    assert last_words.explain(None, False, success + "\nlast").lines == "last"


def test_what_a_server_says_and_serves_on():
    assert last_words.unknown_argument("usage\nunknown argument: --use_tflite_model=true\nFlags:") == "--use_tflite_model=true"
    assert last_words.unknown_argument("all is well") is None
    assert "8501" in last_words.rest_missing("x\n[evhttp_server.cc : 250] NET_LOG: Couldn't bind to port 8501\n")
    assert last_words.rest_missing("Exporting HTTP/REST API at:localhost:8501 ...") is None
