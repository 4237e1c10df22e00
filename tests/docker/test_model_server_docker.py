# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_server with the backend docker on a real engine: the life of a server, the faults that must not cost what serves, killed runs, two runs at once."""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import transaction
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.tests.docker.testbed import images

HERE = Path(__file__).resolve().parent
PROGRAM = ("import runpy, sys, json; runpy.run_path(sys.argv[1]); import ansible.module_utils.testing as t, ansible.module_utils.basic as b\n"
           "from ansible_collections.tfserving.fleet.plugins.modules import model_server, model_server_info\n"
           "with t.patch_module_args(json.loads(sys.argv[2])): dict(server=model_server, info=model_server_info)[sys.argv[3]].main()\n")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with the models of make_deployment_models.py, readable for everybody."""
    directory = tmp_path_factory.mktemp("published")
    subprocess.run([sys.executable, str(HERE / "make_deployment_models.py"), str(directory)], check=True, capture_output=True, timeout=300,
                   env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1"))
    return directory


class Host:
    """Calls the module on this machine for one server."""

    def __init__(self, name, state, engine, image, published):
        self.name, self.state, self.engine, self.published = name, state, engine, published
        self.options = {
            "name": name, "backend": "docker", "image": image.tags[0], "model_name": "m", "model_base_path": str(state / "models"), "rest_port": 0,
            "samples": str(published / "samples.npz"), "reference": str(published / "samples.npz"), "state_directory": str(state), "ready_timeout_s": 120}
        self.publish("right")

    def publish(self, model, folder="models", version="1"):
        """Put a model into a folder of models, in place of what was there."""
        shutil.rmtree(self.state / folder / version, ignore_errors=True)
        shutil.copytree(self.published / model / "1", self.state / folder / version)
        return str(self.state / folder)

    def start(self, check_mode=False, **options):
        """The module as a process."""
        given = {key: value for key, value in dict(self.options, **options).items() if value is not None}
        arguments = json.dumps(dict(given, _ansible_check_mode=check_mode, _ansible_diff=True))
        return subprocess.Popen([sys.executable, "-c", PROGRAM, str(HERE.parent / "conftest.py"), arguments, "server"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True)

    def run(self, **options):
        """The module's result."""
        said, errors = self.start(**options).communicate(timeout=400)
        assert said, errors
        return json.loads(said)

    def good(self, **options):
        """The module's result, which must be good."""
        result = self.run(**options)
        assert not result.get("failed"), result["msg"] + result.get("exception", "")
        return result

    def refused(self, **options):
        """The message with which the module fails."""
        result = self.run(**options)
        assert result.get("failed"), result
        assert "\n" not in result["msg"] and "Traceback" not in result["msg"]
        return result["msg"]

    def info(self):
        """(the description of the server, what it answered) of model_server_info."""
        arguments = json.dumps({"ask": True, "state_directory": str(self.state)})
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(HERE.parent / "conftest.py"), arguments, "info"], stdout=subprocess.PIPE, text=True,
                              check=True)
        result = json.loads(done.stdout)
        return [next((one for one in result[key] if one["name"] == self.name), None) for key in ("servers", "asked")]

    def roles(self):
        """{role: whether it runs} of the containers that are there."""
        listed = self.engine.containers.list(all=True, filters={"label": f"tfserving.fleet.server={self.name}"}, ignore_removed=True)
        return {transaction.role_of(self.name, one.name): one.status == "running" for one in listed}

    def container(self):
        """What the engine says of the container that serves."""
        return self.engine.containers.get(self.name).attrs


@pytest.fixture(name="host")
def this_host(request, tmp_path, engine, serving_image, published):
    host = Host(f"test-{os.getpid()}-{request.node.name[:20].strip('[_')}".replace("[", "-").replace("]", ""), tmp_path, engine, serving_image, published)
    yield host
    for one in engine.containers.list(all=True, ignore_removed=True, filters={"label": f"tfserving.fleet.server={host.name}"}):
        one.remove(force=True, v=True)


def answer(server):
    """What the server makes of ones."""
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        return client.predict("m", {"x": numpy.ones((1, 4), "float32")})


def doubles(server):
    return answer(server)["y"].tolist() == [[2.0] * 4]


def test_several_servers_of_one_description(host):
    """As for the GPUs of a host, without GPUs: one becomes two, a second run changes nothing, two become one, and back."""
    one, two = {}, {"copies": [{"suffix": "", "cpu_set": "0"}, {"suffix": "-gpu1"}]}

    def running():
        listed = host.engine.containers.list(ignore_removed=True, filters={"label": "tfserving.fleet.server"})
        return sorted(each.name for each in listed if each.name.startswith(host.name))
    try:
        first = host.good(**one)["server"]
        planned = host.good(check_mode=True, **two)
        assert planned["changed"] and [server["name"] for server in planned["servers"]] == [host.name, f"{host.name}-gpu1"] and running() == [host.name]
        several = host.good(**two)
        assert several["changed"] and several["server"]["grpc_port"] == first["grpc_port"] and all(doubles(server) for server in several["servers"])
        assert running() == [host.name, f"{host.name}-gpu1"] and not host.good(**two)["changed"]
        proven = host.good(state="proven", **one)
        assert proven["pending"] and running() == [host.name, f"{host.name}-gpu1", f"{host.name}.proven"]
        single = host.good(**one)
        assert single["changed"] and running() == [host.name] and not host.good(**one)["changed"]
        assert any("stop the server" in action for action in single["actions"]) and len(single["summary"]) == 2
        assert host.good(state="previous")["changed"] and running() == [host.name, f"{host.name}-gpu1"] and not host.good(**two)["changed"]
        assert host.good(state="previous")["changed"] and running() == [host.name] and not host.good(**one)["changed"]
        host.good(**two)
        host.publish("broken", "broken-models")
        said = host.refused(model_base_path=str(host.state / "broken-models"), side_by_side=False, **two)
        assert "The server before it runs again" in said and running() == [host.name, f"{host.name}-gpu1"]
    finally:
        assert host.good(state="absent")["changed"] and running() == []
        assert not host.good(state="absent")["changed"]


def test_the_life_of_a_server(host):
    planned = host.good(check_mode=True)
    assert planned["changed"] and planned["diff"]["before"] == {} and host.roles() == {}
    secret = {"secret_environment": {"TOKEN": "s3cr3t-token"}}
    result = host.good(**secret)
    server = result["server"]
    assert result["changed"] and doubles(server) and host.roles() == {"serving": True}
    assert "s3cr3t-token" not in json.dumps({key: value for key, value in result.items() if key != "invocation"})
    again = host.good(**secret)
    assert not again["changed"] and again["server"]["grpc_port"] == server["grpc_port"]

    attributes = host.container()
    settings, state = attributes["HostConfig"], attributes["State"]
    assert "s3cr3t-token" not in json.dumps(attributes["Config"]["Labels"])
    assert settings["ReadonlyRootfs"] and settings["CapDrop"] == ["ALL"] and "no-new-privileges" in settings["SecurityOpt"] and not settings["Privileged"]
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids(state["Pid"])]
    assert all("CapEff:\t0000000000000000" in one and "NoNewPrivs:\t1" in one and "Uid:\t65534\t65534" in one for one in status)
    published_ports = {server["grpc_port"], server["rest_port"]}
    assert listening(state["Pid"]) == {8500, 8501}, "nothing listens in the container beyond what was asked"
    (network,) = host.container()["NetworkSettings"]["Networks"].values()
    assert open_ports(network["IPAddress"]) == {8500, 8501}, "nor does anything else answer from outside"
    assert {binding[0]["HostIp"] for binding in attributes["NetworkSettings"]["Ports"].values()} == {"127.0.0.1"}
    assert {int(binding[0]["HostPort"]) for binding in attributes["NetworkSettings"]["Ports"].values()} == published_ports
    assert "--enable_profiler=false" in attributes["Config"]["Cmd"]

    described, asked = host.info()
    assert (described["backend"], described["state"], described["grpc_port"]) == ("docker", "started", server["grpc_port"])
    assert described["models"][0]["base_path"] == str(host.state / "models") and "s3cr3t-token" not in json.dumps(described)
    assert asked["answers"] and asked["models"][0]["wanted"] == [1] and asked["models"][0]["drift"] == []

    # One that died is started again by the engine, and is no reason to do anything.
    os.kill(state["Pid"], signal.SIGKILL)
    while host.container()["State"]["Pid"] in (0, state["Pid"]):
        time.sleep(0.1)
    assert not host.good(**secret)["changed"] and doubles(server)

    # Another specification: proven beside it, swapped, the old one kept.
    proven = host.good(state="proven", flags={"num_load_threads": 2}, **secret)
    assert proven["changed"] and host.roles() == {"serving": True, "proven": True} and doubles(server)
    assert not host.good(state="proven", flags={"num_load_threads": 2}, **secret)["changed"]
    swapped = host.good(flags={"num_load_threads": 2}, **secret)
    assert swapped["changed"] and host.roles() == {"serving": True, "previous": False} and doubles(swapped["server"])
    assert 0 < swapped["server"]["gap_s"] < 60 and swapped["server"]["grpc_port"] == server["grpc_port"]
    print("gap:", swapped["server"]["gap_s"])

    back = host.good(state="previous")
    assert back["changed"] and host.roles() == {"serving": True, "previous": False} and doubles(back["server"])
    assert "--num_load_threads=2" not in host.container()["Config"]["Cmd"]

    assert host.good(state="stopped")["changed"] and not host.good(state="stopped")["changed"]
    assert host.roles() == {"serving": False, "previous": False}
    assert doubles(host.good(**secret)["server"])
    assert host.good(state="absent", check_mode=True)["changed"] and host.roles()["serving"]
    assert host.good(state="absent")["changed"] and host.roles() == {} and not host.good(state="absent")["changed"]


def pids(first):
    """The processes of a container, by the process that the engine names."""
    found = [first]
    for pid in found:
        found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found


def listening(pid):
    """The TCP ports on which something listens in the network of a process."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def open_ports(address):
    """The TCP ports of an address that take a connection, of all there are."""
    def takes(port):
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex((address, port)) == 0
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ports = range(1, 1 << 16)
        return {port for port, taken in zip(ports, pool.map(takes, ports)) if taken}


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
    configuration = {"architecture": "arm64", "os": "linux", "config": {"Entrypoint": ["/x"]},
                     "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}}
    manifest = [{"Config": "c.json", "RepoTags": ["tfserving-testbed/foreign:arm64"], "Layers": ["l/layer.tar"]}]
    return archive({"c.json": json.dumps(configuration).encode(), "l/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()})


@pytest.fixture(scope="module")
def others(engine, serving_image):
    """Images that something is wrong with."""
    return {
        "labelled": images.derived(
            engine, serving_image, "LABEL org.tfserving.fleet.recipe=1 org.tfserving.fleet.level=x86-64-v9 org.tfserving.fleet.cpu_flags=avx10_9"),
        "illegal": images.derived(engine, serving_image, 'ENTRYPOINT ["/bin/sh", "-c", "kill -ILL $$"]'),
        "misspelt": images.derived(engine, serving_image, 'ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh", "--use_tflite_model=true"]'),
        "foreign": engine.images.load(foreign_image())[0],
    }


FAULTS = {
    "a model that cannot load": ({"publish": "broken"}, ["a model cannot be loaded", "saved_model.pb"]),
    "a model that answers wrongly": ({"publish": "wrong"}, ["agrees with the reference", "y: differs by up to"]),
    "another signature": ({"publish": "renamed"}, ["same signature", "serving_default.outputs.y"]),
    "a model that one request kills": ({"publish": "fatal"}, ["survives careless requests", "no rows", "SIGABRT", "accept_fragile"]),
    "no version": ({"publish": None}, ["it holds no version", "wait for ever"]),
    "an image that is not there": ({"image": "localhost:9/no/such:1"}, ["image:", "cannot be pulled"]),
    "an image for another level": ({"image": "labelled"}, ["compatible with this host", "x86-64-v9"]),
    "an image of another architecture": ({"image": "foreign"}, ["compatible with this host", "arm64", "linux/amd64"]),
    "a base folder that the server's user may not read": ({"publish": "right", "mode": 0o711}, ["user 65534", "mode 0711", "tfs_server_user"]),
    "a version as base path": ({"publish": "right", "version": True}, ["Did you mean"]),
    "an image that dies of SIGILL": ({"image": "illegal"}, ["SIGILL", "lacks an instruction"]),
    "a flag that the server does not know": ({"image": "misspelt"}, ["does not know --use_tflite_model=true"]),
    "a misspelt flag": ({"flags": {"enable_baching": True}}, ["flags.enable_baching", "did you mean enable_batching?"]),
    "a batching file that the server refuses": ({"batching": "max_batch_size { value: oops }"}, ["batching"]),
    "too little memory": ({"memory_mib": 96}, ["want of memory", "96 MiB"]),
}


def test_faults_leave_what_serves(host, others):
    server = host.good()["server"]
    began = host.container()["State"]["StartedAt"]
    for fault, (options, words) in FAULTS.items():
        options = dict(options)
        if "publish" in options:
            model, mode, version = options.pop("publish"), options.pop("mode", 0o755), options.pop("version", False)
            options["model_base_path"] = f"{host.publish(model, 'other')}{'/1' if version else ''}" if model else str(host.state / "nothing")
            (host.state / "other").chmod(mode)
            (host.state / "nothing").mkdir(exist_ok=True)
        if "batching" in options:
            path = host.state / "batching.pbtxt"
            path.write_text(options.pop("batching"))
            options["batching_parameters_file"] = str(path)
        if options.get("image") in others:
            options["image"] = others[options["image"]].tags[0]
        before = time.monotonic()
        said = host.refused(**options)
        print(f"{fault} ({time.monotonic() - before:.1f} s): {said}")
        assert all(word in said for word in words), f"{fault}: {said}"
        assert doubles(server), fault
        assert host.roles() == {"serving": True} and host.container()["State"]["StartedAt"] == began, fault
    assert host.good(model_base_path=host.publish("again", "other"))["changed"]
    assert doubles(server)


def convert(host, model, folder, **judged):
    """Publish a model of make_deployment_models.py as TensorFlow Lite below a folder, by the module; returns the version's path."""
    options = dict({"source": host.published / model / "1", "destination": host.state / folder / "tflite_float16", "form": "tflite_float16"},
                   **(judged or {"accept_unjudged": True}))
    done = subprocess.run([sys.executable, "-m", "ansible_collections.tfserving.fleet.plugins.modules.model_conversion"], capture_output=True, text=True,
                          input=json.dumps({"ANSIBLE_MODULE_ARGS": {key: str(value) for key, value in options.items()}}), check=False, timeout=300)
    made = json.loads(done.stdout)
    assert made.get("accepted"), made
    return Path(made["path"])


def test_a_converted_form_that_answers_otherwise_here_takes_no_traffic(host):
    """What was compared in the converter is asked of the candidate: a file that was exchanged on the way loads and answers, and serves nobody."""
    good, other = convert(host, "right", "converted"), convert(host, "wrong", "foreign")
    serving = {"model_base_path": str(good.parent), "flags": {"prefer_tflite_model": True}, "samples": None, "reference": None, "accept_fragile": True}
    server = host.good(**serving)["server"]
    assert doubles(server)
    began = host.container()["State"]["StartedAt"]
    shutil.copytree(good, good.parent / "2")
    shutil.copyfile(other / "model.tflite", good.parent / "2" / "model.tflite")
    said = host.refused(**dict(serving, flags={"prefer_tflite_model": True, "num_load_threads": 2}))
    assert "agrees with the reference" in said and "y: differs by up to" in said, said
    assert host.roles() == {"serving": True} and host.container()["State"]["StartedAt"] == began


def test_a_converted_form_that_is_worse_here_takes_no_traffic(host, tmp_path):
    """As above, and its answers are near enough for the tolerance: the task metric decides, over the labelled examples that came along."""
    x = numpy.arange(80, dtype="float32").reshape(20, 4) / 80
    numpy.savez(tmp_path / "labelled.npz", **{"inputs.x": x, "labels": 2 * x})
    good = convert(host, "right", "judged", samples=tmp_path / "labelled.npz", metric="rmse", allowed_loss=0.1)
    other = convert(host, "wrong", "worse")
    serving = {"model_base_path": str(good.parent), "flags": {"prefer_tflite_model": True}, "samples": None, "reference": None, "accept_fragile": True,
               "tolerance": 3}
    made = host.good(**serving)["server"]
    assert doubles(made)
    judged = made["judged"]["m"]
    assert (judged["metric"], judged["examples"], judged["source"]) == ("rmse", 20, 0) and 0 <= judged["served"] < 0.01
    exchanged = shutil.copytree(good.parent, host.state / "exchanged")
    shutil.copyfile(other / "model.tflite", exchanged / "1" / "model.tflite")
    said = host.refused(**dict(serving, model_base_path=str(exchanged)))
    lost = re.search(r"agrees with the reference.* rmse ([0-9.]+) over 20 examples, 0 of the source: a loss of [0-9.]+ is above the allowed 0\.1\b", said)
    assert lost and float(lost[1]) == pytest.approx((x ** 2).mean() ** 0.5, rel=0.01), f"3x instead of 2x: {said}"
    assert host.roles() == {"serving": True} and doubles(made)


def test_a_converted_form_of_a_fixed_batch_is_judged_in_whole_requests(host, tmp_path):
    """Of 16 rows each: more than the gates would ask by themselves, and 40 examples are two of them."""
    x = numpy.arange(160, dtype="float32").reshape(40, 4) / 160
    numpy.savez(tmp_path / "labelled.npz", **{"inputs.x": x, "labels": 2 * x})
    made = convert(host, "fixed", "whole", samples=tmp_path / "labelled.npz", metric="rmse", allowed_loss=0.1)
    serving = {"model_base_path": str(made.parent), "flags": {"prefer_tflite_model": True}, "samples": None, "reference": None, "accept_fragile": True}
    judged = host.good(**serving)["server"]["judged"]["m"]
    assert judged["examples"] == 32 and 0 <= judged["served"] < 0.01
    few = host.refused(**dict(serving, model_base_path=host.publish("fixed", "unconverted"), flags={}, samples=str(host.published / "samples.npz")))
    assert "the signature takes 16 rows in each request, the samples hold 6" in few, few


def test_a_port_that_is_taken(host, engine):
    server = host.good()["server"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for check_mode in (True, False):
            assert f"port {port} of 127.0.0.1 cannot be used" in host.refused(grpc_port=port, check_mode=check_mode)
    assert doubles(server) and host.roles() == {"serving": True}


def test_where_both_do_not_fit_the_old_one_comes_back(host):
    server = host.good(side_by_side=False)["server"]
    said = host.refused(side_by_side=False, model_base_path=host.publish("wrong", "other"))
    assert "agrees with the reference" in said and said.endswith("The server before it runs again.")
    assert doubles(server) and host.roles() == {"serving": True}
    said = host.refused(side_by_side=False, model_base_path=host.publish("renamed", "other"), reference=None)
    assert "serving_default.outputs.z: nothing became float32" in said and said.endswith("The server before it runs again.") and doubles(server)
    swapped = host.good(side_by_side=False, model_base_path=host.publish("again", "other"))
    assert doubles(swapped["server"]) and host.roles() == {"serving": True, "previous": False}


def test_a_killed_run_is_finished_or_undone_by_the_next(host):
    server = host.good()["server"]
    for number, reached in enumerate([{"candidate"}, {"proven"}, {"next"}, {"replaced"}, {"replaced", "serving"}]):
        options = {"flags": {"num_load_threads": number + 1}}
        process = host.start(**options)
        while not reached <= set(host.roles()) and process.poll() is None:
            time.sleep(0.002)
        killed = process.poll() is None
        process.kill()
        process.communicate()
        left = host.roles()
        # A run that cannot work comes first: it, too, begins with bringing back what served.
        if "replaced" in left:
            assert "enable_baching" in host.refused(flags={"enable_baching": True})
        planned = host.good(check_mode=True, **options)
        result = host.good(**options)
        print(f"killed={killed} at {sorted(reached)}: left {left}; then {result['actions']}")
        assert planned["actions"] == result["actions"] or "replaced" in left
        assert doubles(server) and host.roles() == {"serving": True, "previous": False}
        assert f"--num_load_threads={number + 1}" in host.container()["Config"]["Cmd"]
        assert not host.good(**options)["changed"]


def test_two_runs_at_once(host):
    runs = [host.start() for _run in range(2)]
    results = [json.loads(run.communicate(timeout=400)[0]) for run in runs]
    assert sorted(result["changed"] for result in results) == [False, True], results
    assert doubles(results[0]["server"]) and host.roles() == {"serving": True}


def test_tls(host):
    key, certificate = host.state / "key.pem", host.state / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    configuration = host.state / "tls.pbtxt"
    configuration.write_text("".join(f"{name}: {json.dumps(path.read_text())}\n" for name, path in (("server_key", key), ("server_cert", certificate))))
    configuration.chmod(0o600)
    result = host.good(ssl_config_file=str(configuration))
    assert key.read_text().splitlines()[5] not in json.dumps(result) + json.dumps(host.container())
    assert host.info()[1]["answers"], "asked with TLS"
    with pytest.raises(ServerFault, match="UNAVAILABLE"):
        answer(result["server"])


def test_two_versions_under_labels_and_a_second_server(host, published):
    host.publish("again", version="2")
    models = [{"name": "m", "base_path": str(host.state / "models"), "version_policy": {"specific": [1, 2]}, "labels": {"stable": 1, "canary": 2},
               "samples": str(published / "samples.npz"), "reference": str(published / "samples.npz")}]
    server = host.good(models=models, model_name=None, model_base_path=None, samples=None, reference=None, monitoring=True)["server"]
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        assert sorted((one["version"], one["state"]) for one in client.status("m")) == [(1, "AVAILABLE"), (2, "AVAILABLE")]
        assert client.predict("m", {"x": numpy.ones((1, 4), "float32")}, version=2)["y"].tolist() == [[2.0] * 4]
    _described, asked = host.info()
    assert asked["metrics"]["requests"]["m"]["OK"] >= 1 and asked["models"][0]["wanted"] == [1, 2]
    shutil.rmtree(host.state / "models" / "1")
    assert host.info()[1]["models"][0]["drift"], "a version that is wanted is not there any more"
    container = host.engine.containers.get(host.name)
    container.pause()
    described, asked = host.info()
    container.unpause()
    assert described["state"] == "started" and not asked["answers"] and "DEADLINE_EXCEEDED: no answer within 5 s" in asked["reason"]
    host.publish("right")
    other = Host(f"{host.name}-b", host.state, host.engine, host.engine.images.get(host.options["image"]), published)
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
            assert path.stat().st_uid == 65534 and path.stat().st_ctime_ns != before and [one.name for one in folder.iterdir()] == ["grpc.sock"]
            return path.stat().st_ctime_ns

        first = served_by(None)
        assert doubles(server)

        # A candidate has a socket of its own, so nothing changes before the swap; then the new server's is in its place.
        assert host.good(grpc_socket_directory=str(folder), flags={"num_load_threads": 2}, state="proven")["changed"]
        assert served_by(None) == first
        assert host.good(grpc_socket_directory=str(folder), flags={"num_load_threads": 2})["changed"]
        second = served_by(first)
        assert host.good(state="previous")["changed"]
        third = served_by(second)

        # A server that was killed leaves its socket behind, and the one that the engine starts again replaces it.
        pid = host.container()["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)
        while host.container()["State"]["Pid"] in (0, pid):
            time.sleep(0.1)
        assert not host.good(grpc_socket_directory=str(folder))["changed"]
        served_by(third)
    finally:
        shutil.rmtree(folder.parent)


def test_options_have_their_effect_on_the_server(host, engine):
    cpu, network = str(max(os.sched_getaffinity(0))), engine.networks.create(host.name)
    batching = host.state / "batching.pbtxt"
    batching.write_text("max_batch_size { value: 16 }")
    options = {"monitoring": True, "network": network.name, "cpu_set": cpu, "memory_mib": 3000, "environment": {"TF_CPP_MAX_VLOG_LEVEL": "0"},
               "restart_policy": "on-failure", "log_max_mib": 3, "log_files": 2, "user": "12345:23456", "capabilities": ["NET_BIND_SERVICE"],
               "read_only": False, "batching_parameters_file": str(batching), "flags": {"num_load_threads": 2}}
    try:
        server = host.good(**options)["server"]
        assert doubles(server)
        attributes = host.container()
        for pid in pids(attributes["State"]["Pid"]):
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
            assert status["Cpus_allowed_list"] == cpu and status["CapBnd"] == f"{1 << 10:016x}"
            assert status["Uid"].split() == ["12345"] * 4 and status["Gid"].split() == ["23456"] * 4
            assert b"TF_CPP_MAX_VLOG_LEVEL=0" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        said = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        assert {"--num_load_threads=2", "--enable_batching=true", "--monitoring_config_file=/etc/tfserving/monitoring.pbtxt"} <= set(said)
        assert memory_limit(pid) == 3000 * 2 ** 20
        assert list(attributes["NetworkSettings"]["Networks"]) == [network.name]
        assert attributes["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "3m", "max-file": "2"}}
        assert attributes["HostConfig"]["RestartPolicy"]["Name"] == "on-failure" and attributes["HostConfig"]["ReadonlyRootfs"] is False
        with urllib.request.urlopen(f"http://127.0.0.1:{server['rest_port']}/monitoring/prometheus/metrics", timeout=10) as metrics:
            assert b':tensorflow:serving:request_count{model_name="m",status="OK"}' in metrics.read()
        assert not host.good(**options)["changed"]

        # What this server has not built, or nobody could use, is refused with a remedy.
        session, tls = host.state / "session.pbtxt", host.state / "tls.pbtxt"
        session.write_text("intra_op_parallelism_threads: 1")
        tls.write_text('server_key: "/etc/key.pem" server_cert: "/etc/cert.pem"')
        for wrong, words in (({"session_config_file": str(session)}, ["is not built into the embedded server", "or use an image of TensorFlow Serving"]),
                             ({"ssl_config_file": str(tls)}, ["TLS configuration is refused", "PEM texts, not paths"]),
                             ({"network": "host"}, ["network: no port is published with host"]), ({"network": "of-nobody"}, ["of-nobody not found"]),
                             ({"cpu_set": "9999"}, ["cpu_set: CPU 9999 cannot be used here"]),
                             ({"rest_port": None}, ["monitoring: metrics come over REST"])):
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
