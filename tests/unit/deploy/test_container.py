# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container engine is told to make of a server, and what the checks judge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import checks, container, container_labels
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import model_config_list, tensors
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import derived_flags, model_config
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

MODEL = model_config.model("digits", "/srv/models/digits/", None, {})
GOOD = ServingConfiguration(
    name="digits",
    image="tensorflow/serving:2.20.0",
    release="2.20.0",
    address="127.0.0.1",
    grpc_port=8500,
    rest_port=None,
    grpc_socket_directory=None,
    models=(MODEL,),
    flags={},
    environment={"TF_ENABLE_ONEDNN_OPTS": "0"},
    cpu_set="0-1",
    memory_mib=512,
    devices=(),
    user="65534:65534",
    read_only=True,
    capabilities=(),
    restart_policy="unless-stopped",
    log_max_mib=10,
    log_files=3,
    network="bridge",
)


def created(spec, folder, secrets, trial, **more):
    return container.body(spec, container.Around(folder, secrets, **more), trial)


def test_a_container_is_hardened_and_published_on_loopback():
    body = created(container.check(GOOD), "/state/config", {"KEY": "s3cr3t"}, trial=False)
    host = body["HostConfig"]
    assert (
        host["ReadonlyRootfs"],
        host["CapDrop"],
        host["CapAdd"],
        host["SecurityOpt"],
        host["Privileged"],
        body["User"],
        host["Init"],
    ) == (True, ["ALL"], [], ["no-new-privileges"], False, "65534:65534", True)
    assert host["PortBindings"] == {"8500/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8500"}]}
    assert host["Binds"] == ["/state/config:/etc/tfserving:ro", "/srv/models/digits:/srv/models/digits:ro"]
    assert host["Memory"] == host["MemorySwap"] == 512 * 2**20 and host["CpusetCpus"] == "0-1"
    assert host["RestartPolicy"] == {"Name": "unless-stopped"} and host["LogConfig"]["Config"] == {
        "max-size": "10m",
        "max-file": "3",
    }
    assert body["Cmd"] == [
        "--port=8500",
        "--rest_api_port=0",
        "--model_config_file=/etc/tfserving/models.pbtxt",
        "--max_num_load_retries=0",
        "--num_load_threads=2",
        "--enable_profiler=false",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    assert body["Env"] == ["KEY=s3cr3t", "TF_ENABLE_ONEDNN_OPTS=0"] and "s3cr3t" not in str(body["Labels"])
    assert container_labels.described(body["Labels"]) == GOOD and body["Labels"][
        container_labels.DIGEST
    ] == derived_flags.digest(GOOD)
    assert "z" in created(GOOD, "/s", {}, False, selinux=True)["HostConfig"]["Binds"][0].rpartition(",")[2]


def test_a_slice_is_named_to_cuda_and_its_cache_is_kept():
    part = {"pci_bus_id": "0000:07:00.0", "id": "MIG-1", "by": "device_request"}
    spec = replace(GOOD, environment={"CUDA_CACHE_PATH": container.CUDA_CACHE}, devices=(part,))
    body = created(spec, "/state/config", {}, False, cuda_cache="/state/servers/digits/cuda")
    assert body["HostConfig"]["DeviceRequests"] == [
        {"Driver": "nvidia", "DeviceIDs": ["MIG-1"], "Capabilities": [["gpu"]]}
    ]
    assert (
        "CUDA_VISIBLE_DEVICES=MIG-1" in body["Env"]
        and "/state/servers/digits/cuda:/var/cache/tfserving/cuda:rw" in body["HostConfig"]["Binds"]
    )
    whole = created(
        replace(spec, environment={}, devices=(dict(part, id="GPU-1", by="runtime"),)), "/s", {}, False, cuda_cache="/c"
    )
    assert whole["Env"] == ["NVIDIA_VISIBLE_DEVICES=GPU-1"] and whole["HostConfig"]["Runtime"] == "nvidia"
    assert not any("/c:" in bind for bind in whole["HostConfig"]["Binds"])
    described = created(replace(spec, devices=(dict(part, id="0:1", by="cdi"),)), "/s", {}, False)
    assert described["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0:1"]}]


def test_podman_publishes_on_all_addresses_where_none_is_named():
    everywhere = replace(GOOD, address="0.0.0.0")
    assert (
        created(everywhere, "/s", {}, trial=False)["HostConfig"]["PortBindings"]["8500/tcp"][0]["HostIp"] == "0.0.0.0"
    )
    assert (
        created(everywhere, "/s", {}, trial=False, podman=True)["HostConfig"]["PortBindings"]["8500/tcp"][0]["HostIp"]
        == ""
    )
    assert (
        created(GOOD, "/s", {}, trial=False, podman=True)["HostConfig"]["PortBindings"]["8500/tcp"][0]["HostIp"]
        == "127.0.0.1"
    )


def test_a_candidate_takes_no_port_of_the_host_and_does_not_come_back():
    host = created(replace(GOOD, address="0.0.0.0", rest_port=8501), "/state/config", {}, trial=True)["HostConfig"]
    assert host["PortBindings"] == {
        inside: [{"HostIp": "127.0.0.1", "HostPort": ""}] for inside in ("8500/tcp", "8501/tcp")
    }
    assert host["RestartPolicy"] == {"Name": "no"}


def test_a_socket_is_for_whoever_may_enter_its_folder():
    spec = replace(GOOD, grpc_socket_directory="/srv/socket")
    body = created(spec, "/s", {}, trial=False, entry_point=["/usr/bin/entry.sh"])
    assert body["Entrypoint"] == ["/bin/sh", "-c", 'umask 0 && exec "$@"', "sh", "/usr/bin/entry.sh"] and body[
        "Cmd"
    ] == container.arguments(spec)
    assert "/srv/socket:/run/tfserving:rw" in body["HostConfig"]["Binds"]
    trial = created(spec, "/s", {}, trial=True, entry_point=["/usr/bin/entry.sh"])["HostConfig"]
    assert "/run/tfserving" in trial["Tmpfs"] and not any("/srv/socket" in bind for bind in trial["Binds"]), (
        "a candidate touches no socket that serves"
    )
    assert "Entrypoint" not in created(GOOD, "/s", {}, trial=False, entry_point=["/usr/bin/entry.sh"])


def test_devices():
    device = {"pci_bus_id": "0000:01:00.0", "id": "GPU-1", "by": "device_request"}
    body = created(replace(GOOD, devices=(device,)), "/s", {}, False)
    assert body["HostConfig"]["DeviceRequests"] == [
        {"Driver": "nvidia", "DeviceIDs": ["GPU-1"], "Capabilities": [["gpu"]]}
    ]
    body = created(replace(GOOD, devices=(dict(device, by="cdi"),)), "/s", {}, False)
    assert body["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-1"]}]
    body = created(replace(GOOD, devices=(dict(device, by="runtime"),)), "/s", {}, False)
    assert body["HostConfig"]["Runtime"] == "nvidia" and "NVIDIA_VISIBLE_DEVICES=GPU-1" in body["Env"]


def test_what_files_and_labels_add_to_the_command_line():
    labelled = model_config.model("m", "/m", {"specific": [1, 2]}, {"stable": 1})
    spec = replace(GOOD, models=(labelled,), files={"batching.pbtxt": "2"}, grpc_socket_directory="/run/x")
    words = container.arguments(container.check(spec))
    for word in (
        "--batching_parameters_file=/etc/tfserving/batching.pbtxt",
        "--enable_batching=true",
        "--grpc_socket_path=/run/tfserving/grpc.sock",
        "--allow_version_labels_for_unavailable_models=true",
    ):
        assert word in words
    words = container.arguments(replace(GOOD, flags={"enable_profiler": True}))
    assert "--enable_profiler=true" in words and "--enable_profiler=false" not in words
    assert "--enable_profiler" not in " ".join(container.arguments(replace(GOOD, release="2.4.0"))), (
        "a flag that the release does not know"
    )


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"image": ""}, "image"),
        ({"flags": {"port": 1}}, "flags.port"),
        ({"flags": {"enable_baching": True}}, "flags.enable_baching"),
        ({"flags": {"use_tflite_model": True}}, "flags.use_tflite_model"),
        ({"flags": {"grpc_max_threads": "many"}}, "flags.grpc_max_threads"),
        ({"release": "2.10.0", "flags": {"mixed_precision": "bfloat16"}}, "flags.mixed_precision"),
        ({"user": "nobody"}, "user"),
        ({"memory_mib": 1}, "memory_mib"),
        ({"rest_port": 8500}, "rest_port"),
        ({"files": {"monitoring.pbtxt": "1"}}, "monitoring"),
        ({"models": ()}, "models"),
        ({"flags": {"enable_per_model_batching_parameters": True}}, "flags.enable_per_model_batching_parameters"),
        ({"restart_policy": "always"}, "restart_policy"),
        ({"network": "host"}, "network"),
        ({"network": "container:other"}, "network"),
        ({"models": (MODEL, MODEL)}, "models[0].name"),
        ({"models": (model_config.model("m", "relative"),)}, "models[0].base_path"),
        ({"models": (model_config.model("m", "/m", {"latest": 0}),)}, None),
        ({"models": (model_config.model("m", "/m", {"latest": 1, "all": True}),)}, None),
        ({"environment": {"A B": "1"}}, "environment"),
        ({"name": "a/b"}, "name"),
        ({"name": "m"}, "name"),
    ],
)
def test_what_no_server_can_have(change, where):
    with pytest.raises(FleetError) as caught:
        container.check(replace(GOOD, **change))
    assert where is None or caught.value.where == where


def test_any_change_is_another_server():
    changes = ({"files": {"ssl.pbtxt": "2"}}, {"secrets": {"KEY": "1"}}, {"models": (replace(MODEL, labels={"a": 1}),)})
    digests = {derived_flags.digest(replace(GOOD, **change)) for change in changes} | {derived_flags.digest(GOOD)}
    assert len(digests) == 4


def test_the_order_of_the_models_makes_no_other_server():
    """TensorFlow Serving finds a model by its name: model_server_config.proto, ModelConfigList."""
    models = (MODEL, replace(MODEL, name="words", batching={"max_batch_size": 8}))
    digests = {derived_flags.digest(replace(GOOD, models=order)) for order in (models, models[::-1])}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("image", "asked", "release"),
    [
        ("tensorflow/serving:2.19.1-gpu", None, "2.19.1"),
        ("registry:5000/x@sha256:aa", "2.18.0", "2.18.0"),
        ("registry:5000/x", None, "2.20.0"),
        ("registry:5000/x:1.4.2", None, "2.20.0"),
        ("registry:5000/x:2.17.1-own", None, "2.17.1"),
    ],
)
def test_the_release_of_an_image(image, asked, release):
    assert container.release_of(image, asked) == release


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("tensorflow/serving:2.20.0", None),
        ("registry:5000/x", "registry:5000"),
        ("ghcr.io/a/b@sha256:1", "ghcr.io"),
        ("localhost/x", "localhost"),
    ],
)
def test_the_registry_of_an_image(image, registry):
    assert container.registry_of(image) == registry


def test_the_configuration_of_models():
    text = model_config.text([MODEL, model_config.model("b", 's3://x/"b"', {"specific": [2, 1]}, {"stable": 1})])
    assert text == (
        'model_config_list {\n  config {\n    name: "digits"\n    base_path: "/srv/models/digits"\n    model_platform: "tensorflow"\n  }\n'
        '  config {\n    name: "b"\n    base_path: "s3://x/\\"b\\""\n    model_platform: "tensorflow"\n'
        '    model_version_policy { specific { versions: 1 versions: 2 } }\n    version_labels { key: "stable" value: 1 }\n  }\n}\n'
    )
    assert model_config.folders([MODEL, model_config.model("b", "s3://x")]) == ["/srv/models/digits"]


STABLE = {"version_policy": {"specific": [1]}, "labels": {"stable": 1}}
MOVED = {"version_policy": {"specific": [1, 2]}, "labels": {"stable": 1, "canary": 2}}


@pytest.mark.parametrize(
    ("asked", "before", "served", "expected"),
    [
        # What was moved while it was served stays where the description says what it said.
        (STABLE, STABLE, MOVED, MOVED),
        ({}, {}, {"labels": {"canary": 2}}, {"labels": {"canary": 2}}),
        (STABLE, STABLE, {"version_policy": {"specific": [2]}, "labels": {"stable": 2}}, None),
        # What the description says anew wins; a label that stays has its version served.
        (
            {"version_policy": {"specific": [3]}, "labels": {"stable": 3}},
            STABLE,
            MOVED,
            {"version_policy": {"specific": [2, 3]}, "labels": {"stable": 3, "canary": 2}},
        ),
        (
            {"version_policy": {"specific": [1]}, "labels": {}},
            STABLE,
            MOVED,
            {"version_policy": {"specific": [1, 2]}, "labels": {"canary": 2}},
        ),
        # A label of null is taken away, also where nothing serves yet.
        (
            {"version_policy": {"specific": [1]}, "labels": {"stable": 1, "canary": None}},
            STABLE,
            MOVED,
            {"version_policy": {"specific": [1, 2]}, "labels": {"stable": 1}},
        ),
        ({"labels": {"canary": None}}, None, None, {"labels": {}}),
        # But once: what was given later stays.
        (
            {"version_policy": {"specific": [1]}, "labels": {"stable": 1, "canary": None}},
            {"version_policy": {"specific": [1]}, "labels": {"stable": 1, "canary": None}},
            MOVED,
            MOVED,
        ),
        (STABLE, None, None, STABLE),
    ],
)
def test_labels_that_were_moved_while_they_were_served_stay(asked, before, served, expected):
    def model(values):
        return model_config.model("m", "/m", **values)

    (made,) = model_config.with_moved_labels(
        [model(asked)],
        [] if before is None else [model(before)],
        []
        if served is None
        else [replace(model({}), **model_config_list.served(model_config.text([model(served)]), "f")["m"])],
    )
    assert made == model(served if expected is None else expected)
    assert "canary: None" not in model_config.text([model(asked)])


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [(None, [10]), ({"latest": 2}, [2, 10]), ({"specific": [1]}, [1]), ({"all": True}, [1, 2, 10])],
)
def test_the_versions_that_are_wanted(policy, wanted):
    assert model_config.wanted_versions(model_config.model("m", "/m", policy), [1, 10, 2]) == wanted


@pytest.mark.parametrize(
    ("policy", "labelled", "present", "words"),
    [
        (None, {}, [], "the server would wait forever"),
        ({"specific": [3]}, {}, [1, 2], "version 3 is missing; present: 1, 2"),
        (None, {"canary": 1}, [1, 2], "a label names a version that is not served (canary: 1; served: 2)"),
    ],
)
def test_versions_that_cannot_be(policy, labelled, present, words):
    with pytest.raises(FleetError) as caught:
        model_config.wanted_versions(model_config.model("m", "/m", policy, labelled), present)
    assert words in str(caught.value)


def test_malformed_requests():
    inputs = {"x": {"dtype": "float32", "shape": [None, 8, 8, 1]}}
    good = checks.made_up(inputs)
    assert good["x"].shape == (1, 8, 8, 1)
    sent = {what: (request["x"].dtype, request["x"].shape) for what, request in checks.malformed(inputs, good)}
    assert sent == {
        "a rank that is too low": ("float32", (1, 8, 8)),
        "rank 1": ("float32", (64,)),
        "a rank that is too high": ("float32", (1, 8, 8, 1, 1)),
        "another dtype": ("float64", (1, 8, 8, 1)),
        "no rows": ("float32", (0, 8, 8, 1)),
    }
    assert checks.malformed({"s": {"dtype": "string", "shape": []}}, {"s": tensors.filled("string", [])}) == []
    assert checks.made_up({"x": {"dtype": "float32", "shape": None}}) is None


def test_versions_that_load_and_versions_that_never_will():
    available, loading = (
        {"version": 2, "state": 30, "error_message": ""},
        {"version": 1, "state": 20, "error_message": ""},
    )
    broken = {"version": 1, "state": 50, "error_message": "DATA_LOSS"}
    assert checks.unavailable([available], [2]) is None and checks.is_loading([available], [2])
    assert checks.unavailable(
        [available, loading], [1, 2]
    ) == "version 1 is not AVAILABLE: still loading" and checks.is_loading([available, loading], [1, 2])
    assert checks.unavailable(
        [available, broken], [1, 2]
    ) == "version 1 is not AVAILABLE: DATA_LOSS" and not checks.is_loading([available, broken], [1, 2])
    assert checks.unavailable(
        [available], [1, 2]
    ) == "version 1 is not known to the server; known: 2" and checks.is_loading([available], [1, 2])


def test_changed_signatures():
    before = {
        "serving_default": {
            "inputs": {"x": {"dtype": "float32", "shape": [None, 4]}},
            "outputs": {"y": {"dtype": "float32", "shape": [None]}},
        }
    }
    after = {
        "serving_default": {
            "inputs": {"x": {"dtype": "float32", "shape": [None, 5]}},
            "outputs": {"z": {"dtype": "float32", "shape": [None]}},
        }
    }
    assert checks.changed_signature(before, before) == []
    assert checks.changed_signature(before, after) == [
        "serving_default.inputs.x: float32 [?, 4] became float32 [?, 5]",
        "serving_default.outputs.y: float32 [?] became nothing",
        "serving_default.outputs.z: nothing became float32 [?]",
    ]
    assert checks.changed_signature(before, {}) == ["the signature serving_default is missing"]


@pytest.mark.parametrize(
    ("release", "base_path", "fault"),
    [
        # github.com/tensorflow/serving/issues/1963: 2.6.2 reads s3://, 2.7.0 answers "File system scheme 's3' not implemented".
        ("2.6.2", "s3://bucket/m", None),
        ("2.7.0", "s3://bucket/m", "cannot read s3://"),
        ("2.20.0", "s3://bucket/m", "cannot read s3://"),
        ("2.20.0", "hdfs://name:9000/m", "cannot read hdfs://"),
        ("2.20.0", "gs://bucket/m", None),
        ("2.20.0", "/srv/m", None),
    ],
)
def test_a_base_path_in_a_store_that_the_image_cannot_read_is_refused_before_it_waits(release, base_path, fault):
    spec = replace(
        GOOD,
        release=release,
        image=f"tensorflow/serving:{release}",
        models=(model_config.model("m", base_path, None, {}),),
    )
    assert container.check(replace(spec, image="registry.example/own:1")).models == spec.models
    if fault is None:
        assert container.check(spec) == spec
        return
    with pytest.raises(FleetError, match=fault) as caught:
        container.check(spec)
    assert "model_version" in caught.value.remedy and (base_path in caught.value.remedy or base_path.startswith("hdfs"))


@pytest.mark.parametrize("batched_per_model", [False, True])
def test_a_flag_that_contradicts_the_batching_of_models_is_refused(batched_per_model):
    models = (model_config.model("m", "/m", batching={"max_batch_size": 8}),)
    given = replace(GOOD, models=models, batched_per_model=batched_per_model, flags={"enable_batching": False})
    with pytest.raises(FleetError, match="flags.enable_batching: false contradicts the batching parameters"):
        container.check(given)
