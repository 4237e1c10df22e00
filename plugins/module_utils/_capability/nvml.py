# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that queries NVIDIA's management library (libnvidia-ml.so.1) with ctypes in a child process. A hanging or crashing driver ends only the child.

The child reports each question before it queries it, and each answer as soon as it has it. When the child dies, all
answers so far are kept, the fatal question is known, and the next child skips it. Layouts and codes are those of
nvml.h. If a library lacks a function, its predecessor is called.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Union

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.facts import MOST_INSTANCES, Answers
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files

try:
    import ctypes

    HAS_CTYPES = True
except ImportError:  # a Python that was built without libffi
    HAS_CTYPES = False

Question = tuple[Union[int, None], str]  # the GPU's index or None, the question
_LIBRARY = "libnvidia-ml.so.1"
_LIBRARY_PLACES = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/wsl/lib",
    "run/opengl-driver/lib",
    "run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "run/nvidia/driver/usr/lib64",
)
LIMIT_S = 9.0
CRASHED, HUNG = "crash", "hang"
FUNCTION_NOT_FOUND, LIBRARY_NOT_FOUND = 13, 12
_INVALID_ARGUMENT, _INSUFFICIENT_SIZE, _VERSION_MISMATCH = 2, 7, 25
# Without persistence mode the first question to a GPU starts it, which takes seconds; all others are answered at once.
# These are shares of the available time.
_SLOW, _PATIENCE_SLOW, _PATIENCE = ("load", "init", "handle"), 1 / 2, 3 / 16
_NEEDED = ("load", "init", "count")
_MOST_GPUS, _MOST_LINKS, _MOST_PROCESSES, _TEXT_BYTES = 64, 36, 256, 96
_PR_SET_PDEATHSIG = 1


def read_host(files: Files, detail: bool = False, limit_s: float = LIMIT_S) -> Answers:
    """Return the answers of the first library of the host that can be loaded, as read() does."""
    deadline = time.monotonic() + limit_s
    answers: Answers = {}
    for path in _libraries(files):
        answers = read(path, detail, max(1.0, deadline - time.monotonic()))
        if answers.get((None, "load"), (None, None))[0] != LIBRARY_NOT_FOUND:
            break
    return answers


def process_ids(files: Files) -> list[int] | None:
    """Return the processes that compute on the GPUs of a host, or None if the driver does not name them."""
    listed = [
        value
        for (_gpu, question), (fault, value) in read_host(files, detail=True).items()
        if question == "processes" and fault is None
    ]
    return [pid for processes in listed for pid, _bytes in processes] if listed else None


def _libraries(files: Files) -> list[str]:
    """Return the places where the library may be, beginning with those of the loader of this system."""
    places = [f"{place}/{_LIBRARY}" for place in _LIBRARY_PLACES]
    return ([_LIBRARY] if files.root == "/" else []) + [
        files.path(place) for place in places if files.exists(place)
    ] or [files.path(places[0])]


def read(path: str, detail: bool = False, limit_s: float = LIMIT_S) -> Answers:
    """Return the answers of the library at path, within limit_s.

    A fault is NVML's code, CRASHED or HUNG. detail: whether to query the current state.
    """
    if not HAS_CTYPES:
        return {(None, "load"): (LIBRARY_NOT_FOUND, None)}
    deadline = time.monotonic() + limit_s
    answers: Answers = {}
    while True:
        asked, fault = _in_a_child(path, detail, answers, deadline, limit_s)
        if asked is None:
            return answers
        gpu, question = asked
        alike = _alike(question)
        repeated = any(found[0] == fault and name in alike for (_gpu, name), found in answers.items())
        answers[asked] = (fault, None)
        if (
            repeated and gpu is not None
        ):  # a question that ended the child for two GPUs or two slices is skipped for all others
            for other in range(answers[None, "count"][1]) if len(alike) == 1 else (gpu,):
                for name in alike:
                    answers.setdefault((other, name), (fault, None))
        if question in _NEEDED:
            return answers
        if time.monotonic() >= deadline:
            for other in range(answers.get((None, "count"), (None, 0))[1] or 0):
                answers.setdefault((other, "handle"), (HUNG, None))
            return answers


def _alike(question: str) -> list[str]:
    """Return the questions that make the same call for one GPU: this one, and the same one for each of its slices."""
    of, _dot, rest = question.partition(".")
    return [f"{of}.{index}.{rest.partition('.')[2]}" for index in range(MOST_INSTANCES)] if rest else [question]


def _in_a_child(
    path: str, detail: bool, answers: Answers, deadline: float, limit_s: float
) -> tuple[Question, str] | tuple[None, None]:
    """Query what is not answered yet, and add it to answers. Return (None, None), or the question that ended the child and how."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_the_child(writing, path, detail, answers)
    os.close(writing)
    asked, ended, rest = None, False, b""
    try:
        while not ended:
            patience = limit_s * (_PATIENCE_SLOW if asked is None or asked[1] in _SLOW else _PATIENCE)
            ready, _writing, _failed = select.select(
                [reading], [], [], max(0.0, min(patience, deadline - time.monotonic()))
            )
            if not ready:
                return asked or (None, "load"), HUNG
            part = os.read(reading, 65536)
            if not part:
                return (asked, CRASHED) if asked else (None, None)
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if message == "end":
                    ended = True
                elif len(message) == 2:
                    asked = tuple(message)
                else:
                    answers[message[0], message[1]] = (message[2], message[3])
                    asked = None
        return None, None
    finally:
        os.close(reading)
        _end(child)


def _end(child: int) -> None:
    """Kill the child, and wait a moment for it. A process that sleeps inside the driver cannot be killed, and must not block this one."""
    os.kill(child, signal.SIGKILL)
    for _attempt in range(100):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.002)


def _be_the_child(writing: int, path: str, detail: bool, answers: Answers) -> NoReturn:
    """Query, and never return. Close all other files of the parent: a caller that waits for the end of its output must not wait for a hanging driver."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.closerange(3, writing)
        os.closerange(writing + 1, 1024)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

        def tell(*message: Any) -> None:
            text = json.dumps("end" if not message else message) + "\n"
            os.write(writing, text.encode())

        _Questions(answers, tell, detail).ask_all(path)
        tell()
    finally:
        os._exit(0)


class _Refusal(Exception):
    """The library returned a code other than success."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Questions:
    """All questions to the library. answers: those known from earlier children, which are not queried again."""

    def __init__(self, answers: Answers, tell: Callable[..., None], detail: bool) -> None:
        self.answers, self.tell, self.detail = answers, tell, detail
        self.library = None

    def ask_all(self, path: str) -> None:
        """Send every question to the driver and to each of its GPUs."""
        self.library = self._ask(None, "load", lambda: ctypes.CDLL(path), keep=True)
        if (
            self.library is None
            or self._ask(None, "init", lambda: self._call(("nvmlInit_v2", "nvmlInit")) or 1, keep=True) is None
        ):
            return
        self._ask(None, "driver", lambda: self._text(("nvmlSystemGetDriverVersion",)))
        self._ask(
            None, "cuda", lambda: self._number(("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"))
        )
        for gpu in range(
            self._ask(
                None, "count", lambda: min(self._number(("nvmlDeviceGetCount_v2", "nvmlDeviceGetCount")), _MOST_GPUS)
            )
            or 0
        ):
            handle = self._ask(
                gpu,
                "handle",
                lambda gpu=gpu: self._handle(("nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"), gpu),
                keep=True,
            )
            if handle is not None:
                self._ask_gpu(gpu, handle)

    def _ask(self, gpu: int | None, what: str, question: Callable[[], Any], keep: bool = False) -> Any:
        """Return the answer, or None. keep: the answer is an object of this process, so each child queries it again and reports only that it got one."""
        if (gpu, what) in self.answers:
            fault, value = self.answers[gpu, what]
            if fault is not None or not keep:
                return value
        self.tell(gpu, what)
        try:
            value = question()
        except _Refusal as refusal:
            self.tell(gpu, what, refusal.code, None)
            return None
        except OSError:
            self.tell(gpu, what, LIBRARY_NOT_FOUND, None)
            return None
        self.tell(gpu, what, None, None if keep else value)
        return value

    def _ask_gpu(self, gpu: int, handle: Any) -> None:
        self._ask(gpu, "pci", lambda: self._pci(("nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2"), handle))
        self._ask(gpu, "name", lambda: self._text(("nvmlDeviceGetName",), handle))
        self._ask(gpu, "uuid", lambda: self._text(("nvmlDeviceGetUUID",), handle))
        self._ask(gpu, "compute", lambda: self._numbers(("nvmlDeviceGetCudaComputeCapability",), 2, handle))
        self._ask(gpu, "memory", lambda: self._memory(handle))
        self._ask(gpu, "ecc", lambda: self._numbers(("nvmlDeviceGetEccMode",), 2, handle)[0])
        mode = self._ask(gpu, "mig", lambda: self._numbers(("nvmlDeviceGetMigMode",), 2, handle)[0])
        most = (
            self._ask(gpu, "mig_count", lambda: self._number(("nvmlDeviceGetMaxMigDeviceCount",), handle))
            if mode
            else 0
        )
        for index in range(min(most or 0, MOST_INSTANCES)):
            self._ask_instance(gpu, handle, index)
        if self.detail:
            self._ask_details(gpu, handle)

    def _ask_instance(self, gpu: int, handle: Any, index: int) -> None:
        of = f"mig.{index}."
        instance = self._ask(
            gpu, of + "handle", lambda: self._handle(("nvmlDeviceGetMigDeviceHandleByIndex",), handle, index), keep=True
        )
        if instance is not None:
            self._ask(gpu, of + "uuid", lambda: self._text(("nvmlDeviceGetUUID",), instance))
            self._ask(gpu, of + "name", lambda: self._text(("nvmlDeviceGetName",), instance))
            self._ask(gpu, of + "attributes", lambda: self._attributes(instance))
            if self.detail:
                self._ask(gpu, of + "memory", lambda: self._memory(instance))

    def _ask_details(self, gpu: int, handle: Any) -> None:
        for what, function in (
            ("persistence", "nvmlDeviceGetPersistenceMode"),
            ("power", "nvmlDeviceGetPowerUsage"),
            ("power_limit", "nvmlDeviceGetEnforcedPowerLimit"),
            ("retired_pending", "nvmlDeviceGetRetiredPagesPendingStatus"),
        ):
            self._ask(gpu, what, functools.partial(self._number, (function,), handle))
        self._ask(gpu, "temperature", lambda: self._number(("nvmlDeviceGetTemperature",), handle, 0))
        for clock, kind in (("sm", 1), ("memory", 2)):
            self._ask(gpu, f"clock_{clock}", functools.partial(self._number, ("nvmlDeviceGetClockInfo",), handle, kind))
            self._ask(
                gpu, f"clock_{clock}_max", functools.partial(self._number, ("nvmlDeviceGetMaxClockInfo",), handle, kind)
            )
        self._ask(
            gpu,
            "throttling",
            lambda: self._number(
                ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
                handle,
                kind=ctypes.c_ulonglong,
            ),
        )
        for cause, what in enumerate(("retired_single_bit", "retired_double_bit")):
            self._ask(gpu, what, functools.partial(self._retired, handle, cause))
        self._ask(gpu, "remapped", lambda: self._numbers(("nvmlDeviceGetRemappedRows",), 4, handle))
        self._ask(gpu, "nvlink", lambda: self._links(handle))
        self._ask(gpu, "processes", lambda: self._processes(handle))

    def _call(self, names: Iterable[str], *arguments: Any) -> None:
        """Call the first function of names that the library has and does not report as outdated. Return None, or _Refusal."""
        code = FUNCTION_NOT_FOUND
        for name in names:
            try:
                function = getattr(self.library, name)
            except AttributeError:
                continue
            code = function(*arguments)
            if code not in (FUNCTION_NOT_FOUND, _VERSION_MISMATCH):
                break
        if code:
            raise _Refusal(code)

    def _text(self, names: Iterable[str], *handle: Any) -> str:
        buffer = ctypes.create_string_buffer(_TEXT_BYTES)
        self._call(names, *handle, buffer, ctypes.c_uint(_TEXT_BYTES))
        return buffer.value.decode("utf-8", "replace")

    def _number(self, names: Iterable[str], *handle_and_more: Any, kind: Any = None) -> Any:
        value = (kind or ctypes.c_uint)()
        self._call(names, *handle_and_more, ctypes.byref(value))
        return value.value

    def _numbers(self, names: Iterable[str], count: int, handle: Any) -> list[int]:
        values = [ctypes.c_uint() for _number in range(count)]
        self._call(names, handle, *map(ctypes.byref, values))
        return [value.value for value in values]

    def _handle(self, names: Iterable[str], *arguments: Any) -> Any:
        handle = ctypes.c_void_p()
        self._call(names, *arguments, ctypes.byref(handle))
        return handle

    def _pci(self, names: Iterable[str], handle: Any, *more: Any) -> list[int]:
        """Return [domain, bus, device, device id and vendor id]. nvmlPciInfo_t: busIdLegacy[16], 5 numbers, busId[32]; version 2 ends before busId."""
        buffer = (ctypes.c_uint * 32)()
        self._call(names, handle, *more, ctypes.byref(buffer))
        return list(buffer[4:8])

    def _memory(self, handle: Any) -> dict[str, int]:
        """Return {total, free} in bytes. nvmlMemory_t: total, free, used."""
        buffer = (ctypes.c_ulonglong * 3)()
        self._call(("nvmlDeviceGetMemoryInfo",), handle, ctypes.byref(buffer))
        return {"total": buffer[0], "free": buffer[1]}

    def _attributes(self, instance: Any) -> dict[str, int]:
        """Return {slices of memory, slices of compute, memory in MiB}. nvmlDeviceAttributes_t: 8 numbers, then memorySizeMB."""
        buffer = (ctypes.c_ulonglong * 5)()
        self._call(("nvmlDeviceGetAttributes_v2",), instance, ctypes.byref(buffer))
        numbers = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint))
        return {"gpu_slices": numbers[6], "compute_slices": numbers[7], "memory_mib": buffer[4]}

    def _retired(self, handle: Any, cause: int) -> int:
        count = ctypes.c_uint(0)
        try:
            self._call(("nvmlDeviceGetRetiredPages",), handle, cause, ctypes.byref(count), None)
        except _Refusal as refusal:
            if refusal.code != _INSUFFICIENT_SIZE:
                raise
        return count.value

    def _links(self, handle: Any) -> list[list[int]]:
        """Return [[domain, bus, device] of the peer] of each active link."""
        peers = []
        for link in range(_MOST_LINKS):
            try:
                if self._number(("nvmlDeviceGetNvLinkState",), handle, link):
                    peers.append(self._pci(("nvmlDeviceGetNvLinkRemotePciInfo_v2",), handle, link)[:3])
            except _Refusal as refusal:
                if link == 0:
                    raise
                if refusal.code == _INVALID_ARGUMENT:  # there are no more
                    break
        return peers

    def _processes(self, handle: Any) -> list[list[int | None]]:
        """Return [[pid, bytes or None]]. nvmlProcessInfo_t: pid, bytes, GPU instance, compute instance, 24 bytes in all."""
        count = ctypes.c_uint(_MOST_PROCESSES)
        buffer = (ctypes.c_ulonglong * (3 * _MOST_PROCESSES))()
        self._call(
            ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
            handle,
            ctypes.byref(count),
            ctypes.byref(buffer),
        )
        return [
            [buffer[3 * place] & 0xFFFFFFFF, None if buffer[3 * place + 1] == 2**64 - 1 else buffer[3 * place + 1]]
            for place in range(min(count.value, _MOST_PROCESSES))
        ]
