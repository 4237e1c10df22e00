# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one description of a server: it survives every way that it travels, and equal servers compare equal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

hypothesis = pytest.importorskip("hypothesis")

from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import container, container_labels, secret_digests
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import (
    derived_flags,
    model_config,
    running_server,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SERVED
from hypothesis import strategies as st

TOLD = frozenset(running_server.RunningServer.__annotations__) | {"form", "batching", "version_policy", "labels"}
TOLD |= frozenset(
    name for base in running_server.RunningServer.__mro__ for name in getattr(base, "__annotations__", ())
)
NAMES = st.text("abcxyz-_.", min_size=2, max_size=6)
BATCHING = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "max_batch_size": st.integers(1, 64),
        "allowed_batch_sizes": st.lists(st.integers(1, 64), min_size=1, max_size=3),
        "thread_pool_name": NAMES,
        "pad_variable_length_inputs": st.booleans(),
    },
)
POLICIES = st.none() | st.sampled_from([{"latest": 2}, {"all": True}, {"specific": [1, 2]}])
VALUES = {"bool": st.booleans(), "int": st.integers(0, 9), "float": st.floats(0, 1), "string": NAMES}
# Flags that no option of model_server sets.
FREE = sorted(
    name
    for name, (kind, *_rest) in table.FLAGS.items()
    if name not in container.server_options.DOCKER_OWN_FLAGS and kind in VALUES
)


@st.composite
def configurations(draw):
    """Servers as model_server makes them of random options."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    models = tuple(
        model_config.model(
            name,
            f"/m/{name}/{draw(st.sampled_from([*SERVED, 'of-mine']))}",
            draw(POLICIES),
            draw(st.dictionaries(NAMES, st.integers(0, 9), max_size=2)),
            draw(BATCHING),
        )
        for name in names
    )
    flags = {name: draw(VALUES[table.FLAGS[name][0]]) for name in draw(st.lists(st.sampled_from(FREE), max_size=4))}
    made = ServingConfiguration(
        name=draw(NAMES),
        backend=draw(st.sampled_from(["docker", "embedded"])),
        models=models,
        batched_per_model=draw(st.booleans()),
        flags=flags,
        environment=draw(st.dictionaries(NAMES, NAMES, max_size=2)),
        secrets=draw(st.dictionaries(NAMES, NAMES, max_size=2)),
        files=draw(st.dictionaries(st.sampled_from(["batching.pbtxt", "ssl.pbtxt"]), NAMES)),
        image=draw(st.none() | NAMES),
        release=draw(st.none() | st.sampled_from(questions.releases())),
        grpc_port=draw(st.integers(1, 65535)),
        rest_port=draw(st.none() | st.integers(1, 65535)),
        cpu_set=draw(st.none() | st.sampled_from(["0", "0-3"])),
        devices=draw(st.sampled_from([(), ({"pci_bus_id": "0000:01:00.0", "id": "GPU-1", "by": "cdi"},)])),
        memory_mib=draw(st.none() | st.integers(64, 9999)),
        capabilities=draw(st.sampled_from([(), ("CHOWN",)])),
        idle_exit_s=draw(st.none() | st.floats(1, 9)),
    )
    return made.normalized()


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(configurations())
def test_it_survives_a_file_a_label_and_what_model_server_info_returns(one):
    assert ServingConfiguration.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    labelled = container_labels.described(container.labels_of(one))
    assert (
        labelled == one
        and derived_flags.diff(one, labelled) == {}
        and derived_flags.digest(labelled) == derived_flags.digest(one)
    )
    returned = json.loads(json.dumps(running_server.running(labelled, alive=True)))
    assert derived_flags.diff(one, ServingConfiguration.from_dict(returned), TOLD) == {}


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(configurations(), configurations())
def test_two_servers_share_a_digest_only_where_nothing_differs(one, other):
    other = replace(other, release=one.release)
    assert (derived_flags.digest(one) == derived_flags.digest(other)) <= (derived_flags.diff(one, other) == {})
    assert derived_flags.diff(one, one) == {}


@pytest.mark.parametrize(
    "flags",
    [
        {"enable_profiler": False},  # what this collection sets anyway
        {"max_num_load_retries": 0},
        # Defaults of main.cc at 2.20.0: rest_api_timeout_in_ms 30000, enable_batching false.
        {"rest_api_timeout_in_ms": 30000},
        {"enable_batching": False},
        {"prefer_tflite_model": True},  # follows from the folder
        {"allow_version_labels_for_unavailable_models": True},  # what each container gets
    ],
)
def test_a_flag_with_the_value_that_it_has_anyway_makes_no_other_server(flags):
    plain = ServingConfiguration("s", models=(model_config.model("m", "/m/tflite_float16"),), release="2.20.0")
    same = replace(plain, flags=flags).normalized()
    assert derived_flags.digest(same) == derived_flags.digest(plain) and derived_flags.diff(same, plain) == {}


@pytest.mark.parametrize(
    ("flags", "path", "values"),
    [
        ({"enable_profiler": True}, "flags.enable_profiler", (False, True)),
        ({"max_num_load_retries": 5}, "flags.max_num_load_retries", (0, 5)),
        ({"rest_api_timeout_in_ms": 1}, "flags.rest_api_timeout_in_ms", (30000, 1)),
        ({"enable_batching": True}, "models.m.batching.enabled", (None, True)),
        (
            {"allow_version_labels_for_unavailable_models": False},
            "flags.allow_version_labels_for_unavailable_models",
            (True, False),
        ),
    ],
)
def test_a_flag_that_changes_something_makes_another_server(flags, path, values):
    plain = ServingConfiguration("s", models=(model_config.model("m", "/m"),), release="2.20.0")
    other = replace(plain, flags=flags).normalized()
    assert derived_flags.digest(other) != derived_flags.digest(plain) and derived_flags.diff(plain, other) == {
        path: values
    }


@pytest.mark.parametrize("threads", [(128, 64), (64, 128)])
def test_of_the_grpc_threads_that_models_need_the_most_hold(threads):
    """grpc::ResourceQuota::SetMaxThreads limits a whole server, so that fewer would starve the model that needs more."""
    made = ServingConfiguration("s", models=tuple(model_config.model(name, f"/m/{name}") for name in "ab"))
    for name, needed in zip("ab", threads):
        made = made.tuned(name, {"flags": {"grpc_max_threads": needed}})
    assert made.flags == {"grpc_max_threads": 128}


def test_flags_follow_from_the_models_and_from_files():
    models = (model_config.model("m", "/m/tflite_int8", None, {"stable": 1}, {"max_batch_size": 4}),)
    one = ServingConfiguration("s", models=models, batched_per_model=True, files={"ssl.pbtxt": "1"})
    place = derived_flags.Place(8500, 0, {"ssl.pbtxt": "/etc/ssl.pbtxt", "models.pbtxt": "/etc/models.pbtxt"})
    assert derived_flags.of(one, place) == {
        "port": 8500,
        "rest_api_port": 0,
        "ssl_config_file": "/etc/ssl.pbtxt",
        "model_config_file": "/etc/models.pbtxt",
        "max_num_load_retries": 0,
        "num_load_threads": 2,
        "enable_profiler": False,
        "enable_batching": True,
        "enable_per_model_batching_parameters": True,
        "prefer_tflite_model": True,
        "allow_version_labels_for_unavailable_models": True,
    }


def test_what_an_earlier_version_of_the_collection_labelled_is_read_and_is_another_server():
    """The label of a container that this collection made before its label held a form and batching of each model."""
    before = {
        "name": "digits",
        "backend": "docker",
        "image": "tensorflow/serving:2.20.0",
        "release": "2.20.0",
        "address": "127.0.0.1",
        "grpc_port": 8500,
        "rest_port": None,
        "grpc_socket_directory": None,
        "models": [{"name": "digits", "base_path": "/m/digits/tflite_int8", "version_policy": None, "labels": {}}],
        "flags": {"enable_batching": True, "prefer_tflite_model": True},
        "environment": {"A": "b"},
        "secrets": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "files": {"models.pbtxt": "1", "batching.pbtxt": "2"},
        "cpu_set": None,
        "memory_mib": None,
        "devices": [],
        "user": "65534:65534",
        "read_only": True,
        "capabilities": [],
        "restart_policy": "unless-stopped",
        "log_max_mib": 10,
        "log_files": 3,
        "network": "bridge",
    }
    found = container_labels.described({container_labels.DESCRIPTION: json.dumps(before)})
    assert (found.models[0].form, found.models[0].batching) == ("tflite_int8", model_config.UNKNOWN)
    assert found.secrets == {} and found.grpc_port == 8500 and not found.speaks_tls
    assert "batching" not in running_server.running(found, alive=True)["models"][0]
    now = replace(found, models=(model_config.model("digits", "/m/digits/tflite_int8", None, None, {}),))
    assert derived_flags.digest(now) != derived_flags.digest(found)


@pytest.mark.parametrize(
    "label", ["", "[]", "{", "{}", '{"name": "m", "models": 3}', '{"name": "m", "models": [{}]}', "null"]
)
def test_a_label_that_says_nothing_of_a_server_is_none(label):
    assert container_labels.described({container_labels.DESCRIPTION: label}) is None
    assert container_labels.described({}) is None


def test_secrets_are_compared_by_a_digest_that_only_this_host_can_make(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    first = secret_digests.of({"KEY": "s3cr3t"}, str(here), False)
    assert first == secret_digests.of({"KEY": "s3cr3t"}, str(here), False)
    assert (here / "secret.key").stat().st_mode & 0o777 == 0o600
    assert first != secret_digests.of({"KEY": "other"}, str(here), False)
    assert first != secret_digests.of({"KEY": "s3cr3t"}, str(there), False), "no bare hash, which could be guessed"
    alike = secret_digests.of({"A": "same", "B": "same"}, str(here), False)
    assert alike["A"] != alike["B"]
    assert secret_digests.of({}, str(tmp_path / "none"), False) == {} and not (tmp_path / "none").exists()
    secret_digests.of({"KEY": "x"}, str(tmp_path / "check"), True)
    assert not (tmp_path / "check").exists()
