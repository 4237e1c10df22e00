# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What py-cpuinfo tells of machines without /proc/cpuinfo, read as such a text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import cpuinfo, py_cpuinfo

# As the library answers on an Apple silicon: no vendor, no flags.
APPLE = {"arch": "ARM_8", "bits": 64, "count": 8, "arch_string_raw": "arm64", "brand_raw": "Apple M1"}


def test_apple_silicon():
    found = cpuinfo.read(py_cpuinfo.as_text(APPLE), "aarch64")
    expected = {"vendor": "Apple", "brand": "Apple M1", "level": "aarch64", "flags": ["asimd", "fp"], "threads": 8}
    assert {key: found["cpu"][key] for key in expected} == expected and found["warnings"] == []


def test_an_architecture_that_is_not_served_has_no_text():
    assert py_cpuinfo.as_text({"arch": "PPC_64", "count": 4}) == "" == py_cpuinfo.as_text({})


@pytest.mark.parametrize(
    "machine, level",
    [
        ("darwin-mojave-haswell", "x86-64-v3"),
        ("darwin-mojave-skylake", "x86-64-v3"),
        ("darwin-mojave-ivybridge", "x86-64-v2"),
    ],
)
def test_intel_mac(machine, level, tmp_path):
    """The library itself, asked on a PATH whose sysctl says what that Mac's did (recorded in archspec); the level is that of the name."""
    archspec = pytest.importorskip("archspec")
    pytest.importorskip("cpuinfo")
    recorded = Path(archspec.__file__).parent / "json" / "tests" / "targets" / machine
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(f"#!/bin/sh\ncat '{recorded}'\n")
    sysctl.chmod(0o755)
    program = "import json, cpuinfo.cpuinfo as library; print(json.dumps(library._get_cpu_info_from_sysctl()))"
    asked = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ, PATH=f"{tmp_path}:/usr/bin:/bin"),
        stdout=subprocess.PIPE,
        check=True,
    )
    info = dict(json.loads(asked.stdout), arch="X86_64", count=8)
    assert info["vendor_id_raw"] == "GenuineIntel"
    cpu = cpuinfo.read(py_cpuinfo.as_text(info), "x86_64")["cpu"]
    assert (cpu["vendor"], cpu["level"], cpu["threads"]) == ("GenuineIntel", level, 8)
