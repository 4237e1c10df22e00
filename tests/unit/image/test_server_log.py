# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The feature-guard line in the words of real servers, from TensorFlow 1.0 to 2.21 (tests/fixtures/image/logs)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._image import server_log

LOGS = Path(__file__).resolve().parents[2] / "fixtures" / "image" / "logs"
SESSION = "2026-04-23 10:11:12.141592: I external/org_tensorflow/tensorflow/cc/saved_model/loader.cc:236] Restoring SavedModel bundle.\n"


def log(name):
    with open(LOGS / f"{name}.log", encoding="utf-8", newline="") as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("name", "wording", "prefix", "instructions"),
    [
        ("tensorflow-1.0", "one_each", "tensorflow", "SSE4.1 AVX2"),
        ("tensorflow-1.13", "your_cpu", "tensorflow", "AVX2 FMA"),
        ("tensorflow-2.0-mkl", "mkl_dnn", "tensorflow", "AVX2 AVX512F FMA"),
        ("tensorflow-2.3", "onednn", "tensorflow", "AVX2 FMA"),
        ("tensorflow-2.8", "onednn", "tensorflow", "AVX2 AVX512F AVX512_VNNI FMA"),
        ("tensorflow-2.20", "two_lines", "tensorflow", "AVX2 AVX512F AVX512_VNNI AVX512_BF16 FMA"),
        ("tensorflow-2.21", "two_lines", "absl", "AVX2 FMA"),
        ("docker-timestamps", "two_lines", "tensorflow", "FMA"),
    ],
)
def test_real_wordings(name, wording, prefix, instructions):
    told = server_log.parse("a line before\n" + log(name) + SESSION)
    assert {(line["wording"], line["prefix"]) for line in told["lines"]} == {(wording, prefix)}
    assert told["unused"] == told["judged"] == instructions.split()
    assert told["conclusive"] and told["fatal"] is None


def test_amx_is_listed_and_not_judged():
    told = server_log.parse(log("sapphire-rapids"))
    assert told["unused"] == ["AVX512_FP16", "AMX_TILE", "AMX_INT8", "AMX_BF16"]
    assert told["judged"] == ["AVX512_FP16"] and told["cpu_flags"] == ["avx512_fp16"]


TWO_LINES = log("tensorflow-2.20")
JSON = "".join(
    json.dumps({"log": row + "\n", "stream": "stderr", "time": "2026-04-23T10:11:12Z"}) + "\n"
    for row in TWO_LINES.splitlines()
)
COLOURS = TWO_LINES.replace("AVX2", "\x1b[1;31mAVX2\x1b[0m\x1b[K").replace("\n", "\x1b[K\n")


@pytest.mark.parametrize(
    "text",
    [
        TWO_LINES.replace("\n", "\r\n"),
        TWO_LINES.replace("\n", "\r"),
        COLOURS,
        JSON,
        json.dumps({"message": TWO_LINES}),
        "\n".join(f"2026-11-27T03:11:02.123456789Z stderr F {row}" for row in TWO_LINES.splitlines()),
        "\n".join(f"web-1  | {row}" for row in TWO_LINES.splitlines()),
        TWO_LINES.replace("\n", "\nE0423 10:11:12.131415       1 other.cc:1] between\n", 1),
        "\0\ufffd\n" * 9 + TWO_LINES + "\0",
        TWO_LINES + TWO_LINES,
    ],
    ids=[
        "windows",
        "old mac",
        "colours",
        "docker's files",
        "one record",
        "kubernetes",
        "compose",
        "another thread",
        "garbage",
        "two servers",
    ],
)
def test_whatever_carries_it_the_line_is_read(text):
    for given in (text, iter(text.splitlines(keepends=True))):
        told = server_log.parse(given)
        assert (
            told["unused"] == "AVX2 AVX512F AVX512_VNNI AVX512_BF16 FMA".split()
            and told["conclusive"]
            and told["fatal"] is None
        )


def test_names_end_where_a_record_goes_on():
    told = server_log.parse(json.dumps({"log": log("tensorflow-1.13"), "time": "2026-04-23T10:11:12Z"}))
    assert told["unused"] == ["AVX2", "FMA"]


def test_a_line_that_was_cut_off_proves_nothing():
    first, second = TWO_LINES.rstrip("\n").split("\n")
    for cut in (first, f"{first}\n{second[:50]}", first[:-20], first + "\n" * 50 + second):
        told = server_log.parse(f"{cut}\n{SESSION}")
        assert told["unused"] == [] and not told["conclusive"], cut


def test_two_servers_in_one_log():
    first, second = TWO_LINES.rstrip("\n").split("\n")
    other = second.replace("AVX2 AVX512F AVX512_VNNI AVX512_BF16 FMA", "AMX_TILE FMA")
    told = server_log.parse("\n".join([first, first, second, other, log("tensorflow-2.21"), log("tensorflow-1.0")]))
    assert [line["wording"] for line in told["lines"]][:3] == ["two_lines"] * 3
    assert told["unused"] == "SSE4.1 AVX2 AVX512F AVX512_VNNI AVX512_BF16 AMX_TILE FMA".split()


def test_silence_proves_nothing_unless_a_session_was_made_in_sight():
    assert not server_log.parse("")["conclusive"]
    assert not server_log.parse(
        "I0000 00:00:1790000000.1 1 server_core.cc:502] Successfully loaded servable version {name: m version: 1}\n"
    )["conclusive"]
    assert server_log.parse(SESSION)["conclusive"]


def test_words_without_the_guards_name_are_nobodys():
    assert (
        server_log.parse(
            "client says: Your CPU supports instructions that this TensorFlow binary was not compiled to use: AVX2\n"
        )["unused"]
        == []
    )


@pytest.mark.parametrize(
    ("text", "status", "kind", "name"),
    [
        (log("fatal-2017"), 134, "missing_instruction", "AVX2"),
        (log("fatal-today"), -6, "missing_instruction", "AVX512F"),
        (
            "/usr/bin/tf_serving_entrypoint.sh: line 3:     7 Illegal instruction     (core dumped) tensorflow_model_server --port=8500\n",
            None,
            "illegal_instruction",
            None,
        ),
        ("qemu: uncaught target signal 4 (Illegal instruction) - core dumped\n", 132, "illegal_instruction", None),
        ("", 132, "illegal_instruction", None),
        ("", -4, "illegal_instruction", None),
    ],
)
def test_how_a_server_dies_of_instructions(text, status, kind, name):
    told = server_log.parse(text, status)
    assert told["fatal"] == {"kind": kind, "instruction": name}
    assert not told["conclusive"]


@pytest.mark.parametrize("status", [0, 1, 134, 137, -9, None])
def test_other_ends_are_not_blamed_on_instructions(status):
    assert server_log.parse("Failed to start server. Error: INVALID_ARGUMENT\n", status)["fatal"] is None


ONE_DNN = log("tensorflow-2.8").strip()
HEAD, NAMES = ONE_DNN.rpartition(":  ")[0] + ":", ONE_DNN.rpartition(":  ")[2]


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "  ",
        f"{HEAD}\n{NAMES}",
        f"{HEAD}\r\n   {NAMES}\r\n",
        f"{HEAD}\n\n{NAMES}\n",
        f"{HEAD}  AVX2 AVX512F\nAVX512_VNNI FMA\n",
        log("tensorflow-1.13").rpartition(":")[0] + ":",
        log("tensorflow-2.0-mkl").rpartition(":")[0] + ":\n",
        json.dumps({"log": HEAD + "\n", "stream": "stderr"}),
        log("tensorflow-2.20").partition("instructions: AVX2")[0]
        + "instructions: , in other operations, rebuild TensorFlow with the appropriate compiler flags.",
    ],
)
def test_a_line_without_its_names_proves_nothing(text):
    """cpu_feature_guard.cc of TensorFlow logs the line only where missing_instructions is not empty."""
    told = server_log.parse(f"{text}\n{SESSION}")
    assert not told["conclusive"] and told["fatal"] is None
    assert server_log.parse(f"{HEAD}  {NAMES}\n{SESSION}")["conclusive"]


@pytest.mark.parametrize(
    "text",
    [
        # systemd: service_sigchld_event in src/core/service.c, exit_status_to_string; systemctl status.
        "tfserving.service: Main process exited, code=dumped, status=4/ILL",
        "Main PID: 4242 (code=killed, signal=ILL)",
        "Main PID: 4242 (code=dumped, signal=ILL)",
        "tfserving.service: Main process exited, code=exited, status=132/n/a",
        # Linux: do_error_trap in arch/x86/kernel/traps.c.
        "traps: tensorflow_mode[4242] trap invalid opcode ip:55d7c0ffee00 sp:7ffc0badf00d error:0 in tensorflow_model_server[55d7c0000000+8000000]",
        "zsh: illegal hardware instruction (core dumped)  tensorflow_model_server",
        "[1]    4242 illegal hardware instruction  tensorflow_model_server --port=8500",
        "signal: illegal instruction (core dumped)",
        "[signal SIGILL: illegal instruction code=0x2 addr=0x7f00]",
        "tfserving exited with code 132",
        '4f1c0ffee tensorflow/serving "/usr/bin/tf_serving_e…" Exited (132) 5 minutes ago',
        '        "ExitCode": 132,',
        "        exitCode: 132",
        "      Exit Code:    132",
        "container_die exitCode=132",
        "The command '/bin/sh -c serve' returned a non-zero code: 132",
        "subprocess.CalledProcessError: Command died with <Signals.SIGILL: 4>.",
        "Command '['tensorflow_model_server']' returned non-zero exit status -4.",
        "Fatal Python error: Illegal instruction",
        "exited: tfs (terminated by SIGILL; not expected)",
        "child process exited on signal 4",
        "Program received signal SIGILL, Illegal instruction.",
        "*** SIGILL received at time=1700000000 on cpu 3 ***",
        "       Signal: 4 (ILL)",
        "fish: Job 1, 'tensorflow_model_server' terminated by signal SIGILL (Illegal instruction)",
        "Illegal instruction (core dumped)",
    ],
)
def test_a_death_by_an_illegal_instruction_is_known_in_whatever_words(text):
    for given in (text, f"one\n{text}\nthree", json.dumps({"log": text + "\n"})) if '"' not in text else (text,):
        assert server_log.parse(given)["fatal"] == {"kind": "illegal_instruction", "instruction": None}, given


@pytest.mark.parametrize(
    "text",
    [
        "tfserving exited with code 1",
        "Exited (137) 5 minutes ago",
        "status=11/SEGV",
        "took 132 ms",
        "I exit after 132 requests",
        "port 4132",
        "exit status 1320",
        "10.132.0.4 - signal 42",
        "BILLING: ok",
        "2026-11-30 01:13:20.132: I x.cc:132] Loaded",
        "signal: killed",
        "exited with code 132.5",
    ],
)
def test_other_lines_are_no_death_by_an_illegal_instruction(text):
    assert server_log.parse(text)["fatal"] is None


@pytest.mark.parametrize("length", range(1, 9))
def test_a_guard_line_that_was_cut_within_its_last_name_proves_nothing(length):
    """The log ends in the middle of AVX512F: none of its beginnings but AVX is a name of TensorFlow's."""
    text = (
        "2024-01-01 00:00:00.000000: I tensorflow/core/platform/cpu_feature_guard.cc:151] This TensorFlow binary is optimized with oneAPI Deep Neural Network "
        f"Library (oneDNN) to use the following CPU instructions in performance-critical operations:  FMA {'AVX512F'[:length]}\n"
    )
    found = server_log.parse(text)
    assert found["conclusive"] is (length == 3 or length >= 7)
