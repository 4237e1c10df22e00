# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the known endings of a server: the text of its log, supervisor, kernel or engine, with a cause and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_LEVEL_REMEDY = "Use the official image, or one built for this host's level."
_MEMORY_REMEDY = "Give it more memory, or serve less on this host."
_ILLEGAL_SIGNAL = 4
_CPU = "this CPU lacks an instruction that the server was built with"


@dataclass(frozen=True)
class Ending:
    """One ending. cause: a clause. remedy: an imperative sentence or None. pattern: matches a line of the log."""

    cause: str
    remedy: str | None
    pattern: re.Pattern[str]


def _signal_pattern(number: int, name: str, phrases: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern for the texts with which shells, service managers, engines, languages and the kernel report that a signal ended a process.

    systemd.exec(5) and src/core/service.c of systemd (status=4/ILL), os/exec of Go (signal: illegal instruction),
    docker-ps(1) (Exited (132)), Kubernetes' ContainerStateTerminated (exitCode: 132), supervisord (terminated by
    SIGILL), waitpid's status (signal 4), subprocess of Python (died with <Signals.SIGILL>).
    """
    status = rf"(?:{128 + number}|-{number})"
    exited = rf"(?:\bexit(?:ed|s)?|\breturned a)(?:[ _-]*(?:with|non-zero|status|code|value))*[\"']?[ \t:=(,]*(?:status=)?{status}\b(?!\.\d)"
    plain = rf"\bSIG{name}\b|\b{number}/{name}\b|\b[Ss]ignal(?:[ :=]+| number ){number}\b|\bsignal={name}\b"
    return re.compile(rf"{plain}|(?i:{'|'.join([exited, *phrases])})", re.MULTILINE)


# Number of a signal -> (name, cause, remedy, phrases of strsignal(3), bash, zsh and the kernel's traps that no other line of a server's log has).
_SIGNALS = {
    4: (
        "ILL",
        f"SIGILL: {_CPU}",
        _LEVEL_REMEDY,
        (
            r"\billegal (?:hardware )?instruction\b",
            r"\btrap invalid opcode\b",
            r"\]: (?:unhandled exception: )?undefined instruction(?:: pc=| in )",  # arch/arm64/kernel/traps.c of Linux
        ),
    ),
    11: (
        "SEGV",
        "SIGSEGV: the server crashed",
        "Undo the newest change of model, flags or image; the request before it may show why.",
        (
            r"\bsegmentation fault\b",
            r"\bsegmentation violation\b",
            r"\bsegfault at \w+ ip\b",
            r"\bgeneral protection (?:fault )?ip\b",
        ),
    ),
    7: (
        "BUS",
        "SIGBUS: a file was cut short while the server had it mapped, or a disk or /dev/shm is full",
        "Publish each version in a new folder instead of writing over its files, and make sure that disks and /dev/shm have space.",
        (r"\bbus error\b",),
    ),
    8: (
        "FPE",
        "SIGFPE: a division by zero in the server or a model's operation",
        "Find the model that gets a request when the server ends.",
        (r"\bfloating point exception\b", r"\btrap divide error\b"),
    ),
    5: (
        "TRAP",
        "SIGTRAP: a trap in the server's code",
        None,
        (r"\btrace/breakpoint trap\b", r"\btrace trap\b", r"\btrap int3\b"),
    ),
    31: (
        "SYS",
        "SIGSYS: the engine's seccomp profile forbids a system call",
        "Update the container engine, whose profile is older than the image.",
        (r"\bbad system call\b",),
    ),
    6: (
        "ABRT",
        "SIGABRT: a check inside the server failed",
        None,
        (
            r"^aborted(?: \(core dumped\))?[ \t\r]*$",
            r"line \d+:\s+\d+ aborted\b",
            r"^\[\d+\]\S*\s+(?:[+-] )?(?:\d+ )?abort(?:ed)?\b",
            r"\bzsh: abort\b",
            r"\bsignal: abort(?:ed)?\b",
            r"\bfatal python error: aborted\b",
            r"\(aborted\)",
        ),
    ),
    9: (
        "KILL",
        "SIGKILL: killed from outside",
        "See the kernel's log (dmesg): it says whether memory ran out.",
        (
            r"^killed[ \t\r]*$",
            r"line \d+:\s+\d+ killed\b",
            r"^\[\d+\]\S*\s+(?:[+-] )?(?:\d+ )?killed\b",
            r"\bzsh: killed\b",
            r"\bsignal: killed\b",
        ),
    ),
    15: ("TERM", "SIGTERM: another program ended it", None, ()),
}
_BY_SIGNAL = {
    number: Ending(cause, remedy, _signal_pattern(number, name, phrases))
    for number, (name, cause, remedy, phrases) in _SIGNALS.items()
}
ILLEGAL = _BY_SIGNAL[4].pattern
# A line that matches the pattern of SIGILL contains one of these; most lines of a long log do not, and are skipped
# quickly.
ILLEGAL_SIGNS = (
    "llegal",
    "LLEGAL",
    "SIGILL",
    "/ILL",
    "=ILL",
    "invalid opcode",
    "ndefined instruction",
    "132",
    "-4",
    "ignal 4",
    "ignal: 4",
    "ignal=4",
    "ignal number 4",
)
# Signals that explain why a server ended. SIGTERM is not among them: it also ends healthy servers.
_SAID = (4, 11, 7, 8, 5, 31, 6, 9)

# Sources: systemd.service(5) (oom-kill), mm/oom_kill.c of Linux, Kubernetes' reason OOMKilled and its kubelet's event, src/oom/oomd-manager.c of systemd,
# kill.c of earlyoom, "Stopped tasks error codes" of Amazon ECS, the event oom of docker events.
_KILLED_FOR_MEMORY = (
    r"\boom-kill\b|\boom_kill_process\b|invoked oom-killer|[Oo]ut of memory: Kill|\boom_reaper: reaped|"
    r"\bOOM ?Killed\b(?!\"?\s*[:=]\s*\"?false)|\bkilled by the OOM killer\b|\bOOMKilling\b|"
    r"\bKilled process \d+ \(|\bSystem OOM encountered\b|\b(?:Killed|Marked) \S+ (?:for killing )?due to memory (?:used|pressure)\b|"
    r"\bearlyoom\S*: sending SIG\w+ to process\b|\bkilled due to memory usage\b|\bcontainer oom [0-9a-f]+ \("
)

# The first match applies, so the more specific patterns come first. Sources: framework/op.cc,
# framework/node_def_util.cc, framework/op_kernel.cc, cc/saved_model/reader.cc, platform/default/env.cc of TensorFlow;
# elf/dl-load.c and elf/dl-version.c of glibc; new_op.cc of libstdc++; runc; dockerd.
_SPECIFIC = (
    (r"aren't available on your machine", f"{_CPU} (SIGILL)", _LEVEL_REMEDY),
    (_KILLED_FOR_MEMORY, "the kernel killed it: out of memory (OOM)", _MEMORY_REMEDY),
    (
        r"is not built into the embedded server",
        "the image is the embedded server, which lacks this",
        "Leave it out, or use an image of TensorFlow Serving.",
    ),
    (
        r"[Ee]xec format error|cannot execute binary file|\brosetta error:|\bqemu-\w+: Could not open '/lib",
        "the image was built for another architecture than this host's",
        "Use an image of this host's architecture (docker image inspect shows Architecture), or pull it again with --platform.",
    ),
    (
        r"version [`'](?:GLIBC|GLIBCXX|CXXABI|GCC)_[\w.]+' not found",
        "the server's binary needs a newer C library than its image has",
        "Run the binary in the image that it was built for, or build it on that image's distribution.",
    ),
    (
        r"error while loading shared libraries: libcuda\.so",
        "NVIDIA's driver library is missing in the container",
        "Install NVIDIA's container toolkit on the host and give the server its GPU, or use an image without GPU support.",
    ),
    (
        r"symbol lookup error:|\bundefined symbol: ",
        "a library in the image is of another version than the server's binary or operations",
        "Use a complete image, and operations that were built for its release.",
    ),
    (
        r"(?:error while loading shared libraries|ImportError|OSError): lib(?:cu|nv|nccl|tensorrt)",
        "a library of CUDA or TensorRT is missing in the image",
        "Use the release's own GPU image, or an image without GPU support.",
    ),
    (
        r"error while loading shared libraries:|(?:ImportError|OSError): lib[^\n]*: cannot open shared object file",
        "a shared library is missing in the image",
        "Use a complete image: one that has the libraries of its server.",
    ),
    (
        r"[Nn]o space left on device|[Dd]isk quota exceeded",
        "no space is left on a disk",
        "Free space where the engine and the models are (docker system df, df -h), then run it again.",
    ),
    (
        r"(?:pthread_create|Thread \S+ creation)[^\n]*(?:[Oo]peration not permitted|EPERM)|\(1 vs\. 0\)[^\n]*pthread_create|new OS thread[^\n]*errno=1\)|"
        r"what\(\):\s+Operation not permitted",
        "the engine forbids starting a thread, as do seccomp profiles that do not know clone3 (glibc 2.34 and later)",
        "Update Docker Engine to 20.10.10 or later, or Podman with a containers-common that knows clone3.",
    ),
    (
        r"pthread_create|what\(\):\s+Resource temporarily unavailable|\bfork[^\n]*Resource temporarily unavailable|can't start new thread|"
        r"failed to create new OS thread|unable to create (?:new )?(?:native )?thread",
        "no further thread can be started: the limit of processes is reached",
        "Raise the limit of processes (pids cgroup, ulimit -u, TasksMax of the engine's unit), or lower the server's numbers of threads.",
    ),
    (
        r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|CUDA out of memory|OOM when allocating tensor[^\n]*GPU:",
        "the GPU's memory is used up",
        "Serve fewer models on this GPU, set per_process_gpu_memory_fraction, or end what else uses it (nvidia-smi).",
    ),
    (
        r"std::bad_alloc|[Oo]ut of memory|OOM when allocating|[Cc]annot allocate memory|Insufficient resources|RESOURCE_EXHAUSTED|Resource exhausted",
        "memory ran out",
        _MEMORY_REMEDY,
    ),
    (
        r"CUDA driver version is insufficient|cudaErrorInsufficientDriver|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|unsatisfied condition: (?:cuda|driver)",
        "NVIDIA's driver is older than the image's CUDA needs",
        "Update the driver, or serve a release whose CUDA it supports.",
    ),
    (
        r"Loaded runtime CuDNN library: [^\n]* but source was compiled with",
        "the image's cuDNN is not the one that its server was built with",
        "Use the release's own GPU image.",
    ),
    (
        r"Could not create cudnn handle|CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN cannot start, as where the GPU's memory is used up",
        "Serve fewer models on this GPU, set per_process_gpu_memory_fraction, or end what else uses it (nvidia-smi).",
    ),
    (
        r"libdevice not found at|[Cc]ouldn't find libdevice",
        "XLA finds no libdevice of CUDA in the image",
        "Leave xla_gpu_compilation_enabled out, or use an image that has CUDA's folder nvvm.",
    ),
    (
        r"no kernel image is available for execution|cudaErrorNoKernelImageForDevice|ptxas fatal\s*: Value 'sm_\w+' is not defined",
        "the image has no code for this GPU",
        "Use an image that was built for the GPU's compute capability.",
    ),
    (
        r"could not select device driver|unknown or invalid runtime name: nvidia|nvidia-container-cli: |failed to inject CDI devices|unresolvable CDI devices",
        "the engine cannot give the container its GPU",
        "Install or configure NVIDIA's container toolkit (nvidia-ctk runtime configure), and restart the engine.",
    ),
    (
        r"Op type not registered|No OpKernel was registered to support Op",
        "the model has an operation that this server does not have",
        "Serve a release that has the operation, or an image that was built with it, or export the model without it.",
    ),
    (
        r"NodeDef mentions attr|GraphDef-interpreting binary is up to date|above current version|binary trying to import the GraphDef was built|"
        r"Unrecognized (?:DataType|dtype)",
        "the model was exported by a newer TensorFlow than the server's",
        "Serve a newer release (tfserving_version), or export the model with the server's release of TensorFlow.",
    ),
    (
        r"below min producer \d+ supported by TensorFlow",
        "the model was exported by a TensorFlow that is too old for this server",
        "Export the model with a newer TensorFlow, or serve an older release (tfserving_version).",
    ),
    (
        r"[Tt]oo many open files|\bEMFILE\b|\bENFILE\b",
        "the limit of open files is reached",
        "Raise it (default-ulimits nofile of the engine, LimitNOFILE of its unit, fs.inotify.max_user_instances).",
    ),
    (
        r"[Rr]ead-only file system",
        "the server writes where the container may not write",
        "Write below /tmp, or set read_only to false (tfs_server_read_only).",
    ),
    (
        r"\bexec /\S+: permission denied|\bexec: \"[^\"]+\": permission denied",
        "the image's command cannot be run",
        "Use an image of TensorFlow Serving, whose entry point starts the server.",
    ),
    (
        r"Could not find meta ?graph def matching supplied tags",
        "the model has no graph with the tags that the server looks for",
        "Set the flag saved_model_tags to tags that the model has (saved_model_info lists them), or export it with the tag serve.",
    ),
    (
        r"File system scheme '[\w-]*' not implemented",
        "this server cannot read from that kind of storage",
        "Publish the model to a folder of the host (model_version with its source), and serve that.",
    ),
    (
        r"TensorRT[^\n]*(?:[Dd]eseriali|not compatible|version mismatch)|engine plan file is not compatible",
        "a TensorRT engine was built by another TensorRT or for another GPU",
        "Convert the model again for this release and GPU, or serve it without TensorRT.",
    ),
    (
        r"port is already allocated|[Aa]ddress already in use|Couldn't bind to port",
        "a port is taken",
        "Choose another port, or end what listens there.",
    ),
    (
        r"[Rr]equested CPUs are not available",
        "cpu_set names CPUs that the host does not have",
        "Name CPUs of this host, or leave cpu_set out.",
    ),
    (
        r"bind source path does not exist|error mounting|invalid mount config",
        "a folder that the container needs cannot be mounted",
        "Make sure that the folder exists on a file system that the engine can access.",
    ),
    (
        r"executable file not found in \$PATH|stat \S+: no such file or directory",
        "the image does not contain the program to start",
        "Use an image of TensorFlow Serving, whose entry point starts the server.",
    ),
    (r"^Couldn't interpret value", "a flag's value cannot be read", "Correct the value in flags."),
    (
        r"OCI permission denied",
        "the engine is not allowed to start it this way",
        "Fix the engine or its limits: the server has not run yet.",
    ),
)
_GENERIC = (
    (
        r"Could not find base path",
        "the server does not find the model's folder",
        "Set model_base_path to a folder that contains versions (folders with numbers as names) and that the server's user may read.",
    ),
    (
        r"No versions of servable",
        "the model's folder contains no version",
        "Publish a version: a folder with a number as its name and saved_model.pb in it.",
    ),
    (
        r"batching_parameters|BatchingParameters|allowed_batch_sizes|max_batch_size|max_execution_batch_size|batch_timeout_micros",
        "the server refuses the batching parameters",
        "Correct the file; tfserving.fleet.batching_parameters checks it before it is written.",
    ),
    (
        r"Illegal setting neither ModelServerConfig::model_type",
        "a list of models had an entry without model_platform, and the server refuses every list until it is restarted",
        "Restart the server.",
    ),
    (
        r"Invalid protobuf file",
        "a configuration file is not a valid text proto",
        "Correct the file that the server names.",
    ),
    (
        r"[Pp]ermission denied",
        "the server may not read a file",
        "Let the server's user read it (chmod o+rX), or set user.",
    ),
    (
        r"did not become available|Loading servable: .* failed",
        "a model cannot be loaded",
        "Publish the model again, whole, or serve another version.",
    ),
    (
        r"BuildAndStart gRPC server|ssl_config_file|SSLConfig",
        "the TLS configuration is refused",
        "Write PEM texts, not paths, into ssl_config_file.",
    ),
)


def _rows(rows: Iterable[tuple[str, str, str | None]]) -> tuple[Ending, ...]:
    return tuple(Ending(cause, remedy, re.compile(pattern, re.MULTILINE)) for pattern, cause, remedy in rows)


_TABLE = (
    *_rows(_SPECIFIC[:1]),
    _BY_SIGNAL[4],
    *_rows(_SPECIFIC[1:]),
    *(_BY_SIGNAL[number] for number in _SAID[1:]),
    *_rows(_GENERIC),
)


_BY_STATUS = {
    126: Ending(
        "the image's command cannot be run",
        "Use an image of TensorFlow Serving, whose entry point starts the server.",
        re.compile("(?!)"),
    ),
    127: Ending(
        "the image's command does not exist",
        "Use an image of TensorFlow Serving, whose entry point starts the server.",
        re.compile("(?!)"),
    ),
}


def by_signal(number: int) -> Ending | None:
    """Return the Ending of a signal, or None."""
    return _BY_SIGNAL.get(number)


def find(text: str, exit_status: int | None = None) -> Ending | None:
    """Return the Ending that matches a text or an exit status (128 + signal, or -signal), or None."""
    number = signal_of(exit_status)
    if number == _ILLEGAL_SIGNAL:
        return _BY_SIGNAL[number]
    by_words = next((ending for ending in _TABLE if ending.pattern.search(text)), None)
    return by_words or _BY_SIGNAL.get(number or 0) or _BY_STATUS.get(exit_status or 0)


def signal_of(exit_status: int | None) -> int | None:
    """Return the number of the signal in an exit status (128 + signal, or -signal), or None."""
    if exit_status is None:
        return None
    return -exit_status if -64 <= exit_status < -1 else exit_status - 128 if 128 < exit_status <= 192 else None
