# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python's libraries raise over an archive that is none, was cut or is damaged, for the hands that read archives."""

from __future__ import annotations

import errno
import lzma
import tarfile
import zipfile
import zlib

# Of tar, zip and zlib, xz, and any that was cut; RuntimeError: a zip with a password, or packed in a way that is not known; ValueError: names that are not in
# the encoding they claim; OSError: gzip and bzip2, and places before the file's beginning.
FAULTS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError)


def is_of_disk(fault: BaseException) -> bool:
    """Whether one of FAULTS is not the archive's but that of a disk: it is full, or cannot be read or written."""
    return isinstance(fault, OSError) and fault.errno not in (None, errno.EINVAL)


def why(fault: BaseException) -> str:
    """One of FAULTS in a line."""
    return (str(fault) or type(fault).__name__).splitlines()[0].rstrip(":")
