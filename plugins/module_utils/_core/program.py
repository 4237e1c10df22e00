# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a part of this collection under another Python than Ansible's, one that has TensorFlow or gRPC.

A program is a module below PACKAGE with a function main(). Its entry is the module's name, absolute or relative to PACKAGE. The module and its imports from
this collection are packed into a zip application with a name derived from the content: nothing is installed on the host, and outdated code cannot run.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import IO, Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core import account, atomic_files, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

PACKAGE = "ansible_collections.tfserving.fleet.plugins.module_utils"
_PR_SET_PDEATHSIG = 1
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EPOCH = (1980, 1, 1, 0, 0, 0)
# Imports as the formatter writes them. Parsing all sources would take longer than the rest of a run that changes nothing.
_IMPORT = re.compile(rf"^\s*from ({re.escape(PACKAGE)}[\w.]*) import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)


def pack(entry: str) -> bytes:
    """Return the zip application of the module entry as bytes. The same sources give the same bytes."""
    entry = entry.removeprefix(f"{PACKAGE}.")
    sources: dict[str, str] = {}
    _collect(f"{PACKAGE}.{entry}", sources)
    files = {name.replace(".", "/") + ".py": text for name, text in sources.items()}
    for path in list(files):
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            files.setdefault("/".join(parts[:depth]) + "/__init__.py", "")
    files["__main__.py"] = f"import sys\nfrom {PACKAGE}.{entry} import main\nsys.exit(main())\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), files[path], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def digest(packed: bytes) -> str:
    """Return a hexadecimal digest of a packed program's sources, however they are compressed."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return hashlib.sha256(b"".join(archive.read(name) for name in archive.namelist())).hexdigest()


def install(entry: str, directory: str, packed: bytes | None = None) -> str:
    """Write the program below directory unless an identical file that other accounts cannot change exists. Return its path. packed: the program, if it is
    packed already."""
    packed = packed or pack(entry)
    name = f"{entry.rpartition('.')[2]}-{hashlib.sha256(packed).hexdigest()[:16]}.pyz"
    path = os.path.join(directory, name)
    shared_folders.refuse_foreign(directory)
    if not _is_installed(path, packed):
        os.makedirs(directory, exist_ok=True)
        atomic_files.write_file(path, packed)
    return path


def _is_installed(path: str, packed: bytes) -> bool:
    try:
        with os.fdopen(shared_folders.open_file(path, os.O_RDONLY), "rb") as stream:
            status = os.fstat(stream.fileno())
            return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022 and stream.read() == packed
    except (OSError, FleetError):
        return False


def call(
    entry: str,
    request: Any,
    python: str | Callable[[str], list[str]],
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    cpu_set: Collection[int] | None = None,
    user: str | None = None,
) -> Any:
    """Run a program with a request (JSON data), and return its result.

    The program's main() calls answer(). Raise the program's FleetError, or one with its last output if it ended without a result.
    python: path of the interpreter, or a function from the directory of the program's files to a command that runs it elsewhere (in a container).
    environment: additional variables. cpu_set: the numbers of its CPUs, or None for all.
    user: UID:GID that root changes to for it, or None. A function for python does this itself.
    The program is killed if its caller ends. The next call removes the temporary files of a killed caller.
    """
    entry = entry.removeprefix(f"{PACKAGE}.")
    with contextlib.ExitStack() as stack:
        writable = stack.enter_context(account.lent_directory(user))
        directory = os.path.dirname(writable) if user else writable
        path = install(entry, directory)
        runner = python(directory) if callable(python) else [python]
        request_path, result_path = os.path.join(directory, "request.json"), os.path.join(writable, "result.json")
        added = dict(environment or {})
        if user and not callable(python):
            added.update(HOME=writable, TMPDIR=writable)

        def become_program() -> None:
            if not callable(python):
                account.become(user)  # First, because a change of the account clears the binding to the caller.
            bind_to_caller(cpu_set)

        pathlib.Path(request_path).write_text(json.dumps(request), encoding="utf-8")
        with open(os.path.join(directory, "output"), "w+b") as output:
            try:
                process = subprocess.Popen(
                    [*runner, path, request_path, result_path],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(os.environ, **added),
                    preexec_fn=become_program,
                )
            except OSError as fault:
                raise FleetError(
                    f"cannot run {runner[0]!r}: {fault.strerror}",
                    where="python",
                    remedy="Set the path of a program that exists on this host.",
                ) from fault
            stack.callback(
                cast(IO[bytes], process.stdin).close
            )  # Open until then: its end shows a program in a container that the caller ended.
            try:
                status = process.wait(timeout_s)
            except subprocess.TimeoutExpired as fault:
                raise FleetError(
                    f"no result after {timeout_s} s", where=entry, remedy="Allow more time, or reduce the work."
                ) from fault
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if not os.path.lexists(result_path):
                output.seek(0, os.SEEK_END)
                output.seek(max(0, output.tell() - 2000))
                words = output.read().decode("utf-8", "replace").strip().splitlines()[-8:]
                how = (
                    f"was killed by {signal.Signals(-status).name}"
                    if status < 0
                    else f"ended with exit status {status}"
                )
                raise FleetError(f"{how}; last output: {' | '.join(words) or 'none'}", where=entry)
            with os.fdopen(shared_folders.open_file(result_path, os.O_RDONLY), encoding="utf-8") as stream:
                return _result(stream.read(), entry)


def _result(text: str, entry: str) -> Any:
    """Return a program's result. Raise its FleetError, or one about a malformed result, which a model can have written."""
    try:
        result = json.loads(text)
        fault = FleetError.from_dict(result["error"]) if "error" in result else None
        reply = result.get("result")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as broken:
        raise FleetError(
            "the program on the host returned a malformed result",
            where=entry,
            remedy="Run again. If the model is not yours, do not trust it: it may have written this result.",
        ) from broken
    if fault:
        raise fault
    return reply


def answer(argv: Sequence[str], work: Callable[[Any], Any]) -> int:
    """Read the request, write the result of work(request), and return the exit status: the body of a program's main()."""
    request_path, result_path = argv[1:3]
    request = json.loads(pathlib.Path(request_path).read_bytes())
    try:
        reply = {"result": work(request)}
    except FleetError as fault:
        reply = {"error": fault.as_dict()}
    except OSError as fault:
        if fault.errno not in _FULL:
            raise
        reply = {
            "error": FleetError(
                f"cannot write the file: {fault.strerror}",
                where=fault.filename or request_path,
                remedy="Free disk space there.",
            ).as_dict()
        }
    atomic_files.write_file(result_path, json.dumps(reply).encode())
    return 0


def say(path: str | None, line: str) -> None:
    """Append a line to the progress file (None: do nothing). Errors are ignored, so that the work continues."""
    if path:
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")


def _collect(name: str, sources: dict[str, str]) -> None:
    """Add a module and its imports from this collection, without importing them: some load libraries for seconds."""
    if name in sources:
        return
    sources[name] = cast(str, source(name))
    for origin, several, one in _IMPORT.findall(sources[name]):
        names = [part.split()[0] for part in (several or one).split(",") if part.strip()]
        for candidate in [f"{origin}.{name}" for name in names] if source(origin) is None else [origin]:
            _collect(candidate, sources)


@functools.cache
def source(name: str) -> str | None:
    """Return the source of a module, or None for a package and for what Ansible did not bring.

    Asking the module's own specification would compile it in Ansible's payload."""
    package, _dot, module = name.rpartition(".")
    specification: Any = importlib.util.find_spec(package)
    for folder in specification.submodule_search_locations if specification else ():
        path = os.path.join(folder, f"{module}.py")
        with contextlib.suppress(OSError):
            if not os.path.isdir(folder):
                return cast(bytes, specification.loader.get_data(path)).decode("utf-8")
            return pathlib.Path(path).read_text(encoding="utf-8")
    return None


def bind_to_caller(cpu_set: Collection[int] | None = None, ends_with_caller: bool = True) -> None:
    """Let a new process be killed when its caller ends, and run on these CPUs only."""
    if ends_with_caller:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if cpu_set:
        os.sched_setaffinity(0, cpu_set)
