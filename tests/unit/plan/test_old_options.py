# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options as articles spell them: what each line means today, and how it joins what the request says itself (docs/traps.md)."""

from __future__ import annotations

import pytest

from ansible_collections.tfserving.fleet.plugins.module_utils.plan import options

REQUEST = {"options": [], "flags": {}, "models": [], "build": False, "build_options": None, "version": None, "gpu": "auto", "cpus": None}
BUILD = ("the argument replaces the default --config=release, and --config=nativeopt binds the image to the machine that builds it")
BRANCH = "since 2.5 the branch is a label: the commit selects the sources, and an own build pins both to the release"
CLI = "optimize: tensorrt for the model: --precision_mode FP16 with --max_workspace_size_bytes set, the engines built on the GPU that serves them"
SWAPPED = "the two descriptions are swapped in many articles"
BLANK = "a value after a blank is ignored by the server: it takes --flag=value only"
QUOTA = "TensorFlow does not see a CFS quota and would start threads for every CPU of the host"
SET = "the plan chooses which CPUs, among those that this host's processes may use"


def build(value):
    return (f"tfserving_build: true with tfserving_build_options: {value}", BUILD, {"build": True, "build_options": value})


MEANINGS = {
    "max_enqueued_batches = batches processed concurrently": (
        "max_enqueued_batches is the length of the queue per signature and version; a full queue answers UNAVAILABLE. How many batches run at once is "
        "num_batch_threads", SWAPPED, {}),
    " num_batch_threads: queue": ("num_batch_threads is how many batches run at once over all models of the server. How many may wait is max_enqueued_batches",
                                  SWAPPED, {}),
    "TF_SERVING_BUILD_OPTIONS=--config=nativeopt": build("--config=nativeopt"),
    '--build-arg TF_SERVING_BUILD_OPTIONS="--copt=-mavx2 --copt=-O3"': build("--copt=-mavx2 --copt=-O3"),
    "--build-arg=TF_SERVING_BUILD_OPTIONS='-O3'": build("-O3"),
    "--config=nativeopt": build("--config=nativeopt"), "--copt=-march=native": build("--copt=-march=native"),
    "TF_SERVING_BUILD_OPTIONS": None,
    "TF_SERVING_VERSION_GIT_BRANCH=r2.4": ("tfserving_version: 2.4", BRANCH, {"version": "2.4"}),
    "--build-arg TF_SERVING_VERSION_GIT_COMMIT=v2.17.1": ("tfserving_version: 2.17.1", BRANCH, {"version": "2.17.1"}),
    "TF_SERVING_VERSION_GIT_COMMIT=2.17.1-rc0": ("tfserving_version, with a release", BRANCH, {}),
    "TF_SERVING_VERSION_GIT_BRANCH": None,
    "TF_SERVING_BUILD_IMAGE=mine": ("nothing: the recipe of an own build names its own devel image",
                                    "without it the runtime image would take the official latest-devel", {}),
    "TF_SERVING_BUILD_IMAGE": None,
    "saved_model_cli convert --dir m tensorrt --max_batch_size 1 --is_dynamic_op True": (
        CLI, "--max_batch_size and --is_dynamic_op no longer exist and end the command", {"optimize": "tensorrt"}),
    "saved_model_cli convert --dir m tensorrt --is_dynamic_op True": (CLI, "--is_dynamic_op no longer exist and end the command", {"optimize": "tensorrt"}),
    "saved_model_cli convert --dir m tensorrt": (CLI, "the command builds no engine and gives 2 MiB of workspace", {"optimize": "tensorrt"}),
    "saved_model_cli show --dir m": None, "convert tensorrt": None,
    "--runtime=nvidia": ("tfserving_gpu: require (--gpus all)", "that runtime is of nvidia-docker 2, archived in 2024; engines hand out GPUs themselves since "
                         "Docker 19.03", {"gpu": "require"}),
    "--runtime nvidia": ("tfserving_gpu: require (--gpus all)", "that runtime is of nvidia-docker 2, archived in 2024; engines hand out GPUs themselves since "
                         "Docker 19.03", {"gpu": "require"}),
    "--gpus all": ("tfserving_gpu: require", "the plan names the devices itself", {"gpu": "require"}),
    "--gpus=1": ("tfserving_gpu: require", "the plan names the devices itself", {"gpu": "require"}),
    "--cpuset-cpus=0-2,8": ("tfserving_cpus: 4 (a CPU set)", SET, {"cpus": 4.0}), "--cpuset-cpus 5": ("tfserving_cpus: 1 (a CPU set)", SET, {"cpus": 1.0}),
    "--cpus=2.5": ("tfserving_cpus: 2.5 (a CPU set)", QUOTA, {"cpus": 2.5}), "--cpus 4": ("tfserving_cpus: 4 (a CPU set)", QUOTA, {"cpus": 4.0}),
    "--port=9000": ("--port=9000", "a server flag", {"flags": {"port": 9000}}),
    "--port 9000": ("--port=9000", BLANK, {"flags": {"port": 9000}}), "--model_name='m'": ("--model_name=m", "a server flag", {"flags": {"model_name": "m"}}),
    "--port=x": ("--port=x", "a server flag", {"flags": {"port": "x"}}), "--unknown=1": ("--unknown=1", "a server flag", {"flags": {"unknown": "1"}}),
    "--per_process_gpu_memory_fraction=0.5": ("--per_process_gpu_memory_fraction=0.5", "a server flag", {"flags": {"per_process_gpu_memory_fraction": 0.5}}),
    "--num_tflite_interpreters=4": ("--num_tflite_pools=4", "never released under this name; under the old name it is ignored without an error",
                                    {"flags": {"num_tflite_pools": 4}}),
    "--use_tflite_model=true": ("optimize: tflite_dynamic_range for the models, which sets --prefer_tflite_model=true",
                                "renamed in 2.3.0; under the old name it is ignored without an error",
                                {"flags": {"prefer_tflite_model": True}, "optimize": "tflite_dynamic_range"}),
    "--prefer_tflite_model=false": ("--prefer_tflite_model=false", "a server flag", {"flags": {"prefer_tflite_model": False}}),
    "hello": None, "-port=1": None, "--": None, "": None,
}


@pytest.mark.parametrize("line", MEANINGS)
def test_what_a_line_means_today(line):
    found = options.translate(line)
    assert (found and (found.today, found.reason, found.sets)) == MEANINGS[line]


@pytest.mark.parametrize(("text", "value"), [("", True), ("=true", True), ("=True", True), ("=1", True), ("=false", False), ("=False", False), ("=0", False),
                                             ("=yes", "yes"), ("=TRUE", "TRUE")])
def test_a_switch_of_the_server(text, value):
    assert options.translate(f"--enable_batching{text}").sets == {"flags": {"enable_batching": value}}


@pytest.mark.parametrize("line", ["--cpuset-cpus=3-1", "--cpuset-cpus=0-99999999", "--cpuset-cpus=a", "--cpuset-cpus="])
def test_a_cpu_set_that_is_none_means_nothing(line):
    assert options.translate(line) is None


@pytest.mark.parametrize("text", ["x", "2.", "2 "])
def test_a_number_of_cpus_that_is_none_is_no_option_of_docker(text):
    assert options.translate(f"--cpus={text}x").sets == {"flags": {"cpus": f"{text}x"}}


def understood(*lines, **request):
    wanted, answers, refusals = options.understand(dict(REQUEST, options=list(lines), **request))
    return {key: value for key, value in wanted.items() if key != "options" and value != REQUEST[key]}, answers, refusals


def test_lines_become_the_requests_own_keys():
    wanted, answers, refusals = understood("--port=9000", "--cpus=2", "--runtime=nvidia", "TF_SERVING_VERSION_GIT_BRANCH=2.17.1", "--copt=-O3")
    assert wanted == {"flags": {"port": 9000}, "cpus": 2.0, "gpu": "require", "version": "2.17.1", "build": True, "build_options": "--copt=-O3"}
    assert [answer["given"] for answer in answers] == ["--port=9000", "--cpus=2", "--runtime=nvidia", "TF_SERVING_VERSION_GIT_BRANCH=2.17.1", "--copt=-O3"]
    assert answers[0] == {"given": "--port=9000", "today": "--port=9000", "reason": "a server flag"} and refusals == []


def test_the_requests_own_keys_win_over_lines():
    wanted, _answers, _refusals = understood("--port=9000", "--cpus=2", "--gpus all", "--num_load_threads=2", flags={"port": 1}, cpus=3, gpu="none")
    assert wanted == {"flags": {"port": 1, "num_load_threads": 2}, "cpus": 3, "gpu": "none"}
    assert understood("--port=1", "--port=2")[0] == {"flags": {"port": 1}}


def test_a_line_on_the_form_reaches_the_models_that_leave_it_open():
    models = [{"name": "a"}, {"name": "b", "optimize": "auto"}, {"name": "c", "optimize": "none"}, "odd"]
    assert understood("--use_tflite_model", models=models)[0]["models"] == [
        {"name": "a", "optimize": "tflite_dynamic_range"}, {"name": "b", "optimize": "tflite_dynamic_range"}, {"name": "c", "optimize": "none"}, "odd"]


def test_a_line_that_means_nothing_is_refused_and_the_others_count():
    wanted, answers, (refusal,) = understood("hello", "--port=9000")
    assert wanted == {"flags": {"port": 9000}} and len(answers) == 1
    assert refusal == {"subject": "option hello", "reason": "it is no server flag, docker run option, build argument or saved_model_cli line",
                       "remedy": "Leave it out of tfserving_options", "change": {"options": ["--port=9000"]}}
    assert understood(9000)[2][0]["subject"] == "option 9000"


@pytest.mark.parametrize(("change", "left"), [
    ({"flags": {"port": 1}}, ["--cpus=2", "--use_tflite_model", "hello"]),
    ({"flags": {"rest_api_port": 1}}, ["--port=9000", "--cpus=2", "--use_tflite_model", "hello"]),
    ({"cpus": 4}, ["--port=9000", "--use_tflite_model", "hello"]), ({"models": {"a": {"optimize": "none"}}}, ["--port=9000", "--cpus=2", "hello"]),
    ({"models": []}, ["--port=9000", "--cpus=2", "--use_tflite_model", "hello"]),
    ({"flags": {"prefer_tflite_model": None}}, ["--port=9000", "--cpus=2", "hello"]),
    ({}, ["--port=9000", "--cpus=2", "--use_tflite_model", "hello"])])
def test_a_correction_replaces_the_lines_that_said_otherwise(change, left):
    assert options.without(["--port=9000", "--cpus=2", "--use_tflite_model", "hello"], change) == left
