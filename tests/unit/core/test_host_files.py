# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of a host say. The keys of /proc/cpuinfo: show_cpuinfo of arch/x86/kernel/cpu/proc.c and of arch/arm64/kernel/cpuinfo.c in Linux."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx avx2\nvmx flags\t: vnmi\nbugs\t\t: mds\n\n"
            "processor\t: 1\nflags\t\t: fpu avx\nbugs\t\t: mds\n",
            {"fpu", "avx"},
        ),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n", {"fp", "asimd"}),
        ("processor\t: 0\n", set()),
    ],
)
def test_the_flags_that_all_cpus_have(tmp_path, text, flags):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(text, encoding="utf-8")
    assert Files(str(tmp_path)).cpu_flags() == flags


def test_a_host_without_cpuinfo_has_no_flags(tmp_path):
    assert Files(str(tmp_path)).cpu_flags() == set()
