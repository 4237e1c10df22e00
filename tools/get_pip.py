# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let `python -m pip` of the environment this runs in call another Python's pip; replaces the get-pip.py that ansible-test downloads.

That saves ansible-test from installing pip into each of its environments and removing it again.
"""

import pathlib
import sysconfig

PYTHON = "tools/sanity writes here which Python has the pip"
CALLS = f"""import subprocess
import sys

sys.exit(subprocess.run([{PYTHON!r}, "-m", "pip", "--python", sys.executable, *sys.argv[1:]], check=False).returncode)
"""

if __name__ == "__main__":
    package = pathlib.Path(sysconfig.get_path("purelib"), "pip")
    package.mkdir()
    (package / "__main__.py").write_text(CALLS, encoding="utf-8")
