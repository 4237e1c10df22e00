# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The traps that a plan decides, one test each. Their numbers and what happens in them: docs/traps.md."""

from __future__ import annotations

import functools

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan as plans
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.desired_server import HostRequest, resolve
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.tests.support.refusals import apply

plan = functools.partial(plans.plan, microarchitectures=microarchitectures.known())

V3 = ["abm", "aes", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "movbe", "pclmulqdq", "popcnt", "sse4_2"]
V4 = sorted([*V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"])
SIGNATURES = {
    "serving_default": {
        "inputs": {"x": {"dtype": "float32", "shape": [None, 8]}},
        "outputs": {"y": {"dtype": "float32", "shape": [None, 2]}},
    }
}


def host(level="x86-64-v3", flags=tuple(V3), gpus=(), cpu=(), container=()):
    return {
        "architecture": "x86_64",
        "cpu": dict(
            {"level": level, "flags": list(flags), "threads": 4, "usable": 4.0, "affinity": "0-3", "quota": None},
            **dict(cpu),
        ),
        "memory": {"usable_mib": 16000},
        "gpus": list(gpus),
        "container": dict(
            {
                "engine": "docker",
                "version": "24.0.7",
                "answers": True,
                "reason": None,
                "runtimes": ["runc"],
                "cdi_directories": [],
            },
            **dict(container),
        ),
        "classes": {"image": level, "tuning": f"{level}-intel-4c-1n"},
    }


def gpu_host(major, minor):
    gpu = {
        "pci_bus_id": "0000:01:00.0",
        "device_id": "10de:2330",
        "driver": "nvidia",
        "driver_version": "550.54",
        "compute": {"major": major, "minor": minor},
    }
    return host(gpus=[gpu], container={"runtimes": ["nvidia", "runc"]})


def request(model=(), **keys):
    return dict({"version": "2.20.0", "models": [dict({"name": "m", "signatures": SIGNATURES}, **dict(model))]}, **keys)


def planned(capabilities, asked):
    """The plan, which must refuse nothing."""
    made = plan(capabilities, asked)
    assert made["refusals"] == []
    return made


def refused(capabilities, asked, subject):
    """The one refusal of the subject; applying its remedy must make it go away."""
    found = [refusal for refusal in plan(capabilities, asked)["refusals"] if refusal["subject"] == subject]
    assert len(found) == 1, plan(capabilities, asked)["refusals"]
    again = plan(capabilities, apply(asked, found[0]["change"]))
    assert subject not in [refusal["subject"] for refusal in again["refusals"]]
    return found[0]


def decision(made, subject):
    return next(item for item in made["decisions"] if item["subject"] == subject)


def warned(made, *words):
    assert any(all(word in text for word in words) for text in made["warnings"]), made["warnings"]


def test_trap_01_sources_are_pinned_to_the_release():
    build = planned(host(), request(build=True, version="2.19.1"))["build"]
    for stage in ("devel", "runtime"):
        assert (
            build[stage]["arguments"]["TF_SERVING_VERSION_GIT_COMMIT"]
            == build["sources"]["commit"]
            == "eab9c3529b785dc685ab8c687f298e67016c8f81"
        )
        assert build[stage]["arguments"]["TF_SERVING_VERSION_GIT_BRANCH"] == "2.19.1"
    assert "sources" in [mend["mend"] for mend in build["mends"]]


def test_trap_02_an_own_build_names_its_instructions():
    options = planned(host(), request(build=True))["build"]["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"].split()
    assert {"--config=release", "--copt=-mavx2", "--copt=-mfma", "--copt=-O3"} <= set(options)
    assert not [option for option in options if "avx512" in option]


def test_one_image_for_several_classes_is_built_for_the_lowest():
    shared = request(build=True, build_for=["x86-64-v2", "x86-64-v3", "x86-64-v4"])
    assert planned(host(), shared)["build"]["level"] == "x86-64-v2"
    fault = refused(host(), request(build=True, build_for=["x86-64-v4"]), "build")
    assert "which this x86-64-v3 CPU cannot run" in fault["reason"] and fault["change"] == {"build_for": []}


def test_trap_03_nativeopt_becomes_the_options_of_the_class():
    for asked in (
        request(options=["TF_SERVING_BUILD_OPTIONS=--config=nativeopt"]),
        request(build=True, build_options="--config=nativeopt"),
        request(build=True, build_options="--config=release --copt=-march=native"),
    ):
        made = planned(host(), asked)
        options = made["build"]["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"]
        assert "native" not in options and "-mavx2" in options and "-mavx512f" not in options
        assert "runs only on CPUs like the builder's" in decision(made, "build options")["reason"]


def test_trap_04_release_configuration_is_kept_and_old_compilers_are_known():
    made = planned(host(), request(build=True, build_options="--copt=-mavx2"))
    assert made["build"]["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"] == "--config=release --copt=-mavx2"
    fault = refused(
        host(),
        request(version="2.19.1", build=True, build_options="--config=release --copt=-march=x86-64-v3"),
        "build options",
    )
    assert "gcc 11.1" in fault["reason"] and "gcc 10.5" in fault["reason"]
    planned(host(), request(version="2.20.0", build=True, build_options="--config=release --copt=-march=x86-64-v3"))
    planned(host(), request(version="2.19.1", build=True, build_options="--config=release --copt=-march=haswell"))


def test_trap_05_a_log_without_the_line_proves_nothing():
    warned(planned(host(), request(environment={"TF_CPP_MIN_LOG_LEVEL": "1"})), "hides the line", "means nothing")
    warned(planned(host(), request(environment={"TF_CPP_MIN_LOG_LEVEL": 3})), "including load errors")
    assert not [
        text
        for text in planned(host(), request(environment={"TF_CPP_MIN_LOG_LEVEL": "0"}))["warnings"]
        if "LOG_LEVEL" in text
    ]


def test_trap_06_releases_whose_tools_refuse_their_python_are_fixed():
    for release, python in (("2.8.4", "3.7"), ("2.13.1", "3.8"), ("2.17.1", "3.9")):
        made = planned(host(), request(version=release, build=True))
        assert [mend["python"] for mend in made["build"]["mends"] if mend["mend"] == "get_pip"] == [python]
        warned(made, f"Python {python}", "no build of")
    assert "get_pip" not in [
        mend["mend"] for mend in planned(host(), request(version="2.20.0", build=True))["build"]["mends"]
    ]


def test_trap_08_the_old_saved_model_cli_line_is_answered():
    line = "saved_model_cli convert --dir in --output_dir out --tag_set serve tensorrt --precision_mode FP32 --max_batch_size 1 --is_dynamic_op True"
    made = planned(gpu_host(8, 0), request(version="2.17.1", options=[line]))
    answer = decision(made, f"option {line}")
    assert "--max_batch_size and --is_dynamic_op no longer exist" in answer["reason"]
    assert "FP16" in answer["choice"] and "--max_workspace_size_bytes" in answer["choice"]
    assert made["models"][0]["form"] == "tensorrt"


def test_trap_09_tf_trt_on_a_server_without_tensorrt():
    fault = refused(gpu_host(8, 0), request({"optimize": "tensorrt"}), "model m: variant")
    assert "2.17.1 was the last with it" in fault["reason"] and "2.17.1" in fault["remedy"]
    assert fault["change"] == {"version": "2.17.1"}


def test_trap_10_engines_are_bound_to_their_gpu():
    made = planned(gpu_host(8, 0), request({"optimize": "tensorrt"}, version="2.17.1"))
    assert "run on no other" in decision(made, "model m: variant")["reason"]
    fault = refused(gpu_host(12, 0), request({"optimize": "tensorrt"}, version="2.17.1"), "model m: variant")
    assert "not built for compute capability 12.0" in fault["reason"]


def test_trap_11_use_tflite_model_becomes_prefer_tflite_model():
    made = planned(host(), request(options=["--use_tflite_model=true"]))
    assert made["server"]["flags"]["prefer_tflite_model"] is True
    assert "silently ignores" in decision(made, "option --use_tflite_model=true")["reason"]
    fault = refused(host(), request(flags={"use_tflite_model": True}), "flag use_tflite_model")
    assert fault["change"] == {"flags": {"use_tflite_model": None, "prefer_tflite_model": True}}


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint32"])
def test_trap_12_types_that_tensorflow_lite_models_cannot_have(dtype):
    signatures = {
        "serving_default": {
            "inputs": {"x": {"dtype": dtype, "shape": [None, 8]}},
            "outputs": {"y": {"dtype": "float32", "shape": [None, 2]}},
        }
    }
    fault = refused(host(), request({"optimize": "tflite_dynamic_range", "signatures": signatures}), "model m: variant")
    assert f"x is {dtype}" in fault["reason"]
    assert not [
        candidate
        for candidate in plan(host(), request({"signatures": signatures}))["candidates"]
        if "Lite" in candidate["name"]
    ]


def test_trap_13_the_nvidia_runtime_becomes_a_request_for_gpus():
    made = planned(gpu_host(9, 0), request(options=["--runtime=nvidia"]))
    assert made["server"]["devices"] == [{"pci_bus_id": "0000:01:00.0", "id": "0000:01:00.0", "by": "device_request"}]
    assert "--gpus" in decision(made, "option --runtime=nvidia")["choice"]
    assert (
        "container toolkit"
        in refused(dict(gpu_host(9, 0), container=host()["container"]), request(gpu="require"), "GPU")["remedy"]
    )


def test_trap_14_max_enqueued_batches_is_the_queue():
    line = "max_enqueued_batches = batches processed concurrently"
    assert "length of the queue" in decision(planned(host(), request(options=[line])), f"option {line}")["choice"]
    warned(
        planned(
            host(), request({"batching": {"max_batch_size": 8, "max_enqueued_batches": 2, "num_batch_threads": 4}})
        ),
        "length of the queue",
        "UNAVAILABLE",
    )


def test_trap_15_num_batch_threads_is_the_parallelism():
    line = "num_batch_threads: queue limit"
    assert (
        "how many batches run at once" in decision(planned(host(), request(options=[line])), f"option {line}")["choice"]
    )
    warned(
        planned(
            host(), request({"batching": {"max_batch_size": 8, "max_enqueued_batches": 200, "num_batch_threads": 100}})
        ),
        "100",
        "at once on 4 CPUs",
    )


def test_trap_16_a_batching_file_without_batching():
    fault = refused(
        host(), request(flags={"batching_parameters_file": "/etc/b.pbtxt"}), "flag batching_parameters_file"
    )
    assert "refuses to start" in fault["reason"] and fault["change"] == {"flags": {"batching_parameters_file": None}}
    by_flag = planned(host(), request(flags={"enable_batching": True}))
    assert (
        by_flag["models"][0]["batching"]["max_batch_size"] >= 1000
        and by_flag["server"]["flags"]["enable_batching"] is True
    )
    assert planned(host(), request({"batching": {"max_batch_size": 8}}))["server"]["flags"]["enable_batching"] is True


def test_trap_17_allowed_sizes_must_end_with_the_largest():
    fault = refused(
        host(), request({"batching": {"max_batch_size": 8, "allowed_batch_sizes": [2, 4]}}), "model m: batching"
    )
    assert "allowed_batch_sizes" in fault["reason"] and "max_batch_size" in fault["reason"]


def test_trap_18_models_batched_differently():
    two = [
        {"name": "a", "signatures": SIGNATURES, "batching": {"max_batch_size": 8}},
        {"name": "b", "signatures": SIGNATURES},
    ]
    made = planned(host(), {"version": "2.11.0", "models": two})
    assert made["server"]["flags"]["enable_per_model_batching_parameters"] is True
    fault = refused(host(), {"version": "2.10.1", "models": two}, "batching")
    assert "2.11.0" in fault["reason"]
    alike = [dict(model, batching={"max_batch_size": 8}) for model in two]
    assert (
        "enable_per_model_batching_parameters"
        not in planned(host(), {"version": "2.10.1", "models": alike})["server"]["flags"]
    )


def test_trap_19_values_after_a_blank():
    made = planned(host(), request(options=["--rest_api_port 8600"]))
    assert made["server"]["flags"]["rest_api_port"] == 8600
    assert "ignores a value after a space" in decision(made, "option --rest_api_port 8600")["reason"]


def test_trap_21_reported_versions_carry_suffixes():
    assert [questions.cell("version_suffix", release) for release in ("2.18.0", "2.20.0")] == ["-rc0", ""]


def test_trap_22_quotas_are_not_seen_by_tensorflow():
    made = planned(host(), request(options=["--cpus=2"]))
    assert made["server"]["cpu_set"] == "0-1"
    flags = planned(host(cpu={"usable": 1.5, "quota": 1.5}), request())["server"]["flags"]
    assert (
        flags["tensorflow_intra_op_parallelism"],
        flags["tensorflow_inter_op_parallelism"],
        flags["rest_api_num_threads"],
    ) == (1, 1, 4)


def test_trap_23_the_mkl_build_is_no_fast_lane():
    warned(
        planned(host(), request(build=True, build_options="--config=release --config=mkl")),
        "mkl",
        "no OpenMP",
        "oneDNN",
    )
    warned(planned(host(), request(image="tensorflow/serving:2.20.0-mkl")), "mkl", "no OpenMP")
    warned(
        planned(host(), request(environment={"OMP_NUM_THREADS": "4", "KMP_BLOCKTIME": "1"})),
        "KMP_BLOCKTIME, OMP_NUM_THREADS",
        "no OpenMP",
    )


def test_trap_24_the_profiler_is_off():
    assert planned(host(), request())["server"]["flags"]["enable_profiler"] is False
    before = planned(host(), request(version="2.4.4"))
    assert "enable_profiler" not in before["server"]["flags"]
    warned(before, "profiler of 2.4.4", "cannot be turned off before release 2.5.1")
    warned(planned(host(), request(flags={"enable_profiler": True})), "without authentication")


def test_trap_28_rest_and_grpc_on_one_port():
    assert refused(host(), request(flags={"port": 9000, "rest_api_port": 9000}), "flag rest_api_port")["change"] == {
        "flags": {"rest_api_port": 9001}
    }
    refused(host(), request(flags={"rest_api_port": 8500}), "flag rest_api_port")


@pytest.mark.parametrize("parameters", [{"max_batch_size": 0}, {"max_batch_size": 8, "batch_timeout_micros": -1}])
def test_trap_29_and_43_values_that_kill_the_server(parameters):
    refused(host(), request({"batching": parameters}), "model m: batching")


@pytest.mark.parametrize("sizes", [[4, 2, 8], [4, 4, 8]])
def test_trap_30_allowed_sizes_out_of_order(sizes):
    refused(host(), request({"batching": {"max_batch_size": 8, "allowed_batch_sizes": sizes}}), "model m: batching")


def test_trap_31_grpc_threads_for_the_calls_in_flight():
    assert planned(host(), request())["server"]["flags"]["grpc_max_threads"] >= 64
    assert planned(host(), request({"batching": {"max_batch_size": 100}}))["server"]["flags"]["grpc_max_threads"] >= 200


def test_trap_33_and_42_what_tensorflow_lite_servers_do_not_check():
    made = planned(host(), request({"optimize": "tflite_dynamic_range"}))
    warned(made, "another dtype", "wrong numbers", "string instead of a number")
    warned(made, "0 rows")


def test_trap_37_metrics_without_rest():
    fault = refused(
        host(), request(flags={"monitoring_config_file": "/etc/m", "rest_api_port": 0}), "flag monitoring_config_file"
    )
    assert fault["change"] == {"flags": {"rest_api_port": 8501}}


def test_trap_38_a_lone_client_waits_for_company():
    warned(
        planned(host(), request({"batching": {"max_batch_size": 8, "batch_timeout_micros": 5000}})),
        "single client",
        "5 ms",
    )
    assert (
        next(item for item in plan(host(), request())["candidates"] if item["name"] == "batching")["change"][
            "batching"
        ]["batch_timeout_micros"]
        == 0
    )


def test_trap_39_per_model_batching_without_batching():
    fault = refused(
        host(),
        request(flags={"enable_per_model_batching_parameters": True}),
        "flag enable_per_model_batching_parameters",
    )
    assert "silently" in fault["reason"]


def test_trap_41_onednn_and_requests_of_wrong_rank():
    vnni = host("x86-64-v4", [*V4, "avx512_vnni"])
    warned(planned(vnni, request()), "wrong number of dimensions", "TF_ENABLE_ONEDNN_OPTS")
    assert not [
        text
        for text in planned(vnni, request(environment={"TF_ENABLE_ONEDNN_OPTS": "0"}))["warnings"]
        if "wrong number of dimensions" in text
    ]
    assert not [text for text in planned(host(), request())["warnings"] if "wrong number of dimensions" in text]


def test_trap_44_loads_that_fail_are_told_at_once():
    assert planned(host(), request())["server"]["flags"]["max_num_load_retries"] == 0
    warned(planned(host(), request(flags={"max_num_load_retries": 5})), "closed ports")


def test_trap_46_labels_move_after_their_versions_are_there():
    warned(
        planned(host(), request(flags={"allow_version_labels_for_unavailable_models": True})),
        "versions first",
        "AVAILABLE",
    )


def test_trap_47_polled_configuration_wins_over_reloads():
    warned(planned(host(), request(flags={"model_config_file_poll_wait_seconds": 60})), "overrides a reload")


def test_trap_48_batching_per_model_changes_with_the_version():
    two = [
        {"name": "a", "signatures": SIGNATURES, "batching": {"max_batch_size": 8}},
        {"name": "b", "signatures": SIGNATURES},
    ]
    made = planned(host(), {"version": "2.20.0", "models": two})
    assert (
        "only with a new version of the model" in decision(made, "flag enable_per_model_batching_parameters")["reason"]
    )


def test_trap_50_one_rest_thread_answers_nothing():
    assert refused(host(), request(flags={"rest_api_num_threads": 1}), "flag rest_api_num_threads")["change"] == {
        "flags": {"rest_api_num_threads": 2}
    }


def test_trap_51_threads_for_a_busy_server():
    candidate = next(item for item in planned(host(), request())["candidates"] if item["name"] == "threads")
    assert candidate["change"] == {
        "flags": {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": 4}
    }
    warned(
        planned(host(), request(flags={"tensorflow_intra_op_parallelism": 9})), "more threads than the 4 usable CPUs"
    )


def test_trap_52_mixed_precision_that_does_nothing():
    assert (
        "have no effect"
        in refused(host(), request(flags={"mixed_precision": "bf16"}), "flag mixed_precision")["reason"]
    )
    assert (
        "oneDNN, which is off"
        in refused(host(), request(flags={"mixed_precision": "bfloat16"}), "flag mixed_precision")["reason"]
    )
    planned(host("x86-64-v4", [*V4, "avx512_bf16"]), request(flags={"mixed_precision": "bfloat16"}))


def test_variables_that_tensorflow_does_not_understand():
    assert (
        "'yes'"
        in refused(host(), request(environment={"TF_ENABLE_ONEDNN_OPTS": "yes"}), "environment TF_ENABLE_ONEDNN_OPTS")[
            "reason"
        ]
    )
    assert decision(planned(host(), request(environment={"TF_ENABLE_ONEDNN_OPTS": True})), "oneDNN")["choice"] == "on"


def test_trap_53_tls_covers_grpc_only():
    warned(planned(host(), request(flags={"ssl_config_file": "/etc/tls"})), "only gRPC", "PEM texts")


def test_trap_54_and_55_requests_without_rows():
    batched = planned(host(), request({"batching": {"max_batch_size": 8}}))
    warned(batched, "without rows", "joins it", "may then fail")
    assert not [text for text in planned(host(), request())["warnings"] if "without rows" in text]


def test_trap_56_padded_batches_that_end_the_server():
    padded = {"max_batch_size": 8, "pad_variable_length_inputs": True}
    warned(planned(host(), request({"batching": padded})), "two ranks", "size >= 0", "accept_fragile")


@pytest.mark.parametrize(
    ("model", "flags", "words"),
    [
        ({"base_path": "/mine"}, {}, ["half: a version that does not load ends the server", "model_version"]),
        ({"base_path": "/mine", "version_policy": {"all": True}}, {}, ["max_num_load_retries: 1", "half then starts"]),
        ({"base_path": "/mine", "version_policy": {"all": True}}, {"max_num_load_retries": 1}, None),
        ({"base_path": "/srv/tfserving/models/half/saved_model", "version_policy": {"all": True}}, {}, None),
    ],
)
def test_trap_57_where_the_user_fills_the_folder_the_plan_says_what_a_restart_does(model, flags, words):
    """Recorded of TensorFlow Serving 2.20.0: without retries one broken version ends the start, also of the newest alone; with retries and the policy all
    it serves the others once the retries are over."""
    role = {"models": [dict(model, name="half")]}
    asked = HostRequest(request(flags=flags), role)
    warnings = resolve(host(), asked)["plan"]["warnings"]
    (found,) = [text for text in warnings if "ends the server at its next start" in text] or [None]
    assert found is None if words is None else all(word in found for word in words)
    assert words is None or ("max_num_load_retries" in found) == ("version_policy" in model)


def test_trap_58_one_load_does_not_hold_up_the_others():
    made = planned(host(), request())
    assert made["server"]["flags"]["num_load_threads"] >= 2
    assert "delays all other versions" in decision(made, "flag num_load_threads")["reason"]
    assert planned(host(), request(flags={"num_load_threads": 4}))["server"]["flags"]["num_load_threads"] == 4


def test_trap_62_the_monitoring_file_is_written():
    warned(planned(host(), request(flags={"monitoring_config_file": "/etc/m"})), "writes this file itself")


@pytest.mark.parametrize(
    "flag",
    [{"rest_api_num_threads": 0}, {"grpc_max_threads": 0}, {"grpc_max_threads": -3}, {"grpc_channel_arguments": "a"}],
)
def test_trap_63_values_that_abort_the_start(flag):
    refused(host(), request(flags=flag), f"flag {next(iter(flag))}")


def test_session_parallelism_beside_the_other_two():
    assert (
        "ignores"
        in refused(
            host(),
            request(flags={"tensorflow_session_parallelism": 2, "tensorflow_intra_op_parallelism": 2}),
            "flag tensorflow_session_parallelism",
        )["reason"]
    )


def test_values_of_the_command_line_are_understood():
    assert planned(host(), request(build="yes", cpus="2"))["server"]["cpu_set"] == "0-1"
    assert planned(host(), request(build="off"))["build"] is None


def test_no_server_for_a_cpu_without_avx_but_an_image_of_its_own():
    old = host("x86-64-v2", ["cx16", "popcnt", "sse4_2"])
    fault = refused(old, request(), "image")
    assert "AVX" in fault["reason"] and "Illegal instruction" in fault["reason"]
    options = planned(old, request(build=True))["build"]["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"].split()
    assert "--copt=-msse4.2" in options and "--config=release" not in options
    assert refused(dict(old, container={"engine": None}), request(), "backend")["change"] == {"models": []}


def test_embedded_says_what_it_is():
    made = planned(dict(host(), container={"engine": None}), request(backend="embedded"))
    assert made["backend"] == "embedded" and made["image"] is None
    warned(made, "not TensorFlow Serving")
    assert refused(dict(host(), container={"engine": None}), request(backend="docker"), "backend")["change"] == {
        "backend": "embedded"
    }


@pytest.mark.parametrize(
    "named",
    [
        {"version": "2.20.0"},
        {"image": "registry.example/serving:1"},
        {"build": True},
        {"engine_socket": "/run/other.sock"},
        {"options": ["TF_SERVING_VERSION_GIT_BRANCH=2.17.1"]},
    ],
)
def test_the_embedded_server_does_not_take_the_place_of_tensorflow_serving_where_the_engine_is_missing(named):
    bare = dict(host(), container={"engine": None})
    fault = refused(bare, dict(request(version=None), **named), "backend")
    assert fault["change"] == {"backend": "embedded"} and "tfserving_backend: embedded" in fault["remedy"]
    assert planned(bare, request(version=None))["backend"] == "embedded"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("goal", "fast", "online, bulk"),
        ("modles", [], "did you mean models"),
        ("models", {"name": "m"}, "not a list"),
        ("build", "perhaps", "not true or false"),
        ("cpus", "four", "not a number"),
        ("version", 2.2, '"2.20" if you wrote that'),
        ("version", 2, 'in quotes: "2".'),
        ("flags", [], "not a mapping"),
        ("cpus", 0, "out of range"),
        ("cpus", float("inf"), "0.001 to 65536"),
        ("cpus", "1e400", "0.001 to 65536"),
        ("cpus", float("nan"), "out of range"),
        ("environment", {"A B": "1"}, "name"),
        ("environment", {1: 2}, "name"),
        ("environment", {"A": [1]}, "tfserving_environment.A"),
        ("models", [{"name": "m"}, {"name": "m"}], "two models"),
        ("models", [{"nam": "m"}], "a mapping with a name"),
        ("models", [{"name": "m", "optimise": "auto"}], "did you mean optimize"),
        ("models", [{"name": "m", "optimize": "tflite"}], "tflite_dynamic_range"),
        ("models", [{"name": "m", "batching": "on"}], "none, auto"),
        ("models", [{"name": "m", "signatures": {"s": {}}}], "saved_model_info"),
    ],
)
def test_a_request_out_of_form_is_one_clear_line(key, value, words):
    with pytest.raises(FleetError) as fault:
        plan(host(), dict(request(), **{key: value}))
    assert words in str(fault.value) and "\n" not in str(fault.value)
