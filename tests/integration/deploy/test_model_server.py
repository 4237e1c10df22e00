# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""model_server on this host, with real servers: what is started is found again, what is killed comes back, what is wrong leaves no trace."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client, tensors
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient, RestClient
from ansible_collections.tfserving.fleet.tests.support import made, modules, ports

ROOT = Path(__file__).resolve().parents[3]
# What a server refuses at once, and nothing before it.
CONTRADICTION = {
    "tensorflow_session_parallelism": 1,
    "tensorflow_intra_op_parallelism": 1,
    "tensorflow_inter_op_parallelism": 1,
}


class Host:
    """Calls the module as Ansible does; a context that ends what is left."""

    def __init__(self, directory, base_path):
        self.directory, self.options = (
            directory,
            {
                "name": "m",
                "python": sys.executable,
                "model_name": "m",
                "model_base_path": str(base_path),
                "rest_port": 0,
                "state_directory": str(directory / "state"),
                "environment": {"CUDA_VISIBLE_DEVICES": "-1"},
                "ready_timeout_s": 240,
                "embedded_allow_root": True,
            },
        )

    def run(self, check=False, **options):
        return modules.call("model_server", check=check, **dict(self.options, **options))

    def killed(self, moment, **options):
        """Run the module, and kill it once moment(its process) is true; return what that was."""
        process = modules.start("model_server", **dict(self.options, **options))
        while not (reached := moment(process)):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.communicate()
        return reached

    def info(self):
        """What model_server_info tells; there is no engine to ask."""
        return modules.call(
            "model_server_info", ask=True, state_directory=self.options["state_directory"], engine_socket="/nonexistent"
        )

    def server(self, **options):
        result = self.run(**options)
        assert not result.get("failed"), result
        return result["changed"], result["server"]

    def absent(self):
        return self.run(state="absent")

    @property
    def pid_file(self):
        return self.directory / "state" / "servers" / "m" / "server.pid"

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self.pid_file.exists():
            self.absent()


@pytest.fixture(name="host")
def this_host(tmp_path, model_directory):
    with Host(tmp_path, model_directory / "half_plus_two") as host:
        yield host


def answers(server):
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        return client.predict("m", {"x": numpy.ones((1, 1), "float32")})["y"].tolist() == [[2.5]]


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    while lives(pid):
        time.sleep(0.01)


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_life_of_a_server(host):
    """Planned, started by a run that is killed, found again, killed, taken for no other process's, stopped."""
    planned = host.run(check=True)
    assert planned["changed"] and not (host.directory / "state").exists()
    assert planned["actions"] == ["start the server m"] and planned["diff"]["before"] == {}

    host.killed(lambda _process: host.pid_file.exists() and host.pid_file.read_text(encoding="utf-8"))
    pid = json.loads(host.pid_file.read_text(encoding="utf-8"))[0]
    assert lives(pid), "the server outlives its starter"
    changed, server = host.server()
    assert not changed and server["pid"] == pid and answers(server)
    with RestClient(server["address"], server["rest_port"]) as client:
        assert client.status("m")[0]["state"] == "AVAILABLE"
    assert host.server() == (False, server), "nothing is done again, the ports that were chosen are kept"
    assert not host.run(check=True)["changed"]
    as_it_is = {"enable_profiler": False, "max_num_load_retries": 0, "rest_api_timeout_in_ms": 30000}
    assert host.server(flags=as_it_is) == (False, server), "flags with the values that they have anyway"

    kill(pid)
    changed, again = host.server()
    assert changed and answers(again) and again["pid"] != pid
    assert (again["grpc_port"], again["rest_port"], again["specification_digest"]) == (
        server["grpc_port"],
        server["rest_port"],
        server["specification_digest"],
    )

    with subprocess.Popen(
        ["sleep", "600"]
    ) as other:  # A pid that has become another process's is not taken for the server, and not killed.
        host.pid_file.write_text(json.dumps([other.pid, "another boot 1"]), encoding="utf-8")
        kill(again["pid"])
        changed, last = host.server()
        assert changed and answers(last) and other.poll() is None
        other.kill()

    gone = host.absent()
    assert gone["changed"] and not lives(last["pid"]) and not (host.directory / "state" / "servers" / "m").exists()
    assert not host.absent()["changed"]


@pytest.mark.parametrize("options", [{"backend": "embedded"}, {"backend": "auto", "engine_socket": "/nonexistent"}])
def test_a_server_in_a_container_is_not_taken_for_an_embedded_one(host, options):
    """Its container, which may be stopped, reads these files when it starts again."""
    path = host.directory / "state" / "servers" / "m" / "config" / "0123456789abcdef" / "models.pbtxt"
    path.parent.mkdir(parents=True)
    path.touch()
    for state in ("absent", "stopped"):
        result = host.run(state=state, **options)
        assert result.get("failed") and path.exists(), result
        words = "in a container. Remove it first (backend: docker, state: absent)"
        assert words in result["msg"] or options["backend"] == "auto", result["msg"]


def test_an_embedded_server_does_not_start_over_one_in_a_container(host):
    (host.directory / "state" / "servers" / "m" / "config").mkdir(parents=True)
    for check in (True, False):
        result = host.run(check, batching={"max_batch_size": 4}, batching_parameters_file=str(host.directory / "b"))
        assert result.get("failed") and "in a container. Remove it first" in result["msg"], result
    assert not host.pid_file.exists() and not (host.directory / "b").exists()


def test_what_is_there_of_both_backends_is_removed_one_after_the_other(host):
    """An earlier version let an embedded server start over a container."""
    server = host.directory / "state" / "servers" / "m"
    (server / "config" / "a").mkdir(parents=True)
    (server / "server.json").write_text("{}", encoding="utf-8")
    result = host.run(state="absent", backend="embedded")
    assert not result.get("failed") and result["changed"], result
    assert sorted(os.listdir(server)) == ["config"]


def test_a_run_that_changes_nothing_waits_for_no_other(host):
    """Another run holds the server's lock: for the whole of a model's proof, for instance. ready_timeout_s is also how long a run waits for the lock."""
    _changed, server = host.server()
    with open(host.directory / "state" / "servers" / ".m.lock", "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert host.server() == (False, server)
        assert host.run(check=True)["changed"] is False
    assert host.server()[0] is False


def test_batching_parameters_are_written_with_the_server(host, tmp_path):
    path = tmp_path / "made" / "batching.pbtxt"
    options = {"batching": {"max_batch_size": "4", "num_batch_threads": 2}, "batching_parameters_file": str(path)}
    foreseen = host.run(check=True, **options)
    assert foreseen["changed"] and not path.parent.exists()
    assert foreseen["actions"] == [f"write {path}", "start the server m"]
    changed, server = host.server(**options)
    assert changed and answers(server)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines == ["max_batch_size { value: 4 }", "num_batch_threads { value: 2 }"]
    assert host.server(**options) == (False, server)

    options["batching"]["max_batch_size"] = 8
    before = path.read_bytes()
    foreseen = host.run(check=True, **options)
    assert foreseen["actions"][0] == f"write {path}" and "start the server m" in foreseen["actions"][1:], (
        "check mode knows what will stand in the file"
    )
    assert [diff.get("before_header") for diff in foreseen["diff"]] == [str(path), "server m"]
    assert path.read_bytes() == before
    path.unlink()
    options["batching"]["max_batch_size"] = 4
    again = host.run(**options)
    assert again["changed"] and again["actions"] == [f"write {path}"] and again["server"]["pid"] == server["pid"]

    for wrong, message in (
        ({"batching": {"max_batch_size": 0}}, "batching.max_batch_size: 0 "),
        ({"batching": {"max_bach_size": 4}}, "batching.parameter: "),
        ({"batching_parameters_file": None}, "batching_parameters_file: the batching parameters need a file"),
        ({"batching_parameters_file": "a/b"}, "batching_parameters_file: "),
    ):
        failed = host.run(**{**options, **wrong})
        assert failed["failed"] and failed["msg"].startswith(message), failed["msg"]
    assert lives(server["pid"])


def test_a_label_that_was_moved_while_the_server_ran_stays(host, model_directory, tmp_path):
    """model_version gives it; then flags change, the server is killed, the option takes the label away. The versions answer differently."""
    folder = tmp_path / "models"
    shutil.copytree(model_directory / "half_plus_two" / "1", folder / "1")
    model = {"name": "m", "base_path": str(folder), "version_policy": {"specific": [1]}, "labels": {"stable": 1}}
    described = {"models": [model], "model_name": None, "model_base_path": None}

    def label(name, server):
        one = tensors.Tensor("float32", (1, 1), struct.pack("<f", 1.0))
        client = stdlib_client.Server(server["address"], server["grpc_port"], 30, False)
        return client.predict("m", {"x": one}, label=name)["y"].values()

    _changed, server = host.server(**described)
    publish = {
        "path": str(folder),
        "source": str(model_directory / "half_plus_three" / "1"),
        "remote_src": True,
        "version": 2,
        "label": "canary",
        "config_file": server["model_config_file"],
        "server": {"port": server["grpc_port"], "model": "m"},
    }
    published = modules.call("model_version", **publish)
    assert not published.get("failed"), published
    stable, canary = [2.5], [3.5]
    assert (label("stable", server), label("canary", server)) == (stable, canary)
    ((running,), (asked,)) = (host.info()[key] for key in ("servers", "asked"))
    assert running["models"][0]["labels"] == {"stable": 1, "canary": 2} and asked["models"][0]["drift"] == []
    assert host.server(**described) == (False, server)

    described["flags"] = {"num_load_threads": 4}
    assert "keep the label canary of m on version 2" in host.run(check=True, **described)["actions"]
    changed, server = host.server(**described)
    assert changed and (label("stable", server), label("canary", server)) == (stable, canary)
    kill(server["pid"])
    changed, server = host.server(**described)
    assert changed and label("canary", server) == canary
    wrong = host.run(**{**described, "flags": CONTRADICTION, "side_by_side": False})
    assert wrong["msg"].endswith("The earlier server was started again.")
    assert label("canary", server) == canary

    model["labels"] = {"stable": 1, "canary": None}
    taken = host.run(**described)
    assert taken["changed"] and "remove the label canary of m" in taken["actions"]
    with pytest.raises(FleetError, match="Unrecognized servable version label"):
        label("canary", taken["server"])
    assert host.server(**described)[0] is False


def test_what_does_not_start_is_not_remembered_and_what_served_comes_back(host, tmp_path):
    """A load balancer gets the host back only where something serves."""
    port, remembered, python, batching = (
        ports.free(),
        host.pid_file.with_name("server.json"),
        tmp_path / "python",
        tmp_path / "batching.pbtxt",
    )
    assert host.run(grpc_port=port, flags=CONTRADICTION)["failed"] and not remembered.exists()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    batching.write_text("max_batch_size { value: 4 }\n", encoding="utf-8")
    options = {
        "python": str(python),
        "batching_parameters_file": str(batching),
        "cpu_set": str(min(os.sched_getaffinity(0))),
    }
    changed, server = host.server(**options)
    assert changed and answers(server) and server["grpc_port"] != port, (
        "a port that was chosen for what failed is nobody's"
    )
    assert os.sched_getaffinity(server["pid"]) == {min(os.sched_getaffinity(0))}

    batching.write_text("max_batch_size { value: 5 }\n", encoding="utf-8")
    assert host.run(check=True, **options)["actions"] == [
        "check a candidate alongside the server m",
        "stop the server m, whose configuration changed",
        "start the server m",
    ]
    batching.write_text("max_batch_size { value: 4 }\n", encoding="utf-8")
    assert not host.server(**options)[0]

    wrong = host.run(flags=CONTRADICTION)
    assert (
        wrong["failed"]
        and "You cannot configure all." in wrong["msg"]
        and wrong["msg"].endswith("The current server keeps serving.")
    )
    assert wrong["fault"]["serves"] and lives(server["pid"])
    wrong = host.run(flags=CONTRADICTION, side_by_side=False)
    assert (
        wrong["failed"]
        and "You cannot configure all." in wrong["msg"]
        and wrong["msg"].endswith("The earlier server was started again.")
    )
    assert wrong["fault"]["serves"] and not lives(server["pid"])

    batching.write_text("max_batch_size { value: 6 }\n", encoding="utf-8")
    assert host.run(flags=CONTRADICTION, side_by_side=False, **options)["fault"]["serves"]
    words = Path(f"/proc/{json.loads(host.pid_file.read_text(encoding='utf-8'))[0]}/cmdline").read_text().split("\0")
    (read,) = [word.partition("=")[2] for word in words if word.startswith("--batching_parameters_file=")]
    assert "value: 4" in Path(read).read_text(encoding="utf-8"), "the parameters of the server that came back"
    batching.write_text("max_batch_size { value: 4 }\n", encoding="utf-8")
    changed, restored = host.server(**options)
    assert not changed and answers(restored)
    kept = [path.name for path in host.pid_file.parent.iterdir() if path.name.startswith("batching")]
    assert kept == [Path(read).name]

    host.run(state="stopped", **options)
    assert not lives(restored["pid"]) and host.run(grpc_port=port, flags=CONTRADICTION)["failed"]
    changed, server = host.server(**options)
    assert changed and server["grpc_port"] == restored["grpc_port"], "what served before keeps its ports"

    python.unlink()
    wrong = host.run(flags=CONTRADICTION, side_by_side=False)
    assert (
        "The earlier server could not be started again either" in wrong["msg"]
        and "serves" not in wrong["fault"]
        and not lives(server["pid"])
    )


@pytest.fixture(scope="module")
def deployed():
    """A folder with the models of make_deployment_models.py: right and again are 2x, wrong is 3x, renamed has another output, fatal dies of no rows."""
    return made.by_program(ROOT / "tests" / "docker" / "make_deployment_models.py")


def doubles(server):
    with GrpcClient(server["address"], server["grpc_port"]) as client:
        return client.predict("m", {"x": numpy.ones((1, 4), "float32")})["y"].tolist() == [[2.0] * 4]


def children(pid):
    return {
        int(one)
        for one in subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
    }


@pytest.fixture(scope="module", name="judged")
def judged_host(tmp_path_factory, deployed):
    """A host whose server is asked for samples, and has to answer 2x. It serves `right`, and tests leave that as it is."""
    host = Host(tmp_path_factory.mktemp("judged"), deployed / "right")
    host.options.update(samples=str(deployed / "samples.npz"), reference=str(deployed / "samples.npz"))
    with host:
        yield host


@pytest.fixture(scope="module", name="doubling")
def doubling_server(judged, deployed):
    """The server of that host. What failed before it came is not left running."""
    first = judged.run(model_base_path=str(deployed / "wrong"))
    assert first["failed"] and 'check "agrees with the reference" failed: y: differs by up to 0.5' in first["msg"], (
        "3x is half of 2x more"
    )
    assert judged.info()["servers"][0]["state"] == "stopped", "what never served is not left running"
    _changed, server = judged.server()
    assert doubles(server) and server["gap_s"] is None
    return server


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        ("wrong", "started", "agrees with the reference"),
        ("renamed", "proven", "serving_default.outputs.z: nothing became float32"),
        ("broken", "started", "Can't parse"),
        ("fatal", "proven", "one request with no rows ends the server (by SIGABRT: a check inside the server failed)"),
        ("absent", "proven", "No such file or directory; the server would wait forever"),
        ("absent", "started", "No such file or directory; the server would wait forever"),
    ],
)
def test_what_serves_is_not_replaced_by_what_fails_a_check(judged, doubling, deployed, model, state, words):
    told = judged.run(model_base_path=str(deployed / model), state=state, flags={"max_num_load_retries": 0})
    assert told["failed"] and words in told["msg"] and "\n" not in told["msg"], told["msg"]
    assert model == "absent" or told["msg"].endswith("The current server keeps serving.") and told["fault"]["serves"]
    assert lives(doubling["pid"]) and doubles(doubling)


def test_a_run_that_is_killed_with_its_candidate_up_leaves_what_serves(judged, doubling, deployed):
    candidates = judged.killed(lambda process: children(process.pid), model_base_path=str(deployed / "again"))
    end = time.monotonic() + 60
    while any(map(lives, candidates)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(lives, candidates)) and lives(doubling["pid"]) and doubles(doubling)


def test_a_server_whose_checks_did_not_end_is_not_taken_for_a_verified_one(tmp_path, deployed):
    """Runs are killed while the server starts in its final place; then once with an earlier server and once without."""
    samples = {"samples": str(deployed / "samples.npz"), "reference": str(deployed / "samples.npz")}
    wrong = {"model_base_path": str(deployed / "wrong"), "side_by_side": False}
    with Host(tmp_path, deployed / "right") as host:
        host.options.update(samples)

        def pid(other_than=None):
            """Return the process that the server's file names, or None."""
            try:
                found = json.loads(host.pid_file.read_text(encoding="utf-8"))[0]
            except (OSError, ValueError):
                return None
            return found if found != other_than else None

        first = host.killed(lambda _process: pid(), **wrong)
        refused = host.run(**wrong)
        assert refused.get("failed") and "agrees with the reference" in refused["msg"] and not lives(first)

        _changed, server = host.server()
        second = host.killed(lambda _process: pid(server["pid"]), **wrong)
        assert lives(second) and host.run(check=True, **wrong)["changed"]
        refused = host.run(**wrong)
        assert refused.get("failed") and "agrees with the reference" in refused["msg"] and not lives(second)
        assert refused["msg"].endswith("The earlier server was started again."), refused["msg"]
        changed, again = host.server()
        assert not changed and again["grpc_port"] == server["grpc_port"] and doubles(again)


@pytest.fixture(scope="module")
def converted(deployed, tmp_path_factory):
    """convert(model, form's folder, **options) publishes a TensorFlow Lite form of a model of the deployed ones; returns the version's path."""
    directory = tmp_path_factory.mktemp("converted")
    x = numpy.arange(80, dtype="float32").reshape(20, 4) / 80
    numpy.savez(directory / "labelled.npz", **{"inputs.x": x, "labels": 2 * x})
    numpy.savez(directory / "plain.npz", **{"inputs.x": x})
    # One without labels: the share of answers above 2, of which the source gives none.
    (directory / "far.py").write_text(
        "def metric(outputs, labels):\n    assert labels is None\n    return float((outputs['y'] > 2).mean())\n",
        encoding="utf-8",
    )
    function = {
        "samples": directory / "plain.npz",
        "metric": "function",
        "metric_function": directory / "far.py",
        "metric_goal": "lower",
    }
    for name, model, judged_by in (
        ("wrong", "wrong", function),
        ("function", "right", function),
        ("rmse", "right", {"samples": directory / "labelled.npz", "metric": "rmse"}),
    ):
        made = modules.call(
            "model_conversion",
            source=deployed / model / "1",
            destination=directory / name,
            form="tflite_dynamic_range",
            allowed_loss=0.1,
            **judged_by,
        )
        assert made["accepted"], made
    for name in ("function", "rmse"):  # The file of another model beside the manifest of the one that was judged.
        shutil.copytree(directory / name, directory / f"exchanged-{name}")
        shutil.copyfile(
            directory / "wrong" / "1" / "model.tflite", directory / f"exchanged-{name}" / "1" / "model.tflite"
        )
    return directory


LITE = {"samples": None, "reference": None, "flags": {"prefer_tflite_model": True}, "tolerance": 3, "state": "proven"}


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("rmse", "over 20 examples, 0 of the source: a loss of 0.57"),
        ("function", "function 0.325 over 20 examples, 0 of the source: a loss of 0.325 is above the allowed 0.1"),
    ],
)
def test_a_converted_form_that_is_worse_here_takes_no_traffic(judged, doubling, converted, metric, words):
    """The metric that decided about it is measured again, of a candidate beside the SavedModel that serves."""
    function = converted / "far.py" if metric == "function" else None
    refused = judged.run(model_base_path=str(converted / f"exchanged-{metric}"), metric_function=function, **LITE)
    assert refused["failed"] and "agrees with the reference" in refused["msg"] and words in refused["msg"], refused[
        "msg"
    ]
    proven = judged.run(model_base_path=str(converted / metric), metric_function=function, **LITE)
    assert not proven["changed"] and proven["pending"], proven
    taken = proven["server"]["judged"]["m"]
    assert (
        (taken["metric"], taken["examples"], taken["source"]) == (metric, 20, 0)
        and 0 <= taken["served"] < 0.01
        and 0 <= taken["converted"] < 0.01
    )
    assert judged.server() == (False, dict(doubling, gap_s=None, judged={})) and doubles(doubling)


def test_a_function_that_did_not_judge_the_version_judges_nothing(judged, doubling, converted, tmp_path):
    other = tmp_path / "other.py"
    other.write_text((converted / "far.py").read_text(encoding="utf-8").replace("2", "3"), encoding="utf-8")
    for file, words in (
        (other, "it is not the metric function that this version was converted with"),
        (tmp_path / "none.py", "none.py: cannot be read: No such file or directory"),
    ):
        told = judged.run(model_base_path=str(converted / "function"), metric_function=file, **LITE)
        assert told["failed"] and words in told["msg"] and "\n" not in told["msg"] and lives(doubling["pid"]), told[
            "msg"
        ]


def test_a_server_is_swapped_and_keeps_its_ports(judged, deployed, converted, tmp_path):
    """Where there is no room for two, what served comes back when its successor fails; where there is, a converted form takes its place."""
    with Host(tmp_path, deployed / "right") as host:
        _changed, server = host.server()
        told = host.run(
            model_base_path=str(deployed / "renamed"), samples=judged.options["samples"], side_by_side=False
        )
        assert "serving_default.outputs.z: nothing became float32" in told["msg"] and told["msg"].endswith(
            "The earlier server was started again."
        )
        changed, swapped = host.server(
            model_base_path=str(converted / "rmse"), flags={"prefer_tflite_model": True}, tolerance=3
        )
        assert changed and doubles(swapped) and swapped["grpc_port"] == server["grpc_port"] and swapped["gap_s"] > 0
        assert swapped["judged"]["m"]["metric"] == "rmse"


def test_what_is_served_beside_what_is_wanted(tmp_path, model_directory):
    """Folders that no server takes for a version, one that does not load, then a server that is silent, and one that died."""
    folder = tmp_path / "models"
    shutil.copytree(model_directory / "half_plus_two", folder)
    for name in ("x", "99999999999999999999999"):
        (folder / name).mkdir()
    with Host(tmp_path, folder) as host:
        _changed, server = host.server(flags={"max_num_load_retries": 0, "file_system_poll_wait_seconds": 1})
        told = host.info()
        (described,), (asked,) = told["servers"], told["asked"]
        assert (described["state"], asked["answers"], asked["reason"], asked["metrics"]) == (
            "started",
            True,
            None,
            None,
        )
        model = asked["models"][0]
        assert (
            model["wanted"] == [1]
            and model["drift"] == []
            and model["served"] == [{"version": 1, "state": "AVAILABLE", "error": None}]
        )
        assert model["signatures"]["serving_default"]["inputs"]["x"]["dtype"] == "float32"
        (folder / "2").mkdir()
        (folder / "2" / "saved_model.pb").write_bytes(b"\x0a\xffno model")
        end = time.monotonic() + 60
        while (model := host.info()["asked"][0]["models"][0])["served"][0]["state"] != "END" and time.monotonic() < end:
            time.sleep(0.2)
        assert model["served"][0] == {
            "version": 2,
            "state": "END",
            "error": f"Can't parse {folder}/2/saved_model.pb as binary proto",
        }
        assert model["drift"] == ["version 2 is configured but not AVAILABLE", "version 1 is served but not configured"]

        os.kill(server["pid"], signal.SIGSTOP)
        silent = host.info()
        os.kill(server["pid"], signal.SIGCONT)
        assert silent["servers"] == told["servers"], "what does not move is the same"
        assert (
            silent["asked"][0]["reason"]
            == f"grpc://127.0.0.1:{server['grpc_port']}: DEADLINE_EXCEEDED: no answer within 5 s."
        )

        kill(server["pid"])
        dead = host.info()
        assert (dead["servers"][0]["state"], dead["asked"]) == ("stopped", [])
        host.pid_file.with_name("server.json").write_text('{"half": ', encoding="utf-8")
        broken = host.info()
        assert (
            broken["failed"]
            and "server.json: cannot read the state of a server" in broken["msg"]
            and "\n" not in broken["msg"]
        )


def test_a_state_file_that_cannot_be_read_counts_as_none(host):
    directory = host.directory / "state" / "servers" / "m"
    directory.mkdir(parents=True)
    for name in ("server.json", "server.pid"):
        (directory / name).write_text('{"half": ', encoding="utf-8")
    assert host.run(check=True)["actions"] == ["start the server m"]


UNSTARTABLE = [
    ({"python": "/no/such/python"}, "python: cannot run '/no/such/python': No such file or directory."),
    ({"python": "/usr/bin/false"}, "the server ended before it was ready (exit status 1); its log says: nothing"),
    ({"cpu_set": "8191"}, "cpu_set: CPU 8191 cannot be used here; usable: "),
    (
        {"batching_parameters_file": "/no/such/file"},
        "batching_parameters_file: cannot read /no/such/file: No such file or directory.",
    ),
    ({"ready_timeout_s": 1}, "the server was not ready after 1 s; its log says: "),
    (
        {"flags": CONTRADICTION},
        "the server ended before it was ready (exit status 255); its log says: Failed to start server. Error: INVALID_ARGUMENT: Either configure",
    ),
    (
        {"flags": {"prefer_tflite": True}},
        "flags.prefer_tflite: there is no such flag, and the server would silently ignore it; did you mean prefer_tflite_model?",
    ),
    ({"ready_timeout_s": 0}, "ready_timeout_s: 0.0 is out of range; allowed: 1 to 604800 s."),
    ({"rest_port": True}, "rest_port: True is not a whole number"),
    ({"grpc_port": 65536}, "grpc_port: 65536 is out of range; allowed: 0 to 65535"),
    ({"release": "banana"}, "release: 'banana' is not a release of TensorFlow Serving"),
    (
        {"environment": {"A": [1]}},
        "environment.A: [1] is not a valid value for an environment variable; allowed: a text, a number, true or false.",
    ),
    ({"model_name": ".."}, "model_name: '..' is not a valid name for a model"),
    ({"tolerance": -1}, "tolerance: -1.0 is out of range; allowed: 0 or more."),
    ({"state_directory": "relative/state"}, "state_directory: 'relative/state' is not an absolute path"),
    ({"drain_s": -1}, "drain_s: -1.0 is out of range; allowed: 0 to 3600 s."),
    ({"model_base_path": None}, "parameters are required together: model_name, model_base_path"),
]


def test_what_cannot_be_started(host):
    results = modules.call_each("model_server", [dict(host.options, **options) for options, _words in UNSTARTABLE])
    assert len(results) == len(UNSTARTABLE)
    for (options, words), result in zip(UNSTARTABLE, results):
        assert result["failed"] and words in result["msg"] and "\n" not in result["msg"], (options, result)
    assert not host.pid_file.exists() or not lives(json.loads(host.pid_file.read_text(encoding="utf-8"))[0]), (
        "nothing is left running"
    )


def test_a_signal_is_named(host, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -ILL $$\n", encoding="utf-8")
    program.chmod(0o755)
    assert (
        "by SIGILL: this CPU lacks an instruction that the server was built with"
        in host.run(python=str(program))["msg"]
    )


def test_a_port_in_use(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = host.run(grpc_port=port)
    assert (
        result["failed"]
        and f"grpc_port: port {port} of 127.0.0.1 cannot be used: Address already in use" in result["msg"]
    )
    assert not (host.directory / "state" / "servers" / "m" / "server.json").exists()


def test_the_only_server_of_a_host_need_not_be_named(tmp_path):
    def absent():
        return modules.call(
            "model_server", state="absent", state_directory=tmp_path, engine_socket="/nonexistent.sock", check=True
        )

    assert "the name of the server is missing; servers on this host: none" in absent()["msg"]
    for name in ("digits", "shop"):
        (tmp_path / "servers" / name).mkdir(parents=True)
        (tmp_path / "servers" / name / "server.json").write_text("{}", encoding="utf-8")
        found = absent()
        if name == "digits":
            assert found["server"]["name"] == "digits"
    assert "servers on this host: digits, shop. Set name (tfs_server_name" in found["msg"]
