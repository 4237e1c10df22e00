# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What report.json must hold, and which inputs are refused. The keys come from the issue that asked for the report, not from the code."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "report"
NAMES = ["baseline_kept", "gains", "hostile", "untuned", "void_step"]
STEP_KEYS = {
    "name",
    "kept",
    "reason",
    "goodput_rps",
    "p50_ms",
    "p99_ms",
    "requests",
    "gain",
    "gain_interval",
    "noise_floor",
    "accuracy",
}


def load(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def build(hosts, **more):
    return document.build(hosts, "Serving", **more)


@pytest.mark.parametrize("name", NAMES)
def test_fits_the_published_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(build(load(name)))))


def test_holds_what_the_issue_lists():
    made = build(load("gains"))
    assert made["hosts"][0]["class"] == {"image": "x86-64-v4", "tuning": "x86-64-v4+avx512_bf16+avx512_vnni-amd-2c-1n"}
    assert made["hosts"][0]["plan"]["decisions"][0]["subject"] == "backend"
    assert [step["name"] for step in made["steps"]] == [
        "clients from REST to gRPC",
        "Batching on",
        "SavedModel to TensorFlow Lite (dynamic range)",
        "oneDNN off",
        "Threads: intra-op 1, inter-op 1",
    ]
    for step in made["steps"] + [made["total"]]:
        assert set(step) == STEP_KEYS
        assert set(step["accuracy"]) == {"before", "after"}
        assert len(step["gain_interval"]) == 2
    assert (made["total"]["gain"], made["total"]["gain_interval"]) == (1.1207, [1.046, 1.199])
    assert [step["kept"] for step in made["steps"]] == [True, True, True, False, False]


def factors(*steps):
    """The factor of each step, given as (gain, whether it was kept, more)."""
    hosts = load("gains")
    tuning = hosts[0]["tunings"][0]
    tuning["steps"] = [dict(tuning["steps"][0], gain=gain, kept=kept, **more) for gain, kept, more in steps]
    return [step["factor"] for step in build(hosts)["hosts"][0]["tunings"][0]["steps"]]


def test_factors_multiply_the_gains_that_were_kept():
    # By hand: 1.5; 1.5 x 0.8 = 1.2; 1.5 x 2 = 3; 3 x 1.1 = 3.3
    assert factors((0.5, True, {}), (-0.2, False, {}), (None, False, {}), (1.0, True, {}), (0.1, False, {})) == [
        1.5,
        pytest.approx(1.2),
        None,
        3.0,
        pytest.approx(3.3),
    ]


def test_advice_has_no_factor_and_what_was_not_confirmed_counts_for_the_steps_after_it():
    assert factors((0.5, False, {"advice": True}), (1.0, False, {"unconfirmed": True}), (0.5, False, {})) == [
        None,
        2,
        3,
    ]


def test_says_which_server_it_was():
    assert build(load("gains"))["is_tensorflow_serving"] is False
    assert "not TensorFlow Serving" in build(load("gains"))["statement"]
    hosts = load("gains")
    hosts[0]["tunings"][0]["backend"] = "docker"
    assert build(hosts)["is_tensorflow_serving"] is True
    untuned = build(load("untuned"))
    assert (untuned["backend"], untuned["is_tensorflow_serving"], untuned["total"], untuned["steps"]) == (
        None,
        None,
        None,
        [],
    )


def test_backend_comes_from_the_server_or_the_plan_where_the_tuning_does_not_say():
    hosts = load("gains")
    hosts[0]["tunings"][0]["backend"] = None
    hosts[0]["server"] = {"backend": "docker"}
    assert build(hosts)["backend"] == "docker"
    hosts[0]["server"] = None
    assert build(hosts)["backend"] == "embedded"


def fleet(**backends):
    """Hosts, {name: backends of its tunings}."""
    hosts = []
    for name, of_tunings in backends.items():
        data = dict(load("gains")[0], host=name, server=None, plan=None)
        data["tunings"] = [dict(data["tunings"][0], backend=backend) for backend in of_tunings]
        hosts.append(data)
    return hosts


def test_each_backend_has_a_report_of_its_own():
    hosts = fleet(web=["docker"], both=["embedded", "docker"], edge=["embedded"], planned=[], unknown=[])
    hosts[3]["plan"] = {"backend": "docker"}
    parts = dict(document.by_backend(hosts))
    assert {name: [data["host"] for data in part] for name, part in parts.items()} == {
        "docker": ["web", "both", "planned", "unknown"],
        "embedded": ["both", "edge", "unknown"],
    }
    for name, part in parts.items():
        made = build(part)
        found = {tuning["backend"] for entry in made["hosts"] for tuning in entry["tunings"]}
        assert (made["backend"], made["is_tensorflow_serving"], found) == (name, name == "docker", {name})
        assert ("It is not TensorFlow Serving" in made["statement"]) == (name == "embedded")


@pytest.mark.parametrize(("hosts", "backend"), [(fleet(a=["docker"], b=[]), "docker"), (fleet(a=[], b=[]), None)])
def test_a_fleet_with_one_backend_or_without_measurements_has_one_report(hosts, backend):
    assert document.by_backend(hosts) == [(backend, hosts)]


def test_the_statement_names_the_image_of_each_tuning():
    hosts = fleet(web=["docker"], gpu=["docker"], late=["docker"])
    for data, image in zip(hosts, ("tensorflow/serving:2.20.0", "tensorflow/serving:2.20.0-gpu", None)):
        data["tunings"][0]["image"] = image
    told = "These figures are from servers in the container images tensorflow/serving:2.20.0, tensorflow/serving:2.20.0-gpu."
    assert build(hosts)["statement"] == told
    assert (
        build(hosts[:1])["statement"]
        == "These figures are from the server in the container image tensorflow/serving:2.20.0."
    )
    assert build(hosts[2:])["statement"] == "These figures are from a server in a container."


def test_order_of_hosts_changes_nothing():
    hosts = load("untuned") + load("gains")
    assert build(hosts) == build(hosts[::-1])


def test_input_is_left_alone():
    hosts = load("void_step")
    before = copy.deepcopy(hosts)
    build(hosts)
    assert hosts == before


def test_void_step_has_no_figures_and_its_reasons_are_kept():
    made = build(load("void_step"))
    void = made["steps"][1]
    assert (void["gain"], void["goodput_rps"], void["kept"], void["requests"]) == (None, None, False, 0)
    assert made["method"]["void_windows"] == 48
    assert any("93 %" in reason for reason in made["method"]["void_reasons"])


def test_several_models_of_a_host_are_all_told():
    hosts = load("gains")
    hosts[0]["tunings"].append(dict(load("baseline_kept")[0]["tunings"][0], model="second"))
    made = build(hosts)
    assert [tuning["model"] for tuning in made["hosts"][0]["tunings"]] == ["digits", "second"]
    assert made["total"]["gain"] == 1.1207


def test_a_class_is_told_once_and_measured_on_one_host():
    hosts = [dict(load("gains")[0], host=f"node-{number:04d}") for number in range(1000)]
    for host in hosts[2:]:
        host["tunings"] = []
    made = build(hosts)
    assert len(made["classes"]) == 1
    assert made["classes"][0]["tuned_host"] == "node-0000"
    assert len(made["classes"][0]["hosts"]) == len(made["hosts"]) == 1000


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda host: host.pop("host"), "hosts[0]: a host must be a mapping with the key `host`"),
        (lambda host: host.update(host="  "), "hosts[0]: a host must be a mapping with the key `host`"),
        (
            lambda host: host.update(tuning={}),
            "'tuning' is not known; allowed: host, capabilities, plan, server, price_per_hour, tunings, checks; did you mean tunings?",
        ),
        (lambda host: host.update(plan=[1]), "hosts[0] (localhost).plan: [1] is not a mapping"),
        (
            lambda host: host["capabilities"].update(cpu="fast"),
            "hosts[0] (localhost).capabilities.cpu: 'fast' is not a mapping",
        ),
        (
            lambda host: host["plan"].update(refusals=["no"]),
            "hosts[0] (localhost).plan.refusals: ['no'] is not a list of mappings",
        ),
        (
            lambda host: host["checks"][0]["outputs"]["probabilities"].update(max_abs="big"),
            "checks[0].outputs.probabilities.max_abs: 'big' is not a finite",
        ),
        (lambda host: host.update(tunings={}), "hosts[0] (localhost).tunings: {} is not a list of mappings"),
        (
            lambda host: host["tunings"][0].update(backend="triton"),
            "tunings[0].backend: 'triton' is not known; allowed: embedded, docker",
        ),
        (lambda host: host["tunings"][0].pop("steps"), "tunings[0]: steps must be a list"),
        (lambda host: host["tunings"][0].pop("total"), "tunings[0].total: None is not a tuning step"),
        (lambda host: host["tunings"][0]["steps"][1].pop("gain"), "steps[1]: the key 'gain' is missing"),
        (
            lambda host: host["tunings"][0]["steps"][1].update(gain=math.nan),
            "steps[1].gain: nan is not a finite number",
        ),
        (
            lambda host: host["tunings"][0]["steps"][1].update(gain=-1.5),
            "steps[1].gain: -1.5 is out of range; allowed: -1 to",
        ),
        (
            lambda host: host["tunings"][0]["steps"][1].update(goodput_rps=1e13),
            "steps[1].goodput_rps: 10000000000000.0 is out of range; allowed: 0 to",
        ),
        (
            lambda host: host["tunings"][0]["steps"][1].update(p99_ms="12"),
            "steps[1].p99_ms: '12' is not a finite number",
        ),
        (lambda host: host["tunings"][0]["steps"][1].update(requests=-1), "steps[1].requests: -1 is out of range"),
        (lambda host: host["tunings"][0]["steps"][1].update(kept="yes"), "steps[1].kept: 'yes' is not true or false"),
        (lambda host: host["tunings"][0]["steps"][1].update(name=None), "steps[1].name: None is not a string"),
        (
            lambda host: host["tunings"][0]["steps"][1].update(gain_interval=[0.2, 0.1]),
            "steps[1].gain_interval: [0.2, 0.1] is not an interval",
        ),
        (
            lambda host: host["tunings"][0]["steps"][1].update(gain_interval=[0.2]),
            "steps[1].gain_interval: [0.2] is not an interval",
        ),
        (lambda host: host["tunings"][0]["steps"][1].update(accuracy=0.9), "steps[1].accuracy: 0.9 is not a mapping"),
        (
            lambda host: host["tunings"][0]["steps"][1].update(curve_after=[[0.5, 2], [0.9, 1]]),
            "steps[1].curve_after: [0.9, 1] is below the previous point",
        ),
        (
            lambda host: host["tunings"][0]["steps"][1].update(curve_after=[[1.5, 2]]),
            "steps[1].curve_after: 1.5 is out of range; allowed: 0 to 1",
        ),
        (
            lambda host: host["tunings"][0]["steps"][1].update(curve_after=[[0.5]]),
            "steps[1].curve_after: [0.5] is not a pair",
        ),
        (lambda host: host["tunings"][0].update(method=3), "method: 3 is not a mapping"),
        (lambda host: host["tunings"][0]["method"].update(metric=3), "method.metric: 3 is not a string"),
    ],
)
def test_bad_input_is_told_in_one_line(change, told):
    hosts = load("gains")
    change(hosts[0])
    with pytest.raises(FleetError) as caught:
        build(hosts)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_named_twice_is_refused():
    with pytest.raises(FleetError, match=r"hosts\[1\].host: 'a' is listed twice"):
        build([{"host": "a"}, {"host": "a"}])
