# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables, build arguments, old commands and flags on the lines of a request, and what of them gives way to what.

Sources: tf_serving_entrypoint.sh and Dockerfile.devel of tensorflow/serving; saved_model_cli of TensorFlow 2.20; main.cc for the spelling of flags.
"""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.tests.unit.plan.test_docker_run import options, planned, understood


@pytest.mark.parametrize(
    "line",
    [
        "-e MODEL_NAME=m",
        "MODEL_NAME=m",
        "MODEL_BASE_PATH=/models",
        "-e MODEL_BASE_PATH=/x",
        "--model_name=m",
        "--model_base_path=/models/m",
        "--model_name=${MODEL_NAME}",
    ],
)
def test_what_names_a_model_of_the_request_stands_for_it(line):
    choice, reason, serve = understood(line)
    assert choice == "tfserving_models, with name and source" and "published on the host" in reason and serve == {}


@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        (
            "MODEL_NAME=other",
            "the model 'other' is not in tfserving_models",
            "tfserving_models: [{name: other, source: …}]",
        ),
        ("MODEL_BASE_PATH=s3://b/m", "s3://b/m cannot be read", "set source: s3://b/m in tfserving_models"),
        ("--model_base_path=s3://b/m", "s3://b/m cannot be read", "set source: s3://b/m in tfserving_models"),
        ("--model_name=other", "the collection sets --model_name itself", "set name in tfserving_models"),
        ("--model_config_file=/m", "the collection sets --model_config_file", "set tfserving_models"),
        ("--model_config_file /m", "the collection sets --model_config_file", "set tfserving_models"),
        (
            "--batching_parameters_file=/b",
            "--batching_parameters_file",
            "batching in tfserving_models to the parameters in the file",
        ),
        ("--monitoring_config_file=/b", "--monitoring_config_file", "tfs_server_monitoring: true"),
        (
            "--tensorflow_session_config_file=/b",
            "--tensorflow_session_config_file",
            "tfs_server_session_config_file, a path",
        ),
        ("--ssl_config_file=/b", "--ssl_config_file", "tfs_server_ssl_config_file, a path on the host"),
        ("--grpc_socket_path=/b", "--grpc_socket_path", "tfs_server_grpc_socket_directory, a folder"),
        ("--version", "--version", "nothing instead"),
        ("--num_load_threads=$N", "the value of --num_load_threads contains $N", "write the value in its place"),
        ("--num_load_threads=${N}", "the value of --num_load_threads contains ${N}", "write the value in its place"),
        (
            "--saved_model_tags=$(hostname)",
            "the value of --saved_model_tags contains $(",
            "write the value in its place",
        ),
        ("--saved_model_tags=`hostname`", "the value of --saved_model_tags contains `", "write the value in its place"),
        ("A=$B", "the value of A contains $B", "write the value in its place"),
        ("MY_TOKEN=x", "MY_TOKEN looks like a secret", "set MY_TOKEN in tfs_server_secret_environment, from a vault"),
        # strtol and strtod read no underscores, Python does.
        (
            "--no.flag=1",
            "it is not a server flag, docker run option, build argument or saved_model_cli line",
            "Leave it out",
        ),
        (
            "nonsense",
            "it is not a server flag, docker run option, build argument or saved_model_cli line",
            "Leave it out",
        ),
    ],
)
def test_what_a_line_is_refused_with(line, reason, remedy):
    made = planned(line)
    (refusal,) = made["refusals"]
    assert reason in refusal["reason"] and remedy in refusal["remedy"] and options(made) == {}
    assert refusal["remedy"].startswith("Leave it out of tfserving_options") and refusal["change"] == {"options": []}


def test_an_underscore_makes_no_number():
    """strtol and strtod, which read a server's flags, stop there; Python alone reads 1_000."""
    (refusal,) = planned("--num_load_threads=1_000")["refusals"]
    assert "'1_000'" in refusal["reason"] and "int" in refusal["reason"]


@pytest.mark.parametrize(
    ("line", "value"),
    [("N=3 X=$N", "3"), ("N=3 X=a${N}b", "a3b"), ("X='a b'", "a b"), ("X=", ""), ("X=a=b", "a=b")],
)
def test_a_variable_of_the_lines_is_put_in_where_they_use_it(line, value):
    made = planned(line)
    assert made["server"]["environment"]["X"] == value
    choice, reason = list(options(made).values())[-1]
    assert choice == f"tfserving_environment: {{X: {value!r}}}" and "environment variable" in reason


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        # main.cc: bool, int, float and string flags.
        *(("enable_model_warmup", text, True) for text in ("=true", "=True", "=1", "", "='true'")),
        *(("enable_model_warmup", text, False) for text in ("=false", "=False", "=0", '="false"')),
        ("num_load_threads", "=3", 3),
        ("num_load_threads", "='3'", 3),
        ("per_process_gpu_memory_fraction", "=0.5", 0.5),
        ("saved_model_tags", "=serve,gpu", "serve,gpu"),
    ],
)
def test_a_flag_has_its_type(flag, text, value):
    made = planned(f"--{flag}{text}")
    found = made["server"]["flags"][flag]
    assert (type(found), found) == (type(value), value)
    spelt = str(value).lower() if isinstance(value, bool) else str(value)
    assert options(made) == {f"--{flag}{text}": (f"--{flag}={spelt}", "a server flag")}


@pytest.mark.parametrize(("flag", "text"), [("num_load_threads", "many"), ("enable_model_warmup", "perhaps")])
def test_a_value_of_another_type_is_refused_as_it_is(flag, text):
    (refusal,) = planned(f"--{flag}={text}")["refusals"]
    assert refusal["subject"] == f"flag {flag}" and repr(text) in refusal["reason"]


def test_a_flag_says_what_is_special_of_it():
    assert "accepts only --flag=value" in understood("--num_load_threads 3")[1]
    old = planned("--num_tflite_interpreters=3")
    assert old["server"]["flags"]["num_tflite_pools"] == 3
    ((choice, reason),) = options(old).values()
    assert choice == "--num_tflite_pools=3" and "never released" in reason and "silently ignores" in reason


@pytest.mark.parametrize("flag", ["prefer_tflite_model", "use_tflite_model"])
def test_the_flag_of_tensorflow_lite_converts_the_models_that_leave_it_open(flag):
    models = [{"name": "a"}, {"name": "b", "optimize": "none"}, {"name": "c", "optimize": "auto"}]
    made = planned(f"--{flag}=true", models=models)
    assert [model["form"] for model in made["models"]] == [
        "tflite_dynamic_range",
        "saved_model",
        "tflite_dynamic_range",
    ]
    assert made["server"]["flags"]["prefer_tflite_model"] is True
    assert "optimize: tflite_dynamic_range" in options(made)[f"--{flag}=true"][0]
    off = planned(f"--{flag}=false", models=models)
    assert {model["form"] for model in off["models"]} == {"saved_model"}


@pytest.mark.parametrize(
    ("line", "build_options"),
    [
        ("--build-arg TF_SERVING_BUILD_OPTIONS=--copt=-mavx2", "--copt=-mavx2"),
        ("--build-arg=TF_SERVING_BUILD_OPTIONS='--copt=-mavx2 --copt=-O3'", "--copt=-mavx2 --copt=-O3"),
        ("TF_SERVING_BUILD_OPTIONS=--copt=-O3", "--copt=-O3"),
        ("- --build-arg TF_SERVING_BUILD_OPTIONS=--copt=-O3 \\", "--copt=-O3"),
        ("--copt=-mavx2", "--copt=-mavx2"),
        ("--config=release", "--config=release"),
    ],
)
def test_build_options_build_an_image(line, build_options):
    made = planned(line, version="2.20.0")
    assert made["build"] is not None and made["refusals"] == []
    ((choice, reason),) = options(made).values()
    assert (
        choice == f"tfserving_build: true with tfserving_build_options: {build_options}"
        and "--config=release" in reason
    )


@pytest.mark.parametrize("name", ["TF_SERVING_VERSION_GIT_BRANCH", "TF_SERVING_VERSION_GIT_COMMIT"])
@pytest.mark.parametrize(
    ("value", "release"), [("r2.19", "2.19.1"), ("2.18.0", "2.18.0"), ("v2.17.1", "2.17.1"), ("master", None)]
)
def test_the_branch_or_commit_of_a_build_is_a_release(name, value, release):
    made = planned(f"--build-arg {name}={value}")
    ((choice, reason),) = options(made).values()
    assert choice == (f"tfserving_version: {value.strip('rv')}" if release else "tfserving_version, with a release")
    assert "commit selects the sources" in reason and made["refusals"] == []
    assert made["release"] == (release or planned()["release"])


def test_the_devel_image_of_a_build_is_that_of_the_recipe():
    choice, reason, _serve = understood("--build-arg TF_SERVING_BUILD_IMAGE=tensorflow/serving:2.19.1-devel")
    assert choice.startswith("nothing") and "latest-devel" in reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "builds no engine"),
        ("--max_batch_size 8", "--max_batch_size no longer exist"),
        ("--is_dynamic_op True", "--is_dynamic_op no longer exist"),
        ("--max_batch_size 8 --is_dynamic_op True", "--max_batch_size and --is_dynamic_op no longer exist"),
    ],
)
def test_a_conversion_by_saved_model_cli_is_a_form(words, reason):
    line = f"saved_model_cli convert --dir /m --output_dir /t --tag_set serve tensorrt {words}".strip()
    made = planned(line, models=[{"name": "a"}, {"name": "b", "optimize": "none"}])
    ((choice, why),) = options(made).values()
    assert choice.startswith("optimize: tensorrt") and "--max_workspace_size_bytes" in choice and reason in why
    assert [one["subject"] for one in made["refusals"]] == ["model a: variant"]
    assert "option saved_model_cli" in [one["subject"] for one in planned("saved_model_cli show --dir /m")["refusals"]]


@pytest.mark.parametrize(
    ("name", "word"),
    [("max_enqueued_batches", "length of the queue"), ("num_batch_threads", "how many batches run at once")],
)
def test_a_description_of_batching_is_put_right(name, word):
    choice, reason, _serve = understood(f"{name} is the number of threads")
    assert name in choice and word in choice and "swap" in reason


@pytest.mark.parametrize(
    ("lines", "request_", "warning"),
    [
        (
            ["--num_load_threads=1"],
            {"flags": {"num_load_threads": 2}},
            "tfserving_flags sets num_load_threads to 2 and",
        ),
        (["A=b"], {"environment": {"A": "c"}}, "tfserving_environment sets A to c and tfserving_options to b"),
        (
            ["tensorflow/serving:2.19.1"],
            {"version": "2.20.0"},
            "tfserving_version is 2.20.0 and tfserving_options sets 2.19.1",
        ),
        (["--cpus=2"], {"cpus": 3}, "tfserving_cpus is 3 and tfserving_options sets 2"),
        (
            ["image: a/b:1"],
            {"image": "c/d:2", "version": "2.20.0"},
            "tfserving_image is c/d:2 and tfserving_options sets a/b:1",
        ),
        (["--cpus=2", "--cpus=3"], {}, "sets cpus twice, 2.0 and 3.0: the later one, --cpus=3, applies"),
        (["A=b", "A=c"], {}, "sets A twice, b and c: the later one, A=c, applies"),
        (["-m 1g", "-m 2g"], {}, "sets memory_mib twice, 1024 and 2048: the later one, -m 2g, applies"),
        (
            ["--enable_model_warmup", "--enable_model_warmup=false"],
            {},
            "sets enable_model_warmup twice, true and false",
        ),
    ],
)
def test_what_holds_where_two_say_otherwise(lines, request_, warning):
    assert [text for text in planned(*lines, **request_)["warnings"] if warning in text]
    same = planned(lines[0], lines[0])["warnings"]
    assert not [text for text in same if "twice" in text or "tfserving_options says" in text]


def test_what_says_the_same_is_no_conflict():
    for line, request_ in (
        ("--enable_model_warmup=true", {"flags": {"enable_model_warmup": True}}),
        ("A=1", {"environment": {"A": 1}}),
        ("--cpus=2", {"cpus": 2.0}),
        ("tensorflow/serving:2.19.1", {"version": "2.19.1"}),
        ("--gpus=all", {"gpu": "require"}),
    ):
        assert not [text for text in planned(line, **request_)["warnings"] if "applies" in text], line
