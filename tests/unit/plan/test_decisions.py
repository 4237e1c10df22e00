# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan decides, refuses and warns of, with the reason and the remedy that a user reads: release, backend, image, forms, batching, candidates."""

from __future__ import annotations

import functools

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan as plans
from ansible_collections.tfserving.fleet.tests.unit.plan.test_traps import SIGNATURES, V3, V4, gpu_host, host, request

plan = functools.partial(plans.plan, microarchitectures=microarchitectures.known())
V2 = ("cx16", "popcnt", "sse4_2")
BARE = host("x86-64-v2", V2)
ARM = dict(host("aarch64", ("asimd",)), architecture="aarch64")
POWER = dict(host(None, ()), architecture="ppc64le")
NO_ENGINE = {"engine": None, "answers": None}
NO_SDK = {"sdk": {"version": None, "problem": "No module named requests"}}
EMBEDDED = {"backend": "embedded", "version": None}
BUILD = {"build": True}
NO_FORM = {"models": {"m": {"optimize": "none"}}}
NO_BATCHES = {"models": {"m": {"batching": "none"}}}


def signature(dtype, shape=(None, 8)):
    return {side: {"x": {"dtype": dtype, "shape": list(shape)}} for side in ("inputs", "outputs")}


def lite(chosen=None, **dtypes):
    """A model for TensorFlow Lite with signatures of these types; chosen: the one that is served."""
    signatures = {name: signature(dtype) for name, dtype in dtypes.items()}
    return {"optimize": "tflite_dynamic_range", "signature": chosen, "signatures": signatures}


def own_image(name, version=None, **keys):
    return request(version=version, image=name, **keys)


SCALAR = {"signatures": {"a": signature("float32", ())}}
HALF = {"batching": {"max_batch_size": 8}}


@pytest.mark.parametrize(
    ("capabilities", "asked", "subject", "choice", "reason"),
    [
        (host(), request(version=None), "release", "2.20.0", "the newest release in the release table"),
        (host(), request(version="2.19.1"), "release", "2.19.1", "set by tfserving_version"),
        (host(), request(version="2.19"), "release", "2.19.1", "the newest release in the release table for 2.19"),
        (host(), request(version="2.21.0"), "release", "2.21.0", "set by tfserving_version"),
        (
            host(),
            own_image("tensorflow/serving:2.15.1"),
            "release",
            "2.15.1",
            "the release in the tag of tfserving_image",
        ),
        (
            host(),
            own_image("r.example/tensorflow/serving:2.11.1-gpu"),
            "release",
            "2.11.1",
            "in the tag of tfserving_image",
        ),
        (host(), own_image("r.example/a:2.17-zen@sha256:aa"), "release", "2.17.1", "in the tag of tfserving_image"),
        (host(), own_image("tensorflow/serving:2.21.0"), "release", "2.21.0", "in the tag of tfserving_image"),
        (
            host(),
            own_image("tensorflow/serving:latest"),
            "release",
            "2.20.0",
            "assumed: the newest release in the release table",
        ),
        (host(), own_image("r.example/a:1.4.2"), "release", "2.20.0", "assumed"),
        (host(), own_image("tensorflow/serving@sha256:aa"), "release", "2.20.0", "assumed"),
        (host(), own_image("tensorflow/serving:2.15.1", "2.17.1"), "release", "2.17.1", "set by tfserving_version"),
        (host(), own_image("tensorflow/serving:2.15.1", backend="embedded"), "release", "2.20.0", "the newest release"),
        (host(), request(), "backend", "docker", "the default if a container engine answers; docker answers"),
        (host(), request(backend="docker"), "backend", "docker", "requested; docker answers"),
        (host(), request(**EMBEDDED), "backend", "embedded", "requested"),
        (host(container=NO_ENGINE), request(version=None), "backend", "embedded", "no container engine was found"),
        (ARM, request(**EMBEDDED), "backend", "embedded", "requested"),
        (host(), request(image="a/b:1"), "image", "a/b:1", "tfserving_image"),
        (host(), request(), "image", "tensorflow/serving:2.20.0", "built for AVX, SSE4.2, which this CPU has"),
        (gpu_host(9, 0), request(), "image", "tensorflow/serving:2.20.0-gpu", "the official image of 2.20.0"),
        (host(), request(), "custom build", "not yet", "first measure with oneDNN on and off"),
        (host(), request(measured=["oneDNN"]), "custom build", "worth trying", "tfserving_build: true builds"),
        (host(), request(models=[]), "models", "none", "tfserving_models is empty"),
        (host(), request(), "model m: variant", "saved_model", "TensorFlow Lite is a candidate for tuning"),
        (host(), request({"optimize": "none"}), "model m: variant", "saved_model", "not converted"),
        (host(), request({"optimize": "tflite_int8"}), "model m: variant", "tflite_int8", "only if its outputs agree"),
        (
            gpu_host(8, 0),
            request({"optimize": "tensorrt"}, version="2.17.1"),
            "model m: variant",
            "tensorrt",
            "this GPU model",
        ),
        (host(), request({"batching": "none"}), "model m: batching", "off", "requested"),
        (host(), request(), "model m: batching", "off", "tuning measures whether it helps"),
        (host(), request(HALF), "model m: batching", "on", "set by the user"),
        (host(), request({"batching": "auto"}), "model m: batching", "on", "start values for online on the CPU"),
        (
            host(),
            request({"batching": "auto"}, goal="bulk"),
            "model m: batching",
            "on",
            "start values for bulk on the CPU",
        ),
        (
            gpu_host(9, 0),
            request({"batching": "auto"}),
            "model m: batching",
            "on",
            "start values for online on the GPU",
        ),
        (
            host(),
            request(build_options="--config=release", **BUILD),
            "build options",
            "--config=release",
            "tfserving_build_options",
        ),
    ],
)
def test_a_decision(capabilities, asked, subject, choice, reason):
    made = plan(capabilities, asked)
    assert made["refusals"] == []
    (found,) = [one for one in made["decisions"] if one["subject"] == subject]
    assert found["choice"] == choice and reason in found["reason"]
    assert set(found) == {"subject", "choice", "reason"}


@pytest.mark.parametrize(
    ("capabilities", "asked", "subject", "reason", "remedy", "change"),
    [
        (host(), request(version="1.15"), "release", "'1.15'", "tfserving_version: 2.20.0", {"version": "2.20.0"}),
        (host(), request(version="2.15.0"), "release", "'2.15.0'", "tfserving_version: 2.15.1", {"version": "2.15.1"}),
        (
            host(),
            own_image("tensorflow/serving:2.15.0"),
            "release",
            "the tag of tfserving_image: '2.15.0' is not a release of TensorFlow Serving in the release table",
            "Leave tfserving_image out and set tfserving_version: 2.15.1, or keep the image and set tfserving_version to plan it as that release",
            {"version": "2.15.1", "image": None},
        ),
        (
            gpu_host(3, 7),
            own_image("tensorflow/serving:2.20.0-gpu", gpu="require"),
            "GPU",
            "2.20.0 has no code for compute capability 3.7",
            "Use release 2.14.1 or older",
            {"version": "2.14.1", "image": None},
        ),
        (
            gpu_host(9, 0),
            own_image("tensorflow/serving:2.19.1-mkl", gpu="require"),
            "GPU",
            "tensorflow/serving:2.19.1-mkl is an image without CUDA",
            "Set tfserving_image: tensorflow/serving:2.19.1-gpu",
            {"image": "tensorflow/serving:2.19.1-gpu"},
        ),
        (
            host(container=NO_ENGINE),
            request(),
            "backend",
            "tfserving_version needs TensorFlow Serving",
            "tfserving_backend: embedded",
            {"backend": "embedded"},
        ),
        (
            host(container=NO_ENGINE),
            request(version=None, image="a/b"),
            "backend",
            "tfserving_image needs",
            "tfserving_backend: embedded",
            {"backend": "embedded"},
        ),
        (
            host(container=NO_ENGINE),
            request(version=None, build=True),
            "backend",
            "tfserving_build needs",
            "Start Docker Engine",
            {"backend": "embedded"},
        ),
        (
            host(container=NO_ENGINE),
            request(version=None, engine_socket="/s"),
            "backend",
            "tfserving_engine_socket needs",
            "Start",
            {"backend": "embedded"},
        ),
        (
            host(container=NO_ENGINE),
            request(backend="docker"),
            "backend",
            "no container engine was found",
            "Podman's socket",
            {"backend": "embedded"},
        ),
        (
            host("x86-64-v2", V2, container=NO_ENGINE),
            request(),
            "backend",
            "cannot run here either: TensorFlow's packages need",
            "tfserving_models: []",
            {"models": []},
        ),
        (
            host("x86-64-v2", V2, container=NO_ENGINE),
            request(version=None),
            "backend",
            "AVX, or aarch64: the embedded server cannot",
            "Leave it out: serve no models",
            {"models": []},
        ),
        (
            BARE,
            request(**EMBEDDED),
            "backend",
            "this is x86-64-v2 without AVX",
            "tfserving_backend: docker",
            {"backend": "docker"},
        ),
        (POWER, request(**EMBEDDED), "backend", "this is ppc64le", "tfserving_backend: docker", {"backend": "docker"}),
        (
            host(container=NO_SDK),
            request(),
            "backend",
            "cannot use the Docker SDK (No module named requests)",
            "ansible_python_interpreter",
            {"backend": "embedded"},
        ),
        (
            host(container={"version": "20.10.9"}),
            request(),
            "backend",
            "clone3, which Docker Engine 20.10.9",
            "Docker Engine to 20.10.10 or later, or set tfserving_version: 2.19.1",
            {"version": "2.19.1"},
        ),
        (
            BARE,
            request(),
            "image",
            "needs AVX, which this x86-64-v2 CPU lacks",
            "Build an image for x86-64-v2: tfserving_build: true",
            {"build": True, "build_options": None, "image": None},
        ),
        (
            ARM,
            request(),
            "image",
            "for x86_64, but this host is aarch64",
            "tfserving_backend: embedded",
            {"backend": "embedded"},
        ),
        (POWER, request(), "image", "for x86_64, but this host is ppc64le", "tfserving_models: []", {"models": []}),
        (
            host(),
            request(version="2.21.0", **BUILD),
            "build",
            "no checksum of the sources of 2.21.0",
            "tfserving_version: 2.20.0",
            {"version": "2.20.0"},
        ),
        (
            host(),
            request(build_for=["x86-64-v4"], **BUILD),
            "build",
            "x86-64-v4 is an image for x86-64-v4, which this x86-64-v3 CPU cannot run",
            "tfserving_build_for",
            {"build_for": []},
        ),
        (
            host(),
            request(build_options="--copt=-mavx512f", **BUILD),
            "build options",
            "AVX512F",
            "Let the plan choose for x86-64-v3",
            {"build_options": None},
        ),
        (
            host(),
            request({"optimize": "tensorrt"}),
            "model m: variant",
            "TF-TRT needs a GPU, but this server has none",
            "optimize: none",
            {"models": {"m": {"optimize": "none"}}},
        ),
        (
            gpu_host(8, 0),
            request({"optimize": "tensorrt"}),
            "model m: variant",
            "built without TensorRT",
            "Use release 2.17.1",
            {"version": "2.17.1"},
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 0}}),
            "model m: batching",
            "max_batch_size: 0",
            "batching: none",
            {"models": {"m": {"batching": "none"}}},
        ),
        (
            host(),
            request(lite(half="float16")),
            "model m: variant",
            "signature half: ",
            "Serve the SavedModel: optimize: none",
            NO_FORM,
        ),
        (
            host(),
            request(lite("half", good="float32", half="float16")),
            "model m: variant",
            "signature half: ",
            "optimize: none",
            NO_FORM,
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "x": 1}}),
            "model m: batching",
            "parameter: 'x' is not known",
            "batching: none",
            NO_BATCHES,
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8}, **SCALAR}),
            "model m: batching",
            "signature a, input x: it is a scalar",
            "Serve it without batching (batching: none)",
            NO_BATCHES,
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "num_batch_threads": 0}}),
            "model m: batching",
            "num_batch_threads: 0 is out of range",
            "Correct num_batch_threads, or serve the model without batching (batching: none)",
            NO_BATCHES,
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "max_execution_batch_size": 4}}),
            "model m: batching",
            "max_execution_batch_size: 4 has no effect",
            "or set max_batch_size alone, or serve the model without batching (batching: none)",
            NO_BATCHES,
        ),
        (
            host(),
            request(version="2.10.1", models=[{"name": "a", **HALF}, {"name": "b"}]),
            "batching",
            "files for each model came with 2.11.0",
            "Use release 2.11.0 or later (tfserving_version: 2.20.0)",
            {"version": "2.20.0"},
        ),
    ],
)
def test_a_refusal(capabilities, asked, subject, reason, remedy, change):
    (found,) = plan(capabilities, asked)["refusals"]
    assert found["subject"] == subject and reason in found["reason"]
    assert remedy in found["remedy"] and found["change"] == change


@pytest.mark.parametrize(
    ("capabilities", "asked", "words"),
    [
        (host(), request(version="2.21.0"), ["2.21.0 is newer than the release table", "the data of 2.20.0"]),
        (host(), request(**EMBEDDED, image="a/b:1"), ["tfserving_image has no effect", "not run in a container"]),
        (
            host(),
            own_image("tensorflow/serving:2.15.1", "2.17.1"),
            ["tfserving_version is 2.17.1, but the tag of tfserving_image names 2.15.1", "planned for 2.17.1"],
        ),
        (
            host(),
            own_image("tensorflow/serving:latest"),
            ["its tag names no release", "2.20.0", "set tfserving_version"],
        ),
        (host(), own_image("tensorflow/serving:2.21.0"), ["2.21.0 is newer than the release table"]),
        (
            gpu_host(9, 0),
            own_image("tensorflow/serving:2.20.0"),
            ["a GPU stays unused", "image without CUDA", "Set tfserving_image: tensorflow/serving:2.20.0-gpu"],
        ),
        (host(), request(**EMBEDDED, build=True), ["tfserving_build has no effect", "not run in a container"]),
        (host(), request(options=["-m 1g"], **EMBEDDED), ["memory_mib of tfserving_options has no effect"]),
        (host(), request(options=["-m 1g -u 1"], **EMBEDDED), ["memory_mib, user of tfserving_options have no effect"]),
        (host(), request(image="a/b:1"), ["image a/b:1: its instruction set is unknown"]),
        (host(), request(image="a/b:1-mkl"), ["--config=mkl was slower", "no OpenMP"]),
        (host(), request(build_options="--config=mkl", **BUILD), ["--config=mkl was slower"]),
        (host(), request(**BUILD), ["oneDNN was not measured"]),
        (host(), request({"optimize": "tflite_int8"}), ["m: TensorFlow Lite runs on the CPU", "0 rows"]),
        (host(), request({"batching": {"max_batch_size": 8}, "signatures": None}), ["m: its signature is unknown"]),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "num_batch_threads": 17}}),
            ["num_batch_threads 17", "on 4 CPUs", "max_enqueued_batches"],
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "num_batch_threads": 11}}),
            ["max_enqueued_batches 10", "11", "UNAVAILABLE"],
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "batch_timeout_micros": 1500}}),
            ["single client waits 1.5 ms"],
        ),
        (
            host(),
            request({"batching": {"max_batch_size": 8, "batch_timeout_micros": 9000}}, objective_p99_ms=9),
            ["batch_timeout_micros 9000 alone", "9 ms"],
        ),
        (host(cpu={"usable": 2.0}), request(HALF), ["num_batch_threads is not set", "instead of 2", "CPU quota"]),
        (
            host("x86-64-v3", V3),
            request(build_for=["x86-64-v2"], **BUILD),
            ["every x86-64-v2 CPU does not use AVX", "slower"],
        ),
    ],
)
def test_a_warning(capabilities, asked, words):
    assert [text for text in plan(capabilities, asked)["warnings"] if all(word in text for word in words)]


@pytest.mark.parametrize(
    ("batching", "asked", "word"),
    [
        ({"num_batch_threads": 16, "max_enqueued_batches": 16}, {}, "num_batch_threads"),
        ({"num_batch_threads": 10}, {}, "UNAVAILABLE"),
        ({"batch_timeout_micros": 0}, {}, "single client"),
        ({"batch_timeout_micros": 8999}, {"objective_p99_ms": 9}, "alone uses up"),
        ({"num_batch_threads": 2}, {}, "not given"),
    ],
)
def test_batching_up_to_its_bounds_is_nothing_to_warn_of(batching, asked, word):
    quota = host(cpu={"usable": 2.0}) if word == "not given" else host()
    made = plan(quota, request({"batching": {"max_batch_size": 8, **batching}}, **asked))
    assert not [text for text in made["warnings"] if word in text]


def candidates(capabilities, asked):
    return {one["name"]: one for one in plan(capabilities, asked)["candidates"]}


def test_what_a_tuning_may_try():
    found = candidates(host(), request())
    assert list(found) == [
        "TensorFlow Lite",
        "batching",
        "TensorFlow Lite with batching",
        "threads",
        "oneDNN on",
        "TensorFlow Lite interpreters",
        "REST threads",
        "clients from REST to gRPC",
    ]
    assert (
        found["clients from REST to gRPC"]["change"] == {"protocol": "grpc"}
        and "JSON" in found["clients from REST to gRPC"]["reason"]
    )
    assert found["batching"]["model"] == "m" and "max_batch_size" in found["batching"]["change"]["batching"]
    assert found["TensorFlow Lite"]["change"] == {"form": "tflite_dynamic_range"}
    assert found["oneDNN on"]["change"] == {"environment": {"TF_ENABLE_ONEDNN_OPTS": "1"}}
    threads = {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": 4}
    assert found["threads"]["change"] == {"flags": threads}
    both = found["TensorFlow Lite with batching"]["change"]
    assert both == {**found["TensorFlow Lite"]["change"], **found["batching"]["change"]}
    assert [one["model"] for one in found.values()] == ["m", "m", "m", None, None, None, None, None]
    assert all(one["reason"] for one in found.values())


@pytest.mark.parametrize(
    ("capabilities", "asked", "lacks", "has"),
    [
        (host(), request(HALF), "batching", "threads"),
        (host(), request({"batching": "none"}), "batching", "threads"),
        (host(), request({"signatures": {"serving_default": {"inputs": {}, "outputs": {}}}}), "batching", "threads"),
        (host(), request({"optimize": "none"}), "TensorFlow Lite", "batching"),
        (gpu_host(9, 0), request(), "TensorFlow Lite", "batching"),
        (gpu_host(9, 0), request(), "oneDNN on", "batching"),
        (host(), request(environment={"TF_ENABLE_ONEDNN_OPTS": "0"}), "oneDNN on", "batching"),
        (host(), request(version="2.4.4"), "oneDNN on", "batching"),
        (host(flags=(*V3, "avx512_vnni")), request(), "oneDNN on", "oneDNN off"),
        (host(), request(flags={"tensorflow_intra_op_parallelism": 2}), "threads", "batching"),
        (host(), request(flags={"tensorflow_inter_op_parallelism": 2}), "threads", "batching"),
        (host(), request(models=[{"name": "a"}, {"name": "b"}]), "batching", "TensorFlow Lite (b)"),
        (host(cpu={"usable": 1.0}), request(), "threads", "batching"),
        (host(), request(HALF), "TensorFlow Lite with batching", "threads"),
        (host(), request({"optimize": "none"}), "TensorFlow Lite with batching", "batching"),
        (host(), request({"optimize": "none"}), "TensorFlow Lite interpreters", "batching"),
        (host(), request(version="2.5.1"), "TensorFlow Lite interpreters", "TensorFlow Lite"),
        (host(), request(backend="embedded"), "TensorFlow Lite interpreters", "TensorFlow Lite"),
        (host(), request(flags={"num_tflite_interpreters_per_pool": 3}), "TensorFlow Lite interpreters", "threads"),
        (host(), request(flags={"rest_api_num_threads": 32}), "REST threads", "threads"),
    ],
)
def test_what_a_tuning_does_not_try(capabilities, asked, lacks, has):
    found = candidates(capabilities, asked)
    assert lacks not in found and has in found
    if "oneDNN off" in found:
        assert found["oneDNN off"]["change"] == {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}}


def test_batching_that_the_plan_chose_is_open_to_a_tuning():
    found = candidates(host(), request({"batching": "auto"}))
    assert list(found)[:4] == ["TensorFlow Lite", "no batching", "TensorFlow Lite without batching", "threads"]
    assert found["no batching"]["change"] == {"batching": None} and found["no batching"]["model"] == "m"
    assert found["TensorFlow Lite without batching"]["change"] == {"form": "tflite_dynamic_range", "batching": None}
    assert all(one["reason"] for one in found.values())
    without_lite = candidates(host(), request({"batching": "auto", "optimize": "none"}))
    assert "no batching" in without_lite and not [name for name in without_lite if "Lite" in name]
    two = candidates(host(), request(models=[{"name": "a", "batching": "auto"}, {"name": "b"}]))
    assert {"no batching (a)", "TensorFlow Lite without batching (a)", "batching (b)"} <= set(two)
    assert "no batching (b)" not in two


@pytest.mark.parametrize("batching", [{"max_batch_size": 8}, "none", None])
def test_batching_that_the_user_chose_stays(batching):
    found = candidates(host(), request({"batching": batching}))
    assert not [name for name in found if "no batching" in name or "without batching" in name]
    assert ("batching" in found) is (batching is None)


def test_a_tuning_never_turns_off_the_batching_of_a_flag():
    found = candidates(host(), request(flags={"enable_batching": True}))
    assert not [name for name in found if "no batching" in name or "without batching" in name]


def test_what_is_served_where_nothing_is_refused():
    made = plan(host("x86-64-v4", V4), request({"signatures": SIGNATURES}))
    assert (made["release"], made["backend"], made["image"], made["build"]) == (
        "2.20.0",
        "docker",
        "tensorflow/serving:2.20.0",
        None,
    )
    assert made["host_class"] == "x86-64-v4-intel-4c-1n"
    assert made["models"] == [{"name": "m", "form": "saved_model", "batching": None}]
    refused = plan(BARE, request())
    assert (refused["release"], refused["backend"], refused["image"], refused["models"]) == (
        "2.20.0",
        "docker",
        None,
        [],
    )
    assert refused["server"] == {
        "flags": {},
        "environment": {},
        "cpu_set": None,
        "devices": [],
        "per_gpu": [],
        "start_timeout_s": None,
    }


@pytest.mark.parametrize(
    "model",
    [
        lite("good", good="float32", half="float16"),
        # TensorFlow's own signature, which no client calls.
        lite(good="float32", __saved_model_init_op="float16"),
        lite("__saved_model_init_op", good="float32", __saved_model_init_op="float16"),
    ],
)
def test_only_the_signatures_that_clients_call_must_be_convertible(model):
    made = plan(host(), request(model))
    assert made["refusals"] == [] and made["models"][0]["form"] == "tflite_dynamic_range"
