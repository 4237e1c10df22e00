# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What options make of a server on a real engine: several servers, converted models, TLS, sockets, labels, limits."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost, answer, doubles, pids
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import SERVER
from ansible_collections.tfserving.fleet.tests.docker.waiting import until
from ansible_collections.tfserving.fleet.tests.support import modules


def test_several_servers_of_one_description(host):
    """As for the GPUs of a host, without GPUs: one becomes two, a second run changes nothing, two become one, and back."""
    one, two = {}, {"copies": [{"suffix": "", "cpu_set": str(min(os.sched_getaffinity(0)))}, {"suffix": "-gpu1"}]}

    def running():
        listed = host.engine.containers.list(ignore_removed=True, filters={"label": SERVER})
        return sorted(each.name for each in listed if each.name.startswith(host.name))

    try:
        first = host.good(**one)["server"]
        planned = host.good(check_mode=True, **two)
        assert (
            planned["changed"]
            and [server["name"] for server in planned["servers"]] == [host.name, f"{host.name}-gpu1"]
            and running() == [host.name]
        )
        several = host.good(**two)
        assert (
            several["changed"]
            and several["server"]["grpc_port"] == first["grpc_port"]
            and all(doubles(server) for server in several["servers"])
        )
        assert running() == [host.name, f"{host.name}-gpu1"] and not host.good(**two)["changed"]
        proven = host.good(state="proven", **one)
        assert proven["pending"] and running() == [host.name, f"{host.name}-gpu1", f"{host.name}.proven"]
        single = host.good(**one)
        assert single["changed"] and running() == [host.name] and not host.good(**one)["changed"]
        assert any("stop the server" in action for action in single["actions"]) and len(single["summary"]) == 2
        assert (
            host.good(state="previous")["changed"]
            and running() == [host.name, f"{host.name}-gpu1"]
            and not host.good(**two)["changed"]
        )
        said = host.refused(model_base_path=host.publish("broken", "broken-models"), side_by_side=False, **two)
        assert "The earlier server was started again" in said and running() == [host.name, f"{host.name}-gpu1"]
        assert host.good(state="previous")["changed"] and running() == [host.name] and not host.good(**one)["changed"]
    finally:
        assert host.good(state="absent")["changed"] and running() == []
        assert not host.good(state="absent")["changed"]


def convert(models, directory, model, **judged):
    """Convert a model of make_deployment_models.py to TensorFlow Lite by the module; returns the version's path."""
    options = dict(
        {"source": models / model / "1", "destination": directory / model / "tflite_float16", "form": "tflite_float16"},
        **(judged or {"accept_unjudged": True}),
    )
    done = subprocess.run(
        [sys.executable, "-m", "ansible_collections.tfserving.fleet.plugins.modules.model_conversion"],
        capture_output=True,
        text=True,
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {key: str(value) for key, value in options.items()}}),
        check=False,
        timeout=600,
    )
    made = json.loads(done.stdout)
    assert made.get("accepted"), made
    return Path(made["path"])


def labelled(path, examples):
    """Write labelled examples of the model right; returns their inputs."""
    x = numpy.arange(4 * examples, dtype="float32").reshape(examples, 4) / (4 * examples)
    numpy.savez(path, **{"inputs.x": x, "labels": 2 * x})
    return x


CONVERTED = {"flags": {"prefer_tflite_model": True}, "samples": None, "reference": None, "accept_fragile": True}


def test_a_converted_form_that_answers_otherwise_here_takes_no_traffic(host, models, tmp_path):
    """What was compared in the converter is asked of the candidate: a file that was exchanged on the way loads and answers, and serves nobody.
    Where its answers are near enough for the tolerance, the task metric decides, over the labelled examples that came along."""
    x = labelled(tmp_path / "labelled.npz", 20)
    good = convert(models, tmp_path, "right", samples=tmp_path / "labelled.npz", metric="rmse", allowed_loss=0.1)
    other = convert(models, tmp_path, "wrong")
    serving = dict(CONVERTED, model_base_path=str(good.parent))
    server = host.good(**serving)["server"]
    assert doubles(server)
    judged = server["judged"]["m"]
    assert (judged["metric"], judged["examples"], judged["source"]) == ("rmse", 20, 0) and 0 <= judged["served"] < 0.01
    began = host.container()["State"]["StartedAt"]

    exchanged = dict(serving, model_base_path=str(shutil.copytree(good.parent, host.state / "exchanged")))
    shutil.copyfile(other / "model.tflite", host.state / "exchanged" / "1" / "model.tflite")
    said = host.refused(**exchanged)
    assert "agrees with the reference" in said and "y: differs by up to" in said, said
    said = host.refused(**exchanged, tolerance=3)
    lost = re.search(
        r"agrees with the reference.* rmse ([0-9.]+) over 20 examples, 0 of the source: a loss of [0-9.]+ is above the allowed 0\.1\b",
        said,
    )
    assert lost and float(lost[1]) == pytest.approx((x**2).mean() ** 0.5, rel=0.01), f"3x instead of 2x: {said}"
    assert host.roles() == {"serving": True} and host.container()["State"]["StartedAt"] == began and doubles(server)


def test_a_converted_form_of_a_fixed_batch_is_judged_in_whole_requests(host, models, tmp_path):
    """Of 16 rows each: more than the checks would ask by themselves, and 40 examples are two of them."""
    labelled(tmp_path / "labelled.npz", 40)
    made = convert(models, tmp_path, "fixed", samples=tmp_path / "labelled.npz", metric="rmse", allowed_loss=0.1)
    judged = host.good(**CONVERTED, model_base_path=str(made.parent))["server"]["judged"]["m"]
    assert judged["examples"] == 32 and 0 <= judged["served"] < 0.01
    few = host.refused(
        **dict(
            CONVERTED,
            model_base_path=host.publish("fixed", "unconverted"),
            flags={},
            samples=str(models / "samples.npz"),
        )
    )
    assert "the signature takes 16 rows in each request, but the samples have 6" in few, few


def test_where_both_do_not_fit_the_old_one_comes_back(host):
    server = host.good(side_by_side=False)["server"]
    said = host.refused(side_by_side=False, model_base_path=host.publish("wrong", "other"))
    assert "agrees with the reference" in said and said.endswith("The earlier server was started again.")
    assert doubles(server) and host.roles() == {"serving": True}
    said = host.refused(side_by_side=False, model_base_path=host.publish("renamed", "other"), reference=None)
    assert (
        "serving_default.outputs.z: nothing became float32" in said
        and said.endswith("The earlier server was started again.")
        and doubles(server)
    )
    swapped = host.good(side_by_side=False, model_base_path=host.publish("again", "other"))
    assert doubles(swapped["server"]) and host.roles() == {"serving": True, "previous": False}


def test_tls(host):
    key, certificate = host.state / "key.pem", host.state / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            certificate,
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ],
        check=True,
        capture_output=True,
    )
    configuration = host.state / "tls.pbtxt"
    configuration.write_text(
        "".join(
            f"{name}: {json.dumps(path.read_text())}\n"
            for name, path in (("server_key", key), ("server_cert", certificate))
        )
    )
    configuration.chmod(0o600)
    result = host.good(ssl_config_file=str(configuration))
    assert key.read_text().splitlines()[5] not in json.dumps(result) + json.dumps(host.container())
    assert host.info()[1]["answers"], "asked with TLS"
    with pytest.raises(ServerFault, match="UNAVAILABLE"):
        answer(result["server"])


def test_two_versions_under_labels_and_a_second_server(host, models):
    host.publish("again", version="2")
    served = [
        {
            "name": "m",
            "base_path": str(host.state / "models"),
            "version_policy": {"specific": [1, 2]},
            "labels": {"stable": 1, "canary": 2},
            "samples": str(models / "samples.npz"),
            "reference": str(models / "samples.npz"),
        }
    ]
    server = host.good(
        models=served, model_name=None, model_base_path=None, samples=None, reference=None, monitoring=True
    )["server"]
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        assert sorted((one["version"], one["state"]) for one in client.status("m")) == [
            (1, "AVAILABLE"),
            (2, "AVAILABLE"),
        ]
        assert client.predict("m", {"x": numpy.ones((1, 4), "float32")}, version=2)["y"].tolist() == [[2.0] * 4]
    _described, asked = host.info()
    assert asked["metrics"]["requests"]["m"]["OK"] >= 1 and asked["models"][0]["wanted"] == [1, 2]
    shutil.rmtree(host.state / "models" / "1")
    assert host.info()[1]["models"][0]["drift"], "a version that is wanted is not there any more"
    container = host.engine.containers.get(host.name)
    container.pause()
    described, asked = host.info()
    container.unpause()
    assert (
        described["state"] == "started"
        and not asked["answers"]
        and "DEADLINE_EXCEEDED: no answer within 5 s" in asked["reason"]
    )
    host.publish("right")
    other = LocalHost(
        "the-second-server", host.state, host.engine, host.engine.images.get(host.options["image"]), models
    )
    try:
        beside = other.good()["server"]
        assert beside["grpc_port"] != server["grpc_port"] and doubles(beside) and doubles(server)
    finally:
        other.good(state="absent")
    assert doubles(server)


def test_a_unix_socket_for_clients_on_the_host(host):
    folder = Path(tempfile.mkdtemp()) / "socket"
    folder.parent.chmod(0o755)
    try:
        server = host.good(grpc_socket_directory=str(folder))["server"]
        path = folder / "grpc.sock"

        def served_by(before):
            """When the socket was made, which gives a client an answer and lets an ordinary user in. before: when the last one was."""
            with GrpcClient("unix", path) as client:
                assert client.predict("m", {"x": numpy.ones((1, 4), "float32")})["y"].tolist() == [[2.0] * 4]
            connecting = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
            subprocess.run(["/usr/bin/python3", "-c", connecting, str(path)], check=True, user=12345, group=12345)
            assert (
                path.stat().st_uid == 65534
                and path.stat().st_ctime_ns != before
                and [one.name for one in folder.iterdir()] == ["grpc.sock"]
            )
            return path.stat().st_ctime_ns

        first = served_by(None)
        assert doubles(server)

        # A candidate has a socket of its own, so nothing changes before the swap; then the new server's is in its place.
        assert host.good(grpc_socket_directory=str(folder), flags={"num_load_threads": 4}, state="proven")["changed"]
        assert served_by(None) == first
        assert host.good(grpc_socket_directory=str(folder), flags={"num_load_threads": 4})["changed"]
        second = served_by(first)
        assert host.good(state="previous")["changed"]
        third = served_by(second)

        # A server that was killed leaves its socket behind, and the one that the engine starts again replaces it.
        pid = host.container()["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: host.container()["State"]["Pid"] not in (0, pid))
        assert not host.good(grpc_socket_directory=str(folder))["changed"]
        served_by(third)
    finally:
        shutil.rmtree(folder.parent)


def test_the_batching_of_each_model_follows_the_server_that_serves(host):
    """A server reads the files in the versions when it starts. The task before model_server writes those of the new server, as the role does."""
    folders = {"m": host.state / "models", "other": Path(host.publish("right", "other"))}
    files = {name: folder / "1/batching_params.pbtxt" for name, folder in folders.items()}

    def written(size):
        batching = {"m": {"max_batch_size": size}, "other": None}
        models = [
            {"name": name, "directory": str(folder), "batching": batching[name]} for name, folder in folders.items()
        ]
        assert not modules.call("batching_parameters", per_model=True, models=models).get("failed")
        listed = [
            {"name": name, "base_path": str(folder), "batching": batching[name]} for name, folder in folders.items()
        ]
        return {"models": listed, **dict.fromkeys(("model_name", "model_base_path", "samples", "reference"))}

    def sizes():
        found = {name: file.read_text() for name, file in files.items() if file.exists()}
        return {name: re.findall(r"max_batch_size {\s*value: (\d+)", text) for name, text in found.items()}

    host.good(**written(8))
    assert "--enable_per_model_batching_parameters=true" in host.container()["Config"]["Cmd"]
    why = host.refused(**dict(written(16), flags={"no_such_flag": 1}))
    assert "no_such_flag" in why and sizes() == {"m": ["8"]}, "the current server would start with them again"
    host.good(**written(16))
    (folders["m"] / "2").mkdir()
    shutil.copy(folders["m"] / "1/saved_model.pb", folders["m"] / "2")
    shutil.copytree(folders["m"] / "1/variables", folders["m"] / "2/variables")
    back = host.start(True, state="previous").result()
    assert sizes() == {"m": ["16"]} and f"write {files['m']}" in back["actions"]
    host.good(state="previous")
    assert sizes() == {"m": ["8"]} and (folders["m"] / "2/batching_params.pbtxt").read_text() == files["m"].read_text()


def test_options_have_their_effect_on_the_server(host, engine):
    cpu, network = str(max(os.sched_getaffinity(0))), engine.networks.create(host.name)
    batching = host.state / "batching.pbtxt"
    batching.write_text("max_batch_size { value: 16 }")
    options = {
        "monitoring": True,
        "network": network.name,
        "cpu_set": cpu,
        "memory_mib": 3000,
        "environment": {"TF_CPP_MAX_VLOG_LEVEL": "0"},
        "restart_policy": "on-failure",
        "log_max_mib": 3,
        "log_files": 2,
        "user": "12345:23456",
        "capabilities": ["NET_BIND_SERVICE"],
        "read_only": False,
        "batching_parameters_file": str(batching),
        "flags": {"num_load_threads": 4},
    }
    try:
        server = host.good(**options)["server"]
        assert doubles(server)
        attributes = host.container()
        for pid in pids(attributes["State"]["Pid"]):
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
            )
            assert status["Cpus_allowed_list"] == cpu and status["CapBnd"] == f"{1 << 10:016x}"
            assert status["Uid"].split() == ["12345"] * 4 and status["Gid"].split() == ["23456"] * 4
            assert b"TF_CPP_MAX_VLOG_LEVEL=0" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        said = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        assert {
            "--num_load_threads=4",
            "--enable_batching=true",
            "--monitoring_config_file=/etc/tfserving/monitoring.pbtxt",
        } <= set(said)
        assert memory_limit(pid) == 3000 * 2**20
        assert list(attributes["NetworkSettings"]["Networks"]) == [network.name]
        assert attributes["HostConfig"]["LogConfig"] == {
            "Type": "json-file",
            "Config": {"max-size": "3m", "max-file": "2"},
        }
        assert (
            attributes["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
            and attributes["HostConfig"]["ReadonlyRootfs"] is False
        )
        with urllib.request.urlopen(
            f"http://127.0.0.1:{server['rest_port']}/monitoring/prometheus/metrics", timeout=10
        ) as metrics:
            assert b':tensorflow:serving:request_count{model_name="m",status="OK"}' in metrics.read()
        assert not host.good(**options)["changed"]

        # What this server has not built, or nobody could use, is refused with a remedy.
        session, tls = host.state / "session.pbtxt", host.state / "tls.pbtxt"
        session.write_text("intra_op_parallelism_threads: 1")
        tls.write_text('server_key: "/etc/key.pem" server_cert: "/etc/cert.pem"')
        for wrong, words in (
            (
                {"session_config_file": str(session)},
                ["is not built into the embedded server", "or use an image of TensorFlow Serving"],
            ),
            ({"ssl_config_file": str(tls)}, ["TLS configuration is refused", "PEM texts, not paths"]),
            ({"network": "host"}, ["network: a container cannot publish ports with the network 'host'"]),
            ({"network": "of-nobody"}, ["of-nobody not found"]),
            ({"cpu_set": "9999"}, ["cpu_set: CPU 9999 cannot be used here"]),
            ({"rest_port": None}, ["monitoring: the server publishes metrics only on its REST port"]),
        ):
            said = host.refused(**dict(options, **wrong))
            print(said)
            assert all(word in said for word in words) and doubles(server)
    finally:
        host.good(state="absent")
        network.remove()


def memory_limit(pid):
    """What the kernel limits a process's memory to, in bytes."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
    return int(Path(f"/sys/fs/cgroup{path}/memory.max").read_text())
