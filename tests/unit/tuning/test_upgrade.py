# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison before an upgrade against a simulated host: what runs against what would be deployed."""

from __future__ import annotations

import random
import re

import pytest

hdrh = pytest.importorskip("hdrh.histogram")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import options, trial, upgrade
from ansible_collections.tfserving.fleet.tests.support import simulated_host

# As model_server_info and host_plan return them.
RUNNING = {
    "name": "m",
    "backend": "docker",
    "state": "started",
    "image": "tensorflow/serving:2.19.0",
    "flags": {"num_load_threads": 3, "rest_api_port": 8501, "port": 8500},
    "environment": {},
    "models": [{"name": "m", "form": "saved_model", "base_path": "/m/m/saved_model", "batching": None}],
}
EQUAL = {
    "name": "m",
    "backend": "docker",
    "image": "tensorflow/serving:2.19.0",
    "release": "2.19.0",
    "flags": {"num_load_threads": 3},
    "environment": {},
    "batching": None,
    "models": [{"name": "m", "base_path": "/m/m/saved_model"}],
}
NEW = dict(EQUAL, models=[{"name": "m", "base_path": "/m/m/tflite_dynamic_range"}])
CHANGES = "base_path"
REMEDY = "Nothing was changed. To deploy it all the same, set tfserving_upgrade_gate: false."


class Host(simulated_host.Host):
    """Its rates depend on the folder of the model. started: the descriptions of the servers."""

    started = ()

    def model_server(self, name, state, models=None, **given):
        if state == "started":
            self.started = (*self.started, dict(given, models=models))
            given["model_base_path"] = models[0]["base_path"]
        return super().model_server(name, state, **given)


def gate(ratio, desired=None, running=(RUNNING,), seed=1, check_mode=False, host=None, faults=(), **changes):
    """(what the module returns where the new server's true rate is this many times that of the running one, the host)."""
    desired, host = desired or NEW, host or Host(simulated_host.Truth([ratio], faults), random.Random(seed))
    given = {name: spec.get("default") for name, spec in options.ARGUMENTS.items()}
    given.update(
        name="m",
        python="python3",
        model_directory="/m",
        candidates=[],
        samples="/s.npz",
        metric="accuracy",
        backend="docker",
        image=desired["image"],
        budget_min=10,
        cpus="0-3",
        state_directory="/state",
        seed=seed,
        upgrade={"running": list(running), "desired": desired},
    )
    given.update(changes)
    controller = trial.Controller(host.call, lambda text: None, "web-1", lambda: host.now)
    return upgrade.gate(controller, given, check_mode), host


@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_a_slower_server_is_refused_in_one_line(ratio):
    host = Host(simulated_host.Truth([ratio]), random.Random(1))
    with pytest.raises(FleetError) as fault:
        gate(ratio, host=host)
    said = str(fault.value)
    assert said.startswith(f"m on web-1: the new server ({CHANGES}) is refused: the running server against it: +"), said
    assert "95 % interval" in said and "\n" not in said and said.endswith(REMEDY)
    assert not host._servers, "no trial server is left"
    gain = float(said.split("against it: ")[1].split(" %")[0]) / 100
    assert 1 / (1 + gain) == pytest.approx(ratio, abs=0.12), "two pairs of servers at 6 % and 15 % noise"
    assert gate(ratio, minimum_gain=2.0)[0]["msg"].startswith("m: the new server is not shown to be slower.")


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_an_equal_or_faster_server_passes_within_the_budget(ratio):
    result, host = gate(ratio)
    assert result["msg"].startswith("m: the new server is not shown to be slower. The running one against it: ")
    assert not result["changed"] and result["tuning"] is None and not host._servers and 0 < host.now < 700


def test_equal_servers_are_seldom_refused():
    """At 95 %, one half for each direction, 2.5 % of 40: more than 4 with a probability of 0.3 %."""
    refused = 0
    for seed in range(40):
        try:
            gate(1.0, seed=seed)
        except FleetError:
            refused += 1
    assert refused <= 4


def test_a_less_accurate_server_is_refused_although_it_is_faster():
    with pytest.raises(FleetError, match=r"is refused: accuracy .*0\.98.*0\.93.*Nothing was changed"):
        gate(1.5, faults=("inaccurate",))
    assert gate(1.5, faults=("inaccurate",), allowed_loss=0.1)[0]["msg"]
    assert gate(1.5, faults=("inaccurate",), samples=None, metric=None)[0]["msg"], "no metric, no accuracy"


def test_a_server_that_rejects_requests_is_refused():
    class Rejecting(Host):
        def _window(self, target, server, window_s, rows):
            window = super()._window(target, server, window_s, rows)
            if server["configuration"]["form"] != "saved_model":
                window["errors"] = {"INVALID_ARGUMENT": 30}
            return window

    with pytest.raises(FleetError, match=r"is refused: 10\.0 % of its requests fail \(INVALID_ARGUMENT\), 0\.0 % of"):
        gate(1.0, host=Rejecting(simulated_host.Truth([1.0]), random.Random(1)))


def test_a_server_whose_p99_misses_the_objective_is_refused_unless_the_running_one_misses_it_as_well():
    class Late(Host):
        def _window(self, target, server, window_s, rows):
            counted = hdrh.HdrHistogram(1, 60_000_000, 3)
            for _request in range(1000):
                counted.record_value(20_000 if server["configuration"]["form"] == "saved_model" else 50_000)
            window = super()._window(target, server, window_s, rows)
            return dict(window, histogram=counted.encode().decode(), requests=1000)

    def late(objective):
        return gate(1.5, host=Late(simulated_host.Truth([1.5]), random.Random(1)), objective_p99_ms=objective)

    with pytest.raises(FleetError, match=r"is refused: p99 of 50\.0 ms misses the objective of 30 ms\. Nothing"):
        late(30)
    assert late(60)[0]["msg"]
    better = dict(RUNNING, models=[dict(RUNNING["models"][0], base_path="/m/m/tflite_dynamic_range")])
    host = Late(simulated_host.Truth([1.0]), random.Random(1))
    assert gate(1.0, EQUAL, [better], host=host, objective_p99_ms=10)[0]["msg"], "it misses the objective by less"


def test_a_server_that_cannot_be_measured_is_refused():
    class NotStarting(Host):
        def model_server(self, name, state, models=None, **given):
            if state == "started" and models[0]["base_path"].endswith("tflite_dynamic_range"):
                raise FleetError("the server did not start", where="m")
            return super().model_server(name, state, models, **given)

    class Void(Host):
        def _window(self, target, server, window_s, rows):
            window = super()._window(target, server, window_s, rows)
            return dict(
                window, void="the generator was late" if server["configuration"]["form"] != "saved_model" else None
            )

    for kind, why in (
        (NotStarting, r"it could not be measured: m: the server did not start\."),
        (Void, r"it could not be measured: 0 rounds on 0 pairs of servers .* 6 of 12 windows were void"),
    ):
        with pytest.raises(FleetError, match=rf"is refused: {why}.*Nothing was changed"):
            gate(1.5, host=kind(simulated_host.Truth([1.5]), random.Random(1)))


def test_servers_of_different_backends_are_refused_before_anything_is_measured():
    for check_mode in (True, False):
        with pytest.raises(FleetError, match=r"\(backend.*\) is refused: servers of different backends cannot be"):
            gate(1.5, running=[dict(RUNNING, backend="embedded")], check_mode=check_mode)


def test_each_side_has_the_image_version_and_settings_of_its_server():
    new = dict(NEW, image="tensorflow/serving:2.20.0", release="2.20.0", batching={"max_batch_size": 8})
    new.update(environment={"A": "1"}, flags={"tensorflow_intra_op_parallelism": 1})
    new["models"] = [{"name": "m", "base_path": "/m/m/tflite_dynamic_range", "version_policy": {"specific": [2]}}]
    foreseen, _host = gate(1.5, new, check_mode=True)
    (action,) = foreseen["actions"]
    for changed in ("image", "base_path", "version_policy.specific", "batching.max_batch_size", "environment.A"):
        assert changed in action, action
    _result, host = gate(1.5, new)
    by_image = {one["image"]: one for one in host.started}
    assert set(by_image) == {"tensorflow/serving:2.19.0", "tensorflow/serving:2.20.0"}
    before, after = by_image["tensorflow/serving:2.19.0"], by_image["tensorflow/serving:2.20.0"]
    assert before["models"] == [{"name": "m", "base_path": "/m/m/saved_model", "version_policy": None}]
    assert after["models"] == [
        {"name": "m", "base_path": "/m/m/tflite_dynamic_range", "version_policy": {"specific": [2]}}
    ]
    assert before["batching_parameters_file"] is None and after["batching_parameters_file"]
    assert (before["environment"], after["environment"]) == ({}, {"A": "1"})
    assert before["flags"] == {"num_load_threads": 3}, "ports, and what the collection sets itself, are left out"
    assert after["flags"] == {"tensorflow_intra_op_parallelism": 1}


@pytest.mark.parametrize(
    ("desired", "running", "why"),
    [
        (EQUAL, [RUNNING], "m: the deployment changes nothing that is compared."),
        (NEW, [], "m: first deployment on web-1, so there is nothing to compare."),
        (NEW, [dict(RUNNING, state="stopped")], "m: first deployment on web-1, so there is nothing to compare."),
        (NEW, [dict(RUNNING, name="other")], "m: first deployment on web-1, so there is nothing to compare."),
        (
            NEW,
            [dict(RUNNING, models=[dict(RUNNING["models"][0], name="n")])],
            "m: first deployment on web-1, so there is nothing to compare.",
        ),
    ],
)
def test_nothing_is_measured_where_nothing_changes_or_nothing_runs(desired, running, why):
    result, host = gate(0.5, desired, running)
    assert result == {"changed": False, "tuning": None, "actions": [], "msg": why} and host.now == 0


def test_versions_whose_labels_were_moved_are_no_change():
    """A deployment keeps the labels of model_version, and their versions."""
    policy = {"version_policy": {"specific": [1, 2]}}
    moved = dict(RUNNING["models"][0], labels={"canary": 2}, **policy)
    assert gate(1.0, EQUAL, [dict(RUNNING, models=[moved])], check_mode=True)[0]["actions"] == []
    plain = dict(RUNNING["models"][0], **policy)
    assert gate(1.0, EQUAL, [dict(RUNNING, models=[plain])], check_mode=True)[0]["actions"], "the policy is replaced"


def test_check_mode_says_what_it_would_compare():
    result, host = gate(0.5, check_mode=True)
    assert result["actions"] == [f"Compare the running server of m with the new one ({CHANGES})"]
    assert result["msg"] == f"m: the deployment changes {CHANGES}." and host.now == 0
    replica = dict(RUNNING, name="m-gpu0", copy_of="m")
    assert gate(0.5, running=[replica], check_mode=True)[0]["actions"] == result["actions"]


@pytest.mark.parametrize("wrong", [{"budget_min": 0}, {"minimum_gain": -1}, {"confidence": 1.5}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(FleetError, match=next(iter(wrong))):
        gate(1.0, **wrong)


@pytest.mark.parametrize(
    ("desired", "running"),
    [({**EQUAL, "models": []}, [RUNNING]), ({**EQUAL, "flags": None}, [RUNNING]), (EQUAL, ["m"]), (EQUAL, [{}])],
)
def test_what_describes_no_server_is_refused(desired, running):
    with pytest.raises(FleetError) as fault:
        gate(1.0, desired, running)
    assert re.match(r"upgrade: it does not describe how the model m is served \(\w+\)\. Pass servers", str(fault.value))
