# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags, variables and keys of a request: what a plan sets by itself, warns of, and refuses.

Sources: server.cc, main.cc and tf_serving_entrypoint.sh of TensorFlow Serving at 2.20.0; TensorFlow's util.cc (ReadBoolFromEnvVar) for variables.
"""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan
from ansible_collections.tfserving.fleet.tests.unit.plan.test_traps import host, request


def planned(model=(), capabilities=None, **keys):
    return plan.plan(capabilities or host(), request(model, **keys))


def decision(made, subject):
    """The last one counts: what the user sets stands behind what the plan sets by itself."""
    found = [one for one in made["decisions"] if one["subject"] == subject][-1]
    return found["choice"], found["reason"]


def warned(made, *words):
    return [text for text in made["warnings"] if all(word in text for word in words)]


# A value that works and yet surprises, one that does not, and what the warning must speak of.
SURPRISES = {
    "enable_profiler": (True, False, "without authentication"),
    "max_num_load_retries": (1, 0, "closed ports"),
    "ssl_config_file": ("/x", "", "only gRPC, REST is not encrypted"),
    "mixed_precision": ("bfloat16", "", "check the accuracy"),
    "model_config_file_poll_wait_seconds": (1, 0, "reload over gRPC"),
    "monitoring_config_file": ("/x", "", "/monitoring/prometheus/metrics"),
    "grpc_channel_arguments": ("grpc.nonsense=1", "grpc.so_reuseport=1", "channel_arg_names.h"),
    "thread_pool_factory_config_file": ("/x", "", "factory for it only in tests"),
    "allow_version_labels_for_unavailable_models": (True, False, "label"),
    "enable_serialization_as_tensor_content": (True, False, "float_val"),
}


@pytest.mark.parametrize("flag", SURPRISES)
def test_a_flag_that_works_and_yet_surprises(flag):
    surprising, plain, word = SURPRISES[flag]
    made = planned(flags={flag: surprising}, environment={"TF_ENABLE_ONEDNN_OPTS": "1"})
    spelt = str(surprising).lower() if surprising is True else surprising
    assert warned(made, f"--{flag}={spelt}: ", word)
    assert decision(made, f"flag {flag}") == (str(spelt), "set by tfserving_flags")
    assert not warned(planned(flags={flag: plain}), f"--{flag}=")


@pytest.mark.parametrize(
    "flag", ["tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"]
)
def test_more_threads_than_cpus_are_warned_of(flag):
    """The host has 4."""
    assert warned(planned(flags={flag: 5}), f"--{flag}=5", "4 usable CPUs") and not warned(
        planned(flags={flag: 4}), f"--{flag}"
    )


@pytest.mark.parametrize(
    ("flag", "value", "word"),
    [
        ("max_num_load_retries", "0", "load"),
        ("enable_profiler", "false", "serving port"),
        ("grpc_max_threads", "64", "Threadpool"),
    ],
)
def test_what_a_plan_sets_on_every_server(flag, value, word):
    choice, reason = decision(planned(), f"flag {flag}")
    assert choice == value and word in reason
    own = planned(flags={flag: {"0": 1, "false": True, "64": 65}[value]})
    assert str(own["server"]["flags"][flag]).lower() != value


@pytest.mark.parametrize(
    ("size", "cpus", "threads"),
    # Two full batches and 16 calls besides, 4 a CPU, from 64 to 2,048.
    [(8, 4, 64), (24, 4, 64), (25, 4, 66), (64, 4, 144), (1016, 4, 2048), (1017, 4, 2048), (8, 17, 68), (8, 64, 256)],
)
def test_as_many_calls_at_once_as_two_full_batches_need(size, cpus, threads):
    cpu = {"threads": cpus, "usable": float(cpus), "affinity": f"0-{cpus - 1}"}
    made = planned({"batching": {"max_batch_size": size}}, host(cpu=cpu))
    assert made["server"]["flags"]["grpc_max_threads"] == threads
    splitting = {"max_batch_size": 100, "enable_large_batch_splitting": True, "max_execution_batch_size": 32}
    made = planned({"batching": splitting}, host(cpu=cpu))
    assert made["server"]["flags"]["grpc_max_threads"] == max(80, 4 * cpus)


@pytest.mark.parametrize(("cpus", "size", "warns"), [(16, 24, False), (16, 25, True), (15, 24, True), (17, 24, False)])
def test_a_release_that_cannot_fill_two_batches_says_so(cpus, size, warns):
    """2.4 serves 4 calls a CPU at once, and has no flag for more."""
    cpu = {"threads": cpus, "usable": float(cpus), "affinity": f"0-{cpus - 1}"}
    made = planned({"batching": {"max_batch_size": size}}, host(cpu=cpu), version="2.4.4")
    assert bool(warned(made, f"2.4.4 serves {4 * cpus} gRPC calls", "max_batch_size", "2.5.1")) is warns
    assert "grpc_max_threads" not in made["server"]["flags"] and "enable_profiler" not in made["server"]["flags"]
    assert warned(made, "the profiler of 2.4.4", "before release 2.5.1")
    assert not warned(planned(capabilities=host(cpu=cpu), version="2.4.4"), "gRPC calls at once")


def test_a_quota_is_planned_for():
    cpu = {"usable": 2.0, "quota": 2.0, "threads": 4, "affinity": "0-3"}
    made = planned({"optimize": "tflite_dynamic_range"}, host(cpu=cpu))
    flags = made["server"]["flags"]
    assert (flags["tensorflow_intra_op_parallelism"], flags["tensorflow_inter_op_parallelism"]) == (2, 2)
    assert (
        flags["rest_api_num_threads"] == 8 and flags["num_tflite_pools"] == 2 and flags["prefer_tflite_model"] is True
    )
    assert decision(made, "threads")[0] == "2 intra-op, 2 inter-op" and "CFS quota" in decision(made, "threads")[1]
    assert "num_tflite_pools" not in planned(capabilities=host(cpu=cpu))["server"]["flags"]
    assert "tensorflow_intra_op_parallelism" not in planned()["server"]["flags"]


@pytest.mark.parametrize(
    ("cpus", "chosen", "warns"),
    [(1, "0", False), (0.5, "0", False), (2, "0-1", False), (2.9, "0-1", False), (4, "0-3", False), (5, "0-3", True)],
)
def test_cpus_become_a_set(cpus, chosen, warns):
    made = planned(cpus=cpus)
    assert made["server"]["cpu_set"] == chosen and decision(made, "CPU set")[0] == chosen
    assert bool(warned(made, f"tfserving_cpus is {cpus:g}", "4 usable")) is warns


@pytest.mark.parametrize(
    "flag",
    [
        "ssl_config_file",
        "monitoring_config_file",
        "mixed_precision",
        "platform_config_file",
        "use_alts_credentials",
        "thread_pool_factory_config_file",
        "tensorflow_session_config_file",
    ],
)
def test_the_embedded_server_does_not_have_it(flag):
    value = True if flag == "use_alts_credentials" else "bfloat16" if flag == "mixed_precision" else "/x"
    made = planned(backend="embedded", flags={flag: value})
    (refusal,) = [one for one in made["refusals"] if one["subject"] == f"flag {flag}"]
    assert "embedded server" in refusal["reason"] and refusal["remedy"] == "Leave it out (tfserving_flags)"
    assert refusal["change"] == {"flags": {flag: None}} and flag not in made["server"]["flags"]
    nothing = False if value is True else ""
    assert planned(backend="embedded", flags={flag: nothing})["refusals"] == []


@pytest.mark.parametrize(
    ("flag", "remedy"),
    [
        ("model_name", "name in tfserving_models"),
        ("model_base_path", "source in tfserving_models"),
        ("model_config_file", "tfserving_models"),
        ("grpc_socket_path", "tfs_server_grpc_socket_directory"),
        ("version", "nothing instead"),
    ],
)
@pytest.mark.parametrize("backend", ["docker", "embedded"])
def test_a_flag_that_the_role_sets(flag, remedy, backend):
    made = planned(backend=backend, flags={flag: True if flag == "version" else "x"})
    (refusal,) = made["refusals"]
    assert refusal["subject"] == f"flag {flag}" and f"Leave it out, and set {remedy}" in refusal["remedy"]
    assert "tfs_server" in refusal["reason"] and flag not in made["server"]["flags"]


@pytest.mark.parametrize(
    ("flags", "subject", "change", "words"),
    [
        (
            {"batching_parameters_file": "/x"},
            "batching_parameters_file",
            {"batching_parameters_file": None},
            "refuses to start",
        ),
        (
            {"enable_per_model_batching_parameters": True},
            "enable_per_model_batching_parameters",
            {"enable_per_model_batching_parameters": None},
            "does not batch",
        ),
        ({"port": 0}, "port", {"port": 8500}, "without a gRPC port"),
        ({"port": 7, "rest_api_port": 7}, "rest_api_port", {"rest_api_port": 8}, "7 is also the gRPC port"),
        ({"rest_api_port": 8500}, "rest_api_port", {"rest_api_port": 8501}, "8500 is also the gRPC port"),
        (
            {"port": 65535, "rest_api_port": 65535},
            "rest_api_port",
            {"rest_api_port": 65534},
            "65535 is also the gRPC port",
        ),
        (
            {"port": 65534, "rest_api_port": 65534},
            "rest_api_port",
            {"rest_api_port": 65535},
            "65534 is also the gRPC port",
        ),
        (
            {"monitoring_config_file": "/x", "rest_api_port": 0},
            "monitoring_config_file",
            {"rest_api_port": 8501},
            "over REST",
        ),
        *(
            (
                {"tensorflow_session_parallelism": 1, other: 1},
                "tensorflow_session_parallelism",
                {"tensorflow_session_parallelism": None},
                "refuses to start",
            )
            for other in ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")
        ),
        ({"mixed_precision": "bfloat16"}, "mixed_precision", {"mixed_precision": None}, "needs oneDNN"),
    ],
)
def test_flags_that_do_not_go_together(flags, subject, change, words):
    made = planned(flags=flags)
    (refusal,) = made["refusals"]
    assert (
        refusal["subject"] == f"flag {subject}"
        and words in refusal["reason"]
        and refusal["change"] == {"flags": change}
    )
    assert refusal["remedy"].endswith("(tfserving_flags)") and subject not in made["server"]["flags"]


def test_a_file_of_batching_parameters_is_written_by_the_role():
    (refusal,) = planned({"batching": {"max_batch_size": 8}}, flags={"batching_parameters_file": "/x"})["refusals"]
    assert "tfs_server writes this file" in refusal["reason"] and "batching in tfserving_models" in refusal["remedy"]
    assert refusal["change"] == {"flags": {"batching_parameters_file": None}}


@pytest.mark.parametrize(
    "flags",
    [
        {"port": 7, "rest_api_port": 8},
        {"rest_api_port": 0},
        {"rest_api_port": 8501},
        {"tensorflow_session_parallelism": 1},
        {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": 1},
        {"tensorflow_session_parallelism": 1, "tensorflow_intra_op_parallelism": 0},
        {"monitoring_config_file": "/x"},
        {"monitoring_config_file": "/x", "rest_api_port": 1},
        {"monitoring_config_file": "", "rest_api_port": 0},
        {"mixed_precision": ""},
    ],
)
def test_flags_that_go_together(flags):
    made = planned(flags=flags)
    assert made["refusals"] == [] and {name: made["server"]["flags"][name] for name in flags} == flags


@pytest.mark.parametrize(
    ("text", "on"),
    [*((text, True) for text in ("1", "true", "True", "TRUE")), *((text, False) for text in ("0", "false", "False"))],
)
def test_onednn_is_as_the_variable_says(text, on):
    made = planned(environment={"TF_ENABLE_ONEDNN_OPTS": text}, flags={"mixed_precision": "bfloat16"})
    assert (
        decision(made, "oneDNN") == ("on" if on else "off", "tfserving_environment")
        and bool(made["refusals"]) is not on
    )
    for wrong in ("yes", "2", "", "on"):
        (refusal,) = planned(environment={"TF_ENABLE_ONEDNN_OPTS": wrong})["refusals"]
        assert repr(wrong) in refusal["reason"] and "'0' or '1'" in refusal["remedy"]


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ("1", ["hides the line about the CPU"]),
        ("2", ["hides the line about the CPU", "including load errors"]),
        ("3", ["including load errors"]),
    ],
)
def test_a_log_level_hides_lines(level, words):
    made = planned(environment={"TF_CPP_MIN_LOG_LEVEL": level})
    assert warned(made, f"TF_CPP_MIN_LOG_LEVEL={level}", *words)
    assert bool(warned(made, "including load errors")) is (level != "1")
    assert not warned(planned(environment={"TF_CPP_MIN_LOG_LEVEL": "0"}), "TF_CPP_MIN_LOG_LEVEL")
    assert not warned(planned(environment={"TF_CPP_MIN_LOG_LEVEL": "x"}), "TF_CPP_MIN_LOG_LEVEL")


def test_variables_of_openmp_do_nothing():
    made = planned(environment={"KMP_B": "1", "OMP_A": "1", "A_OMP_": "1"})
    assert warned(
        made, "KMP_B, OMP_A: ", "no OpenMP", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"
    )
    assert not warned(planned(environment={"A_OMP_": "1"}), "OpenMP")


# docs/models.md and docs/plan.md: the keys of a model and of a request.
MODEL_KEYS = {
    "source": "/m",
    "samples": "/s.npz",
    "reference": "/r.npz",
    "signature": "serving_default",
    "metric": "accuracy",
    "metric_output": "y",
    "allowed_loss": "0.1",
    "maximum_difference": "0.1",
    "accept_unjudged": "true",
    "optimize": "none",
    "version": 1,
    "batching": "none",
    "signatures": None,
    "size_bytes": "1000",
    "batch_sizes": [1, 2],
    "select_tf_ops": "false",
    "precision": "FP16",
    "metric_function": "a.b",
    "metric_goal": "max",
    "traffic": {"concurrency": 4},
    "tuning_goal": "latency",
}


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_a_key_of_a_model(key):
    assert plan.plan(host(), {"models": [{"name": "m", key: MODEL_KEYS[key]}]})["refusals"] == []
    with pytest.raises(
        FleetError, match=rf"^tfserving_models\[0\]: '{key}_' is not known; allowed: .*did you mean {key}"
    ):
        plan.plan(host(), {"models": [{"name": "m", f"{key}_": 1}]})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        *(
            (key, 1, "1 is not a text")
            for key in ("version", "backend", "goal", "gpu", "gpu_servers", "image", "build_options", "engine_socket")
        ),
        *((key, {}, "{} is not a list") for key in ("models", "build_for", "options", "measured")),
        *((key, [], "[] is not a mapping") for key in ("build_sources", "build_base_images", "flags", "environment")),
        *((key, "many", "'many' is not a number") for key in ("objective_p99_ms", "cpus")),
        *((key, True, "True is not a number") for key in ("objective_p99_ms", "cpus")),
        ("build", "perhaps", "'perhaps' is not true or false"),
        ("build", 1, "1 is not true or false"),
        ("policies", 1, "1 is not a list"),
        ("version", 2.2, 'Write it in quotes: "2.2", or "2.20" if you wrote that'),
        ("version", 2, 'Write it in quotes: "2".'),
        ("backend", "podman", "auto, docker, embedded"),
        ("goal", "fast", "online, bulk"),
        ("gpu", "yes", "auto, none, require"),
        ("gpu_servers", "two", "one, per_gpu"),
        ("objective_p99_ms", 0, "0 is out of range"),
        ("objective_p99_ms", 3600000.1, "is out of range"),
        ("cpus", 0, "0 is out of range"),
        ("cpus", 1e9, "is out of range"),
        ("models", [1], "tfserving_models[0]: 1 is not a mapping"),
        ("models", [{"name": ""}], "is not a mapping with a name"),
        ("models", [{"name": 1}], "is not a mapping with a name"),
        ("models", [{"name": "m"}, {"name": "m"}], "tfserving_models"),
        ("models", [{"name": "m", "optimize": "fast"}], "tfserving_models[0].optimize"),
        ("models", [{"name": "m", "batching": "fast"}], "tfserving_models[0].batching"),
        ("environment", {"a-b": "c"}, "tfserving_environment"),
        ("models", [{"name": "m", 1: 2}], "1 is not a text, so it cannot be a name"),
        ("flags", {None: 2}, "tfserving_flags: None is not a text"),
        ("flags", {"a": [{"b": {True: 1}}]}, "tfserving_flags.a[0].b: True is not a text"),
    ],
)
def test_a_key_of_the_request_out_of_form(key, value, words):
    with pytest.raises(FleetError) as fault:
        plan.plan(host(), request(**{key: value}))
    assert words in str(fault.value) and f"tfserving_{key}" in str(fault.value)


@pytest.mark.parametrize("value", [True, [], {}])
def test_what_is_no_number_does_not_become_a_text_in_quotes(value):
    with pytest.raises(FleetError) as fault:
        plan.plan(host(), request(version=value))
    assert str(fault.value) == f"tfserving_version: {value!r} is not a text."


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [("build", "true", True), ("build", "no", False), ("cpus", "2", 2.0), ("objective_p99_ms", "10.5", 10.5)],
)
def test_a_text_of_the_command_line_is_a_number_or_a_truth_value(key, text, value):
    assert plan.plan(host(), request(**{key: text})) == plan.plan(host(), request(**{key: value}))
    for right in (0.001, 3600000):
        assert plan.plan(host(), request(objective_p99_ms=right))["refusals"] == []


def test_the_flag_enable_batching_stands_for_the_models_that_leave_it_open():
    models = [{"name": "a"}, {"name": "b", "batching": "none"}, {"name": "c", "batching": {"max_batch_size": 8}}]
    for on, batched in ((True, [True, False, True]), (False, [False, False, True])):
        made = plan.plan(host(), request(models=models, flags={"enable_batching": on}))
        assert [bool(model["batching"]) for model in made["models"]] == batched
    with pytest.raises(FleetError, match="'modles' is not known; allowed: version, models.*did you mean models"):
        plan.plan(host(), {"modles": []})


@pytest.mark.parametrize(
    ("cpu", "cpus", "cpu_set", "choice", "reason"),
    [
        ({}, None, None, "all", "4 usable"),
        ({}, 2, "0-1", "0-1", "2 CPUs as a set: TensorFlow respects a CPU set, but ignores a CFS quota"),
        ({"affinity": "1-2", "usable": 2.0}, None, "1-2", "1-2", "the CPUs that this host's processes may use"),
        ({"affinity": "1-2", "usable": 2.0}, 1, "1", "1", "1 CPUs as a set"),
        (
            {"affinity": None},
            2,
            None,
            "all",
            "planned for 2 CPUs; it is unknown which CPUs this host's processes may use",
        ),
        ({"affinity": None, "usable": None}, None, None, "all", "4 usable"),
        ({"affinity": "0-2", "usable": None, "threads": None}, None, None, "all", "3 usable"),
        ({"affinity": None, "usable": 0.5}, None, None, "all", "1 usable"),
    ],
)
def test_a_plan_says_which_cpus_a_server_gets(cpu, cpus, cpu_set, choice, reason):
    made = planned(capabilities=host(cpu=cpu), cpus=cpus)
    assert made["server"]["cpu_set"] == cpu_set
    assert decision(made, "CPU set")[0] == choice and reason in decision(made, "CPU set")[1]


GPU = {
    "pci_bus_id": "0000:01:00.0",
    "device_id": "10de:2330",
    "driver": "nvidia",
    "driver_version": "550.54",
    "compute": {"major": 9, "minor": 0},
}


@pytest.mark.parametrize(
    ("capabilities", "request_", "choice", "reason"),
    [
        # TensorFlow's release notes: oneDNN by default since 2.9, on CPUs with VNNI, BF16 or AMX; serving's issue 1958: none before 2.5.
        (host(), {"version": "2.4.4"}, "not available", "the image of 2.4.4 is built without it"),
        (host(), {}, "off", "on is a candidate for tuning"),
        (host(flags=("avx", "sse4_2", "avx512_vnni")), {}, "on", "off is a candidate for tuning"),
        (host(flags=("avx", "sse4_2", "avx512_vnni")), {"version": "2.8.4"}, "off", "on is a candidate"),
        (host(gpus=[GPU], container={"runtimes": ["nvidia"]}), {}, "as TensorFlow chooses", "do not run on the GPU"),
        (
            dict(host("aarch64", ()), architecture="aarch64"),
            {"image": "a/b:1"},
            "as TensorFlow chooses",
            "does not cover oneDNN on aarch64",
        ),
    ],
)
def test_a_plan_says_whether_onednn_is_used(capabilities, request_, choice, reason):
    made = planned(capabilities=capabilities, **request_)
    assert made["refusals"] == []
    assert decision(made, "oneDNN")[0] == choice and reason in decision(made, "oneDNN")[1]
    assert bool(warned(made, "oneDNN is on", "wrong number of dimensions", "TF_ENABLE_ONEDNN_OPTS: '0'")) is (
        choice == "on"
    )


def test_a_plan_says_what_it_sets_for_the_forms_and_the_batching_of_models():
    made = planned({"optimize": "tflite_dynamic_range"})
    choice, reason = decision(made, "flag prefer_tflite_model")
    assert choice == "true" and "model.tflite" in reason
    assert not warned(made, "no model is planned in TensorFlow Lite's form")
    flagged = planned(flags={"prefer_tflite_model": True})
    assert warned(flagged, "--prefer_tflite_model", "no model.tflite", "optimize: tflite_dynamic_range")
    models = [{"name": "a", "batching": {"max_batch_size": 8}}, {"name": "b"}]
    flags = planned(models=models)["server"]["flags"]
    assert flags["enable_batching"] is True and flags["enable_per_model_batching_parameters"] is True
    choice, reason = decision(planned(models=models), "flag enable_per_model_batching_parameters")
    assert choice == "true" and "batching_params.pbtxt" in reason and "new version" in reason
    same = [dict(models[0], name=name) for name in "ab"]
    flags = planned(models=same)["server"]["flags"]
    assert flags["enable_batching"] is True and "enable_per_model_batching_parameters" not in flags
    assert "enable_batching" not in planned()["server"]["flags"]
