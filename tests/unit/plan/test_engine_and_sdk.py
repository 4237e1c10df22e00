# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host lacks for containers is known when the plan is made, not when the deployment fails."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan as plans

V3 = sorted("cx16 popcnt sse4_2 aes pclmulqdq abm avx avx2 bmi1 bmi2 f16c fma movbe".split())
MISSING = {"version": None, "problem": "No module named 'docker'"}


def plan(request, **container):
    host = {
        "architecture": "x86_64",
        "cpu": {"level": "x86-64-v3", "flags": V3, "threads": 4, "usable": 4.0, "affinity": "0-3"},
        "memory": {"usable_mib": 16000},
        "gpus": [],
        "classes": {"image": "x86-64-v3", "tuning": "x86-64-v3"},
        "python": {"version": "3.11.2", "executable": "/usr/bin/python3"},
        "container": {
            "engine": "docker",
            "version": "24.0.7",
            "answers": True,
            "reason": None,
            "runtimes": ["runc"],
            "cdi_directories": [],
            **container,
        },
    }
    signature = {
        "serving_default": {
            "inputs": {"x": {"dtype": "float32", "shape": [None, 8]}},
            "outputs": {"y": {"dtype": "float32", "shape": [None, 2]}},
        }
    }
    return plans.plan(host, dict({"models": [{"name": "m", "signatures": signature}]}, **request))


@pytest.mark.parametrize("backend", ["auto", "docker"])
def test_a_host_without_the_docker_sdk_is_refused_with_the_interpreter_and_the_package(backend):
    (refusal,) = plan({"backend": backend}, sdk=MISSING)["refusals"]
    assert (
        "/usr/bin/python3" in refusal["reason"]
        and "No module named 'docker'" in refusal["reason"]
        and "python3-docker" in refusal["remedy"]
    )


@pytest.mark.parametrize("sdk", [None, {"version": "5.0.3", "problem": None}])
def test_a_host_whose_sdk_is_there_or_unknown_is_planned(sdk):
    assert plan({}, sdk=sdk)["backend"] == "docker"


def test_the_embedded_server_needs_no_docker_sdk():
    assert (
        plan({"backend": "embedded"}, sdk=MISSING)["backend"]
        == plan({}, sdk=MISSING, answers=False)["backend"]
        == "embedded"
    )


@pytest.mark.parametrize(
    "version, release, refused",
    [
        ("20.10.5+dfsg1", "2.20.0", True),
        ("20.10.9", "2.20.0", True),
        ("20.10.10", "2.20.0", False),
        ("20.10.24+dfsg1", "2.20.0", False),
        ("24.0.7", "2.20.0", False),
        ("20.10.5+dfsg1", "2.19.1", False),
        ("20.10.0", "2.4.0", False),
    ],
)
def test_an_engine_that_forbids_clone3_is_refused_where_the_image_needs_it(version, release, refused):
    """Docker 20.10.10's notes: "seccomp: add support for clone3 syscall in default policy"; images of 2.20 are on Ubuntu 22.04, whose glibc is 2.35."""
    refusals = plan({"version": release}, version=version)["refusals"]
    assert ["20.10.10" in refusal["remedy"] and "2.19.1" in refusal["remedy"] for refusal in refusals] == [
        True
    ] * refused
    assert plan({"version": release, "image": "registry.example/serving:1"}, version=version)["refusals"] == []
