# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server ended, from texts that real servers and engines were seen to say."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import failure_diagnosis

BROKEN = (
    "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: broken version: 1} due to error: DATA_LOSS: "
    "Can't parse /models/1/saved_model.pb as binary proto}, }"
)
ABORT = "2024-11-01 10:00:00.000000: F ./tensorflow/core/util/tensor_format.h:428] Check failed: index >= 0 && index < num_total_dims Invalid index"
NO_VERSION = (
    "2024-11-01 10:00:00.000000: W tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc:268] No versions of servable m found "
    "under base path /models. Did you forget to name your leaf directory as a number (eg. '/1/')?"
)


@pytest.mark.parametrize(
    ("exit_code", "oom", "log", "error", "cause", "line"),
    [
        (132, False, "", "", "SIGILL: this CPU lacks an instruction", "nothing"),
        (
            132,
            False,
            "/usr/bin/tf_serving_entrypoint.sh: line 3:     7 Illegal instruction",
            "",
            "SIGILL",
            "Illegal instruction",
        ),
        (
            134,
            False,
            "The TensorFlow library was compiled to use AVX512F instructions, but these aren't available on your machine.",
            "",
            "SIGILL",
            "AVX512F",
        ),
        (137, True, "I am fine", "", "it was killed: out of memory (limit 256 MiB)", "I am fine"),
        (137, False, "", "", "SIGKILL: out of memory (limit 256 MiB), or killed by another process", "nothing"),
        (
            126,
            False,
            "",
            "runc: runc create failed: error setting rlimit type 7: operation not permitted: OCI permission denied",
            "the engine is not allowed to start it this way",
            "rlimit",
        ),
        (
            255,
            False,
            "Failed to start server. Error: UNIMPLEMENTED: --tensorflow_session_config_file is not built into the embedded server of tfserving.fleet",
            "",
            "the image is the embedded server",
            "tensorflow_session_config_file",
        ),
        (139, False, "", "", "SIGSEGV", "nothing"),
        (134, False, ABORT, "", "SIGABRT: a check inside the server failed", "Check failed: index >= 0"),
        (
            134,
            False,
            "F0000 00:00:1777777777.123456      15 control_flow_ops.cc:720] Abort_op intentional failure; no rows\n*** Check failure stack trace: ***\n"
            "    @     0x7f46996741f5  (unknown)",
            "",
            "SIGABRT",
            "Abort_op intentional failure",
        ),
        (255, False, BROKEN, "", "a model cannot be loaded (exit status 255)", "Can't parse"),
        (
            255,
            False,
            "Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '/etc/tfserving/batching.pbtxt'",
            "",
            "batching|text proto",
            "Invalid protobuf",
        ),
        (255, False, "Couldn't interpret value abc for flag port.", "", "a flag's value cannot be read", "abc"),
        (
            128,
            False,
            "",
            "driver failed programming external connectivity: Bind for 127.0.0.1:8500 failed: port is already allocated",
            "a port is taken",
            "8500",
        ),
        (None, False, NO_VERSION, "", "the model's folder contains no version", "No versions of servable"),
        (None, False, "loading", "", "it is still not ready", "loading"),
        (3, False, "one\ntwo", "", "exit status 3", "one | two"),
    ],
)
def test_causes(exit_code, oom, log, error, cause, line):
    words = failure_diagnosis.explain(exit_code, oom, log, 256, error)
    assert any(part in words.cause for part in cause.split("|")) and line in words.lines


def test_what_only_looks_like_a_fault():
    success = "retrier.cc:57] Retrying of Loading servable: {name: m version: 1} exhausted max_num_retries: 0"
    assert failure_diagnosis.explain(None, False, success + "\nlast").lines == "last"


def test_what_a_server_says_and_serves_on():
    assert (
        failure_diagnosis.unknown_argument("usage\nunknown argument: --use_tflite_model=true\nFlags:")
        == "--use_tflite_model=true"
    )
    assert failure_diagnosis.unknown_argument("all is well") is None
    assert "8501" in failure_diagnosis.rest_missing("x\n[evhttp_server.cc : 250] NET_LOG: Couldn't bind to port 8501\n")
    assert failure_diagnosis.rest_missing("Exporting HTTP/REST API at:localhost:8501 ...") is None


# Each in the words of who says so: systemd's src/shared/exit-status.c and service.c, mm/oom_kill.c and arch/x86/kernel/traps.c of Linux, os/exec of Go,
# docker-ps(1), ContainerStateTerminated of Kubernetes, jobs of bash and zsh.
@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("Main process exited, code=dumped, status=4/ILL", "SIGILL"),
        ("signal: illegal instruction", "SIGILL"),
        ("app exited with code 132", "SIGILL"),
        ("Main process exited, code=dumped, status=11/SEGV", "SIGSEGV"),
        ("signal: segmentation fault (core dumped)", "SIGSEGV"),
        ("Exit Code:    139", "SIGSEGV"),
        ("tensorflow_mode[7]: segfault at 0 ip 00007f1 sp 00007ffc error 4 in libc.so.6[7f0+1]", "SIGSEGV"),
        ("zsh: segmentation fault  ./server", "SIGSEGV"),
        ("line 3:     7 Segmentation fault      (core dumped) tensorflow_model_server", "SIGSEGV"),
        ("traps: tensorflow_mode[7] general protection fault ip:55d sp:7ff error:0 in x", "SIGSEGV"),
        ("Main process exited, code=dumped, status=6/ABRT", "SIGABRT"),
        ("signal: aborted (core dumped)", "SIGABRT"),
        ("Exited (134) 2 hours ago", "SIGABRT"),
        ("zsh: abort (core dumped)  ./server", "SIGABRT"),
        ("line 3:     7 Aborted                 (core dumped) tensorflow_model_server", "SIGABRT"),
        ("Main process exited, code=dumped, status=7/BUS", "SIGBUS"),
        ("signal: bus error", "SIGBUS"),
        ("exitCode: 135", "SIGBUS"),
        ("zsh: bus error  ./server", "SIGBUS"),
        ("Main process exited, code=killed, status=9/KILL", "SIGKILL"),
        ("signal: killed", "SIGKILL"),
        ("app exited with code 137", "SIGKILL"),
        ("line 3:     7 Killed                  tensorflow_model_server", "SIGKILL"),
        ("zsh: killed     ./server", "SIGKILL"),
        ("tfserving.service: A process of this unit has been killed by the OOM killer.", "out of memory"),
        ("tfserving.service: Failed with result 'oom-kill'.", "out of memory"),
        ("Out of memory: Killed process 4242 (tensorflow_mode) total-vm:9kB", "out of memory"),
        ("Memory cgroup out of memory: Killed process 4242 (tensorflow_mode)", "out of memory"),
        ("tensorflow_mode invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0", "out of memory"),
        ("    Reason:       OOMKilled\n    Exit Code:    137", "out of memory"),
        ("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x", "out of memory"),
        ('"OOMKilled": true,\n"ExitCode": 137', "out of memory"),
        ('"OOMKilled": false,\n"ExitCode": 139', "SIGSEGV"),
        # arch/arm64/kernel/traps.c of Linux 4.14 and 6.1.
        ("tensorflow_mode[912]: undefined instruction: pc=0000aaaad5f1c2b0", "SIGILL"),
        (
            "tensorflow_mode[9]: unhandled exception: undefined instruction in tensorflow_model_server[aaaa+1000]",
            "SIGILL",
        ),
        (
            "Killed process 4242 (tensorflow_mode) total-vm:18383924kB, anon-rss:15932412kB, file-rss:0kB",
            "out of memory",
        ),
        ("System OOM encountered, victim process: tensorflow_mode, pid: 4242", "out of memory"),
        (
            "systemd-oomd[7]: Marked /system.slice/x.service for killing due to memory used (1) / total (2)",
            "out of memory",
        ),
        (
            "systemd-oomd[7]: Killed /system.slice/tfs.service due to memory used (1) / total (2) and swap used (3)",
            "out of memory",
        ),
        (
            "systemd-oomd[7]: Killed /user.slice/x.scope due to memory pressure for /user.slice being 72.5% > 50%",
            "out of memory",
        ),
        (
            'earlyoom[6]: sending SIGTERM to process 42 uid 0 "tensorflow_mode": oom_score 900, VmRSS 12000 MiB',
            "out of memory",
        ),
        ("OutOfMemoryError: Container killed due to memory usage", "out of memory"),
        ("2024-05-01T10:00:00.0Z container oom 0123456789ab (image=tensorflow/serving, name=serving)", "out of memory"),
    ],
)
def test_a_death_that_another_program_tells_is_known(log, cause):
    for exit_code in (None, 1):
        assert cause in failure_diagnosis.explain(exit_code, False, log).cause


LOADING = "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} due to error: "


@pytest.mark.parametrize(
    ("exit_code", "log", "cause", "remedy"),
    [
        # framework/op.cc, framework/node_def_util.cc, cc/saved_model/reader.cc, framework/op_kernel.cc, framework/bfc_allocator.cc of TensorFlow.
        (
            255,
            LOADING
            + "NOT_FOUND: Op type not registered 'RegexSplitV9' in binary running on host. Make sure the Op and Kernel are registered",
            "operation",
            "built with it",
        ),
        (
            255,
            LOADING
            + "INVALID_ARGUMENT: NodeDef mentions attr 'grad_x' not in Op<name=MatMul; signature=a:T, b:T -> product:T>",
            "newer TensorFlow",
            "newer release",
        ),
        (
            255,
            LOADING
            + "NOT_FOUND: Could not find meta graph def matching supplied tags: { serve }. To inspect available tag-sets",
            "tags",
            "saved_model_tags",
        ),
        (
            255,
            LOADING
            + "RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[9,9] on /job:localhost/replica:0/task:0/device:CPU:0",
            "memory ran out",
            "more memory",
        ),
        (
            255,
            LOADING
            + "RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[9] on /job:localhost/device:GPU:0 by allocator",
            "GPU's memory",
            "GPU",
        ),
        (
            255,
            LOADING + "UNIMPLEMENTED: File system scheme 's3' not implemented (file: 's3://b/m')",
            "storage",
            "model_version",
        ),
        # CHECK_EQ(ret, 0) in platform/default/env.cc; errno 1 is EPERM, 11 EAGAIN.
        (
            134,
            "F env.cc:74] Check failed: ret == 0 (1 vs. 0)Thread tf_numa_-1_Eigen creation via pthread_create() failed.",
            "clone3",
            "20.10.10",
        ),
        (
            134,
            "F env.cc:74] Check failed: ret == 0 (11 vs. 0)Thread tf_numa_-1_Eigen creation via pthread_create() failed.",
            "limit of processes",
            "ulimit -u",
        ),
        (
            134,
            "terminate called after throwing an instance of 'std::system_error'\n  what():  Resource temporarily unavailable",
            "limit of processes",
            "TasksMax",
        ),
        (
            134,
            "terminate called after throwing an instance of 'std::system_error'\n  what():  Operation not permitted",
            "clone3",
            "20.10.10",
        ),
        (
            134,
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
            "memory ran out",
            "more memory",
        ),
        # elf/dl-version.c and elf/dl-load.c of glibc.
        (
            1,
            "tensorflow_model_server: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by tensorflow_model_server)",
            "newer C library",
            "image",
        ),
        # elf/dl-lookup.c and elf/dl-error-skeleton.c of glibc.
        (
            127,
            "tensorflow_model_server: symbol lookup error: /usr/lib/libops.so: undefined symbol: _ZN10tensorflow8OpKernelC1E",
            "of another version",
            "built for its release",
        ),
        (
            1,
            "ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory",
            "CUDA or TensorRT",
            "GPU image",
        ),
        # Programs of x86-64 on Arm: linux-user/elfload.c of QEMU; Docker Desktop with Rosetta.
        (
            255,
            "qemu-x86_64: Could not open '/lib64/ld-linux-x86-64.so.2': No such file or directory",
            "another architecture",
            "--platform",
        ),
        (133, "rosetta error: failed to open elf at /lib64/ld-linux-x86-64.so.2", "another architecture", "--platform"),
        (
            127,
            "tensorflow_model_server: error while loading shared libraries: libcudart.so.11.0: cannot open shared object file: No such file or directory",
            "CUDA",
            "GPU image",
        ),
        (
            127,
            "tensorflow_model_server: error while loading shared libraries: libcuda.so.1: cannot open shared object file: No such file or directory",
            "driver",
            "toolkit",
        ),
        (
            127,
            "x: error while loading shared libraries: libgomp.so.1: cannot open shared object file: No such file or directory",
            "shared library",
            "complete image",
        ),
        (1, "mkdir: cannot create directory '/x': No space left on device", "no space", "Free space"),
        (
            128,
            "failed to create shim: OCI runtime create failed: Requested CPUs are not available - requested 0-7, available: 0-3",
            "cpu_set",
            "CPUs",
        ),
        (
            1,
            "standard_init_linux.go:228: exec user process caused: exec format error",
            "another architecture",
            "architecture",
        ),
        (255, "exec /usr/bin/tf_serving_entrypoint.sh: exec format error", "another architecture", "architecture"),
        (128, 'could not select device driver "nvidia" with capabilities: [[gpu]]', "GPU", "toolkit"),
        (127, "nothing that is known", "command does not exist", "TensorFlow Serving"),
    ],
)
def test_why_a_server_ended_is_said_with_what_to_do(exit_code, log, cause, remedy):
    words = failure_diagnosis.explain(exit_code, False, log)
    assert cause in words.cause and remedy in (words.remedy or "")


def test_more_time_is_no_remedy_for_an_error_that_is_final():
    error = "2026-11-30 01:00:00.000000: E tensorflow_serving/util/retrier.cc:37] Loading of the thing went wrong: it is not there"
    assert "more time" not in failure_diagnosis.explain(None, False, error).remedy.replace(
        "more time alone does not help", ""
    )
    assert (
        "Allow more time"
        in failure_diagnosis.explain(None, False, "2026-11-30 01:00:00.000000: I main.cc:1] loading").remedy
    )
