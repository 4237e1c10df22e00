# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Define the instruction sets that decide compatibility and speed: psABI levels and AI instructions. Flags are in the kernel's spelling."""

from __future__ import annotations

from collections.abc import Set

# "System V Application Binary Interface, AMD64 Architecture Processor Supplement", table 3.1; each level includes those before it.
# In the kernel's words SSE3 is pni, LZCNT is abm, CMPXCHG16B is cx16, LAHF-SAHF is lahf_lm, SCE is syscall; OSXSAVE and OSFXSR show as xsave and fxsr.
X86_64_LEVELS = (
    ("x86-64-v1", frozenset("cmov cx8 fpu fxsr mmx sse sse2 syscall".split())),
    ("x86-64-v2", frozenset("cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3".split())),
    ("x86-64-v3", frozenset("abm avx avx2 bmi1 bmi2 f16c fma movbe xsave".split())),
    ("x86-64-v4", frozenset("avx512bw avx512cd avx512dq avx512f avx512vl".split())),
)
_ORDERS = (tuple(name for name, _flags in X86_64_LEVELS), ("aarch64",))

AI_FLAGS = {
    "x86_64": frozenset(
        "amx_bf16 amx_complex amx_fp16 amx_int8 amx_tile avx512_bf16 avx512_fp16 avx512_vnni avx_ne_convert avx_vnni avx_vnni_int16 "
        "avx_vnni_int8".split()
    ),
    "aarch64": frozenset("asimddp asimdhp bf16 i8mm sme sme2 sve sve2".split()),
}

# Other flags that TensorFlow and its libraries use, or that a compiler uses for code for an exact microarchitecture.
_OTHER_FLAGS = {
    "x86_64": frozenset(
        "aes avx512er avx512ifma avx512pf avx512vbmi avx512_bitalg avx512_vbmi2 avx512_vpopcntdq fma4 gfni pclmulqdq sse4a tbm vaes "
        "vpclmulqdq xop".split()
    ),
    "aarch64": frozenset("asimd asimdfhm asimdrdm atomics crc32 fp fphp svebf16 svei8mm".split()),
}

KNOWN_FLAGS = {
    "x86_64": AI_FLAGS["x86_64"].union(_OTHER_FLAGS["x86_64"], *(flags for _name, flags in X86_64_LEVELS)),
    "aarch64": AI_FLAGS["aarch64"] | _OTHER_FLAGS["aarch64"],
}


def level(architecture: str | None, flags: Set[str]) -> str | None:
    """Return the highest level that flags (a set) permit, or None for an architecture without levels.

    A machine of an architecture has at least its lowest level, whatever flags are shown.
    """
    if architecture != "x86_64":
        return "aarch64" if architecture == "aarch64" else None
    reached = X86_64_LEVELS[0][0]
    for name, needed in X86_64_LEVELS[1:]:
        if not needed <= flags:
            break
        reached = name
    return reached


def ai(architecture: str | None, flags: Set[str]) -> list[str]:
    """Return the AI instructions among flags, sorted."""
    return sorted(AI_FLAGS.get(architecture or "", frozenset()) & flags)


def may_run(image_level: str | None, host_level: str | None) -> bool:
    """Return whether a program built for image_level runs on a host of host_level; False if either is not a level."""
    for order in _ORDERS:
        if image_level in order and host_level in order:
            return order.index(image_level) <= order.index(host_level)
    return False
