# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Download versions from an object store (s3://, gs://) with the store's own command line client."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._core import urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import transfer, versions

_LAST_OUTPUT = 400
_PR_SET_PDEATHSIG = 1


def listing(source: str, timeout_s: float) -> tuple[dict[str, int], str]:
    """Return ({path: bytes} of the objects below a URL of an object store, a hash that changes with them)."""
    client = _client(source)
    base = source.rstrip("/") + "/"
    if client == "aws":
        bucket, _slash, prefix = base[len("s3://") :].partition("/")
        lines = [
            line.split(None, 3) for line in _output_of([client, "s3", "ls", "--recursive", base], timeout_s, source)
        ]
        found = {
            key[len(prefix) :]: (int(size), f"{day} {hour}")
            for day, hour, size, key in lines
            if key.startswith(prefix) and not key.endswith("/")
        }
    else:
        command = (
            [client, "storage", "ls", "--long", f"{base}**"]
            if client == "gcloud"
            else [client, "ls", "-l", f"{base}**"]
        )
        lines = [
            line.split(None, 2) for line in _output_of(command, timeout_s, source) if not line.startswith("TOTAL:")
        ]
        found = {
            url[len(base) :]: (int(size), moment)
            for size, moment, url in lines
            if url.startswith(base) and not url.endswith("/")
        }
    if not found:
        raise FleetError(
            "it contains nothing",
            where=urls.public(source),
            remedy="Set the folder of one version, not an archive.",
        )
    versions.check_content(found, urls.public(source))
    return {name: size for name, (size, _moment) in found.items()}, transfer.hash_of(
        [urls.public(base), sorted(found.items())]
    )


def fetch(source: str, partial: transfer.Partial, sizes: Mapping[str, int], timeout_s: float) -> None:
    """Copy the objects below a URL of an object store with its client, which checks them in transit and skips those that exist."""
    client, base = _client(source), source.rstrip("/") + "/"
    commands = {
        "aws": ["s3", "sync", "--no-progress", "--only-show-errors", base, partial.path],
        "gcloud": ["storage", "rsync", "--recursive", base, partial.path],
        "gsutil": ["-m", "-q", "rsync", "-r", base, partial.path],
    }
    _output_of([client, *commands[client]], timeout_s, source)
    for name in _all_files(partial.path):
        if name not in sizes:  # Leftovers of a killed client.
            os.unlink(os.path.join(partial.path, name))
    wrong = [
        name
        for name, size in sorted(sizes.items())
        if not os.path.isfile(partial.file(name)) or os.path.getsize(partial.file(name)) != size
    ]
    if wrong:
        raise FleetError(f"{wrong[0]} is incomplete after the transfer", where=urls.public(source), remedy="Run again.")


def _client(source: str) -> str:
    scheme = source.partition("://")[0].lower()
    for name in versions.STORES[scheme]:
        if shutil.which(name):
            return name
    raise FleetError(
        f"{scheme}:// needs the command line client {' or '.join(versions.STORES[scheme])} on this host",
        where="source",
        remedy="Install it and log in with it, or provide the version in another way.",
    )


def _output_of(command: list[str], timeout_s: float, source: str) -> list[str]:
    """Return the lines that a client prints, times in UTC. Raise FleetError with its last output."""
    where, death = urls.public(source), ctypes.CDLL(None).prctl
    # The client ends with this run. Its own child processes may continue, and hold the folder's lock, which they
    # inherit.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, TZ="UTC"),
        close_fds=False,
        start_new_session=True,
        preexec_fn=lambda: death(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as fault:
        raise FleetError(
            f"{command[0]} did not end within {timeout_s:g} s",
            where=where,
            remedy="Run again, or raise transfer_timeout_s.",
        ) from fault
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    last, code = " ".join(errors.decode("utf-8", "replace").split())[-_LAST_OUTPUT:], process.returncode
    if code < 0:
        raise FleetError(
            f"{command[0]} was killed by signal {-code}",
            where=where,
            remedy="Run again: complete files are not fetched again.",
        )
    if code and (last or output or code != 1):  # aws ends with status 1 and no output if it finds nothing.
        raise FleetError(f"{command[0]} ended with exit status {code}: {last or 'no output'}", where=where)
    return [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]


def _all_files(folder: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _names, names in os.walk(folder)
        for name in names
    )
