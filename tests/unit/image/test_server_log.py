# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The feature-guard line in the words of real servers, from TensorFlow 1.0 to 2.21 (tests/fixtures/image/logs)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.tfserving.fleet.plugins.module_utils.image import server_log

LOGS = Path(__file__).resolve().parents[2] / "fixtures" / "image" / "logs"
SESSION = "2026-04-23 10:11:12.141592: I external/org_tensorflow/tensorflow/cc/saved_model/loader.cc:236] Restoring SavedModel bundle.\n"


def log(name):
    with open(LOGS / f"{name}.log", encoding="utf-8", newline="") as stream:
        return stream.read()


@pytest.mark.parametrize(("name", "wording", "prefix", "instructions"), [
    ("tensorflow-1.0", "one_each", "tensorflow", "SSE4.1 AVX2"),
    ("tensorflow-1.13", "your_cpu", "tensorflow", "AVX2 FMA"),
    ("tensorflow-2.0-mkl", "mkl_dnn", "tensorflow", "AVX2 AVX512F FMA"),
    ("tensorflow-2.3", "onednn", "tensorflow", "AVX2 FMA"),
    ("tensorflow-2.8", "onednn", "tensorflow", "AVX2 AVX512F AVX512_VNNI FMA"),
    ("tensorflow-2.20", "two_lines", "tensorflow", "AVX2 AVX512F AVX512_VNNI AVX512_BF16 FMA"),
    ("tensorflow-2.21", "two_lines", "absl", "AVX2 FMA"),
    ("docker-timestamps", "two_lines", "tensorflow", "FMA"),
])
def test_real_wordings(name, wording, prefix, instructions):
    told = server_log.parse("a line before\n" + log(name) + SESSION)
    assert {(line["wording"], line["prefix"]) for line in told["lines"]} == {(wording, prefix)}
    assert told["unused"] == told["judged"] == instructions.split()
    assert told["conclusive"] and told["fatal"] is None


def test_amx_is_listed_and_not_judged():
    told = server_log.parse(log("sapphire-rapids"))
    assert told["unused"] == ["AVX512_FP16", "AMX_TILE", "AMX_INT8", "AMX_BF16"]
    assert told["judged"] == ["AVX512_FP16"] and told["cpu_flags"] == ["avx512_fp16"]


def test_silence_proves_nothing_unless_a_session_was_made_in_sight():
    assert not server_log.parse("")["conclusive"]
    assert not server_log.parse("I0000 00:00:1790000000.1 1 server_core.cc:502] Successfully loaded servable version {name: m version: 1}\n")["conclusive"]
    assert server_log.parse(SESSION)["conclusive"]


def test_words_without_the_guards_name_are_nobodys():
    assert server_log.parse("client says: Your CPU supports instructions that this TensorFlow binary was not compiled to use: AVX2\n")["unused"] == []


@pytest.mark.parametrize(("text", "status", "kind", "name"), [
    (log("fatal-2017"), 134, "missing_instruction", "AVX2"),
    (log("fatal-today"), -6, "missing_instruction", "AVX512F"),
    ("/usr/bin/tf_serving_entrypoint.sh: line 3:     7 Illegal instruction     (core dumped) tensorflow_model_server --port=8500\n", None,
     "illegal_instruction", None),
    ("qemu: uncaught target signal 4 (Illegal instruction) - core dumped\n", 132, "illegal_instruction", None),
    ("", 132, "illegal_instruction", None),
    ("", -4, "illegal_instruction", None),
])
def test_how_a_server_dies_of_instructions(text, status, kind, name):
    told = server_log.parse(text, status)
    assert told["fatal"] == {"kind": kind, "instruction": name}
    assert not told["conclusive"]


@pytest.mark.parametrize("status", [0, 1, 134, 137, -9, None])
def test_other_ends_are_not_blamed_on_instructions(status):
    assert server_log.parse("Failed to start server. Error: INVALID_ARGUMENT\n", status)["fatal"] is None
