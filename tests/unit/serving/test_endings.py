# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the table of endings: a line in the words of who says it, the cause, and what to do.

Sources of the lines: bash, zsh, strsignal(3), systemd.exec(5), os/exec of Go, docker-ps(1), Kubernetes' ContainerStateTerminated, subprocess of Python,
arch/x86/kernel/traps.c and mm/oom_kill.c of Linux, dl-load.c and dl-version.c of glibc, runc, dockerd, nvidia-container-cli, CUDA's and TensorFlow's sources.
"""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings

NUMBERS = {"ILL": 4, "SEGV": 11, "BUS": 7, "FPE": 8, "TRAP": 5, "SYS": 31, "ABRT": 6, "KILL": 9}
# signal(7), and what helps: the cause, a word of it, a word of the remedy.
SIGNALS = {
    "ILL": ("lacks an instruction", "official image"),
    "SEGV": ("the server crashed", "newest change"),
    "BUS": ("mapped", "new folder"),
    "FPE": ("division by zero", "Find the model"),
    "TRAP": ("a trap in the server's code", None),
    "SYS": ("seccomp", "Update the container engine"),
    "ABRT": ("a check inside the server failed", None),
    "KILL": ("killed from outside", "dmesg"),
}
# As strsignal(3), shells and the kernel word it.
PHRASES = {
    "ILL": [
        "Illegal instruction",
        "zsh: illegal hardware instruction",
        "ILLEGAL INSTRUCTION",
        "traps: a[7] trap invalid opcode ip:55 sp:7f",
    ],
    "SEGV": [
        "Segmentation fault (core dumped)",
        "signal SIGSEGV: segmentation violation",
        "a[7]: segfault at 0 ip 00007f1 sp 00007ffc",
        "traps: a[7] general protection ip:55 sp:7f",
        "traps: a[7] general protection fault ip:55 sp:7f",
    ],
    "BUS": ["Bus error (core dumped)"],
    "FPE": ["Floating point exception", "traps: a[7] trap divide error ip:55"],
    "TRAP": ["Trace/breakpoint trap", "zsh: trace trap", "traps: a[7] trap int3 ip:55"],
    "SYS": ["Bad system call"],
    "ABRT": [
        "Aborted",
        "Aborted (core dumped)\r",
        "x: line 3:     7 Aborted  server",
        "[1]+  7 Aborted  server",
        "[1]    7 abort      server",
        "[1]  + 7 abort      server",
        "zsh: abort  server",
        "signal: aborted",
        "signal: abort",
        "Fatal Python error: Aborted",
        "Main process (aborted)",
    ],
    "KILL": [
        "Killed",
        "x: line 3:     7 Killed  server",
        "[1]+  7 Killed  server",
        "[1]  - 7 killed     server",
        "zsh: killed  server",
        "signal: killed",
    ],
}


def said(name, number):
    """How programs say that a signal ended another."""
    status = 128 + number
    return [
        *(
            f"SIG{name}",
            f"<Signals.SIG{name}: {number}>",
            f"code=killed, status={number}/{name}",
            f"received signal={name}",
        ),
        *(
            f"signal {number}",
            f"Signal: {number}",
            f"signal={number}",
            f"signal number {number}",
            f"terminated by signal {number}",
        ),
        *(
            f"exited with code {status}",
            f"Exited ({status}) 2 hours ago",
            f"exit status {status}",
            f"exit code: {status}",
        ),
        *(
            f"exitCode: {status}",
            f'"exitCode": {status}',
            f"exit_code={status}",
            f"exits with {status}",
            f"exited, status={status}",
        ),
        *(f"returned a non-zero code: {status}", f"exit value {status}", f"Exit Code:\t{status}"),
        *PHRASES[name],
    ]


@pytest.mark.parametrize(("name", "line"), [(name, line) for name in SIGNALS for line in said(name, NUMBERS[name])])
def test_a_line_on_a_signal(name, line):
    ending = endings.find(f"before\n{line}\nafter")
    cause, remedy = SIGNALS[name]
    assert ending.cause.startswith(f"SIG{name}: ") and cause in ending.cause
    assert remedy in ending.remedy if remedy else ending.remedy is None
    assert ending is endings.by_signal(NUMBERS[name])


@pytest.mark.parametrize("name", [*NUMBERS, "TERM"])
def test_an_exit_status_tells_a_signal(name):
    """A shell's 128 + number, waitpid's through Python's subprocess -number."""
    number = {**NUMBERS, "TERM": 15}[name]
    for status in (128 + number, -number):
        assert endings.signal_of(status) == number and endings.find("all is well", status).cause.startswith(
            f"SIG{name}: "
        )
    assert endings.by_signal(number).cause.startswith(f"SIG{name}: ")


@pytest.mark.parametrize(
    "line",
    [
        *(
            "exited with code 1320",
            "exited with code 132.5 ms",
            "exit 0",
            "signal 40",
            "SIGILLY",
            "14/ILL",
            "a signal: none",
        ),
        *(
            "status 132",
            "132",
            "Aborted a request",
            "Killed a request",
            "the process 7 aborted nothing",
            "SIGTERM",
            "signal 15",
        ),
        '"OOMKilled": false,',
    ],
)
def test_what_is_no_death(line):
    assert endings.find(line) is None


@pytest.mark.parametrize(
    ("status", "signal"),
    [
        (None, None),
        (0, None),
        (1, None),
        (128, None),
        (129, 1),
        (192, 64),
        (193, None),
        (255, None),
        (-1, None),
        (-2, 2),
        (-64, 64),
        (-65, None),
    ],
)
def test_the_signal_of_an_exit_status(status, signal):
    assert endings.signal_of(status) == signal


def test_an_illegal_instruction_counts_before_any_words():
    assert endings.find("Address already in use", 132) is endings.by_signal(4)
    assert endings.find("Address already in use", 139).cause == "a port is taken"
    assert endings.by_signal(3) is None and endings.find("", 1) is None
    for status, word in ((126, "cannot be run"), (127, "does not exist")):
        found = endings.find("", status)
        assert f"the image's command {word}" in found.cause and "image of TensorFlow Serving" in found.remedy
        assert not found.pattern.search("anything")


ONLY = {
    "Illegal instruction": "llegal",
    "ILLEGAL INSTRUCTION": "LLEGAL",
    "died with <Signals.SIGILL: 4>": "SIGILL",
    "status=4/ILL": "/ILL",
    "signal=ILL": "=ILL",
    "trap invalid opcode ip:55": "invalid opcode",
    "exited with code 132": "132",
    "signal 4": "ignal 4",
    "Signal: 4": "ignal: 4",
    "signal=4": "ignal=4",
    "signal number 4": "ignal number 4",
}


def test_the_signs_of_an_illegal_instruction_pass_over_no_line_that_says_so():
    assert {line: [sign for sign in endings.ILLEGAL_SIGNS if sign in line] for line in ONLY} == {
        line: [sign] for line, sign in ONLY.items()
    }
    for line in (*ONLY, *said("ILL", 4)):
        assert endings.ILLEGAL.search(line) and any(sign in line for sign in endings.ILLEGAL_SIGNS), line


FAILED = "Failed to start server. Error: UNKNOWN: "
LIBRARY = "error while loading shared libraries: {}: cannot open shared object file"
ROWS = [
    (
        "compiled to use AVX512F instructions, but these aren't available on your machine.",
        "lacks an instruction",
        "this host's level",
    ),
    *(
        (line, "out of memory (OOM)", "more memory")
        for line in (
            *(
                "Failed with result 'oom-kill'",
                "a oom_kill_process+0x1",
                "a invoked oom-killer: gfp",
                "Out of memory: Killed process 7",
            ),
            *(
                "Memory cgroup out of memory: Killed process 7",
                "oom_reaper: reaped process 7",
                "Reason: OOMKilled",
                "OOM Killed",
            ),
            *("has been killed by the OOM killer", "OOMKilling"),
        )
    ),
    ("--ssl is not built into the embedded server of", "embedded server", "Leave it out"),
    ("exec /usr/bin/x: exec format error", "another architecture", "--platform"),
    ("Exec format error", "another architecture", "--platform"),
    ("cannot execute binary file", "another architecture", "--platform"),
    *(
        (f"/lib/x: version `{version}' not found", "newer C library", "Run the binary in the image")
        for version in ("GLIBC_2.34", "GLIBCXX_3.4.30", "CXXABI_1.3", "GCC_7.0.0")
    ),
    (LIBRARY.format("libcuda.so.1"), "NVIDIA's driver library", "container toolkit"),
    *(
        (LIBRARY.format(name), "library of CUDA or TensorRT", "own GPU image")
        for name in ("libcudnn.so.8", "libnvinfer.so.8", "libnccl.so.2", "libtensorrt.so")
    ),
    (LIBRARY.format("libgomp.so.1"), "a shared library is missing", "complete image"),
    ("write /x: no space left on device", "no space is left", "docker system df"),
    ("No space left on device", "no space is left", "docker system df"),
    ("Disk quota exceeded", "no space is left", "docker system df"),
    *(
        (line, "clone3", "20.10.10")
        for line in (
            "pthread_create failed: Operation not permitted",
            "Thread t creation via x failed: EPERM",
            "ret == 0 (1 vs. 0)Thread t creation via pthread_create() failed",
            "runtime: failed to create new OS thread (have 2 already; errno=1)",
            "  what():  Operation not permitted",
        )
    ),
    *(
        (line, "limit of processes", "TasksMax")
        for line in (
            "pthread_create failed: Resource temporarily unavailable",
            "  what():  Resource temporarily unavailable",
            "fork: retry: Resource temporarily unavailable",
            "RuntimeError: can't start new thread",
            "failed to create new OS thread (have 2 already; errno=11)",
            "unable to create new native thread",
            "unable to create thread",
        )
    ),
    *(
        (line, "GPU's memory is used up", "per_process_gpu_memory_fraction")
        for line in (
            *("CUDA_ERROR_OUT_OF_MEMORY: out of memory", "cudaErrorMemoryAllocation", "CUDA out of memory"),
            "OOM when allocating tensor with shape[9] on /device:GPU:0",
        )
    ),
    *(
        (line, "memory ran out", "more memory")
        for line in (
            *("std::bad_alloc", "out of memory", "OOM when allocating tensor on CPU", "cannot allocate memory"),
            *(
                "Cannot allocate memory",
                "Insufficient resources to load",
                "RESOURCE_EXHAUSTED: x",
                "Resource exhausted",
            ),
        )
    ),
    *(
        (line, "driver is older", "Update the driver")
        for line in (
            *("CUDA driver version is insufficient for CUDA runtime version", "cudaErrorInsufficientDriver"),
            *(
                "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
                "unsatisfied condition: cuda>=12.5",
                "unsatisfied condition: driver>=525",
            ),
        )
    ),
    ("no kernel image is available for execution on the device", "no code for this GPU", "compute capability"),
    ("cudaErrorNoKernelImageForDevice", "no code for this GPU", "compute capability"),
    *(
        (line, "cannot give the container its GPU", "nvidia-ctk runtime configure")
        for line in (
            *("could not select device driver", "unknown or invalid runtime name: nvidia", "nvidia-container-cli: x"),
            *("failed to inject CDI devices: x", "unresolvable CDI devices nvidia.com/gpu=0"),
        )
    ),
    ("Op type not registered 'A'", "an operation that this server does not have", "export the model without it"),
    ("No OpKernel was registered to support Op 'A'", "an operation that this server does not have", "without it"),
    *(
        (line, "newer TensorFlow", "tfserving_version")
        for line in (
            *(
                "NodeDef mentions attr 'a' not in Op",
                "whether your GraphDef-interpreting binary is up to date",
                "version 9 above current version 8",
            ),
            *(
                "the binary trying to import the GraphDef was built",
                "Unrecognized DataType enum value",
                "Unrecognized dtype",
            ),
        )
    ),
    ("Could not find meta graph def matching supplied tags: { serve }", "no graph with the tags", "saved_model_tags"),
    ("Could not find metagraph def matching supplied tags", "no graph with the tags", "saved_model_tags"),
    ("File system scheme 's3' not implemented", "kind of storage", "model_version"),
    ("TensorRT: failed to deserialize", "TensorRT engine was built", "Convert the model again"),
    ("TensorRT engine version mismatch", "TensorRT engine was built", "Convert the model again"),
    ("The engine plan file is not compatible", "TensorRT engine was built", "Convert the model again"),
    ("port is already allocated", "a port is taken", "another port"),
    ("Address already in use", "a port is taken", "another port"),
    ("Couldn't bind to port 8500", "a port is taken", "another port"),
    ("Requested CPUs are not available - requested 9", "cpu_set names CPUs", "leave cpu_set out"),
    ("invalid mount config for type bind: bind source path does not exist: /x", "cannot be mounted", "folder exists"),
    ("error mounting /x", "cannot be mounted", "folder exists"),
    ('exec: "x": executable file not found in $PATH', "does not contain the program", "image of TensorFlow Serving"),
    ("stat /usr/bin/x: no such file or directory", "does not contain the program", "image of TensorFlow Serving"),
    # framework/versions.cc of TensorFlow; strerror(3); runc; stream_executor/cuda/cuda_dnn.cc, ptxas and nvptx_backend_lib.cc of XLA.
    (
        FAILED
        + "INVALID_ARGUMENT: GraphDef producer version 20 below min producer 21 supported by TensorFlow 2.20.0.  Please regenerate your graph.",
        "too old for this server",
        "newer TensorFlow",
    ),
    ("accept4(): Too many open files", "limit of open files", "LimitNOFILE"),
    ("inotify_init1: too many open files", "limit of open files", "max_user_instances"),
    (FAILED + "mkdir /var/x: Read-only file system", "may not write", "tfs_server_read_only"),
    ("exec /usr/bin/tf_serving_entrypoint.sh: permission denied", "cannot be run", "image of TensorFlow Serving"),
    ('exec: "/models": permission denied: unknown', "cannot be run", "image of TensorFlow Serving"),
    (
        "Loaded runtime CuDNN library: 8.0.5 but source was compiled with: 8.6.0.  CuDNN library needs to have matching major version",
        "cuDNN",
        "GPU image",
    ),
    ("Could not create cudnn handle: CUDNN_STATUS_INTERNAL_ERROR", "GPU's memory", "per_process_gpu_memory_fraction"),
    (
        "ptxas fatal   : Value 'sm_120' is not defined for option 'gpu-name'",
        "no code for this GPU",
        "compute capability",
    ),
    ("INTERNAL: libdevice not found at ./libdevice.10.bc", "libdevice", "xla_gpu_compilation_enabled"),
    ("Couldn't interpret value x for flag port.", "a flag's value cannot be read", "in flags"),
    ("x: OCI permission denied", "the engine is not allowed to start it this way", "the server has not run"),
    (FAILED + "Could not find base path /m", "does not find the model's folder", "model_base_path"),
    ("No versions of servable m found", "contains no version", "Publish a version"),
    *(
        (FAILED + line, "refuses the batching parameters", "tfserving.fleet.batching_parameters")
        for line in (
            *("batching_parameters_file", "BatchingParameters", "allowed_batch_sizes", "max_batch_size"),
            *("max_execution_batch_size", "batch_timeout_micros"),
        )
    ),
    ("Invalid protobuf file: '/x'", "not a valid text proto", "the file that the server names"),
    ("/x: Permission denied", "may not read a file", "chmod o+rX"),
    ("/x: permission denied", "may not read a file", "chmod o+rX"),
    (FAILED + "1 servable(s) did not become available", "a model cannot be loaded", "Publish the model again"),
    ("Loading servable: {name: m} failed", "a model cannot be loaded", "Publish the model again"),
    ("Failed to BuildAndStart gRPC server", "TLS configuration is refused", "PEM texts"),
    ("ssl_config_file", "TLS configuration is refused", "PEM texts"),
    ("SSLConfig", "TLS configuration is refused", "PEM texts"),
]


@pytest.mark.parametrize(("line", "cause", "remedy"), ROWS)
def test_a_line_that_tells_a_cause(line, cause, remedy):
    for text in (line, f"before\n{line}\nafter"):
        ending = endings.find(text)
        assert cause in ending.cause and remedy in ending.remedy
    assert ending.remedy.endswith(".") and not ending.cause.endswith(".")


def test_what_says_more_holds_before_what_says_less():
    assert endings.find("Couldn't bind to port 8500\nAborted").cause == "a port is taken"
    assert endings.find("ssl_config_file\nAborted").cause.startswith("SIGABRT")
    assert endings.find("Illegal instruction\nAddress already in use").cause.startswith("SIGILL")
    assert endings.find("a later line: Couldn't interpret value") is None
