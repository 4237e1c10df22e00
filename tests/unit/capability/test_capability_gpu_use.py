# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server really uses its GPU. The log lines are TensorFlow's own, as its users published them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.gpu_use import judge

SINCE_2_6 = (
    "2024-05-02 09:12:44.1 I tensorflow/core/common_runtime/gpu/gpu_device.cc:1886] Created device /job:localhost/replica:0/task:0/device:GPU:0 with "
    "13775 MB memory:  -> device: 0, name: Tesla T4, pci bus id: 0000:00:04.0, compute capability: 7.5\n"
)
BEFORE = (
    "2020-12-01 08:00:00.0 I external/org_tensorflow/tensorflow/core/common_runtime/gpu/gpu_device.cc:1402] Created TensorFlow device (/job:localhost/"
    "replica:0/task:0/device:GPU:0 with 14259 MB memory) "
    "-> physical GPU (device: 0, name: Tesla T4, pci bus id: 0000:00:04.0, compute capability: 7.5)\n"
)
T4 = [{"pci_bus_id": "0000:00:04.0"}]


@pytest.mark.parametrize("log, memory", [(SINCE_2_6, 13775), (BEFORE, 14259)])
def test_the_log_of_a_server_on_its_gpu(log, memory):
    found = judge(log, T4)
    assert found["used"] is True and found["seen"] == [
        {"name": "Tesla T4", "pci_bus_id": "0000:00:04.0", "memory_mib": memory}
    ]


@pytest.mark.parametrize(
    "line, words, remedy",
    [
        (
            "E cuda_driver.cc:271] failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
            "has no GPU",
            "DeviceRequests",
        ),
        ("E cuda_driver.cc:265] failed call to cuInit: UNKNOWN ERROR (303)", "CUDA does not start", "nvidia-smi"),
        (
            "I cuda_diagnostics.cc:156] kernel driver does not appear to be running on this host (web1): /proc/driver/nvidia/version does not exist",
            "not in the container",
            "toolkit",
        ),
        (
            "W gpu_device.cc:2251] Cannot dlopen some GPU libraries. Skipping registering GPU devices...",
            "lacks CUDA's libraries",
            "-gpu",
        ),
        *(
            (f"E cuda_driver.cc:271] failed call to cuInit: {name}: x", words, remedy)
            for words, remedy, names in (
                # cuda.h, CUresult
                ("do not fit the driver", "reboot", ("SYSTEM_DRIVER_MISMATCH", "COMPAT_NOT_SUPPORTED_ON_DEVICE")),
                (
                    "CUDA refuses the GPU",
                    "detail: full",
                    ("INVALID_DEVICE", "ECC_UNCORRECTABLE", "DEVICE_UNAVAILABLE", "UNKNOWN"),
                ),
                ("memory is in use", "a fraction", ("OUT_OF_MEMORY",)),
                ("has no GPU", "DeviceRequests", ("NO_DEVICE",)),
            )
            for name in (f"CUDA_ERROR_{ending}" for ending in names)
        ),
        ("E cuda_driver.cc:1] no CUDA-capable device is detected", "has no GPU", "DeviceRequests"),
        ("I cudart_stub.cc:28] Could not find cuda drivers on your machine", "not in the container", "nvidia-ctk"),
        (
            "I gpu_device.cc:1700] Ignoring visible gpu device (device: 0, name: Tesla K80, pci bus id: 0000:00:04.0, "
            "compute capability: 3.7) with Cuda compute "
            "capability 3.7. The minimum required Cuda capability is 5.0.",
            "too old",
            "compute capability",
        ),
    ],
)
def test_a_server_that_fell_back_to_the_cpu_says_why(line, words, remedy):
    found = judge(f"2024-05-02 09:12:44.1 {line}\n", T4, processes=[1], pids=[7])
    assert found["used"] is False and words in found["reason"] and remedy in found["remedy"]


def test_the_drivers_processes_tell_where_the_log_is_silent():
    assert judge("", T4, processes=[4242, 9], pids=[4242])["used"] is True
    assert judge("", T4, processes=[9], pids=[4242])["used"] is False
    assert judge("", T4)["used"] is None
    assert "lists its process 9" in judge("", T4, processes=[4242, 9], pids=[4242, 9, 1])["reason"]
    silent = judge("", T4, processes=[], pids=[4242])
    assert silent["used"] is False and "-gpu" in silent["remedy"] and "serves from the CPU" in silent["reason"]
    for unknown in (judge("", T4, pids=[4242]), judge("", T4, processes=[9])):
        assert unknown["used"] is None and unknown["remedy"] is None and "could not be read" in unknown["reason"]


def test_all_gpus_that_the_log_names_are_listed():
    second = SINCE_2_6.replace("GPU:0 ", "GPU:1 ").replace("00:04.0", "00:0A.0").replace("Tesla T4", "NVIDIA A10")
    found = judge(SINCE_2_6 + second, [*T4, {"pci_bus_id": "0000:00:0a.0"}])
    assert found["reason"] == "its log names Tesla T4, NVIDIA A10" and found["remedy"] is None
    missing = judge(SINCE_2_6, [*T4, {"pci_bus_id": "b"}, {"pci_bus_id": "c"}])
    assert "but not b, c" in missing["reason"] and missing["remedy"] == "check the server's log"


def test_a_gpu_that_the_server_does_not_see_is_named():
    found = judge(SINCE_2_6, [*T4, {"pci_bus_id": "0000:00:05.0"}])
    assert found["used"] is True and "but not 0000:00:05.0" in found["reason"]


def test_a_server_on_another_gpu_than_its_own_is_named():
    found = judge(SINCE_2_6, [{"pci_bus_id": "0000:00:05.0"}])
    assert found["used"] is True and found["remedy"] and "uses 0000:00:04.0, but not 0000:00:05.0" in found["reason"]
