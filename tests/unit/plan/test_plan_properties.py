# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold of every plan, whatever the host and the request."""

from __future__ import annotations

import copy
import functools
import json
import os
import re

import pytest

hypothesis = pytest.importorskip("hypothesis")

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import compatibility, parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan as plans
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan_text
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.changes import differences
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.request import KEYS
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table
from ansible_collections.tfserving.fleet.tests.support.refusals import apply
from hypothesis import strategies as st

plan = functools.partial(plans.plan, microarchitectures=microarchitectures.known())

LEVEL_FLAGS = {
    "x86-64-v1": [],
    "x86-64-v2": ["sse4_2", "popcnt", "cx16"],
    "x86-64-v3": ["sse4_2", "popcnt", "cx16", "avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "abm", "movbe"],
    "x86-64-v4": [
        "sse4_2",
        "popcnt",
        "cx16",
        "avx",
        "avx2",
        "fma",
        "bmi1",
        "bmi2",
        "f16c",
        "abm",
        "movbe",
        "avx512f",
        "avx512bw",
        "avx512cd",
        "avx512dq",
        "avx512vl",
    ],
}
# TF-TRT by minor release: the major compute capabilities that its TensorRT has code for, from upstream's .bazelrc at the tags; none after 2.17.
TENSORRT = {**dict.fromkeys(range(4, 15), (3, 5, 6, 7, 8)), **dict.fromkeys(range(15, 18), (5, 6, 7, 8, 9))}
# What -march values need, from GCC's documentation.
MARCH_NEEDS = {
    "haswell": "avx2",
    "x86-64-v2": "sse4_2",
    "x86-64-v3": "avx2",
    "skylake-avx512": "avx512f",
    "znver5": "avx512f",
}
CPU_FLAGS = sorted({flag for flags in LEVEL_FLAGS.values() for flag in flags} | set(table.ONEDNN_DEFAULT_FLAGS))


def maybe(strategy):
    return st.none() | strategy


@st.composite
def cpus(draw):
    level = draw(st.sampled_from(sorted(LEVEL_FLAGS)))
    flags = draw(st.just(LEVEL_FLAGS[level]) | st.lists(st.sampled_from(CPU_FLAGS), unique=True))
    count = draw(st.integers(1, 256))
    return {
        "level": draw(st.sampled_from([level, "aarch64", None])),
        "flags": sorted(set(flags) | set(draw(st.lists(st.sampled_from(CPU_FLAGS))))),
        "threads": draw(maybe(st.integers(1, 256))),
        "usable": draw(maybe(st.floats(0.05, count))),
        "affinity": draw(st.sampled_from([f"0-{count - 1}", "0", None])),
        "quota": None,
        "cpuset": None,
    }


def devices(bus):
    """One to three GPUs of a group; bus tells groups apart."""
    return st.lists(
        st.fixed_dictionaries(
            {
                "pci_bus_id": st.sampled_from([f"0000:{bus}1:00.0", f"0000:{bus}2:00.0", f"0000:{bus}3:00.0"]),
                "uuid": maybe(st.sampled_from(["GPU-a", "GPU-b"])),
                "index": maybe(st.integers(0, 3)),
                "numa_node": st.none(),
                "cpu_affinity": maybe(st.just("0-3")),
                "mig_uuids": maybe(st.sampled_from([["MIG-a"], ["MIG-a", "MIG-b"]])),
            }
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda device: device["pci_bus_id"],
    )


gpus = st.integers(0, 2).flatmap(
    lambda bus: st.fixed_dictionaries(
        {
            "device_id": st.sampled_from(["10de:2330", "10de:1eb8", "1002:73bf", None]),
            "memory_mib": maybe(st.integers(1, 200000)),
            "driver": maybe(st.sampled_from(["nvidia", "nvidia", "vfio-pci"])),
            "driver_version": maybe(st.sampled_from(["418.40", "470.82", "525.60.13", "550.54", "580.1"])),
            "cuda_version": maybe(st.sampled_from(["11.4", "12.4", "13.0"])),
            "problem": st.sampled_from([None, None, "it fell off the bus", "no answer: reboot"]),
            "mig": st.sampled_from([None, None, [], [{"profile": "1g.10gb", "memory_mib": 9856}]]),
            "compute": maybe(st.fixed_dictionaries({"major": st.integers(2, 12), "minor": st.integers(0, 9)})),
            "devices": devices(bus),
        }
    )
)
nvidia = st.none() | st.fixed_dictionaries(
    {
        "toolkit": maybe(st.just("1.17")),
        "hook": maybe(st.just("/usr/bin/nvidia-container-runtime-hook")),
        "cdi": maybe(
            st.fixed_dictionaries(
                {
                    "names": maybe(st.sampled_from(["index", "uuid"])),
                    "problem": maybe(st.just("they are old: make them anew")),
                }
            )
        ),
    }
)

capabilities = st.fixed_dictionaries(
    {
        "architecture": st.sampled_from(["x86_64", "x86_64", "x86_64", "aarch64", "ppc64le", None]),
        "cpu": maybe(cpus()),
        "memory": maybe(st.fixed_dictionaries({"usable_mib": maybe(st.integers(64, 2**21))})),
        "gpus": maybe(st.lists(gpus, max_size=3, unique_by=lambda gpu: gpu["devices"][0]["pci_bus_id"][5])),
        "container": maybe(
            st.fixed_dictionaries(
                {
                    "engine": st.sampled_from(["docker", "docker", "podman", None]),
                    "version": st.sampled_from(["20.10.24", "19.03.1", "28.0.1", "odd", None]),
                    "answers": st.booleans(),
                    "reason": maybe(st.just("permission denied")),
                    "runtimes": maybe(st.sampled_from([["runc"], ["runc", "nvidia"]])),
                    "cdi_directories": maybe(st.sampled_from([[], ["/etc/cdi"]])),
                    "nvidia": nvidia,
                }
            )
        ),
        "classes": st.none()
        | st.fixed_dictionaries({"image": st.just("x86-64-v3"), "tuning": st.just("x86-64-v3-intel-4c-1n")}),
    }
)

shapes = st.none() | st.lists(st.none() | st.integers(1, 9), max_size=7)
dtypes = st.sampled_from(["float32", "float16", "int64", "string", "uint32"])
tensors = st.dictionaries(st.sampled_from(["x", "y"]), st.fixed_dictionaries({"dtype": dtypes, "shape": shapes}))
signatures = st.none() | st.dictionaries(
    st.sampled_from(["serving_default", "other"]),
    st.fixed_dictionaries({"inputs": tensors, "outputs": tensors}),
    max_size=2,
)
odd = st.booleans() | st.just("name") | st.integers(-1, 2) | st.just([4, 2])
sizes = st.sampled_from([1, 8, 32, 64, 1000])
batching = st.sampled_from([None, "none", "auto"]) | st.fixed_dictionaries(
    {},
    optional={
        "max_batch_size": sizes | odd,
        "batch_timeout_micros": st.integers(0, 5000) | odd,
        "max_enqueued_batches": st.integers(1, 200) | odd,
        "num_batch_threads": st.integers(1, 64),
        "allowed_batch_sizes": st.sampled_from([[8, 32], [8, 64], [1, 1], []]),
        "max_execution_batch_size": sizes,
        "pad_variable_length_inputs": st.booleans(),
        "enable_large_batch_splitting": st.booleans(),
        "max_bach_size": st.just(3),
    },
)
models = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c"]),
            "optimize": st.sampled_from([None, "auto", "none", "tflite_dynamic_range", "tensorrt"]),
            "batching": batching,
            "signatures": signatures,
            "size_bytes": maybe(st.integers(0, 2**38)),
        }
    ),
    max_size=3,
    unique_by=lambda model: model["name"],
)
flag_values = (
    st.booleans() | st.integers(-2, 70000) | st.floats(-1, 2) | st.sampled_from(["", "bfloat16", "bf16", "/etc/x"])
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from(table.RELEASES)
        | st.sampled_from(["2.20", "2.15.0", "2.21.0", "1.15.0", "latest", "v2.17.1", "2.99"]),
        "models": models,
        "goal": st.sampled_from(["online", "bulk"]),
        "objective_p99_ms": maybe(st.floats(0.01, 1000)),
        "backend": st.sampled_from(["auto", "docker", "embedded"]),
        "gpu": st.sampled_from(["auto", "none", "require"]),
        "gpu_servers": st.sampled_from(["one", "per_gpu"]),
        "cpus": maybe(st.floats(0.01, 300)),
        "image": maybe(
            st.sampled_from(
                [
                    "registry.example/serving:1",
                    "registry.example/serving:2.11.1-gpu",
                    "docker.io/tensorflow/serving:2.15.0",
                    "docker.io/tensorflow/serving:2.17.1-gpu",
                    "docker.io/tensorflow/serving",
                ]
            )
        ),
        "build": st.booleans(),
        "build_for": st.sampled_from([[], [], ["x86-64-v3"], ["x86-64-v2", "x86-64-v4-cc8"]]),
        "build_options": maybe(
            st.sampled_from(
                [
                    "--config=nativeopt",
                    "--copt=-mavx2",
                    "--config=release --copt=-march=znver5",
                    "--copt=-march=x86-64-v3",
                    "--config=release --copt=-march=haswell",
                    "--copt=-march=strange",
                    "--config=mkl",
                    "--copt=-mavx512f",
                    "--copt=-march=skylake-avx512",
                    "",
                    "nonsense",
                ]
            )
        ),
        "flags": st.dictionaries(
            st.sampled_from(sorted(table.FLAGS) + sorted(table.FORMER_FLAGS) + ["prot"]), flag_values, max_size=6
        ),
        "environment": st.dictionaries(
            st.sampled_from(["TF_ENABLE_ONEDNN_OPTS", "MALLOC_ARENA_MAX"]), st.sampled_from(["0", "1", "2"])
        ),
        "options": st.lists(
            st.sampled_from(
                [
                    "--use_tflite_model=true",
                    "--port 8500",
                    "--runtime=nvidia",
                    "--gpus all",
                    "--cpus=2.5",
                    "TF_SERVING_BUILD_OPTIONS=--config=nativeopt",
                    "--build-arg TF_SERVING_VERSION_GIT_BRANCH=2.17.1",
                    "saved_model_cli convert --dir m --output_dir o --tag_set serve tensorrt --max_batch_size 1 --is_dynamic_op True",
                    "max_enqueued_batches = batches processed concurrently",
                    "num_batch_threads: queue limit",
                    "hello",
                    "",
                    "--mixed_precision=int8",
                    "--rest_api_num_threads=1",
                    "--nothing=5",
                    "--cpuset-cpus=0-3,8",
                    "--cpuset-cpus=3-1",
                    "--config=nativeopt",
                    "--copt=-march=native",
                    'TF_SERVING_VERSION_GIT_BRANCH="r2.4"',
                    "TF_SERVING_VERSION_GIT_COMMIT=head",
                    "TF_SERVING_BUILD_IMAGE=mine",
                    "--enable_batching",
                ]
            )
            | st.text(max_size=12),
            max_size=4,
            unique=True,
        ),
        "measured": st.lists(st.just("oneDNN"), max_size=1),
    },
)
# PLAN_EXAMPLES=5000 looks longer.
many = hypothesis.settings(
    max_examples=int(os.environ.get("PLAN_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@many
@hypothesis.given(capabilities, requests)
def test_every_plan_keeps_the_rules(host, request):
    before = copy.deepcopy((host, request))
    made = plan(host, request)
    assert (host, request) == before
    assert made == plan(copy.deepcopy(host), copy.deepcopy(request))
    assert json.loads(json.dumps(made)) == made
    if made["release"] is None:
        return
    assert set(made["server"]["flags"]) <= set(questions.flags(made["release"]))
    assert not questions.check_flags(made["release"], made["server"]["flags"])
    cpu_flags = set(((host["cpu"] or {}).get("flags")) or ())
    if made["image"] and made["image"].startswith("tensorflow/serving:"):
        assert {"avx", "sse4_2"} <= cpu_flags and host["architecture"] == "x86_64"
    if made["build"]:
        options = made["build"]["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"].split()
        needed = {flag for option in options for flag in table.COPT_FLAGS.get(option.replace("--copt=", ""), ())}
        assert needed <= cpu_flags and "native" not in " ".join(options)
        marches = [option.partition("-march=")[2] for option in options if "-march=" in option]
        assert all(
            MARCH_NEEDS[march] in cpu_flags | set(LEVEL_FLAGS.get((host["cpu"] or {}).get("level"), ()))
            for march in marches
        )
        assert made["build"]["devel"]["arguments"]["TF_SERVING_VERSION_GIT_COMMIT"] == table.SOURCES[made["release"]][0]
    by_name = {model["name"]: model for model in request.get("models", ())}
    for model in made["models"]:
        if model["form"] == "tensorrt":
            used = made["server"]["devices"][0]["pci_bus_id"]
            group = next(
                group for group in host["gpus"] if used in [device["pci_bus_id"] for device in group["devices"]]
            )
            assert group["compute"]["major"] in TENSORRT[int(made["release"].split(".")[1])]
        if model["batching"]:
            parameters.check(model["batching"])
            faults, _warnings = compatibility.judge(
                by_name[model["name"]]["signatures"] or {}, model["batching"].get("pad_variable_length_inputs")
            )
            assert not faults
    for candidate in made["candidates"]:
        assert set(candidate["change"]) <= {"protocol", "batching", "form", "environment", "flags"}
        assert set(candidate["change"].get("flags", ())) <= set(questions.flags(made["release"]))
        assert not questions.check_flags(made["release"], candidate["change"].get("flags", {}))
        parameters.check(candidate["change"].get("batching") or {})
    assert request.get("gpu") != "require" or made["server"]["devices"] or not made["models"]
    assert "nothing" in plan_text.text({"h": made}, {"h": made}).splitlines()[-1]
    assert isinstance(differences(made, []), list)


@many
@hypothesis.given(capabilities, requests)
def test_every_remedy_works(host, request):
    for refusal in plan(host, request)["refusals"]:
        assert refusal["remedy"] and refusal["reason"]
        again = plan(host, apply(request, refusal["change"]))["refusals"]
        assert (refusal["subject"], refusal["reason"]) not in [(other["subject"], other["reason"]) for other in again]


@many
@hypothesis.given(capabilities, requests)
def test_following_the_remedies_ends_in_a_plan_without_refusals(host, request):
    for _step in range(40):
        refusals = plan(host, request)["refusals"]
        if not refusals:
            return
        request = apply(request, refusals[0]["change"])
    raise AssertionError(f"still refused: {refusals}")


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2.20.0", "auto", "none", "0-3", "1e400"])
)
keys = st.text(max_size=3) | st.integers(0, 1)
nonsense = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2), max_leaves=4
)


def inside(thing):
    """Where something of a nested thing can be put: (container, key)."""
    for key in thing if isinstance(thing, dict) else range(len(thing)):
        yield thing, key
        if isinstance(thing[key], (dict, list)):
            yield from inside(thing[key])


@pytest.mark.parametrize(
    "asked, where",
    [
        ({"models": [{"name": "m", "batching": {"": None, 0: None}}]}, "tfserving_models[0].batching: 0"),
        ({"options": [{"": None, 0: None}]}, "tfserving_options[0]: 0"),
        ({"flags": {True: 1}}, "tfserving_flags: True"),
        ({2: 1}, "the request: 2"),
    ],
)
def test_a_key_that_is_no_text_is_named(asked, where):
    with pytest.raises(FleetError, match=re.escape(f"{where} is not a text")):
        plan({}, asked)


def test_a_key_that_is_no_text_in_what_a_host_can_do():
    with pytest.raises(
        FleetError,
        match=re.escape("ansible_facts.tfserving_capabilities.gpus[0].devices[0]: {0: None} is not what"),
    ):
        plan({"gpus": [{"device_id": "10de:2330", "devices": [{0: None}]}]}, {"models": [{"name": "m"}]})


@many
@hypothesis.given(capabilities, requests, st.data())
def test_nonsense_anywhere_is_one_line(host, request, data):
    host, request = copy.deepcopy((host, request))
    request = dict(request, models=request.get("models") or [{"name": "m", "optimize": None, "batching": None}])
    places = [*inside(host), *inside(request), *((request, key) for key in KEYS)]
    for holder, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        holder[key] = data.draw(nonsense)
    try:
        json.dumps(plan_text.text({"h": plan(host, request)}))
    except FleetError as fault:
        assert "\n" not in str(fault) and str(fault).endswith((".", "!", "?"))


@hypothesis.settings(many, max_examples=60)
@hypothesis.given(st.lists(capabilities, min_size=1, max_size=6), requests, st.randoms())
def test_a_fleet_is_planned_the_same_in_any_order(hosts, request, chance):
    names = [f"host-{number}" for number in range(len(hosts))]
    straight = {name: plan(host, request) for name, host in zip(names, hosts)}
    pairs = list(zip(names, hosts))
    chance.shuffle(pairs)
    shuffled = {name: plan(host, request) for name, host in pairs}
    assert shuffled == straight
    assert plan_text.text(shuffled) == plan_text.text(straight)
