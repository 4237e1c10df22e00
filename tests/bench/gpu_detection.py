# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the detection of GPUs costs: on this host where it has none, and with eight GPUs in seven MIG slices each, on the stand-in for the driver's library.

Each run is a fresh Python that compiles what it imports, as a module on a host does. Runs that describe the host with and without a look for GPUs take turns;
the median of the differences of the pairs counts, in processor time of the program and its children, which remains where other work disturbs the machine; wall
time is printed beside it. Ends with status 1 when it costs more than it may.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 21
ALLOWED_MS = {"no GPU": 5.0, "eight GPUs": 300.0}
# Without GPUs: host.read as it is, but for what a look for GPUs imports and does.
PROGRAM = """
import os, runpy, sys, time, types
runpy.run_path(sys.argv[1])
package = "ansible_collections.tfserving.fleet.plugins.module_utils._capability"
if sys.argv[3] == "without":
    sys.modules[package + ".nvidia"] = types.SimpleNamespace(read=lambda *_all: ([], None, None, []))
begun, used, children = time.perf_counter(), time.process_time(), sum(os.times()[2:4])
host = __import__(package + ".host", fromlist=["read"])
found = host.read(sys.argv[2], "x86_64", "/nowhere")[0]
spent = time.process_time() - used + sum(os.times()[2:4]) - children
print(1000 * spent, 1000 * (time.perf_counter() - begun), sum(group["count"] for group in found["gpus"]))
"""


def main():
    specification = importlib.util.spec_from_file_location("gpu_standin", ROOT / "tests/fixtures/gpu/standin.py")
    standin = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(standin)
    worst = 0
    with tempfile.TemporaryDirectory() as directory:
        library = standin.build(Path(directory) / "built" / "libnvidia-ml.so.1")
        eight = standin.lay(Path(directory) / "eight", library, standin.description("a100x8_mig"))
        print(f"{ROUNDS} pairs of runs, each with a look for GPUs and without")
        for name, root, expected in (("no GPU", "/", None), ("eight GPUs", eight, 8)):
            pairs = [(run(root, "with"), run(root, "without")) for _round in range(ROUNDS)]
            if expected is not None and any(with_[2] != expected for with_, _without in pairs):
                sys.exit(f"not all of the {expected} GPUs were found, so nothing was measured")
            cost, wall = (statistics.median(looked[kind] - plain[kind] for looked, plain in pairs) for kind in (0, 1))
            print(
                f"{name:12} {cost:7.1f} ms more than {statistics.median(plain[0] for _looked, plain in pairs):.1f} ms of processor time, "
                f"allowed {ALLOWED_MS[name]:g}; {wall:.1f} ms more of wall time"
            )
            worst |= cost > ALLOWED_MS[name]
    return int(worst)


def run(root, how):
    """(milliseconds of processor time, of wall time, GPUs found) of a fresh Python that keeps no compiled code."""
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-B",
            "-X",
            f"pycache_prefix={tempfile.gettempdir()}/no-such-cache",
            "-c",
            PROGRAM,
            str(ROOT / "tests" / "conftest.py"),
            root,
            how,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    processor, wall, count = done.stdout.split()
    return float(processor), float(wall), int(count)


if __name__ == "__main__":
    sys.exit(main())
