# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For fuzz.py: archives as attackers pack them, by tar(5) and PKWARE's APPNOTE.TXT, as models and as sources of builds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import stat
import struct
import tarfile
import zipfile

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import sources
from ansible_collections.tfserving.fleet.plugins.module_utils._model import transfer
from ansible_collections.tfserving.fleet.tests.security import fuzz

TYPES = b"0\x001234567SxgLKDMVNZ9"
COMPRESS = {
    "": bytes,
    "gz": lambda content: gzip.compress(content, 1),
    "bz2": lambda content: bz2.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE, preset=0),
}
GOOD = [b"m/saved_model.pb", b"m/variables/variables.index", b"m/assets/a.txt", b"saved_model.pb", b"m/", b"m"]


class Dice(random.Random):
    """bad: how likely a part of an archive is strange; with none of them right, most archives would be refused for the first."""

    def __init__(self, seed, bad=None):
        super().__init__(seed)
        self.bad = self.choice([0.0, 0.02, 0.1, 0.5]) if bad is None else bad

    def strange(self):
        return self.random() < self.bad


def cases(seed, folder, _given):
    """one(number): unpack, or take as sources, the archive of that number."""
    outside = os.path.join(os.path.dirname(folder), "outside")
    os.makedirs(outside, exist_ok=True)
    zeros = {}

    def one(number):
        dice = Dice(f"{seed} {number}")
        if number < 0:
            content = tar_member(b"m/saved_model.pb", b"0", b"x" * 10) + bytes(1024)
        elif dice.random() < 0.35:
            content = zipped(dice, outside)
        elif dice.random() < 0.005:
            kind = dice.choice(["gz", "xz", "lzma"])  # bzip2 takes seconds for it.
            if kind not in zeros:
                zeros[kind] = COMPRESS[kind](bytes(1 << 25))
            content = COMPRESS[kind](header(dice, b"saved_model.pb", b"0", 1 << 40)) + zeros[kind] * 40
        else:
            content = COMPRESS[dice.choice(sorted(COMPRESS))](tarred(dice, outside))
        if number >= 0 and dice.random() < 0.2:
            content = garbled(dice, content)
        path = os.path.join(folder, f"archive{dice.choice(['.tar', '.tar.gz', '.zip'])}")
        with open(path, "wb") as stream:
            stream.write(content)
        try:
            if number % 4 == 0:
                as_sources(path, os.path.join(folder, "build"))
            as_model(path, outside)
        finally:
            os.unlink(path)
            left = os.listdir(folder) + os.listdir(outside)
            fuzz.empty(folder)
            assert not left, f"it left {left}"

    return one


def as_model(path, outside):
    with transfer.unpacked(path, None) as unpacked:
        total = 0
        for parent, folders, names in os.walk(unpacked):
            for name in folders + names:
                status = os.lstat(os.path.join(parent, name))
                assert stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode) and status.st_nlink == 1
                total += status.st_size if name in names else 0
        assert total <= max(256 << 20, 100 * os.path.getsize(path))


def as_sources(path, directory):
    try:
        sources.Sources({"sources": {"tree": "0" * 40, "commit": "c", "archive": path}}, directory)
    except FleetError as fault:
        assert len(str(fault).splitlines()) == 1, str(fault)
    else:
        raise AssertionError("sources of another tree were taken")
    finally:
        assert not os.path.isdir(directory) or not os.listdir(directory)
        shutil.rmtree(directory, ignore_errors=True)


def a_name(dice, outside):
    """The name of a member, or where a link leads."""
    if not dice.strange():
        return b"m/file %d" % dice.randrange(30) if dice.random() < 0.7 else dice.choice(GOOD[:3])
    out = outside.encode()
    return dice.choice(
        [
            b"",
            b".",
            b"..",
            b"/",
            b"//",
            b"./",
            b"../",
            b"../outside/x",
            b"m/../../outside/x",
            b"m/../../../../../../../../.." + out + b"/x",
            out + b"/x",
            b"/" + out + b"/x",
            b"m/link/x",
            b"link",
            b"link/x",
            b"m/link",
            b"m/saved_model.pb/x",
            b"m//saved_model.pb",
            b"./m/./saved_model.pb",
            b"m/\0/x",
            b"m/saved_model.pb\0/../../x",
            b"m/" + b"n" * dice.choice([90, 255, 256, 4000, 70000]),
            b"m/" + b"d/" * dice.choice([50, 101, 1000, 30000]) + b"x",
            b"m/\xff\xfe\x80",
            b"m/new\nline",
            b"m\\..\\..\\x",
            b"C:\\x",
            b"~/x",
            b"m/.tfserving-lock",
            b"m/manifest.json",
            b"-rf",
            b"m/\xe2\x80\xae",
            b"M/SAVED_MODEL.PB",
            b"m/ ",
            b" ",
            b"m/.",
            b"m/..",
            b"m/...",
            b"1/saved_model.pb",
            b"2/saved_model.pb",
        ]
    )


def number_field(dice, value, width):
    """A number as tar has it: octal, in base 256, and as none may be."""
    roll = dice.random()
    if roll < 0.9 or not dice.strange():
        if value < 8 ** (width - 1):
            return b"%0*o\0" % (width - 1, value)
        return b"\x80" + value.to_bytes(width - 1, "big")
    if roll < 0.94:
        return b"\xff" * (width - 8) + struct.pack(">q", -dice.choice([1, 512, 1 << 40]))
    if roll < 0.97:
        return b"\x80" + dice.randbytes(width - 1)
    return dice.choice([b"", b" " * width, b"9" * width, b"-1", b"0x10", b"1_0", b"+7"]).ljust(width, b"\0")


def header(dice, name, kind, size, link=b""):
    """The 512 bytes before a member."""
    prefix = b""
    if len(name) > 100 and dice.random() < 0.5:
        prefix, name = name[:155], name[155:]
    fields = [
        name[:100].ljust(100, b"\0"),
        number_field(dice, dice.choice([0o644, 0o4755, 0o777, 0]), 8),
        number_field(dice, 0, 8),
        number_field(dice, 0, 8),
        number_field(dice, size, 12),
        number_field(dice, dice.choice([0, 1 << 31, 1 << 40]), 12),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        dice.choice([b"ustar\x0000", b"ustar  \0", b"\0" * 8, b"xxxxxxxx"]),
        b"root".ljust(32, b"\0"),
        b"root".ljust(32, b"\0"),
        number_field(dice, 0, 8),
        number_field(dice, 0, 8),
        prefix.ljust(155, b"\0"),
    ]
    whole = b"".join(fields).ljust(512, b"\0")[:512]
    if (
        kind == b"S"
    ):  # Old sparse files of GNU tar: pairs of offset and size from byte 386, more headers at 482, the real size at 483.
        pairs = b"".join(number_field(dice, dice.choice([0, 512, 1 << 30, 1 << 40]), 12) for _time in range(8))
        whole = whole[:386] + pairs + dice.choice([b"\0", b"\1"]) + number_field(dice, 1 << 40, 12) + whole[495:]
    total = sum(whole) if dice.random() < 0.9 or not dice.strange() else dice.randrange(1 << 17)
    return whole[:148] + b"%06o\0 " % total + whole[156:]


def tar_member(name, kind, content, dice=None, size=None, link=b""):
    dice = dice or Dice(0, 0.0)
    padded = content + bytes(-len(content) % 512)
    return header(dice, name, kind, len(content) if size is None else size, link) + padded


def pax(dice, outside):
    """Records of an extended header: length, blank, key=value, newline."""
    found = b""
    for _time in range(dice.randrange(1, 4)):
        key, value = dice.choice(
            [
                (b"path", a_name(dice, outside)),
                (b"linkpath", a_name(dice, outside)),
                (b"size", dice.choice([b"0", b"-1", b"1099511627776", b"x", b"9" * 5000, b"1e9", b"\xd9\xa1"])),
                (b"GNU.sparse.size", dice.choice([b"1099511627776", b"-5", b"x"])),
                (b"GNU.sparse.realsize", b"1099511627776"),
                (b"GNU.sparse.major", dice.choice([b"0", b"1", b"x"])),
                (b"GNU.sparse.minor", dice.choice([b"0", b"1"])),
                (b"GNU.sparse.name", a_name(dice, outside)),
                (b"GNU.sparse.map", dice.choice([b"0,512", b"1,2,3", b"x", b"0,1099511627776", b""])),
                (b"GNU.sparse.numblocks", dice.choice([b"1", b"99999999", b"-1"])),
                (b"GNU.sparse.offset", b"1"),
                (b"mtime", dice.choice([b"nan", b"inf", b"1e400", b"x"])),
                (b"hdrcharset", dice.choice([b"BINARY", b"x"])),
                (b"comment", b"c" * dice.choice([1, 5000, 2_000_000])),
                (b"uid", b"9" * dice.choice([1, 30, 5000])),
            ]
        )
        body = b" " + key + b"=" + value + b"\n"
        size = len(body) + len(str(len(body) + 2))
        if dice.strange():
            size = dice.choice([0, 1, size - 1, size + 1, 99999999, 10**4000])
        found += str(size).encode() + body if size < 10**100 else b"9" * 4400 + body
    return found


def tarred(dice, outside):
    found = b"" if dice.strange() else tar_member(b"m/saved_model.pb", b"0", dice.randbytes(100))
    for _time in range(dice.choice([0, 1, 1, 2, 3, 5, 8, 40])):
        roll, name = dice.random() * (1.0 if dice.strange() else 0.6), a_name(dice, outside)
        content = dice.randbytes(dice.choice([0, 1, 100, 512, 3000]))
        if len(name) > 100 and roll < 0.7:
            found += tar_member(b"././@LongLink", b"L", name + b"\0", dice)
        if roll < 0.55:
            size = len(content) if dice.random() < 0.95 else dice.choice([0, 1, 511, 513, 1 << 33, 1 << 62])
            found += tar_member(
                name, dice.choice([b"0", b"\0", b"7"]) if dice.random() < 0.9 else b"5", content, dice, size
            )
        elif roll < 0.65:
            found += tar_member(name, dice.choice([b"x", b"g"]), pax(dice, outside), dice)
            found += tar_member(a_name(dice, outside), b"0", content, dice)
        elif roll < 0.8:
            found += tar_member(name, dice.choice([b"1", b"2"]), b"", dice, link=a_name(dice, outside))
        elif roll < 0.85:
            found += tar_member(name, b"S", content, dice)
        else:
            kind = bytes([dice.choice(TYPES)])
            found += tar_member(name, kind, content, dice, link=a_name(dice, outside))
    return found + bytes(dice.choice([10240, 512, 0]) if dice.strange() else 1024)


def zipped(dice, outside):
    made = io.BytesIO()
    methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    with zipfile.ZipFile(made, "w") as archive:
        if not dice.strange():
            archive.writestr("m/saved_model.pb", dice.randbytes(100))
        for _time in range(dice.choice([0, 1, 1, 2, 3, 5, 20])):
            name = a_name(dice, outside)[:60000].decode("utf-8", "replace")
            member = zipfile.ZipInfo("x", (1980 + dice.randrange(100), 1, 1, 0, 0, 0))
            member.filename = name  # The constructor would cut it at a NUL.
            member.compress_type = dice.choice(methods)
            kind = dice.choice([0, stat.S_IFREG])
            if dice.strange():
                kind = dice.choice([stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFSOCK])
            member.external_attr = (kind | 0o777) << 16 if kind else 0
            content = os.fsencode(outside) if kind == stat.S_IFLNK else bytes(dice.choice([0, 10, 5000, 1 << 20]))
            archive.writestr(member, content)
        if dice.random() < 0.2:
            archive.comment = dice.randbytes(dice.randrange(200))
    content = bytearray(made.getvalue())
    for signature, fields in (
        (b"PK\1\2", ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (38, 4), (42, 4))),
        (b"PK\3\4", ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))),
        (b"PK\5\6", ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))),
    ):  # Flags, method, checksum, sizes, lengths, attributes and places.
        start = content.find(signature)
        while start >= 0:
            if dice.strange():
                place, width = dice.choice(fields)
                value = dice.choice([0, 1, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 99, 0x801, 1 << 31, dice.randrange(1 << 32)])
                content[start + place : start + place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
            start = content.find(signature, start + 1)
    return bytes(content)


def garbled(dice, content):
    """A file that was cut, damaged, doubled, or that has something behind it."""
    roll = dice.random()
    if not content:
        return dice.randbytes(dice.randrange(1000))
    if roll < 0.3:
        return content[: dice.randrange(len(content))]
    if roll < 0.7:
        changed = bytearray(content)
        for _time in range(dice.choice([1, 3, 20])):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        return bytes(changed)
    if roll < 0.8:
        return content + content
    if roll < 0.9:
        return content + dice.randbytes(dice.choice([1, 511, 5000]))
    return dice.randbytes(dice.choice([1, 100])) + content


assert tarfile.BLOCKSIZE == 512
