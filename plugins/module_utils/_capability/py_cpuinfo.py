# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the data of the library py-cpuinfo as the text of a /proc/cpuinfo, for controllers that do not have this file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The library uses the words of sysctl (macOS) and of CPUID. These are the kernel's words for them.
_KERNELS_WORDS = {
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "avx1.0": "avx",
    "lahf": "lahf_lm",
    "lzcnt": "abm",
    "osxsave": "xsave",
    "em64t": "lm",
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
}
_X86 = (
    "processor\t: {number}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t: {model}\nmodel name\t: {brand}\nstepping\t: {stepping}\n"
    "flags\t: {flags}\n\n"
)
_ARM = "processor\t: {number}\nFeatures\t: fp asimd\nCPU implementer\t: {implementer}\nCPU architecture\t: 8\nmodel name\t: {brand}\n\n"
_TEMPLATES = {"X86_64": _X86, "ARM_8": _ARM}


def as_text(info: Mapping[str, Any]) -> str:
    """Return the text for info, the dict that cpuinfo.get_cpu_info() returns, or an empty text unless it is x86-64 or aarch64.

    On Arm the library reports no instruction flags, so the text contains the two that every aarch64 CPU has.
    """
    flags = sorted({"lm"}.union(_KERNELS_WORDS.get(flag, flag) for flag in info.get("flags") or []))
    brand = info.get("brand_raw") or ""
    words = {
        "vendor": info.get("vendor_id_raw"),
        "family": info.get("family"),
        "model": info.get("model"),
        "stepping": info.get("stepping"),
        "brand": brand,
        "flags": " ".join(flags),
        "implementer": "0x61" if brand.startswith("Apple") else "0x00",
    }
    template = _TEMPLATES.get(info.get("arch", ""), "")
    return "".join(template.format(number=number, **words) for number in range(info.get("count") or 1))
