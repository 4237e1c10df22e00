# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that become far more than they are: refused before the disk, the memory or anybody's patience ends."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import sources
from ansible_collections.tfserving.fleet.plugins.module_utils._model import transfer

GIB = 1 << 30
COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def header(name, size, kind=tarfile.REGTYPE):
    """The 512 bytes of a tar archive before a member."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def of_zeros(path, kind, before, size):
    """Write a compressed file: some bytes and then zeros. Compressed files may be joined, as gzip(1), bzip2(1) and xz(1) say."""
    block = 1 << 24
    path.write_bytes(COMPRESSORS[kind](before) + COMPRESSORS[kind](bytes(block)) * (size // block))


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """{name: path}"""
    folder, found = tmp_path_factory.mktemp("bombs"), {}
    for kind in COMPRESSORS:
        found[f"zeros.tar.{kind}"] = folder / f"zeros.tar.{kind}"
        of_zeros(found[f"zeros.tar.{kind}"], kind, header("saved_model.pb", GIB), GIB)
    found["name.tar.gz"] = folder / "name.tar.gz"
    of_zeros(found["name.tar.gz"], "gz", header("././@LongLink", GIB, tarfile.GNUTYPE_LONGNAME), GIB)
    found["attributes.tar.gz"] = folder / "attributes.tar.gz"
    of_zeros(found["attributes.tar.gz"], "gz", header("x", GIB, tarfile.XHDTYPE), GIB)
    found["zeros.zip"] = folder / "zeros.zip"
    with zipfile.ZipFile(found["zeros.zip"], "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("saved_model.pb", "w", force_zip64=True) as stream:
            for _number in range(64):
                stream.write(bytes(1 << 24))
    found["sparse.tar"] = folder / "sparse.tar"
    found["sparse.tar"].write_bytes(sparse("saved_model.pb", 1 << 40))
    found["many.tar.gz"] = folder / "many.tar.gz"
    found["many.tar.gz"].write_bytes(
        gzip.compress(
            header("saved_model.pb", 0) + b"".join(header(f"f{n}", 0) for n in range(20_000)) + bytes(1024), 1
        )
    )
    found["many.zip"] = folder / "many.zip"
    with zipfile.ZipFile(found["many.zip"], "w") as archive:
        for number in range(20_000):
            archive.writestr(f"f{number}", b"")
        archive.writestr("saved_model.pb", b"")
    found["deep.tar"] = folder / "deep.tar"
    with tarfile.open(found["deep.tar"], "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("d/" * 3000 + "saved_model.pb"))
    return found


def sparse(name, size):
    """A tar archive with a file that has one byte at its beginning and a hole up to its size (GNU's old format: offsets and sizes in the header, tar(5))."""
    block = bytearray(header(name, 512, tarfile.GNUTYPE_SPARSE))
    block[386:410] = b"%011o\0%011o\0" % (0, 512)
    block[483:495] = b"\x80" + struct.pack(">Q", size).rjust(11, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"x" * 512 + bytes(1024)


NAMES = [
    *(f"zeros.tar.{kind}" for kind in COMPRESSORS),
    "name.tar.gz",
    "attributes.tar.gz",
    "zeros.zip",
    "sparse.tar",
    "many.tar.gz",
    "many.zip",
    "deep.tar",
]
RUN = """
import resource, sys
from ansible_collections.tfserving.fleet.plugins.module_utils._core import bounded_archives
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import transfer
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with transfer.unpacked(sys.argv[1], None):
        print("unpacked")
except FleetError as fault:
    print(fault)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("name", NAMES)
def test_bomb_as_a_version(bombs, tmp_path, name):
    assert bombs[name].stat().st_size < 4 << 20
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", RUN, bombs[name]],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=dict(os.environ, TMPDIR=str(tmp_path)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 20, 300 << 20)),
    )
    said, _line, grown_mib = done.stdout.strip().partition("\n")
    assert said.startswith(str(bombs[name])) and said != "unpacked", (said, done.stderr)
    assert "zeros" not in name or "its content is larger than 256 MiB" in said
    assert int(grown_mib) <= 256
    assert time.monotonic() - began < 30 and not list(tmp_path.iterdir())


OF_SOURCES = RUN.replace("_model import transfer", "_image import sources").replace(
    """    with transfer.unpacked(sys.argv[1], None):
        print("unpacked")
""",
    """    sources.Sources({"sources": {"tree": "0" * 40, "commit": "c", "archive": sys.argv[1]}}, sys.argv[2])
""",
)


@pytest.mark.parametrize("name", ["zeros.tar.bz2", "name.tar.gz", "sparse.tar", "many.tar.gz", "deep.tar"])
def test_bomb_as_sources_of_a_build(bombs, tmp_path, name):
    done = subprocess.run(
        [sys.executable, "-c", OF_SOURCES, bombs[name], tmp_path / "build"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said, _line, grown_mib = done.stdout.strip().partition("\n")
    assert said.startswith(str(bombs[name])), (said, done.stderr)
    assert int(grown_mib) <= 256


def test_sources_that_are_whole(tmp_path):
    """The tree's id is what `git write-tree` says of the same files."""
    tree = tmp_path / "tree"
    (tree / "tools").mkdir(parents=True)
    (tree / "README.md").write_text("text\n")
    (tree / "tools" / "run").write_text("#!/bin/sh\n")
    (tree / "tools" / "run").chmod(0o755)
    (tree / "link").symlink_to("README.md")
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", tree, *words], check=True)
    identity = subprocess.run(
        ["git", "-C", tree, "write-tree"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with tarfile.open(tmp_path / "sources.tar.gz", "w:gz") as archive:
        for name in ("README.md", "tools/run", "link"):
            archive.add(tree / name, f"serving-2.20.0/{name}")
    recipe = {"sources": {"tree": identity, "commit": "c", "archive": str(tmp_path / "sources.tar.gz")}}
    found = sources.Sources(recipe, str(tmp_path / "build"))
    assert found.text("tools/run") == "#!/bin/sh\n"
    kept = hashlib.sha256((tmp_path / "build" / f"sources-{identity}.tar").read_bytes()).hexdigest()
    sources.Sources(recipe, str(tmp_path / "build"))
    assert hashlib.sha256((tmp_path / "build" / f"sources-{identity}.tar").read_bytes()).hexdigest() == kept


@pytest.mark.parametrize(
    "names", [["", "saved_model.pb"], [".", "saved_model.pb"], ["saved_model.pb", "saved_model.pb/x"]]
)
def test_names_that_no_file_has(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(FleetError), transfer.unpacked(str(tmp_path / "a.zip"), None):
        pass


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress])
def test_size_below_zero(tmp_path, compress):
    """GNU tar writes numbers in base 256 where the first bit is set (tar(5)). tarfile goes back by such a size, 10,000 times before it was noticed."""
    member = bytearray(header("saved_model.pb", 0))
    member[124:136] = (-1024 % (1 << 96)).to_bytes(12, "big")
    member[148:156] = b" " * 8
    member[148:156] = b"%06o\0 " % sum(member)
    (tmp_path / "a.tar").write_bytes(compress(header("x", 512) + bytes(512) + bytes(member) + bytes(1024)))
    with pytest.raises(FleetError, match="has -1024 bytes"), transfer.unpacked(str(tmp_path / "a.tar"), None):
        pass


def test_sparse_file_whose_map_is_missing(tmp_path):
    """Its header says that a block with more of the map follows (isextended in tar(5)); the archive ends there."""
    block = bytearray(sparse("saved_model.pb", 4096)[:512])
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path = tmp_path / "a.tar"
    path.write_bytes(block)
    with pytest.raises(FleetError, match="cannot read the archive"), transfer.unpacked(str(path), None):
        pass


@pytest.mark.parametrize("name", ["m/new\nline", "m/\x1b[2Jcleared", "m/\u2028", "m/\u202etxt.exe", "m/\u2067a"])
def test_names_that_would_make_several_lines(tmp_path, name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(member)
    with (
        pytest.raises(FleetError, match="link or a device") as caught,
        transfer.unpacked(str(tmp_path / "a.tar"), None),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1 and str(caught.value).isprintable()


def test_sources_with_names_of_other_encodings(tmp_path):
    """git keeps names as bytes; the id is what `git write-tree` says."""
    tree = os.fsencode(tmp_path / "tree")
    os.mkdir(tree)
    with open(os.path.join(tree, b"\xff\xfe"), "wb"):
        pass
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", tree, *words], check=True)
    done = subprocess.run(["git", "-C", tree, "write-tree"], capture_output=True, text=True, check=True)
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(os.path.join(tree, b"\xff\xfe").decode("utf-8", "surrogateescape"), "s/\udcff\udcfe")
    recipe = {"sources": {"tree": done.stdout.strip(), "commit": "c", "archive": str(tmp_path / "s.tar")}}
    sources.Sources(recipe, str(tmp_path / "build"))
    recipe["sources"]["tree"] = "0" * 40
    with pytest.raises(FleetError, match="the checksum of their files"):
        sources.Sources(recipe, str(tmp_path / "build"))


def test_archive_of_a_model_of_zeros(tmp_path):
    """What a model that was never trained shrinks to is no bomb."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, size in (("m/saved_model.pb", 1000), ("m/variables/variables.data-00000-of-00001", 100 << 20)):
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    (tmp_path / "m.tar.gz").write_bytes(COMPRESSORS["gz"](content.getvalue()))
    with transfer.unpacked(str(tmp_path / "m.tar.gz"), None) as folder:
        assert os.path.getsize(os.path.join(folder, "variables", "variables.data-00000-of-00001")) == 100 << 20


@pytest.mark.parametrize("read", ["transfer.unpacked(sys.argv[1], None)", "bounded_archives.arrays(sys.argv[1])"])
def test_descriptions_of_a_million_members(tmp_path, read):
    """zipfile makes an object of 450 bytes of each description, which has 47 (4.3.12 of APPNOTE.TXT), before it says how many there are."""
    path, count = tmp_path / "a.zip", 1_000_000
    one = b"PK\1\2" + struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size = len(one) * count
    ends = b"PK\6\6" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, count, count, size, 0)
    ends += b"PK\6\7" + struct.pack("<IQI", 0, size, 1) + b"PK\5\6" + b"\xff" * 16 + bytes(2)
    path.write_bytes(one * count + ends)
    code = RUN.replace("transfer.unpacked(sys.argv[1], None)", read)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=120)
    said, grown_mib = done.stdout.splitlines()
    assert "it contains more than 10000 files and folders" in said and int(grown_mib) < 64, done.stdout


def test_zip_of_many_members_with_long_names(tmp_path):
    """As many files as a model may have."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for name in ("saved_model.pb", *(f"assets/{'n' * 200}{number}" for number in range(9_000))):
            archive.writestr(zipfile.ZipInfo(name), b"")
    with transfer.unpacked(str(tmp_path / "m.zip"), None) as folder:
        assert len(os.listdir(os.path.join(folder, "assets"))) == 9_000
