# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts without NVML, where nvidia-smi alone tells of the GPUs, in whatever shape its answer comes. Its exit statuses and words: nvidia-smi(1)."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import nvidia
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files

UUID = "GPU-6513270e-269e-4d37-b2a7-4de452e6b438"
ROW = f"0, 00000000:00:04.0, 0x1EB810DE, Tesla T4, {UUID}, 535.161.08, 15360, 7.5, Enabled, [N/A]"
SECOND = ROW.replace("0, 00000000:00:04.0", "1, 00000000:00:05.0").replace("6513", "7777")
CORRUPTED = "WARNING: infoROM is corrupted at gpu 0000:00:04.0"


@pytest.fixture
def read(tmp_path):
    """read(answer to --query-gpu, exit status): what is detected on a host whose nvidia-smi answers so."""

    def detect(answer, status=0):
        for name in ("dev", "usr/bin"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "dev/nvidiactl").touch()
        (tmp_path / "answer").write_bytes(answer.encode())
        program = tmp_path / "usr/bin/nvidia-smi"
        program.write_text(
            f"#!/bin/sh\ncase \"$1\" in --query*) cat {tmp_path}/answer; exit {status};; -L) echo 'GPU 0: Tesla T4 (UUID: {UUID})';; "
            "*) echo '| Driver Version: 535.161.08    CUDA Version: 12.2 |';; esac\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
        return nvidia.read(Files(str(tmp_path)), ())

    return detect


@pytest.mark.parametrize(
    "answer, status, count",
    [
        (f"{ROW}\n", 0, 1),
        (f"{ROW}\n{CORRUPTED}\n", 14, 1),
        (f"{CORRUPTED}\n{ROW}\n", 14, 1),
        (f"{ROW}\n{CORRUPTED}\n", 0, 1),
        (f"{ROW}\r\n{SECOND}\r\n", 0, 2),
        (f"{ROW}\r{SECOND}\r", 0, 2),
        (f"{ROW}\n\n{SECOND}\n{CORRUPTED}\n{CORRUPTED.replace('04', '05')}\n", 14, 2),
        (f"\ufeff{ROW}\n", 0, 1),
        (ROW.replace(", ", ","), 0, 1),
        (ROW.replace(", 7.5,", ", 7,5,"), 0, 1),
        (ROW.replace("15360", "15360,00"), 0, 1),
        (ROW.replace("15360", "15360 MiB"), 0, 1),
        (ROW.replace("15360", "15,360 MiB"), 0, 1),
        (ROW.replace("15360", "15.360"), 0, 1),
        (ROW.replace("15360", "15\u202f360 MiB"), 0, 1),
        (ROW.replace("15360", "15 GiB"), 0, 1),
        (ROW.replace(", ", ";").replace("7.5", "7,5"), 0, 1),
        (ROW.replace(", ", "\t"), 0, 1),
        (
            f"Warning: persistence mode is disabled on device 0000:00:04.0, see nvidia-smi(1), a, b, c, d, e, f, g, h\n{ROW}\n",
            0,
            1,
        ),
    ],
)
def test_what_stands_around_a_good_row_neither_hides_nor_adds_a_gpu(answer, status, count, read):
    groups, _container, _details, problems = read(answer, status)
    assert [(group["product"], group["memory_mib"], group["compute"], group["count"]) for group in groups] == [
        ("Tesla T4", 15360, {"major": 7, "minor": 5}, count)
    ]
    assert problems == []


@pytest.mark.parametrize(
    "cell, words",
    [
        ("[Unknown Error]", "unknown error"),
        ("ERR!", "unknown error"),
        ("[ERR!]", "unknown error"),
        ("[GPU requires reset]", "needs a reset"),
        ("[Insufficient Permissions]", "no permission"),
        ("[GPU is lost]", "fallen off the bus"),
        ("Unknown Error", "unknown error"),
        ("", "unknown error"),
    ],
)
def test_a_cell_without_a_value_is_said_in_its_own_words(cell, words, read):
    (group,), _container, _details, (problem,) = read(ROW.replace("15360", cell) + "\n")
    assert group["memory_mib"] is None and words in problem and "in time" not in problem


@pytest.mark.parametrize("cell", ["[N/A]", "N/A", "[Not Supported]", "[n/a]", "[Not Available]"])
def test_a_gpu_that_shares_the_machines_memory_is_whole(cell, read):
    (group,), _container, _details, problems = read(ROW.replace("15360", cell) + "\n")
    assert (group["memory_mib"], group["problem"], problems) == (None, None, [])


def test_a_name_that_could_not_be_read_is_no_name(read):
    (group,), _container, _details, (problem,) = read(ROW.replace("Tesla T4", "ERR!") + "\n")
    assert group["product"] is None and "product" in problem


def test_an_answer_without_any_row_is_no_gpu(read):
    groups, _container, _details, (problem,) = read("No devices were found\n", 6)
    assert groups == [] and "No devices were found" in problem


def test_an_answer_that_is_not_understood_is_quoted(read):
    groups, _container, _details, (problem,) = read("<?xml version='1.0'?><nvidia_smi_log/>\n")
    assert groups == [] and "contains no row for a GPU: <?xml version" in problem
