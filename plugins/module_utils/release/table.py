# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between TensorFlow Serving's releases, as data. release/questions.py is how the rest of the collection asks.

A new release is one entry in RELEASES, and one (release, value) pair in each cell that it changes: a value holds from its release up
to the next pair. Sources are files of upstream's repository (github.com/tensorflow/serving) at the tag of the pair's release;
SERVING stands for tensorflow_serving/. `tools/release-table CLONE` compares the cells marked READ with a clone and prints differences.
"""

from __future__ import annotations

# Upstream's release tags, oldest first. 2.5.0, 2.15.0, 2.16.0 and others were never tagged.
RELEASES = (
    "2.4.0", "2.4.1", "2.4.2", "2.4.3", "2.4.4", "2.5.1", "2.5.2", "2.5.3", "2.5.4", "2.6.0", "2.6.1", "2.6.2", "2.6.3", "2.6.5",
    "2.7.0", "2.7.3", "2.7.4", "2.8.0", "2.8.2", "2.8.3", "2.8.4", "2.9.0", "2.9.1", "2.9.2", "2.9.3", "2.10.0", "2.10.1", "2.11.0", "2.11.1",
    "2.12.0", "2.12.1", "2.12.2", "2.13.0", "2.13.1", "2.14.0", "2.14.1", "2.15.1", "2.16.1", "2.17.0", "2.17.1", "2.18.0", "2.18.1",
    "2.19.0", "2.19.1", "2.20.0",
)

# READ: name -> (source, ((first release, value), ...)). Compared with upstream's files by tools/release-table.
READ = {
    "cpu_base": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "ubuntu:18.04"), ("2.12.0", "ubuntu:20.04"), ("2.20.0", "ubuntu:22.04"))),
    "gpu_base": ("SERVING/tools/docker/Dockerfile.devel-gpu", (
        ("2.4.0", "nvidia/cuda:11.0-cudnn8-devel-ubuntu18.04"), ("2.5.1", "nvidia/cuda:11.2.1-base-ubuntu18.04"),
        ("2.12.0", "nvidia/cuda:11.8.0-base-ubuntu20.04"), ("2.15.1", "nvidia/cuda:12.2.0-base-ubuntu20.04"),
        ("2.20.0", "nvidia/cuda:12.5.1-base-ubuntu22.04"))),
    "bazel": ("SERVING/tools/docker/Dockerfile.devel", (
        ("2.4.0", "3.0.0"), ("2.5.1", "3.7.2"), ("2.9.0", "5.1.1"), ("2.12.0", "5.3.0"), ("2.14.0", "6.1.0"), ("2.15.1", "6.4.0"), ("2.18.0", "6.5.0"),
        ("2.20.0", "7.4.1"))),
    "devel_python": ("SERVING/tools/docker/Dockerfile.devel", (
        ("2.4.0", "3.6"), ("2.5.4", "3.7"), ("2.6.0", "3.6"), ("2.6.3", "3.7"), ("2.12.0", "3.8"), ("2.14.0", "3.9"), ("2.20.0", "3.10"))),
    "get_pip_unversioned": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", True),)),
    "gpu_clang": ("SERVING/tools/docker/Dockerfile.devel-gpu", (("2.4.0", ""), ("2.15.1", "clang-17"), ("2.20.0", ""))),
    "build_options": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "--config=release"),)),
    "build_options_mkl": ("SERVING/tools/docker/Dockerfile.devel-mkl", (
        ("2.4.0", "--config=mkl --config=release"), ("2.20.0", "--config=mkl --config=release --config=clang_local"))),
    "bazel_options": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", ""),)),
    "commit_default": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "head"), ("2.5.1", "HEAD"))),
    "branch_default": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", "master"),)),
    "build_image_default": ("SERVING/tools/docker/Dockerfile", (("2.4.0", "tensorflow/serving:${TF_SERVING_VERSION}-devel"),)),
    "branch_selects_sources": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", True), ("2.5.1", False))),
    "gpu_config": ("SERVING/tools/docker/Dockerfile.devel-gpu", (("2.4.0", "cuda"), ("2.15.1", "cuda_clang"))),
    "kokoro": ("SERVING/tools/docker/Dockerfile.devel", (("2.4.0", False), ("2.17.1", True), ("2.20.0", False))),
    "release_copts": (".bazelrc", (("2.4.0", ("-mavx", "-msse4.2")),)),
    "mkl_openmp": (".bazelrc", (("2.4.0", ""), ("2.4.2", "true"), ("2.12.0", "false"))),
    "mkl_aarch64": (".bazelrc", (("2.4.0", False), ("2.10.0", True))),
    "cpp_standard": (".bazelrc", (("2.4.0", "c++14"), ("2.9.0", "c++17"))),
    "cuda": ("SERVING/tools/docker/Dockerfile.devel-gpu", (
        ("2.4.0", "11.0"), ("2.5.1", "11.2"), ("2.12.0", "11.8"), ("2.15.1", "12.2"), ("2.20.0", "12.5"))),
    "cudnn": ("SERVING/tools/docker/Dockerfile.devel-gpu", (
        ("2.4.0", "8.0.4"), ("2.5.1", "8.1.0"), ("2.12.0", "8.6.0"), ("2.15.1", "8.9.4"), ("2.20.0", "9.3.0"))),
    "tensorrt_installed": ("SERVING/tools/docker/Dockerfile.devel-gpu", (
        ("2.4.0", "7.1.3"), ("2.5.1", "7.2.2"), ("2.12.0", "8.4.3"), ("2.15.1", "8.6.1"))),
    "tensorrt_compiled": ("SERVING/tools/docker/Dockerfile.devel-gpu and .bazelrc", (("2.4.0", True), ("2.18.0", False))),
    "compute_capabilities": (".bazelrc", (
        ("2.4.0", ("sm_35", "sm_50", "sm_60", "sm_70", "sm_75", "compute_80")), ("2.15.1", ("sm_50", "sm_60", "sm_70", "sm_80", "compute_90")),
        ("2.20.0", ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")))),
    "capabilities_option": (".bazelrc", (("2.4.0", "action_env"), ("2.15.1", "repo_env"))),
    "version_suffix": ("SERVING/model_servers/version.h", (
        ("2.4.0", "-rc4"), ("2.5.1", "-rc3"), ("2.6.0", "-rc2"), ("2.7.0", "-rc1"), ("2.9.0", ""), ("2.10.0", "-rc3"), ("2.11.0", "-rc2"), ("2.12.0", ""),
        ("2.13.0", "-rc2"), ("2.14.0", "-rc1"), ("2.15.1", "-rc0"), ("2.16.1", ""), ("2.18.0", "-rc0"), ("2.20.0", ""))),
}

# TOLD: the same, for what no file of upstream says in one line; each names where it was read.
TOLD = {
    "cpu_compiler": ("default compiler of cpu_base; .bazelrc config kokoro; cc_toolchain_deps.bzl of rules_ml_toolchain as pinned by WORKSPACE", (
        ("2.4.0", ("gcc", (7, 5))), ("2.12.0", ("gcc", (9, 4))), ("2.18.0", ("gcc", (10, 5))), ("2.20.0", ("clang", (18, 1))))),
    "gpu_compiler": ("SERVING/tools/docker/Dockerfile.devel-gpu", (
        ("2.4.0", ("gcc", (7, 5))), ("2.12.0", ("gcc", (9, 4))), ("2.15.1", ("clang", (17, 0))), ("2.20.0", ("clang", (18, 1))))),
    # How a rebuild of this tag's devel image fares today: get-pip.py refuses Pythons below its moving minimum.
    "rebuild": ("bootstrap.pypa.io/get-pip.py and the deadsnakes archive against devel_python; not tried", (
        ("2.4.0", "fails"), ("2.14.0", "at risk"), ("2.20.0", "ok"))),
    # oneDNN's own operations without being asked for: on CPUs with one of ONEDNN_DEFAULT_FLAGS.
    "onednn_by_default": ("release notes of TensorFlow 2.9", (("2.4.0", False), ("2.9.0", True))),
    "onednn_available": ("github.com/tensorflow/serving issue 1958", (("2.4.0", False), ("2.5.1", True))),
    "feature_line_prefix": ("cpu_feature_guard.cc of TensorFlow", (
        ("2.4.0", "optimized with oneAPI Deep Neural Network Library (oneDNN)"), ("2.12.0", "optimized to use available CPU instructions"))),
    "tflite_interpreters_batch": ("SERVING/servables/tensorflow/tflite_interpreter_pool.h", (("2.4.0", False), ("2.6.0", True))),
    "request_metrics": ("SERVING/servables/tensorflow/util.cc", (("2.4.0", False), ("2.5.1", True))),
}

# Flags of tensorflow_model_server: name -> (type, default, first release, last release or None).
# Source of all: SERVING/model_servers/main.cc and server.h at the tag of the first release. A default in words is upstream's expression.
FLAGS = {
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
    "num_tflite_interpreters": ("num_tflite_pools", "never released under this name", "SERVING/model_servers/main.cc between 2.4.0 and 2.5.1"),
}

# Values that the server takes without a word and then does not honour: flag -> (allowed values, source).
FLAG_VALUES = {"mixed_precision": (("", "bfloat16"), "SERVING/servables/tensorflow/saved_model_bundle_factory.cc@2.20.0")}

# The lowest value that works: flag -> (minimum, why). Seen on a 2.20.0 server unless said.
FLAG_MINIMUMS = {
    "rest_api_num_threads": (2, "the event loop takes one thread: with 1 the port opens and never answers"),
    "grpc_max_threads": (1, "it is the number of calls served at once"),
    "per_process_gpu_memory_fraction": (0.0, "it is a fraction"),
    "port": (0, "it is a TCP port"),
    "rest_api_port": (0, "it is a TCP port"),
    "max_num_load_retries": (0, "it is a count"),
}
FLAG_MAXIMUMS = {
    "per_process_gpu_memory_fraction": (1.0, "it is a fraction"), "port": (65535, "it is a TCP port"), "rest_api_port": (65535, "it is a TCP port"),
}

# Fields of BatchingParameters: name -> (number, type, effective default, first release).
# Source: SERVING/servables/tensorflow/session_bundle_config.proto; defaults: bundle_factory_util.h and TensorFlow's shared_batch_scheduler.h.
BATCHING_FIELDS = {
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

# gRPC services and REST paths: name -> (first release, the flag that must be set for it or None).
# Source: SERVING/apis/*.proto, SERVING/model_servers/server.cc and http_rest_api_util.cc.
SERVICES = {
    "tensorflow.serving.PredictionService": ("2.4.0", None),
    "tensorflow.serving.ModelService": ("2.4.0", None),
    "grpc.health.v1.Health": ("2.15.1", "enable_grpc_healthcheck_service"),
}
REST_PATHS = {
    "status": ("GET", "/v1/models/{name}"),
    "metadata": ("GET", "/v1/models/{name}/metadata"),
    "predict": ("POST", "/v1/models/{name}:predict"),
    "classify": ("POST", "/v1/models/{name}:classify"),
    "regress": ("POST", "/v1/models/{name}:regress"),
    "metrics": ("GET", "/monitoring/prometheus/metrics"),
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

# CPU flags (the kernel's spelling) that make TensorFlow switch oneDNN's operations on by itself. Source: github.com/tensorflow/tensorflow pull request 56039.
ONEDNN_DEFAULT_FLAGS = ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16")

# The lowest compiler that knows a -march value: {value: {compiler: version}}. Source: archspec 0.2.7 (microarchitectures.json).
MARCH_COMPILERS = {
    "haswell": {"gcc": (4, 9), "clang": (3, 9)},
    "skylake-avx512": {"gcc": (6, 0), "clang": (3, 9)},
    "cascadelake": {"gcc": (9, 0), "clang": (8, 0)},
    "icelake-server": {"gcc": (8, 0), "clang": (7, 0)},
    "sapphirerapids": {"gcc": (11, 0), "clang": (12, 0)},
    "znver2": {"gcc": (9, 0), "clang": (9, 0)},
    "znver3": {"gcc": (10, 3), "clang": (12, 0)},
    "znver4": {"gcc": (12, 3), "clang": (16, 0)},
    "znver5": {"gcc": (14, 1), "clang": (19, 1)},
    "x86-64-v2": {"gcc": (11, 1), "clang": (12, 0)},
    "x86-64-v3": {"gcc": (11, 1), "clang": (12, 0)},
    "x86-64-v4": {"gcc": (11, 1), "clang": (12, 0)},
}

# The psABI level that code for a -march value needs. Source: GCC's documentation of -march; the x86-64 psABI.
MARCH_LEVELS = {
    "x86-64": "x86-64-v1", "x86-64-v2": "x86-64-v2", "x86-64-v3": "x86-64-v3", "x86-64-v4": "x86-64-v4", "haswell": "x86-64-v3", "broadwell": "x86-64-v3",
    "znver1": "x86-64-v3", "znver2": "x86-64-v3", "znver3": "x86-64-v3", "znver4": "x86-64-v4", "znver5": "x86-64-v4", "skylake": "x86-64-v3",
    "skylake-avx512": "x86-64-v4", "cascadelake": "x86-64-v4", "icelake-server": "x86-64-v4", "sapphirerapids": "x86-64-v4", "nehalem": "x86-64-v2",
    "sandybridge": "x86-64-v2", "ivybridge": "x86-64-v2",
}

# The official images. Source: SERVING/tools/docker/Dockerfile*; amd64 only: github.com/tensorflow/serving issues 1750 and 1948.
IMAGES = {"repository": "tensorflow/serving", "cpu": "", "gpu": "-gpu", "mkl": "-mkl", "architectures": ("x86_64",)}

# CPU flags (the kernel's spelling) that a compiler option makes the program need. Source: GCC's documentation of x86 options.
COPT_FLAGS = {
    "-msse4.2": ("sse4_2",), "-mavx": ("avx",), "-mavx2": ("avx2",), "-mfma": ("fma",), "-mf16c": ("f16c",), "-mbmi": ("bmi1",), "-mbmi2": ("bmi2",),
    "-mlzcnt": ("abm",), "-mmovbe": ("movbe",), "-mpopcnt": ("popcnt",), "-mcx16": ("cx16",), "-mavx512f": ("avx512f",), "-mavx512bw": ("avx512bw",),
    "-mavx512cd": ("avx512cd",), "-mavx512dq": ("avx512dq",), "-mavx512vl": ("avx512vl",), "-mavx512vnni": ("avx512_vnni",),
    "-mavx512bf16": ("avx512_bf16",), "-mavxvnni": ("avx_vnni",),
}

# Compiler options of an own build for a psABI level; single options, because the compilers of many releases do not know -march=x86-64-v3.
# The release configuration brings AVX, which a v1 or v2 host may lack: there the options stand alone.
LEVEL_OPTIONS = {
    "x86-64-v1": "--copt=-O3",
    "x86-64-v2": "--copt=-msse4.2 --copt=-mpopcnt --copt=-mcx16 --copt=-O3",
    "x86-64-v3": "--config=release --copt=-mavx2 --copt=-mfma --copt=-mbmi --copt=-mbmi2 --copt=-mf16c --copt=-mlzcnt --copt=-mmovbe --copt=-O3",
    "x86-64-v4": "--config=release --copt=-mavx2 --copt=-mfma --copt=-mbmi --copt=-mbmi2 --copt=-mf16c --copt=-mlzcnt --copt=-mmovbe "
                 "--copt=-mavx512f --copt=-mavx512bw --copt=-mavx512cd --copt=-mavx512dq --copt=-mavx512vl --copt=-O3",
    "aarch64": "--config=mkl_aarch64",
}
