# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contain the differences between TensorFlow Serving's releases as data. _release/questions.py queries it.

A new release is one entry in RELEASES, and one (release, value) pair in each cell that it changes: a value applies from
its release up to the next pair. Sources are files of upstream's repository (github.com/tensorflow/serving) at the tag
of the pair's release; SERVING stands for tensorflow_serving/. `tools/release-table CLONE` compares the cells marked
READ with a clone and prints differences.
"""

from __future__ import annotations

from typing import Any

# Upstream's release tags, oldest first. 2.5.0, 2.15.0, 2.16.0 and others were never tagged.
RELEASES = (
    "2.4.0",
    "2.4.1",
    "2.4.2",
    "2.4.3",
    "2.4.4",
    "2.5.1",
    "2.5.2",
    "2.5.3",
    "2.5.4",
    "2.6.0",
    "2.6.1",
    "2.6.2",
    "2.6.3",
    "2.6.5",
    "2.7.0",
    "2.7.3",
    "2.7.4",
    "2.8.0",
    "2.8.2",
    "2.8.3",
    "2.8.4",
    "2.9.0",
    "2.9.1",
    "2.9.2",
    "2.9.3",
    "2.10.0",
    "2.10.1",
    "2.11.0",
    "2.11.1",
    "2.12.0",
    "2.12.1",
    "2.12.2",
    "2.13.0",
    "2.13.1",
    "2.14.0",
    "2.14.1",
    "2.15.1",
    "2.16.1",
    "2.17.0",
    "2.17.1",
    "2.18.0",
    "2.18.1",
    "2.19.0",
    "2.19.1",
    "2.20.0",
)

Cells = dict[str, tuple[str, tuple[tuple[str, Any], ...]]]  # name -> (source, ((first release, value), ...))

# READ: Compared with upstream's files by tools/release-table.
READ: Cells = {
    "cpu_base": (
        "SERVING/tools/docker/Dockerfile.devel",
        (("2.4.0", "ubuntu:18.04"), ("2.12.0", "ubuntu:20.04"), ("2.20.0", "ubuntu:22.04")),
    ),
    "gpu_base": (
        "SERVING/tools/docker/Dockerfile.devel-gpu",
        (
            ("2.4.0", "nvidia/cuda:11.0-cudnn8-devel-ubuntu18.04"),
            ("2.5.1", "nvidia/cuda:11.2.1-base-ubuntu18.04"),
            ("2.12.0", "nvidia/cuda:11.8.0-base-ubuntu20.04"),
            ("2.15.1", "nvidia/cuda:12.2.0-base-ubuntu20.04"),
            ("2.20.0", "nvidia/cuda:12.5.1-base-ubuntu22.04"),
        ),
    ),
    "bazel": (
        "SERVING/tools/docker/Dockerfile.devel",
        (
            ("2.4.0", "3.0.0"),
            ("2.5.1", "3.7.2"),
            ("2.9.0", "5.1.1"),
            ("2.12.0", "5.3.0"),
            ("2.14.0", "6.1.0"),
            ("2.15.1", "6.4.0"),
            ("2.18.0", "6.5.0"),
            ("2.20.0", "7.4.1"),
        ),
    ),
    "devel_python": (
        "SERVING/tools/docker/Dockerfile.devel",
        (
            ("2.4.0", "3.6"),
            ("2.5.4", "3.7"),
            ("2.6.0", "3.6"),
            ("2.6.3", "3.7"),
            ("2.12.0", "3.8"),
            ("2.14.0", "3.9"),
            ("2.20.0", "3.10"),
        ),
    ),
    "get_pip_unversioned": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", True),)),
    "gpu_clang": ("SERVING/tools/docker/Dockerfile.devel-gpu", (("2.4.0", ""), ("2.15.1", "clang-17"), ("2.20.0", ""))),
    "build_options": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "--config=release"),)),
    "build_options_mkl": (
        "SERVING/tools/docker/Dockerfile.devel-mkl",
        (("2.4.0", "--config=mkl --config=release"), ("2.20.0", "--config=mkl --config=release --config=clang_local")),
    ),
    "bazel_options": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", ""),)),
    "commit_default": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "head"), ("2.5.1", "HEAD"))),
    "branch_default": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "master"),)),
    "build_image_default": (
        "SERVING/tools/docker/Dockerfile",
        (("2.4.0", "tensorflow/serving:${TF_SERVING_VERSION}-devel"),),
    ),
    "branch_selects_sources": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", True), ("2.5.1", False))),
    "gpu_config": ("SERVING/tools/docker/Dockerfile.devel-gpu", (("2.4.0", "cuda"), ("2.15.1", "cuda_clang"))),
    "kokoro": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", False), ("2.17.1", True), ("2.20.0", False))),
    "release_copts": (".bazelrc", (("2.4.0", ("-mavx", "-msse4.2")),)),
    "mkl_openmp": (".bazelrc", (("2.4.0", ""), ("2.4.2", "true"), ("2.12.0", "false"))),
    "mkl_aarch64": (".bazelrc", (("2.4.0", False), ("2.10.0", True))),
    "cpp_standard": (".bazelrc", (("2.4.0", "c++14"), ("2.9.0", "c++17"))),
    "cuda": (
        "SERVING/tools/docker/Dockerfile.devel-gpu",
        (("2.4.0", "11.0"), ("2.5.1", "11.2"), ("2.12.0", "11.8"), ("2.15.1", "12.2"), ("2.20.0", "12.5")),
    ),
    "cudnn": (
        "SERVING/tools/docker/Dockerfile.devel-gpu",
        (("2.4.0", "8.0.4"), ("2.5.1", "8.1.0"), ("2.12.0", "8.6.0"), ("2.15.1", "8.9.4"), ("2.20.0", "9.3.0")),
    ),
    "tensorrt_installed": (
        "SERVING/tools/docker/Dockerfile.devel-gpu",
        (("2.4.0", "7.1.3"), ("2.5.1", "7.2.2"), ("2.12.0", "8.4.3"), ("2.15.1", "8.6.1")),
    ),
    "tensorrt_compiled": (
        "SERVING/tools/docker/Dockerfile.devel-gpu and .bazelrc",
        (("2.4.0", True), ("2.18.0", False)),
    ),
    "compute_capabilities": (
        ".bazelrc",
        (
            ("2.4.0", ("sm_35", "sm_50", "sm_60", "sm_70", "sm_75", "compute_80")),
            ("2.15.1", ("sm_50", "sm_60", "sm_70", "sm_80", "compute_90")),
            ("2.20.0", ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")),
        ),
    ),
    "capabilities_option": (".bazelrc", (("2.4.0", "action_env"), ("2.15.1", "repo_env"))),
    "version_suffix": (
        "SERVING/model_servers/version.h",
        (
            ("2.4.0", "-rc4"),
            ("2.5.1", "-rc3"),
            ("2.6.0", "-rc2"),
            ("2.7.0", "-rc1"),
            ("2.9.0", ""),
            ("2.10.0", "-rc3"),
            ("2.11.0", "-rc2"),
            ("2.12.0", ""),
            ("2.13.0", "-rc2"),
            ("2.14.0", "-rc1"),
            ("2.15.1", "-rc0"),
            ("2.16.1", ""),
            ("2.18.0", "-rc0"),
            ("2.20.0", ""),
        ),
    ),
    # From the server's sources.
    "kokoro_compiler": (
        ".bazelrc",
        (("2.4.0", ""), ("2.17.1", "/usr/bin/gcc"), ("2.18.0", "/usr/bin/gcc-10"), ("2.20.0", "")),
    ),
    "hermetic_toolchains": ("WORKSPACE", (("2.4.0", ()), ("2.20.0", ("lx64_lx64", "lx64_lx64_cuda")))),
    "cuda_compat": ("SERVING/tools/docker/Dockerfile.gpu", (("2.4.0", ""), ("2.20.0", "cuda-compat-12-5"))),
    "tflite_types": (
        "SERVING/servables/tensorflow/tflite_session.cc",
        (("2.4.0", ("bool", "complex64", "float32", "int16", "int32", "int64", "int8", "string", "uint8")),),
    ),
    "tflite_file": ("SERVING/servables/tensorflow/saved_model_bundle_factory.cc", (("2.4.0", "model.tflite"),)),
    "mixed_precision_values": (
        "SERVING/servables/tensorflow/saved_model_bundle_factory.cc",
        (("2.4.0", ()), ("2.15.1", ("bfloat16",))),
    ),
    "rest_paths": (
        "SERVING/model_servers/http_rest_api_handler.cc, later http_rest_api_util.cc",
        (
            (
                "2.4.0",
                (
                    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/(\w+)))?:(classify|regress|predict)",
                    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/(\w+)))?(?:\/(metadata))?",
                ),
            ),
            (
                "2.5.1",
                (
                    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)",
                    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:\/(metadata))?",
                ),
            ),
        ),
    ),
    "metrics_path": ("SERVING/util/prometheus_exporter.cc", (("2.4.0", "/monitoring/prometheus/metrics"),)),
    "services": (
        "SERVING/model_servers/server.cc",
        (("2.4.0", ("model", "prediction", "profiler")), ("2.15.1", ("health", "model", "prediction", "profiler"))),
    ),
    "image_ports": ("SERVING/tools/docker/Dockerfile", (("2.4.0", (8500, 8501)),)),
    "image_model_base_path": ("SERVING/tools/docker/Dockerfile", (("2.4.0", "/models"),)),
    "request_metrics": ("SERVING/servables/tensorflow/util.cc", (("2.4.0", False), ("2.5.1", True))),
}

# DERIVED: facts that no file of upstream states in one line. Each names its source.
DERIVED: Cells = {
    "cpu_compiler": (
        "default compiler of cpu_base; .bazelrc config kokoro; cc_toolchain_deps.bzl of rules_ml_toolchain as pinned by WORKSPACE",
        (
            ("2.4.0", ("gcc", (7, 5))),
            ("2.12.0", ("gcc", (9, 4))),
            ("2.18.0", ("gcc", (10, 5))),
            ("2.20.0", ("clang", (18, 1))),
        ),
    ),
    "gpu_compiler": (
        "SERVING/tools/docker/Dockerfile.devel-gpu",
        (
            ("2.4.0", ("gcc", (7, 5))),
            ("2.12.0", ("gcc", (9, 4))),
            ("2.15.1", ("clang", (17, 0))),
            ("2.20.0", ("clang", (18, 1))),
        ),
    ),
    # How a rebuild of this tag's devel image fares today: get-pip.py refuses a Python below its minimum, which rises
    # over time.
    "rebuild": (
        "bootstrap.pypa.io/get-pip.py and the deadsnakes archive against devel_python; not tried",
        (("2.4.0", "fails"), ("2.14.0", "at risk"), ("2.20.0", "ok")),
    ),
    # Whether TensorFlow uses oneDNN's own operations by default, on CPUs with one of ONEDNN_DEFAULT_FLAGS.
    "onednn_by_default": ("release notes of TensorFlow 2.9", (("2.4.0", False), ("2.9.0", True))),
    "onednn_available": ("github.com/tensorflow/serving issue 1958", (("2.4.0", False), ("2.5.1", True))),
    "feature_line_prefix": (
        "cpu_feature_guard.cc of TensorFlow",
        (
            ("2.4.0", "optimized with oneAPI Deep Neural Network Library (oneDNN)"),
            ("2.12.0", "optimized to use available CPU instructions"),
        ),
    ),
    # File systems beyond the host's that the official images read base paths from. hdfs is not one: the images have no Java.
    "remote_file_systems": (
        "github.com/tensorflow/serving issues 1963, 2062 and 2158",
        (("2.4.0", ("gs", "s3")), ("2.7.0", ("gs",))),
    ),
    "tflite_interpreters_batch": (
        "SERVING/servables/tensorflow/tflite_interpreter_pool.h",
        (("2.4.0", False), ("2.6.0", True)),
    ),
}

# Flags of tensorflow_model_server: name -> (type: int, float, bool or string; default; first release; last release or None).
# Source of all: SERVING/model_servers/main.cc and server.h at the tag of the first release. A default in words is upstream's expression.
FLAGS: dict[str, tuple[str, Any, str, str | None]] = {
    "port": ("int", 8500, "2.4.0", None),
    "grpc_socket_path": ("string", "", "2.4.0", None),
    "grpc_channel_arguments": ("string", "", "2.4.0", None),
    "grpc_max_threads": ("int", "4 x CPUs", "2.5.1", None),
    "rest_api_port": ("int", 0, "2.4.0", None),
    "rest_api_num_threads": ("int", "4 x CPUs", "2.4.0", None),
    "rest_api_timeout_in_ms": ("int", 30000, "2.4.0", None),
    "rest_api_enable_cors_support": ("bool", False, "2.5.1", None),
    "enable_batching": ("bool", False, "2.4.0", None),
    "batching_parameters_file": ("string", "", "2.4.0", None),
    "enable_per_model_batching_parameters": ("bool", False, "2.11.0", None),
    "allow_version_labels_for_unavailable_models": ("bool", False, "2.4.0", None),
    "model_config_file": ("string", "", "2.4.0", None),
    "model_config_file_poll_wait_seconds": ("int", 0, "2.4.0", None),
    "model_name": ("string", "default", "2.4.0", None),
    "model_base_path": ("string", "", "2.4.0", None),
    "num_load_threads": ("int", 0, "2.5.1", None),
    "num_unload_threads": ("int", 0, "2.5.1", None),
    "max_num_load_retries": ("int", 5, "2.4.0", None),
    "load_retry_interval_micros": ("int", 60000000, "2.4.0", None),
    "file_system_poll_wait_seconds": ("int", 1, "2.4.0", None),
    "flush_filesystem_caches": ("bool", True, "2.4.0", None),
    "tensorflow_session_parallelism": ("int", 0, "2.4.0", None),
    "tensorflow_intra_op_parallelism": ("int", 0, "2.4.0", None),
    "tensorflow_inter_op_parallelism": ("int", 0, "2.4.0", None),
    "tensorflow_session_config_file": ("string", "", "2.8.0", None),
    "use_alts_credentials": ("bool", False, "2.6.0", None),
    "ssl_config_file": ("string", "", "2.4.0", None),
    "platform_config_file": ("string", "", "2.4.0", None),
    "per_process_gpu_memory_fraction": ("float", 0.0, "2.4.0", None),
    "saved_model_tags": ("string", "serve", "2.4.0", None),
    "enable_model_warmup": ("bool", True, "2.4.0", None),
    "num_request_iterations_for_warmup": ("int", 0, "2.8.0", None),
    "version": ("bool", False, "2.4.0", None),
    "monitoring_config_file": ("string", "", "2.4.0", None),
    "remove_unused_fields_from_bundle_metagraph": ("bool", True, "2.4.0", None),
    "prefer_tflite_model": ("bool", False, "2.4.0", None),
    "num_tflite_pools": ("int", "CPUs", "2.5.1", None),
    "num_tflite_interpreters_per_pool": ("int", 1, "2.5.1", None),
    "enable_signature_method_name_check": ("bool", False, "2.4.0", None),
    "xla_cpu_compilation_enabled": ("bool", False, "2.5.1", None),
    "xla_gpu_compilation_enabled": ("bool", False, "2.18.0", None),
    "enable_profiler": ("bool", True, "2.5.1", None),
    "thread_pool_factory_config_file": ("string", "", "2.6.0", None),
    "mixed_precision": ("string", "", "2.15.1", None),
    "skip_initialize_tpu": ("bool", False, "2.15.1", None),
    "enable_grpc_healthcheck_service": ("bool", False, "2.15.1", None),
    "enable_serialization_as_tensor_content": ("bool", False, "2.19.0", None),
}

# Flags that older articles use: name -> (today's flag, what happened, source).
FORMER_FLAGS = {
    "use_tflite_model": ("prefer_tflite_model", "renamed in 2.3.0", "commit 8589d817"),
    "num_tflite_interpreters": (
        "num_tflite_pools",
        "never released under this name",
        "SERVING/model_servers/main.cc between 2.4.0 and 2.5.1",
    ),
}

# Values that the server accepts silently and then does not honor: flag -> (allowed values, source).
FLAG_VALUES: dict[str, tuple[tuple[str, ...], str]] = {
    "mixed_precision": (("", "bfloat16"), "SERVING/servables/tensorflow/saved_model_bundle_factory.cc@2.20.0"),
}

# The lowest value that works: flag -> (minimum, why). Observed with a 2.20.0 server unless stated otherwise.
FLAG_MINIMUMS: dict[str, tuple[float, str]] = {
    "rest_api_num_threads": (2, "the event loop takes one thread: with 1, the port opens but never answers"),
    "grpc_max_threads": (1, "it is the number of calls served at once"),
    "per_process_gpu_memory_fraction": (0.0, "it is a fraction"),
    "port": (0, "it is a TCP port"),
    "rest_api_port": (0, "it is a TCP port"),
    "max_num_load_retries": (0, "it is a count"),
}
FLAG_MAXIMUMS: dict[str, tuple[float, str]] = {
    "per_process_gpu_memory_fraction": (1.0, "it is a fraction"),
    "port": (65535, "it is a TCP port"),
    "rest_api_port": (65535, "it is a TCP port"),
}

# Arguments of a gRPC channel that concern a server: key -> what it takes. Source: include/grpc/impl/channel_arg_names.h of gRPC.
CHANNEL_ARGUMENTS = {
    **dict.fromkeys(
        (
            f"grpc.{name}"
            for name in (
                "absolute_max_metadata_size",
                "census",
                "compression_enabled_algorithms_bitset",
                "default_compression_algorithm",
                "default_compression_level",
                "http2.bdp_probe",
                "http2.hpack_table_size.decoder",
                "http2.hpack_table_size.encoder",
                "http2.initial_sequence_number",
                "http2.lookahead_bytes",
                "http2.max_frame_size",
                "http2.max_ping_strikes",
                "http2.max_pings_without_data",
                "http2.min_ping_interval_without_data_ms",
                "http2.true_binary",
                "http2.write_buffer_size",
                "keepalive_permit_without_calls",
                "keepalive_time_ms",
                "keepalive_timeout_ms",
                "max_concurrent_streams",
                "max_connection_age_grace_ms",
                "max_connection_age_ms",
                "max_connection_idle_ms",
                "max_metadata_size",
                "max_receive_message_length",
                "max_send_message_length",
                "minimal_stack",
                "per_message_compression",
                "per_message_decompression",
                "server_handshake_timeout_ms",
                "server_max_unrequested_time_in_server",
                "so_reuseport",
                "experimental.tcp_min_read_chunk_size",
                "experimental.tcp_max_read_chunk_size",
            )
        ),
        "int",
    ),
    **dict.fromkeys(
        (f"grpc.{name}" for name in ("http2_scheme", "primary_user_agent", "secondary_user_agent")), "string"
    ),
}

# Fields of BatchingParameters: name -> (number, type, effective default, first release).
# Source: SERVING/servables/tensorflow/session_bundle_config.proto; defaults: bundle_factory_util.h and TensorFlow's shared_batch_scheduler.h.
BATCHING_FIELDS: dict[str, tuple[int, str, Any, str]] = {
    "max_batch_size": (1, "google.protobuf.Int64Value", 1000, "2.4.0"),
    "batch_timeout_micros": (2, "google.protobuf.Int64Value", 0, "2.4.0"),
    "max_enqueued_batches": (3, "google.protobuf.Int64Value", 10, "2.4.0"),
    "num_batch_threads": (4, "google.protobuf.Int64Value", "CPUs", "2.4.0"),
    "thread_pool_name": (5, "google.protobuf.StringValue", "batch_threads", "2.4.0"),
    "allowed_batch_sizes": (6, "repeated int64", (), "2.4.0"),
    "pad_variable_length_inputs": (7, "bool", False, "2.4.0"),
    "enable_large_batch_splitting": (8, "google.protobuf.BoolValue", False, "2.4.0"),
    "max_execution_batch_size": (9, "google.protobuf.Int64Value", "max_batch_size", "2.4.0"),
}

# TensorFlow Lite in TensorFlow Serving. Source: SERVING/servables/tensorflow/tflite_session.cc and saved_model_bundle_factory.cc@2.20.0.
TFLITE = {
    "flag": "prefer_tflite_model",
    "file": "model.tflite",
    "signatures": "signature_defs_metadata",
    "threads_per_interpreter": 1,
}

# The lowest NVIDIA driver of a CUDA major version. Source: docs.nvidia.com/deploy/cuda-compatibility, minor version compatibility.
LOWEST_DRIVERS = {11: 450, 12: 525, 13: 580}

# CPU flags (in the kernel's spelling) with which TensorFlow enables oneDNN's operations by default. Source:
# github.com/tensorflow/tensorflow pull request 56039.
ONEDNN_DEFAULT_FLAGS = ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16")

# Values of -march for which archspec has no data: {value: another that allows the same vector instructions}. Source: GCC's documentation of -march.
MARCH_ALIASES = {"icelake-server": "icelake-client"}

# The official images. Source: SERVING/tools/docker/Dockerfile*; amd64 only: github.com/tensorflow/serving issues 1750 and 1948.
IMAGES = {"repository": "tensorflow/serving", "cpu": "", "gpu": "-gpu", "mkl": "-mkl", "architectures": ("x86_64",)}

# CPU flags (the kernel's spelling) that a compiler option makes the program need. Source: GCC's documentation of x86 options.
COPT_FLAGS = {
    "-msse4.2": ("sse4_2",),
    "-mavx": ("avx",),
    "-mavx2": ("avx2",),
    "-mfma": ("fma",),
    "-mf16c": ("f16c",),
    "-mbmi": ("bmi1",),
    "-mbmi2": ("bmi2",),
    "-mlzcnt": ("abm",),
    "-mmovbe": ("movbe",),
    "-mpopcnt": ("popcnt",),
    "-mcx16": ("cx16",),
    "-mavx512f": ("avx512f",),
    "-mavx512bw": ("avx512bw",),
    "-mavx512cd": ("avx512cd",),
    "-mavx512dq": ("avx512dq",),
    "-mavx512vl": ("avx512vl",),
    "-mavx512vnni": ("avx512_vnni",),
    "-mavx512bf16": ("avx512_bf16",),
    "-mavx512vbmi": ("avx512vbmi",),
    "-mavx512vbmi2": ("avx512_vbmi2",),
    "-mavx512ifma": ("avx512ifma",),
    "-mavx512bitalg": ("avx512_bitalg",),
    "-mavx512vpopcntdq": ("avx512_vpopcntdq",),
    "-mavxvnni": ("avx_vnni",),
}

# Compiler options of a build for a psABI level. They are single options because the compilers of many releases do not
# know -march=x86-64-v3. The release configuration adds AVX, which a v1 or v2 host may lack: for those levels it is left
# out.
LEVEL_OPTIONS = {
    "x86-64-v1": "--copt=-O3",
    "x86-64-v2": "--copt=-msse4.2 --copt=-mpopcnt --copt=-mcx16 --copt=-O3",
    "x86-64-v3": "--config=release --copt=-mavx2 --copt=-mfma --copt=-mbmi --copt=-mbmi2 --copt=-mf16c --copt=-mlzcnt --copt=-mmovbe --copt=-O3",
    "x86-64-v4": "--config=release --copt=-mavx2 --copt=-mfma --copt=-mbmi --copt=-mbmi2 --copt=-mf16c --copt=-mlzcnt --copt=-mmovbe "
    "--copt=-mavx512f --copt=-mavx512bw --copt=-mavx512cd --copt=-mavx512dq --copt=-mavx512vl --copt=-O3",
    "aarch64": "--config=mkl_aarch64",
}

# Instructions that a devel image's compiler does not support although its version knows the option: (compiler, CPU
# flag) -> (the option that turns it off, why, source).
KNOWN_BAD = {
    ("clang", "avx512_bf16"): (
        "-mno-avx512bf16",
        "clang fails on TensorFlow's sources with AVX512_BF16",
        "github.com/llvm/llvm-project issue 143365",
    ),
}

# The sources of each release: (commit, id of its tree). The id is git's checksum of all files, and it is the same for
# an archive from anywhere, however compressed.
SOURCES = {
    "2.4.0": ("af33a247dae5486c712a5001845d06235e5b69d2", "584bee111671b4006096a05e6387eb842c80cb3c"),
    "2.4.1": ("ac3a2eb190bbe1dd9054391b293a2172a8b07bec", "52745d4ae156d74a48ce2efd3d4f73fe591946ef"),
    "2.4.2": ("20a8f3a6dde46c0df750a62870e136c6221905e7", "c9f1b02904258aabeb22adfe82a7b3ba61663d40"),
    "2.4.3": ("ae55ceb0bf4795db7a805f74f87bcc40a5cfb244", "ab69f3b08b53a9186b2542ac0eb1d1f7bad4ef4b"),
    "2.4.4": ("d5e1076412b414c2c61ad19174d09fc8fb43e2a6", "cab6773eb6c8da2b3e2b79602e31d212fc2e10bf"),
    "2.5.1": ("da76fc74b48f6afe190125f9ed572e690cef8570", "fe9d9027ab6ff6aac27de34acc0945554981d818"),
    "2.5.2": ("4359b2cf05f8716a8ba2d48aac236fd37075e056", "18d4bfe3593459f3a53394d9183f4967384e290c"),
    "2.5.3": ("be7c0b609019cf4dc7b3ea13b4f6dbf78093b8f6", "02769f78010373dac5a0a7c0854ec395ab6a0459"),
    "2.5.4": ("934dad84622e50f1568d7026c213014fda4533bf", "d7ef373c22370ffbd41b0817003b5cf8f6e002b7"),
    "2.6.0": ("04d47f8aa567f429185a4416ef58f7fe11a21a43", "ac234aca8430a9ceeb54fc63ed0deca4f0fcde27"),
    "2.6.1": ("cafcf22f8da9884d8a2aec5159fdbb47a6f16a4d", "c0a97df58d4336e253b384fd5fc75581286e70e1"),
    "2.6.2": ("cc2f8d4a77dbb469e438286a0958cc4ba7235521", "f22ad454c4748dc3bec659ef4c420a5f879a74f0"),
    "2.6.3": ("7a008a8e8144f9a4ddced34519b23f32424604ee", "2dafdd143ac79ae032a424cd92342168ac62474e"),
    "2.6.5": ("7a9209a2bff11888b9acb74cc6bda29ab50ea011", "6c85a10a69461cc0f013117b1f93ac29effb048d"),
    "2.7.0": ("462a36f9d606d6959683a0070eecb38ae207865b", "708e8f695d3e30a64e7185ed7d3b67f9ee6ff3d0"),
    "2.7.3": ("3b4ba61c6f7b441dd8ac6180c542c54c45667e11", "d5bd11d7da77e2503bc6e098857ab59e7835035c"),
    "2.7.4": ("3fda7a39ed7e3f616052e402b710958d69247f0e", "3ea0fc608d946a9684d236595cdb4651b5e7e41d"),
    "2.8.0": ("9400ef162ea4b9f6d6dcc40c55b7d4e03d733ef0", "9f5b86b701fac520e992def49720ccb83ff67157"),
    "2.8.2": ("c554aa76327745ba29ea8147d1e6cd622167334b", "ca9d973e6fdeb1bb330e72ae8da0e72e09a6ae51"),
    "2.8.3": ("336842e3da69b5ce3484a00b0457fd5f18bc8c3a", "da5ca9e77a74050fec4ab792a0824e3aa0fe18d4"),
    "2.8.4": ("d642a2c1d71ac3feb76c4d3f9a21418bc9489b08", "248568eecdead655a97469a04af3005b31a56064"),
    "2.9.0": ("0428980ee897b6df3101fb860ad7cf3300e6fe18", "974be0a7b2a509d118fbbc89579bbf12467c77ba"),
    "2.9.1": ("232c7af3e0b0582271d599de4738ab95c597c596", "c9866385e1cedcb06629624bec01d4aefb6f1a82"),
    "2.9.2": ("09c99a4aba910ed15ba55ad7b9c160f65bf98290", "e3ad72e8f16ef81cd97ca1715ca93844ad0539cc"),
    "2.9.3": ("5e8789e4cdf8c50c595be8a3769a3b3f9f6893a7", "03b2e098db4e9d66e33d22009d67146b069dfedf"),
    "2.10.0": ("f44ac27514625c522bb010e5822b7d276fff986b", "e0306d39657cb91451e6bb6f54e7ef40f1bd6e9e"),
    "2.10.1": ("2e2e3e53a021978beff453d75c53d5c3d64f85fa", "8b1a79006be6b20cec976428c5e2008d6d414177"),
    "2.11.0": ("7c9bd6b224061a9d4e2df8d80100807ba80f8f4b", "73a9c9f29d73225b9679c3b96d51b1279f9e62b2"),
    "2.11.1": ("3c50b8fd3ca7eb71ba46ca73e7dcb4a21ea67fd4", "9aec8c379f769859433009d1d3628232dd62a20d"),
    "2.12.0": ("962aae1fd77f241021a9db608e9cbafc5203f39e", "33b1354ae8a749f99f10c589b4272f4655103d64"),
    "2.12.1": ("bd203faa888dd5ce90f21e3ee9af92dbc90b8a25", "57f745520fa2f51eb26ccaf95490ef640ef194a3"),
    "2.12.2": ("6ac4745db340e9e8748f4b50c60d37ca00cc14e7", "b1d4cbb3389c08ab84ab9c064ac5cb2e031fada2"),
    "2.13.0": ("83c949cd1c997ada425ac2e30510884f16f62b62", "43cfb2e2081b1841d13680e6e6a37171fd32016a"),
    "2.13.1": ("ae482b9dd12bf8dde38dd91a384a85f96a5fc09c", "4be00769ce119141788425fd83709df6b0591059"),
    "2.14.0": ("84b6b8e47fb92b67df69caa88df356e73adc2ad9", "2a6ef8666d6821b1b8405d753792517250efce8a"),
    "2.14.1": ("f8addc3218294e8165f53250525dd800a8592032", "e6ead801a7422ca8597da857b4cca371b64b45a8"),
    "2.15.1": ("a0be2bf6ebf690a01dbe9747910952422be55945", "51bfe75cc6b0b4f1edd7324a752f41d16ee8f58b"),
    "2.16.1": ("0d726954f36a2b6c6bfb60a4caec311f2b3e3101", "9df72ccb1c6c9aaf29eebe4f1cbd639feec66fc3"),
    "2.17.0": ("6311b72ea7efdc8c306de3c3bc808388468b7a3d", "ae6bc0eec9894ee880091c8504a3dc138000c68b"),
    "2.17.1": ("7b6021dd4cc6c1a815a84f160b77438c84818a66", "ce6944137cfada4bd56e906fbdf45dc47624d571"),
    "2.18.0": ("5815bfdd1d1bbd9d0d3557576c98f13afc4d9016", "974883515d36786e608263ae403c2ebacdaaa91c"),
    "2.18.1": ("d09ca091bd48231e62e2d979073867b062bedee4", "8df6fb8c17c3db00ad938c10457b44d73e35928f"),
    "2.19.0": ("c491ba6554e4ea41cd4ae0eba9012b762fb2b455", "c024fbca4abf56b306b72d9207b3471fdf50e77f"),
    "2.19.1": ("eab9c3529b785dc685ab8c687f298e67016c8f81", "e6177acb0e5921ba7980f9983750a2303a05b092"),
    "2.20.0": ("bc7e9d2b9a419294c4526e293c2df8727b0d3116", "58d07a8e5c46abb303cbfe3b54d28406c3a31c20"),
}
