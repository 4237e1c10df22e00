# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of refusal has a remedy in words, the same as data, and applying it makes the refusal go away.

A kind is a statement that refuses, wherever it stands. They are found in the sources: one without a case here fails the last test.
"""

from __future__ import annotations

import ast
import functools
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan as plans
from ansible_collections.tfserving.fleet.tests.support.refusals import apply

plan = functools.partial(plans.plan, microarchitectures=microarchitectures.known())

UTILS = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
# Where refusals are made, and the functions there whose returned texts become one; elsewhere it is a call of one of _CALLS.
WATCHED = {
    f"_plan/{path.stem}": ()
    for path in (UTILS / "_plan").glob("*.py")
    # Faults of form; the draft itself; what does not run in plan().
    if path.stem
    not in (
        "draft",
        "request",
        "policies",
        "fleet_plans",
        "host_variables",
        "plan_file",
        "preparation",
        "desired_server",
    )
}
WATCHED.update(
    {
        "_plan/gpus": ("_usable", "_support", "_of_problem", "_too_small"),
        "_plan/models": ("lite_problem",),
        "_plan/model_batching": ("problem",),
        "_release/questions": (),
        "_image/recipe": ("problem", "march_problem"),
        "_model/tflite": ("refusal",),
        "_batching/compatibility": (),
        "_batching/parameters": (),
        "_capability/cdi": ("way",),
    }
)
_CALLS = ("refuse", "_refuse", "_problem", "FleetError")
# What no request reaches: faults that only a table with other cells could bring, and what the plan has mended or refused before.
UNREACHABLE = (
    "does not have the batching parameter {unknown[0]!r}",
    "has no flag for TensorFlow Lite",
    "only for the builder's CPU",
    "is not built for compute capability {', '",
)
# Faults of form, which end in an error and not in a refusal. Of image/recipe the plan asks for problem alone.
_NOT_REFUSING = {
    ("_release/questions", "_problem"),
    ("_release/questions", "sources"),
    ("_batching/compatibility", "well_formed"),
    ("_batching/parameters", "check_choice"),
}

V2 = ["cx16", "popcnt", "sse4_2"]
V3 = sorted([*V2, "aes", "pclmulqdq", "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"])
V4 = sorted([*V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"])


def tensors(dtype="float32", inputs=(None, 8), outputs=(None, 2)):
    side = {
        key: {name: {"dtype": dtype, "shape": shape if shape is None else list(shape)}}
        for key, name, shape in (("inputs", "x", inputs), ("outputs", "y", outputs))
    }
    return {"serving_default": side}


def host(flags=V3, level="x86-64-v3", architecture="x86_64", gpus=(), runtimes=("nvidia", "runc"), **container):
    return {
        "architecture": architecture,
        "cpu": {"level": level, "flags": list(flags), "threads": 4, "usable": 4.0, "affinity": "0-3"},
        "memory": {"usable_mib": 16000},
        "gpus": list(gpus),
        "classes": {"image": level, "tuning": level},
        "container": dict(
            {
                "engine": "docker",
                "version": "24.0.7",
                "answers": True,
                "reason": None,
                "runtimes": list(runtimes),
                "cdi_directories": [],
            },
            **container,
        ),
    }


def gpu(compute=(7, 5), driver="550.54", bound="nvidia"):
    return {
        "pci_bus_id": "0000:01:00.0",
        "device_id": "10de:1eb8",
        "driver": bound,
        "driver_version": driver,
        "compute": {"major": compute[0], "minor": compute[1]} if compute else None,
    }


def model(**keys):
    return {"models": [dict({"name": "m", "signatures": tensors()}, **keys)]}


def batched(**parameters):
    return model(batching=parameters)


def gpu_host(*found, image_class="x86-64-v3-cc7", **container):
    return dict(host(gpus=found, **container), classes={"image": image_class, "tuning": image_class})


CASES = {
    "a release that never was": (host(), {"version": "2.15.0"}),
    "an image of a release that never was": (host(), {"version": None, "image": "tensorflow/serving:2.15.0"}),
    "an image without CUDA on a host with a GPU": (
        host(gpus=[gpu()]),
        {"version": None, "image": "tensorflow/serving:2.19.1-mkl", "gpu": "require"},
    ),
    "an image whose release is too new for the driver": (
        host(gpus=[gpu((7, 5), "470.82")]),
        {"version": None, "image": "tensorflow/serving:2.20.0-gpu", "gpu": "require"},
    ),
    "no release at all": (host(), {"version": "latest"}),
    "the tag of an image for a release": (host(), {"version": "2.8.0-gpu"}),
    "an option that means nothing": (host(), {"options": ["hello", "--port=9000"]}),
    "docker asked for, and no engine": (host(engine=None), {"backend": "docker"}),
    "no Docker SDK for Ansible's Python": (host(sdk={"version": None, "problem": "No module named 'docker'"}), {}),
    "an engine that forbids clone3": (host(version="20.10.5+dfsg1"), {"version": "2.20.0"}),
    "a release named, and no engine": (host(engine=None), {}),
    "a release named, and neither engine nor TensorFlow's packages": (host(V2, "x86-64-v2", engine=None), {}),
    "neither engine nor TensorFlow's packages": (host(V2, "x86-64-v2", engine=None), {"version": None}),
    "embedded asked for on a CPU without AVX": (host(V2, "x86-64-v2"), {"backend": "embedded"}),
    "embedded asked for on a foreign CPU": (host((), "s390x", "s390x"), {"backend": "embedded"}),
    "the official image on a CPU without AVX": (host(V2, "x86-64-v2"), {}),
    "the official image on ARM": (host((), "aarch64", "aarch64"), {}),
    "the official image on POWER": (host((), "ppc64le", "ppc64le"), {}),
    "no GPU": (host(), {"gpu": "require"}),
    "a GPU for the embedded server": (host(gpus=[gpu()], engine=None), {"gpu": "require", "version": None}),
    "a GPU on ARM": (
        host((), "aarch64", "aarch64", gpus=[gpu()]),
        {"gpu": "require", "image": "registry.example/serving"},
    ),
    "a GPU without a driver": (host(gpus=[gpu(None, None, None)]), {"gpu": "require"}),
    "a GPU that nobody knows": (host(gpus=[gpu(None, None)]), {"gpu": "require"}),
    "a GPU that is too old": (host(gpus=[gpu((3, 5), "470.82")]), {"gpu": "require"}),
    "a GPU older than all releases": (host(gpus=[gpu((2, 0), "390.1")]), {"gpu": "require"}),
    "a driver that is too old": (host(gpus=[gpu((8, 0), "470.82")]), {"gpu": "require"}),
    "an engine without NVIDIA's runtime": (host(gpus=[gpu()], runtimes=["runc"]), {"gpu": "require"}),
    "a build of a release that is newer than the table": (host(), {"version": "2.21.0", "build": True}),
    "a GPU in the hands of a virtual machine": (host(gpus=[gpu(bound="vfio-pci")]), {"gpu": "require"}),
    "a GPU whose driver fails": (
        host(gpus=[dict(gpu(None), problem="nvidia-smi fails: reboot the host")]),
        {"gpu": "require"},
    ),
    "a GPU that fell off the bus": (
        host(gpus=[dict(gpu(None), problem="it has fallen off the bus")]),
        {"gpu": "require"},
    ),
    "a GPU with MIG on and no slice": (
        host(gpus=[dict(gpu((8, 0)), mig=[], index=0, uuid="GPU-0")]),
        {"gpu": "require"},
    ),
    "a GPU whose slices this account may not see": (
        host(gpus=[dict(gpu((8, 0)), mig=[], index=0, problem="no slices told: become root")]),
        {"gpu": "require"},
    ),
    "a model larger than the GPU": (
        host(gpus=[dict(gpu(), memory_mib=16000)]),
        dict(model(size_bytes=2**35), gpu="require"),
    ),
    "a driver that cannot compile the release's PTX": (
        host(gpus=[dict(gpu((10, 0), "550.54"), cuda_version="12.4")]),
        {"gpu": "require"},
    ),
    "CDI descriptions of another host": (
        host(
            gpus=[gpu()],
            runtimes=["runc"],
            nvidia={
                "toolkit": "1.17",
                "hook": None,
                "cdi": {"names": None, "problem": "they name no GPU of this host: describe them anew"},
            },
        ),
        {"gpu": "require"},
    ),
    "a toolkit that the engine does not know": (
        host(gpus=[gpu()], runtimes=["runc"], nvidia={"toolkit": "1.17", "hook": None, "cdi": None}),
        {"gpu": "require"},
    ),
    "podman without CDI": (host(gpus=[gpu()], engine="podman", version="4.9.4"), {"gpu": "require"}),
    "an exact CPU that the host is not": (host(), {"build": True, "build_for": ["skylake_avx512"]}),
    "an exact CPU of the same level that the host is not": (host(), {"build": True, "build_for": ["excavator"]}),
    "an exact CPU that the compiler does not know": (host(V4, "x86-64-v4"), {"build": True, "build_for": ["zen5"]}),
    "code that one compiler does not have": (
        host(),
        {"build": True, "build_options": "--config=release --copt=-march=icelake"},
    ),
    "native code for a host": (
        host(),
        {"build": True, "build_options": "--config=release --copt=-march=skylake-avx512"},
    ),
    "code for a CPU that nobody knows": (
        host(),
        {"build": True, "build_options": "--config=release --copt=-march=strange"},
    ),
    "a compiler that is too old": (
        host(),
        {"version": "2.19.1", "build": True, "build_options": "--config=release --copt=-march=x86-64-v3"},
    ),
    "instructions that the CPU lacks": (host(), {"build": True, "build_options": "--config=release --copt=-mavx512f"}),
    "instructions that the compiler fails on": (
        host([*V3, "avx512f", "avx512_bf16"]),
        {"build": True, "build_options": "--config=release --copt=-mavx512bf16"},
    ),
    "TensorFlow Lite of half floats": (host(), model(optimize="tflite_dynamic_range", signatures=tensors("float16"))),
    "TensorFlow Lite of a ragged tensor": (
        host(),
        model(
            optimize="tflite_dynamic_range",
            signatures={
                "serving_default": {
                    "inputs": tensors()["serving_default"]["inputs"],
                    "outputs": {
                        "y": {
                            "dtype": "DT_INVALID",
                            "shape": [],
                            "tensor": "",
                            "composite": "RaggedTensor",
                            "components": ["a:0", "a:1"],
                        }
                    },
                }
            },
        ),
    ),
    "variables that nothing restores": (
        host(),
        model(signatures={"serving_default": dict(tensors()["serving_default"], unset_variables=["dense/kernel"])}),
    ),
    "TensorFlow Lite of nothing": (
        host(),
        model(optimize="tflite_dynamic_range", signatures=tensors(inputs=(None, 0))),
    ),
    "TF-TRT without a GPU": (host(), model(optimize="tensorrt")),
    "TF-TRT of a release without it": (host(gpus=[gpu((8, 0))]), model(optimize="tensorrt")),
    "TF-TRT on a GPU that is too new": (
        host(gpus=[gpu((12, 0), "580.1")]),
        dict(model(optimize="tensorrt"), version="2.17.1"),
    ),
    "models batched differently before 2.11": (
        host(),
        {
            "version": "2.10.1",
            "models": [
                {"name": "a", "batching": {"max_batch_size": 8}, "signatures": tensors()},
                {"name": "b", "signatures": tensors()},
            ],
        },
    ),
    "a batching parameter that nobody knows": (host(), batched(max_bach_size=8)),
    "a batch of none": (host(), batched(max_batch_size=0)),
    "a size that is no number": (host(), batched(max_batch_size="eight")),
    "a switch that is none": (host(), batched(max_batch_size=8, enable_large_batch_splitting="perhaps")),
    "a pool without a name": (host(), batched(max_batch_size=8, thread_pool_name="a b")),
    "sizes that are no list": (host(), batched(max_batch_size=8, allowed_batch_sizes=8)),
    "sizes that do not rise": (host(), batched(max_batch_size=8, allowed_batch_sizes=[4, 2, 8])),
    "sizes that end too early": (host(), batched(max_batch_size=8, allowed_batch_sizes=[2, 4])),
    "an execution size without splitting": (host(), batched(max_batch_size=8, max_execution_batch_size=4)),
    "splitting without a size": (host(), batched(enable_large_batch_splitting=True)),
    "an execution size above the limit": (
        host(),
        batched(max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=16),
    ),
    "a queue shorter than a request": (
        host(),
        batched(
            max_batch_size=64, enable_large_batch_splitting=True, max_execution_batch_size=2, max_enqueued_batches=4
        ),
    ),
    "an execution size that is not allowed": (
        host(),
        batched(
            max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=4, allowed_batch_sizes=[2, 8]
        ),
    ),
    "a model without inputs": (
        host(),
        model(batching="auto", signatures={"serving_default": {"inputs": {}, "outputs": {}}}),
    ),
    "a scalar input": (host(), model(batching="auto", signatures=tensors(inputs=()))),
    "a fixed first dimension": (host(), model(batching="auto", signatures=tensors(inputs=(1, 8)))),
    "sequences and no word on padding": (host(), model(batching="auto", signatures=tensors(inputs=(None, None)))),
    "more dimensions than padding knows": (
        host(),
        model(
            batching={"max_batch_size": 8, "pad_variable_length_inputs": True}, signatures=tensors(inputs=(None,) * 7)
        ),
    ),
    "a flag under its old name": (host(), {"flags": {"use_tflite_model": True}}),
    "a flag of a later release": (host(), {"version": "2.14.1", "flags": {"mixed_precision": "bfloat16"}}),
    "a flag that nobody knows": (host(), {"flags": {"prot": 8500}}),
    "a batching parameter among the flags": (host(), {"flags": {"max_batch_size": 16}}),
    "a flag of the wrong type": (host(), {"flags": {"port": "http"}}),
    "a flag's value that is too low": (host(), {"flags": {"rest_api_num_threads": 1}}),
    "a flag's value that is too high": (host(), {"flags": {"per_process_gpu_memory_fraction": 1.5}}),
    "a flag's value that does nothing": (host(), {"flags": {"mixed_precision": "float16"}}),
    "a batching file without batching": (host(), {"flags": {"batching_parameters_file": "/etc/b"}}),
    "batching per model without batching": (host(), {"flags": {"enable_per_model_batching_parameters": True}}),
    "neither port nor socket": (host(), {"flags": {"port": 0}}),
    "one port for both": (host(), {"flags": {"port": 9000, "rest_api_port": 9000}}),
    "a batching file of the user's": (
        host(),
        dict(batched(max_batch_size=8), flags={"batching_parameters_file": "/etc/b"}),
    ),
    "a flag that the role sets": (host(), {"flags": {"model_config_file": "/etc/m"}}),
    "a flag that the embedded server does not have": (
        host(),
        {"backend": "embedded", "flags": {"use_alts_credentials": True}},
    ),
    "a memory limit that is none": (host(), {"options": ["--memory=5 pounds"]}),
    "an argument that gRPC ignores": (
        host(),
        {"flags": {"grpc_channel_arguments": "grpc.max_send_message_length=8*1024"}},
    ),
    "a secret": (host(), {"options": ["-e AWS_SECRET_ACCESS_KEY=x"]}),
    "metrics without REST": (host(), {"flags": {"monitoring_config_file": "/etc/m", "rest_api_port": 0}}),
    "all three thread flags": (
        host(),
        {"flags": {"tensorflow_session_parallelism": 2, "tensorflow_intra_op_parallelism": 2}},
    ),
    "a build shared with classes above the host's": (
        host(V2, "x86-64-v2"),
        {"build": True, "build_for": ["x86-64-v3", "x86-64-v4"]},
    ),
    "a variable's value that does nothing": (host(), {"environment": {"TF_ENABLE_ONEDNN_OPTS": "yes"}}),
    "bfloat16 without oneDNN": (host(), {"flags": {"mixed_precision": "bfloat16"}}),
}


def request(asked):
    return dict({"version": "2.20.0", "models": [{"name": "m", "signatures": tensors()}]}, **asked)


def told(key, value, remedy):
    """Whether the words of a remedy say this part of its change."""
    if key == "flags":
        return (
            all(
                f"{name}: {str(setting).lower() if isinstance(setting, bool) else setting}" in remedy
                or str(setting) in remedy
                or name in remedy
                for name, setting in value.items()
                if setting is not None
            )
            or "Leave it out" in remedy
        )
    if key == "models" and isinstance(value, dict):
        return all(
            setting is None or f"{name}: {setting}" in remedy
            for model_change in value.values()
            for name, setting in model_change.items()
        )
    if key == "options":
        return "Leave it out of tfserving_options" in remedy
    if key == "environment":
        return "Leave it out of tfserving_environment" in remedy
    if value is None or f"leave tfserving_{key} out" in remedy:
        return True
    return f"tfserving_{key}: {str(value).lower() if isinstance(value, bool) else value}" in remedy or (
        key == "version" and f"release {value}" in remedy
    )


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name):
    capabilities, asked = CASES[name]
    refusals = plan(capabilities, request(asked))["refusals"]
    assert refusals, "nothing is refused"
    for refusal in refusals:
        assert refusal["reason"] and refusal["remedy"] and "\n" not in refusal["reason"] + refusal["remedy"]
        assert all(told(key, value, refusal["remedy"]) for key, value in refusal["change"].items()), refusal
        again = plan(capabilities, apply(request(asked), refusal["change"]))["refusals"]
        assert refusal["subject"] not in [other["subject"] for other in again], again


def sites():
    """{(file, first line, last line)} of the statements that refuse."""
    found = set()
    for key, returning in WATCHED.items():
        text = (UTILS / f"{key}.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        for function in (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and (key, node.name) not in _NOT_REFUSING
        ):
            if key == "_image/recipe" and function.name not in ("problem", "march_problem"):
                continue
            for statement in (
                node
                for node in ast.walk(function)
                if isinstance(node, (ast.Return, ast.Expr, ast.Raise, ast.Assign, ast.AugAssign))
            ):
                if not _refuses(statement, function.name in returning, function.name):
                    continue
                if not any(unreachable in ast.get_source_segment(text, statement) for unreachable in UNREACHABLE):
                    found.add((key, statement.lineno, statement.end_lineno))
    return found


def _refuses(statement, returns_faults, function):
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = [node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "") for node in calls]
    if any(name in _CALLS for name in names) or any(
        name == "_support" and getattr(call.args[0], "value", None) is False for name, call in zip(names, calls)
    ):
        return True
    if function == "_contradictions" and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield):
        return True
    value = getattr(statement, "value", None)
    if not (returns_faults and isinstance(statement, ast.Return)):
        return False
    if isinstance(value, ast.Tuple):
        return (
            function in ("_of_problem", "_too_small")
            or isinstance(value.elts[0], ast.Constant)
            and value.elts[0].value is None
        )
    return isinstance(value, (ast.JoinedStr, ast.IfExp, ast.Call))


def visited():
    """{(file, line)} of the watched files that the cases run through."""
    lines = set()

    def in_watched(frame, event, _argument):
        key = frame.f_code.co_filename.rpartition("plugins/module_utils/")[2].removesuffix(".py")
        if key not in WATCHED:
            return None
        lines.add((key, frame.f_lineno))
        return in_watched

    sys.settrace(in_watched)
    try:
        for capabilities, asked in CASES.values():
            plan(capabilities, request(asked))
    finally:
        sys.settrace(None)
    return lines


def test_every_statement_that_refuses_has_a_case():
    if sys.gettrace():
        pytest.skip("another tracer is at work")
    lines = visited()
    assert len(sites()) > 40
    missing = sorted(
        f"{key}.py:{first}"
        for key, first, last in sites()
        if not any((key, line) in lines for line in range(first, last + 1))
    )
    assert not missing, f"no case refuses at {missing}"
