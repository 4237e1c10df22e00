# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a server on a real engine: first deployment, no change, update, rollback, and the faults that must not cost what serves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import tarfile
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import pid_file
from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost, doubles, pids
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.waiting import until

SECRET = "s3cr3t-token"
WITH_SECRET = {"secret_environment": {"TOKEN": SECRET}}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, engine, serving_image, models):
    """(a Host with a server, the result of its first deployment) for tests that leave what serves."""
    host = LocalHost("deployed", tmp_path_factory.mktemp("deployed"), engine, serving_image, models)
    planned = host.good(check_mode=True, **WITH_SECRET)
    assert planned["changed"] and planned["diff"]["before"] == {} and host.roles() == {}
    yield host, host.good(**WITH_SECRET)
    host.remove()


@pytest.mark.slice
def test_a_first_deployment(deployed):
    host, result = deployed
    server, attributes = result["server"], host.container()
    assert result["changed"] and doubles(server) and host.roles() == {"serving": True}
    assert SECRET not in json.dumps({key: value for key, value in result.items() if key != "invocation"})
    assert SECRET not in json.dumps(attributes["Config"]["Labels"])
    bindings = [binding for (binding,) in attributes["NetworkSettings"]["Ports"].values()]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}
    assert {int(binding["HostPort"]) for binding in bindings} == {server["grpc_port"], server["rest_port"]}

    described, asked = host.info()
    assert (described["backend"], described["state"], described["grpc_port"]) == (
        "docker",
        "started",
        server["grpc_port"],
    )
    assert described["models"][0]["base_path"] == str(host.state / "models") and SECRET not in json.dumps(described)
    assert asked["answers"] and asked["models"][0]["wanted"] == [1] and asked["models"][0]["drift"] == []


@pytest.mark.slice
def test_a_second_deployment_changes_nothing(deployed):
    host, first = deployed
    again = host.good(**WITH_SECRET)
    assert not again["changed"] and again["server"]["grpc_port"] == first["server"]["grpc_port"]
    for as_it_is in ({"enable_profiler": False}, {"max_num_load_retries": 0}, {"enable_batching": False}):
        assert not host.good(flags=as_it_is, **WITH_SECRET)["changed"], "a flag with the value that it has anyway"
    other = host.good(check_mode=True, secret_environment={"TOKEN": "another"})
    assert other["changed"], "another secret is another server"


def test_a_container_has_no_more_rights_than_it_needs(deployed):
    host, _result = deployed
    attributes = host.container()
    settings, state = attributes["HostConfig"], attributes["State"]
    assert (
        settings["ReadonlyRootfs"]
        and settings["CapDrop"] == ["ALL"]
        and "no-new-privileges" in settings["SecurityOpt"]
        and not settings["Privileged"]
        and settings["PidsLimit"] > 0
    )
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids(state["Pid"])]
    assert all(
        "CapEff:\t0000000000000000" in one and "NoNewPrivs:\t1" in one and "Uid:\t65534\t65534" in one for one in status
    )
    assert listening(state["Pid"]) == {8500, 8501}
    assert "--enable_profiler=false" in attributes["Config"]["Cmd"]


def test_check_mode_before_a_task_publishes_the_model(host):
    planned = host.good(check_mode=True, model_base_path=str(host.state / "later"))
    assert planned["changed"] and host.roles() == {}
    assert "cannot read it" in host.refused(model_base_path=str(host.state / "later"))


def test_the_engine_starts_a_server_that_died_and_the_module_leaves_it(deployed):
    host, result = deployed
    pid = host.container()["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: host.container()["State"]["Pid"] not in (0, pid))
    assert not host.good(**WITH_SECRET)["changed"] and doubles(result["server"])


@pytest.mark.slice
def test_an_update_is_verified_alongside_and_can_be_rolled_back(host):
    server = host.good()["server"]
    verified = host.good(state="proven", flags={"num_load_threads": 4})
    assert verified["changed"] and host.roles() == {"serving": True, "proven": True} and doubles(server)
    assert not host.good(state="proven", flags={"num_load_threads": 4})["changed"]
    swapped = host.good(flags={"num_load_threads": 4})
    assert swapped["changed"] and host.roles() == {"serving": True, "previous": False} and doubles(swapped["server"])
    assert swapped["server"]["gap_s"] > 0 and swapped["server"]["grpc_port"] == server["grpc_port"]
    assert "--num_load_threads=4" in host.container()["Config"]["Cmd"]

    back = host.good(state="previous")
    assert back["changed"] and host.roles() == {"serving": True, "previous": False} and doubles(back["server"])
    assert "--num_load_threads=4" not in host.container()["Config"]["Cmd"]
    assert (
        host.good(flags={"num_load_threads": 4})["changed"]
        and "--num_load_threads=4" in host.container()["Config"]["Cmd"]
    )


def test_a_server_is_stopped_started_and_removed(host):
    host.good()
    assert host.good(state="stopped")["changed"] and not host.good(state="stopped")["changed"]
    assert host.roles() == {"serving": False}
    assert doubles(host.good()["server"])
    assert host.good(state="absent", check_mode=True)["changed"] and host.roles()["serving"]
    assert host.good(state="absent")["changed"] and host.roles() == {} and not host.good(state="absent")["changed"]


def test_the_files_of_an_embedded_server_of_this_name_stay(host):
    """A real process takes the place of the embedded server's, as its file names it."""
    folder = host.state / "servers" / host.name
    folder.mkdir(parents=True)
    pid = os.getpid()
    (folder / "server.pid").write_text(json.dumps([pid, pid_file.birth_of(pid)]), encoding="utf-8")
    for state in ("started", "stopped", "absent"):
        assert "an embedded server of this name is running" in host.refused(state=state)
    assert (folder / "server.pid").exists() and host.roles() == {}


def test_absent_removes_the_files_and_says_so(host):
    host.good()
    host.remove()
    removed = host.good(state="absent")
    assert removed["changed"] and removed["actions"] == [f"remove the files of the server {host.name}"]
    assert not host.good(state="absent")["changed"] and not (host.state / "servers" / host.name).exists()


def test_a_first_deployment_that_fails_leaves_nothing_of_a_container(host):
    host.publish("wrong")
    assert "agrees with the reference" in host.refused()
    assert not (host.state / "servers" / host.name / "config").exists()


def test_a_rollback_that_fails_can_be_repeated(host):
    host.good()
    kept = host.container()["Id"]
    host.good(flags={"num_load_threads": 4})
    host.publish("wrong")
    said = host.refused(state="previous")
    assert "agrees with the reference" in said and "The earlier server was started again" in said
    assert host.roles() == {"serving": True, "previous": False} and host.container()["Id"] != kept
    host.publish("right")
    assert host.good(state="previous")["changed"] and host.container()["Id"] == kept


def test_configurations_stay_however_the_state_directory_is_written(host):
    odd = {"state_directory": f"{host.state.parent}//{host.state.name}"}
    results = [host.good(flags={"num_load_threads": number}, **odd) for number in (3, 4)]
    assert host.roles() == {"serving": True, "previous": False}
    for result in results:
        assert Path(result["server"]["model_config_file"]).is_file()


def listening(pid):
    """The TCP ports on which something listens in the network of a process."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def foreign_image():
    """An image of arm64 with nothing in it, as docker load takes it (Docker Image Specification v1.2)."""

    def archive(files):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as out:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))
        return packed.getvalue()

    layer = archive({"x": b"x"})
    configuration = {
        "architecture": "arm64",
        "os": "linux",
        "config": {"Entrypoint": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "c.json", "RepoTags": ["tfserving-testbed/foreign:arm64"], "Layers": ["l/layer.tar"]}]
    return archive(
        {
            "c.json": json.dumps(configuration).encode(),
            "l/layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


@pytest.fixture(scope="module")
def others(engine, serving_image):
    """Images that something is wrong with."""
    return {
        "labelled": images.derived(
            engine,
            serving_image,
            "LABEL org.tfserving.fleet.recipe=1 org.tfserving.fleet.level=x86-64-v9 org.tfserving.fleet.cpu_flags=avx10_9",
        ),
        "illegal": images.derived(engine, serving_image, 'ENTRYPOINT ["/bin/sh", "-c", "kill -ILL $$"]'),
        "misspelt": images.derived(
            engine, serving_image, 'ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh", "--use_tflite_model=true"]'
        ),
        "foreign": engine.images.load(foreign_image())[0],
    }


# fault: (options of the module, or what to publish and serve; words of the message). Those of the slice are marked.
FAULTS = {
    "a model that cannot load": ({"publish": "broken"}, ["a model cannot be loaded", "saved_model.pb"]),
    "a model that answers wrongly": ({"publish": "wrong"}, ["agrees with the reference", "y: differs by up to"]),
    "another signature": ({"publish": "renamed"}, ["same signature", "serving_default.outputs.y"]),
    "a model that one request kills": (
        {"publish": "fatal"},
        ["survives malformed requests", "no rows", "SIGABRT", "accept_fragile"],
    ),
    "no version": ({"publish": None}, ["it contains no version", "wait forever"]),
    "an image that is not there": ({"image": "localhost:9/no/such:1"}, ["image:", "cannot pull"]),
    "an image for another level": ({"image": "labelled"}, ["compatible with this host", "x86-64-v9"]),
    "an image of another architecture": ({"image": "foreign"}, ["compatible with this host", "arm64", "linux/amd64"]),
    "a base folder that the server's user may not read": (
        {"publish": "right", "mode": 0o711},
        ["user 65534", "mode 0711", "tfs_server_user"],
    ),
    "a version as base path": ({"publish": "right", "version": True}, ["Did you mean"]),
    "an image that dies of SIGILL": ({"image": "illegal"}, ["SIGILL", "lacks an instruction"]),
    "a flag that the server does not know": ({"image": "misspelt"}, ["does not know --use_tflite_model=true"]),
    "a misspelt flag": ({"flags": {"enable_baching": True}}, ["flags.enable_baching", "did you mean enable_batching?"]),
    "a batching file that the server refuses": ({"batching": "max_batch_size { value: oops }"}, ["batching"]),
    "too little memory": ({"memory_mib": 96}, ["out of memory", "96 MiB"]),
}
SLICE = (
    "a model that cannot load",
    "a model that answers wrongly",
    "another signature",
    "a model that one request kills",
    "an image that is not there",
)


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.slice] if fault in SLICE else []) for fault in FAULTS]
)
def test_a_fault_leaves_what_serves(deployed, others, fault):
    host, result = deployed
    options, words = dict(WITH_SECRET, **FAULTS[fault][0]), FAULTS[fault][1]
    if "publish" in options:
        model, mode, version = options.pop("publish"), options.pop("mode", 0o755), options.pop("version", False)
        options["model_base_path"] = (
            f"{host.publish(model, 'other')}{'/1' if version else ''}" if model else str(host.state / "nothing")
        )
        for folder in ("other", "nothing"):
            (host.state / folder).mkdir(exist_ok=True)
        (host.state / "other").chmod(mode)
    if "batching" in options:
        path = host.state / "batching.pbtxt"
        path.write_text(options.pop("batching"))
        options["batching_parameters_file"] = str(path)
    if options.get("image") in others:
        options["image"] = others[options["image"]].tags[0]
    began = host.container()["State"]["StartedAt"]
    said = host.refused(**options)
    print(said)
    assert all(word in said for word in words)
    assert (
        doubles(result["server"])
        and host.roles() == {"serving": True}
        and host.container()["State"]["StartedAt"] == began
    )


def test_a_port_that_is_taken(deployed):
    host, result = deployed
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for check_mode in (True, False):
            assert f"port {port} of 127.0.0.1 cannot be used" in host.refused(
                grpc_port=port, check_mode=check_mode, **WITH_SECRET
            )
    assert doubles(result["server"]) and host.roles() == {"serving": True}


def test_a_port_of_a_server_with_another_name(deployed):
    """The first model was renamed, and so the server: a second server on another port would leave the clients with the old one."""
    host, result = deployed
    for option in ("grpc_port", "rest_port"):
        said = host.refused(name=f"{host.name}-renamed", **{option: result["server"][option]})
        assert f"by container {host.name}" in said and f"Set name: {host.name} (tfs_server_name of the role)" in said
