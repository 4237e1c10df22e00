# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_server on this host, with real servers: what is started is found again, what is killed comes back, what is wrong leaves no trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.module_utils.server.client import GrpcClient, RestClient
from ansible_collections.tfserving.fleet.tests.support import made, ports

ROOT = Path(__file__).resolve().parents[3]
# What a server refuses at once, and nothing before it.
CONTRADICTION = {"tensorflow_session_parallelism": 1, "tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": 1}


class Host:
    """Calls the module as Ansible does, by its own executable; and ends what is left."""

    def __init__(self, directory, base_path):
        self.directory, self.options = directory, {
            "name": "m", "python": sys.executable, "model_name": "m", "model_base_path": str(base_path), "rest_port": 0,
            "state_directory": str(directory / "state"),
            "environment": {"CUDA_VISIBLE_DEVICES": "-1"}, "ready_timeout_s": 240}

    def command(self, check_mode=False, module="model_server", **options):
        arguments = json.dumps(dict({key: value for key, value in options.items() if value is not None}, _ansible_check_mode=check_mode))
        program = ("import runpy, sys; runpy.run_path(sys.argv[1]); import ansible.module_utils.testing as t, ansible.module_utils.basic as b\n"
                   f"from ansible_collections.tfserving.fleet.plugins.modules import {module}\n"
                   f"with t.patch_module_args(__import__('json').loads(sys.argv[2])): {module}.main()\n")
        return [sys.executable, "-c", program, str(ROOT / "tests" / "conftest.py"), arguments]

    def run(self, **options):
        return self.result(self.command(**dict(self.options, **options)))

    def info(self):
        """What model_server_info tells; there is no engine to ask."""
        return self.result(self.command(module="model_server_info", ask=True, state_directory=self.options["state_directory"], engine_socket="/nonexistent"))

    @staticmethod
    def result(command):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def server(self, **options):
        result = self.run(**options)
        assert not result.get("failed"), result
        return result["changed"], result["server"]

    def absent(self):
        return self.run(state="absent")


@pytest.fixture(name="host")
def this_host(tmp_path, model_directory):
    host = Host(tmp_path, model_directory / "half_plus_two")
    yield host
    host.absent()


def answers(server):
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        return client.predict("m", {"x": numpy.ones((1, 1), "float32")})["y"].tolist() == [[2.5]]


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_life_of_a_server(host):
    planned = host.run(check_mode=True)
    assert planned["changed"] and not (host.directory / "state").exists()
    assert planned["actions"] == ["start the server m"] and planned["diff"]["before"] == {}

    changed, server = host.server()
    assert changed and answers(server) and lives(server["pid"])
    with RestClient(server["address"], server["rest_port"]) as client:
        assert client.status("m")[0]["state"] == "AVAILABLE"
    assert host.server() == (False, server), "nothing is done again, the ports that were chosen are kept"
    assert not host.run(check_mode=True)["changed"]

    os.kill(server["pid"], signal.SIGKILL)
    while lives(server["pid"]):
        time.sleep(0.01)
    changed, again = host.server()
    assert changed and answers(again) and again["pid"] != server["pid"]
    assert (again["grpc_port"], again["rest_port"], again["specification_digest"]) == (server["grpc_port"], server["rest_port"], server["specification_digest"])

    wrong = host.run(flags=CONTRADICTION)
    assert wrong["failed"] and "You cannot configure all." in wrong["msg"] and wrong["msg"].endswith("The server before it goes on serving.")
    assert wrong["fault"]["serves"] and lives(again["pid"])
    wrong = host.run(flags=CONTRADICTION, side_by_side=False)
    assert wrong["failed"] and "You cannot configure all." in wrong["msg"] and wrong["msg"].endswith("The server before it runs again.")
    assert wrong["fault"]["serves"] and not lives(again["pid"])
    changed, restored = host.server()
    assert not changed and answers(restored)

    gone = host.absent()
    assert gone["changed"] and not lives(restored["pid"]) and not (host.directory / "state" / "servers" / "m").exists()
    assert not host.absent()["changed"]


def test_a_server_that_cannot_come_back_is_not_said_to_serve(host, tmp_path):
    """A load balancer gets the host back only where something serves."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    _changed, server = host.server(python=str(python))
    python.unlink()
    wrong = host.run(flags=CONTRADICTION, side_by_side=False)
    assert "The server before it could not be started again either" in wrong["msg"] and "serves" not in wrong["fault"] and not lives(server["pid"])


def test_a_starter_that_is_killed_leaves_nothing_that_the_next_run_does_not_mend(host):
    starter = subprocess.Popen(host.command(**host.options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid_file = host.directory / "state" / "servers" / "m" / "server.pid"
    while not pid_file.exists() or not pid_file.read_text(encoding="utf-8"):
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    pid = json.loads(pid_file.read_text(encoding="utf-8"))[0]
    assert lives(pid), "the server outlives its starter"
    changed, server = host.server()
    assert not changed and server["pid"] == pid and answers(server)

    # A pid that has become another process's is not taken for the server, and not killed.
    other = subprocess.Popen(["sleep", "60"])
    pid_file.write_text(json.dumps([other.pid, "another boot 1"]), encoding="utf-8")
    os.kill(pid, signal.SIGKILL)
    while lives(pid):
        time.sleep(0.01)
    changed, server = host.server()
    assert changed and answers(server) and other.poll() is None
    other.kill()
    other.wait()


@pytest.fixture(scope="module")
def deployed():
    """A folder with the models of make_deployment_models.py: right and again are 2x, wrong is 3x, renamed has another output, fatal dies of no rows."""
    return made.by_program(ROOT / "tests" / "docker" / "make_deployment_models.py")


@pytest.fixture(name="judged")
def judged_host(tmp_path, deployed):
    """A host whose server is asked for samples, and has to answer 2x."""
    host = Host(tmp_path, deployed / "right")
    host.options.update(samples=str(deployed / "samples.npz"), reference=str(deployed / "samples.npz"))
    yield host
    host.absent()


def doubles(server):
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        return client.predict("m", {"x": numpy.ones((1, 4), "float32")})["y"].tolist() == [[2.0] * 4]


def children(pid):
    return {int(one) for one in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout.split()}


def test_what_serves_is_replaced_only_by_what_is_proven(judged, deployed):
    first = judged.run(model_base_path=str(deployed / "wrong"))
    assert first["failed"] and 'the gate "agrees with the reference" is closed: y: differs by up to 0.5' in first["msg"], "3x is half of 2x more"
    assert judged.info()["servers"][0]["state"] == "stopped", "what never served is not left running"
    _changed, server = judged.server()
    assert doubles(server) and server["gap_s"] is None
    for model, words in (("wrong", "agrees with the reference"), ("renamed", "serving_default.outputs.z: nothing became float32"),
                         ("broken", "Can't parse"), ("fatal", "one request with no rows ends the server (by SIGABRT)"),
                         ("absent", "No such file or directory; the server would wait for ever")):
        for state in ("proven", "started"):
            told = judged.run(model_base_path=str(deployed / model), state=state, flags={"max_num_load_retries": 0})
            assert told["failed"] and words in told["msg"] and "\n" not in told["msg"], told["msg"]
            assert model == "absent" or told["msg"].endswith("The server before it goes on serving.") and told["fault"]["serves"]
            assert lives(server["pid"]) and doubles(server)
    told = judged.run(model_base_path=str(deployed / "renamed"), side_by_side=False, reference=None)
    assert "serving_default.outputs.z: nothing became float32" in told["msg"] and told["msg"].endswith("The server before it runs again.")
    proven = judged.run(model_base_path=str(deployed / "again"), state="proven")
    assert not proven["changed"] and proven["pending"] and judged.server()[0] is False
    changed, swapped = judged.server(model_base_path=str(deployed / "again"))
    assert changed and doubles(swapped) and swapped["grpc_port"] == server["grpc_port"] and 0 < swapped["gap_s"] < 120


def test_a_converted_form_that_is_worse_here_takes_no_traffic(judged, deployed, tmp_path):
    """The metric that decided about it is measured again, of a candidate beside the SavedModel that serves."""
    x = numpy.arange(80, dtype="float32").reshape(20, 4) / 80
    numpy.savez(tmp_path / "labelled.npz", **{"inputs.x": x, "labels": 2 * x})
    made = {}
    for name in ("right", "wrong"):
        result = judged.result(judged.command(
            module="model_conversion", source=str(deployed / name / "1"), destination=str(tmp_path / name), form="tflite_dynamic_range",
            samples=str(tmp_path / "labelled.npz"), metric="rmse", allowed_loss=0.1))
        made[name] = Path(result["path"])
    _changed, server = judged.server()
    form = {"samples": None, "reference": None, "flags": {"prefer_tflite_model": True}, "tolerance": 3}
    exchanged = shutil.copytree(made["right"].parent, tmp_path / "exchanged")
    shutil.copyfile(made["wrong"] / "model.tflite", exchanged / "1" / "model.tflite")
    said = judged.run(model_base_path=str(exchanged), **form)
    assert said["failed"] and "agrees with the reference" in said["msg"] and "over 20 examples, 0 of the source: a loss of 0.57" in said["msg"], said["msg"]
    assert lives(server["pid"]) and doubles(server)
    _changed, taken = judged.server(model_base_path=str(made["right"].parent), **form)
    judged_by = taken["judged"]["m"]
    assert doubles(taken) and (judged_by["metric"], judged_by["examples"], judged_by["source"]) == ("rmse", 20, 0) and 0 <= judged_by["served"] < 0.01


def test_a_function_of_the_users_own_judges_here_too(judged, deployed, tmp_path):
    """One without labels: the share of answers above 2, of which the source gives none."""
    x = numpy.arange(80, dtype="float32").reshape(20, 4) / 80
    numpy.savez(tmp_path / "samples.npz", **{"inputs.x": x})
    function = tmp_path / "far.py"
    function.write_text("def metric(outputs, labels):\n    assert labels is None\n    return float((outputs['y'] > 2).mean())\n", encoding="utf-8")
    made = {}
    for name in ("right", "wrong"):
        result = judged.result(judged.command(
            module="model_conversion", source=str(deployed / name / "1"), destination=str(tmp_path / name), form="tflite_dynamic_range",
            samples=str(tmp_path / "samples.npz"), metric="function", metric_function=str(function), metric_goal="lower", allowed_loss=0.1))
        made[name] = Path(result["path"])
    _changed, server = judged.server()
    form = {"samples": None, "reference": None, "flags": {"prefer_tflite_model": True}, "tolerance": 3, "metric_function": str(function)}
    exchanged = shutil.copytree(made["right"].parent, tmp_path / "exchanged")
    shutil.copyfile(made["wrong"] / "model.tflite", exchanged / "1" / "model.tflite")
    said = judged.run(model_base_path=str(exchanged), **form)["msg"]
    assert "function 0.325 over 20 examples, 0 of the source: a loss of 0.325 is above the allowed 0.1" in said, said
    other = tmp_path / "other.py"
    other.write_text(function.read_text(encoding="utf-8").replace("2", "3"), encoding="utf-8")
    for file, words in ((other, "it is not the function that judged the version"), (tmp_path / "none.py", "cannot be read: No such file or directory")):
        told = judged.run(model_base_path=str(made["right"].parent), **dict(form, metric_function=str(file)))
        assert told["failed"] and words in told["msg"] and "\n" not in told["msg"] and lives(server["pid"]), told["msg"]
    _changed, taken = judged.server(model_base_path=str(made["right"].parent), **form)
    assert taken["judged"]["m"] == {"metric": "function", "examples": 20, "source": 0, "converted": 0, "served": 0} and doubles(taken)


def test_a_run_that_is_killed_with_its_candidate_up_leaves_what_serves(judged, deployed):
    _changed, server = judged.server()
    wanted = dict(judged.options, model_base_path=str(deployed / "again"))
    starter = subprocess.Popen(judged.command(**wanted), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (candidates := children(starter.pid)):
        assert starter.poll() is None
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    end = time.monotonic() + 10
    while any(map(lives, candidates)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(lives, candidates)) and lives(server["pid"]) and doubles(server)
    changed, swapped = judged.server(model_base_path=wanted["model_base_path"])
    assert changed and doubles(swapped)


def test_what_is_served_beside_what_is_wanted(tmp_path, model_directory):
    """Folders that no server takes for a version, one that does not load, then a server that is silent, and one that died."""
    folder = tmp_path / "models"
    shutil.copytree(model_directory / "half_plus_two", folder)
    for name in ("x", "99999999999999999999999"):
        (folder / name).mkdir()
    host = Host(tmp_path, folder)
    try:
        _changed, server = host.server(flags={"max_num_load_retries": 0, "file_system_poll_wait_seconds": 1})
        told = host.info()
        (described,), (asked,) = told["servers"], told["asked"]
        assert (described["state"], asked["answers"], asked["reason"], asked["metrics"]) == ("started", True, None, None)
        model = asked["models"][0]
        assert model["wanted"] == [1] and model["drift"] == [] and model["served"] == [{"version": 1, "state": "AVAILABLE", "error": None}]
        assert model["signatures"]["serving_default"]["inputs"]["x"]["dtype"] == "float32"
        (folder / "2").mkdir()
        (folder / "2" / "saved_model.pb").write_bytes(b"\x0a\xffno model")
        end = time.monotonic() + 60
        while (model := host.info()["asked"][0]["models"][0])["served"][0]["state"] != "END" and time.monotonic() < end:
            time.sleep(0.2)
        assert model["served"][0] == {"version": 2, "state": "END", "error": f"Can't parse {folder}/2/saved_model.pb as binary proto"}
        assert model["drift"] == ["version 2 is wanted and not AVAILABLE", "version 1 is served and not wanted"]

        os.kill(server["pid"], signal.SIGSTOP)
        silent = host.info()
        os.kill(server["pid"], signal.SIGCONT)
        assert silent["servers"] == told["servers"], "what does not move is the same"
        assert silent["asked"][0]["reason"] == f"grpc://127.0.0.1:{server['grpc_port']}: DEADLINE_EXCEEDED: no answer within 5 s."

        os.kill(server["pid"], signal.SIGKILL)
        while lives(server["pid"]):
            time.sleep(0.01)
        dead = host.info()
        assert (dead["servers"][0]["state"], dead["asked"]) == ("stopped", [])
        (tmp_path / "state" / "servers" / "m" / "server.json").write_text('{"half": ', encoding="utf-8")
        broken = host.info()
        assert broken["failed"] and "server.json: cannot be read as the state of a server" in broken["msg"] and "\n" not in broken["msg"]
    finally:
        host.absent()


def test_a_state_file_that_cannot_be_read_counts_as_none(host):
    directory = host.directory / "state" / "servers" / "m"
    directory.mkdir(parents=True)
    for name in ("server.json", "server.pid"):
        (directory / name).write_text('{"half": ', encoding="utf-8")
    assert host.run(check_mode=True)["actions"] == ["start the server m"]


@pytest.mark.parametrize(("options", "words"), [
    ({"python": "/no/such/python"}, "python: cannot run '/no/such/python': No such file or directory."),
    ({"python": "/usr/bin/false"}, "the server ended before it was ready (exit status 1); its log says: nothing"),
    ({"cpu_set": "8191"}, "cpu_set: CPU 8191 cannot be used here; usable: "),
    ({"batching_parameters_file": "/no/such/file"}, "batching_parameters_file: cannot read /no/such/file: No such file or directory."),
    ({"ready_timeout_s": 1}, "the server was not ready after 1 s; its log says: "),
    ({"flags": CONTRADICTION},
     "the server ended before it was ready (exit status 255); its log says: Failed to start server. Error: INVALID_ARGUMENT: Either configure"),
    ({"flags": {"prefer_tflite": True}},
     "flags.prefer_tflite: no such flag, and the server would ignore it without an error; did you mean prefer_tflite_model?"),
    ({"ready_timeout_s": 0}, "ready_timeout_s: 0.0 is out of range; allowed: 1 to 604800 s."),
    ({"rest_port": True}, "rest_port: True is not a whole number"),
    ({"release": "banana"}, "release: 'banana' is not a release of TensorFlow Serving"),
    ({"environment": {"A": [1]}}, "environment.A: [1] is no value for an environment variable; allowed: a text, a number, true or false."),
    ({"model_name": ".."}, "model_name: '..' is no name for a model"),
    ({"tolerance": -1}, "tolerance: -1.0 is out of range; allowed: 0 or more."),
    ({"drain_s": -1}, "drain_s: -1.0 is out of range; allowed: 0 to 3600 s."),
    ({"model_base_path": None}, "parameters are required together: model_name, model_base_path"),
])
def test_what_cannot_be_started(host, options, words):
    result = host.run(**options)
    assert result["failed"] and words in result["msg"] and "\n" not in result["msg"]
    pid_file = host.directory / "state" / "servers" / "m" / "server.pid"
    assert not pid_file.exists() or not lives(json.loads(pid_file.read_text(encoding="utf-8"))[0]), "nothing is left running"


def test_a_signal_is_named(host, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -ILL $$\n", encoding="utf-8")
    program.chmod(0o755)
    assert "by SIGILL: this CPU lacks an instruction that it was built with" in host.run(python=str(program))["msg"]


def test_a_port_in_use(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = host.run(grpc_port=port)
    assert result["failed"] and f"grpc_port: port {port} of 127.0.0.1 cannot be used: Address already in use" in result["msg"]
    assert not (host.directory / "state" / "servers" / "m" / "server.json").exists()


def test_what_never_served_is_not_remembered(host):
    port = ports.free()
    assert host.run(grpc_port=port, flags=CONTRADICTION)["failed"]
    assert not (host.directory / "state" / "servers" / "m" / "server.json").exists()
    _changed, server = host.server()
    assert server["grpc_port"] != port, "a port that was chosen for what failed is nobody's"
    host.run(state="stopped")
    assert host.run(grpc_port=port, flags=CONTRADICTION)["failed"]
    assert host.server()[1]["grpc_port"] == server["grpc_port"], "what served before keeps its ports"


def test_a_changed_batching_file_is_another_server(host, model_directory):
    path = host.directory / "batching.pbtxt"
    path.write_text("max_batch_size { value: 4 }\n", encoding="utf-8")
    options = {"batching_parameters_file": str(path), "cpu_set": str(min(os.sched_getaffinity(0)))}
    _changed, server = host.server(**options)
    assert os.sched_getaffinity(server["pid"]) == {min(os.sched_getaffinity(0))}
    assert not host.server(**options)[0]
    path.write_text("max_batch_size { value: 5 }\n", encoding="utf-8")
    assert host.run(check_mode=True, **options)["actions"] == [
        "prove a candidate beside the server m", "stop the server m, whose specification changed", "start the server m"]
