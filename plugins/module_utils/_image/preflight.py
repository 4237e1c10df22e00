# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what a build needs before it starts: disk, memory for each job, the number of jobs. Recognize builds that run out of either."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import bounded

_OUT_OF_MEMORY = re.compile(
    r"Killed \(program \w+\)|Killed signal terminated program|signal terminated program (cc1plus|cc1|as|collect2)|unable to execute command: Killed"
    r"|ld terminated with signal 9|virtual memory exhausted|[Oo]ut of memory|OutOfMemoryError|Server terminated abruptly|\(Killed\)"
    r"|clang frontend command failed .*-9"
)
_KILLED = 137


class BuilderFacts(TypedDict):
    """What a builder has."""

    cpus: int
    memory_mib: int  # available
    disk_free_mib: int | None  # None: not known


class Needs(TypedDict):
    """What a build may use and needs."""

    jobs: int | None  # None: as many as fit
    memory_per_job_mib: int
    memory_reserve_mib: int  # for the linker and Bazel itself
    disk_mib: int


def jobs(facts: BuilderFacts, wanted: Needs) -> tuple[int, list[str]]:
    """Return (jobs, notes): how many compilers may run at once. Raises FleetError if the builder cannot run the build."""
    per_job, reserve = (
        bounded("memory_per_job_mib", wanted["memory_per_job_mib"], 1),
        bounded("memory_reserve_mib", wanted["memory_reserve_mib"], 0),
    )
    wanted_jobs: int = bounded("jobs", wanted["jobs"] or facts["cpus"], 1)
    if facts["disk_free_mib"] is not None and facts["disk_free_mib"] < wanted["disk_mib"]:
        raise FleetError(
            f"the build needs {wanted['disk_mib']} MiB of disk space; {facts['disk_free_mib']} MiB are free where the engine stores its images",
            where="disk",
            remedy="Free disk space, or build on another host. If you know that the build needs less, lower disk_mib.",
        )
    fitting: int = (facts["memory_mib"] - reserve) // per_job
    if fitting < 1:
        raise FleetError(
            f"the build needs {reserve + per_job} MiB of memory ({reserve} plus {per_job} for each job); {facts['memory_mib']} MiB are available",
            where="memory",
            remedy="Build on a host with more memory, or set lower memory_per_job_mib and memory_reserve_mib.",
        )
    if fitting < wanted_jobs:
        return fitting, [
            f"{fitting} jobs instead of {wanted_jobs}: {facts['memory_mib']} MiB of memory are available, and a job needs up to {per_job} MiB"
        ]
    return wanted_jobs, []


def fewer(running: int) -> int | None:
    """Return the number of jobs to try after running out of memory, or None."""
    return running // 2 or None


def out_of_memory(lines: Iterable[str], status: int | None) -> bool:
    """Return whether a build ended because the kernel killed a compiler or Bazel. lines: its last ones. status: of the command that failed."""
    return status == _KILLED or any(_OUT_OF_MEMORY.search(line) for line in lines)


def disk_full(lines: Iterable[str]) -> bool:
    """Return whether the last lines of a build say that a disk is full."""
    return any("no space left on device" in line.lower() for line in lines)


def bazel_options(running: int, memory_mib: int, cache: str | None = None, downloader: str | None = None) -> str:
    """Return the value of TF_SERVING_BAZEL_OPTIONS, which does not affect the result of the build. cache: URL of a cache that outlives a failed build."""
    options = [
        "--curses=no",
        "--color=no",
        "--show_progress_rate_limit=5",
        f"--jobs={running}",
        f"--local_ram_resources={memory_mib}",
    ]
    options += [f"--remote_cache={cache}", "--remote_upload_local_results=true"] if cache else []
    options += [f"--experimental_downloader_config={downloader}"] if downloader else []
    return " ".join(options)
