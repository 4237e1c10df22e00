# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible sends to a host for a module: the files of this collection in the archive that it makes, compressed.

python tests/bench/payload.py [MODULE ...]      default: the modules that run on every host of a fleet
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MODULES = ("model_server", "model_server_info", "batching_parameters", "capability_facts")
OURS = "ansible_collections/tfserving/"


def sent(module):
    """The ZipInfos of this collection's files in the archive. The module fails for want of options, which does not matter here."""
    with tempfile.TemporaryDirectory(prefix="tfserving-bench-") as directory:
        subprocess.run(
            [Path(sys.executable).parent / "ansible", "localhost", "-m", f"tfserving.fleet.{module}"],
            env={**os.environ, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": directory},
            capture_output=True,
            check=False,
        )
        (wrapper,) = Path(directory).rglob("AnsiballZ_*.py")
        packed = max(re.findall(r"[A-Za-z0-9+/=]{1000,}", wrapper.read_text(encoding="utf-8")), key=len)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))) as archive:
        return [one for one in archive.infolist() if one.filename.startswith(OURS) and one.file_size]


def main():
    for module in sys.argv[1:] or MODULES:
        files = sent(module)
        size, compressed = (sum(getattr(one, of) for one in files) / 1024 for of in ("file_size", "compress_size"))
        print(f"{module}: {len(files)} files, {size:.0f} KiB, compressed {compressed:.0f} KiB")


if __name__ == "__main__":
    main()
