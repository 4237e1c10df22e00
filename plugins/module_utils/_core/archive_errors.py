# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exceptions that Python's libraries raise for files that are not archives, or are truncated or damaged."""

from __future__ import annotations

import errno
import lzma
import tarfile
import zipfile
import zlib

# Of tar, zip and zlib, xz, and truncated files. RuntimeError: a zip with a password or an unknown method. ValueError: names that are not in the encoding
# that they declare. OSError: gzip and bzip2, and offsets before the beginning of the file. IndexError: a map of a sparse file that is missing.
FAULTS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    OSError,
    IndexError,
)


def is_of_disk(fault: BaseException) -> bool:
    """Return whether one of FAULTS comes from the disk, not from the archive: it is full, or cannot be read or written."""
    return isinstance(fault, OSError) and fault.errno not in (None, errno.EINVAL)


def why(fault: BaseException) -> str:
    """Return one of FAULTS as one line."""
    return (str(fault) or type(fault).__name__).splitlines()[0].rstrip(":")
