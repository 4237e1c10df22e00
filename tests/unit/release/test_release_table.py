# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions to the release table, their answers taken from upstream's files and the vendors' documents by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "tools" / "release-table"


@pytest.mark.parametrize(
    ("release", "row"),
    [
        ("2.20.0", "2.20.0"),
        ("v2.20.0", "2.20.0"),
        ("2.20", "2.20.0"),
        ("2.17", "2.17.1"),
        ("2.4", "2.4.4"),
        ("2.21.0", "2.21.0"),
        ("3.0", "3.0.0"),
    ],
)
def test_the_release_that_a_name_means(release, row):
    assert questions.nearest(release) == row


def test_a_release_newer_than_the_table_has_its_last_row():
    assert questions.is_newer_than_table("2.21.0") and not questions.is_newer_than_table("2.20.0")
    assert questions.row("2.21.0") == questions.row("2.20.0")


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("2.15.0", "2.15.1"),
        ("2.5.0", "2.5.1, 2.5.2"),
        ("1.15.0", "2.4, 2.5"),
        ("2.3.4", "2.4"),
        ("latest", "2.20"),
        ("", "2.20"),
        ("2", "2.20"),
        ("2.20.0-gpu", "2.20"),
    ],
)
def test_unknown_releases_name_the_known_ones(release, known):
    with pytest.raises(FleetError) as fault:
        questions.nearest(release)
    assert known in str(fault.value) and "tfserving_version" in str(fault.value)


# Observed on a real 2.20.0 server's --help, with 2 CPUs.
HELP_2_20 = """port=8500 grpc_socket_path= rest_api_port=0 rest_api_timeout_in_ms=30000 rest_api_enable_cors_support=false enable_batching=false
allow_version_labels_for_unavailable_models=false batching_parameters_file= enable_per_model_batching_parameters=false model_config_file=
model_config_file_poll_wait_seconds=0 model_name=default model_base_path= num_load_threads=0 num_unload_threads=0 max_num_load_retries=5
load_retry_interval_micros=60000000 file_system_poll_wait_seconds=1 flush_filesystem_caches=true tensorflow_session_parallelism=0
tensorflow_session_config_file= tensorflow_intra_op_parallelism=0 tensorflow_inter_op_parallelism=0 use_alts_credentials=false ssl_config_file=
platform_config_file= per_process_gpu_memory_fraction=0 saved_model_tags=serve grpc_channel_arguments= enable_model_warmup=true
num_request_iterations_for_warmup=0 version=false monitoring_config_file= remove_unused_fields_from_bundle_metagraph=true prefer_tflite_model=false
num_tflite_interpreters_per_pool=1 enable_signature_method_name_check=false xla_cpu_compilation_enabled=false
xla_gpu_compilation_enabled=false enable_profiler=true thread_pool_factory_config_file= mixed_precision= skip_initialize_tpu=false
enable_grpc_healthcheck_service=false enable_serialization_as_tensor_content=false"""


def test_flags_and_defaults_of_a_real_server():
    shown = dict(word.split("=") for word in HELP_2_20.split())
    known = questions.flags("2.20.0")
    assert set(known) - set(shown) == {"rest_api_num_threads", "grpc_max_threads", "num_tflite_pools"}
    assert len(known) == 48
    for name, text in shown.items():
        kind, default = known[name]
        assert text == (
            str(default).lower() if kind == "bool" else f"{default:g}" if kind == "float" else str(default)
        ), name


@pytest.mark.parametrize(
    ("flag", "last_without", "first_with"),
    [
        ("enable_profiler", "2.4.4", "2.5.1"),
        ("grpc_max_threads", "2.4.4", "2.5.1"),
        ("use_alts_credentials", "2.5.4", "2.6.0"),
        ("tensorflow_session_config_file", "2.7.4", "2.8.0"),
        ("enable_per_model_batching_parameters", "2.10.1", "2.11.0"),
        ("mixed_precision", "2.14.1", "2.15.1"),
        ("xla_gpu_compilation_enabled", "2.17.1", "2.18.0"),
        ("enable_serialization_as_tensor_content", "2.18.1", "2.19.0"),
    ],
)
def test_when_flags_appeared(flag, last_without, first_with):
    assert flag not in questions.flags(last_without) and flag in questions.flags(first_with)
    problem = questions.check_flags(last_without, {flag: questions.flags(first_with)[flag][1]})[0]
    assert first_with in problem["reason"] and problem["change"] == {flag: None}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rest_api_port", "8501", "not of type int"),
        ("rest_api_port", True, "not of type int"),
        ("rest_api_port", 70000, "above 65535"),
        ("enable_batching", "true", "bool"),
        ("max_num_load_retry", 0, "did you mean max_num_load_retries"),
        ("per_process_gpu_memory_fraction", 1.5, "above 1.0"),
        ("use_tflite_model", True, "renamed in 2.3.0"),
        ("mixed_precision", "float16", "have no effect"),
        ("rest_api_num_threads", 1, "never answers"),
    ],
)
def test_flags_that_a_server_would_not_honour(name, value, words):
    (problem,) = questions.check_flags("2.20.0", {name: value})
    assert words in problem["reason"] and problem["remedy"]


def test_flags_that_are_right():
    right = {
        "port": 0,
        "per_process_gpu_memory_fraction": 1,
        "mixed_precision": "bfloat16",
        "model_name": "m",
        "enable_batching": True,
    }
    assert questions.check_flags("2.20.0", right) == []


@pytest.mark.parametrize(
    ("release", "compute", "driver", "supported", "jit", "best"),
    [
        ("2.20.0", (9, 0), 550, True, False, "2.20.0"),
        ("2.20.0", (8, 9), 550, True, False, "2.20.0"),
        ("2.20.0", (7, 5), 550, True, False, "2.20.0"),
        ("2.20.0", (10, 0), 580, True, True, "2.20.0"),
        ("2.20.0", (5, 2), 550, False, False, "2.19.1"),
        ("2.19.1", (5, 2), 550, True, False, "2.19.1"),
        ("2.20.0", (3, 5), 470, False, False, "2.14.1"),
        ("2.14.1", (3, 5), 470, True, False, "2.14.1"),
        ("2.14.1", (9, 0), 550, True, True, "2.20.0"),
        ("2.20.0", (8, 0), 470, False, False, "2.14.1"),
        ("2.20.0", (8, 0), None, True, False, "2.20.0"),
        ("2.15.1", (8, 6), 525, True, False, "2.20.0"),
        ("2.20.0", (2, 0), 390, False, False, None),
        ("2.4.0", (8, 0), 450, True, False, "2.14.1"),
        ("2.20.0", None, 550, False, False, None),
    ],
)
def test_gpus(release, compute, driver, supported, jit, best):
    answer = questions.gpu_support(release, compute, driver)
    assert (answer["supported"], answer["just_in_time"]) == (supported, jit)
    assert (answer["releases"][-1] if answer["releases"] else None) == best
    assert bool(answer["remedy"]) is not supported


@pytest.mark.parametrize(
    ("release", "compute", "supported"),
    [
        ("2.17.1", (8, 0), True),
        ("2.18.0", (8, 0), False),
        ("2.20.0", (8, 0), False),
        ("2.17.1", (10, 0), False),
        ("2.14.1", (7, 5), True),
        ("2.17.1", None, False),
    ],
)
def test_tensorrt(release, compute, supported):
    assert questions.tensorrt_support(release, compute)["supported"] is supported


def test_every_cell_has_a_value_and_a_source_at_every_release():
    for name in (*table.READ, *table.DERIVED):
        for release in table.RELEASES:
            questions.cell(name, release)
            assert questions.source(name, release)
    assert questions.source("cuda", "2.19.1") == "tensorflow_serving/tools/docker/Dockerfile.devel-gpu@2.15.1"
    assert all("@" in questions.source(name, "2.20.0") for name in (*table.FLAGS, *table.BATCHING_FIELDS))
    assert questions.source("mixed_precision", "2.20.0") == "tensorflow_serving/model_servers/main.cc@2.15.1"


def test_histories_name_releases_of_the_table_in_order():
    for name, (_source, history) in {**table.READ, **table.DERIVED}.items():
        positions = [table.RELEASES.index(first) for first, _value in history]
        assert positions == sorted(set(positions)), name
        assert all(later[1] != earlier[1] for earlier, later in zip(history, history[1:])), (
            f"{name}: a change that changes nothing"
        )
    assert all(first in table.RELEASES for _kind, _default, first, _last in table.FLAGS.values())


# Flags that main.cc keeps in variables of its own.
LOCAL = dict(
    {name: name for name in ("xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled")}, version="display_version"
)


@pytest.fixture
def upstream(tmp_path):
    """A small repository with upstream's paths, whose tag 2.20.0 says of everything what the table says."""
    row = questions.row("2.20.0")
    files = {
        "tensorflow_serving/model_servers/main.cc": "".join(f"bool {name} = false;\n" for name in LOCAL.values())
        + "\n".join(
            f'tensorflow::Flag("{name}",\n &{LOCAL.get(name, f"options.{name}")}, "..."),' for name in row["flags"]
        ),
        "tensorflow_serving/model_servers/server.h": "\n".join(
            _member(name, *cell) for name, cell in row["flags"].items() if name not in LOCAL
        ),
        "tensorflow_serving/model_servers/server.cc": "Server::Options::Options()\n"
        '    : model_name("default"),\n      saved_model_tags(tensorflow::kSavedModelTagServe) {}\n'
        "builder.RegisterService(model_service_.get());\nbuilder.RegisterService(prediction_service_.get());\n"
        "builder.RegisterService(profiler_service_.get());\n::grpc::EnableDefaultHealthCheckService(true);\n",
        "tensorflow_serving/model_servers/version.h": '#define TF_MODELSERVER_VERSION_SUFFIX ""\n',
        "tensorflow_serving/servables/tensorflow/session_bundle_config.proto": "message BatchingParameters {\n"
        + "".join(f"  {kind} {name} = {number};\n" for name, (number, kind) in row["batching_fields"].items())
        + "}\n",
        "tensorflow_serving/tools/docker/Dockerfile": f"ARG TF_SERVING_BUILD_IMAGE={row['build_image_default']}\nEXPOSE 8500\nEXPOSE 8501\n"
        "ENV MODEL_BASE_PATH=/models\n",
        "tensorflow_serving/tools/docker/Dockerfile.gpu": "RUN apt-get install cuda-compat-12-5\n",
        "WORKSPACE": "".join(
            f'register_toolchains("@rules_ml_toolchain//cc_toolchain:{name}")\n' for name in row["hermetic_toolchains"]
        ),
        "tensorflow_serving/servables/tensorflow/tflite_session.cc": "case kTfLiteNoType:\n"
        + "".join(f"case kTfLite{name.capitalize()}:\n" for name in row["tflite_types"]),
        "tensorflow_serving/servables/tensorflow/saved_model_bundle_factory.cc": 'const char kTfLiteModelFilename[] = "model.tflite";\n'
        'if (mixed_precision_value == "bfloat16") {}\n',
        "tensorflow_serving/servables/tensorflow/util.cc": '"/tensorflow/serving/request_count"\n',
        "tensorflow_serving/model_servers/http_rest_api_util.cc": "".join(
            f'R"((?i){path})"\n' for path in row["rest_paths"]
        ),
        "tensorflow_serving/util/prometheus_exporter.cc": '"/monitoring/prometheus/metrics"\n',
        "tensorflow_serving/tools/docker/Dockerfile.devel": f"FROM {row['cpu_base']}@sha256:00 as base_build\nARG TF_SERVING_VERSION_GIT_BRANCH=master\n"
        f"ARG TF_SERVING_VERSION_GIT_COMMIT=HEAD\nRUN apt-get install python{row['devel_python']}-dev && curl -O https://bootstrap.pypa.io/get-pip.py\n"
        f'ENV BAZEL_VERSION {row["bazel"]}\nARG TF_SERVING_BUILD_OPTIONS="{row["build_options"]}"\nARG TF_SERVING_BAZEL_OPTIONS=""\n',
        "tensorflow_serving/tools/docker/Dockerfile.devel-mkl": f'ARG TF_SERVING_BUILD_OPTIONS="{row["build_options_mkl"]}"\n',
        "tensorflow_serving/tools/docker/Dockerfile.devel-gpu": f"FROM {row['gpu_base']} as base_build\nENV CUDNN_VERSION={row['cudnn']}.75\n"
        f"ENV TF_TENSORRT_VERSION={row['tensorrt_installed']}\nENV CUDA={row['cuda']}\nRUN bazel build --config={row['gpu_config']}\n",
        ".bazelrc": "build:release --copt=-mavx\nbuild:release --copt=-msse4.2\nbuild:mkl --define=build_with_openmp=false\nbuild:mkl_aarch64 --copt=-O3\n"
        f'build --cxxopt=-std=c++17\nbuild:cuda_clang --repo_env=TF_CUDA_COMPUTE_CAPABILITIES="{",".join(row["compute_capabilities"])}"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    _git(tmp_path, "init", "--quiet")
    return tmp_path


def _member(name, kind, default):
    written = {"4 x CPUs": "4.0 * port::NumSchedulableCPUs()", "CPUs": "port::NumSchedulableCPUs()"}.get(
        default, str(default).lower()
    )
    kinds = {"int": "tensorflow::int32", "string": "tensorflow::string"}
    return (
        f"  {kinds.get(kind, kind)} {name};"
        if kind == "string" or default == 0 and kind != "bool"
        else f"  {kinds.get(kind, kind)} {name} = {written};"
    )


def _git(directory, *words):
    subprocess.run(
        ["git", "-C", str(directory), "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
        check=True,
        capture_output=True,
    )


def _tagged(directory, tag):
    _git(directory, "add", "-A")
    _git(directory, "commit", "--quiet", "--allow-empty", "-m", tag)
    _git(directory, "tag", tag)
    return subprocess.run([sys.executable, str(TOOL), str(directory), tag], capture_output=True, text=True, check=False)


def test_the_tool_agrees_with_sources_that_say_the_same(upstream):
    told = _tagged(upstream, "2.20.0")
    assert (told.returncode, told.stdout) == (0, "2.20.0: as in the table\n"), told.stdout + told.stderr


def test_the_tool_shows_what_a_new_release_changes(upstream):
    main = upstream / "tensorflow_serving" / "model_servers" / "main.cc"
    text = main.read_text(encoding="utf-8").replace('Flag("port"', 'Flag("grpc_port"')
    main.write_text(text + 'Flag("enable_new_thing", &options.enable_batching, "")', encoding="utf-8")
    bazelrc = upstream / ".bazelrc"
    bazelrc.write_text(bazelrc.read_text(encoding="utf-8").replace("sm_60,", ""), encoding="utf-8")
    told = _tagged(upstream, "2.21.0")
    assert told.returncode == 1
    assert (
        "flags.port: upstream absent" in told.stdout
        and 'flags.enable_new_thing: upstream ["bool", false], table absent' in told.stdout
    )
    assert f"compute_capabilities: upstream {json.dumps(['sm_70', 'sm_80', 'sm_89', 'compute_90'])}" in told.stdout
    assert "2.21.0: 4 differences" in told.stdout


def test_the_tool_names_a_tag_that_is_not_there(upstream):
    _tagged(upstream, "2.20.0")
    told = subprocess.run(
        [sys.executable, str(TOOL), str(upstream), "9.9.9"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2 and "9.9.9: no such tag" in told.stdout
