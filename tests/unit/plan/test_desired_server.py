# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host serves, from its capabilities, the inventory, the variables of tfs_server, and tunings."""

from __future__ import annotations

import itertools
import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import changes
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.desired_server import (
    PLANNED,
    HostRequest,
    needs_plan,
    resolve,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.tunings import Tuning

AVX2 = ["sse4_2", "popcnt", "cx16", "avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "abm", "movbe"]


def host(engine="docker"):
    return {
        "architecture": "x86_64",
        "cpu": {"level": "x86-64-v3", "flags": AVX2, "threads": 8, "usable": 8.0, "affinity": "0-7"},
        "memory": {"usable_mib": 16000},
        "gpus": [],
        "classes": {"image": "x86-64-v3", "tuning": "x86-64-v3-intel-8c-1n"},
        "container": {
            "engine": engine,
            "version": "24.0.7",
            "answers": True,
            "reason": None,
            "runtimes": ["runc"],
            "cdi_directories": [],
        },
    }


HALF = {"name": "half", "batching": {"max_batch_size": 16}}
PLAIN = {"name": "plain"}


def made(request, role=None, capabilities=None, **desired):
    return resolve(capabilities or host(), HostRequest(request, role or {}, **desired))


REQUESTS = {
    "batched": {"models": [HALF], "version": "2.20.0"},
    "two models": {"models": [HALF, PLAIN], "version": "2.20.0"},
    "flags": {"models": [PLAIN], "flags": {"rest_api_timeout_in_ms": 10000}, "environment": {"A": "b"}, "cpus": 2.0},
    "own image": {"models": [HALF], "image": "registry.example/serving:1"},
    "embedded": {"models": [HALF, PLAIN], "backend": "embedded"},
}
ROLES = {
    "nothing": {},
    "one model": {"model_name": "half"},
    "flags": {"flags": {"num_load_threads": 2}},
    "image": {"image": "registry.example/other:2"},
    "unbatched": {"batching": None},
    "batched": {"batching": {"max_batch_size": 4}},
    "cpu set": {"cpu_set": "0-1"},
    "models": {"models": [{"name": "half", "base_path": "/elsewhere/tflite_float16"}]},
    "environment": {"environment": {"C": "d"}},
    "per model": {
        "batching_per_model": [{"name": "half", "directory": "/m/half/saved_model", "batching": {"max_batch_size": 8}}]
    },
}
TUNED = {
    "model": "half",
    "configuration": {
        "form": "tflite_dynamic_range",
        "batching": {"max_batch_size": 32},
        "environment": {},
        "flags": {"grpc_max_threads": 128},
    },
}


def running(server):
    """The server, as model_server_info would describe it after deploy made what the resolution said."""
    batching = {one["name"]: one["batching"] for one in server["per_model"]}
    models = [
        {
            "name": one["name"],
            "form": one["base_path"].rpartition("/")[2],
            "batching": batching.get(one["name"]) if batching else server["batching"],
        }
        for one in server["models"]
    ]
    return {
        "name": server["name"],
        "backend": server["backend"],
        "state": "started",
        "image": server["image"] if server["backend"] == "docker" else None,
        "models": models,
        "flags": server["flags"],
        "environment": server["environment"],
        "cpu_set": server["cpu_set"],
        "devices": server["devices"],
    }


def test_a_model_whose_name_no_server_can_have_needs_a_name_for_the_server():
    """Docker's names of containers: [a-zA-Z0-9][a-zA-Z0-9_.-]+ (docker run --name)."""
    for name in ("ümlaut", "_x", "x" * 65):
        model = dict(HALF, name=name)
        (refusal,) = made({"models": [model]})["plan"]["refusals"]
        assert refusal["subject"] == "name of the server" and refusal["remedy"] == "Set tfs_server_name"
        assert made({"models": [model]}, {"name": "half"})["plan"]["refusals"] == []
        assert made({"models": [PLAIN, model]})["plan"]["refusals"] == []


@pytest.mark.parametrize(("asked", "role", "tunings"), [*itertools.product(REQUESTS, ROLES, [(), (TUNED,)])])
def test_the_plan_predicts_what_deploy_makes(asked, role, tunings):
    found = made(REQUESTS[asked], ROLES[role], tunings=tunings)
    assert found["server"]["refusals"] == []
    assert changes.differences(found["plan"], [running(found["server"])]) == []
    assert made(REQUESTS[asked], ROLES[role], tunings=tunings) == found


def test_what_the_inventory_asks_for_is_served_without_any_play_before():
    server = made(
        {"models": [HALF], "flags": {"rest_api_timeout_in_ms": 10000}, "environment": {"A": "b"}, "cpus": 2.0}
    )["server"]
    assert server["batching"] == {"max_batch_size": 16} and server["flags"]["rest_api_timeout_in_ms"] == 10000
    assert server["environment"] == {"A": "b"} and server["cpu_set"] == "0-1" and server["name"] == "half"
    assert server["image"] == "tensorflow/serving:2.20.0" and server["models"] == [
        {"name": "half", "base_path": "/srv/tfserving/models/half/saved_model"}
    ]


@pytest.mark.parametrize(
    "role",
    [
        {
            "models": [{"name": "half", "base_path": "/m/half"}],
            "batching_per_model": [{"name": "half", "directory": "/m/half", "batching": {"max_batch_size": 8}}],
        },
        {"models": [{"name": "half", "base_path": "/m/half", "batching": {"max_batch_size": 8}}]},
    ],
)
def test_models_that_the_user_batches_each_for_itself_get_the_flags_that_this_needs(role):
    server = made({}, {"backend": "embedded", **role})["server"]
    assert server["flags"] == {} and server["batching"] is None
    assert server["models"] == [{"name": "half", "base_path": "/m/half", "batching": {"max_batch_size": 8}}]
    assert server["per_model"] == [{"name": "half", "directory": "/m/half", "batching": {"max_batch_size": 8}}]


def test_one_batching_for_all_is_not_undone_by_models_that_the_plan_batches_differently():
    server = made(REQUESTS["two models"], {"batching": {"max_batch_size": 4}})["server"]
    assert (
        server["batching"] == {"max_batch_size": 4}
        and server["per_model"] == []
        and "enable_per_model_batching_parameters" not in server["flags"]
    )


@pytest.mark.parametrize(
    "role",
    [{"backend": "docker"}, {"image": "registry.example/s:1"}, {"release": "2.20.0"}, {"engine_socket": "/run/e.sock"}],
)
def test_a_host_without_an_engine_is_refused_where_the_role_names_tensorflow_serving(role):
    found = made({"models": [HALF]}, role, host(engine=None))
    assert "tfserving_backend: embedded" in found["server"]["refusals"][0]
    assert (
        made({"models": [HALF]}, {**role, "backend": "embedded"}, host(engine=None))["server"]["backend"] == "embedded"
    )


@pytest.mark.parametrize(
    ("request_", "role", "backend"),
    [
        ({}, {}, "embedded"),
        ({}, {"image": "registry.example/s:1"}, "docker"),
        ({"version": "2.20.0"}, {}, "docker"),
        ({"image": "i"}, {}, "docker"),
        ({}, {"engine_socket": "/e"}, "docker"),
        ({"backend": "embedded", "image": "i"}, {}, "embedded"),
        ({"backend": "docker"}, {}, "docker"),
    ],
)
def test_a_role_that_is_given_its_models_needs_no_capabilities(request_, role, backend):
    desired = HostRequest(request_, {"model_name": "m", "model_base_path": "/srv/m", **role})
    assert not needs_plan(desired)
    found = resolve(None, desired)
    assert (
        found["plan"] is None
        and found["server"]["backend"] == backend
        and found["server"]["models"] == [{"name": "m", "base_path": "/srv/m"}]
    )
    assert found["server"]["image"] == (role.get("image") or request_.get("image"))
    assert found["server"]["release"] == request_.get("version")


@pytest.mark.parametrize(
    "asked",
    [
        {"models": [PLAIN]},
        {"flags": {"num_load_threads": 2}},
        {"gpu": "require"},
        {"cpus": 2},
        {"options": ["--gpus all"]},
        {"policies": [{"when": "`true`", "choose": {"goal": "bulk"}}]},
        {"build": True},
        {"gpu_servers": "per_gpu"},
    ],
)
def test_whatever_the_inventory_asks_for_is_planned(asked):
    assert needs_plan(HostRequest(asked, {"model_name": "m", "model_base_path": "/srv/m", "backend": "embedded"}))
    assert not needs_plan(HostRequest(asked, {}, serves=False))
    assert not needs_plan(HostRequest(asked, dict.fromkeys(PLANNED)))


def test_a_role_that_is_given_its_models_is_planned_without_any_where_the_host_is_known():
    role = {"model_name": "m", "model_base_path": "/srv/m", "backend": "embedded"}
    assert not needs_plan(HostRequest({}, role))
    assert resolve(host(), HostRequest({}, role))["plan"]["refusals"] == []


def test_a_server_that_is_removed_is_named_without_capabilities():
    server = resolve(None, HostRequest({"models": [HALF]}, {}, serves=False))["server"]
    assert server["name"] == "half" and server["backend"] == "auto"


def test_flags_of_the_role_that_deploy_refuses_are_refused_by_the_plan():
    found = made({"models": [HALF]}, {"flags": {"port": 8600, "enable_baching": True}})
    assert [refusal["subject"] for refusal in found["plan"]["refusals"]] == ["flag port", "flag enable_baching"]
    assert "Leave it out of tfs_server_flags and set tfs_server_grpc_port" in found["server"]["refusals"][0]


def test_tls_of_the_role_is_explained():
    found = made({"models": [HALF]}, {"ssl_config_file": "/etc/tls.pbtxt"})
    assert any("only gRPC" in text for text in found["plan"]["warnings"])


def record(model="half", change=None, image="tensorflow/serving:2.20.0", release="2.20.0"):
    return Tuning(
        model,
        "x86-64-v3-intel-8c-1n",
        change or {"form": "tflite_dynamic_range", "flags": {"tensorflow_intra_op_parallelism": 1}},
        None,
        {"host": "web-1", "at": "2026-01-02"},
        {"backend": "docker", "image": image, "release": release},
    )


TWO = {"models": [{"name": "half"}, PLAIN], "version": "2.20.0"}


def test_a_tuning_that_was_kept_is_served_and_planned():
    found = made(TWO, records=[record()])
    assert found["server"]["models"][0]["base_path"].endswith("half/tflite_dynamic_range") and found["server"][
        "models"
    ][1]["base_path"].endswith("saved_model")
    assert found["server"]["flags"]["tensorflow_intra_op_parallelism"] == 1
    assert "prefer_tflite_model" not in found["server"]["flags"], "model_server derives it"
    assert found["plan"]["server"]["flags"]["prefer_tflite_model"] is True
    assert (
        found["plan"]["models"][0]["form"] == "tflite_dynamic_range"
        and changes.differences(found["plan"], [running(found["server"])]) == []
    )
    assert not [text for text in found["plan"]["warnings"] if "measured elsewhere" in text]


def test_a_flag_that_the_user_sets_reaches_the_server_also_where_it_follows_from_no_model():
    found = made({"models": [PLAIN], "flags": {"prefer_tflite_model": True}, "version": "2.20.0"})
    assert found["server"]["flags"]["prefer_tflite_model"] is True
    assert found["plan"]["server"]["flags"]["prefer_tflite_model"] is True


def test_a_setting_of_the_user_holds_beside_a_tuning():
    flags = made(dict(TWO, flags={"tensorflow_intra_op_parallelism": 4}), records=[record()])["server"]["flags"]
    assert flags["tensorflow_intra_op_parallelism"] == 4
    later = made(dict(TWO, flags={"rest_api_timeout_in_ms": 9000}), records=[record()])["server"]["flags"]
    assert later["rest_api_timeout_in_ms"] == 9000 and later["tensorflow_intra_op_parallelism"] == 1


@pytest.mark.parametrize(
    ("stale_tunings", "form", "refused"),
    [("keep", "tflite_dynamic_range", 0), ("ignore", "saved_model", 0), ("fail", "saved_model", 1)],
)
def test_a_tuning_of_another_image_is_kept_ignored_or_refused(stale_tunings, form, refused):
    found = made(
        TWO, records=[record(image="tensorflow/serving:2.19.1", release="2.19.1")], stale_tunings=stale_tunings
    )
    assert found["plan"]["models"][0]["form"] == form and len(found["server"]["refusals"]) == refused
    words = found["server"]["refusals"] if refused else found["plan"]["warnings"]
    assert any(
        "tensorflow/serving:2.19.1 -> tensorflow/serving:2.20.0" in text and "tfserving.fleet.tune" in text
        for text in words
    )


def test_tunings_that_want_different_flags_of_one_server_are_a_conflict_that_is_named():
    records = [record(), record("plain", {"flags": {"tensorflow_intra_op_parallelism": 2}})]
    (refusal,) = made(TWO, records=records)["server"]["refusals"]
    assert (
        "tensorflow_intra_op_parallelism in flags to different values (half: 1, plain: 2)" in refusal
        and "tfserving_flags" in refusal
        and "tfs_server_model_name" in refusal
    )
    assert made(dict(TWO, flags={"tensorflow_intra_op_parallelism": 2}), records=records)["server"]["refusals"] == []
    assert (
        made(TWO, {"model_name": "plain"}, records=records)["server"]["flags"]["tensorflow_intra_op_parallelism"] == 2
    )
    assert made(TWO, records=[record(), record("plain")])["server"]["refusals"] == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("flags", 3, "3 is not a mapping"),
        ("flags", None, "None is not a mapping"),
        ("environment", ["A=b"], "is not a mapping"),
        ("batching", "on", "'on' is not a mapping"),
        ("models", [{"base_path": "/m"}], "tfs_server_models[0].name"),
        ("models", [{"name": "a"}, {"name": "b/c"}], "tfs_server_models[1].name"),
        ("models", "m", "'m' is not a list of mappings"),
        ("batching_per_model", [{"batching": {}}], "tfs_server_batching_per_model[0].name"),
        ("batching_per_model", 1, "1 is not a list of mappings"),
        ("devices", [3], "[3] is not a list of mappings"),
        ("devices", {}, "{} is not a list of mappings"),
        ("copies", {"suffix": "a"}, "is not a list of mappings"),
        ("image", ["a"], "['a'] is not a single value"),
        ("name", {"a": 1}, "is not a single value"),
        ("cpu_set", (0, 1), "(0, 1) is not a single value"),
        ("model_name", ["m"], "is not a single value"),
    ],
)
def test_a_variable_of_the_role_of_which_nothing_can_be_made_is_one_line(name, value, words):
    with pytest.raises(FleetError) as fault:
        made({"models": [HALF]}, {name: value})
    assert str(fault.value).startswith(f"tfs_server_{name}") and "\n" not in str(fault.value)
    assert words in str(fault.value)
    made({"models": [HALF]}, {"batching": None, "models": (), "devices": ()})


@pytest.mark.parametrize("tunings", [{}, "x", [1], [{}, None]])
def test_tunings_of_which_nothing_can_be_made(tunings):
    with pytest.raises(FleetError, match="^tfs_server_tunings: .* is not a list of results of the module tuning"):
        made({"models": [HALF]}, tunings=tunings)


def test_each_tuning_is_judged_for_itself():
    """The first was measured on another image, the second here."""
    stale = record(image="tensorflow/serving:2.19.1", release="2.19.1")
    here = record("plain", {"flags": {"tensorflow_intra_op_parallelism": 2}})
    for what in ("ignore", "fail"):
        found = made(TWO, records=[record("unknown"), stale, here], stale_tunings=what)
        assert found["server"]["flags"]["tensorflow_intra_op_parallelism"] == 2
        assert bool(found["server"]["refusals"]) is (what == "fail")
        tuned = {one["subject"]: one["reason"] for one in found["plan"]["decisions"] if "tuning" in one["subject"]}
        assert tuned == {"model plain: tuning": "measured on web-1 at 2026-01-02"}
    ignored = made(TWO, records=[stale], stale_tunings="ignore")["plan"]["warnings"]
    kept = made(TWO, records=[stale], stale_tunings="keep")["plan"]["warnings"]
    assert [text for text in ignored if "and is ignored" in text] and [text for text in kept if "and is kept" in text]


def test_flags_of_a_tuning_that_the_release_does_not_accept_are_named():
    """Such as those of a file that was edited. tensorflow_intra_op_parallelism is an int32 (main.cc of TensorFlow Serving 2.20.0)."""
    for flag, value in (("tensorflow_intra_op_paralelism", 1), ("tensorflow_intra_op_parallelism", "many")):
        plan = made(TWO, records=[record(change={"flags": {flag: value, "num_load_threads": 3}})])["plan"]
        assert plan["server"]["flags"]["num_load_threads"] == 3 and flag not in plan["server"]["flags"]
        assert f"model half: tuning sets {flag}, which 2.20.0 does not accept: not applied" in plan["warnings"]


def test_variables_of_the_role_hold_before_the_plan():
    role = {
        "name": "web",
        "image": "registry.example/other:2",
        "models": [{"name": "half", "base_path": "/elsewhere"}],
        "environment": {"A": "b"},
        "cpu_set": None,
        "devices": [{"id": "x", "by": "cdi"}],
        "copies": [{"suffix": "-gpu1"}],
        "ready_timeout_s": 7,
        "flags": {"num_load_threads": 2},
        "batching": {"max_batch_size": 4},
    }
    asked = {"models": [HALF], "cpus": 2, "environment": {"C": "d"}, "version": "2.20.0"}
    server = made(asked, role)["server"]
    assert {name: server[name] for name in role} == role and server["per_model"] == []
    assert server["release"] == "2.20.0" and server["backend"] == "docker"
    planned = made(asked)["server"]
    assert (planned["name"], planned["cpu_set"], planned["ready_timeout_s"], planned["copies"]) == (
        "half",
        "0-1",
        120,
        [],
    )
    assert planned["environment"] == {"C": "d"} and planned["devices"] == []
    given = made({"models": [HALF]}, {"backend": "embedded", "release": "2.19.1"})["server"]
    assert (given["backend"], given["release"]) == ("embedded", "2.19.1")


def test_the_checks_of_a_server_have_what_the_role_says_of_its_only_model():
    asked = {"models": [dict(HALF, samples="/a.npz", metric="accuracy")]}
    role = {"samples": "/b.npz", "reference": "/r.npz", "metric": "rmse", "model_base_path": "/elsewhere"}
    (check,) = made(asked, role)["server"]["checks"]
    assert (check["samples"], check["metric"], check["batch"]) == ("/b.npz", "rmse", 16)
    (model,) = made(asked, role)["server"]["models"]
    assert model == {"name": "half", "base_path": "/elsewhere", "samples": "/b.npz", "reference": "/r.npz"}
    (check,) = made(asked)["server"]["checks"]
    assert (check["samples"], check["metric"]) == ("/a.npz", "accuracy")
    assert made(asked, has_samples=False)["server"]["checks"] == []


@pytest.mark.parametrize("key", ["build", "cpus", "environment", "flags", "gpu", "gpu_servers", "options", "policies"])
def test_a_key_that_asks_for_nothing_needs_no_plan(key):
    nothing = {"build": False, "environment": {}, "flags": {}, "gpu_servers": "one", "options": [], "policies": []}
    assert not needs_plan(HostRequest({key: nothing.get(key)}, {}))
    assert not needs_plan(HostRequest({key: () if isinstance(nothing.get(key), list) else None}, {}))
    assert not any(needs_plan(HostRequest({"gpu": gpu}, {})) for gpu in ("auto", "none"))


@pytest.mark.parametrize("backend", ["docker", "embedded"])
def test_a_flag_that_an_option_of_the_server_sets_is_named_with_it(backend):
    """docs of model_server: each of these flags has an option there."""
    own = {"port": "grpc_port", "rest_api_port": "rest_port", "model_name": "models", "model_base_path": "models"}
    own.update(model_config_file="models", batching_parameters_file="batching_parameters_file")
    if backend == "docker":
        own.update(monitoring_config_file="monitoring", ssl_config_file="ssl_config_file")
        own.update(tensorflow_session_config_file="session_config_file", grpc_socket_path="grpc_socket_directory")
    for flag, option in own.items():
        value = 1 if flag.endswith("port") else "x"
        (refusal,) = made({"models": [HALF]}, {"flags": {flag: value}, "backend": backend})["plan"]["refusals"]
        assert refusal["subject"] == f"flag {flag}" and refusal["change"] == {}
        assert refusal["remedy"] == f"Leave it out of tfs_server_flags and set tfs_server_{option}"


def test_a_plan_says_what_variables_of_the_role_set():
    found = made(
        {"models": [HALF]}, {"flags": {"num_load_threads": 2}, "cpu_set": "0-1", "name": "web"}, tunings=(TUNED,)
    )
    decided = {one["subject"]: (one["choice"], one["reason"]) for one in found["plan"]["decisions"]}
    assert decided["tfs_server_flags"] == ("as given", "set for this host's server")
    assert decided["tfs_server_cpu_set"] == ("0-1", "set for this host's server") and "tfs_server_name" not in decided
    choice, reason = decided["model half: tuning"]
    assert "tflite_dynamic_range" in choice and reason == "tfs_server_tunings"


@pytest.mark.parametrize("name", PLANNED)
def test_a_plan_names_every_variable_that_holds_before_it(name):
    values = {
        "backend": "docker",
        "batching": {"max_batch_size": 4},
        "batching_per_model": [],
        "copies": [],
        "devices": [],
        "environment": {},
        "flags": {},
        "image": "a/b:1",
        "models": [{"name": "half", "base_path": "/m"}],
        "ready_timeout_s": 7,
        "release": "2.20.0",
    }
    found = made({"models": [HALF], "version": "2.20.0"}, {name: values.get(name, "0-1")})
    subjects = [one["subject"] for one in found["plan"]["decisions"] if one["subject"].startswith("tfs_server_")]
    assert subjects == [f"tfs_server_{name}"]


def test_flags_of_the_role_are_refused_in_its_own_words():
    found = made({"models": [HALF]}, {"flags": {"ssl_config_file": "/x"}, "backend": "embedded"})
    (refusal,) = found["plan"]["refusals"]
    assert "embedded server" in refusal["reason"] and refusal["remedy"] == "Leave it out (tfs_server_flags)"
    assert found["server"]["refusals"] == [f"flag ssl_config_file: {refusal['reason']}. {refusal['remedy']}."]
    for flags in ({"use_tflite_model": True}, {"mixed_precision": "x"}, {"rest_api_num_threads": 1}):
        (refusal,) = made({"models": [HALF]}, {"flags": flags})["plan"]["refusals"]
        assert "tfserving_flags" not in refusal["remedy"] and refusal["change"] == {}


def test_a_first_start_that_compiles_gets_its_time():
    """A compute capability without machine code in the image: the driver compiles PTX for up to 40 minutes."""
    capabilities = host()
    capabilities["container"]["runtimes"] = ["nvidia", "runc"]
    gpu = {"device_id": "10de:2901", "driver": "nvidia", "driver_version": "580.65", "cuda_version": "13.0"}
    device = {
        "pci_bus_id": "0000:01:00.0",
        "uuid": "GPU-0",
        "index": 0,
        "numa_node": 0,
        "cpu_affinity": "0-7",
        "mig_uuids": [],
    }
    capabilities["gpus"] = [dict(gpu, compute={"major": 10, "minor": 0}, devices=[device], count=1)]
    server = made({"models": [PLAIN]}, capabilities=capabilities)["server"]
    assert server["ready_timeout_s"] == 2400 and server["devices"][0]["id"] == "GPU-0"
    assert made({"models": [PLAIN]}, {"ready_timeout_s": 7}, capabilities)["server"]["ready_timeout_s"] == 7


def test_a_server_that_goes_back_has_the_name_of_its_start_line():
    line = "docker run -d --name shop -p 8500:8500 tensorflow/serving:2.20.0"
    asked = {"models": [HALF], "options": [line]}
    assert resolve(None, HostRequest(asked, {}, serves=False))["server"]["name"] == "shop"
    assert resolve(None, HostRequest(asked, {"name": "mine"}, serves=False))["server"]["name"] == "mine"
    assert resolve(None, HostRequest({"models": [HALF], "options": [7]}, {}, serves=False))["server"]["name"] == "half"
    assert resolve(None, HostRequest({}, {}, serves=False))["server"]["name"] == "", "the module finds the only one"


@pytest.mark.parametrize(
    ("asked", "role", "warns"),
    [
        ({"image": "registry.example/serving:2.20.0"}, {}, True),
        ({}, {"image": "registry.example/serving:2.20.0"}, True),
        ({"image": "registry.example/serving:2.20.0"}, {"pull": "always"}, False),
        ({"image": f"registry.example/serving@sha256:{'0' * 64}"}, {}, False),
        ({}, {}, False),
    ],
)
def test_the_plan_warns_of_a_tag_that_can_move(asked, role, warns):
    found = made({"models": [HALF], "backend": "docker", **asked}, role)
    assert any("can change" in text for text in found["plan"]["warnings"]) == warns


BOTH_FLAGS = {"enable_batching": True, "enable_per_model_batching_parameters": True}


def test_flags_that_turn_on_batching_for_each_model_keep_what_the_plan_chose():
    """docs/plan.md: enable_batching lets the plan choose the parameters. With the other flag the server reads them from each version."""
    found = made({"models": [PLAIN], "version": "2.20.0", "flags": BOTH_FLAGS})
    (one,) = found["server"]["per_model"]
    assert one["batching"]["max_batch_size"] >= 1 and found["server"]["batching"] is None
    assert found["plan"]["models"][0]["batching"] == one["batching"]
    assert {name: found["plan"]["server"]["flags"].get(name) for name in BOTH_FLAGS} == BOTH_FLAGS
    assert json.loads(json.dumps(found)) == found


def test_batching_with_the_servers_own_parameters_is_on():
    server = made({"models": [{"name": "half", "batching": {}}], "version": "2.20.0"})["server"]
    assert server["flags"].get("enable_batching") is True


@pytest.mark.parametrize("models", [[HALF], [HALF, {"name": "other", "batching": {"max_batch_size": 8}}]])
def test_a_flag_that_switches_off_the_batching_of_models_is_refused(models):
    refusals = made({"models": models, "version": "2.20.0"}, {"flags": {"enable_batching": False}})["server"][
        "refusals"
    ]
    assert len(refusals) == 1 and "batching parameters" in refusals[0] and "tfs_server_flags" in refusals[0]


@pytest.mark.parametrize(
    "asked",
    [
        {"flags": {"enable_batching": True}},
        {"options": ["--enable_batching"]},
        {"policies": [{"when": "`true`", "choose": {"flags": {"enable_batching": True}}, "holds": True}]},
    ],
)
def test_no_tuning_turns_off_batching_that_the_user_turned_on(asked):
    off = record("plain", {"batching": None, "flags": {"tensorflow_intra_op_parallelism": 1}})
    assert made({"models": [PLAIN], "version": "2.20.0", **asked}, records=[off])["server"]["batching"]
