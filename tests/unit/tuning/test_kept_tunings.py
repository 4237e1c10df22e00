# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that a tuning leaves is the one that plans and deployments read."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.action import host_plan
from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import is_vaulted
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import host_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tuning_files, tunings

CAPABILITIES = {
    "architecture": "x86_64",
    "cpu": {"level": "x86-64-v3", "flags": ["avx", "sse4_2"], "threads": 8, "usable": 8.0, "affinity": "0-7"},
    "memory": {"usable_mib": 16000},
    "gpus": [],
    "classes": {"image": "x86-64-v3", "tuning": "x86-64-v3-intel-8c-1n"},
    "container": {"engine": "docker", "version": "24.0.7", "answers": True},
}
START = {
    "protocol": "rest",
    "form": "saved_model",
    "batching": None,
    "environment": {},
    "flags": {"enable_profiler": False},
}
FOUND = {
    "model": "half",
    "backend": "docker",
    "image": "tensorflow/serving:2.20.0",
    "start": START,
    "configuration": dict(
        START, batching={"max_batch_size": 8}, flags={"enable_profiler": False, "num_load_threads": 2}
    ),
    "total": {"kept": True, "gain": 0.5, "gain_interval": (0.4, 0.6)},
    "method": {"confidence": 0.95, "concurrency": 8, "examples": None},
    "scatter": {"squares": 0.01, "degrees": 7, "measured_as": "0d4c3a5b"},
}


def variables(directory, **more):
    return {
        "inventory_hostname": "web-2",
        "groups": {"all": ["web-1", "web-2"]},
        "tfserving_models": [{"name": "half"}, {"name": "plain"}],
        "tfserving_tunings_directory": str(directory),
        "tfserving_version": "2.20.0",
        **more,
    }


def resolved(given, capabilities, structure=None, **purpose):
    own = host_plan.evaluated(given, lambda value: value)
    host = host_variables.Host(own, is_vaulted, lambda base_path: structure)
    return host_variables.resolved(host, capabilities, host_variables.Purpose(**purpose))


def keep(directory, structure=None):
    record = tunings.kept(FOUND, "x86-64-v3-intel-8c-1n", "2.20.0", "web-1", "2026-01-02 03:04 UTC", structure)
    return tuning_files.write(record, str(directory))


def test_another_host_of_the_class_is_served_with_what_the_tuning_kept(tmp_path):
    decision = keep(tmp_path / "tunings")
    assert decision.changed and "max_batch_size: 8" in decision.after
    server = resolved(variables(tmp_path / "tunings"), CAPABILITIES)["server"]
    assert server["flags"]["num_load_threads"] == 2 and [one["batching"] for one in server["per_model"]] == [
        {"max_batch_size": 8},
        None,
    ]
    assert server["models"][0]["batching"] == {"max_batch_size": 8} and "batching" not in server["models"][1]
    elsewhere = dict(CAPABILITIES, classes={"image": "x86-64-v3", "tuning": "x86-64-v3-intel-4c-1n"})
    assert "num_load_threads" not in resolved(variables(tmp_path / "tunings"), elsewhere)["server"]["flags"]
    untuned = resolved(variables(tmp_path / "tunings"), CAPABILITIES, for_server=False, tunings=False)
    assert untuned["server"]["per_model"] == [] and untuned["plan"]["models"][0]["batching"] is None


def test_a_tuning_that_turned_planned_batching_off_is_applied_as_measured(tmp_path):
    models = [{"name": "half", "batching": "auto"}, {"name": "plain", "batching": "auto"}]
    planned = resolved(variables(tmp_path, tfserving_models=models), CAPABILITIES)
    before = planned["plan"]["models"][0]["batching"]
    assert before and planned["server"]["batching"] == before
    start = dict(START, batching=before)
    found = dict(FOUND, start=start, configuration=dict(start, batching=None))
    record = tunings.kept(found, "x86-64-v3-intel-8c-1n", "2.20.0", "web-1", "2026-01-02 03:04 UTC")
    assert "batching: null" in tuning_files.write(record, str(tmp_path)).after
    (read,) = tuning_files.read(str(tmp_path), "x86-64-v3-intel-8c-1n")
    assert read.change == {"batching": None}
    tuned = resolved(variables(tmp_path, tfserving_models=models), CAPABILITIES)
    assert [one["batching"] for one in tuned["plan"]["models"]] == [None, before]
    assert [one["batching"] for one in tuned["server"]["per_model"]] == [None, before]
    alone = resolved(variables(tmp_path, tfserving_models=models[:1]), CAPABILITIES)
    assert alone["server"]["batching"] is None and "enable_batching" not in alone["plan"]["server"]["flags"]
    own = [dict(models[0], batching={"max_batch_size": 4}), models[1]]
    kept = resolved(variables(tmp_path, tfserving_models=own), CAPABILITIES)["plan"]["models"]
    assert kept[0]["batching"] == {"max_batch_size": 4}, "the user's own batching overrides the tuning"


@pytest.mark.parametrize(("stale", "threads", "refused"), [("keep", 2, 0), ("ignore", None, 0), ("fail", None, 1)])
def test_where_the_graph_on_the_host_is_another_one_stale_tunings_decide(tmp_path, stale, threads, refused):
    keep(tmp_path, {"signatures": "a", "graph": "b"})
    given = variables(tmp_path, tfserving_stale_tunings=stale)
    same = resolved(given, CAPABILITIES, {"signatures": "a", "graph": "b"})["server"]
    assert same["flags"]["num_load_threads"] == 2 and same["warnings"] == []
    other = resolved(given, CAPABILITIES, {"signatures": "a", "graph": "c"})["server"]
    assert other["flags"].get("num_load_threads") == threads and len(other["refusals"]) == refused
    words = [text for text in [*other["warnings"], *other["refusals"]] if "other graph of the model" in text]
    assert words and "tfserving.fleet.tune" in words[0]


def test_a_file_that_cannot_be_read_is_one_line_with_its_name(tmp_path):
    (tmp_path / "x86-64-v3-intel-8c-1n").mkdir()
    (tmp_path / "x86-64-v3-intel-8c-1n" / "half.yml").write_text("a: [", encoding="utf-8")
    with pytest.raises(FleetError) as fault:
        resolved(variables(tmp_path), CAPABILITIES)
    assert "half.yml: cannot read the tuning" in str(fault.value) and "\n" not in str(fault.value)


def test_tunings_are_kept_beside_the_inventory_file(tmp_path):
    (tmp_path / "hosts.yml").write_text("", encoding="utf-8")
    found = {"inventory_dir": str(tmp_path), "ansible_inventory_sources": [str(tmp_path / "hosts.yml")]}
    assert host_variables.tunings_directory(found) == str(tmp_path / "tunings")
    assert host_variables.tunings_directory(dict(found, ansible_inventory_sources=[str(tmp_path)])) == str(
        tmp_path.parent / "tunings"
    )
    assert host_variables.tunings_directory({"ansible_inventory_sources": ["host,"]}) is None
    assert host_variables.tunings_directory(variables("/kept", **found)) == "/kept"
    assert host_variables.tunings_directory(variables("kept", **found)) == str(tmp_path / "kept")
    assert host_variables.tunings_directory(variables("kept", ansible_inventory_sources=["host,"])) == str(
        Path("kept").absolute()
    )


def test_a_server_that_is_removed_needs_no_capabilities():
    server = resolved(
        {
            "inventory_hostname": "a",
            "groups": {},
            "tfs_server_model_name": "m",
            "tfs_server_model_base_path": "/m",
            "tfs_server_state": "absent",
            "tfserving_backend": "docker",
        },
        None,
    )["server"]
    assert server["name"] == "m" and server["backend"] == "docker"
