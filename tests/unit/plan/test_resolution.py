# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host serves, from its capabilities, the inventory, the variables of tfs_server, and tunings."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import changes
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.resolution import (
    PLANNED,
    Wishes,
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


def made(request, role=None, capabilities=None, **wishes):
    return resolve(capabilities or host(), Wishes(request, role or {}, **wishes))


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


def test_models_that_the_user_batches_each_for_itself_get_the_flags_that_this_needs():
    server = made(
        {},
        {
            "models": [{"name": "half", "base_path": "/m/half"}],
            "backend": "embedded",
            "batching_per_model": [{"name": "half", "directory": "/m/half", "batching": {"max_batch_size": 8}}],
        },
    )["server"]
    assert server["flags"] == {} and server["batching"] is None
    assert server["models"] == [{"name": "half", "base_path": "/m/half", "batching": {"max_batch_size": 8}}]


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
    wishes = Wishes(request_, {"model_name": "m", "model_base_path": "/srv/m", **role})
    assert not needs_plan(wishes)
    found = resolve(None, wishes)
    assert (
        found["plan"] is None
        and found["server"]["backend"] == backend
        and found["server"]["models"] == [{"name": "m", "base_path": "/srv/m"}]
    )


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
    assert needs_plan(Wishes(asked, {"model_name": "m", "model_base_path": "/srv/m", "backend": "embedded"}))
    assert not needs_plan(Wishes(asked, {}, serves=False))
    assert not needs_plan(Wishes(asked, dict.fromkeys(PLANNED)))


def test_a_server_that_is_removed_is_named_without_capabilities():
    server = resolve(None, Wishes({"models": [HALF]}, {}, serves=False))["server"]
    assert server["name"] == "half" and server["backend"] == "auto"


def test_flags_of_the_role_that_deploy_refuses_are_refused_by_the_plan():
    found = made({"models": [HALF]}, {"flags": {"port": 8600, "enable_baching": True}})
    assert [refusal["subject"] for refusal in found["plan"]["refusals"]] == ["flag port", "flag enable_baching"]
    assert "Leave it out of tfs_server_flags and set tfs_server_grpc_port" in found["server"]["refusals"][0]


def test_tls_of_the_role_is_explained():
    found = made({"models": [HALF]}, {"ssl_config_file": "/etc/tls.pbtxt"})
    assert any("gRPC only" in text for text in found["plan"]["warnings"])


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
        "tensorflow_intra_op_parallelism (half: 1, plain: 2)" in refusal
        and "tfserving_flags" in refusal
        and "tfs_server_model_name" in refusal
    )
    assert made(dict(TWO, flags={"tensorflow_intra_op_parallelism": 2}), records=records)["server"]["refusals"] == []
    assert (
        made(TWO, {"model_name": "plain"}, records=records)["server"]["flags"]["tensorflow_intra_op_parallelism"] == 2
    )
    assert made(TWO, records=[record(), record("plain")])["server"]["refusals"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flags", 3),
        ("environment", ["A=b"]),
        ("batching", "on"),
        ("models", [{"base_path": "/m"}]),
        ("models", "m"),
        ("batching_per_model", [{"batching": {}}]),
        ("devices", [3]),
        ("copies", {"suffix": "a"}),
        ("image", ["a"]),
        ("name", {"a": 1}),
        ("cpu_set", [0, 1]),
        ("model_name", ["m"]),
    ],
)
def test_a_variable_of_the_role_of_which_nothing_can_be_made_is_one_line(name, value):
    with pytest.raises(FleetError) as fault:
        made({"models": [HALF]}, {name: value})
    assert str(fault.value).startswith(f"tfs_server_{name}") and "\n" not in str(fault.value)


def test_a_server_that_goes_back_has_the_name_of_its_start_line():
    line = "docker run -d --name shop -p 8500:8500 tensorflow/serving:2.20.0"
    asked = {"models": [HALF], "options": [line]}
    assert resolve(None, Wishes(asked, {}, serves=False))["server"]["name"] == "shop"
    assert resolve(None, Wishes(asked, {"name": "mine"}, serves=False))["server"]["name"] == "mine"
    assert resolve(None, Wishes({"models": [HALF], "options": [7]}, {}, serves=False))["server"]["name"] == "half"
    assert resolve(None, Wishes({}, {}, serves=False))["server"]["name"] == "", "the module finds the only one"


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
    assert any("can move" in text for text in found["plan"]["warnings"]) == warns
