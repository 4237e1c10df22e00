# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan makes of GPUs as detection describes them: devices, ways to ask for them, MIG slices, memory, refusals with remedies."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import cdi
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import host_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.plan import plan

V3 = ["abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "movbe", "popcnt", "sse4_2"]
DOCKER = {
    "engine": "docker",
    "version": "24.0.7",
    "answers": True,
    "reason": None,
    "runtimes": ["nvidia", "runc"],
    "cdi_directories": [],
    "nvidia": {"toolkit": "1.17.4", "hook": True, "cdi": None},
}
NO_TOOLKIT = dict(DOCKER, runtimes=["runc"], nvidia={"toolkit": None, "hook": False, "cdi": None})
MIG = [("3g.20gb", 19968), ("2g.10gb", 9856), ("1g.5gb", 4864)]


def group(compute="8.0", product="NVIDIA A100-SXM4-40GB", memory=40960, count=1, mig=None, **more):
    major, minor = map(int, compute.split("."))
    devices = [
        {
            "pci_bus_id": f"0000:0{place + 1}:00.0",
            "uuid": f"GPU-{place}",
            "index": place,
            "numa_node": place,
            "cpu_affinity": f"{place}-{place + 1}",
            "mig_uuids": [f"MIG-{place}-{part}" for part in range(len(mig or ()))],
        }
        for place in range(count)
    ]
    return dict(
        {
            "product": product,
            "compute": {"major": major, "minor": minor},
            "memory_mib": memory,
            "device_id": "10de:20b0",
            "driver": "nvidia",
            "driver_version": "550.54.15",
            "cuda_version": "12.4",
            "ecc": True,
            "problem": None,
            "count": count,
            "devices": devices,
            "mig": [{"profile": profile, "memory_mib": size} for profile, size in mig] if mig is not None else None,
        },
        **more,
    )


def host_with(groups, container=None):
    cpu = {"level": "x86-64-v3", "flags": V3, "threads": 8, "usable": 8.0, "affinity": "0-7", "quota": None}
    return {
        "architecture": "x86_64",
        "cpu": cpu,
        "memory": {"usable_mib": 64000},
        "gpus": list(groups),
        "container": container or DOCKER,
        "classes": {"image": "x86-64-v3-cc8", "tuning": "x86-64-v3-cc8-intel-8c-1n"},
    }


def made(*groups, container=None, **asked):
    models = [dict({"name": "m"}, **asked.pop("model", {}))]
    return plan(host_with(groups, container), dict({"version": "2.20.0", "models": models}, **asked))


def ids(found):
    return [(device["id"], device["by"]) for device in found["server"]["devices"]]


def refusal(found):
    (only,) = [item for item in found["refusals"] if item["subject"] == "GPU"]
    return only


def test_a_gpu_is_asked_for_by_its_uuid():
    found = made(group())
    assert ids(found) == [("GPU-0", "device_request")] and found["image"] == "tensorflow/serving:2.20.0-gpu"
    environment = found["server"]["environment"]
    assert (
        environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
        and environment["CUDA_CACHE_PATH"] == "/var/cache/tfserving/cuda"
    )
    assert "CUDA_VISIBLE_DEVICES" not in environment and found["server"]["start_timeout_s"] is None


def test_a_fraction_of_the_memory_that_the_user_set_is_kept():
    found = made(group(), flags={"per_process_gpu_memory_fraction": 0.4})
    assert (
        found["server"]["flags"]["per_process_gpu_memory_fraction"] == 0.4
        and "TF_FORCE_GPU_ALLOW_GROWTH" not in found["server"]["environment"]
    )


def test_one_server_gets_the_largest_mig_slice_and_the_rest_is_named():
    found = made(group(mig=MIG))
    assert (
        ids(found) == [("MIG-0-0", "device_request")] and "CUDA_VISIBLE_DEVICES" not in found["server"]["environment"]
    )
    assert any("2 stay unused" in text and "per_gpu" in text for text in found["warnings"])


def test_a_server_for_each_gpu_or_slice_is_planned_by_choice():
    servers = made(group(count=2), gpu_servers="per_gpu")["server"]["per_gpu"]
    assert [
        (server["suffix"], server["devices"][0]["id"], server["cpu_set"], server["port_offset"]) for server in servers
    ] == [("", "GPU-0", "0-1", 0), ("-gpu1", "GPU-1", "1-2", 2)]
    servers = made(group(mig=MIG), gpu_servers="per_gpu")["server"]["per_gpu"]
    assert [(server["suffix"], server["devices"][0]["id"]) for server in servers] == [
        ("", "MIG-0-0"),
        ("-gpu1", "MIG-0-1"),
        ("-gpu2", "MIG-0-2"),
    ]
    assert made(group(), gpu_servers="per_gpu")["server"]["per_gpu"] == []
    one = made(group(count=2))
    assert (
        one["server"]["per_gpu"] == []
        and len(ids(one)) == 2
        and any("first of the 2 GPUs" in text for text in one["warnings"])
    )


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_servers_keep_their_names_and_ports_where_another_gpu_breaks(lost):
    """The CPUs beside a GPU are those that processes may use; one that belongs to all CPUs has no set of its own."""
    whole = group(count=3)
    whole["devices"][2]["cpu_affinity"] = "6-200"
    broken = dict(
        whole, compute=None, problem="it has fallen off the bus: reboot", count=1, devices=[whole["devices"][lost]]
    )
    left = dict(whole, count=2, devices=[device for place, device in enumerate(whole["devices"]) if place != lost])

    def named(*groups):
        return {
            server["devices"][0]["id"]: (server["suffix"], server["port_offset"], server["cpu_set"])
            for server in made(*groups, gpu_servers="per_gpu")["server"]["per_gpu"]
        }

    before = named(whole)
    assert before == {"GPU-0": ("", 0, "0-1"), "GPU-1": ("-gpu1", 2, "1-2"), "GPU-2": ("-gpu2", 4, "6-7")}
    assert named(left, broken) == {gpu: server for gpu, server in before.items() if gpu != f"GPU-{lost}"}


def test_a_gpu_that_no_server_could_use_takes_no_place():
    old = group(compute="3.7", product="Tesla K80", count=1)
    old["devices"] = [dict(old["devices"][0], pci_bus_id="0000:00:01.0", uuid="GPU-old")]
    servers = made(old, group(count=2), gpu_servers="per_gpu")["server"]["per_gpu"]
    assert [(server["suffix"], server["devices"][0]["id"]) for server in servers] == [("", "GPU-0"), ("-gpu1", "GPU-1")]


def test_mig_without_slices_is_refused_with_both_remedies():
    found = refusal(made(group(mig=[]), gpu="require"))
    assert "no slice" in found["reason"] and "-cgi" in found["remedy"] and "-mig 0" in found["remedy"]


@pytest.mark.parametrize(
    "container, ways",
    [
        (
            dict(
                DOCKER,
                cdi_directories=["/etc/cdi"],
                nvidia=dict(DOCKER["nvidia"], cdi={"names": "uuid", "problem": None}),
            ),
            [("GPU-0", "cdi")],
        ),
        (
            dict(
                DOCKER,
                cdi_directories=["/etc/cdi"],
                nvidia=dict(DOCKER["nvidia"], cdi={"names": "index", "problem": None}),
            ),
            [("0", "cdi")],
        ),
        (
            dict(
                DOCKER,
                cdi_directories=["/etc/cdi"],
                nvidia=dict(DOCKER["nvidia"], cdi={"names": None, "problem": "stale: again"}),
            ),
            [("GPU-0", "device_request")],
        ),
        (dict(DOCKER, nvidia=dict(DOCKER["nvidia"], hook=False)), [("GPU-0", "runtime")]),
        (
            dict(
                DOCKER,
                engine="podman",
                version="4.9",
                runtimes=["crun"],
                cdi_directories=["/etc/cdi"],
                nvidia={"toolkit": "1.17.4", "hook": False, "cdi": {"names": "uuid", "problem": None}},
            ),
            [("GPU-0", "cdi")],
        ),
    ],
)
def test_the_way_to_ask_is_chosen_from_what_is_there(container, ways):
    assert ids(made(group(), container=container)) == ways


@pytest.mark.parametrize(
    "container, reason, remedy",
    [
        (NO_TOOLKIT, "docker has neither NVIDIA's runtime nor CDI", "Install NVIDIA's container toolkit"),
        (
            dict(NO_TOOLKIT, nvidia={"toolkit": "1.17.4", "hook": False, "cdi": None}),
            "docker does not use NVIDIA's container toolkit 1.17.4",
            "nvidia-ctk runtime configure",
        ),
        (dict(NO_TOOLKIT, engine="podman"), "Podman has no CDI descriptions", "nvidia-ctk cdi generate"),
        (
            dict(
                NO_TOOLKIT,
                engine="podman",
                cdi_directories=["/etc/cdi"],
                nvidia={
                    "toolkit": "1.17.4",
                    "hook": False,
                    "cdi": {
                        "names": None,
                        "problem": "the CDI descriptions are of driver 535.1, this host has 550.54.15: generate them again",
                    },
                },
            ),
            "of driver 535.1",
            "Generate them again",
        ),
    ],
)
def test_a_missing_piece_is_named_with_its_remedy(container, reason, remedy):
    found = refusal(made(group(), container=container, gpu="require"))
    assert reason in found["reason"] and remedy in found["remedy"]


@pytest.mark.parametrize(
    "changes, reason, remedy",
    [
        ({"driver": None, "compute": None, "driver_version": None}, "no driver is bound", "Install NVIDIA's driver"),
        ({"driver": "nouveau", "compute": None}, "the driver nouveau is bound", "Install NVIDIA's driver"),
        (
            {
                "compute": None,
                "problem": "the versions of NVIDIA's kernel module and of its library differ: reboot, so that it is loaded",
            },
            "versions",
            "Reboot",
        ),
        (
            {"driver_version": "470.223.02"},
            "needs NVIDIA's driver 525 or later, but this host has 470",
            "Update the driver",
        ),
        ({"compute": {"major": 3, "minor": 7}}, "no code for compute capability 3.7", "2.14.1"),
    ],
)
def test_what_cannot_run_is_refused_with_its_remedy(changes, reason, remedy):
    found = refusal(made(dict(group(), **changes), gpu="require"))
    assert reason in found["reason"] and remedy in found["remedy"]
    left = made(dict(group(), **changes))
    assert left["refusals"] == [] and left["server"]["devices"] == [] and left["image"] == "tensorflow/serving:2.20.0"


def test_a_sound_gpu_serves_beside_one_that_fell_off_the_bus():
    lost = group(compute="7.5", problem="it has fallen off the bus: reboot")
    lost.update(compute=None, devices=[dict(lost["devices"][0], pci_bus_id="0000:d8:00.0")])
    found = made(group(), lost)
    assert ids(found) == [("GPU-0", "device_request")] and any(
        "1 of 2 GPUs stay unused: it has fallen off the bus" in text for text in found["warnings"]
    )


def test_ptx_takes_long_at_the_first_start_and_needs_a_driver_of_its_cuda():
    blackwell = {"compute": "10.0", "product": "NVIDIA B200", "memory": 183359}
    found = made(group(**blackwell, driver_version="580.65.06", cuda_version="13.0"))
    assert found["server"]["start_timeout_s"] == 2400 and any("PTX" in text for text in found["warnings"])
    found = refusal(made(group(**blackwell, driver_version="535.161.08", cuda_version="12.2"), gpu="require"))
    assert "compiles PTX only up to CUDA 12.2, not 12.5" in found["reason"]


def test_the_models_must_fit_the_memory_and_two_versions_are_warned_of():
    assert (
        "largest device has only 15360"
        in refusal(made(group(compute="7.5", memory=15360), gpu="require", model={"size_bytes": 20 << 30}))["reason"]
    )
    found = made(group(compute="7.5", memory=15360), model={"size_bytes": 8 << 30})
    assert ids(found) and any("two versions" in text for text in found["warnings"])
    assert not any("two versions" in text for text in made(group(), model={"size_bytes": 1 << 30})["warnings"])


def test_batches_that_take_much_of_the_memory_are_warned_of():
    """1,024 rows of 8 MiB in 8 batches at once are 64 GiB."""
    signatures = {
        "serving_default": {"inputs": {"x": {"dtype": "float32", "shape": [None, 2048, 1024]}}, "outputs": {}}
    }
    batched = {"max_batch_size": 1024, "num_batch_threads": 8, "max_enqueued_batches": 8}
    found = made(group(), model={"signatures": signatures, "batching": batched})
    assert any("8 batches of 1024 rows at once take 65536 MiB of 40960 MiB" in text for text in found["warnings"])
    small = made(group(), model={"signatures": signatures, "batching": dict(batched, max_batch_size=8)})
    assert not any("batches of" in text for text in small["warnings"])


@pytest.mark.parametrize(
    ("batching", "warned"),
    [
        # Rows of 8 MiB; an eighth of 40960 MiB is 5120 MiB: 640 rows at once.
        ({"max_batch_size": 80, "num_batch_threads": 8}, None),
        ({"max_batch_size": 81, "num_batch_threads": 8}, "8 batches of 81 rows at once take 5184 MiB"),
        ({"max_batch_size": 640, "num_batch_threads": 1}, None),
        ({"max_batch_size": 641, "num_batch_threads": 1}, "1 batches of 641 rows at once take 5128 MiB"),
        ({"max_batch_size": 800, "max_execution_batch_size": 80, "num_batch_threads": 8}, None),
        ({"max_batch_size": 800, "max_execution_batch_size": 81, "num_batch_threads": 8}, "8 batches of 81 rows"),
    ],
)
def test_batches_up_to_an_eighth_of_the_memory_are_none_to_warn_of(batching, warned):
    signatures = {
        "serving_default": {"inputs": {"x": {"dtype": "float32", "shape": [None, 2048, 1024]}}, "outputs": {}}
    }
    if "max_execution_batch_size" in batching:
        batching = dict(batching, enable_large_batch_splitting=True)
    found = made(group(), model={"signatures": signatures, "batching": batching})
    texts = [text for text in found["warnings"] if "rows at once" in text]
    assert [warned in text for text in texts] == ([True] if warned else [])


@pytest.mark.parametrize(
    ("size_mib", "fits", "two_fit"),
    # A fifth more than the weights, and 600 MiB for CUDA's context, in 15360 MiB: 12300 MiB once, 6150 MiB twice.
    [(6149, True, True), (6151, True, False), (12299, True, False), (12301, False, None)],
)
def test_the_size_up_to_which_models_fit(size_mib, fits, two_fit):
    found = made(group(compute="7.5", memory=15360), model={"size_bytes": size_mib << 20})
    assert bool(ids(found)) is fits
    if fits:
        assert bool([text for text in found["warnings"] if "15360 MiB of GPU memory at once" in text]) is not two_fit
    else:
        assert any("about 15361 MiB of GPU memory" in text for text in found["warnings"])


def test_what_a_server_on_a_gpu_is_told():
    found = made(group(mig=MIG))
    decided = {one["subject"]: (one["choice"], one["reason"]) for one in found["decisions"]}
    assert decided["GPU"][0] == "0000:01:00.0 MIG 3g.20gb" and "device request (--gpus)" in decided["GPU"][1]
    assert decided["CUDA cache"][0] == "kept" and decided["GPU memory"][0] == "as needed"
    assert found["server"]["environment"] == {
        "CUDA_CACHE_PATH": "/var/cache/tfserving/cuda",
        "CUDA_CACHE_MAXSIZE": "4294967296",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    both = made(group(count=2), flags={"per_process_gpu_memory_fraction": 0.5})
    decided = {one["subject"]: (one["choice"], one["reason"]) for one in both["decisions"]}
    assert decided["GPU"][0] == "0000:01:00.0, 0000:02:00.0" and decided["GPU memory"][0] == "a fraction"
    assert "per_process_gpu_memory_fraction" in decided["GPU memory"][1]
    each = made(group(count=2), gpu_servers="per_gpu")
    assert ("GPU servers", "2") in [(one["subject"], one["choice"]) for one in each["decisions"]]
    no = made(group(), gpu="none")
    assert ("GPU", "none", "tfserving_gpu: none") in [tuple(one.values()) for one in no["decisions"]]
    cpu_only = made(gpu="none")
    assert "GPU" not in [one["subject"] for one in cpu_only["decisions"]]


def test_a_gpu_without_a_device_to_give_names_its_problem():
    found = refusal(made(group(mig=[], problem="its slices cannot be read: look at nvidia-smi"), gpu="require"))
    assert found["reason"] == "its slices cannot be read" and found["remedy"].startswith("Look at nvidia-smi")
    found = refusal(made(group(mig=None, compute="8.0", problem="broken") | {"compute": None}, gpu="require"))
    assert found["reason"] == "broken" and "kernel log" in found["remedy"]


def test_a_gpu_stays_unused_with_a_reason():
    for groups, words in (
        ([group(), group(compute="3.7")], "1 of 2 GPUs stay unused: 2.20.0 does not support them"),
        ([group(driver_version="470.1")], "a GPU stays unused: CUDA 12.5 of 2.20.0 needs NVIDIA's driver 525"),
    ):
        assert [text for text in made(*groups)["warnings"] if words in text]
    unknown = made(group(driver_version=None))
    assert [text for text in unknown["warnings"] if "driver is unknown: CUDA 12.5 needs 525 or later" in text]
    found = made(group(mig=[("1g.5gb", None), ("1g.5gb", 4864), ("2g.10gb", 9856)]))
    assert ids(found) == [("MIG-0-2", "device_request")]


@pytest.mark.parametrize(
    ("groups", "asked", "words"),
    [
        ([group(driver_version="470.1")], {}, "a GPU stays unused: CUDA 12.5 of 2.20.0 needs NVIDIA's driver 525"),
        ([group(), group(compute="3.7")], {}, "1 of 2 GPUs stay unused"),
        (
            [group()],
            {"image": "tensorflow/serving:2.20.0"},
            "a GPU stays unused: tensorflow/serving:2.20.0 is an image",
        ),
        ([group(driver_version="470.1")], {"gpu": "none"}, None),
        ([group(driver_version="470.1")], {"image": "tensorflow/serving:2.11.1-gpu"}, None),
    ],
)
def test_a_deployment_warns_of_a_gpu_that_stays_unused_as_the_plan_does(groups, asked, words):
    """docs/gpus.md: a host whose GPU cannot be used serves on its CPU, and a warning says what to do. Many users run only `deploy`."""
    variables = {
        "inventory_hostname": "gpu-1",
        "groups": {"all": ["gpu-1"]},
        "ansible_facts": {"tfserving_capabilities": host_with(groups)},
        "tfserving_models": [{"name": "m"}],
        **{f"tfserving_{key}": value for key, value in asked.items()},
    }
    found = host_variables.planned(host_variables.Host(variables, lambda value: {}), host_variables.WHOLE, dict)
    unused = [text for text in found["warnings"] if "unused" in text]
    assert len(unused) == bool(words) and all(words in text for text in unused)
    for_plan = host_variables.planned(
        host_variables.Host(variables, lambda value: {}), host_variables.Purpose(for_server=False), dict
    )
    assert unused == [text for text in for_plan["plan"]["warnings"] if "unused" in text]
    assert not [text for text in for_plan["warnings"] if "unused" in text], "the playbook plan shows the plan's itself"


def test_a_gpu_is_refused_where_its_host_or_server_cannot_use_it():
    assert "has no NVIDIA GPU" in refusal(made(gpu="require"))["reason"]
    assert refusal(made(gpu="require"))["change"] == {"gpu": "none"}
    embedded = refusal(made(group(), gpu="require", backend="embedded"))
    assert "uses only the CPU" in embedded["reason"] and "container engine" in embedded["remedy"]
    old = refusal(made(group(compute="3.7"), gpu="require"))
    assert old["change"] == {"version": "2.14.1"} and "tfserving_gpu: none" in old["remedy"]


def test_tensorrt_is_said_to_be_usable_or_not():
    def tensorrt(found):
        return next(item for item in found["decisions"] if item["subject"] == "TensorRT")["choice"]

    assert (
        tensorrt(made(group(), version="2.17.1")) == "usable"
        and tensorrt(made(group(), version="2.20.0")) == "not usable"
    )


SPECIFICATION = """---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  mounts:
  - containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.%s
    hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.%s
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: %s
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
kind: %s
"""


@pytest.mark.parametrize(
    "texts, names, problem",
    [
        ([], "none", None),
        ([SPECIFICATION % ("550.54.15", "550.54.15", "GPU-0", "nvidia.com/gpu")], "uuid", None),
        ([SPECIFICATION % ("550.54.15", "550.54.15", "other", "nvidia.com/gpu")], "index", None),
        (
            [SPECIFICATION % ("535.1.2", "535.1.2", "GPU-0", "nvidia.com/gpu")],
            None,
            "for driver 535.1.2, but this host has 550.54.15",
        ),
        ([SPECIFICATION % ("550.54.15", "550.54.15", "GPU-0", "example.com/other")], "none", None),
        (['{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "GPU-0"}]}'], "uuid", None),
        (
            ['{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "GPU-7"}]}'],
            None,
            "do not contain this host's GPUs",
        ),
        (['{"kind":', "", "{}", "[]", "devices:\n\x00"], "none", None),
    ],
)
def test_cdi_descriptions_are_compared_with_the_gpus(texts, names, problem):
    """The layout is that of nvidia-ctk cdi generate."""
    found = cdi.describe(texts, [group()])
    if names == "none":
        assert found is None
    else:
        assert found["names"] == names and (problem in found["problem"] if problem else found["problem"] is None)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["MIG-0-0", "MIG-0-1", "all"], "uuid"),
        (["0:0", "0:1", "all"], "index"),
        (["0:0", "all"], None),
        (["MIG-0-0", "0:1"], None),
        (["GPU-0", "0"], None),
    ],
)
def test_slices_have_their_uuids_or_the_gpus_index_and_their_own_in_cdi(names, found):
    """As nvidia-ctk names them with --device-name-strategy uuid and index."""
    text = '{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [%s]}'
    devices = ", ".join('{"name": "%s"}' % name for name in names)
    assert cdi.describe([text % devices], [group(mig=MIG[:2])])["names"] == found
