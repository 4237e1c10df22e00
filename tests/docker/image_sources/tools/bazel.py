# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of Bazel as this tree needs: compiles with the options it is given, counts as Bazel does, and keeps objects in a --remote_cache."""

import concurrent.futures
import hashlib
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

SERVER = pathlib.Path("tensorflow_serving/model_servers")


def fetched(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.read()
    except urllib.error.HTTPError:
        return None


def stored(url, content):
    try:
        urllib.request.urlopen(urllib.request.Request(url, data=content, method="PUT")).close()
    except urllib.error.URLError as fault:
        print(f"WARNING: Remote Cache: {fault}", flush=True)


class Build:
    def __init__(self, options):
        configurations = [option.partition("=")[2] for option in options if option.startswith("--config=")]
        lines = [line.split() for line in pathlib.Path(".bazelrc").read_text().splitlines()]
        given = [
            option for name in configurations for line in lines if line[0] == f"build:{name}" for option in line[1:]
        ] + options
        self.copts = [option.partition("=")[2] for option in given if option.startswith("--copt=")]
        self.jobs = int(next((option.partition("=")[2] for option in options if option.startswith("--jobs=")), 2))
        self.cache = next(
            (option.partition("=")[2] for option in options if option.startswith("--remote_cache=")), None
        )
        self.units = sorted(SERVER.glob("*.cc"))
        self.done = self.hits = 0

    def compile(self, unit):
        command = ["g++", "-std=c++17", *self.copts, "-c", str(unit), "-o"]
        key = hashlib.sha256("\0".join(command).encode() + unit.read_bytes()).hexdigest()
        target = pathlib.Path("bazel-bin") / unit.with_suffix(".o")
        known = fetched(f"{self.cache}/ac/{key}") if self.cache else None
        content = fetched(f"{self.cache}/cas/{known.decode()}") if known else None
        if content is None:
            subprocess.run([*command, str(target)], check=True)
            if self.cache:
                content = target.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                stored(f"{self.cache}/cas/{digest}", content)
                stored(f"{self.cache}/ac/{key}", digest.encode())
        else:
            target.write_bytes(content)
            self.hits += 1
        self.done += 1
        print(f"[{self.done:,} / {len(self.units) + 1:,}] Compiling {unit}", flush=True)
        return str(target)

    def run(self):
        (pathlib.Path("bazel-bin") / SERVER).mkdir(parents=True, exist_ok=True)
        print(f"Compiling with {self.jobs} jobs and {' '.join(self.copts)}", flush=True)
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            objects = list(pool.map(self.compile, self.units))
        subprocess.run(
            ["g++", "-static", *objects, "-o", str(pathlib.Path("bazel-bin") / SERVER / "tensorflow_model_server")],
            check=True,
        )
        print(f"[{len(self.units) + 1:,} / {len(self.units) + 1:,}] Linking", flush=True)
        print(f"INFO: {len(self.units) + 1} processes: {self.hits} remote cache hit", flush=True)


if __name__ == "__main__":
    try:
        Build([option for option in sys.argv[2:] if option.startswith("--")]).run()
    except subprocess.CalledProcessError as fault:
        sys.exit(f"ERROR: {fault}")
