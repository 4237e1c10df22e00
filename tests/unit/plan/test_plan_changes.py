# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans against what runs, and the page that tells it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import fleet_plans, plan_text
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.changes import differences
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.plan import plan
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import running_server
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import variant_of

HOST = {
    "architecture": "x86_64",
    "cpu": {"level": "x86-64-v3", "flags": ["avx", "sse4_2"], "threads": 4, "usable": 4.0, "affinity": "0-3"},
    "memory": {"usable_mib": 16000},
    "gpus": [],
    "classes": {"image": "x86-64-v3", "tuning": "x86-64-v3-intel-4c-1n"},
    "container": {
        "engine": "docker",
        "version": "24.0.7",
        "answers": True,
        "runtimes": ["runc"],
        "cdi_directories": [],
    },
}
PLAN = plan(HOST, {"version": "2.20.0", "models": [{"name": "digits"}]})


def server(**changes):
    """A server that is as PLAN wants it, but for the changes."""
    model = dict(
        {"name": "digits", "form": "saved_model", "base_path": "/srv/models/digits/saved_model", "batching": None},
        **changes.pop("model", {}),
    )
    return dict(
        {
            "name": "digits",
            "backend": "docker",
            "state": "started",
            "image": "tensorflow/serving:2.20.0",
            "models": [model],
            "flags": {"max_num_load_retries": 0, "enable_profiler": False, "grpc_max_threads": 64},
            "environment": {},
            "cpu_set": None,
            "devices": [],
            "address": "0.0.0.0",
            "grpc_port": 8500,
            "rest_port": 8501,
        },
        **changes,
    )


def test_what_runs_as_planned_differs_in_nothing():
    assert differences(PLAN, [server()]) == []
    assert (
        differences(PLAN, [server(name="another-name", flags=dict(server()["flags"], port=8500, model_name="digits"))])
        == []
    )


def test_labels_are_no_difference():
    """A server with labels has allow_version_labels_for_unavailable_models (docs/model-updates.md). Labels are no part of a plan."""
    request = {"version": "2.20.0", "models": [{"name": "digits"}]}
    for backend, image in (("docker", "tensorflow/serving:2.20.0"), ("embedded", None)):
        wanted, runs = plan(HOST, dict(request, backend=backend)), {"backend": backend, "image": image}
        assert differences(wanted, [server(**runs, model={"labels": {"stable": 1}})]) == []


def test_a_server_of_another_name_keeps_running():
    """model_server changes only the server of the given name, so a deployment starts a second one (plugins/modules/model_server.py, option name)."""
    (text,) = differences(PLAN, [server(name="words")], "digits")
    assert text.startswith("digits: a new server") and "words also serves its models and keeps running" in text
    assert "tfs_server_name: words" in text
    assert differences(PLAN, [server(name="words"), server()], "digits") == []
    assert differences(PLAN, [], "digits") == differences(PLAN, [])

    runs = {"asked": {"servers": [server(name="words")]}, "ansible_facts": {}}
    free = {"tfs_server_grpc_port": 0, "tfs_server_rest_port": 0}
    hosts = {"plain": dict(runs, **free), "named": dict(runs, tfs_server_name="words")}
    found = fleet_plans.against(dict.fromkeys(hosts, PLAN), hosts, "asked")
    assert found["plain"]["differences"] == [text] and found["named"]["differences"] == []


@pytest.mark.parametrize(
    "own, port",
    [
        ({}, 8500),
        ({"tfs_server_grpc_port": "8501", "tfs_server_rest_port": None}, 8501),
        ({"tfs_server_grpc_port": 0}, 8501),
        ({"tfs_server_grpc_port": 0, "tfs_server_rest_port": 0}, None),
        ({"tfs_server_grpc_port": 9000, "tfs_server_rest_port": 9001}, None),
    ],
)
@pytest.mark.parametrize("models", ["digits", "letters"])
def test_a_server_of_another_name_on_the_same_port_is_refused(own, port, models):
    """The first model was removed or renamed: the deployment would start a second server on the ports of the first (host_resources.refuse_used_ports)."""
    old = server(name="words", model={"name": models})
    hosts = {"host": {"asked": {"servers": [old]}, "ansible_facts": {}, **own}}
    found = fleet_plans.against({"host": PLAN}, hosts, "asked")["host"]["differences"]
    refused = [text for text in found if "refused" in text]
    if port is None:
        assert not refused
        return
    (text,) = refused
    assert text.startswith("digits: a new server") and f"words uses port {port}" in text and "keeps running" not in text
    assert "tfs_server_name: words" in text and "tfs_server_state: absent" in text
    gone = {"host": dict(hosts["host"], asked={"servers": [dict(old, state="stopped")]})}
    assert "refused" not in str(fleet_plans.against({"host": PLAN}, gone, "asked"))


def test_the_ports_of_start_lines_and_flags_count():
    old = {"asked": {"servers": [server(name="words", grpc_port=9000, rest_port=9001)]}, "ansible_facts": {}}
    for more in ({"serve": {"grpc_port": 9000}}, {"server": dict(PLAN["server"], flags={"rest_api_port": 9001})}):
        found = fleet_plans.against({"host": dict(PLAN, **more)}, {"host": old}, "asked")
        assert "words uses port 900" in str(found), more


def test_what_deploying_would_change():
    assert differences(PLAN, []) == ["digits: would be served; no server serves it now"]
    assert differences(PLAN, [server(state="stopped")]) == ["digits: would be served; no server serves it now"]
    older = server(
        image="tensorflow/serving:2.19.1",
        flags={"max_num_load_retries": 5, "enable_profiler": False, "grpc_max_threads": 64},
    )
    assert differences(PLAN, [older]) == [
        "digits: flags.max_num_load_retries: 5 -> 0",
        "digits: image: tensorflow/serving:2.19.1 -> tensorflow/serving:2.20.0",
    ]
    batched = server(
        model={"form": "tflite_dynamic_range", "batching": {"max_batch_size": 8}},
        environment={"TF_ENABLE_ONEDNN_OPTS": "1"},
        cpu_set="0-1",
    )
    assert differences(PLAN, [batched]) == [
        "digits: batching.max_batch_size: 8 -> none",
        "digits: cpu_set: 0-1 -> none",
        "digits: environment.TF_ENABLE_ONEDNN_OPTS: 1 -> none",
        "digits: form: tflite_dynamic_range -> saved_model",
    ]
    secret = server(environment={"DB_PASSWORD": "hunter2"})
    assert differences(PLAN, [secret]) == ["digits: environment.DB_PASSWORD: another value (not shown)"]
    assert differences(PLAN, [server(), server(name="old", model={"name": "letters"})]) == [
        "letters: served by old, which is not in the plan and stays"
    ]


def test_servers_of_one_gpu_each():
    """Each is compared with the one that runs under its suffix; those that no GPU is left for are named."""
    parts = [
        {
            "suffix": suffix,
            "devices": [{"pci_bus_id": f"0000:0{number}:00.0", "id": f"GPU-{number}", "by": "cdi"}],
            "cpu_set": None,
            "port_offset": 2 * number,
        }
        for number, suffix in enumerate(("", "-gpu1"))
    ]
    several = dict(PLAN, server=dict(PLAN["server"], devices=parts[0]["devices"], per_gpu=parts))
    running = [server(name=f"digits{part['suffix']}", copy_of="digits", devices=part["devices"]) for part in parts]
    assert differences(several, running) == []
    assert differences(several, running[:1]) == ["GPU 0000:01:00.0: digits: would be served; no server serves it now"]
    assert differences(several, [server(devices=[])])[0].startswith("GPU 0000:00:00.0: digits: devices: none -> [")
    assert differences(several, [running[0], dict(running[1], cpu_set="0-1")]) == [
        "GPU 0000:01:00.0: digits: cpu_set: 0-1 -> none"
    ]
    assert differences(PLAN, [server(copy_of="digits"), dict(running[1], devices=[])]) == [
        "digits-gpu1: no longer planned, will be stopped"
    ]


def test_a_flag_that_followed_from_one_model_is_no_difference_of_another():
    """Earlier versions of the collection remembered the flags that follow from the models among those that were asked for."""
    lite = {"name": "letters", "form": "tflite_int8", "base_path": "/srv/models/letters/tflite_int8", "batching": None}
    both = plan(
        HOST, {"version": "2.20.0", "models": [{"name": "digits"}, {"name": "letters", "optimize": "tflite_int8"}]}
    )
    remembered = server(flags=dict(server()["flags"], prefer_tflite_model=True))
    remembered["models"].append(lite)
    assert both["server"]["flags"]["prefer_tflite_model"] is True and differences(both, [remembered]) == []


def test_a_model_in_a_folder_of_the_users_own_has_no_form_that_differs():
    own = server(model={"form": None, "base_path": "/elsewhere/digits"})
    assert differences(PLAN, [own]) == []


def test_what_a_server_does_not_tell_is_not_compared():
    told = {key: value for key, value in server(image="other").items() if key not in ("image", "flags", "devices")}
    told["models"] = [{"name": "digits"}]
    assert differences(PLAN, [told]) == []


def test_a_host_whose_plan_is_refused_keeps_what_it_serves():
    refused = plan(dict(HOST, cpu=dict(HOST["cpu"], flags=[])), {"version": "2.20.0", "models": [{"name": "digits"}]})
    assert refused["refusals"] and differences(refused, [server()]) == []
    nothing = plan(HOST, {"models": []})
    assert differences(nothing, [server()]) == ["digits: served by digits, which is not in the plan and stays"]


def test_an_embedded_server_is_described_by_what_it_left():
    left = {
        "name": "digits",
        "backend": "embedded",
        "address": "127.0.0.1",
        "grpc_port": 8500,
        "rest_port": None,
        "python": "/usr/bin/python3",
        "program": "0",
        "model_name": "digits",
        "model_base_path": "/srv/models/digits/tflite_dynamic_range/",
        "flags": {"prefer_tflite_model": True, "enable_batching": True},
        "environment": {"A": "b"},
        "cpu_set": "0",
        "batching_parameters_file": "/x",
        "batching_parameters": "0",
        "idle_exit_s": None,
    }
    found = running_server.running(ServingConfiguration.from_dict(left), True)
    assert found["state"] == "started" and found["flags"] == {"prefer_tflite_model": True} and found["cpu_set"] == "0"
    assert found["models"] == [
        {
            "name": "digits",
            "form": "tflite_dynamic_range",
            "base_path": "/srv/models/digits/tflite_dynamic_range/",
            "version_policy": None,
            "labels": {},
        }
    ], "an earlier version of the collection did not write what the batching file held"
    assert variant_of("/srv/models/digits") is None


def test_servers_that_could_not_be_seen_are_not_taken_for_gone():
    blind = {"asked": {"servers": [], "unseen": "cannot see servers in containers: permission denied"}}
    hosts = {
        "new": dict(blind, ansible_facts={}),
        "old": dict(blind, ansible_facts={"tfserving_servers": [server()]}),
        "laptop": dict(blind, ansible_facts={}),
        "gone": {"asked": {"unreachable": True, "msg": "no\nroute"}, "ansible_facts": {}},
    }
    plans = dict.fromkeys(hosts, PLAN)
    plans["laptop"] = plan(dict(HOST, container={"engine": None}), {"models": [{"name": "digits"}]})
    found = fleet_plans.against(plans, hosts, "asked")
    assert {host: entry["seen"] for host, entry in found.items()} == {
        "new": None,
        "old": "remembered",
        "laptop": "now",
        "gone": None,
    }
    assert (
        "permission denied" in found["old"]["reason"]
        and found["old"]["differences"] == []
        and found["gone"]["reason"] == "the host cannot be reached"
    )
    assert found["laptop"]["differences"] == ["digits: would be served; no server serves it now"]
    assert fleet_plans.news(plans, hosts, "asked") == ["laptop"]


def test_the_page_tells_what_would_change_and_how_that_is_known():
    plans = {"a": PLAN, "b": PLAN, "c": PLAN, "d": None}
    known = {
        "a": {"seen": "now", "reason": None, "differences": differences(PLAN, [])},
        "b": {"seen": "remembered", "reason": "timed out", "differences": []},
        "c": {"seen": None, "reason": None, "differences": []},
        "d": {"seen": None, "reason": None, "differences": []},
    }
    text = plan_text.text(plans, running=known)
    assert text.endswith("""CHANGES that a deployment would make
  digits: would be served; no server serves it now   [a]
  not checked now, compared with what ran when it was last checked: timed out   [b]
  unknown what runs   [c, d]
""")
    assert "CHANGES" not in plan_text.text(plans)


def test_no_line_is_wider_than_asked_where_words_allow():
    plans = {f"host-{number}": PLAN for number in range(30)}
    for width in (72, 80, 120, 160):
        assert max(len(line) for line in plan_text.text(plans, width=width).splitlines()) <= width


def test_what_several_groups_share_is_said_once():
    other = plan(
        dict(HOST, cpu=dict(HOST["cpu"], threads=8, usable=8.0, affinity="0-7")),
        {"version": "2.20.0", "models": [{"name": "digits"}]},
    )
    text = plan_text.text({"a": PLAN, "b": other})
    assert text.count("set by tfserving_version") == 1 and "set by tfserving_version   [all]" in text
    assert "CPU set: all - 4 usable" in text and "CPU set: all - 8 usable" in text
