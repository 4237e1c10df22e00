# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook tfserving.fleet.deploy and with it the role tfs_server, as users run them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("ansible")

ROOT = Path(__file__).resolve().parents[3]


class Deployment:
    """Runs of the playbook against this machine, for one model."""

    def __init__(self, directory, base_path):
        self.state = directory / "state"
        self.playbooks = [ROOT / "playbooks" / "deploy.yml"]
        self.variables = {
            "ansible_python_interpreter": sys.executable,
            "tfserving_python": sys.executable,
            "tfserving_embedded_allow_root": True,
            "tfserving_state_directory": str(self.state),
            "tfs_server_model_name": "m",
            "tfs_server_model_base_path": str(base_path),
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": 0,
            "tfs_server_environment": {"CUDA_VISIBLE_DEVICES": "-1"},
            "tfs_server_ready_timeout_s": 240,
        }

    def run(self, *options, **variables):
        """(exit status, number of changed tasks, output) of a run."""
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                "-i",
                "localhost,",
                "-c",
                "local",
                *map(str, self.playbooks),
                *options,
                "-e",
                json.dumps(dict(self.variables, **variables)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="False"),
        )
        changed = re.search(r"changed=(\d+)", done.stdout)
        return done.returncode, int(changed[1]) if changed else None, done.stdout + done.stderr


@pytest.fixture(name="deployment")
def one_deployment(tmp_path, model_directory):
    deployment = Deployment(tmp_path, model_directory / "half_plus_two")
    deployment.state.mkdir()
    yield deployment
    if list(deployment.state.glob("servers/*/server.pid")):
        deployment.run(tfs_server_state="absent")


def test_deploy_twice_and_undo(deployment):
    batching = {"tfs_server_batching": {"max_batch_size": 8, "batch_timeout_micros": 0}}
    code, changed, said = deployment.run("--check", "--diff", **batching)
    assert code == 0 and changed == 1, said
    assert list(deployment.state.iterdir()) == [], "check mode changes nothing"
    assert re.search(r'\+ +"base_path": "\S+"', said) and "+max_batch_size { value: 8 }" in said, said

    code, changed, said = deployment.run(**batching)
    assert code == 0 and changed == 1, said
    port = int(re.search(r"m: started, gRPC 127\.0\.0\.1:(\d+), REST 127\.0\.0\.1:\d+ \(embedded\)", said)[1])
    assert deployment.run(**batching)[:2] == (0, 0), "the second run changes nothing"

    code, changed, said = deployment.run(tfs_server_state="absent")
    assert code == 0 and changed == 1 and "m: absent (embedded)" in said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    assert deployment.run(tfs_server_state="absent")[:2] == (0, 0)


GATE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        tfserving_capabilities: {cpu: {affinity: 0-1}, classes: {tuning: "{{ of_class | default('c') }}"}}
        cacheable: true
    - ansible.builtin.include_role: {name: tfserving.fleet.tfs_tuning, tasks_from: gate}
"""


def check_which_hosts_compare(deployment, directory):
    """In check mode, hosts of two classes with the one server of this machine. The deployment changes nothing on web-1, and nothing runs on first."""
    new = {"tfs_server_batching": {"max_batch_size": 8}}
    hosts = {
        "web-1": {},
        "web-3": new,
        "web-2": new,
        "web-4": {"tfs_server_batching": {"max_batch_size": 16}},
        "first": {"of_class": "d", "tfs_server_name": "first", **new},
        "second": {"of_class": "d", **new},
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    code, _changed, said = deployment.run("--check", "-i", str(directory / "inventory.json"), "--limit", "!localhost")
    assert code == 0, said
    changes, compared = re.findall(
        r"TASK \[tfserving.fleet.tfs_tuning : (?:Show what|Compare the running).*?(?=^TASK|^PLAY RECAP)",
        said,
        re.M | re.S,
    )
    assert sorted(re.findall(r"^ok: \[(\S+)\] => \(item=m\)", compared, re.M)) == ["second", "web-2", "web-4"], compared
    for host, shown in (
        ("web-1", "m: the deployment changes nothing that is compared."),
        ("web-3", "m: the deployment changes batching.max_batch_size."),
        ("first", "m: first deployment on first, so there is nothing to compare."),
    ):
        assert re.search(rf'ok: \[{host}\] => {{\s+"msg": "{re.escape(shown)}"', changes), changes


def test_a_slower_server_is_refused_before_anything_changes_and_an_equal_one_passes(deployment, tmp_path):
    """Few requests in flight wait 0.4 s for a batch of 1024. An environment variable that nothing reads costs nothing.

    With one pair of servers each on a busy machine, only a ratio of more than 6 counts.
    """
    gate = {
        "tfserving_upgrade_gate": True,
        "tfs_tuning_upgrade_budget_min": 5,
        "tfs_tuning_window_s": 1,
        "tfs_tuning_rounds": 1,
        "tfs_tuning_instances": 1,
        "tfs_tuning_minimum_gain": 5,
        "tfs_tuning_confidence": 0.5,
        "tfserving_traffic": {"concurrency": 4},
    }
    slow = {"tfs_server_batching": {"max_batch_size": 1024, "batch_timeout_micros": 400000}}
    code, _changed, said = deployment.run(**gate)
    assert code == 0 and "m: first deployment on localhost, so there is nothing to compare." in said, said
    (server,) = deployment.state.glob("servers/*/server.pid")
    serving, port = server.read_text(), re.search(r"REST 127\.0\.0\.1:(\d+)", said)[1]

    code, changed, said = deployment.run(**gate, **slow)
    assert code == 2 and changed == 0 and "PLAY [Deploy the model servers]" not in said, said
    assert re.search(
        r"m on localhost: the new server \(batching\.batch_timeout_micros, batching\.max_batch_size\) is refused: the "
        r"running server against it: \+\d+\.\d % .*: faster, beyond .* Nothing was changed\.",
        said,
    ), said

    (tmp_path / "gate.yml").write_text(GATE, encoding="utf-8")
    deployment.playbooks = [tmp_path / "gate.yml"]
    check_which_hosts_compare(deployment, tmp_path)
    code, changed, said = deployment.run(**gate, tfs_server_environment={"CUDA_VISIBLE_DEVICES": "-1", "UNREAD": "1"})
    assert code == 0 and "m: the running server against the new one (environment.UNREAD): " in said, said
    deployment.playbooks = [ROOT / "playbooks" / "deploy.yml"]

    assert list(deployment.state.glob("servers/*/server.pid")) == [server] and server.read_text() == serving
    address = f"http://127.0.0.1:{port}/v1/models/m:predict"
    assert json.load(urllib.request.urlopen(address, b'{"instances": [1.0]}', timeout=30)) == {"predictions": [2.5]}


def test_all_models_of_the_inventory_are_served_by_one_server(tmp_path, model_directory):
    """Batched differently, so that each has a file of its own; both are asked for their samples, one by a signature of its own."""
    import numpy

    deployment = Deployment(tmp_path, model_directory)
    models, published = [], tmp_path / "models"
    for name, source, width in (("halves", "half_plus_two", 1), ("doubles", "double", 4)):
        shutil.copytree(model_directory / source, published / name / "saved_model")
        numpy.savez(tmp_path / f"{name}.npz", **{"inputs.x": numpy.ones((4, width), "float32")})
        models.append({"name": name, "samples": str(tmp_path / f"{name}.npz")})
    models[0].update(batching={"max_batch_size": 2}, signature="serving_renamed")
    graph = published / "halves/saved_model/1/saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"serving_default", b"serving_renamed"))  # as long as before
    deployment.variables.update(
        tfserving_backend="embedded",
        tfserving_flags={"num_load_threads": 4},
        tfserving_models=models,
        tfserving_model_directory=str(published),
        tfs_server_model_name="",
        tfs_server_model_base_path="",
    )
    try:
        code, changed, said = deployment.run()
        assert code == 0 and changed == 2, said
        assert (published / "halves/saved_model/1/batching_params.pbtxt").read_text().count(
            "max_batch_size { value: 2 }"
        ) == 1
        assert said.count("(item=halves)") == 1 and said.count("(item=doubles)") == 1
        port = re.search(r"halves: started, gRPC 127\.0\.0\.1:\d+, REST 127\.0\.0\.1:(\d+) \(embedded\)", said)[1]
        for name, signature, row, answer in (
            ("halves", "serving_renamed", [1.0], [2.5]),
            ("doubles", "serving_default", [1.0] * 4, [2.0] * 4),
        ):
            body = json.dumps({"instances": [row], "signature_name": signature}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models/{name}:predict", body)
            (predicted,) = json.load(urllib.request.urlopen(request, timeout=30))["predictions"]
            assert (predicted["y"] if name == "doubles" else predicted) == answer
        code, changed, said = deployment.run()
        assert (code, changed) == (0, 0), said
        assert int(re.search(r"ok=(\d+)", said)[1]) <= 10
        code, changed, said = deployment.run("--check", tfs_server_model_name="doubles")
        assert code == 0 and "doubles: started" in said and changed == 1, "one by itself is another server"
    finally:
        deployment.run(tfs_server_state="absent")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"tfs_server_gprc_port": 8500}, "tfs_server_gprc_port"),
        ({"tfs_server_flags": {"enable_baching": True}}, "flags.enable_baching: there is no such flag"),
        (
            {"tfs_server_image": "tensorflow/serving:2.20.0", "tfs_server_engine_socket": "/nonexistent.sock"},
            "set backend: embedded",
        ),
        (
            {
                "tfserving_backend": "embedded",
                "tfserving_models": [{"name": "m"}],
                "tfserving_flags": {"model_config_file": "/etc/m"},
            },
            "the role tfs_server sets this flag itself. Leave it out, and set tfserving_models",
        ),
        (
            {
                "tfserving_models": [{"name": "m"}],
                "tfserving_engine_socket": "/nonexistent.sock",
                "tfserving_image": "tensorflow/serving:2.20.0",
            },
            "set tfserving_backend: embedded",
        ),
    ],
)
def test_what_is_refused(deployment, variables, words):
    code, _changed, said = deployment.run(**variables)
    assert code != 0 and words in said
    assert not (deployment.state / "servers").exists() or not list((deployment.state / "servers").glob("*/server.pid"))


@pytest.mark.parametrize(("engine", "is_sent"), [({"image": "registry.invalid/serving:1"}, False), ({}, True)])
def test_only_hosts_that_serve_with_it_receive_the_embedded_server(engine, is_sent, tmp_path):
    """What Ansible leaves of a call on the host; the call fails because there is no engine or no model."""
    options = {
        "name": "m",
        "model_name": "m",
        "model_base_path": str(tmp_path / "none"),
        "state_directory": str(tmp_path / "state"),
        "engine_socket": str(tmp_path / "none.sock") if engine else None,
        **engine,
    }
    subprocess.run(
        [Path(sys.executable).parent / "ansible", "localhost", "--check", "-m", "tfserving.fleet.model_server"]
        + ["-a", json.dumps({key: value for key, value in options.items() if value})],
        capture_output=True,
        check=False,
        timeout=300,
        env={**os.environ, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(tmp_path / "remote")},
    )
    (sent,) = (tmp_path / "remote").rglob("AnsiballZ_*.py")
    packed = max(re.findall(r"[A-Za-z0-9+/=]{1000,}", sent.read_text(encoding="utf-8")), key=len)
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))) as module:
        assert not [name for name in module.namelist() if "/_embedded/server/" in name]
    programs = list((tmp_path / "remote").rglob("embedded_server.pyz"))
    assert bool(programs) == is_sent
    for program in programs:
        with zipfile.ZipFile(program) as archive:
            assert any(name.endswith("/_embedded/server/main.py") for name in archive.namelist())
